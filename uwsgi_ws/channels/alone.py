"""Channels of a process without others: what is kept of them, and nothing else, goes through a backend."""

from __future__ import annotations

from uwsgi_ws.channels.backend import Backend, OnGap, OnHistory, OnKept, OnMessage
from uwsgi_ws.channels.local_history import LocalHistory
from uwsgi_ws.channels.positions import Keep

__all__ = ["Alone"]


class Alone(Backend):
    """The backend of a process without others.

    Args:
        history: What it keeps.
    """

    def __init__(self, history: LocalHistory) -> None:
        self._history = history

    def start(self, on_message: OnMessage, on_gap: OnGap, on_kept: OnKept) -> None:
        """Hand on what is kept; no other message will come."""
        self._history.start(on_kept, on_gap)

    def subscribe(self, channel: str) -> None:
        """Take note of where its subscribers begin; no other process has to know."""
        self._history.subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        """Take note of that."""
        self._history.unsubscribe(channel)

    def listen(self, channel: str) -> None:
        """Do nothing: no other process has to know."""

    def unlisten(self, channel: str) -> None:
        """Do nothing: no other process has to know."""

    def publish(self, channel: str, opcode: int, payload: bytes, excluded: int = 0) -> None:
        """Do nothing: there is no other process."""

    def publish_kept(self, channel: str, opcode: int, payload: bytes, excluded: int, keep: Keep) -> None:
        """Keep it, and hand it back."""
        self._history.append(channel, opcode, payload, excluded, keep)
        self._history.catch_up(channel)

    def read(self, channel: str, on_history: OnHistory, keep: Keep | None) -> None:
        """Tell what is kept, at once."""
        self._history.read(channel, on_history, keep)

    def count_elsewhere(self, channel: str) -> int:
        """Return 0."""
        return 0

    def close(self) -> None:
        """Leave."""
        self._history.close()
