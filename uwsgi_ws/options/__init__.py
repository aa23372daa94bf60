"""The options: one row each, under uWSGI's names; parser, ``--help`` and README derive from the rows.

Options come from sources. A source, such as `command_line` or a file (``ini``), only makes a list of `Setting`: text as
the user wrote it, and where. `build` turns such a list into `Options`; it alone knows names, types and
bounds, so that a value is judged alike wherever it comes from. A later setting wins over an earlier
one, and the settings of a repeatable option add up.

To add an option, add a field to `Options` in ``table``: its annotation says what the text must be
(`TYPES`, in ``values``).

Nothing here resolves a name or looks at the environment, only ``ini`` opens files, and nothing imports gevent:
the options are known before the standard library is patched. ``addresses`` is imported because it is
as pure as this room, and an address is best refused where its option is known.
"""

from __future__ import annotations

from collections.abc import Sequence

from uwsgi_ws.options.argv import command_line
from uwsgi_ws.options.ini import expand
from uwsgi_ws.options.row import Row, option, rows_of
from uwsgi_ws.options.setting import Setting
from uwsgi_ws.options.table import IGNORED, ROWS, Options, build, opt_dict
from uwsgi_ws.options.texts import help_text, markdown_table
from uwsgi_ws.options.values import TYPES, Dialect, Mount, Origin, Type, Variable

__all__ = [
    "IGNORED",
    "ROWS",
    "TYPES",
    "Dialect",
    "Mount",
    "Options",
    "Origin",
    "Row",
    "Setting",
    "Type",
    "Variable",
    "build",
    "command_line",
    "help_text",
    "markdown_table",
    "opt_dict",
    "option",
    "parse",
    "rows_of",
]


def parse(argv: Sequence[str]) -> Options:
    """Read a command line, without the program's name, and the files that it names.

    Raises:
        OptionError: Something in them is unknown or cannot be used.
    """
    return build(expand(command_line(argv)))
