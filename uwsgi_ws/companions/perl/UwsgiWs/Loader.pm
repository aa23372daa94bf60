package UwsgiWs::Loader;

# Loads an application as uWSGI does: by Plack where it is installed, else by `do`.

use strict;
use warnings;

use Exporter qw(import);
use File::Spec ();
use overload ();
use Scalar::Util qw(blessed reftype);

use UwsgiWs::Process ();

our @EXPORT_OK = qw(cause_of load_application run_file);

# Return the application of a file, or of a class for Plack.
# Dies with one line: file, line and cause.
sub load_application {
    my ($file, $may_use_plack) = @_;
    my $has_plack = $may_use_plack && eval { require Plack::Util; 1 };
    my $is_class = $has_plack && $file =~ /\A\w+(?:::\w+)*\z/ && !-e $file;
    die "$file: no such file\n" if !$is_class && !-f $file;
    my $application;
    my $is_loaded = eval {
        $application = $has_plack ? Plack::Util::load_psgi($is_class ? $file : File::Spec->rel2abs($file)) : run_file($file);
        $application = $application->to_app if blessed $application && $application->can('to_app');
        1;
    };
    die cause_of($file, $@) . "\n" if !$is_loaded;
    my $is_callable = (reftype($application) // '') eq 'CODE'
        || blessed $application && overload::Method($application, '&{}');
    die "$file: its last value is no application, a code reference, but " . kind_of($application) . "\n" if !$is_callable;
    return $application;
}

sub kind_of {
    my ($value) = @_;
    return !defined $value ? 'undef' : ref $value ? 'a reference to ' . ref $value : "'" . substr($value, 0, 60) . "'";
}

# Run a file in package main and return its last value. Dies of what it dies of.
sub run_file {
    my ($file) = @_;
    local ($@, $!);
    my $path = File::Spec->rel2abs($file);
    my $value = do $path;
    die $@ if $@;
    die "$!\n" if !defined $value && $! && !-r $path;
    return $value;
}

# Return what a file died of in one line, with the place in front.
sub cause_of {
    my ($file, $error) = @_;
    my $text = UwsgiWs::Process::error_text($error);
    $text =~ s/\AError while loading \S+: //;
    my ($cause, $where, $line) = $text =~ /\A(.+?) at (\S[^\n]*?) line (\d+)(?:[.,]|$)/ms;
    ($cause, $where) = ($text, $file) if !defined $line;
    if (defined $line && $text =~ /\A\Q$cause\E at \Q$where\E line $line, (near ".*)/s) {
        $cause .= ", $1";
    }
    $cause =~ s/ \(\@INC contains:.*\)//s;
    $cause =~ s/\s+/ /g;
    $cause =~ s/ \z//;
    $where =~ s/\A\(eval \d+\)\z/$file/;
    return $where . (defined $line ? " line $line" : '') . ": $cause";
}

1;
