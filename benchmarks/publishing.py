"""What a message costs its publisher, by the number of workers: ``python benchmarks/publishing.py``.

One worker publishes; every worker has a subscriber that takes all it gets. The publisher's processor time is taken by
itself around publishing, writing, and taking what comes back meanwhile, and so is none of the others'. Once over pipes
and once through Redis.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

WORKERS = (1, 2, 4, 8)
MESSAGES = 4_000
ROUNDS = 5
APPLICATION = f"""\
import json
import time

import gevent
import uwsgi
import uwsgi_ws

def listen():
    with uwsgi_ws.subscribe("news") as messages:
        for message in messages:
            pass

uwsgi.post_fork_hook = lambda: gevent.spawn(listen)

def application(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/count":
        return [str(uwsgi_ws.count("news")).encode()]
    begun = time.process_time()
    for number in range({MESSAGES}):
        uwsgi_ws.publish("news", b"x" * 64)
        if number % 16 == 15:
            gevent.sleep(0)
    return [json.dumps((time.process_time() - begun) / {MESSAGES} * 1e6).encode()]
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Run a Redis; yield its URL."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "redis.sock")
        command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
        engine = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not os.path.exists(path):
                time.sleep(0.01)
            yield f"unix://{path}"
        finally:
            engine.terminate()
            engine.wait()


def measure(workers: int, program: Path, *options: str) -> list[float]:
    """Return the microseconds of processor time that a message took its publisher, once per round."""
    port = free_port()
    command = [sys.executable, "-m", "uwsgi_ws", "--http", f"127.0.0.1:{port}", "--disable-logging", *options]
    command += ["--processes", str(workers), "--gevent", "100", "--wsgi-file", str(program)]
    root = Path(__file__).resolve().parent.parent
    server = subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL)

    def fetch(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as response:
            return str(response.read().decode())

    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                if int(fetch("/count")) == workers:
                    break
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise SystemExit(f"{workers} workers do not all subscribe")
            time.sleep(0.1)
        return [float(json.loads(fetch("/publish"))) for _ in range(ROUNDS)]
    finally:
        os.kill(server.pid, signal.SIGTERM)
        server.wait()


def measure_all(workers: tuple[int, ...]) -> Iterator[tuple[str, int, list[float]]]:
    """Yield the way, the number of workers, and the costs."""
    with tempfile.TemporaryDirectory() as folder, redis() as url:
        program = Path(folder, "app.py")
        program.write_text(APPLICATION)
        for way, options in (("pipes", ()), ("Redis", ("--channels", url))):
            for count in workers:
                yield way, count, measure(count, program, *options)


def main() -> None:
    """Measure and print."""
    for way, workers, costs in measure_all(WORKERS):
        print(f"{way}, {workers} workers: {statistics.median(costs):.2f} us a message (least {min(costs):.2f})")


if __name__ == "__main__":
    main()
