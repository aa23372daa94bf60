"""What processes are called in ps and top.

There are two names: the kernel's for a thread, of 15 bytes (``top``, ``ps -e``, ``killall``), and the command line
(``ps -f``, ``pgrep -f``), which the kernel reads where the process was started with it. A longer name than that is cut.

Source: prctl(2), proc_pid_cmdline(5); uWSGI's core/utils.c (``uwsgi_set_processname``) and core/master.c.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from uwsgi_ws.options import Options

__all__ = ["name_process"]

_PR_SET_NAME = 15  # linux/prctl.h
#: In /proc/self/stat, counted from the field behind the name.
_ARG_START, _ARG_END = 45, 46


def name_process(options: Options, part: str) -> None:
    """Name this process as the options say; without effect when they say nothing.

    Args:
        options: Where the names are.
        part: What it plays: ``master``, ``fork server``, ``worker`` or ``worker N``.
    """
    title = _title(options, part)
    if title is not None:
        name = title.encode()
        # /proc/self/comm would do the same, but not for a process whose user has changed.
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name, 0, 0, 0)
        _write_over_command_line(name)


def _title(options: Options, part: str) -> str | None:
    prefix = options.procname_prefix or ""
    if options.procname_prefix_spaced is not None:
        prefix += f"{options.procname_prefix_spaced} "
    append = options.procname_append or ""
    name = options.procname
    if part == "master" and options.procname_master is not None:
        name = options.procname_master
    if not (name or options.procname_master or prefix or append or options.auto_procname):
        return None
    return f"{prefix}{name or f'uwsgi_ws {part}'}{append}"


def _write_over_command_line(name: bytes) -> None:
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    # The last byte stays zero: else the kernel takes the environment for a part of the name.
    room = end - start - 1
    if start and room > 0:
        ctypes.memset(start, 0, room)
        ctypes.memmove(start, name, min(len(name), room))
