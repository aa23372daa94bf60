package uwsgi;

# uWSGI's names for Perl applications, with its error texts and with what its functions return. They exist only inside
# the server; applications call them by their full names.
#
# Source: uWSGI 2.0.31, plugins/psgi/uwsgi_plmodule.c; the channels are those of 1.5-dev for Python.

use strict;
use warnings;

use UwsgiWs::Connection ();
use UwsgiWs::Log        ();
use UwsgiWs::Process    ();
use UwsgiWs::Records qw(octets);
use UwsgiWs::Subscription ();

use constant VERSION => '2.0.31';

# What a function returns that has nothing to tell: one value, as uWSGI's do, in a list, too.
my $NOTHING;

# Die with a text and the place in the application, as croak does in C.
sub fail {
    my ($text) = @_;
    my ($package, $file, $line);
    for (my $depth = 0 ; ($package, $file, $line) = caller $depth ; $depth++) {
        last if $package ne __PACKAGE__;
    }
    die sprintf "%s at %s line %d.\n", $text, $file // $0, $line // 0;
}

sub check_arguments {
    my ($arguments, $least) = @_;
    return if @{$arguments} >= $least;
    my $name = (caller 1)[3];
    return fail("Usage: $name takes $least arguments");
}

# Return the connection of the request that is being handled here.
sub connection {
    return $UwsgiWs::Connection::Waiting->current
        || fail('you can call uwsgi api function only from the main callable');
}

# WebSockets

