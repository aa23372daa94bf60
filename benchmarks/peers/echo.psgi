# Echo in uWSGI's own style: it runs on uWSGI's psgi plugin as it is.
use strict;
use warnings;

my $app = sub {
    my $env = shift;
    return [200, ['Content-Type' => 'text/plain', 'Content-Length' => 13], ['Hello, World!']] unless $env->{HTTP_UPGRADE};
    uwsgi::websocket_handshake();
    while (1) {
        uwsgi::websocket_send(uwsgi::websocket_recv());
    }
};
