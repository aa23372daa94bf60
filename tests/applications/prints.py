"""Prints in every way and at every time: at import, in requests, in children and at the end."""

import io
import os
import subprocess
import sys

print("at import")


def die():
    print("the last words", end="")
    os.kill(os.getpid(), 9)


def application(environ, start_response):
    what = environ["PATH_INFO"].strip("/")
    print("a print in", what)
    if what == "order":
        sys.stderr.write("one\n")
        sys.stdout.write("two\n")
        print("three", file=environ["wsgi.errors"])
        subprocess.run(["sh", "-c", "echo four >&2"])
        subprocess.run(["echo", "five"], stdout=sys.stdout)
        sys.stdout.buffer.write(b"six\n")
        os.system("echo seven")
    elif what == "begun":
        print("a begun line", end="")
    elif what == "own":
        sys.stdout = io.StringIO()
        print("captured")
        what = sys.stdout.getvalue()
        sys.stdout = sys.__stdout__
    elif what == "interface":
        both = [sys.stdout, sys.stderr]
        what = repr(
            [
                all(
                    each.fileno() == 2
                    and not each.isatty()
                    and each.encoding == "utf-8"
                    and each.line_buffering
                    and each.writable()
                    and not each.readable()
                    and not each.seekable()
                    and each.mode == "w"
                    and not each.closed
                    and isinstance(each, io.TextIOWrapper)
                    and each.buffer.writable()
                    and each.errors
                    for each in both
                ),
                [each.name for each in both],
                sys.stderr.errors,
            ]
        )
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # the stream that is here has it
        sys.stdout.writelines(["\u20ac and \udcff\n"])
        print("with flush", flush=True)
    elif what == "fork":
        print("not twice ", end="")
        pid = os.fork()
        if not pid:
            print("of the child")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        print("of the parent")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [what.encode()]
