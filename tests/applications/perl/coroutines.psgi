# What needs --coroae.

use strict;
use warnings;

use AnyEvent;
use Coro;
use Coro::AnyEvent;

my %applications = (
    '/callback' => sub {    # all of it in a callback
        uwsgi::websocket_handshake();
        my $done = AnyEvent->condvar;
        my $watcher = AnyEvent->io(fh => uwsgi::connection_fd, poll => 'r', cb => sub {
            while (1) {
                my $message = eval { uwsgi::websocket_recv_nb };
                return $done->send($@) if $@;
                return if !defined $message;
                my $timer; $timer = AnyEvent->timer(after => 0, cb => sub { undef $timer; uwsgi::websocket_send("timer $message") });
                AnyEvent::postpone { uwsgi::websocket_send("postponed $message") };
                uwsgi::websocket_send($message);
            }
        });
        uwsgi::log($done->recv);
    },
    '/coroutine' => sub {
        uwsgi::websocket_handshake();
        my $reader = async { uwsgi::websocket_send('reader ' . uwsgi::websocket_recv) };
        my $counter = async { uwsgi::websocket_send('count ' . UwsgiWs::count('room')) };
        $counter->join;
        $reader->join;
    },
    '/big-in-callback' => sub {
        uwsgi::websocket_handshake();
        my $done = AnyEvent->condvar;
        my $timer = AnyEvent->timer(after => 0, cb => sub { uwsgi::websocket_send('b' x 1_000_000) for 1 .. 3; $done->send });
        $done->recv;
        uwsgi::websocket_send('end');
    },
    '/later' => sub {
        return sub {
            my $respond = shift;
            my $timer; $timer = AnyEvent->timer(after => 0.01, cb => sub {
                undef $timer;
                my $writer = $respond->([200, []]);
                $writer->write('la');
                $timer = AnyEvent->timer(after => 0.01, cb => sub { undef $timer; $writer->write('ter'); $writer->close });
            });
        };
    },
    '/forgotten' => sub {
        return sub {
            my $respond = shift;
            my $timer; $timer = AnyEvent->timer(after => 0.01, cb => sub { undef $timer; undef $respond });
        };
    },
    '/dying-coroutine' => sub {
        my $coroutine = async { die "in a coroutine\n" };
        my @result = async { (1, 2) }->join;
        $coroutine->join;
        [200, [], ["@result"]];
    },
    '/outside' => sub {
        my $answer;
        my $timer = AnyEvent->timer(after => 0, cb => sub { $answer = 'in a callback' });
        Coro::AnyEvent::sleep(0.02);
        [200, [], [$answer]];
    },
    '/ended-watcher' => sub {
        our @left;
        uwsgi::websocket_handshake();
        push @left, AnyEvent->timer(after => 0.05, cb => sub { eval { uwsgi::websocket_send('late'); 1 } or uwsgi::log("left: $@") });
    },
);

my $app = sub {
    my $env = shift;
    return $applications{ $env->{PATH_INFO} }->($env);
};
