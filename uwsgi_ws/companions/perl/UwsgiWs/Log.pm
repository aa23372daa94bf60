package UwsgiWs::Log;

# The log is where standard error goes when the process starts, whatever an application does with STDERR.

use strict;
use warnings;

use Exporter qw(import);
use Fcntl qw(F_DUPFD F_GETFD F_SETFD FD_CLOEXEC);

our @EXPORT_OK = qw(open_log say_line write_log);

my $log;

# Keep standard error for the log, and have what is printed to STDOUT go there, too.
sub open_log {
    open $log, '>&', \*STDERR or die "cannot write to the log: $!\n";
    fcntl $log, F_SETFD, FD_CLOEXEC or die "cannot write to the log: $!\n";
    binmode $log;
    open STDOUT, '>&', \*STDERR or die "cannot write to the log: $!\n";
    STDOUT->autoflush(1);
    return;
}

# Write text as it is: no newline is added, as in uWSGI.
sub write_log {
    my ($text) = @_;
    utf8::encode($text) if utf8::is_utf8($text);
    my $at = 0;
    while ($at < length $text) {
        my $count = syswrite $log // *STDERR, $text, length($text) - $at, $at;
        return if !defined $count && !$!{EINTR};    # nobody reads the log: nothing that could be told
        $at += $count // 0;
    }
    return;
}

# Write a line; newlines inside would look like further ones.
sub say_line {
    my ($text) = @_;
    chomp $text;
    return write_log("$text\n");
}

1;
