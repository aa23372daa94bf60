# python -m uwsgi_ws --http 127.0.0.1:8080 --processes 2 --coroae 1000 --psgi examples/chat.psgi
# A chat at http://127.0.0.1:8080/. A room is a channel: all who are in it get its messages, in all processes, whatever
# language their application is in: examples/chat.py speaks the same.

use strict;
use warnings;

use File::Basename qw(dirname);
use JSON::PP ();
use Time::HiRes qw(time);

use UwsgiWs;

my $page = do { local (@ARGV, $/) = dirname(__FILE__) . '/go-chat/page.html'; <> };
my $json = JSON::PP->new->canonical;    # from characters to characters, as send and publish take them

my $app = sub {
    my $env = shift;
    return chat($env) if $env->{PATH_INFO} eq '/ws';
    return respond(200, 'text/html', $page) if $env->{PATH_INFO} eq '/';
    return respond(404, 'text/plain', "Not found\n");
};

sub chat {
    my $env = shift;
    my $query = parse_query($env->{QUERY_STRING});
    my $name = substr $query->{name} // 'Somebody', 0, 40;
    my $room = 'room:' . substr $query->{room} // 'lobby', 0, 40;

    my $ws = UwsgiWs::accept($env);
    $ws->send($json->encode({ worker => $$ }));
    $ws->join($room);    # from here on what is said in the room goes to this client, whatever happens below
    eval {               # `next` dies when the network has gone, or the computer was shut
        while (my $message = $ws->next) {
            UwsgiWs::publish($room, $json->encode({ name => $name, text => $message->text, at => int(time * 1000) }));
        }
    };
    return;
}

sub parse_query {
    my %found;
    for my $pair (split /&/, shift // '') {
        my ($name, $value) = map { s/\+/ /gr =~ s/%([0-9a-fA-F]{2})/chr hex $1/ger } split(/=/, $pair, 2), '';
        utf8::decode($value);
        $found{$name} = $value if length $value;
    }
    return \%found;
}

sub respond {
    my ($status, $type, $body) = @_;
    my @headers = ('Content-Type' => "$type; charset=utf-8", 'Content-Length' => length $body, 'Cache-Control' => 'no-cache');
    return [$status, \@headers, [$body]];
}

$app;
