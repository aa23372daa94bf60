"""What a source returns: settings, each a text as the user wrote it and where; and remarks on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from uwsgi_ws.errors import OptionError, OptionErrors

__all__ = ["COMMAND_LINE", "Findings", "Note", "Setting"]

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


class Note(NamedTuple):
    """A remark on a configuration that can be used nevertheless.

    Args:
        kind: ``no effect`` for an option that needs nothing here, ``unknown`` for a name that is no option, ``reading``
            for a text that does not mean what it seems to.
        option: As the user wrote it; empty where no option is concerned.
        text: What there is to say.
        source: As a setting's.
    """

    kind: Literal["no effect", "unknown", "reading"]
    option: str
    text: str
    source: str

    def __str__(self) -> str:
        return f"{self.option}{': ' if self.option else ''}{self.text} ({self.source})"


@dataclass(slots=True)
class Findings:
    """All that is found while a configuration is read, so that it need not be mended one error at a time."""

    errors: list[OptionError] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    settings: Sequence[Setting] = ()  # those left when the language has been carried out

    def note(self, kind: Literal["no effect", "unknown", "reading"], setting: Setting, text: str) -> None:
        """Add a remark on a setting."""
        self.notes.append(Note(kind, setting.spell(setting.name), text, setting.source))

    def check(self) -> None:
        """Raise the errors, if there are any.

        Raises:
            OptionError: The only one, or all of them.
        """
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise OptionErrors(self.errors)