# Arguments that are not given, or empty, are taken from the request's own headers. Unlike uWSGI, of several subprotocols
# that the client offers it gets the first: a browser refuses the whole list.
sub websocket_handshake {
    my ($key, $origin, $protocol) = map { defined ? octets($_) : '' } @_[0 .. 2];
    my $connection = connection();
    my $vars = $connection->{vars};
    $origin = $vars->{HTTP_ORIGIN} // '*' if $origin eq '';
    ($protocol) = ($vars->{HTTP_SEC_WEBSOCKET_PROTOCOL} // '') =~ /([^\s,]+)/ if $protocol eq '';
    my $error = $connection->accept_websocket($key, $origin, $protocol // '', []);
    fail('unable to complete websocket handshake') if length $error;
    return $NOTHING;
}

sub websocket_recv {
    my $connection = connection();
    my $message = $connection->{is_websocket} && $connection->next_message
        or fail('unable to receive websocket message');
    return length $message->[1] ? $message->[1] : $NOTHING;
}

sub websocket_recv_nb {
    my $connection = connection();
    my $message = $connection->{is_websocket} && $connection->next_message(0);
    fail('unable to receive websocket message')
        if !$message && (!$connection->{is_websocket} || $connection->has_ended);
    return $message && length $message->[1] ? $message->[1] : $NOTHING;
}

sub websocket_send {
    check_arguments(\@_, 1) if !@_;
    send_message('T', $_[0]) or fail('unable to send websocket message');
    return $NOTHING;
}

sub websocket_send_binary {
    check_arguments(\@_, 1) if !@_;
    send_message('D', $_[0]) or fail('unable to send websocket binary message');
    return $NOTHING;
}

sub send_message {
    my ($type, $message) = @_;
    my $connection = connection();
    return 0 if !$connection->{is_websocket} || $connection->{end} || $connection->{is_closing};
    $message //= '';
    utf8::encode($message) if utf8::is_utf8($message);
    return $connection->send_record($type, $message);
}

# Readable while a message, or the end of the connection, waits.
sub connection_fd {
    return connection()->fileno;
}

# Channels

sub websocket_channel_join {
    check_arguments(\@_, 1);
    channel_request('J', $_[0], 'unable to join websocket channel: there has been no handshake');
    return $NOTHING;
}

sub websocket_channel_leave {
    check_arguments(\@_, 1);
    channel_request('L', $_[0], 'unable to leave websocket channel: there has been no handshake');
    return $NOTHING;
}

sub channel_request {
    my ($type, $name, $error) = @_;
    my $connection = connection();
    $connection->{is_websocket} && $connection->send_record($type, octets($name)) or fail($error);
    return;
}

# Have a channel's messages kept for channel_recv; those that nobody takes in time are dropped.
sub channel_join {
    check_arguments(\@_, 1);
    my $connection = connection();
    my $name = octets($_[0]);
    $connection->{joined}{$name} ||= UwsgiWs::Subscription->new($connection, 'drop', $name);
    return $NOTHING;
}

sub channel_leave {
    check_arguments(\@_, 1);
    my $subscription = delete connection()->{joined}{ octets($_[0]) };
    $subscription->close if $subscription;
    return $NOTHING;
}

# Send a message to all who have joined a channel; the sender need not have. Bytes that are no UTF-8 go as binary, as a
# browser ends the connection over such text.
sub channel_send {
    check_arguments(\@_, 2);
    my ($name, $message) = map { octets($_) } @_[0, 1];
    my $kind = utf8::decode(my $copy = $message) ? 'T' : 'D';
    UwsgiWs::Process::publish($name, $kind, $message) or fail('unable to send channel message');
    return $NOTHING;
}

# Return the next message of a channel that has been joined by channel_join; undef when none has come in time.
# Timeout: seconds; a negative number, or none, waits for ever, 0 only looks.
sub channel_recv {
    check_arguments(\@_, 1);
    my ($name, $timeout) = @_;
    my $subscription = connection()->{joined}{ octets($name) } or fail('unable to receive channel message');
    my $message = $subscription->next_message(defined $timeout && $timeout >= 0 ? $timeout : undef);
    fail('unable to receive channel message') if !$message && $subscription->has_ended;
    return $message ? $message->[2] : $NOTHING;
}

# Waiting. What shall be waited for is registered; suspend waits for the first of it.

sub wait_fd_read {
    check_arguments(\@_, 1);
    return register_wait(0, @_);
}

sub wait_fd_write {
    check_arguments(\@_, 1);
    return register_wait(1, @_);
}

sub register_wait {
    my ($is_for_writing, $fd, $timeout) = @_;
    my $connection = connection();
    push @{ $connection->{waits} }, [$fd, $is_for_writing];
    wait_at_most($connection, $timeout) if $timeout;
    return $NOTHING;
}

sub wait_at_most {
    my ($connection, $seconds) = @_;
    my $shortest = $connection->{wait_at_most};
    $connection->{wait_at_most} = $seconds if !defined $shortest || $seconds < $shortest;
    return;
}

sub async_sleep {
    check_arguments(\@_, 1);
    my ($seconds) = @_;
    $UwsgiWs::Connection::Waiting->pause($seconds) if $seconds > 0;
    return $NOTHING;
}

sub suspend {
    my $connection = connection();
    my $waits = delete $connection->{waits};
    my $most = delete $connection->{wait_at_most};
    $connection->{ready_fd} = -1;
    $connection->flush;
    if ($waits) {
        my $fd = $UwsgiWs::Connection::Waiting->first_ready($waits, $most);
        $connection->{ready_fd} = $fd if defined $fd;
    }
    else {
        $UwsgiWs::Connection::Waiting->yield;
    }
    return $NOTHING;
}

# The descriptor that ended the last suspend; -1 when its time had passed.
sub ready_fd {
    return connection()->{ready_fd} // -1;
}

# The process

# Write to the log; no newline is added.
sub log {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    check_arguments(\@_, 1);
    UwsgiWs::Log::write_log($_[0]);
    return $NOTHING;
}

sub worker_id {
    return UwsgiWs::Process::number();
}

# Have a function called when the process is about to handle requests; the one given last counts.
sub postfork {
    check_arguments(\@_, 1);
    UwsgiWs::Process::set_hook('postfork', $_[0]);
    return 1;
}

# Have a function called when the process ends; the one given last counts.
sub atexit {
    check_arguments(\@_, 1);
    UwsgiWs::Process::set_hook('atexit', $_[0]);
    return 1;
}

# Have the server reload: its workers, and these processes.
sub reload {
    return UwsgiWs::Process::reload() ? 1 : '';
}

# `use uwsgi` brings nothing: the names are called in full.
sub import { return }

# What uWSGI has and a companion has not says so.
our $AUTOLOAD;

sub AUTOLOAD {    ## no critic (ClassHierarchies::ProhibitAutoloading)
    return fail("$AUTOLOAD is not offered to Perl applications here");
}

sub DESTROY { return }

1;
