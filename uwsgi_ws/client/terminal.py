"""``python -m uwsgi_ws connect URL``: a WebSocket by hand, or for a script.

At a terminal lines are edited by prompt_toolkit (the extra ``client``), which draws what comes above the line that is
being typed; readline cannot. Without it lines come as the terminal edits them. With another stdin each line is a
message, and stdout has what comes and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import select
import ssl
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from uwsgi_ws.client.connection import ClientConnection, HandshakeRefused, connect
from uwsgi_ws.errors import ConnectionClosed
from uwsgi_ws.log import escape
from uwsgi_ws.protocol.websocket.frames import NORMAL_ENDS, CloseCode

__all__ = ["main"]

_HELP = """\
TEXT                    send a text message; //TEXT one that begins with a slash
/binary HEX             send a binary message, such as /binary 00 ff
/ping [TEXT]            send a ping, and tell how long the answer takes
/close [CODE [REASON]]  close; 1000 without a code
/quit                   drop the connection; so does Ctrl-D after closing
/help                   this"""

#: Exit statuses.
_FINE, _NOT_CONNECTED, _USAGE, _CLOSED, _NO_MESSAGE, _INTERRUPTED = 0, 1, 2, 3, 4, 130


def main(arguments: Sequence[str]) -> int:
    """Connect and converse; return the exit status."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    try:
        connection = connect(
            parsed.url,
            subprotocols=[name.strip() for name in parsed.subprotocol.split(",") if name.strip()],
            headers=[_header(text) for text in parsed.header],
            origin=parsed.origin,
            timeout=parsed.timeout,
            tls=_tls(parsed),
        )
    except HandshakeRefused as refused:
        _say(f"{parsed.url}: {refused.status} {refused.phrase}")
        for name, value in refused.headers.items():
            _say(f"{name}: {value}")
        body = refused.body.decode("utf-8", "backslashreplace")
        if refused.status == 101:
            _say(str(refused))
        elif body:
            _say("")
            _say(body.removesuffix("\n"), is_long=True)
        return _NOT_CONNECTED
    except (OSError, ValueError) as exc:
        _say(f"uwsgi_ws connect: {getattr(exc, 'strerror', None) or exc}")
        return _USAGE if isinstance(exc, ValueError) else _NOT_CONNECTED
    except KeyboardInterrupt:
        return _INTERRUPTED
    chosen = f", subprotocol {connection.subprotocol}" if connection.subprotocol else ""
    if sys.stdin.isatty() and not parsed.once:
        _say(f"connected to {parsed.url}{chosen}; /help tells what may be typed")
    try:
        if sys.stdin.isatty() and not parsed.once:
            return _Session(connection, sys.stdout.isatty()).run()
        return _Pipe(connection, parsed.once, parsed.wait, parsed.timeout).run()
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        connection.drop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="uwsgi_ws connect",
        description="Open a WebSocket, and send what is typed. Where stdin is no terminal, each of its lines is a text "
        "message, and stdout has the messages that come, binary ones in hex.",
        epilog="Exit status: 0 when either side has closed normally, 1 when there is no connection, 2 for a wrong "
        "command line, 3 when the server has ended it with another code than 1000, 1001 or none, 4 when no message "
        "came for --once.",
    )
    parser.add_argument("url", help="ws://, wss://, or unix:FILE:/PATH")
    parser.add_argument("-H", "--header", action="append", default=[], metavar="'NAME: VALUE'", help="may be repeated")
    parser.add_argument("--subprotocol", default="", metavar="NAMES", help="to ask for; several with commas between")
    parser.add_argument("--origin", help="the Origin header, which browsers send")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="to wait for an answer; 10")
    parser.add_argument("--once", action="store_true", help="end after the first message that comes")
    parser.add_argument(
        "--wait",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="at the end of a stdin that is no terminal, close when no message has come for so long; 1, or inf",
    )
    tls = parser.add_argument_group("wss")
    tls.add_argument("--cacert", metavar="FILE", help="trust these authorities only")
    tls.add_argument("--insecure", action="store_true", help="trust any server")
    tls.add_argument("--cert", metavar="FILE", help="the client's certificate")
    tls.add_argument("--key", metavar="FILE", help="its key, where the certificate's file has none")
    return parser


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f"not a header: {text!r}; such as -H 'Cookie: a=b'")
    return name.strip(), value.strip()


