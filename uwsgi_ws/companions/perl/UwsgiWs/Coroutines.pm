package UwsgiWs::Coroutines;

# Many requests at once in a process, a coroutine each, on Coro::AnyEvent. For UwsgiWs::Connection, which calls these as
# class methods.
#
# Whose request it is follows what an application starts: its coroutines, and its callbacks of watchers and timers. They
# hold the connection weakly, so a watcher that is forgotten keeps nothing of a request that has ended.

use strict;
use warnings;

use AnyEvent ();
use Coro ();
use Coro::AnyEvent ();
use Coro::Signal ();
use List::Util qw(max);
use Scalar::Util qw(weaken);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

use UwsgiWs::Listener qw(accept_connection has_master_gone);
use UwsgiWs::Log qw(say_line);
use UwsgiWs::Process qw(error_text);

# Connections that are accepted before those that wait elsewhere get their turn.
use constant ACCEPTED_AT_ONCE => 4;

# In a callback: the connection of the request that it belongs to.
our $in_callback;

# Where a coroutine holds its connection.
my $KEY = 'uwsgi_ws_connection';

# Connections with records that are held back until the end of the turn, and the coroutine that writes them.
my @held;
my $flusher;

# By the number of the request.
my %unfinished;

sub current {
    return $in_callback || $Coro::current->{$KEY};
}

# The connections of all requests that are being handled, for the end of the process: there is no waiting then.
sub unfinished {
    $in_callback = 0;
    return values %unfinished;
}

sub blocks { return 0 }

# Callbacks run in the coroutine that runs the loop; were it to wait, nothing would run any more.
sub may_wait {
    return !defined $in_callback && $Coro::current != $Coro::idle;
}

sub seconds_until {
    my ($until) = @_;
    return $until ? max(0, $until - clock_gettime(CLOCK_MONOTONIC)) : $until;
}

# Return whether a handle has become readable in time; see UwsgiWs::Connection::step.
sub readable {
    my ($class, $handle, $until) = @_;
    return Coro::AnyEvent::readable($handle, seconds_until($until));
}

sub writable {
    my ($class, $handle, $until) = @_;
    return Coro::AnyEvent::writable($handle, seconds_until($until));
}

sub pause {
    my ($class, $seconds) = @_;
    Coro::AnyEvent::sleep($seconds);
    return;
}

sub yield {
    Coro::AnyEvent::poll();
    return;
}

# Wait until another coroutine has read something of a connection, or has stopped reading; false when it lasts too long.
sub change_of {
    my ($class, $connection, $until) = @_;
    my $changed = $connection->{changed} ||= Coro::Signal->new;
    my $is_late = 0;
    my $timer;
    if (defined $until) {
        $timer = AE::timer(seconds_until($until), 0, sub { $is_late = 1; $changed->broadcast });
    }
    $changed->wait;
    return !$is_late;
}

# Have what is held back written at the end of the turn: when the coroutines that are ready now have run.
sub flush_later {
    my ($class, $connection) = @_;
    return 1 if $connection->{is_held};
    $connection->{is_held} = 1;
    $flusher->ready if !@held;
    push @held, $connection;
    return 1;
}

sub flush_held {
    while (1) {
        {
            # It writes for all, so it waits for none.
            local $in_callback = 0;
            for my $connection (splice @held) {
                $connection->{is_held} = 0;
                $connection->flush if length $connection->{out};
            }
        }
        Coro::schedule();
    }
    return;
}

# Have the rest written when the worker has read some: for a callback, which cannot wait.
sub flush_when_writable {
    my ($class, $connection) = @_;
    $connection->{on_writable} ||= AE::io($connection->{handle}, 1, sub {
        delete $connection->{on_writable};
        $connection->flush;
    });
    return 1;
}

# Have callbacks and coroutines that a request's code makes belong to the request. Before the application is loaded: it
# imports some of these.
sub prepare {
    AnyEvent::detect();
    $flusher = Coro->new(\&flush_held);
    no strict 'refs';              ## no critic (TestingAndDebugging::ProhibitNoStrict)
    no warnings qw(redefine prototype once);
    my $model = $AnyEvent::MODEL;
    for my $name (qw(io timer idle)) {
        my $of_class = AnyEvent->can($name);
        *{"${model}::$name"} = sub {
            my ($class, %arguments) = @_;
            $arguments{cb} = of_request($arguments{cb}) if current();
            return $class->$of_class(%arguments);
        };
    }
    my ($io, $timer, $idle, $postpone) = (\&AE::io, \&AE::timer, \&AE::idle, \&AnyEvent::postpone);
    *AE::io = sub ($$$) { $io->($_[0], $_[1], current() ? of_request($_[2]) : $_[2]) };
    *AE::timer = sub ($$$) { $timer->($_[0], $_[1], current() ? of_request($_[2]) : $_[2]) };
    *AE::idle = sub ($) { $idle->(current() ? of_request($_[0]) : $_[0]) };
    *AnyEvent::postpone = *AE::postpone = sub (&) { $postpone->(current() ? of_request($_[0]) : $_[0]) };
    my ($async, $async_pool) = (\&Coro::async, \&Coro::async_pool);
    *Coro::async = sub (&@) { unshift @_, coroutine_of_request(shift); goto &{$async} };
    *Coro::async_pool = sub (&@) { unshift @_, coroutine_of_request(shift); goto &{$async_pool} };
    return;
}

