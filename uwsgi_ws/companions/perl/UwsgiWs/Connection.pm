package UwsgiWs::Connection;

# A request's connection to the worker: records out, records in, and what came that its application has not taken yet.
#
# All that reads goes through `step`, which files one record. A caller repeats it until what it waits for is there. With
# coroutines one of them reads for all; the others wait until something has changed.
#
# Before `fileno` has been called, what the worker sends is read in large pieces. Afterwards records are read one by one,
# so that the descriptor is readable while a message waits. What had been read before waits in memory: then the worker
# is asked for a count, and its answer, left unread, keeps the descriptor readable until the messages have been taken.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use IO::Handle ();
use List::Util qw(first max min);
use Scalar::Util qw(blessed);
use Socket qw(MSG_NOSIGNAL SHUT_RDWR);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

use UwsgiWs::Log qw(say_line);
use UwsgiWs::Records qw(
    VERSION HEAD_SIZE record take_record values_of
    version response_head handshake close_record count_question body_question
);

# The longest payload that we take.
use constant LARGEST => 1 << 30;

# Bytes that are read at once, and that each connection has memory for: what many small messages need.
use constant READ_AHEAD => 4_096;

# A larger record comes in pieces of this size: memory grows as it arrives, not as its length promises.
use constant PIECE => 1 << 20;

# Bytes that may be held back within a turn before they are written.
use constant CORK => 65_536;

# Bytes that a callback, which cannot wait, may leave unsent.
use constant LARGEST_BACKLOG => 1 << 23;

# The tag of the count whose answer keeps the descriptor readable.
use constant NUDGE => 0;

# A WebSocket's code where the worker has gone without a word.
use constant ABNORMAL => 1006;

# How to wait: UwsgiWs::Blocking or UwsgiWs::Coroutines.
our $Waiting;

# Take a connection that was accepted just now; the handle is ours.
sub new {
    my ($class, $handle) = @_;
    return bless {
        handle => $handle,
        in => '',
        out => '',
        process => $$,
        limit => LARGEST,
        messages => [],
        body => [],
        counts => {},
        pongs => {},
        subscriptions => {},
        next_tag => NUDGE + 1,
        nudges => 0,
    }, $class;
}

# Read what every connection begins with; return the request's vars as a hash.
# Nothing is returned for a worker that has gone again.
sub open_request {
    my ($self) = @_;
    $self->write_out(version(LARGEST), 1);
    $self->wait_for(sub { $self->{vars} });
    return $self->{vars};
}

# Reading

# Wait until something is there; return whether it is.
sub wait_for {
    my ($self, $is_there, $until) = @_;
    until ($is_there->()) {
        $self->step($until) or return 0;
    }
    $self->nudge if $self->{is_exact} && (@{ $self->{messages} } || $self->{end});
    return 1;
}

# Return the moment that a call which may take so many seconds must end; see `step`.
sub until_after {
    my ($seconds) = @_;
    return defined $seconds ? $seconds > 0 ? clock_gettime(CLOCK_MONOTONIC) + $seconds : 0 : undef;
}

# File the next record. False when none came in time, or none will come.
# Until: a moment of the monotonic clock; undef waits for ever, 0 only looks.
sub step {
    my ($self, $until) = @_;
    return 0 if $self->{is_over};
    my $only_looks = defined $until && $until == 0;
    return $Waiting->may_wait && $Waiting->change_of($self, $until) if $self->{is_reading} && !$only_looks;
    until ($self->file_one) {
        my $has_come = !$self->{is_over} && $self->fill($until);
        $self->{changed}->broadcast if $self->{changed};
        return 0 if !$has_come;
    }
    $self->{changed}->broadcast if $self->{changed};
    return 1;
}

# Read bytes; false when none came in time, or none will come.
sub fill {
    my ($self, $until) = @_;
    my $have = length $self->{in};
    my $size = READ_AHEAD;
    if ($have || $self->{is_exact}) {
        my $missing = HEAD_SIZE - $have;
        $missing += unpack 'xN', $self->{in} if $missing <= 0;
        $size = min(PIECE, $self->{is_exact} ? $missing : max($missing, READ_AHEAD));
    }
    my $only_looks = defined $until && $until == 0;
    # A read that blocks must not be begun in vain; another one need not, where the last has taken all there was.
    my $waits_first = $Waiting->blocks ? defined $until : $self->{is_drained} && !$only_looks && $Waiting->may_wait;
    while (1) {
        if ($waits_first) {
            $self->flush if length $self->{out};
            local $self->{is_reading} = 1;
            $Waiting->readable($self->{handle}, $until) or return 0;
        }
        my $count = sysread $self->{handle}, $self->{in}, $size, $have;
        if ($count) {
            $self->{is_drained} = $count < $size;
            return 1;
        }
        if (defined $count || $! != EAGAIN && $! != EWOULDBLOCK && $! != EINTR) {
            $self->{is_over} = 1;
            $self->{end} //= [ABNORMAL, ''];
            return 0;
        }
        next if $! == EINTR;
        $self->flush if length $self->{out};
        return 0 if $only_looks || !$Waiting->may_wait;
        $waits_first = 1;
    }
}

