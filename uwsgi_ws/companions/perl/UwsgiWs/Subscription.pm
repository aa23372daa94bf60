package UwsgiWs::Subscription;

# What a request reads of channels, rather than having it sent to its client. At most so many bytes wait: then, as its
# owner chose, further messages are dropped, or it ends.

use strict;
use warnings;

use Scalar::Util qw(refaddr weaken);

use UwsgiWs::Connection ();
use UwsgiWs::Records qw(octets text);

# Bytes that may wait, with what a message takes beside its payload.
use constant MOST_WAITING => 1 << 20;
use constant OVERHEAD => 136;

# Slow: "drop" or "close", what happens when too much waits.
sub new {
    my ($class, $connection, $slow, @names) = @_;
    my $self = bless { slow => $slow, waiting => [], size => 0, names => [] }, $class;
    $self->{connection} = $connection;
    weaken $self->{connection};
    for my $name (map { octets($_) } @names) {
        push @{ $self->{names} }, $name;
        my $others = $connection->{subscriptions}{$name} ||= [];
        $connection->send_record('I', $name) if !grep { defined } @{$others};
        push @{$others}, $self;
        weaken $others->[-1];
    }
    $connection->flush;
    return $self;
}

# Take a message of a channel's.
sub offer {
    my ($self, @message) = @_;
    my $size = OVERHEAD + length $message[2];
    if ($self->{size} + $size > MOST_WAITING) {
        $self->{is_late} = 1 if $self->{slow} eq 'close';
        return;
    }
    $self->{size} += $size;
    push @{ $self->{waiting} }, \@message;
    return;
}

# Return channel, kind and payload of the next message; nothing when none came in time, or it has ended.
sub next_message {
    my ($self, $timeout) = @_;
    my $connection = $self->{connection};
    if (!@{ $self->{waiting} }) {
        return if $self->has_ended;
        $connection->wait_for(sub { @{ $self->{waiting} } }, UwsgiWs::Connection::until_after($timeout)) or return;
    }
    my $message = shift @{ $self->{waiting} };
    $self->{size} -= OVERHEAD + length $message->[2];
    return $message;
}

sub has_ended {
    my ($self) = @_;
    return $self->{is_closed} || $self->{is_late} || !$self->{connection} || $self->{connection}{is_over};
}

# Return the next message as a UwsgiWs::Message; undef once the timeout has passed. Dies when it has ended.
sub recv {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self, $timeout) = @_;
    my $message = $self->next_message($timeout);
    if ($message) {
        my ($channel, $kind, $payload) = @{$message};
        return UwsgiWs::Message->new($kind, $payload, text($channel));
    }
    UwsgiWs::fail('this subscription is slow: too much waited for it, and it was closed') if $self->{is_late};
    UwsgiWs::fail('this subscription has ended') if $self->has_ended;
    my $nothing;
    return $nothing;
}

sub close {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self) = @_;
    return if $self->{is_closed};
    $self->{is_closed} = 1;
    my $connection = $self->{connection} or return;
    for my $name (@{ $self->{names} }) {
        my @others = grep { defined && refaddr $_ != refaddr $self } @{ $connection->{subscriptions}{$name} || [] };
        weaken $_ for @others;
        $connection->{subscriptions}{$name} = \@others;
        $connection->send_record('O', $name) if !@others;
    }
    return;
}

sub DESTROY {
    my ($self) = @_;
    local ($@, $!);
    eval { $self->close; 1 } or return;
    return;
}

1;