# Return a callback that belongs to the request which is being handled here.
sub of_request {
    my ($callback) = @_;
    # Where the loop is not EV, Coro has this one let other coroutines run: they are not in a callback.
    return $callback if defined &Coro::AnyEvent::_schedule && $callback == \&Coro::AnyEvent::_schedule;
    my $connection = current();
    weaken $connection;
    return sub {
        local $in_callback = $connection;
        &{$callback};
    };
}

# Return what a coroutine runs, so that it belongs to the request, and that what it dies of is logged: by itself it would
# end the process.
sub coroutine_of_request {
    my ($body) = @_;
    my $connection = current();
    weaken $connection;
    return sub {
        local $Coro::current->{$KEY} = $connection;
        my @result;
        return @result if eval { @result = &{$body}; 1 };
        my $error = $@;
        say_line('[uwsgi-perl error] ' . error_text($error)) if !$connection || !$connection->explains($error);
        return;
    };
}

# Return the first descriptor of those that are waited for ([number, whether for writing]) to be ready; undef when it lasts
# too long.
sub first_ready {
    my ($class, $waits, $most) = @_;
    my $wake = Coro::rouse_cb();
    my @watchers = map {
        my ($fd, $is_for_writing) = @{$_};
        AE::io($fd, $is_for_writing, sub { $wake->($fd) });
    } @{$waits};
    push @watchers, AE::timer($most, 0, sub { $wake->() }) if defined $most;
    return scalar Coro::rouse_wait($wake);
}

# Handle requests, many at once, until the process shall end, and all requests have ended.
# Handle: called with each connection; returns whether the process shall go on.
# Control: a handle whose end tells that the master is gone.
# Most: of requests at once, 0 for no limit; others wait in the listener's backlog.
# Ready: called when SIGTERM would be noticed.
# Tick: called every so many seconds, if there are any.
sub serve {
    my ($class, %by) = @_;
    my ($count, $last, $shall_end, $accepting, $accept) = (0, 0, 0);
    my $main = $Coro::current;
    my $has_room = sub { !$shall_end && (!$by{most} || $count < $by{most}) };
    my $adjust = sub {
        $accepting = $has_room->() ? $accepting || AE::io($by{listener}, 0, $accept) : undef;
        $main->ready if $shall_end && !$count;
    };
    my $end = sub { $shall_end = 1; $adjust->() };
    $accept = sub {
        for (1 .. ACCEPTED_AT_ONCE) {
            last if !$has_room->();
            my $connection = accept_connection($by{listener}, 0) or last;
            $count++;
            my $number = ++$last;
            $unfinished{$number} = $connection;
            my $coroutine = Coro->new(sub { $shall_end = 1 if !$by{handle}->($connection) });
            $coroutine->{$KEY} = $connection;
            # Even when the application has cancelled it; at the end of the process nothing is left to do.
            $coroutine->on_destroy(sub {
                return if ${^GLOBAL_PHASE} eq 'DESTRUCT';
                local $in_callback = 0;    # there is no waiting in here
                $connection->finish('[uwsgi-perl error] the coroutine of the request was ended');
                delete $unfinished{$number};
                $count--;
                $adjust->();
            });
            $coroutine->ready;
        }
        $adjust->();
    };
    my $on_term = AE::signal(TERM => $end);
    my $on_end = AE::io($by{control}, 0, sub { $end->() if has_master_gone($by{control}) });
    my $timer = $by{seconds} && AE::timer($by{seconds}, $by{seconds}, $by{tick});
    # Signal handlers of Perl's own run when Perl code does: after each wait of the loop.
    my $after_waits = $AnyEvent::MODEL eq 'AnyEvent::Impl::EV' && EV::check(sub { });
    $by{ready}->();
    $adjust->();
    Coro::schedule() until $shall_end && !$count;
    return;
}

1;
