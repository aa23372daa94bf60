# python -m uwsgi_ws --http 127.0.0.1:8080 --coroae 100 --psgi examples/echo.psgi
# An echo, and a page to try it with at http://127.0.0.1:8080/. Runs on uWSGI as it stands.

use strict;
use warnings;

use File::Basename qw(dirname);

my $page = do { local (@ARGV, $/) = dirname(__FILE__) . '/echo.html'; <> };

my $app = sub {
    my $env = shift;
    return echo() if $env->{PATH_INFO} eq '/ws' || $env->{HTTP_SEC_WEBSOCKET_KEY};
    return respond(200, 'text/html', $page) if $env->{PATH_INFO} eq '/';
    return respond(404, 'text/plain', "Not found\n");
};

sub echo {
    eval { uwsgi::websocket_handshake(); 1 }    # takes what it needs from the request's own headers
        or return respond(400, 'text/plain', "This address speaks WebSocket\n");
    # Dies when the client has gone: that is how the loop ends.
    while (1) {
        my $message = uwsgi::websocket_recv();
        uwsgi::websocket_send($message // '');
    }
}

sub respond {
    my ($status, $type, $body) = @_;
    my @headers = ('Content-Type' => "$type; charset=utf-8", 'Content-Length' => length $body, 'Cache-Control' => 'no-cache');
    return [$status, \@headers, [$body]];
}

$app;
