package UwsgiWs::Blocking;

# One request at a time in a process: what waits blocks it. For UwsgiWs::Connection, which calls these as class methods.

use strict;
use warnings;

use Errno qw(EINTR);
use IO::Handle ();
use List::Util qw(max);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

use UwsgiWs::Listener qw(accept_connection has_master_gone);

my $current;

# The connection of the request that is being handled.
sub current { return $current }

# The connections of all requests that are being handled.
sub unfinished { return $current || () }

# Whether a read waits by itself.
sub blocks { return 1 }

sub may_wait { return 1 }

# Return whether a handle has become readable in time; see UwsgiWs::Connection::step.
sub readable {
    my ($class, $handle, $until) = @_;
    return wait_for_one(CORE::fileno($handle), 0, $until);
}

sub writable {
    my ($class, $handle, $until) = @_;
    return wait_for_one(CORE::fileno($handle), 1, $until);
}

sub wait_for_one {
    my ($fd, $is_for_writing, $until) = @_;
    while (1) {
        vec(my $bits = '', $fd, 1) = 1;
        my $left = $until ? max(0, $until - clock_gettime(CLOCK_MONOTONIC)) : $until;
        my $count = $is_for_writing ? select undef, $bits, undef, $left : select $bits, undef, undef, $left;
        return $count > 0 if $count >= 0;
        return 1 if $! != EINTR;    # the read or the write tells what is wrong
    }
}

sub pause {
    my ($class, $seconds) = @_;
    my $until = clock_gettime(CLOCK_MONOTONIC) + $seconds;
    # A signal ends a sleep early.
    while ((my $left = $until - clock_gettime(CLOCK_MONOTONIC)) > 0) {
        Time::HiRes::sleep($left);
    }
    return;
}

sub yield { return }

# Nothing else runs that could change anything.
sub change_of { return 0 }

# A write that blocks is done at once.
sub flush_later {
    my ($class, $connection) = @_;
    return $connection->flush;
}

# Return the first descriptor of those that are waited for ([number, whether for writing]) to be ready; undef when it lasts
# too long.
sub first_ready {
    my ($class, $waits, $most) = @_;
    my $until = defined $most ? clock_gettime(CLOCK_MONOTONIC) + $most : undef;
    while (1) {
        my @bits = ('', '');
        vec($bits[$_->[1] ? 1 : 0], $_->[0], 1) = 1 for @{$waits};
        my $left = defined $until ? max(0, $until - clock_gettime(CLOCK_MONOTONIC)) : undef;
        my $count = select $bits[0], $bits[1], undef, $left;
        next if $count < 0 && $! == EINTR;
        return if $count <= 0;
        my ($ready) = grep { vec $bits[$_->[1] ? 1 : 0], $_->[0], 1 } @{$waits};
        return $ready->[0];
    }
}

# Handle requests, one after the other, until the process shall end.
# Handle: called with each connection; returns whether the process shall go on.
# Control: a handle whose end tells that the master is gone.
# Ready: called when SIGTERM would be noticed.
# Tick: called every so many seconds, if there are any, while no request is being handled.
sub serve {
    my ($class, %by) = @_;
    # Its other end is written to by the signal: one that comes just before the wait still ends it.
    pipe my $wakes, my $wake or die "cannot make a pipe: $!\n";
    $wake->blocking(0);
    my $shall_end = 0;
    my $on_term = sub { $shall_end = 1; syswrite $wake, '.'; };
    vec(my $waited_for = '', CORE::fileno $by{listener}, 1) = 1;
    vec($waited_for, CORE::fileno $_, 1) = 1 for $wakes, $by{control};
    while (1) {
        $SIG{TERM} = $on_term;    ## no critic (Variables::RequireLocalizedPunctuationVars)
        (delete $by{ready})->() if $by{ready};
        last if $shall_end;
        my $ready = $waited_for;
        my $count = select $ready, undef, undef, $by{seconds};
        $by{tick}->() if !$count;
        next if $count <= 0;
        last if $shall_end || vec($ready, CORE::fileno $by{control}, 1) && has_master_gone($by{control});
        $current = accept_connection($by{listener}, 1) or next;
        my $goes_on = $by{handle}->($current);
        $current = undef;
        last if !$goes_on;
    }
    return;
}

1;
