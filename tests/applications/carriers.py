"""What has to work by every way from a client to the server: one function for each path."""

import select

import uwsgi

import uwsgi_ws


def echo(ws):
    while True:
        ws.send(ws.recv())


def close(ws):
    ws.recv()
    ws.close(4001, "enough")


def nonblocking(ws):
    fd = uwsgi.connection_fd()
    while True:
        select.select([fd], [], [])
        message = uwsgi.websocket_recv_nb()
        if message:
            uwsgi.websocket_send(message)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/body":
        start_response("200 OK", [("X-Method", environ["REQUEST_METHOD"])])
        return [environ["wsgi.input"].read()]
    if path == "/client":
        start_response("200 OK", [])
        return [f"{environ['REMOTE_ADDR']} {environ['REMOTE_PORT']}".encode()]
    if path == "/events":
        return uwsgi_ws.event_stream(environ, start_response, environ["QUERY_STRING"])
    if path == "/publish":
        uwsgi_ws.publish(environ["QUERY_STRING"], environ["wsgi.input"].read().decode())
        start_response("200 OK", [])
        return [str(uwsgi_ws.count(environ["QUERY_STRING"])).encode()]
    ws = uwsgi_ws.accept(environ, subprotocols=["chat.v2", "chat.v1"])
    try:
        globals()[path[1:]](ws)
    except OSError:
        uwsgi.log(f"{environ['QUERY_STRING']} ended {ws.close_code} {ws.close_reason}")
    return []
