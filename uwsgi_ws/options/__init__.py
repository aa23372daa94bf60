"""The options: one row each, under uWSGI's names; the parser and ``--help`` derive from the rows.

Options come from sources. A source, such as `command_line`, `environment` or a file (``files``), only makes a list of
`Setting`: text as the user wrote it, and where. `expand` carries out the language in such a list: placeholders, blocks,
the names of further files. `build` turns what is left into `Options`. It alone knows names, types and bounds, so that a
value is judged the same wherever it comes from. A later setting wins over an earlier one, and the settings of a
repeatable option add up.

To add an option, add a field to `Options` in ``table``: its annotation says what the text must be
(`TYPES`, in ``values``). Options of uWSGI's that are not ours have their rows in ``uwsgi_only``.

Nothing here resolves a name or reads the environment, which is an argument. Only ``files`` and `expand` open files.
Nothing imports gevent: the options are known before the standard library is patched. ``addresses`` is imported because
it is as pure as this room, and an error in an address is best told where its option is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from uwsgi_ws.options.argv import command_line
from uwsgi_ws.options.environment import environment
from uwsgi_ws.options.expand import Loaded, Outside, expand
from uwsgi_ws.options.files import Files
from uwsgi_ws.options.row import Row, option, rows_of
from uwsgi_ws.options.setting import Findings, Setting
from uwsgi_ws.options.table import BY_NAME, IGNORED, LANGUAGE, ROWS, Options, build, opt_dict, settings_of
from uwsgi_ws.options.texts import help_text, ini_text
from uwsgi_ws.options.uwsgi_only import REFUSED
from uwsgi_ws.options.values import (
    TYPES,
    CompanionSpec,
    CronSpec,
    DaemonSpec,
    Dialect,
    Hook,
    Mount,
    Origin,
    Type,
    Variable,
    is_perl,
)

__all__ = [
    "BY_NAME",
    "IGNORED",
    "LANGUAGE",
    "REFUSED",
    "ROWS",
    "TYPES",
    "CompanionSpec",
    "CronSpec",
    "DaemonSpec",
    "Dialect",
    "Hook",
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
    "ini_text",
    "is_perl",
    "opt_dict",
    "option",
    "parse",
    "rows_of",
    "settings_of",
]

#: What ``%V`` stands for: the version that is followed, as ``uwsgi.version`` has it.
_VERSION = "2.0.31"
_EVERYTHING = "%$@"


def parse(
    argv: Sequence[str],
    environ: Mapping[str, str] = MappingProxyType({}),
    *,
    is_a_reload: bool = False,
    findings: Findings | None = None,
    kept: dict[str, bytes] | None = None,
    started_in: str = "",
) -> Options:
    """Read the environment, a command line, without the program's name, and the files that they name.

    Args:
        argv: The command line.
        environ: The environment, for ``UWSGI_*`` and for placeholders.
        is_a_reload: Whether a server has been started by it before.
        findings: Gets all remarks; None where none are wanted.
        kept: What files held, by their path; those that are read are added. A file that may not be read any more is
            taken from there: a server that was started by root may have become another user.
        started_in: The directory that the files' paths start in, if it is not the current one.

    Raises:
        OptionError: Something in them is unknown or cannot be used.
    """
    findings = Findings() if findings is None else findings
    files = Files(_VERSION, findings, {} if kept is None else kept, started_in)

    def names_file(name: str) -> bool:
        return name in BY_NAME and bool(BY_NAME[name].reads)

    def load(setting: Setting) -> Loaded:
        reads = BY_NAME[setting.name].reads
        return files.load(setting, None if reads == "any" else reads)

    def keeps(name: str) -> str:
        row = BY_NAME.get(name)
        return _EVERYTHING if row is None else row.keeps

    outside = Outside(
        environ=environ,
        is_a_reload=is_a_reload,
        names_file=names_file,
        load=load,
        is_late=lambda name: name == "inherit",
        is_option=BY_NAME.__contains__,
        keeps=keeps,
    )
    expanded = expand([*environment(environ), *command_line(argv, findings)], outside, findings)
    findings.settings = expanded.settings
    return build(expanded.settings, expanded.variables, findings)
