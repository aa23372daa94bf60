package UwsgiWs::Message;

# A message: text, or bytes. It is true even when it is empty.

use strict;
use warnings;

use overload
    q{""} => sub { $_[0]->is_text ? $_[0]->text : $_[0]->bytes },
    bool => sub { 1 },
    fallback => 1;

# Kind: T for text, its payload UTF-8, or D.
sub new {
    my ($class, $kind, $payload, $channel) = @_;
    return bless [$kind, $payload, $channel], $class;
}

sub is_text { return $_[0][0] eq 'T' }

sub is_binary { return $_[0][0] eq 'D' }

# The payload's bytes; of a text those of its UTF-8.
sub bytes { return $_[0][1] }

# The characters of a text.
sub text { return UwsgiWs::Records::text($_[0][1]) }

# The channel that it came by, if any.
sub channel { return $_[0][2] }

1;