# What is done with what a record says.
my %filing = (
    C => sub {
        my ($self, @code_and_reason) = @_;
        $self->{end} = \@code_and_reason;
    },
    M => sub {
        my ($self, $channel, @message) = @_;
        $_->offer($channel, @message) for grep { defined } @{ $self->{subscriptions}{$channel} || [] };
    },
    N => sub {
        my ($self, $tag, $number) = @_;
        if ($tag == NUDGE) { $self->{nudges}-- }
        else { $self->{counts}{$tag} = $number }
    },
    P => sub {
        my ($self, $id, $seconds) = @_;
        $self->{pongs}{$id} = $seconds;
    },
    B => sub {
        my ($self, $piece) = @_;
        push @{ $self->{body} }, $piece;
        $self->{is_body_over} = 1 if $piece eq '';
    },
    F => sub { $_[0]{body_error} = $_[1] },
    H => sub { $_[0]{handshake} = $_[1] },
    V => sub {
        my ($self, $version, $limit) = @_;
        die sprintf "the worker speaks version %d of the protocol, this companion %d\n", $version, VERSION
            if $version != VERSION;
        $self->{limit} = $limit;
    },
    Q => sub {
        my ($self, $modifier1, $vars) = @_;
        $self->{vars} = { @{$vars} };
    },
);

# File the first record that has been read; false while it is not whole. What is none ends the connection.
sub file_one {
    my ($self) = @_;
    # Most records are messages; nothing can be wrong with those.
    my $have = length $self->{in};
    return 0 if $have < HEAD_SIZE;
    my ($kind, $length) = unpack 'aN', $self->{in};
    if (($kind eq 'T' || $kind eq 'D') && $length <= LARGEST) {
        my $size = HEAD_SIZE + $length;
        return 0 if $have < $size;
        push @{ $self->{messages} }, [$kind, substr $self->{in}, HEAD_SIZE, $length];
        if ($have == $size && $size <= READ_AHEAD) { $self->{in} = '' }
        elsif ($have == $size) { delete $self->{in}; $self->{in} = '' }    # its memory, too
        else { substr $self->{in}, 0, $size, '' }
        return 1;
    }
    my $has_filed = eval {
        local $SIG{__DIE__};
        my ($type, $payload) = take_record(\$self->{in}, LARGEST) or return 0;
        my @values = values_of($type, $payload);
        $filing{$type}->($self, @values);
        1;
    };
    return $has_filed if defined $has_filed;
    say_line("the worker sent what is not of the companion protocol, its connection is cut: $@");
    shutdown $self->{handle}, SHUT_RDWR;
    $self->fail;
    $self->{is_over} = 1;
    $self->{end} //= [ABNORMAL, ''];
    return 0;
}

# Return the descriptor that is readable while a message or the end waits.
sub fileno {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self) = @_;
    if (!$self->{is_exact}) {
        $self->flush;
        # What has been read and is whole is filed; a rest is that of a record whose end is still to come.
        1 while $self->file_one;
        $self->{is_exact} = 1;
        $self->nudge if @{ $self->{messages} } || $self->{end};
    }
    return CORE::fileno $self->{handle};
}

# Keep the descriptor readable while messages wait in memory.
sub nudge {
    my ($self) = @_;
    return if $self->{nudges} || $self->{is_over};
    $self->{nudges} = 1;
    $self->write_out(count_question(NUDGE, ''));
    $self->flush;
    return;
}

# Take what kept the descriptor readable, now that no message waits any more.
sub settle {
    my ($self) = @_;
    while ($self->{nudges} > 0 && !@{ $self->{messages} } && !$self->{end}) {
        $self->step(0) or return;
    }
    return;
}

# Return the next message, its kind (T or D) and its payload; nothing when none came in time, or it is over.
sub next_message {
    my ($self, $until) = @_;
    until (@{ $self->{messages} }) {
        return if $self->{end};
        $self->step($until) or return;
    }
    my $message = shift @{ $self->{messages} };
    $self->settle if $self->{nudges};
    return $message;
}

# Whether the WebSocket has ended and its messages have been taken.
sub has_ended {
    my ($self) = @_;
    return $self->{end} && !@{ $self->{messages} };
}

# What calls die with once the client has gone.
my $GONE = qr/\A(?:unable\ to\ (?:receive\ websocket|send\ websocket|send\ websocket\ binary)\ message
    |error\ while\ streaming\ PSGI\ response)\b/x;

# Whether an application died because its client has gone: the usual end of a loop, not an error.
sub explains {
    my ($self, $error) = @_;
    return 0 if !$self->{end} && !$self->{is_broken};
    return blessed $error ? $error->isa('UwsgiWs::ConnectionClosed') : !ref $error && $error =~ $GONE;
}

