"""Workers that only use the channels: really forked, killed and stopped, and asked over a socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, TextIO

PROGRAM = Path(__file__).with_name("bus_process.py")
DEADLINE = 20.0  # seconds that any one answer may take


class Worker:
    """One forked process; ``ask`` calls a command of ``bus_process.py`` there."""

    def __init__(self, seat: int, pid: int, folder: Path) -> None:
        self.seat = seat
        self.pid = pid
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(DEADLINE)
        self._sock.connect(str(folder / f"{pid}.sock"))
        self._file: TextIO = self._sock.makefile("rw")

    def ask(self, name: str, *arguments: object) -> Any:
        self._file.write(json.dumps([name, *arguments]) + "\n")
        self._file.flush()
        return json.loads(self._file.readline())

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def close(self) -> None:
        self._file.close()
        self._sock.close()

    def numbers(self, channel: str, publisher: Worker) -> list[int]:
        """Return the numbers of a publisher's messages that have come, in their order."""
        prefix = _prefix(publisher)
        return [int(text.partition(":")[2]) for text in self.ask("received", channel) if text.startswith(prefix)]

    def count(self, channel: str, publisher: Worker) -> int:
        """Return how many of a publisher's messages have come."""
        return int(self.ask("count_received", channel, _prefix(publisher)))


def silent_holes(reader: Worker, publisher: Worker, channel: str = "lobby", first: int = 0) -> list[str]:
    """Return where messages are missing, or come twice or too late, without a gap in their place.

    Args:
        first: The number of the publisher's first message; greater ones follow without a hole.
    """
    expected = first
    may_miss = False
    found = []
    for text in reader.ask("received", channel):
        if text == "gap":
            may_miss = True
        elif text.startswith(_prefix(publisher)):
            number = int(text.partition(":")[2])
            if number < expected or (number > expected and not may_miss):
                found.append(f"{number} came when {expected} was due")
            expected, may_miss = number + 1, False
    return found


def _prefix(publisher: Worker) -> str:
    """Return what a publisher's messages begin with."""
    return f"{publisher.seat}.{publisher.pid}:"


class Workers:
    """``seats`` workers on one bus, of pipes unless a URL says otherwise; a context manager."""

    def __init__(
        self, seats: int, *, queue_size: int = 8 << 20, max_message_size: int = 1 << 20, url: str = ""
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="uwsgi_ws-test-")
        command = [sys.executable, str(PROGRAM), self._folder.name, *map(str, (seats, queue_size, max_message_size))]
        command += [url] if url else []
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._all: list[Worker] = []
        self.log = ""
        try:
            self.workers = [self.spawn(seat) for seat in range(seats)]
        except BaseException:
            self.stop()
            raise

    def spawn(self, seat: int) -> Worker:
        """Start a worker in a seat."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{seat}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        assert answer, "the worker did not start"
        worker = Worker(seat, int(answer[1]), Path(self._folder.name))
        self._all.append(worker)
        return worker

    def note_death(self) -> None:
        """Tell the workers, as a master does, that one of them has died."""
        assert self._process.stdin is not None
        self._process.stdin.write("death\n")
        self._process.stdin.flush()

    def replace(self, worker: Worker) -> Worker:
        """Kill a worker as the kernel does when memory is short, and start its successor."""
        worker.send(signal.SIGKILL)
        worker.close()
        successor = self.spawn(worker.seat)
        self.workers[worker.seat] = successor
        return successor

    def stop(self) -> None:
        _, self.log = self._process.communicate()
        for worker in self._all:
            worker.close()
        self._folder.cleanup()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        sys.stderr.write(self.log)  # pytest shows it when the test fails
