"""``/WHERE?WHAT`` has WHAT raised somewhere."""

import _thread
import os
import signal
import sys
import threading

import gevent
import uwsgi

import uwsgi_ws


class Odd(BaseException):
    pass


def fault(name):
    if name == "uwsgi":
        uwsgi.websocket_send("outside of a request")
    if name == "sys.exit":
        sys.exit(1)
    raise {"Odd": Odd, "GreenletExit": gevent.GreenletExit}.get(name) or getattr(__import__("builtins"), name)


def in_greenlet(name):
    gevent.spawn(fault, name)


def in_raw_greenlet(name):
    gevent.spawn_raw(fault, name)


def in_callback(name):
    gevent.get_hub().loop.run_callback(fault, name)


def in_timer(name):
    timer = gevent.get_hub().loop.timer(0.001)
    timer.start(fault, name)


def in_thread(name):
    threading.Thread(target=fault, args=(name,)).start()


def in_signal_handler(name):
    signal.signal(signal.SIGALRM, lambda number, frame: fault(name))
    os.kill(os.getpid(), signal.SIGALRM)
    gevent.sleep(0.01)


def in_later_signal_handler(name):
    signal.signal(signal.SIGALRM, lambda number, frame: fault(name))
    signal.setitimer(signal.ITIMER_REAL, 0.01)


def in_gevent_signal_handler(name):
    handler = gevent.signal_handler(signal.SIGUSR2, fault, name)
    os.kill(os.getpid(), signal.SIGUSR2)
    gevent.sleep(0.05)
    handler.cancel()


def interrupts_main(name):
    _thread.interrupt_main()


def here(name):
    fault(name)


def later(name):
    yield b"begun"
    fault(name)


def application(environ, start_response):
    where, what = environ["PATH_INFO"][1:], environ["QUERY_STRING"]
    if environ.get("HTTP_UPGRADE"):
        ws = uwsgi_ws.accept(environ)
        for message in ws:
            if message == "fault":
                globals()[where](what)
            ws.send(message)
        return []
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (globals()[where](what) if where else None) or [b"%d" % os.getpid()]
