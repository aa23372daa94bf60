"""The plugins of gevent that are installed: what it calls while it patches the standard library.

gevent asks ``importlib.metadata`` for them at each of some twenty steps, and each time all distributions would be
looked through. To import that module alone, which brings the email package along, takes a tenth of a start. So the
files that name plugins are read here, once. There is always one: gevent names a plugin of its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial, reduce
from importlib import import_module
from importlib.machinery import PathFinder
from typing import Any

__all__ = ["plugins_known"]

_PREFIX = "gevent.plugins."


@contextlib.contextmanager
def plugins_known() -> Iterator[None]:
    """Have gevent call the plugins that are installed, without a search for them at each step."""
    events: Any = import_module("gevent.events")
    notify = events.notify_and_call_entry_points
    if all(map(_is_plain, sys.path)) and not any(map(_knows_distributions, sys.meta_path)):
        events.notify_and_call_entry_points = partial(_notify, events.notify, _plugins())
    try:
        yield
    finally:
        events.notify_and_call_entry_points = notify


def _is_plain(entry: str) -> bool:
    """Say whether what is installed there lies in a folder of its own, as all does but eggs and archives."""
    return not entry.endswith(".egg") and (os.path.isdir(entry or ".") or not os.path.exists(entry))


def _knows_distributions(finder: object) -> bool:
    """Say whether distributions may be elsewhere than in the folders of ``sys.path``."""
    return finder is not PathFinder and hasattr(finder, "find_distributions")


def _notify(notify: Callable[[Any], None], plugins: Mapping[str, list[str]], event: Any) -> None:
    """Tell subscribers and plugins of an event, as ``gevent.events.notify_and_call_entry_points`` does."""
    notify(event)
    for plugin in plugins.get(event.ENTRY_POINT_NAME, ()):
        module, _, attributes = plugin.partition(":")
        subscriber: Any = reduce(getattr, attributes.split("."), import_module(module))
        subscriber(event)


def _plugins() -> dict[str, list[str]]:
    """Return by group, such as ``gevent.plugins.monkey.did_patch_all``, the objects that distributions name.

    Source: the packaging guide's "Entry points specification".
    """
    found: dict[str, list[str]] = {}
    distributions = set()
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue  # the interpreter's own archive, which usually is not there
        for name in names:
            distribution = name.partition("-")[0].lower()
            if name.lower().endswith((".dist-info", ".egg-info")) and distribution not in distributions:
                distributions.add(distribution)  # of two that are called the same the first one counts
                for group, plugin in _entry_points(os.path.join(folder, name, "entry_points.txt")):
                    found.setdefault(group, []).append(plugin)
    return found


def _entry_points(path: str) -> Iterator[tuple[str, str]]:
    """Yield the groups and the objects of a distribution's plugins for gevent."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return  # it has none
    if _PREFIX in text:
        group = ""
        for line in map(str.strip, text.splitlines()):
            if line.startswith("["):
                group = line.strip("[]")
            elif group.startswith(_PREFIX) and line and not line.startswith("#"):
                # "name = module:attribute [extra]"
                yield group, line.partition("=")[2].partition("[")[0].replace(" ", "")
