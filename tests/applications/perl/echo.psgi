# An echo as uWSGI's documents have it: a loop that blocks.

my $page = <<'EOF';
<html><head><script language="Javascript">
  var s = new WebSocket((location.protocol == 'https:' ? 'wss' : 'ws') + '://' + location.host + '/foobar/');
  s.onopen = function() { s.send('ciao'); };
  s.onmessage = function(e) { document.getElementById('blackboard').innerHTML += '<br/>' + e.data; };
</script></head><body><div id="blackboard"></div></body></html>
EOF

my $app = sub {
    my $env = shift;

    if ($env->{PATH_INFO} eq '/') {
        return ['200', ['Content-Type' => 'text/html'], [$page]];
    }
    elsif ($env->{PATH_INFO} eq '/foobar/') {
        uwsgi::websocket_handshake($env->{HTTP_SEC_WEBSOCKET_KEY}, $env->{HTTP_ORIGIN});
        print "websockets...\n";
        while (1) {
            my $msg = uwsgi::websocket_recv;
            uwsgi::websocket_send('[' . time() . '] ' . $msg);
        }
    }
}
