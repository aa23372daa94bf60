"""Header fields that concern one connection and end with it: one list for requests and responses of all senders.

Source: RFC 9110 7.6.1; RFC 2616 13.5.1, which PEP 3333 refers to, has the fields of proxies' authentication too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["HOP_BY_HOP", "connection_options", "end_to_end"]

#: In lower case. "trailers" is RFC 2616's name for Trailer.
HOP_BY_HOP: Final = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    )
)


def connection_options(headers: Iterable[tuple[str, str]]) -> set[str]:
    """Return what the Connection fields list, in lower case: options such as ``close``, and names of fields."""
    return {
        option
        for name, value in headers
        if name.lower() == "connection"
        for word in value.split(",")
        if (option := word.strip(" \t").lower())
    }


def end_to_end(headers: list[tuple[str, str]], status: int) -> list[tuple[str, str]]:
    """Return a response's headers without those that end with its connection, and those that Connection names.

    A 426 keeps its Upgrade: RFC 9110 15.5.22 has its sender say it. Content-Length stays even if it is named:
    it says where the response ends.
    """
    ended = (HOP_BY_HOP | connection_options(headers)) - {"content-length"}
    if status == 426:
        ended -= {"upgrade"}
    return [header for header in headers if header[0].lower() not in ended]