def _tls(parsed: argparse.Namespace) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=parsed.cacert)
    if parsed.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if parsed.cert:
        context.load_cert_chain(parsed.cert, parsed.key)
    return context


def _say(text: str, *, is_long: bool = False) -> None:
    """Write a line about the connection, which is no message."""
    lines = text.split("\n") if is_long else [text]
    print("\n".join(escape(line) for line in lines), file=sys.stderr, flush=True)


def _described(code: int | None, reason: str) -> str:
    """Return a close code with its name, as ``1001 GOING_AWAY (server stops)``."""
    try:
        name = f" {CloseCode(code or 0).name}"
    except ValueError:
        name = ""
    return f"{code}{name}" + (f" ({reason})" if reason else "")


def _status(connection: ClientConnection) -> int:
    return _FINE if connection.close_code in NORMAL_ENDS else _CLOSED


class _Session:
    """A person at a terminal.

    Args:
        connection: Open.
        has_terminal: Whether what comes is shown at a terminal too, which must not be made to do things.
    """

    def __init__(self, connection: ClientConnection, has_terminal: bool) -> None:
        self._connection = connection
        self._has_terminal = has_terminal
        self._pinged_at = 0.0
        self._is_over = False  # the person has said so

    def run(self) -> int:
        if find_spec("prompt_toolkit") is not None:
            asyncio.run(self._converse())
        else:
            _say("(line editing and history: pip install 'uwsgi_ws[client]')")
            self._converse_plainly()
        connection = self._connection
        if connection.close_code is not None:
            _say(f"closed: {_described(connection.close_code, connection.close_reason)}")
        return _FINE if self._is_over else _status(connection)

    async def _converse(self) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import FileHistory, History, InMemoryHistory
        from prompt_toolkit.patch_stdout import patch_stdout

        history: History = InMemoryHistory()
        if file := _history_file():
            history = FileHistory(file)
        session: PromptSession[str] = PromptSession(history=history)
        loop = asyncio.get_running_loop()

        def come() -> None:
            if not self._show():
                loop.remove_reader(descriptor)
                if session.app.is_running:
                    session.app.exit(exception=EOFError())

        descriptor = self._connection.fileno()
        with patch_stdout():
            loop.add_reader(descriptor, come)
            come()  # messages that came with the answer
            while self._connection.is_open and not self._is_over:
                try:
                    line = await session.prompt_async("> ")
                except KeyboardInterrupt:
                    continue  # the line is dropped, as in a shell
                except EOFError:
                    if self._connection.is_open:
                        self._do("/close")
                    break
                self._do(line)
            loop.remove_reader(descriptor)

    def _converse_plainly(self) -> None:
        lines = _Lines()
        while self._connection.is_open and not self._is_over:
            if not self._show():
                break
            select.select([self._connection.fileno(), 0], [], [])
            for line in lines.read() if select.select([0], [], [], 0)[0] else ():
                if self._connection.is_open and not self._is_over:
                    self._do(line)
            if lines.has_ended and self._connection.is_open:
                self._do("/close")

    def _show(self) -> bool:
        """Show what has come; return False once the connection has ended."""
        try:
            while (message := self._connection.recv_now()) is not None:
                print(f"< {_shown(message, self._has_terminal)}", flush=True)
        except ConnectionClosed:
            return False
        if self._pinged_at and not self._connection.is_ping_open:
            print(f"pong after {(monotonic() - self._pinged_at) * 1000:.1f} ms", flush=True)
            self._pinged_at = 0.0
        return True

    def _do(self, line: str) -> None:
        """Do what a line says."""
        word, _, rest = line.partition(" ")
        try:
            match word:
                case "":
                    pass
                case "/help":
                    print(_HELP, flush=True)
                case "/quit":
                    self._is_over = True
                case "/ping":
                    self._pinged_at = monotonic()
                    self._connection.begin_ping(rest)
                case "/binary":
                    self._connection.send(bytes.fromhex(rest))
                case "/close":
                    code, _, reason = rest.strip().partition(" ")
                    self._connection.close(int(code) if code else CloseCode.NORMAL_CLOSURE, reason.strip())
                    self._is_over = True
                case _ if line.startswith("//"):
                    self._connection.send(line[1:])
                case _ if line.startswith("/"):
                    print(f"no command {word}; /help tells which there are, //TEXT sends such a text", flush=True)
                case _:
                    self._connection.send(line)
        except ConnectionClosed:
            pass  # what is said next
        except (ValueError, TimeoutError) as exc:
            print(exc, flush=True)


