"""The tests of rules: a regular expression on one variable, or one of ``--route-if``'s checks.

A test takes a request and returns a bool. A regular expression that matches also leaves its groups in the request, for
the ``$1`` of the rule's action.

Source: uWSGI's core/routing.c (``uwsgi_route_condition_*``).
"""

from __future__ import annotations

import operator
import os
import re
import stat
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from uwsgi_ws.routing.request import RoutedRequest
from uwsgi_ws.routing.templates import Template

__all__ = ["Test", "check", "matches", "network_of", "status_matches"]

Test = Callable[[RoutedRequest], bool]


def compile_regex(pattern: str) -> re.Pattern[bytes]:
    """Compile a pattern that is matched against bytes, as environs hold them; unanchored, as uWSGI's are.

    Raises:
        ValueError: It is malformed.
    """
    try:
        return re.compile(os.fsencode(pattern))
    except (re.error, RecursionError) as exc:
        raise ValueError(f"{pattern!r} is no regular expression: {exc}") from exc


def _search(regex: re.Pattern[bytes], text: str, request: RoutedRequest) -> bool:
    match = regex.search(text.encode("latin-1", "replace"))
    if match is None:
        return False
    request.groups = tuple([(group or b"").decode("latin-1") for group in (match[0], *match.groups())])
    return True


def matches(variable: str, pattern: str) -> Test:
    """Return a test: does a variable of the request match a regular expression?

    Raises:
        ValueError: It is malformed.
    """
    regex = compile_regex(pattern)
    return lambda request: _search(regex, request.environ.get(variable, ""), request)


def status_matches(pattern: str) -> Test:
    """Return a test: does the response's status code match a regular expression?

    Raises:
        ValueError: It is malformed.
    """
    regex = compile_regex(pattern)
    return lambda request: _search(regex, str(request.status_to_send or request.status), request)


def check(text: str) -> Test:
    """Return the test that ``CHECK:SUBJECT[;PATTERN]`` asks for.

    Raises:
        ValueError: The check is unknown, or lacks something.
    """
    name, colon, rest = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is not of the form CHECK:SUBJECT[;PATTERN]")
    if name in _OF_ONE:
        return partial(_test_one, _OF_ONE[name], Template(rest))
    subject, semicolon, pattern = rest.partition(";")
    if name not in _OF_TWO and name not in ("regexp", "re", "ipv4in", "ipv6in"):
        known = ", ".join(sorted((*_OF_ONE, *_OF_TWO, "regexp", "re", "ipv4in", "ipv6in")))
        raise ValueError(f"{name!r} is a check that is not known here, only {known}")
    if not semicolon:
        raise ValueError(f"{text!r} lacks the pattern after a semicolon")
    if name in _OF_TWO:
        return partial(_test_two, _OF_TWO[name], Template(subject), Template(pattern))
    if name in ("regexp", "re"):
        return partial(_test_regex, compile_regex(pattern), Template(subject))
    return partial(_test_network, _network_of_version(pattern, int(name[3])), Template(subject))


def network_of(text: str) -> IPv4Network | IPv6Network:
    """Read an address, a network (``10.0.0.0/8``) or the beginning of one (``192.168.*``).

    Raises:
        ValueError: It is none of these.
    """
    wildcard = re.fullmatch(r"((?:[0-9]{1,3}\.){1,3})\*", text)
    if wildcard is not None:
        known = wildcard[1].split(".")[:-1]
        text = ".".join([*known, *["0"] * (4 - len(known))]) + f"/{8 * len(known)}"
    try:
        return ip_network(text, strict=False)
    except ValueError as exc:
        raise ValueError(f"{text!r} is neither an IP address nor a network such as 10.0.0.0/8") from exc


def is_in(address: str, network: IPv4Network | IPv6Network) -> bool:
    """Return whether an address lies in a network; False for text that is no address."""
    try:
        return ip_address(address) in network
    except ValueError:
        return False


def _network_of_version(text: str, version: int) -> IPv4Network | IPv6Network:
    network = network_of(text)
    if network.version != version:
        raise ValueError(f"{text!r} is no network of IPv{version}")
    return network


def _test_one(judge: Callable[[str], bool], subject: Template, request: RoutedRequest) -> bool:
    return judge(subject.expand(request))


def _test_two(judge: Callable[[str, str], bool], subject: Template, pattern: Template, request: RoutedRequest) -> bool:
    return judge(subject.expand(request), pattern.expand(request))


def _test_regex(regex: re.Pattern[bytes], subject: Template, request: RoutedRequest) -> bool:
    return _search(regex, subject.expand(request), request)


def _test_network(network: IPv4Network | IPv6Network, subject: Template, request: RoutedRequest) -> bool:
    return is_in(subject.expand(request), network)


def _mode(path: str) -> int:
    """Return the mode of the file at a path, links followed; 0 when there is none."""
    try:
        return os.stat(_file(path)).st_mode
    except (OSError, ValueError):
        return 0


def _file(path: str) -> str:
    """Return a path as the system calls take it."""
    return os.fsdecode(path.encode("latin-1"))


def _is_executable(path: str) -> bool:
    return "\0" not in path and os.access(_file(path), os.X_OK)


def _is_link(path: str) -> bool:
    return "\0" not in path and os.path.islink(_file(path))


def _as_number(text: str) -> int:
    """Return the number that a text begins with, or 0, as C's atoi does."""
    match = re.match(r"\s*([+-]?[0-9]{1,18})", text)
    return int(match[1]) if match else 0


def _by_number(compare: Callable[[int, int], bool]) -> Callable[[str, str], bool]:
    return lambda subject, pattern: compare(_as_number(subject), _as_number(pattern))


_OF_ONE: dict[str, Callable[[str], bool]] = {
    "empty": operator.not_,
    "exists": lambda path: _mode(path) != 0,
    "isdir": lambda path: stat.S_ISDIR(_mode(path)),
    "isexec": _is_executable,
    "isfile": lambda path: stat.S_ISREG(_mode(path)),
    "islink": _is_link,
}
_OF_TWO: dict[str, Callable[[str, str], bool]] = {
    **dict.fromkeys(("equal", "isequal", "eq", "=="), operator.eq),
    **dict.fromkeys(("contains", "contain"), operator.contains),
    "startswith": str.startswith,
    "endswith": str.endswith,
    **dict.fromkeys(("ishigher", ">"), _by_number(operator.gt)),
    **dict.fromkeys(("ishigherequal", ">="), _by_number(operator.ge)),
    **dict.fromkeys(("islower", "<"), _by_number(operator.lt)),
    **dict.fromkeys(("islowerequal", "<="), _by_number(operator.le)),
}
