package UwsgiWs::Process;

# What concerns the whole process: its number, its parent, its hooks, what it publishes.

use strict;
use warnings;

use Exporter qw(import);
use Socket qw(AF_UNIX MSG_NOSIGNAL SOCK_STREAM sockaddr_un);

use UwsgiWs::Connection ();
use UwsgiWs::Log qw(say_line);
use UwsgiWs::Records qw(publication);

our @EXPORT_OK = qw(error_text);

my $process = $$;
my $parent = getppid;
my $number = $ENV{UWSGI_WS_WORKER} // 0;
my $channel_socket = $ENV{UWSGI_WS_CHANNEL_SOCKET};
my %hooks;

# Whether this is the process that was started, not a child of the application's.
sub is_ours { return $$ == $process }

# The process's place among those of its pool, from 1.
sub number { return 0 + $number }

# Send SIGHUP to the master; false where it has gone.
sub reload {
    return getppid == $parent && kill HUP => $parent;
}

sub set_hook {
    my ($name, $function) = @_;
    $hooks{$name} = $function;
    return;
}

# Call what the application has set; it is logged if it dies.
sub call_hook {
    my ($name) = @_;
    my $function = delete $hooks{$name} or return;
    my $is_done = eval { $function->(); 1 };
    say_line("[uwsgi-perl error] $name: " . error_text($@)) if !$is_done;
    return;
}

# Publish a message: by the worker whose request is being handled, else by the server's channel socket.
# Only for others: leaves out the request's own client.
sub publish {
    my ($channel, $kind, $payload, $is_for_others_only) = @_;
    return 0 if length $channel > 0xFFFF;
    my $waiting = $UwsgiWs::Connection::Waiting;
    my $connection = $waiting && $waiting->current;
    if ($connection) {
        my $record = publication($channel, $kind, $is_for_others_only, $payload);
        return 0 if length $record > $connection->{limit};
        return $connection->write_out($record);
    }
    return publish_by_socket($channel, $kind, $payload);
}

# The socket's records: docs/channels.md.
sub publish_by_socket {
    my ($channel, $kind, $payload) = @_;
    return 0 if !length($channel_socket // '');
    (my $path = $channel_socket) =~ s/\A@/\0/;
    socket my $socket, AF_UNIX, SOCK_STREAM, 0 or return 0;
    connect $socket, sockaddr_un($path) or return 0;
    my $record = pack 'CvVa*a*', $kind eq 'T' ? 1 : 2, length $channel, length $payload, $channel, $payload;
    my $answer = '';
    while (length $record) {
        my $count = send $socket, $record, MSG_NOSIGNAL;
        last if !defined $count && !$!{EINTR};    # refused before it had all come: the answer says why
        substr $record, 0, $count // 0, '';
    }
    until ($answer =~ /\n/) {
        my $count = sysread $socket, $answer, 4096, length $answer;
        last if defined $count ? !$count : !$!{EINTR};
    }
    say_line("cannot publish to $channel_socket: " . ($answer =~ s/\Aerror //r || 'it gave no answer'))
        if $answer ne "ok\n";
    return $answer eq "ok\n";
}

# Return what was died with as text, without a newline at its end: an object's own words where it has some.
sub error_text {
    my ($error) = @_;
    my $text = eval { local $SIG{__DIE__}; "$error" };
    $text = ref($error) . ', which cannot be shown' if !defined $text;
    $text = 'died of nothing that can be shown' if $text eq '';
    utf8::encode($text) if utf8::is_utf8($text);
    $text =~ s/\n+\z//;
    return $text;
}

1;
