"""Uses the lesser-known names of uWSGI's module."""

import gevent
import uwsgi

NAMES = ("env", "start_response", "cl", "logsize", "listen_queue")


def outcome(function, *args):
    try:
        return function(*args)
    except BaseException as exc:
        return f"{type(exc).__name__}: {exc}"


at_import = [hasattr(uwsgi, name) for name in NAMES], outcome(uwsgi.logsize), outcome(uwsgi.listen_queue)


def spawned():
    uwsgi.start_response("202 Spawned", [])
    return b"spawned"


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/spawned":
        return [gevent.spawn(spawned).get()]
    if path == "/twice":
        uwsgi.start_response("200 OK", [])
        return [outcome(uwsgi.start_response, "200 OK", []).encode()]
    if path == "/written":
        uwsgi.start_response("200 OK", [])(b"written")
        return []
    if path == "/nested":
        # A request handled meanwhile does not take our environ away, as it does in uWSGI.
        gevent.sleep(0.05)
    uwsgi.start_response("203 Mine", [("X-Mine", "1")])
    return [
        repr(
            {
                "env": uwsgi.env is environ,
                "inherited": gevent.spawn(lambda: uwsgi.env is environ).get(),
                "cl": uwsgi.cl(),
                "logsize": uwsgi.logsize(),
                "queue": [outcome(uwsgi.listen_queue, *number) for number in ((), (0,), (1,), (7,), (-1,), ("0",))],
                "at_import": at_import,
            }
        ).encode()
    ]


def elsewhere():
    return outcome(lambda: uwsgi.env), outcome(uwsgi.cl), outcome(uwsgi.start_response, "200 OK", [])


off_request = gevent.spawn(elsewhere)
