"""Where a server listens, and whom it trusts: the texts of options, read into an `Address` or a `Trusted`.

Pure: it resolves no name, opens no socket and looks at no file. It says what an address is, not
whether it can be bound, and it depends on nothing of ours, so that the option table may use it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

__all__ = ["Address", "Trusted", "User", "parse_address", "parse_trusted"]

_ALL_IPV4 = "0.0.0.0"
#: What can be no host without a port: a name with an ending, such as ``site.socket``, but for dotted numbers.
_SOCKET_FILE = re.compile(r"(?![0-9.]*$)[\w.-]*\.[A-Za-z_][\w-]*")
#: Around a port's digits; uWSGI reads no more of it than those.
_STRAY = re.compile(r"^\s+|\s*[;,]?(\s+[;#].*)?$")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")  # a name or dotted IPv4
_LARGEST_PORT = 65_535
_LONGEST_UNIX_PATH = 107  # bytes; Linux's sun_path holds 108, one of them the NUL of a path or of an @abstract name


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on; either host and port are set, or path is.

    Args:
        family: ``tcp`` (IPv4 and IPv6) or ``unix``.
        host: A name, an IPv4 address, or an IPv6 address without its brackets.
        port: 0 to 65535; 0 lets the kernel choose.
        path: As ``bind`` takes it: a file's path, or an abstract name after a NUL.
    """

    family: Literal["tcp", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_abstract(self) -> bool:
        """Whether this is a unix socket without a file (Linux)."""
        return self.path.startswith("\0")

    @property
    def is_public(self) -> bool:
        """Whether machines of foreign networks may reach it; a host's name is taken for one that they cannot."""
        if self.family == "unix":
            return False
        try:
            address = ip_address(self.host.partition("%")[0])
        except ValueError:
            return False
        return address.is_unspecified or address.is_global

    @property
    def is_of_this_machine(self) -> bool:
        """Whether only this machine's processes can connect; of hosts' names that is known of ``localhost`` alone."""
        if self.family == "unix" or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.family == "unix":
            return self.path.replace("\0", "@", 1)
        if self.host == _ALL_IPV4:
            return f":{self.port}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ``:port``, ``host:port``, ``[v6]:port``, a unix path or ``@abstract``.

    A unix path contains a slash or has an ending, as ``site.sock``. ``:port`` is every IPv4 address of the
    machine and no IPv6 one, as in uWSGI; ``[::]:port`` names those.

    Raises:
        ValueError: The text is none of these; the message holds the text and says why.

    Source: uWSGI's core/socket.c (``bind_to_unix``, ``bind_to_tcp``).
    """
    if "://" in text:
        raise ValueError(f"{text!r} is a URL, give host:port without the scheme")
    if text.startswith("@"):
        return _unix(text, path="\0" + text[1:])
    if "/" in text or _SOCKET_FILE.fullmatch(text):
        return _unix(text, path=text)
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} is no address, give host:port, :port or the path of a unix socket")
    number = _port(text, _STRAY.sub("", port))
    return Address("tcp", host=_host(text, host.strip()), port=number)


@dataclass(frozen=True, slots=True)
class User:
    """A user of this machine, by name or number."""

    name: str


#: Peers to believe: those with an address of a network, or a unix socket's of a user.
Trusted = IPv4Network | IPv6Network | User


def parse_trusted(text: str) -> Trusted:
    """Read ``10.1.2.3``, ``10.1.0.0/16``, ``fd00::/8``, ``uid:33`` or ``uid:www-data``.

    Raises:
        ValueError: The text is none of these; the message holds the text and says why.
    """
    if text.startswith("uid:"):
        name = text[4:]
        if not re.fullmatch(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*", name):
            raise ValueError(f"{text!r} names no user, give uid:NUMBER or uid:NAME")
        return User(name)
    try:
        return ip_network(text)
    except ValueError as exc:
        raise ValueError(f"{text!r} is no IP address, network (10.1.0.0/16) or uid:USER: {exc}") from None


def _unix(text: str, path: str) -> Address:
    if path == "\0":
        raise ValueError(f"{text!r} lacks the name of the abstract socket")
    if len(os.fsencode(path)) > _LONGEST_UNIX_PATH:
        raise ValueError(f"{text!r} is longer than the {_LONGEST_UNIX_PATH} bytes of a unix socket's path")
    return Address("unix", path=path)


def _host(text: str, host: str) -> str:
    if not host:
        return _ALL_IPV4
    if host.startswith("[") and host.endswith("]"):
        try:
            IPv6Address(host[1:-1])
        except AddressValueError:
            raise ValueError(f"{text!r} has no IPv6 address in its brackets") from None
        return host[1:-1]
    if ":" in host:
        raise ValueError(f"{text!r} has too many colons, put an IPv6 address in brackets: [::1]:8080")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{text!r} has a host that is neither a name nor an IP address")
    return host


def _port(text: str, port: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > _LARGEST_PORT:
        raise ValueError(f"{text!r} needs a port from 0 to {_LARGEST_PORT} after its last colon")
    return int(port)
