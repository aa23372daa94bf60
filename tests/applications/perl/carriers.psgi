# What has to work by every way from a client to the server, as tests/applications/carriers.py has it in Python.

use strict;
use warnings;

use UwsgiWs;

my %applications = (
    '/echo' => sub {
        my $ws = shift;
        while (my $message = $ws->recv) {
            if ($message->is_text) { $ws->send($message->text) }
            else { $ws->send_binary($message->bytes) }
        }
    },
    '/close' => sub {
        my $ws = shift;
        $ws->recv;
        $ws->close(4001, 'enough');
    },
    '/nonblocking' => sub {
        my $fd = uwsgi::connection_fd();
        while (1) {
            uwsgi::wait_fd_read($fd);
            uwsgi::suspend();
            my $message = uwsgi::websocket_recv_nb();
            uwsgi::websocket_send($message) if length $message;
        }
    },
);

sub {
    my $env = shift;
    my $path = $env->{PATH_INFO};
    if ($path eq '/body') {
        my $body = '';
        1 while $env->{'psgi.input'}->read($body, 65536, length $body);
        return [200, ['X-Method' => $env->{REQUEST_METHOD}, 'Content-Length' => length $body], [$body]];
    }
    return [200, [], ["$env->{REMOTE_ADDR} $env->{REMOTE_PORT}"]] if $path eq '/client';
    my $ws = UwsgiWs::accept($env, subprotocols => ['chat.v2', 'chat.v1']);
    eval { $applications{$path}->($ws) };
    uwsgi::log(join(' ', $env->{QUERY_STRING}, 'ended', $ws->close_code // '', $ws->close_reason) . "\n");
    return [];
};
