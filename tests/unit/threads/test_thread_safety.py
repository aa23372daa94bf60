"""No public name of a connection is left without a decision for threads, and no private one is overridden in secret."""

from __future__ import annotations

import inspect
from pathlib import Path

import uwsgi_ws
from uwsgi_ws.threads.connection import ThreadConnection
from uwsgi_ws.websocket.connection import Connection

#: What is not overridden, and why any thread may use it as it is.
SAFE = {
    "one attribute is read, or set": (
        "bytes_received", "bytes_sent", "close_code", "close_reason", "detach", "detached", "frames_received",
        "has_messages", "has_unmasked", "is_ended", "is_open", "label", "latency", "messages_received", "messages_sent",
        "path", "subprotocol",
    ),
    "made of others, which are decided on": ("recv", "send"),
    "the hub calls it before a thread knows the connection": ("start",),
    "of the hub's timers alone": ("wheel_slot",),
    "a constant": ("takes_simple",),
    "the outbox calls it: the lock is held": ("outbox_is_empty", "outbox_lost", "outbox_overflows", "outbox_waits"),
    "for a copy of the process, where no other thread lives": ("forsake",),
}  # fmt: skip
#: The private methods of Connection that threads have in another form.
HOOKS = {"_make_outbox", "_may_cork", "_on_attention", "_on_close", "_on_write_error", "_park"}


def names_of(kind: type) -> set[str]:
    """What a class and its bases define, but for what every object has."""
    return {name for base in kind.__mro__ if base is not object for name in vars(base)}


def test_each_public_name_of_a_connection_is_overridden_declared_or_safe() -> None:
    public = {name for name in names_of(Connection) if not name.startswith("_")}
    decided = set(vars(ThreadConnection))
    safe = {name for names in SAFE.values() for name in names}
    assert public - decided - safe == set(), "decide for threads: override it, declare it, or say in SAFE why not"
    assert safe & decided == set(), "overridden: take it out of SAFE"
    assert safe - public == set(), "gone: take it out of SAFE"


def test_threads_extend_the_hooks_and_nothing_else_that_is_private() -> None:
    inherited = {name for name in names_of(Connection) if not name.startswith("__")}
    overridden = {name for name in vars(ThreadConnection) if name.startswith("_") and name in inherited}
    assert overridden == HOOKS


def test_the_hooks_stand_together_at_the_end_of_their_class() -> None:
    room = Path(uwsgi_ws.__file__).parent / "websocket"
    found: set[str] = set()
    for file in ("live.py", "connection.py"):
        _, _, hooks = (room / file).read_text().partition("    # Hooks")
        found.update(line.split("(")[0].split()[1] for line in hooks.splitlines() if line.startswith("    def "))
    assert found == HOOKS


def test_what_is_declared_keeps_its_name_signature_and_documentation() -> None:
    for name in ("close", "join", "offer", "receive"):
        declared, original = getattr(ThreadConnection, name), getattr(Connection, name)
        assert declared.__name__ == name
        assert declared.__doc__ == original.__doc__
        assert inspect.unwrap(declared) is original
