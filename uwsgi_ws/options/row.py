"""What a row of the option table is: everything there is to know about one option."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, field, fields
from typing import Any, Literal, NamedTuple

from uwsgi_ws.options.setting import COMMAND_LINE, Setting
from uwsgi_ws.options.values import TYPES

__all__ = ["LARGEST", "Row", "option", "rows_of"]

LARGEST = 2**31 - 1  #: Of any number; uWSGI keeps them in C ints.


def option(default: object, **details: Any) -> Any:
    """Return the dataclass field of one option; `details` are the arguments of `Row` that it needs.

    ``name`` is the field's with dashes for underscores and ``metavar`` the type's, unless given.
    """
    return field(default=default, metadata=details)


class Row(NamedTuple):
    """Everything there is to know about one option.

    A tuple, as there are a thousand at each start, and a frozen dataclass takes five times as long to make.

    Args:
        name: uWSGI's name, without dashes.
        attribute: The field of `Options` that holds the value; empty when the option is ignored.
        type: A key of `TYPES`.
        repeats: Whether the option may be given more than once, its values collected in a tuple.
        default: The value without any setting, converted.
        help: One or two sentences; for an ignored option, why it needs nothing here.
        group: The heading it stands under.
        aliases: Further long names, without dashes.
        short: The letter of the short flag, without its dash.
        metavar: What stands for the value in texts; empty for a flag.
        unit: Of a number, for texts.
        at_least: Smallest number allowed.
        at_most: Largest number allowed.
        needs_master: Whether only a master can do it, so that asking for it asks for a master.
        bare: The text that is meant where the name stands alone; empty when there must be one.
        kind: ``ours``; ``no effect`` where it needs nothing here; ``refused``, with the advice as help; or
            ``language``, carried out before options are looked at.
        keeps: Kinds of placeholder, of ``%$@``, that mean something else in this value: they stay if they name nothing.
        clamps: Whether a number in a file that is too large stands for the largest, as in uWSGI.
        reads: The format of the file that the value names, ``any`` where its name tells; empty for other options.
    """

    name: str
    help: str
    group: str
    type: str
    attribute: str = ""
    repeats: bool = False
    default: object = None
    aliases: tuple[str, ...] = ()
    short: str = ""
    metavar: str = ""
    unit: str = ""
    at_least: float = 0
    at_most: float = LARGEST
    needs_master: bool = False
    bare: str = ""
    kind: Literal["ours", "no effect", "refused", "language"] = "ours"
    keeps: str = ""
    reads: str = ""
    clamps: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every long name, uWSGI's first."""
        return (self.name, *self.aliases)

    def in_units(self, *words: object) -> str:
        """Return numbers and the words between them as a text, this option's unit at the end."""
        texts = [f"{word:.10g}" if isinstance(word, float) else str(word) for word in (*words, self.unit)]
        return " ".join(texts).rstrip()

    @property
    def is_flag(self) -> bool:
        """Whether the option stands alone, without a value after it."""
        return self.type == "bool"

    def value(self, setting: Setting, remark: Callable[[str], None] = lambda text: None) -> Any:
        """Return a setting's value, converted and within bounds.

        Args:
            setting: Of this option. On a command line its text must fit; elsewhere it is read as uWSGI reads it.
            remark: Is called with what there is to say about a text that was read so.

        Raises:
            OptionError: There is no value, or it cannot be used.
        """
        text = setting.value or self.bare
        lenient = TYPES[self.type].lenient
        if lenient is not None and setting.source != COMMAND_LINE and setting.value is not None:
            text, said = lenient(text)
            if said:
                remark(said)
        if not text:
            if self.is_flag:
                return True
            raise setting.error("needs a value")
        try:
            value = TYPES[self.type].parse(text)
        except ValueError as exc:
            raise setting.error(str(exc)) from None
        if self.clamps and setting.source != COMMAND_LINE and isinstance(value, int) and value > self.at_most:
            remark(f"{text!r} is {self.in_units(self.at_most)}, the most there can be, as in uWSGI")
            return int(self.at_most)
        if value == 0 and self.at_least > 0 and setting.source != COMMAND_LINE and self.default is not None:
            remark(f"{text!r} is too little here, {self.in_units(self.default)} counts")
            return self.default
        if isinstance(value, int | float) and not self.at_least <= value <= self.at_most:
            bounds = self.in_units(self.at_least, "to", self.at_most)
            raise setting.error(f"{text!r} is out of bounds, {bounds}")
        return value


def rows_of(table: type) -> tuple[Row, ...]:
    """Return the rows of a dataclass whose fields were made by `option`; other fields are passed over."""
    return tuple(_row_of(each) for each in fields(table) if each.metadata)


def _row_of(each: Field[Any]) -> Row:
    annotation = str(each.type)  # a string, because annotations are postponed
    element = annotation.removesuffix(" | None").removeprefix("tuple[").removesuffix(", ...]")
    derived: dict[str, Any] = {"name": each.name.replace("_", "-"), "metavar": TYPES[element].metavar}
    return Row(
        attribute=each.name,
        type=element,
        repeats=annotation.startswith("tuple["),
        default=each.default,
        **{**derived, **each.metadata},
    )
