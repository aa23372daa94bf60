"""What the master does for each letter that comes through ``--master-fifo``.

Source: uWSGI's MasterFIFO page, core/fifo.c.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping, Sequence

from uwsgi_ws.log import say
from uwsgi_ws.process.fifo import Fifo

__all__ = ["Orders"]

#: uWSGI's letters that mean nothing here, and why.
_WITHOUT_EFFECT = {
    **dict.fromkeys("+-", "the number of workers is that of --processes, there is no --cheaper"),
    "C": "workers come and go by --cheaper and --idle",
    **dict.fromkeys("BE", "there is no emperor"),
    **dict.fromkeys("0123456789", "all fifos are heard, none need be chosen"),
    "S": "there are no subscriptions",
    "f": "the master runs no code of the application's, a restart alone renews it",
}


class Orders:
    """The fifos, and what is done for each letter that comes through one of them.

    Args:
        fifos: Open already.
        actions: By letters that order them; each letter stands for itself.
    """

    def __init__(self, fifos: Sequence[Fifo], actions: Mapping[str, Callable[[], None]]) -> None:
        self._fifos = fifos
        self._actions = {letter: action for letters, action in actions.items() for letter in letters}

    def register(self, poll: select.poll) -> None:
        """Have the master woken when a letter comes."""
        for fifo in self._fifos:
            poll.register(fifo, select.POLLIN)

    def carry_out(self) -> None:
        """Do what the letters say that have come."""
        for letter in "".join(fifo.take() for fifo in self._fifos):
            if letter in self._actions:
                self._actions[letter]()
            elif not letter.isspace():
                why = _WITHOUT_EFFECT.get(letter, "it is not known")
                say(f"*** master fifo: {letter!r} has no effect, {why} ***")

    def remove(self) -> None:
        """Close the fifos and remove their files."""
        for fifo in self._fifos:
            fifo.remove()
