"""Functions to be called by name; evaluates the lines of a body. Under uWSGI as under our server."""

import uwsgi


def joined(*arguments):
    return b"|".join(arguments)


def failing():
    raise ZeroDivisionError("of a test")


def exiting():
    raise SystemExit(3)


uwsgi.register_rpc("joined", joined)
uwsgi.register_rpc("failing", failing)
uwsgi.register_rpc("exiting", exiting)
uwsgi.register_rpc("number", lambda: 5)
uwsgi.register_rpc("nothing", lambda: b"")


def raised(function, *args):
    try:
        return function(*args)
    except Exception as exc:
        return "%s: %s" % (type(exc).__name__, exc)


def application(environ, start_response):
    lines = environ["wsgi.input"].read().decode().splitlines()
    body = repr([raised(eval, line, globals()) for line in lines]).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
