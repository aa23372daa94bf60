"""TLS sessions that clients take up again with another worker, and after a reload."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass

from harness import Bench, Failure, Load, cpu_seconds, make_certificate, running
from servers import Server

TIMEOUT = 5.0
RELOAD_TIMEOUT = 20.0
#: So many answers of new workers in a row, and the old ones are taken to be gone.
ANSWERS_IN_A_ROW = 30


@dataclass(frozen=True)
class Answer:
    """Which process answered, whether it took up the session that it was offered, and the ticket for the next one."""

    worker: int
    is_resumed: bool
    ticket: ssl.SSLSession


class Client:
    """Asks the server at a port, which answers with the number of its process, each time on a new connection by TLS."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE

    def ask(self, ticket: ssl.SSLSession | None = None) -> Answer:
        """Ask once, offering a ticket that an earlier answer came with.

        Raises:
            OSError: there was no answer.
        """
        with (
            socket.create_connection(("127.0.0.1", self.port), TIMEOUT) as plain,
            self._context.wrap_socket(plain, session=ticket, suppress_ragged_eofs=True) as stream,
        ):
            stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            # With TLS 1.3 tickets come after the handshake.
            answer = b"".join(iter(lambda: stream.recv(4096), b""))
            if not answer:
                raise ConnectionError("closed without an answer")
            assert stream.session is not None
            return Answer(int(answer.split()[-1]), bool(stream.session_reused), stream.session)

    def wait_for_others(self, workers: set[int]) -> None:
        """Return once only workers that are none of these answer.

        Raises:
            Failure: they go on.
        """
        deadline = time.monotonic() + RELOAD_TIMEOUT
        in_a_row = 0
        while in_a_row < ANSWERS_IN_A_ROW:
            if time.monotonic() > deadline:
                raise Failure("it does not reload")
            with contextlib.suppress(OSError):
                in_a_row = 0 if self.ask().worker in workers else in_a_row + 1
                continue
            time.sleep(0.05)


def measure_tickets(server: Server, application: str, load: Load, bench: Bench) -> dict[str, float]:
    """Make as many full handshakes with one server as the load has connections, then as many with tickets, then reload.

    Tickets of all workers take turns.

    Returns:
        ``full_cpu_us`` and ``resumed_cpu_us``, the server's CPU time for a connection without and with a ticket, one
        request included; ``others``, how many with a ticket another worker answered, and ``others_share``, which part
        of them was resumed; and, if the server can reload, ``reloaded_share``, which part was after that.

    Raises:
        Failure: the server did not start, answer or reload.
    """
    count = int(load.options["connections"])
    make_certificate()
    with running(server, application, 1000, bench) as (session, port), _on(bench.load_cpu):
        client = Client(port)
        try:
            client.ask()
            cpu = [cpu_seconds(session)[0]]
            tickets = {answer.worker: answer.ticket for answer in (client.ask() for _ in range(count))}
            cpu.append(cpu_seconds(session)[0])
            turns = [list(tickets.items())[number % len(tickets)] for number in range(count)]
            answers = [(worker, client.ask(ticket)) for worker, ticket in turns]
            cpu.append(cpu_seconds(session)[0])
            others = [answer.is_resumed for worker, answer in answers if answer.worker != worker]
            if not others:
                raise Failure("one worker answered all")
            figures = {
                "full_cpu_us": (cpu[1] - cpu[0]) * 1e6 / count,
                "resumed_cpu_us": (cpu[2] - cpu[1]) * 1e6 / count,
                "others": len(others),
                "others_share": sum(others) / len(others),
                "faults": 0,
            }
            if server.reloads:
                os.kill(session, signal.SIGHUP)
                client.wait_for_others(set(tickets))
                figures["reloaded_share"] = sum(client.ask(ticket).is_resumed for _, ticket in turns) / count
        except (OSError, ValueError) as exc:
            raise Failure(f"it did not answer: {exc}") from exc
    return figures


@contextlib.contextmanager
def _on(cpu: int | None) -> Iterator[None]:
    """Be pinned to a processor meanwhile."""
    before = os.sched_getaffinity(0)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
