"""The listening sockets of the instance: opened once, kept over every reload, closed when it stops.

They are opened by the one process that outlives the others: the master, or the only worker. A process that replaces
itself by ``exec`` hands them on in an environment variable, so that no client is refused meanwhile.

With ``--reuse-port`` each worker has a TCP socket of its own, and the kernel spreads connections over them. The
master keeps them as it keeps all others: a worker's successor takes over its socket with the clients that wait there.
The number of sockets never changes, so the kernel sends no client that is about to connect elsewhere.
"""

from __future__ import annotations

import json
import os
import select
import socket
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from time import monotonic

from uwsgi_ws.addresses import Address
from uwsgi_ws.certificates import CertificateFiles, SecureAddress
from uwsgi_ws.errors import BootError
from uwsgi_ws.hub.own import keep_socket
from uwsgi_ws.log import say
from uwsgi_ws.net.binding import Endpoint, bind, bound_name, queue_at, waiting_at
from uwsgi_ws.net.peers import LOOPBACK, PeerFilter
from uwsgi_ws.options import Options
from uwsgi_ws.users import group_id, user_id

__all__ = ["Sockets"]

_HANDED_ON = "UWSGI_WS_SOCKETS"
_FIRST_ACTIVATED = 3  # SD_LISTEN_FDS_START
_TELL_AGAIN = 10.0  # seconds


