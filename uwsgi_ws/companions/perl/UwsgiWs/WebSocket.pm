package UwsgiWs::WebSocket;

# An open WebSocket, for applications. It is closed when the application returns, at the latest.

use strict;
use warnings;

use Scalar::Util qw(weaken);

use UwsgiWs::Connection ();
use UwsgiWs::ConnectionClosed ();
use UwsgiWs::Message ();
use UwsgiWs::Records qw(octets);

# RFC 6455 7.4.1
use constant NORMAL_CLOSURE => 1000;
use constant GOING_AWAY => 1001;
use constant NO_STATUS => 1005;

# RFC 6455 5.5: a control frame's payload is 125 bytes at most, and the code takes two.
use constant LONGEST_REASON => 123;

sub new {
    my ($class, $connection, $subprotocol) = @_;
    my $self = bless { connection => $connection, subprotocol => $subprotocol, next_ping => 1 }, $class;
    weaken $self->{connection};
    return $self;
}

# The connection, while the request lasts.
sub connection {
    my ($self) = @_;
    return $self->{connection} // UwsgiWs::fail('the request of this WebSocket is over');
}

# Return the next message, a UwsgiWs::Message; undef once the timeout has passed, in seconds: 0 only looks, without one it
# waits for ever. Dies with a UwsgiWs::ConnectionClosed when the connection has ended.
sub recv {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self, $timeout) = @_;
    my $connection = $self->connection;
    my $message = $connection->next_message(UwsgiWs::Connection::until_after($timeout));
    return UwsgiWs::Message->new(@{$message}) if $message;
    $self->fail_as_closed if $connection->has_ended;
    my $nothing;
    return $nothing;
}

# Return the next message; undef when the peer has closed normally. For loops.
sub next {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self) = @_;
    my $connection = $self->connection;
    my $message = $connection->next_message;
    return UwsgiWs::Message->new(@{$message}) if $message;
    my $code = $self->close_code // NORMAL_CLOSURE;
    $self->fail_as_closed if $code != NORMAL_CLOSURE && $code != GOING_AWAY && $code != NO_STATUS;
    my $nothing;
    return $nothing;
}

# Send characters as a text message.
sub send {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self, $text) = @_;
    utf8::encode($text = "$text");
    return $self->send_message('T', $text);
}

# Send bytes as a binary message.
sub send_binary {
    my ($self, $bytes) = @_;
    return $self->send_message('D', UwsgiWs::only_bytes($bytes));
}

sub send_message {
    my ($self, $type, $payload) = @_;
    my $connection = $self->connection;
    UwsgiWs::fail(sprintf 'a message of %d bytes: the server takes %d', length $payload, $connection->{limit})
        if length $payload > $connection->{limit};
    return if !$connection->{is_closing} && !$connection->{end} && $connection->send_record($type, $payload);
    # What came before the end is still to be read, but of how it ended this tells.
    1 while $connection->step(0);
    return $self->fail_as_closed;
}

sub fail_as_closed {
    my ($self) = @_;
    die UwsgiWs::ConnectionClosed->new($self->close_code // UwsgiWs::Connection::ABNORMAL, $self->close_reason);
}

# Begin the closing handshake. `recv` still returns what came before the peer's answer.
sub close {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self, $code, $reason) = @_;
    $code //= NORMAL_CLOSURE;
    UwsgiWs::fail("$code is no code to close with: 1000, 1001, 1003, 1007 to 1014, 3000 to 4999 are")
        if $code !~ /\A(?:100[013]|100[7-9]|101[0-4]|[34]\d{3})\z/;
    utf8::encode($reason = "$reason") if defined $reason;
    UwsgiWs::fail('the reason of a close is longer than ' . LONGEST_REASON . ' bytes')
        if length($reason // '') > LONGEST_REASON;
    $self->connection->close_websocket($code, $reason // '');
    return;
}

# Code and reason of how it ended, by either side; undef while it is open.
sub close_code { return $_[0]->end->[0] }

sub close_reason { return $_[0]->end->[1] // '' }

sub end {
    my ($self) = @_;
    my $connection = $self->{connection};
    return $connection && $connection->{end} || [];
}

sub is_open {
    my ($self) = @_;
    my $connection = $self->{connection};
    return $connection && !$connection->{end} && !$connection->{is_closing} ? 1 : '';
}

# What was agreed on, or undef.
sub subprotocol { return $_[0]{subprotocol} }

# Have a channel's messages sent to this client from now on.
sub join {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self, $channel) = @_;
    $self->connection->send_record('J', octets($channel));
    return;
}

sub leave {
    my ($self, $channel) = @_;
    $self->connection->send_record('L', octets($channel));
    return;
}

# Send a ping and wait for its pong; return the seconds that it took, undef when the timeout has passed or it has ended.
sub ping {
    my ($self, $timeout) = @_;
    my $connection = $self->connection;
    my $id = $self->{next_ping}++;
    $connection->write_out(UwsgiWs::Records::ping($id)) && $connection->flush;
    my $has_come = $connection->wait_for(
        sub { exists $connection->{pongs}{$id} },
        UwsgiWs::Connection::until_after($timeout),
    );
    my $seconds = $has_come ? delete $connection->{pongs}{$id} : undef;
    return defined $seconds && $seconds == $seconds ? $seconds : undef;
}

# A descriptor that is readable while a message, or the end, waits.
sub fileno {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self) = @_;
    return $self->connection->fileno;
}

1;
