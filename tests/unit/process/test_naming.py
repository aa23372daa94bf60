"""What processes are called in ps and top."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.child import in_child

from uwsgi_ws.options import Options
from uwsgi_ws.process.naming import name_process


def named(options: Options, part: str) -> list[str]:
    """Return both names of a process that has been named."""

    def work() -> str:
        name_process(options, part)
        comm = Path("/proc/self/comm").read_text().rstrip("\n")
        return f"{comm}|{Path('/proc/self/cmdline').read_bytes().rstrip(bytes(1)).decode()}"

    return in_child(work).split("|")


@pytest.mark.parametrize(
    ("options", "part", "name"),
    [
        (Options(auto_procname=True), "worker 3", "uwsgi_ws worker 3"),
        (Options(auto_procname=True), "master", "uwsgi_ws master"),
        (Options(procname="shop"), "worker 1", "shop"),
        (Options(procname="shop"), "master", "shop"),
        (Options(procname="shop", procname_master="boss"), "master", "boss"),
        (Options(procname="shop", procname_master="boss"), "worker 1", "shop"),
        (Options(procname_master="boss"), "worker 1", "uwsgi_ws worker 1"),
        (Options(procname_prefix="a-", procname="b", procname_append="-c"), "worker 1", "a-b-c"),
        (Options(procname_prefix_spaced="eu"), "worker 1", "eu uwsgi_ws worker 1"),
        (Options(procname_prefix="x", procname_prefix_spaced="eu"), "master", "xeu uwsgi_ws master"),
        (Options(procname_append=" blue"), "master", "uwsgi_ws master blue"),
    ],
)
def test_a_process_is_called_as_the_options_say(options: Options, part: str, name: str) -> None:
    comm, command_line = named(options, part)
    assert comm == name[:15]
    assert name.startswith(command_line)  # cut where the kernel's room ends
    assert command_line


def test_without_such_an_option_it_keeps_its_name() -> None:
    def both() -> str:
        return f"{Path('/proc/self/comm').read_text().strip()}|{Path('/proc/self/cmdline').read_bytes()!r}"

    before = in_child(both)

    def work() -> str:
        name_process(Options(), "worker 1")
        return both()

    assert in_child(work) == before


def test_a_long_name_leaves_the_environment_alone() -> None:
    def work() -> str:
        before = Path("/proc/self/environ").read_bytes()
        name_process(Options(procname="x" * 100_000), "worker 1")
        assert Path("/proc/self/environ").read_bytes() == before
        return "done"

    assert in_child(work) == "done"
