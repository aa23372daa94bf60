"""One function for each path."""

import ast
import gzip
import io
import sys
import tempfile
import threading
from collections import Counter
from wsgiref.validate import validator

import gevent
import uwsgi

TEXT = [("Content-Type", "text/plain")]
closes = Counter()
release = threading.Event()


def application(environ, start_response):
    name = environ["PATH_INFO"].split("/")[1]
    return globals()[name](environ, start_response)


def garbage(environ, start_response):
    # What the requests of this connection have left behind until somebody collects it.
    import gc

    gc.disable()
    start_response("200 OK", TEXT)
    return [str(sum(type(each).__name__ == "StreamRequest" for each in gc.get_objects())).encode()]


class Body:
    def __init__(self, name, chunks):
        self.name = name
        self.chunks = iter(chunks)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.chunks)

    def close(self):
        closes[self.name] += 1


# The corpus for wsgiref.validate


def echo_read(environ, start_response):
    body = environ["wsgi.input"].read(-1)
    start_response("200 OK", TEXT)
    return [body]


def echo_read_small(environ, start_response):
    start_response("200 OK", TEXT)
    while piece := environ["wsgi.input"].read(1000):
        yield piece


def echo_readline(environ, start_response):
    start_response("200 OK", TEXT)
    while line := environ["wsgi.input"].readline():
        yield line


def echo_readline_sized(environ, start_response):
    start_response("200 OK", TEXT)
    while line := environ["wsgi.input"].readline(7):
        yield line


def echo_readlines(environ, start_response):
    start_response("200 OK", TEXT)
    return environ["wsgi.input"].readlines()


def echo_lines_iterated(environ, start_response):
    start_response("200 OK", TEXT)
    return (line for line in environ["wsgi.input"])


def echo_write(environ, start_response):
    write = start_response("200 OK", TEXT)
    for line in environ["wsgi.input"]:
        write(line)
    return []


def echo_write_then_return(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(environ["wsgi.input"].read(5))
    return (environ["wsgi.input"].read(-1),)


def echo_closing(environ, start_response):
    start_response("200 OK", TEXT)
    return Body("closing", [b"", environ["wsgi.input"].read(-1), b""])


def echo_file(environ, start_response):
    file = tempfile.TemporaryFile()
    while piece := environ["wsgi.input"].read(65536):
        file.write(piece)
    file.seek(0)
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](file, 4096)


def echo_late_start(environ, start_response):
    body = environ["wsgi.input"].read(-1)
    start_response("200 OK", TEXT)
    yield body


def echo_second_thought(environ, start_response):
    start_response("500 Oops", [*TEXT, ("X-Wrong", "yes")])
    try:
        raise ValueError("on second thought")
    except ValueError:
        start_response("200 OK", TEXT, sys.exc_info())
    return [environ["wsgi.input"].read(-1)]


def no_content(environ, start_response):
    start_response("204 No Content", [])
    return []


def not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"1"')])
    return []


def nothing(environ, start_response):
    start_response("200 OK", TEXT)
    return []


def valid(environ, start_response):
    name = environ["PATH_INFO"].split("/")[2]
    environ["wsgi.errors"].write("to the log from %s\n" % name)
    environ["wsgi.errors"].writelines([])
    environ["wsgi.errors"].flush()
    return validator(globals()[name])(environ, start_response)


# Answers made by the test


def literal(environ, start_response):
    status, headers, chunks = ast.literal_eval(environ["wsgi.input"].read().decode())
    start_response(status, headers)
    return chunks


def show_environ(environ, start_response):
    plain = (str, bytes, bool, int, tuple)
    seen = {key: value if type(value) in plain else "<%s>" % type(value).__name__ for key, value in environ.items()}
    seen["type"] = type(environ).__name__
    start_response("200 OK", TEXT)
    return [repr(seen).encode()]


def generate(environ, start_response):
    start_response("200 OK", TEXT)
    yield b""
    yield b"first "
    yield b""
    yield b"second"


def one_in_a_tuple(environ, start_response):
    start_response("200 OK", TEXT)
    return (b"one",)


def two_in_a_list(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"one", b"two"]


def bare_bytes(environ, start_response):
    start_response("200 OK", TEXT)
    return b"bare"


def empty_str(environ, start_response):
    start_response("200 OK", TEXT)
    return ""


def long_str(environ, start_response):
    start_response("200 OK", TEXT)
    return "long" * 1000


def first_then_wait(environ, start_response):
    release.clear()
    start_response("200 OK", TEXT)
    yield b"early"
    release.wait(10)
    yield b"late"


def release_it(environ, start_response):
    release.set()
    return nothing(environ, start_response)


def ignore_body(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"ignored"]


def read_five(environ, start_response):
    body = environ["wsgi.input"].read(5)
    start_response("200 OK", TEXT)
    return [body]