# Return up to so many bytes of the request's body; '' at its end, undef when it is cut short.
sub read_body {
    my ($self, $size) = @_;
    return '' if $self->{is_body_over} || $self->{is_websocket};
    return if defined $self->{body_error};
    $self->write_out(body_question(min($size, PIECE)));
    $self->flush;
    $self->wait_for(sub { @{ $self->{body} } || defined $self->{body_error} });
    return shift @{ $self->{body} };
}

# Writing

# Send records; held back, they go with the next. With coroutines all are, until the coroutine waits or its turn ends.
# Returns whether they could be sent.
sub write_out {
    my ($self, $records, $is_held) = @_;
    return 0 if $self->{is_broken};
    $self->{out} .= $records;
    return $self->flush if length $self->{out} >= CORK;
    return 1 if $is_held;
    return $Waiting->flush_later($self);
}

# Write what has been held back; wait for the worker, if one may wait here. Returns whether it could be sent.
sub flush {
    my ($self) = @_;
    while (length $self->{out}) {
        # An application's signal handler may die between a write and the note of it: then nobody knows what was sent.
        return $self->fail if $self->{is_amid_write} || $self->{is_broken};
        $self->{is_amid_write} = 1;
        my $count = send $self->{handle}, $self->{out}, MSG_NOSIGNAL;
        if (defined $count) {
            substr $self->{out}, 0, $count, '';
            $self->{is_amid_write} = 0;
            next;
        }
        $self->{is_amid_write} = 0;
        next if $! == EINTR;
        return $self->fail if $! != EAGAIN && $! != EWOULDBLOCK;
        if (!$Waiting->may_wait) {
            return $self->fail if length $self->{out} > LARGEST_BACKLOG;
            return $Waiting->flush_when_writable($self);
        }
        $Waiting->writable($self->{handle});
    }
    return !$self->{is_broken};
}

sub fail {
    my ($self) = @_;
    $self->{is_broken} = 1;
    $self->{is_amid_write} = 0;
    $self->{out} = '';
    return 0;
}

# Send a record of one of these types; false where it cannot be sent, or is longer than the worker takes.
sub send_record {
    my ($self, $type, $payload) = @_;
    return 0 if length $payload > $self->{limit};
    return $self->write_out(pack 'aN/a*', $type, $payload);
}

# Complete the opening handshake; return '' or what is wrong.
sub accept_websocket {
    my ($self, @details) = @_;
    return 'the request has been answered' if $self->{is_websocket} || $self->{is_answered};
    $self->write_out(handshake(@details)) && $self->flush;
    $self->wait_for(sub { defined $self->{handshake} }) or return 'the client has gone';
    my $error = delete $self->{handshake};
    $self->{is_websocket} = 1 if $error eq '';
    return $error;
}

# Begin the closing handshake. Messages that come until the client's answer can still be taken.
sub close_websocket {
    my ($self, $code, $reason) = @_;
    return if $self->{is_closing};
    $self->{is_closing} = 1;
    $self->write_out(close_record($code, $reason)) && $self->flush;
    return;
}

# Say how many are on a channel.
sub count {
    my ($self, $channel) = @_;
    my $tag = $self->{next_tag}++;
    $self->{next_tag} = NUDGE + 1 if $self->{next_tag} > 0xFFFF_FFFF;
    $self->write_out(count_question($tag, $channel)) && $self->flush;
    $self->wait_for(sub { defined $self->{counts}{$tag} }) or return;
    return delete $self->{counts}{$tag};
}

# Send the head of the response; what follows is its body.
sub send_head {
    my ($self, $status, $headers) = @_;
    $self->{is_answered} = 1;
    return $self->write_out(response_head($status, $headers), 1);
}

# Send a piece of the response's body.
sub send_body {
    my ($self, $bytes, $is_last) = @_;
    my $most = min(CORK, $self->{limit});
    my $records = '';
    for (my $at = 0 ; $at < length $bytes ; $at += $most) {
        $records .= record('B', substr $bytes, $at, $most);
    }
    return $self->write_out($records, $is_last);
}

# End the request: with the text of an error, the worker logs it, and answers for us where we have not.
sub finish {
    my ($self, $error) = @_;
    return if $self->{is_finished} || $self->{process} != $$;
    $self->{is_finished} = 1;
    my $is_told = $self->write_out(record('E', substr $error, 0, $self->{limit}), 1) && $self->flush;
    say_line($error) if length $error && !$is_told;
    # A child of the application's may hold the descriptor, too.
    shutdown $self->{handle}, SHUT_RDWR;
    $self->{is_over} = 1;
    $self->{is_broken} = 1;
    $self->{end} //= [ABNORMAL, ''];
    $self->{changed}->broadcast if $self->{changed};
    close $self->{handle};
    return;
}

1;
