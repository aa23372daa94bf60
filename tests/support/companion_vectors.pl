# Reads and writes test vectors of the companion protocol, JSON files; prints what differs.

use strict;
use warnings;

use JSON::PP ();

use UwsgiWs::Records qw(take_record values_of octets record);

my $LARGEST = 1 << 20;

# The values of a worker's record, by type, as vectors name them.
my %read = (
    V => sub { my ($version, $largest) = @_; return { version => $version, largest => $largest } },
    Q => sub { my ($modifier1, $vars) = @_; return { modifier1 => $modifier1, variables => pairs($vars) } },
    (map { $_ => sub { return { data => $_[0] } } } qw(B T D)),
    (map { $_ => sub { return { text => $_[0] } } } qw(F H)),
    C => sub { my ($code, $reason) = @_; return { code => $code, reason => $reason } },
    P => sub { my ($number, $seconds) = @_; return { number => $number, seconds => $seconds == $seconds ? $seconds : undef } },
    M => sub { my ($channel, $kind, $data) = @_; return { channel => $channel, opcode => $kind, data => $data } },
    N => sub { my ($tag, $number) = @_; return { tag => $tag, number => $number } },
);

# A companion's record, by type, of what vectors say.
my %write = (
    V => sub { my $v = shift; return record('V', pack 'nN', $v->{version}, $v->{largest}) },
    R => sub { return UwsgiWs::Records::body_question($_[0]{size}) },
    (map { my $type = $_; $type => sub { return record($type, $_[0]{data}) } } qw(B T D J L I O)),
    (map { my $type = $_; $type => sub { my $text = $_[0]{text}; utf8::encode($text); return record($type, $text) } } qw(G E)),
    S => sub { return block('S', $_[0]) },
    H => sub { return block('H', $_[0]) },
    C => sub { my $v = shift; utf8::encode(my $reason = $v->{reason}); return UwsgiWs::Records::close_record($v->{code}, $reason) },
    P => sub { return UwsgiWs::Records::ping($_[0]{number}) },
    U => sub {
        my $v = shift;
        return UwsgiWs::Records::publication($v->{channel}, $v->{opcode}, $v->{flags} & 1, $v->{data});
    },
    N => sub { my $v = shift; return UwsgiWs::Records::count_question($v->{tag}, $v->{channel}) },
);

sub block {
    my ($type, $v) = @_;
    my @pairs = map { @{$_} } @{ $v->{pairs} };
    return record($type, UwsgiWs::Records::block(@pairs));
}

sub pairs {
    my ($list) = @_;
    return [map { [@{$list}[2 * $_, 2 * $_ + 1]] } 0 .. @{$list} / 2 - 1];
}

sub all_records {
    my ($bytes, $limit) = @_;
    my @found;
    while (length $bytes) {
        my ($type, $payload) = take_record(\$bytes, $limit) or die "cut\n";
        my @values = values_of($type, $payload);
        push @found, { type => $type, %{ $read{$type}->(@values) } };
    }
    return \@found;
}

my $json = JSON::PP->new->canonical->allow_nonref;
for my $path (@ARGV) {
    open my $file, '<:raw', $path or die "$path: $!";
    my $case = JSON::PP->new->utf8->decode(do { local $/; <$file> });
    my $bytes = pack 'H*', $case->{hex};
    my $is_of_worker = $case->{from} eq 'worker';
    if ($case->{error}) {
        next if !$is_of_worker;
        my $is_taken = eval { all_records($bytes, $case->{limit} // $LARGEST); 1 };
        print "$path: taken, though $case->{error}\n" if $is_taken;
    }
    elsif ($is_of_worker) {
        my $found = eval { all_records($bytes, $LARGEST) };
        print "$path: $@" if !$found;
        my ($told, $wanted) = map { $json->encode($_) } $found, $case->{records};
        # Numbers are numbers, however Perl holds them.
        s/"(?:tag|number|version|largest|code|modifier1|seconds)":\K"?([-+.e0-9]+)"?/0 + $1/ge for $told, $wanted;
        print "$path: $told\nrather than $wanted\n" if $told ne $wanted;
    }
    else {
        my $written = join '', map { $write{ $_->{type} }->($_) } @{ $case->{records} };
        print "$path: ", unpack('H*', $written), "\n" if $written ne $bytes;
    }
}
