#!/usr/bin/env perl

# Serves a PSGI application as a companion of the server: perl -I DIR DIR/companion.pl FILE ARG...
# What it inherits, and what it is told by the environment, is in docs/companion-protocol.md.

use strict;
use warnings;

use IO::File ();
use IO::Handle ();
use IO::Socket ();

use UwsgiWs::Blocking ();
use UwsgiWs::Connection ();
use UwsgiWs::Listener qw(open_inherited);
use UwsgiWs::Loader qw(cause_of load_application run_file);
use UwsgiWs::Log qw(open_log say_line);
use UwsgiWs::Process ();
use UwsgiWs::Psgi ();
use UwsgiWs::Records ();
use uwsgi ();
use UwsgiWs ();

# Of a start that fails; the server ends with it, too.
use constant CANNOT_START => 1;

my ($file, @arguments) = @ARGV;
my %settings = take_settings();
my $is_serving = 0;
# When files that have been loaded were modified, as seen last.
my %seen;

main();

# Return what the environment says. Programs that the application starts do not see it.
sub take_settings {
    my %found;
    for my $name (grep { /\AUWSGI_WS_/ } keys %ENV) {
        $found{ $name =~ s/\AUWSGI_WS_//r } = delete $ENV{$name};
    }
    return %found;
}

sub refuse {
    my ($cause) = @_;
    $cause =~ s/\s+\z//;
    say_line("uwsgi_ws companion: $cause");
    exit CANNOT_START;
}

sub main {
    open_log();
    # A terminal sends the first two to all processes; the third is an error of the write. They have handlers that do
    # nothing, as what is ignored would be so by programs that the application starts, too.
    @SIG{qw(INT HUP PIPE)} = (sub { }) x 3;    ## no critic (Variables::RequireLocalizedPunctuationVars)
    my $version = $settings{COMPANION} // '';
    refuse("$0: this companion speaks version " . UwsgiWs::Records::VERSION . " of the protocol, the server '$version'")
        if $version ne UwsgiWs::Records::VERSION;
    my ($listener, $control) = map { open_inherited($_) } $settings{COMPANION_FD}, $settings{COMPANION_CONTROL_FD};
    say_line('*** --psgi-enable-psgix-io has no effect: the worker has the connection of the client ***')
        if $settings{PERL_PSGIX_IO} && UwsgiWs::Process::number() == 1;
    choose_concurrency();
    my $application = load();
    UwsgiWs::Process::call_hook('postfork');
    $is_serving = 1;
    my $shared = UwsgiWs::Psgi::shared_environment(($settings{WORKERS} // 1) > 1, !!$settings{PERL_CORO});
    my $seconds = UwsgiWs::Process::number() == 1 && $settings{PERL_AUTO_RELOAD} || undef;
    $UwsgiWs::Connection::Waiting->serve(
        listener => $listener,
        control => $control,
        ready => sub { syswrite $control, UwsgiWs::Records::version(UwsgiWs::Connection::LARGEST) },
        most => $settings{CONCURRENCY} // 0,
        handle => sub { UwsgiWs::Psgi::answer($application, $_[0], $shared) },
        seconds => $seconds,
        tick => \&reload_when_changed,
    );
    exit 0;
}

sub choose_concurrency {
    $UwsgiWs::Connection::Waiting = 'UwsgiWs::Blocking';
    return if !$settings{PERL_CORO};
    eval { require UwsgiWs::Coroutines; 1 }
        or refuse('--coroae needs Coro and AnyEvent (Debian: libcoro-perl libanyevent-perl): ' . cause_of($0, $@));
    $UwsgiWs::Connection::Waiting = 'UwsgiWs::Coroutines';
    UwsgiWs::Coroutines->prepare;
    return;
}

# Return the application. What cannot be loaded ends the process.
sub load {
    $ENV{PLACK_ENV} //= 'uwsgi';       ## no critic (Variables::RequireLocalizedPunctuationVars)
    $ENV{PLACK_SERVER} //= 'uwsgi';    ## no critic (Variables::RequireLocalizedPunctuationVars)
    require lib;
    lib->import("$_/lib/perl5") for reverse lines('PERL_LOCAL_LIB');
    run($_) for lines('PERL_EXEC');
    @ARGV = @arguments;                ## no critic (Variables::RequireLocalizedPunctuationVars)
    $0 = $file;                        ## no critic (Variables::RequireLocalizedPunctuationVars)
    my $application = eval { load_application($file, !$settings{PERL_NO_PLACK}) } or refuse($@);
    run($_) for lines('PERL_EXEC_POST_FORK');
    return $application;
}

sub lines {
    my ($name) = @_;
    return split /\n/, $settings{$name} // '';
}

sub run {
    my ($path) = @_;
    refuse("$path: no such file") if !-f $path;
    eval { run_file($path); 1 } or refuse(cause_of($path, $@));
    return;
}

# Have the server reload when a file that has been loaded is newer than it was.
sub reload_when_changed {
    my $has_changed = 0;
    my %is_ignored = map { $_ => 1 } lines('PERL_AUTO_RELOAD_IGNORE');
    for my $path (grep { defined && !$is_ignored{$_} } values %INC, $file) {
        my $modified = (stat $path)[9] // next;
        $has_changed ||= $modified > ($seen{$path} //= $modified);
        $seen{$path} = $modified;
    }
    return if !$has_changed;
    say_line('[perl-auto-reloader] a file has been modified');
    UwsgiWs::Process::reload();
    return;
}

END {
    # A child of the application's has nothing to end here, and a start that failed has said why.
    if (UwsgiWs::Process::is_ours() && $is_serving) {
        my $status = $?;
        for my $connection ($UwsgiWs::Connection::Waiting->unfinished) {
            $connection->finish("[uwsgi-perl error] the application called exit($status)");
        }
        UwsgiWs::Process::call_hook('atexit');
        $? = $status;    ## no critic (Variables::RequireLocalizedPunctuationVars)
    }
}
