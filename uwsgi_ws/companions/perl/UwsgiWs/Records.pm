package UwsgiWs::Records;

# The records of the companion protocol: bytes to values and back. No sockets here, and no waiting.
#
# Source: docs/companion-protocol.md.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(
    VERSION HEAD_SIZE record take_record values_of octets text shown
    version response_head handshake close_record ping publication count_question body_question
);

use constant VERSION => 1;

# Type and length, before each payload.
use constant HEAD_SIZE => 5;

# What the lengths of names and values in a block of vars can tell.
use constant LONGEST_VALUE => 0xFFFF;

# Return a record: one letter, the payload's length, the payload.
sub record {
    my ($type, $payload) = @_;
    return pack 'aN/a*', $type, $payload;
}

# Cut the first record off a buffer; return its type and payload, or nothing while it is not whole.
# Dies where it is longer than may be.
sub take_record {
    my ($buffer, $limit) = @_;
    return if length ${$buffer} < HEAD_SIZE;
    my ($type, $length) = unpack 'aN', ${$buffer};
    die sprintf "a record of type %s and %d bytes: at most %d may come\n", shown($type), $length, $limit
        if $length > $limit;
    return if length ${$buffer} < HEAD_SIZE + $length;
    my $record = substr ${$buffer}, 0, HEAD_SIZE + $length, '';
    return $type, substr $record, HEAD_SIZE;
}

# Return a string's bytes: those of UTF-8 where Perl holds it as characters, as uWSGI's SvPV has them.
sub octets {
    my ($string) = @_;
    $string = "$string";
    utf8::encode($string) if utf8::is_utf8($string);
    return $string;
}

# Return bytes of UTF-8 as characters; what is none stays as it is.
sub text {
    my ($bytes) = @_;
    utf8::decode($bytes);
    return $bytes;
}

# Return a payload that has to be text as characters.
sub read_text {
    my ($payload) = @_;
    utf8::decode(my $text = $payload) or die 'text that is no UTF-8: ' . shown($payload) . "\n";
    return $text;
}

# Return bytes of a peer's so that a log can show them.
sub shown {
    my ($bytes) = @_;
    my $start = substr $bytes, 0, 60;
    $start =~ s/([^ -\[\]-~])/sprintf '\\x%02x', ord $1/ge;
    return "'$start'";
}

# What each side says first: its version, and the longest payload that it takes.
sub version {
    my ($largest) = @_;
    return record('V', pack 'nN', VERSION, $largest);
}

sub read_version {
    my ($payload) = @_;
    die 'a record of version: ' . shown($payload) . "\n" if length $payload != 6;
    return unpack 'nN', $payload;
}

# Return modifier1 and the vars of a request, a uwsgi packet.
sub read_request {
    my ($payload) = @_;
    die "a request without a head\n" if length $payload < 4;
    my ($modifier1, $size) = unpack 'Cv', $payload;
    my $block = substr $payload, 4;
    die sprintf "a request that says %d bytes of vars and has %d\n", $size, length $block if $size != length $block;
    return $modifier1, read_block($block);
}

# Return names and values in turn, in order.
sub read_block {
    my ($block) = @_;
    my @pairs = unpack '(v/a*)*', $block;
    # unpack takes what there is for what a length promised.
    die "a block that ends amid a name or a value\n" if @pairs % 2 || $block ne pack '(v/a*)*', @pairs;
    for (my $at = 0 ; $at < @pairs ; $at += 2) {
        die "a block with an empty name\n" if $pairs[$at] eq '';
    }
    return \@pairs;
}

sub block {
    my (@pairs) = @_;
    for my $value (@pairs) {
        die sprintf "a header of %d bytes: at most %d may be\n", length $value, LONGEST_VALUE
            if length $value > LONGEST_VALUE;
    }
    return pack '(v/a*)*', @pairs;
}

# The status, such as "200 OK", and the headers of a response: names and values in turn.
sub response_head {
    my ($status, $headers) = @_;
    return record('S', block(':status', $status, @{$headers}));
}

# What a handshake is asked for with. Empty values are not given; headers are names and values in turn.
sub handshake {
    my ($key, $origin, $protocol, $headers) = @_;
    return record('H', block(
        (length $key ? (':key' => $key) : ()),
        (length $origin ? (':origin' => $origin) : ()),
        (length $protocol ? (':protocol' => $protocol) : ()),
        @{$headers},
    ));
}

sub close_record {
    my ($code, $reason) = @_;
    return record('C', pack 'na*', $code, $reason);
}

sub read_close {
    my ($payload) = @_;
    die 'an end without a code: ' . shown($payload) . "\n" if length $payload < 2;
    my ($code, $reason) = unpack 'na*', $payload;
    return $code, read_text($reason);
}

sub ping {
    my ($id) = @_;
    return record('P', pack 'Q>', $id);
}

# Return a ping's id, and the seconds that its pong took, or NaN.
sub read_ping {
    my ($payload) = @_;
    die 'the result of a ping: ' . shown($payload) . "\n" if length $payload != 16;
    return unpack 'Q>d>', $payload;
}

# A message for a channel: its kind is T for text, D for binary. The record may ask to leave this client out.
sub publication {
    my ($channel, $kind, $is_for_others_only, $payload) = @_;
    return record('U', pack 'n/a*aCa*', $channel, $kind, $is_for_others_only ? 1 : 0, $payload);
}

# Return channel, kind and payload of a message that a subscription gets.
sub read_message {
    my ($payload) = @_;
    my $length = length $payload < 2 ? -1 : unpack 'n', $payload;
    die 'a message of a channel: ' . shown($payload) . "\n"
        if $length < 0 || length $payload < 3 + $length || substr($payload, 2 + $length, 1) !~ /\A[TD]\z/;
    return unpack 'n/a*aa*', $payload;
}

sub count_question {
    my ($tag, $channel) = @_;
    return record('N', pack 'Na*', $tag, $channel);
}

sub read_count {
    my ($payload) = @_;
    die 'the answer to a count: ' . shown($payload) . "\n" if length $payload != 8;
    return unpack 'NN', $payload;
}

# Ask for a piece of the request's body.
sub body_question {
    my ($size) = @_;
    return record('R', pack 'N', $size);
}

# What a worker may send, and how its payload is read.
my %reading = (
    V => \&read_version,
    Q => \&read_request,
    F => \&read_text,
    H => \&read_text,
    C => \&read_close,
    P => \&read_ping,
    M => \&read_message,
    N => \&read_count,
    map { $_ => sub { return $_[0] } } qw(B T D),
);

# Return what a worker's record says. Dies where it is none.
sub values_of {
    my ($type, $payload) = @_;
    my $read = $reading{$type} or die 'a record of unknown type ' . shown($type) . ': ' . shown($payload) . "\n";
    return $read->($payload);
}

1;
