# WebSockets by uWSGI's names.

use strict;
use warnings;

my %applications = (
    '/echo' => sub {
        uwsgi::websocket_handshake();
        while (1) {
            my $message = uwsgi::websocket_recv;
            uwsgi::websocket_send($message // 'undef');
        }
    },
    '/arguments' => sub {
        my $env = shift;
        my @returned = uwsgi::websocket_handshake($env->{HTTP_SEC_WEBSOCKET_KEY}, undef, 'chat');
        push @returned, uwsgi::websocket_send("\x{20ac}"), uwsgi::websocket_send_binary("\xff"), uwsgi::websocket_recv_nb();
        uwsgi::websocket_send(join ',', scalar @returned, map { defined() ? 'defined' : 'undef' } @returned);
        $_ = eval { uwsgi::websocket_send(); 1 } ? 'sent' : $@ and uwsgi::websocket_send($_);
        $_ = eval { uwsgi::websocket_handshake(); 1 } ? 'again' : $@ and uwsgi::websocket_send($_);
    },
    '/unwilling' => sub {
        my $is_open = eval { uwsgi::websocket_handshake(); 1 };
        return [403, [], [$@]] if !$is_open;
    },
    '/descriptor' => sub {
        uwsgi::websocket_handshake();
        my $first = uwsgi::websocket_recv;    # several have been read with it
        my $fd = uwsgi::connection_fd;
        uwsgi::websocket_send("first $first");
        while (1) {
            my $is_ready = is_readable($fd, 10);
            my $message = uwsgi::websocket_recv_nb;
            next if $is_ready && !defined $message;
            uwsgi::websocket_send(defined $message ? "ready $message" : 'nothing');
            uwsgi::websocket_send('quiet') if defined $message && $message eq 'last' && !is_readable($fd, 0.05);
        }
    },
    '/count-between' => sub {
        uwsgi::websocket_handshake();
        my $fd = uwsgi::connection_fd;
        is_readable($fd, 10);
        my $count = UwsgiWs::count('room');
        uwsgi::websocket_send("count $count");
        my $is_ready = is_readable($fd, 10);
        uwsgi::websocket_send(uwsgi::websocket_recv_nb() // 'nothing') for 1 .. 2;
        uwsgi::websocket_send($is_ready ? 'ready' : 'not ready');
    },
    '/count-after-end' => sub {
        uwsgi::websocket_handshake();
        my $fd = uwsgi::connection_fd;
        is_readable($fd, 10);
        my $count = UwsgiWs::count('room');
        my $is_ready = is_readable($fd, 10);
        my $is_over = !eval { uwsgi::websocket_recv_nb; 1 };
        uwsgi::log(join ' ', 'count', $count, $is_ready ? 'ready' : 'not ready', $is_over ? 'over' : 'open', UwsgiWs::count('room'), "\n");
    },
    '/nothing' => sub {
        uwsgi::websocket_handshake();
        my $message = uwsgi::websocket_recv_nb;
        uwsgi::websocket_send(defined $message ? 'something' : 'nothing');
        $_ = eval { 1 while !defined uwsgi::websocket_recv_nb; 1 } ? 'message' : $@ and uwsgi::log($_);
        $_ = eval { uwsgi::websocket_recv; 1 } ? 'message' : $@ and uwsgi::log($_);
    },
    '/waits' => sub {
        uwsgi::websocket_handshake();
        uwsgi::wait_fd_read(uwsgi::connection_fd(), 10);
        uwsgi::suspend();
        uwsgi::websocket_send(uwsgi::ready_fd() == uwsgi::connection_fd() ? 'ready' : 'late');
        uwsgi::websocket_recv_nb();
        uwsgi::wait_fd_read(uwsgi::connection_fd(), 1);
        uwsgi::suspend();
        uwsgi::websocket_send(uwsgi::ready_fd());
        uwsgi::async_sleep(0);
        uwsgi::suspend();
        uwsgi::websocket_send(uwsgi::ready_fd());
    },
    '/channels' => sub {
        uwsgi::websocket_handshake();
        uwsgi::websocket_channel_join('room');
        uwsgi::websocket_channel_leave('room');
        uwsgi::channel_join('news');
        uwsgi::channel_send('news', "caf\xc3\xa9");
        uwsgi::channel_send('news', "\xe9");
        uwsgi::websocket_send(uwsgi::channel_recv('news') // 'undef');
        uwsgi::websocket_send(uwsgi::channel_recv('news', 0) // 'undef');
        uwsgi::channel_leave('news');
        $_ = eval { uwsgi::channel_recv('news'); 1 } ? 'message' : $@ and uwsgi::websocket_send($_);
    },
    '/died' => sub { uwsgi::websocket_handshake(); uwsgi::websocket_recv; die "after all\n" },
    '/alarm' => sub {
        uwsgi::websocket_handshake();
        local $SIG{ALRM} = sub { die "late\n" };
        alarm 1;
        my $is_done = eval { uwsgi::websocket_recv; 1 };
        alarm 0;
        uwsgi::websocket_send($is_done ? 'message' : $@);
        uwsgi::websocket_send(uwsgi::websocket_recv);
    },
    '/interrupted' => sub {
        uwsgi::websocket_handshake();
        local $SIG{ALRM} = sub { uwsgi::log("alarm\n") };
        alarm 1;
        uwsgi::websocket_send(uwsgi::websocket_recv);
    },
    '/flood' => sub {
        uwsgi::websocket_handshake();
        uwsgi::websocket_send('f' x 10_000) for 1 .. 1_000;
        uwsgi::websocket_send(uwsgi::websocket_recv);
    },
    '/too-long' => sub {
        uwsgi::websocket_handshake();
        $_ = eval { uwsgi::websocket_send('l' x 2_000_000); 1 } ? 'sent' : $@ and uwsgi::websocket_send($_);
    },
);

sub is_readable {
    my ($fd, $seconds) = @_;
    if (defined $Coro::current) {
        return Coro::AnyEvent::readable($fd, $seconds);
    }
    vec(my $bits = '', $fd, 1) = 1;
    return select $bits, undef, undef, $seconds;
}

my $app = sub {
    my $env = shift;
    return $applications{ $env->{PATH_INFO} }->($env);
};
