"""What a source makes of what it read: settings, text as the user wrote it and where."""

from __future__ import annotations

from dataclasses import dataclass

from uwsgi_ws.errors import OptionError

__all__ = ["COMMAND_LINE", "Setting"]

COMMAND_LINE = "command line"  #: The source of a setting that names no file and no variable.


@dataclass(frozen=True, slots=True)
class Setting:
    """One option as the user gave it.

    Args:
        name: The long name without dashes, as written; an alias stays an alias.
        value: The text, or None when only the name was given.
        source: Where it was: ``command line``, ``FILE:LINE`` or an environment variable's name.
    """

    name: str
    value: str | None
    source: str = COMMAND_LINE

    def error(self, problem: str) -> OptionError:
        """Return the error that names this setting and says what is wrong with it."""
        return OptionError(self.spell(self.name), problem, self.source)

    def spell(self, name: str) -> str:
        """Return an option's name the way this setting's source writes it."""
        return f"--{name}" if self.source == COMMAND_LINE else name
