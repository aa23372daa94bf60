"""Uses ``uwsgi.connect``, ``send``, ``recv`` and ``close``, and shows what they return or raise."""

import os
import socket
import threading

import uwsgi

try:
    import gevent
except ImportError:
    gevent = None


def outcome(function, *args):
    try:
        return function(*args)
    except BaseException as exc:
        return f"{type(exc).__name__}: {exc}"


def alike():
    """What is as in uWSGI."""
    found = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        fd = uwsgi.connect(address, 2)
        peer = listener.accept()[0]
        found["fd"] = type(fd).__name__, os.get_blocking(fd), uwsgi.is_connected(fd), os.get_blocking(fd)
        found["send"] = uwsgi.send(fd, b"hello"), peer.recv(9)
        peer.send(b"world!")
        found["recv"] = uwsgi.recv(fd, 3), uwsgi.recv(fd), uwsgi.recv(fd, 0)
        peer.close()
        found["hung up"] = uwsgi.recv(fd), uwsgi.is_connected(fd), uwsgi.send(fd, b"x"), uwsgi.send(fd, b"x")
        found["close"] = uwsgi.close(fd), uwsgi.close(fd), uwsgi.close(-1)
        found["closed"] = uwsgi.recv(fd), uwsgi.send(fd, b"x"), uwsgi.is_connected(fd), uwsgi.recv(-1)
        begun = uwsgi.async_connect(address)
        found["begun"] = os.get_blocking(begun), uwsgi.recv(begun), uwsgi.close(begun)
    reader, writer = os.pipe()
    found["pipe"] = (
        uwsgi.send(writer, b"y" * 5000),
        len(uwsgi.recv(reader, 9999) or b""),
        len(uwsgi.recv(reader) or b""),
    )
    uwsgi.close(reader)
    uwsgi.close(writer)
    found["no server"] = [
        outcome(uwsgi.connect, name) for name in (address, "/nowhere/at.all", "nothing", "", "127.0.0.1:x")
    ]
    found["begun at no server"] = outcome(uwsgi.async_connect, "/nowhere/at.all")
    found["errors"] = [
        outcome(uwsgi.connect, 3),
        outcome(uwsgi.connect, b"127.0.0.1:1"),
        outcome(uwsgi.connect, address, "2"),
        outcome(uwsgi.recv, "x"),
        outcome(uwsgi.recv, 1, "x"),
        outcome(uwsgi.close, None),
        outcome(uwsgi.is_connected, None),
    ]
    return found


def abstract():
    """uWSGI puts a NUL behind the name, so that it finds no server but its own."""
    with socket.socket(socket.AF_UNIX) as listener:
        name = "uwsgi_ws-test-%d" % os.getpid()
        listener.bind("\0" + name)
        listener.listen()
        fd = uwsgi.connect("@" + name)
        return uwsgi.send(fd, b"x"), listener.accept()[0].recv(9), uwsgi.close(fd)


def waiting():
    """Others run while one waits: reader and writer are two greenlets, or threads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, True)
    found = []

    def read():
        taken = 0
        while taken < 1_000_000:
            taken += len(uwsgi.recv(reader) or b"")
        found.append(taken)

    if gevent and uwsgi.loop:
        other = gevent.spawn(read)
    else:
        other = threading.Thread(target=read)
        other.start()
    assert uwsgi.send(writer, b"z" * 1_000_000)
    other.join()
    uwsgi.close(reader)
    uwsgi.close(writer)
    return found


def ended():
    """What waits when the descriptor is closed, or is killed."""
    reader, writer = os.pipe()
    closed = gevent.spawn(uwsgi.recv, reader)
    gevent.sleep(0.01)
    uwsgi.close(reader)
    value = closed.get(timeout=5)
    uwsgi.close(writer)
    reader, writer = os.pipe()
    killed = gevent.spawn(uwsgi.recv, reader)
    gevent.sleep(0.01)
    killed.kill()
    uwsgi.send(writer, b"later")
    later = uwsgi.recv(reader)
    uwsgi.close(reader)
    uwsgi.close(writer)
    return value, killed.successful(), later


def application(environ, start_response):
    body = repr(globals()[environ["PATH_INFO"][1:]]()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