def answer_then_read(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"before "
    yield environ["wsgi.input"].read()


def read_past_the_end(environ, start_response):
    input = environ["wsgi.input"]
    seen = [input.read(), input.read(), input.read(1), input.readline(), input.readlines(), list(input)]
    start_response("200 OK", TEXT)
    return [repr(seen).encode()]


def methods_of_input(environ, start_response):
    input = environ["wsgi.input"]
    seen = [
        input.read(0),
        input.read(3),
        input.readline(),
        input.readline(2),
        input.readline(0),
        input.readline(100),
        next(iter(input)),
        input.readlines(3),
        input.read(None),
        input.read(),
    ]
    start_response("200 OK", TEXT)
    return [repr(seen).encode()]


def chunks_of_input(environ, start_response):
    seen = []
    while piece := uwsgi.chunked_read():
        seen.append(piece)
    start_response("200 OK", TEXT)
    return [repr(b"".join(seen)).encode()]


# Misuse


def returns_none(environ, start_response):
    start_response("200 OK", TEXT)


def returns_int(environ, start_response):
    start_response("200 OK", TEXT)
    return 5


def start_twice(environ, start_response):
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return [b"body"]


def start_never(environ, start_response):
    return [b"body"]


def start_never_and_empty(environ, start_response):
    return []


def write_str(environ, start_response):
    start_response("200 OK", TEXT)("text")
    return []


def raises_first(environ, start_response):
    raise RuntimeError("the cause, in full")


def raises_after_start(environ, start_response):
    start_response("200 OK", TEXT)
    raise RuntimeError("the cause, in full")


def raises_before_first_chunk(environ, start_response):
    start_response("200 OK", TEXT)
    raise RuntimeError("the cause, in full")
    yield b""


def raises_midway(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun"
    raise RuntimeError("the cause, in full")


def exits(environ, start_response):
    sys.exit("the cause, in full")


def times_out(environ, start_response):
    with gevent.Timeout(0.01):
        gevent.sleep(10)


def receives_nothing(environ, start_response):
    uwsgi.websocket_recv()


def restart_with_exc_info(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"begun")
    try:
        raise RuntimeError("the cause, in full")
    except RuntimeError:
        start_response("500 Oops", TEXT, sys.exc_info())


def restart_without_exc_info(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"begun ")
    try:
        start_response("500 Oops", TEXT)
    except OSError as exc:
        write(str(exc).encode())
    return []


def closing(environ, start_response):
    name = environ["PATH_INFO"].split("/")[2]
    start_response("200 OK", TEXT)

    def chunks():
        if name == "raise":
            raise RuntimeError("in the iterator")
        yield b"begun"
        if name == "raise_midway":
            raise RuntimeError("in the iterator")
        while name in ("reset", "leave"):
            yield b"x" * 65536

    return Body(name, chunks())


def close_raises(environ, start_response):
    start_response("200 OK", TEXT)

    class Bad(Body):
        def close(self):
            super().close()
            raise RuntimeError("in close")

    return Bad("close_raises", [b"body"])


def close_count(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"%d" % closes[environ["PATH_INFO"].split("/")[2]]]


def head_made_get(environ, start_response):
    environ["REQUEST_METHOD"] = "GET"
    environ["SERVER_PROTOCOL"] = "HTTP/0.9"
    start_response("200 OK", TEXT)
    return [b"one", b"two"]


def environ_cleared(environ, start_response):
    environ.clear()
    start_response("200 OK", TEXT)
    return [b"one", b"two"]


def environ_cleared_raises(environ, start_response):
    environ.clear()
    raise RuntimeError("the cause, in full")


# Large things


class Unreadable(io.FileIO):
    def read(self, *args):
        raise AssertionError("read, not sent by the kernel")

    readinto = readall = read


def file(environ, start_response):
    kind, _, arguments = environ["QUERY_STRING"].partition("&")
    path, _, rest = arguments.partition("&")
    headers = list(TEXT)
    if kind == "kernel":
        file = Unreadable(path)
    elif kind == "buffered":
        file = open(path, "rb")
    elif kind == "named_temporary":
        file = tempfile.NamedTemporaryFile()
        file.write(open(path, "rb").read())
        file.seek(0)
    elif kind == "bytes_io":
        file = io.BytesIO(open(path, "rb").read())
    elif kind == "gzip":
        file = gzip.open(path)
    elif kind == "object":

        class Readable:
            read = open(path, "rb").read

        file = Readable()
    elif kind == "offset":
        file = open(path, "rb")
        file.read(1000)
    elif kind == "short":
        file = Unreadable(path)
        headers.append(("Content-Length", rest))
    start_response("200 OK", headers)
    return environ["wsgi.file_wrapper"](file)


def count_upload(environ, start_response):
    total = 0
    while piece := environ["wsgi.input"].read(65536):
        total += len(piece)
    start_response("200 OK", TEXT)
    return [b"%d" % total]


def download(environ, start_response):
    start_response("200 OK", TEXT)
    block = bytes(range(256)) * 256
    for _ in range(int(environ["QUERY_STRING"])):
        yield block
