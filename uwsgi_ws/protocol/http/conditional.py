"""Conditional and range requests: which part of a file, if any, a request wants to have.

Only single ranges are granted. A request for several gets the whole file, which RFC 9110 14.2 allows ("MAY ignore"):
browsers, players and download managers ask for one, and lists of many small or overlapping ones are an old way to
make a server send a file many times over.

Source: RFC 9110 8.8.3, 13 and 14.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Mapping
from email.utils import parsedate
from typing import NamedTuple

__all__ = ["Selection", "select"]

_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(?:([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19}))[ \t]*", re.ASCII | re.IGNORECASE)
_ENTITY_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


class Selection(NamedTuple):
    """What to answer.

    Args:
        status: 200, 206 a part, 304 not modified, 412 precondition failed, 416 no such part.
        start: First byte to send, for 200 and 206.
        length: Bytes to send, for 200 and 206.
    """

    status: int
    start: int = 0
    length: int = 0


def select(variables: Mapping[str, str], etag: str, modified: int, size: int) -> Selection:
    """Judge a GET or HEAD request, in the order of RFC 9110 13.2.2. A condition that cannot be read is none.

    Args:
        variables: The request's CGI variables.
        etag: The file's strong entity tag, in its quotes.
        modified: When it was last modified, in whole seconds since the epoch.
        size: Its length in bytes.
    """
    if (tags := variables.get("HTTP_IF_MATCH")) is not None:
        if not _lists(tags, etag, weakly=False):
            return Selection(412)
    elif (since := _date(variables.get("HTTP_IF_UNMODIFIED_SINCE"))) is not None and modified > since:
        return Selection(412)
    if (tags := variables.get("HTTP_IF_NONE_MATCH")) is not None:
        if _lists(tags, etag, weakly=True):
            return Selection(304)
    elif (since := _date(variables.get("HTTP_IF_MODIFIED_SINCE"))) is not None and modified <= since:
        return Selection(304)
    wanted = variables.get("HTTP_RANGE")
    # 14.2: a Range means something with GET only.
    if wanted is None or variables["REQUEST_METHOD"] != "GET" or not _is_same(variables, etag, modified):
        return Selection(200, 0, size)
    return _part(wanted, size)


def _is_same(variables: Mapping[str, str], etag: str, modified: int) -> bool:
    """Judge If-Range: whether the client's other parts are of the same file (13.1.5)."""
    known = variables.get("HTTP_IF_RANGE")
    if known is None:
        return True
    return known.strip() == etag or _date(known) == modified


def _part(wanted: str, size: int) -> Selection:
    match = _RANGE.fullmatch(wanted)
    if match is None:
        return Selection(200, 0, size)
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        return Selection(206, size - length, length) if length else Selection(416)
    start = int(first)
    end = int(last) if last else size - 1
    if last and end < start:
        return Selection(200, 0, size)  # 14.1.1: invalid, so it is ignored
    if start >= size:
        return Selection(416)
    return Selection(206, start, min(end, size - 1) - start + 1)


def _lists(tags: str, etag: str, *, weakly: bool) -> bool:
    """Say whether a list of entity tags has this one; ``*`` has every one."""
    if tags.strip() == "*":
        return True
    return any(tag == etag and (weakly or not weak) for weak, tag in _ENTITY_TAG.findall(tags))


def _date(text: str | None) -> int | None:
    """Return an HTTP date in any of its three forms (5.6.7) as seconds since the epoch."""
    parsed = parsedate(text) if text else None
    if parsed is None:
        return None
    try:
        return timegm(parsed)  # two of the forms do not say GMT, but all are
    except (ValueError, OverflowError):
        return None
