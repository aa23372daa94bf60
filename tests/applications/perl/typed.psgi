# WebSockets by the server's own names.

use strict;
use warnings;

use UwsgiWs;

my %applications = (
    '/echo' => sub {
        my $ws = UwsgiWs::accept($_[0], subprotocols => ['v2', 'v1'], headers => ['X-Extra' => 'yes']);
        $ws->send('subprotocol ' . ($ws->subprotocol // 'none'));
        while (my $message = $ws->next) {
            if ($message->is_text) { $ws->send(scalar reverse $message->text) }
            else { $ws->send_binary(scalar reverse $message->bytes) }
        }
        uwsgi::log('ended ' . $ws->close_code . ' ' . $ws->close_reason . "\n");
    },
    '/timeout' => sub {
        my $ws = UwsgiWs::accept($_[0]);
        $ws->send(defined $ws->recv(0) ? 'message' : 'nothing');
        $ws->send(defined $ws->recv(0.05) ? 'message' : 'nothing');
        $ws->send($ws->recv(10));
    },
    '/closed' => sub {
        my $ws = UwsgiWs::accept($_[0]);
        1 while eval { $ws->recv };
        uwsgi::log(join ' ', 'closed', $@->code, $@->reason, $@->is_clean ? 'clean' : 'torn', $ws->is_open ? 'open' : 'over', "\n");
        eval { $ws->send('x') };
        uwsgi::log("send: $@");
        $ws->recv;
    },
    '/close' => sub {
        my $ws = UwsgiWs::accept($_[0]);
        $ws->close(4000, 'enough');
        my $message = $ws->recv;
        uwsgi::log("left $message\n");
        eval { $ws->recv } or uwsgi::log("$@");
    },
    '/bad-calls' => sub {
        my $ws = UwsgiWs::accept($_[0]);
        for my $call (
            sub { $ws->send_binary("\x{20ac}") },
            sub { $ws->close(1005) },
            sub { $ws->close(1000, 'r' x 124) },
            sub { UwsgiWs::accept($_[0]) },
            sub { UwsgiWs::subscribe({ slow => 'never' }, 'x') },
            )
        {
            $ws->send(eval { $call->(); 1 } ? 'no error' : $@);
        }
    },
    '/channels' => sub {
        my $ws = UwsgiWs::accept($_[0]);
        $ws->join('room');
        UwsgiWs::publish('room', "\x{e9}", exclude => $ws);
        UwsgiWs::publish_binary('room', "\xff");
        $ws->send('count ' . UwsgiWs::count('room'));
        $ws->leave('room');
        my $news = UwsgiWs::subscribe('a', 'b');
        for (1 .. 2) {
            my $message = $news->recv;
            $ws->send(join ' ', $message->channel, $message->is_text ? 'text' : 'binary', $message);
        }
        $news->close;
        $ws->send(eval { $news->recv; 1 } ? 'message' : $@);
    },
    '/ping' => sub {
        my $ws = UwsgiWs::accept($_[0]);
        $ws->send(sprintf '%.3f', $ws->ping(10));
        $ws->send(defined $ws->ping(0.05) ? 'pong' : 'no pong');
    },
);

my $app = sub {
    my $env = shift;
    return $applications{ $env->{PATH_INFO} }->($env);
};
