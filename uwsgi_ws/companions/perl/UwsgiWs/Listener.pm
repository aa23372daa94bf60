package UwsgiWs::Listener;

# The socket that the worker connects to, one connection a request: inherited, and shared with the pool's processes.

use strict;
use warnings;

use Exporter qw(import);
use Fcntl qw(F_DUPFD F_GETFD F_SETFD FD_CLOEXEC);
use IO::Handle ();

use UwsgiWs::Connection ();

our @EXPORT_OK = qw(open_inherited accept_connection has_master_gone);

# Descriptors below are those that standard input, output and error may be given anew.
use constant FIRST_OF_OURS => 3;

# Take a descriptor that was inherited.
sub open_inherited {
    my ($fd) = @_;
    open my $handle, '+<&=', $fd or die "cannot use descriptor $fd: $!\n";
    keep_from_programs($handle);
    $handle->blocking(0);
    return $handle;
}

# Whether the other end of the control socket has been closed. Nothing else comes over it.
sub has_master_gone {
    my ($control) = @_;
    my $count = sysread $control, my $bytes, 4096;
    return defined $count && $count == 0;
}

# Return a new connection, or undef where another process was faster.
sub accept_connection {
    my ($listener, $is_blocking) = @_;
    accept my $handle, $listener or return;
    if (fileno $handle < FIRST_OF_OURS) {
        # The application has closed STDIN, STDOUT or STDERR. Programs that it starts would get the connection for theirs.
        my $fd = fcntl $handle, F_DUPFD, FIRST_OF_OURS or return;
        open my $moved, '+<&=', $fd or return;
        keep_from_programs($moved);
        close $handle;    # Perl does not by itself: it takes the handle for its own standard one
        $handle = $moved;
    }
    binmode $handle;
    $handle->blocking(0) if !$is_blocking;
    return UwsgiWs::Connection->new($handle);
}

sub keep_from_programs {
    my ($handle) = @_;
    my $flags = fcntl $handle, F_GETFD, 0;
    fcntl $handle, F_SETFD, $flags | FD_CLOEXEC or die "cannot keep a descriptor from programs: $!\n";
    return;
}

1;