class Sockets:
    """Every listening socket with its endpoint, in the order of the options.

    Args:
        opened: The endpoints, each with one socket that all workers share, or one for each worker.
        workers: How many there are.
        are_inherited: Whether another program of ours has served them before.
    """

    def __init__(
        self, opened: list[tuple[Endpoint, list[socket.socket]]], *, workers: int, are_inherited: bool
    ) -> None:
        self._workers = workers
        self._opened = opened
        self.are_inherited = are_inherited
        self._next_told_at = 0.0  # of a full queue (monotonic)
        # The application may change the directory later.
        self._files = [
            Path(endpoint.address.path).absolute()
            for endpoint, _ in opened
            if endpoint.address.family == "unix" and not endpoint.address.is_abstract
        ]

    def __iter__(self) -> Iterator[socket.socket]:
        return (sock for _, socks in self._opened for sock in socks)

    @property
    def endpoints(self) -> list[Endpoint]:
        """Every endpoint, in order."""
        return [endpoint for endpoint, _ in self._opened]

    def of(self, worker_id: int) -> Iterator[tuple[Endpoint, socket.socket, bool]]:
        """Yield the endpoints, each with the socket that a worker, 1 to N, serves, and whether others serve it too."""
        for endpoint, socks in self._opened:
            yield endpoint, socks[(worker_id - 1) % len(socks)], len(socks) < self._workers

    @classmethod
    def open(cls, options: Options) -> Sockets:
        """Bind what the options name, or take it over: from systemd, or from the process that we have replaced.

        A socket of systemd's that no option names is served as HTTP.

        Raises:
            OptionError: an address cannot be bound.
            BootError: none is named.
        """
        handed_on: dict[str, list[int]] = json.loads(os.environ.pop(_HANDED_ON, "{}"))
        inherited = {key: [socket.socket(fileno=fd) for fd in fds] for key, fds in handed_on.items()}
        activated = _activated()
        opened: list[tuple[Endpoint, list[socket.socket]]] = []
        try:
            cls._open(options, inherited, activated, opened)
        except BaseException:
            cls(opened, workers=options.processes, are_inherited=bool(handed_on)).remove_files()
            raise
        return cls(opened, workers=options.processes, are_inherited=bool(handed_on))

    @staticmethod
    def _open(
        options: Options,
        inherited: dict[str, list[socket.socket]],
        activated: dict[str, socket.socket],
        opened: list[tuple[Endpoint, list[socket.socket]]],
    ) -> None:
        """See ``open``; all that is open is in ``opened``, also when it raises."""
        # Also made where no endpoint needs them: a user that does not exist is an error.
        filters = _filters(options)
        for endpoint in (_guarded(endpoint, options, filters) for endpoint in _endpoints(options)):
            if (socks := inherited.pop(_key(endpoint), None)) is not None:
                what = "still bound on"
            elif (sock := activated.pop(str(endpoint.address), None)) is not None:
                socks, what = [sock], "activated on"
            else:
                socks, what = _bind(options, endpoint), "bound on"
            opened.append((endpoint, socks))
            fds = ", ".join(str(sock.fileno()) for sock in socks)
            say(f"{endpoint.option} {what} {bound_name(endpoint.address, socks[0])} fd {fds}")
            if endpoint.dialect == "uwsgi" and endpoint.admits is None and endpoint.address.is_public:
                say(
                    f"*** WARNING: {endpoint.address} can be reached from outside, and a uwsgi socket believes what "
                    "it is told about clients: name your front servers by --uwsgi-allow-from, or use a unix socket ***"
                )
        for text, sock in activated.items():
            say(f"http activated on {text} fd {sock.fileno()}")
            opened.append((_guarded(Endpoint("http", _address_of(sock)), options, filters), [sock]))
        for socks in inherited.values():
            for sock in socks:
                sock.close()
        for sock in chain.from_iterable(socks for _, socks in opened):
            keep_socket(sock)
            sock.set_inheritable(False)
            sock.setblocking(False)
        if all(endpoint.dialect == "channels" for endpoint, _ in opened):
            raise BootError("nothing to listen on: give --http ADDRESS, such as --http :8080")

    @classmethod
    def given(
        cls,
        socks: Sequence[socket.socket],
        options: Options,
        dialect: str,
        files: CertificateFiles | None,
        *,
        is_shared: bool,
    ) -> Sockets:
        """Return what another program has bound, and keeps.

        Args:
            socks: Each is served like the others.
            options: They say which peers may connect, and may be proxies.
            dialect: What is spoken there.
            files: What TLS is spoken with; None where it is not.
            is_shared: Whether other workers accept from these sockets, too.
        """
        filters = _filters(options)
        opened = []
        for sock in socks:
            address = _address_of(sock)
            option, secure = ("http", None) if files is None else ("https", SecureAddress(address, files))
            keep_socket(sock)
            opened.append((_guarded(Endpoint(option, address, dialect, secure=secure), options, filters), [sock]))
        return cls(opened, workers=2 if is_shared else 1, are_inherited=False)

    def with_endpoints(self) -> Iterator[tuple[Endpoint, socket.socket]]:
        """Yield every socket with its endpoint."""
        return ((endpoint, sock) for endpoint, socks in self._opened for sock in socks)

    @property
    def waiting(self) -> int:
        """How many clients wait at TCP sockets."""
        return sum(map(waiting_at, self))

    def tell_full_queues(self) -> None:
        """Log where further clients cannot even wait, once in a while; to be called about once a second."""
        for endpoint, sock in self.with_endpoints():
            waiting, limit = queue_at(sock)
            if waiting > limit and monotonic() >= self._next_told_at:  # the kernel lets one more wait than it is told
                self._next_told_at = monotonic() + _TELL_AGAIN
                say(
                    f"*** the queue of {bound_name(endpoint.address, sock)} is full: {waiting} clients wait to be "
                    "accepted, and others try again after a second or more (--listen, net.core.somaxconn) ***"
                )

    def have_client(self) -> bool:
        """Return whether a client waits at any socket."""
        poll = select.poll()
        for sock in self:
            poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))

    def hand_on(self) -> None:
        """Leave the sockets to the program that this process is about to become by ``exec``."""
        for sock in self:
            os.set_inheritable(sock.fileno(), True)
        os.environ[_HANDED_ON] = json.dumps(
            {_key(endpoint): [sock.fileno() for sock in socks] for endpoint, socks in self._opened}
        )

    def close(self) -> None:
        """Close this process's ends: once no process has one, clients are refused."""
        for sock in self:
            sock.close()

    def remove_files(self) -> None:
        """Remove the files of unix sockets."""
        for file in self._files:
            try:
                file.unlink(missing_ok=True)
            except OSError:
                pass  # the process has become a user that may not


def _endpoints(options: Options) -> list[Endpoint]:
    """Return what the options want listened on, in the order in which it is bound."""
    return [
        *(Endpoint("http", address) for address in options.http),
        *(Endpoint("http-socket", address) for address in options.http_socket),
        *(Endpoint("http2-socket", address, "http2") for address in options.http2_socket),
        *(Endpoint("socket", address, options.protocol) for address in options.socket),
        *(Endpoint("uwsgi-socket", address, "uwsgi") for address in options.uwsgi_socket),
        *(Endpoint("channel-socket", address, "channels") for address in options.channel_socket),
        *(Endpoint("http-to-https", each.address, "redirect", https_port=each.port) for each in options.http_to_https),
        *(Endpoint("https", each.address, secure=each) for each in options.https),
        *(Endpoint("https-socket", each.address, secure=each) for each in options.https_socket),
    ]