def _history_file() -> str | None:
    """Return where lines are kept, for this user alone; None where there is no such place."""
    try:
        folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state", "uwsgi_ws")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / "connect-history"
        file.touch(mode=0o600)
        return str(file) if os.access(file, os.R_OK | os.W_OK) else None
    except (OSError, RuntimeError):
        return None


def _shown(message: str | bytes, has_terminal: bool) -> str:
    if isinstance(message, bytes):
        return message.hex(" ") if has_terminal else message.hex()
    return escape(message) if has_terminal else message


class _Lines:
    """The lines of stdin as they come."""

    def __init__(self) -> None:
        self.has_ended = False
        self._rest = b""

    def read(self) -> list[str]:
        """Wait for bytes, and return the lines that are whole; at the end the last one in any case."""
        data = os.read(0, 65_536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data:
            self.has_ended = True
            if self._rest:
                lines.append(self._rest)
        return [line.decode("utf-8", "replace") for line in lines]


class _Pipe:
    """A script: lines go out, messages come to stdout.

    Args:
        connection: Open.
        once: Whether to end after the first message.
        wait: Seconds without a message, after the end of stdin, until it closes.
        timeout: Seconds that the first message may take, for ``once``.
    """

    def __init__(self, connection: ClientConnection, once: bool, wait: float, timeout: float) -> None:
        self._connection = connection
        self._once = once
        self._wait = math.inf if once else wait
        self._deadline = monotonic() + timeout if once else math.inf

    def run(self) -> int:
        """Converse until either side has said all; return the exit status."""
        connection, lines = self._connection, _Lines()
        quiet_since = monotonic()
        try:
            while True:
                while (message := connection.recv_now()) is not None:
                    quiet_since = monotonic()
                    try:
                        print(_shown(message, sys.stdout.isatty()), flush=True)
                    except BrokenPipeError:
                        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is buffered has nowhere to go
                        return _FINE
                    if self._once:
                        return self._close()
                until = min(quiet_since + self._wait if lines.has_ended else math.inf, self._deadline)
                left = until - monotonic()
                if left <= 0:
                    if self._once:
                        _say("uwsgi_ws connect: no message has come")
                        return _NO_MESSAGE
                    return self._close()
                descriptors = [connection.fileno()] if lines.has_ended else [connection.fileno(), 0]
                ready = select.select(descriptors, [], [], None if left == math.inf else left)[0]
                for line in lines.read() if 0 in ready else ():
                    connection.send(line)
                if 0 in ready:
                    quiet_since = monotonic()
        except ConnectionClosed:
            if (status := _status(connection)) != _FINE:
                _say(f"closed: {_described(connection.close_code, connection.close_reason)}")
            elif self._once:
                _say("uwsgi_ws connect: closed before a message has come")
                return _NO_MESSAGE
            return status
        except TimeoutError as exc:
            _say(f"uwsgi_ws connect: {exc}")
            return _NOT_CONNECTED

    def _close(self) -> int:
        try:
            self._connection.close()
        except TimeoutError as exc:
            _say(f"uwsgi_ws connect: {exc}")
            return _CLOSED
        return _FINE
