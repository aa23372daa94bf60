# Ordinary requests, good and bad.

use strict;
use warnings;

my %answers = (
    '/' => sub { [200, ['Content-Type' => 'text/plain', 'X-One' => 1, 'X-One' => 2], ['hello ', 'world']] },
    '/phrase' => sub { ['404 Never Heard Of', [], []] },
    '/env' => sub {
        my $env = shift;
        [200, [], [map { "$_=" . ($env->{$_} // '') . "\n" } sort keys %{$env}]];
    },
    '/arguments' => sub { [200, [], [join ',', $0 =~ s{.*/}{}r, @ARGV, $ENV{PLACK_ENV}, $ENV{UWSGI_WS_COMPANION} // 'none']] },
    '/echo' => sub {
        my $env = shift;
        my ($body, $sizes) = ('', '');
        while (my $count = $env->{'psgi.input'}->read($body, 5, length $body)) { $sizes .= $count }
        [200, [], ["$body $sizes"]];
    },
    '/read-all' => sub {
        my $env = shift;
        my $body = 'kept';
        my $count = $env->{'psgi.input'}->read($body, $env->{CONTENT_LENGTH});
        [200, [], ["$count:$body"]];
    },
    '/offset' => sub {
        my $env = shift;
        my $buffer = 'abc';
        $env->{'psgi.input'}->read($buffer, 2, 5);
        $buffer =~ s/\0/0/g;
        $env->{'psgi.input'}->read($buffer, 2, -1);
        [200, [], [$buffer]];
    },
    '/unread' => sub { [200, [], ['unread']] },
    '/file' => sub { open my $file, '<', $0 or die; [200, [], $file] },
    '/memory' => sub { open my $file, '<', \('m' x 200_000) or die; [200, [], $file] },
    '/object' => sub { [200, [], Lines->new('a', 'b', '', 'c')] },
    '/characters' => sub { [200, ['X-Name' => "\x{20ac}"], ["\x{20ac}\n", "\xe9"]] },
    '/delayed' => sub {
        sub { $_[0]->([201, [], ['delayed']]) }
    },
    '/streamed' => sub {
        sub { my $writer = $_[0]->([200, []]); $writer->write("$_ ") for 1 .. 3; $writer->close }
    },
    '/unclosed' => sub {
        sub { $_[0]->([200, []])->write('unclosed') }
    },
    '/never' => sub {
        sub { }
    },
    '/broken-stream' => sub {
        sub { my $writer = $_[0]->([200, []]); $writer->write('some'); die 'amid' }
    },
    '/errors' => sub {
        my $env = shift;
        $env->{'psgi.errors'}->print("one\n", "two\n");
        $env->{'psgix.logger'}->({ level => 'warn', message => 'three' });
        print "four\n";
        print STDERR "five\n";
        warn "six\n";
        uwsgi::log('seven');
        uwsgi::log("eight\n");
        [200, [], []];
    },
    '/cleanup' => sub {
        my $env = shift;
        push @{ $env->{'psgix.cleanup.handlers'} }, sub { die "bad cleanup\n" }, sub { uwsgi::log("cleaned $_[0]{PATH_INFO}\n") };
        [200, [], ['ok']];
    },
    '/harakiri' => sub { my $env = shift; $env->{'psgix.harakiri.commit'} = 1; [200, [], ["$$"]] },
    '/pid' => sub { [200, [], ["$$"]] },
    '/none' => sub { return },
    '/text' => sub { 'text' },
    '/short' => sub { [200] },
    '/odd' => sub { [200, ['X-One'], []] },
    '/name' => sub { [200, ['X One' => 1], []] },
    '/value' => sub { [200, ['X-One' => "a\r\nb"], []] },
    '/status' => sub { ['fine', [], []] },
    '/body' => sub { [200, [], 'text'] },
    '/die' => sub { die 'oops' },
    '/die-handler' => sub {
        my $env = shift;
        local $SIG{__DIE__} = sub { uwsgi::log("handled: $_[0]") };
        $env->{'psgi.input'}->read(my $body, 5);
        die "oops\n";
    },
    '/die-object' => sub { die bless {}, 'Mute' },
    '/die-list' => sub { die { code => 5 } },
    '/next' => sub { no warnings 'exiting'; next },
    '/last' => sub { no warnings 'exiting'; last },
    '/exit' => sub { exit 7 },
    '/alarm' => sub {
        local $SIG{ALRM} = sub { die "late\n" };
        alarm 1;
        my $is_done = eval { uwsgi::async_sleep(2); 1 };
        [200, [], [$is_done ? 'done' : $@]];
    },
    '/fork' => sub {
        my $pid = fork // die;
        return [200, [], ['child']] if !$pid;
        waitpid $pid, 0;
        [200, [], ['parent']];
    },
    '/fork-exit' => sub {
        my $pid = fork // die;
        exit 3 if !$pid;
        waitpid $pid, 0;
        [200, [], ['child exited with ' . ($? >> 8)]];
    },
    '/fork-stay' => sub {
        my $pid = fork // die;
        if (!$pid) { sleep 30; exit }
        [200, [], [$pid]];
    },
    '/close-all' => sub { close STDIN; close STDOUT; close STDERR; [200, [], ['closed']] },
    '/descriptors' => sub { [200, [], [join ',', map { readlink("/proc/self/fd/$_") // 'none' } 0 .. 2]] },
    '/program' => sub { [200, [], [scalar `ls /proc/self/fd | wc -l`]] },
    '/ignored' => sub { [200, [], [scalar `grep SigIgn /proc/self/status`]] },
    '/handshake-late' => sub { my $env = shift; eval { uwsgi::websocket_handshake() } or [400, [], [$@]] },
    '/absent' => sub { [200, [], [eval { uwsgi::cache_get('x'); 1 } ? 'there' : $@, defined &uwsgi::cache_get ? 1 : 0]] },
    '/ping' => sub { uwsgi::reload() },
);

uwsgi::postfork(sub { uwsgi::log('number ' . uwsgi::worker_id() . "\n") });
uwsgi::atexit(sub { uwsgi::log("at exit\n") });

sub {
    my $env = shift;
    my $answer = $answers{ $env->{PATH_INFO} } or return [404, [], []];
    return $answer->($env);
};

package Lines;

sub new { my $class = shift; return bless [@_], $class }
sub getline { my $self = shift; return shift @{$self} }
sub close { uwsgi::log("closed\n"); return }

package Mute;

use overload q{""} => sub { die 'mute' };
