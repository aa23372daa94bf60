# A chat as uWSGI's documents have it: AnyEvent waits for the client and for Redis. It takes two connections to Redis, as
# one that has subscribed cannot publish.

use AnyEvent::Redis;
use Coro::AnyEvent;

my @redis = (host => 'unix/', port => $ENV{REDIS_SOCKET}, encoding => 'utf8');

my $app = sub {
    my ($env) = @_;

    if ($env->{'PATH_INFO'} eq '/favicon.ico') {
        return [404, [], []];
    }
    elsif ($env->{'PATH_INFO'} eq '/foobar/') {
        my $error = 0;
        my $websocket_event = 0;
        my @from_redis;

        uwsgi::websocket_handshake($env->{'HTTP_SEC_WEBSOCKET_KEY'}, $env->{'HTTP_ORIGIN'});
        print "websockets...\n";

        my $w = AnyEvent->condvar;
        my @ends = (
            on_error => sub { warn @_; $error = 1; $w->send; },
            on_cleanup => sub { warn "Connection closed: @_"; $error = 1; $w->send; },
        );

        my $redis = AnyEvent::Redis->new(@redis, @ends);
        $redis->subscribe('foobar', sub {
            my ($message, $channel) = @_;
            push @from_redis, $message;
            $w->send;
        });
        my $publisher = AnyEvent::Redis->new(@redis, @ends);

        my $ws = AnyEvent->io(fh => uwsgi::connection_fd, poll => 'r', cb => sub {
            $websocket_event = 1;
            $w->send;
        });

        for (;;) {
            $w->recv;
            last if $error;
            if ($websocket_event) {
                my $msg = uwsgi::websocket_recv_nb;
                $publisher->publish('foobar', $msg) if $msg;
                $websocket_event = 0;
            }
            while (defined(my $message = shift @from_redis)) {
                uwsgi::websocket_send('[' . time() . '] ' . $message);
            }
            $w = AnyEvent->condvar;
        }
    }
}
