"""What is said of memory that workers share: caches, metrics and areas, by uWSGI's keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from mmap import PAGESIZE
from typing import Any

from uwsgi_ws.shared.areas import AreaSpec
from uwsgi_ws.shared.cache import CacheShape
from uwsgi_ws.shared.metrics import MetricSpec

__all__ = ["parse_area", "parse_cache", "parse_metric"]

_FALSE = ("", "0", "no", "off", "false")

#: Keys of ``--cache2`` by their various names.
_CACHE_KEYS = {
    **dict.fromkeys(("max_items", "maxitems", "items"), "items"),
    **dict.fromkeys(("hashsize", "hash_size"), "hash_size"),
    **dict.fromkeys(("keysize", "key_size"), "key_size"),
    **dict.fromkeys(("purge_lru", "lru"), "purge_lru"),
    "name": "name",
    "blocksize": "block_size",
    "blocks": "blocks",
    "bitmap": "has_bitmap",
    "clear_on_full": "clear_on_full",
    "ignore_full": "ignores_full",
    "no_expire": "no_expire",
    "math_initial": "math_initial",
    # An item is gone when it expires, and its room taken when there is no other; there is one way to find a key.
    **dict.fromkeys(("hash", "lastmod", "lazy", "lazy_expire", "sweep_on_full"), ""),
}
_STORED = "a cache is in memory, and empty at the start: keep in a file or a database what must outlive it"
_ALONE = "a cache is this instance's own: share one between machines by Redis or memcached"
_CACHE_REFUSED = {
    **dict.fromkeys(("store", "store_sync", "storesync", "store_delete", "storedelete"), _STORED),
    **dict.fromkeys(("node", "nodes", "sync", "udp", "udp_server", "udp_servers", "udpserver", "udpservers"), _ALONE),
}
_FLAGS = ("has_bitmap", "purge_lru", "clear_on_full", "ignores_full", "no_expire")


def pairs(text: str, known: Mapping[str, str], refused: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what each ``KEY=VALUE`` of a text says, the key by our name for it.

    Args:
        text: The pairs, with commas between them.
        known: Our names by uWSGI's.
        refused: By what is uWSGI's only, why.

    Raises:
        ValueError: a key is refused or unknown, or has no value.
    """
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        key = key.strip()
        if key in refused:
            raise ValueError(f"{pair.strip()!r} is not done here: {refused[key]}")
        if key not in known or not equals:
            raise ValueError(f"{pair!r} is none of {', '.join(known)}, with =VALUE")
        yield known[key], value.strip()


def number(text: str, what: str, at_least: int = 1) -> int:
    """Return a whole number.

    Raises:
        ValueError: it is none, or too small.
    """
    if not re.fullmatch("-?[0-9]{1,18}", text) or int(text) < at_least:
        raise ValueError(f"{what} {text!r} is no whole number of at least {at_least}")
    return int(text)


def parse_cache(text: str) -> CacheShape:
    """Read ``name=NAME,items=N,...``.

    Raises:
        ValueError: it cannot be done.
    """
    values: dict[str, str] = dict(pairs(text, _CACHE_KEYS, _CACHE_REFUSED))
    values.pop("", None)
    name = values.pop("name", "")
    if not name or "items" not in values:
        raise ValueError(f"{text!r} does not tell name and items")
    shape = CacheShape(name, number(values["items"], "items"))
    changes: dict[str, Any] = {"blocks": shape.items}
    for key, value in values.items():
        if key in _FLAGS:
            changes[key] = value.lower() not in _FALSE
        else:
            changes[key] = number(value, key.replace("_", ""), -(2**62) if key == "math_initial" else 1)
    shape = shape._replace(expires=not changes.pop("no_expire", False), **changes)
    if shape.blocks < shape.items:
        raise ValueError(f"{text!r} has fewer blocks than items")
    if shape.key_size >= 65_536:
        raise ValueError(f"keysize {shape.key_size} is not less than 65536")
    return shape


_METRIC_KEYS = {
    "name": "name",
    "type": "type",
    "initial_value": "initial",
    "collector": "collector",
    "children": "children",
    "alias": "alias",
    "arg1": "path",
    "arg1n": "word",
    # For SNMP, and how often uWSGI looks.
    **dict.fromkeys(("oid", "freq"), ""),
}
_METRIC_REFUSED = {"reset_after_push": "the statistics are not pushed"}
_COLLECTORS = ("sum", "avg", "file")


def parse_metric(text: str) -> MetricSpec:
    """Read ``NAME`` or ``name=NAME,...``.

    Raises:
        ValueError: it cannot be done.
    """
    values = dict(pairs(text, _METRIC_KEYS, _METRIC_REFUSED)) if "=" in text else {"name": text}
    name, collector, alias = (values.get(key, "") for key in ("name", "collector", "alias"))
    if not re.fullmatch("[0-9A-Za-z._-]+", name):
        raise ValueError(f"{text!r} has no name of letters, digits, dots, dashes and underscores")
    if values.get("type", "counter") not in ("counter", "gauge", "absolute", "alias"):
        raise ValueError(f"{values['type']!r} is none of counter, gauge, absolute, alias")
    if collector and collector not in _COLLECTORS:
        raise ValueError(f"collector {collector!r} is not here, only {', '.join(_COLLECTORS)}")
    if (values.get("type") == "alias") != bool(alias):
        raise ValueError(f"{text!r} is of the type alias without an alias, or the other way round")
    return MetricSpec(
        name,
        number(values.get("initial", "0"), "initial_value", -(2**62)),
        collector,
        tuple(filter(None, values.get("children", "").split(";"))),
        values.get("path", ""),
        number(values.get("word", "0"), "arg1n", 0),
        alias,
    )


_AREA_KEYS = {"pages": "pages", "size": "size", "file": "path", "offset": "offset"}
_AREA_REFUSED = dict.fromkeys(("fd", "ptr"), "a file is named by file=PATH")


def parse_area(text: str) -> AreaSpec:
    """Read a number of pages, or ``size=BYTES,...``.

    Raises:
        ValueError: it cannot be done.
    """
    if "=" not in text:
        return AreaSpec(number(text, "number of pages"))
    values = dict(pairs(text, _AREA_KEYS, _AREA_REFUSED))
    path = values.get("path", "")
    offset = _size(values.get("offset", "0"), "offset", 0)
    if "pages" in values:
        return AreaSpec(number(values["pages"], "pages"), True, path, offset)
    if "size" not in values:
        raise ValueError(f"{text!r} tells neither pages nor size")
    size = _size(values["size"], "size", 1)
    # As in uWSGI, memory is in whole pages, a file's part as large as it is told.
    return AreaSpec(size, False, path, offset) if path else AreaSpec(-(-size // PAGESIZE))


def _size(text: str, what: str, at_least: int) -> int:
    if re.fullmatch("0x[0-9A-Fa-f]{1,15}", text):
        return int(text, 16)
    return number(text, what, at_least)
