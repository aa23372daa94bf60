package UwsgiWs;

# The server's own names for Perl applications, beside uWSGI's in package uwsgi: text and binary messages are told apart,
# and a close has a code. See docs/perl.md.

use strict;
use warnings;

use UwsgiWs::Connection ();
use UwsgiWs::Message ();
use UwsgiWs::Process ();
use UwsgiWs::Records qw(octets);
use UwsgiWs::Subscription ();
use UwsgiWs::WebSocket ();

# Die with a text and the place in the application.
sub fail {
    my ($text) = @_;
    my ($package, $file, $line);
    for (my $depth = 0 ; ($package, $file, $line) = caller $depth ; $depth++) {
        last if $package !~ /\AUwsgiWs\b/;
    }
    die sprintf "%s at %s line %d.\n", $text, $file // $0, $line // 0;
}

# Return the connection of the request that is being handled here.
sub connection {
    return $UwsgiWs::Connection::Waiting->current || fail('no request is being handled here');
}

# Complete the opening handshake of the current request; return its UwsgiWs::WebSocket.
# Options:
#   subprotocols: those that the application speaks, the best first; the first that the client offers is agreed on.
#   headers: further response headers, names and values in turn.
sub accept {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($env, %options) = @_;
    my $connection = connection();
    my %is_offered = map { $_ => 1 } split /[ \t]*,[ \t]*/, $env->{HTTP_SEC_WEBSOCKET_PROTOCOL} // '';
    my ($subprotocol) = grep { $is_offered{$_} } @{ $options{subprotocols} || [] };
    my @headers = map { octets($_) } @{ $options{headers} || [] };
    my $error = $connection->accept_websocket('', '', $subprotocol // '', \@headers);
    fail("cannot open a WebSocket: $error") if length $error;
    return UwsgiWs::WebSocket->new($connection, $subprotocol);
}

# Send a text to everyone who is on a channel, in all workers, and return at once.
# Options: exclude, a UwsgiWs::WebSocket that does not get it: this request's.
sub publish {
    my ($channel, $text, %options) = @_;
    utf8::encode($text = "$text");
    return published('T', $channel, $text, %options);
}

# The same with bytes, as a binary message.
sub publish_binary {
    my ($channel, $bytes, %options) = @_;
    return published('D', $channel, only_bytes($bytes), %options);
}

sub published {
    my ($kind, $channel, $payload, %options) = @_;
    my $excluded = $options{exclude};
    fail('only this request\'s own WebSocket can be excluded') if $excluded && $excluded->{connection} != connection();
    UwsgiWs::Process::publish(octets($channel), $kind, $payload, defined $excluded)
        or fail('cannot publish: the message or the name of the channel is too long, or there is no server to take it');
    return;
}

# Return bytes as bytes, however Perl holds them.
sub only_bytes {
    my ($bytes) = @_;
    utf8::downgrade($bytes = "$bytes", 1) or fail('a binary message has characters above 255: encode it');
    return $bytes;
}

# Return how many WebSockets and subscriptions are on a channel now, in all workers.
sub count {
    my ($channel) = @_;
    my $count = connection()->count(octets($channel));
    return $count // fail('cannot count: the request is over');
}

# Read the messages of channels in this request. Options first, as a hash reference: slow, "close" (the default), or
# "drop" for messages to be left out when too much waits.
sub subscribe {
    my (@channels) = @_;
    my $options = ref $channels[0] eq 'HASH' ? shift @channels : {};
    my $slow = $options->{slow} // 'close';
    fail("slow is close or drop, not $slow") if $slow !~ /\A(?:close|drop)\z/;
    return UwsgiWs::Subscription->new(connection(), $slow, @channels);
}

1;