def _filters(options: Options) -> tuple[PeerFilter, PeerFilter | None]:
    """Return the peers that may be proxies that speak PROXY, and those that may be front servers (None: all)."""
    proxies = options.checked("proxy-allow-from", PeerFilter, options.proxy_allow_from or LOOPBACK)
    if not options.uwsgi_allow_from:
        return proxies, None
    return proxies, options.checked("uwsgi-allow-from", PeerFilter, options.uwsgi_allow_from)


def _guarded(endpoint: Endpoint, options: Options, filters: tuple[PeerFilter, PeerFilter | None]) -> Endpoint:
    """Return the endpoint with the peers that may connect to it."""
    proxies, fronts = filters
    if endpoint.dialect == "uwsgi":
        return replace(endpoint, admits=fronts)
    if options.enable_proxy_protocol and endpoint.dialect != "channels":
        return replace(endpoint, admits=proxies, has_proxy_header=True)
    if options.http_enable_proxy_protocol and endpoint.dialect != "channels":
        return replace(endpoint, proxies=proxies)
    return endpoint


def _bind(options: Options, endpoint: Endpoint) -> list[socket.socket]:
    """Return the sockets of an endpoint: one, or with ``--reuse-port``, TCP and all workers one for each."""
    # Nobody would accept from the sockets of workers that have been put away.
    if endpoint.address.family == "unix" or not options.reuse_port or options.cheaper:
        return [_bind_one(options, endpoint)]
    first = _bind_one(options, endpoint)
    # A port of 0 has become a number.
    same = replace(endpoint, address=replace(endpoint.address, port=first.getsockname()[1]))
    return [first, *(_bind_one(options, same) for _ in range(1, options.processes))]


def _bind_one(options: Options, endpoint: Endpoint) -> socket.socket:
    is_private = endpoint.dialect == "channels"
    if is_private and endpoint.address.family != "unix":
        problem = f"{str(endpoint.address)!r} is no unix socket, which alone tells who is at the other end"
        raise options.error(endpoint.option, problem)
    try:
        sock = bind(endpoint.address, options.listen, is_private=is_private, may_be_one_of_many=options.reuse_port)
    except OSError as exc:
        raise options.error(endpoint.option, f"cannot listen on {endpoint.address}: {exc.strerror}") from exc
    if endpoint.address.family == "unix" and not endpoint.address.is_abstract:
        try:
            _guard_file(options, endpoint.address.path, is_private=is_private)
        except BaseException:
            os.unlink(endpoint.address.path)
            raise
    return sock


def _guard_file(options: Options, path: str, *, is_private: bool) -> None:
    """Say who may connect to a unix socket."""
    if is_private:
        # It is for processes of the user that this one is about to become.
        _give(options, "uid", path, options.uid)
    else:
        if options.chmod_socket is not None:
            _set_mode(path, options.chmod_socket)
        _give(options, "chown-socket", path, options.chown_socket)


def _give(options: Options, name: str, path: str, owner: str | None) -> None:
    """Make a file the property of ``USER[:GROUP]``, if that is not None; ``name`` is the option that says so."""
    if owner is not None:
        user, _, group = owner.partition(":")
        uid = options.checked(name, user_id, user) if user else -1
        gid = options.checked(name, group_id, group) if group else -1
        try:
            # Never what another program has put in its place meanwhile.
            os.chown(path, uid, gid, follow_symlinks=False)
        except OSError as exc:
            raise options.error(name, f"cannot give {path!r} to {owner!r}: {exc.strerror}") from exc


def _set_mode(path: str, mode: int) -> None:
    """Set a socket's permissions; never those of what another program has put in its place."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def _activated() -> dict[str, socket.socket]:
    """Return the sockets that systemd has opened for us, by address (sd_listen_fds(3))."""
    count = int(os.environ.pop("LISTEN_FDS", "0"))
    os.environ.pop("LISTEN_FDNAMES", None)
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()):
        return {}
    sockets = [socket.socket(fileno=fd) for fd in range(_FIRST_ACTIVATED, _FIRST_ACTIVATED + count)]
    return {str(_address_of(sock)): sock for sock in sockets}


def _address_of(sock: socket.socket) -> Address:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return Address("unix", path=name if isinstance(name, str) else name.decode())
    return Address("tcp", host=name[0], port=name[1])


def _key(endpoint: Endpoint) -> str:
    """Return a name for an endpoint that the next program knows too."""
    return f"{endpoint.option} {endpoint.address}"
