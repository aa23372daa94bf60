"""``python -m uwsgi_ws go-module DIR``: write out the Go module that Go programs of this server are built with."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.resources import files

__all__ = ["main", "write_module"]

#: What Go programs import it as.
NAME = "uwsgi"


def write_module(folder: str) -> None:
    """Write the module into a folder, which is made where it does not exist.

    Raises:
        OSError: the folder is not empty, or something cannot be written. Nothing is left half-written in its place: the
            folder has all files, or lacks ``go.mod``.
    """
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        raise FileExistsError(f"{folder!r} is not empty: remove what is there, or name another folder")
    for name, content in _sources():
        with open(os.path.join(folder, name), "xb") as file:
            file.write(content)


def _sources() -> Iterator[tuple[str, bytes]]:
    """Yield the module's files, without its tests; the one that makes it a module comes last."""
    found = {
        entry.name: entry.read_bytes()
        for entry in files("uwsgi_ws.companions").joinpath("go").iterdir()
        if entry.name == "go.mod" or (entry.name.endswith(".go") and not entry.name.endswith("_test.go"))
    }
    yield from sorted(found.items(), key=lambda item: (item[0] == "go.mod", item[0]))


def main(argv: Sequence[str]) -> int:
    """Write the module; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m uwsgi_ws go-module",
        description=f'Write out the Go module "{NAME}", with which programs for --go-app are built.',
    )
    parser.add_argument("folder", metavar="DIR", help="a folder that is empty, or does not exist")
    folder = parser.parse_args(argv).folder
    try:
        write_module(folder)
    except OSError as exc:
        cause = f"cannot write {exc.filename or folder!r}: {exc.strerror}" if exc.strerror else str(exc)
        print(f"uwsgi_ws: {cause}", file=sys.stderr)
        return 1
    place = folder if os.path.isabs(folder) else f"./{os.path.normpath(folder)}"
    print(
        f'The module "{NAME}" is in {folder}. Your go.mod needs two lines, the path being seen from there:\n\n'
        f"    require {NAME} v0.0.0\n    replace {NAME} => {place.replace('./..', '..')}"
    )
    return 0
