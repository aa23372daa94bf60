"""Tells of each module that is looked for once a worker is about to serve.

Names of the API are used as they come, not imported beforehand. ``/hold`` takes all descriptors, ``/free`` gives them
back.
"""

import os
import sys

import uwsgi

import uwsgi_ws

serving = False
held = []


def look(event, arguments):
    if serving and event == "import":
        frame, where = sys._getframe(1), []
        while frame is not None and len(where) < 25:
            if "importlib" not in frame.f_code.co_filename:
                where.append("%s:%d" % (frame.f_code.co_filename[-40:], frame.f_lineno))
            frame = frame.f_back
        sys.stderr.write("IMPORTED %s by %s\n" % (arguments[0], " ".join(where)))


def begin():
    global serving
    serving = True


sys.addaudithook(look)
uwsgi.post_fork_hook = begin


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/hold":
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
    elif path == "/free":
        while held:
            os.close(held.pop())
    elif path == "/fail":
        raise ValueError("fails")
    elif path == "/gone":
        raise OSError("gone")
    elif path == "/chunks":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"one", b"two"])
    elif path == "/file":
        start_response("200 OK", [("Content-Length", "4")])
        return environ["wsgi.file_wrapper"](open(os.path.join(os.path.dirname(__file__), "app.py"), "rb"))
    elif path == "/write":
        write = start_response("200 OK", [("Content-Length", "4")])
        write(b"text")
        return []
    elif path == "/refused":
        uwsgi_ws.accept(environ)
    elif path == "/typed":
        ws = uwsgi_ws.accept(environ, subprotocols=["chat"], origins=["https://example.org"])
        ws.join("room")
        uwsgi_ws.publish("room", "published")
        ws.ping(b"ping")
        try:
            assert uwsgi_ws.count("room") >= 1
            with uwsgi_ws.subscribe("room") as messages:
                uwsgi_ws.publish("room", "again", exclude=ws)
                assert messages.recv(5)
            uwsgi_ws.broadcast([ws], "broadcast")
            ws.recv(0.01)
            for message in ws:
                if message == "close":
                    ws.close(4001, "enough")
                elif message == "fail":
                    raise ValueError("fails")
                else:
                    ws.send(message)
            for _piece in ws.recv_streaming(0.01) or ():
                pass
        except (uwsgi_ws.ConnectionClosed, uwsgi_ws.InvalidState):
            pass
        return []
    elif path == "/uwsgi":
        uwsgi.websocket_handshake()
        uwsgi.websocket_channel_join("channel")
        uwsgi.websocket_send("hello")
        uwsgi.websocket_recv_nb()
        while True:
            uwsgi.websocket_send_binary(uwsgi.websocket_recv())
    body = environ["wsgi.input"].read()
    environ["wsgi.errors"].write("")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
