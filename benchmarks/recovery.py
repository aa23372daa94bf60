"""How long 10,000 clients take that come back at once with their positions: ``python benchmarks/recovery.py``.

Two instances of two workers on one Redis; each client is sent the 20 messages that it has missed. Beside the time it
prints the processor time that the workers took, and how often Redis was asked for history.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from harness import cpu_seconds, make_bench
from publishing import free_port, redis

MISSED = 20
INSTANCES = 2
APPLICATION = f"""\
import json
import os

import uwsgi_ws

recovered = 0

def encode(event):
    return event.message if isinstance(event, uwsgi_ws.Published) else None

def application(environ, start_response):
    global recovered
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/begin":
        with uwsgi_ws.subscribe("room", since="latest", positions=True) as messages:
            uwsgi_ws.publish("room", "first")
            position = messages.recv().position
            for number in range({MISSED}):
                uwsgi_ws.publish("room", str(number).ljust(64))
                messages.recv()
        start_response("200 OK", [])
        return [position.encode()]
    if path == "/count":
        start_response("200 OK", [])
        return [json.dumps([os.getpid(), recovered]).encode()]
    ws = uwsgi_ws.accept(environ)
    membership = ws.join("room", since=query, encode=encode)
    recovered += membership.recovered is True
    for _ in ws:
        pass
    return []
"""


def fetch(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
        return bytes(response.read())


def reads(url: str) -> int:
    """Return how many scripts Redis has run."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(url.removeprefix("unix://"))
        sock.sendall(b"INFO commandstats\r\nQUIT\r\n")
        text = b"".join(iter(lambda: sock.recv(65_536), b""))
    return int(text.partition(b"cmdstat_evalsha:calls=")[2].partition(b",")[0] or 0)


def recovered(port: int) -> int:
    """Return how many clients of an instance have had all; each worker answers now and then."""
    counts: dict[int, int] = {}
    for _ in range(12):
        pid, count = json.loads(fetch(port, "/count"))
        counts[pid] = max(count, counts.get(pid, 0))
    return sum(counts.values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Recovery of many clients.")
    parser.add_argument("--clients", type=int, default=10_000)
    clients = parser.parse_args().clients
    load = make_bench(0, 1).load
    with tempfile.TemporaryDirectory() as folder, redis() as url:
        program = Path(folder, "app.py")
        program.write_text(APPLICATION)
        ports = [free_port() for _ in range(INSTANCES)]
        command = [sys.executable, "-m", "uwsgi_ws", "--disable-logging", "--processes", "2", "--gevent", str(clients)]
        command += ["--listen", "1000", "--wsgi-file", str(program), "--channels", url, "--channel-history", "room=100"]
        servers = [
            subprocess.Popen(
                [*command, "--http", f"127.0.0.1:{port}"],
                cwd=Path(__file__).resolve().parent.parent,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for port in ports
        ]
        try:
            for port in ports:
                deadline = time.monotonic() + 30
                while time.monotonic() < deadline:
                    try:
                        fetch(port, "/count")
                        break
                    except OSError:
                        time.sleep(0.05)
            position = fetch(ports[0], "/begin").decode()
            asked, before = reads(url), sum(cpu_seconds(server.pid)[0] for server in servers)
            begun = time.monotonic()
            options = [f"connections={clients // INSTANCES}", "seconds=20", f"path=/?{position}"]
            loads = [
                subprocess.Popen([str(load), "idle", f"port={port}", *options], stdout=subprocess.PIPE)
                for port in ports
            ]
            while (count := sum(map(recovered, ports))) < clients and time.monotonic() < begun + 60:
                pass
            elapsed = time.monotonic() - begun
            used = sum(cpu_seconds(server.pid)[0] for server in servers) - before
            print(
                f"{count:,} of {clients:,} clients had their {MISSED} messages after {elapsed:.2f} s; workers used "
                f"{used:.2f} s of processor time, {used / clients * 1e6:.0f} us a client; Redis was read "
                f"{reads(url) - asked} times"
            )
            for process in loads:
                process.terminate()
                process.wait()
        finally:
            for server in servers:
                os.kill(server.pid, signal.SIGKILL)
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


if __name__ == "__main__":
    main()
