package UwsgiWs::ConnectionClosed;

# What the calls of a WebSocket die with once it has ended.

use strict;
use warnings;

use overload q{""} => sub { $_[0]->text }, bool => sub { 1 }, fallback => 1;

sub new {
    my ($class, $code, $reason) = @_;
    my ($package, $file, $line);
    for (my $depth = 0 ; ($package, $file, $line) = caller $depth ; $depth++) {
        last if $package !~ /\AUwsgiWs\b/;
    }
    return bless { code => $code, reason => $reason, file => $file // $0, line => $line // 0 }, $class;
}

sub code { return $_[0]{code} }

sub reason { return $_[0]{reason} }

# Whether a closing handshake ended it.
sub is_clean { return $_[0]{code} != 1006 }

sub text {
    my ($self) = @_;
    my $reason = length $self->{reason} ? " ($self->{reason})" : '';
    return "the WebSocket has ended: $self->{code}$reason at $self->{file} line $self->{line}.\n";
}

1;
