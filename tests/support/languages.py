"""The application that ``test_carriers.py`` is about, in each language that the server runs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from support.go import build
from support.peers import missing, require_program
from support.server import APPLICATIONS


def python(folder: Path) -> tuple[str, ...]:
    """Python in another process: what is tested then is the server, and no library for another language."""
    return ("--go-app", str(APPLICATIONS / "companion.py"))


def perl(folder: Path) -> tuple[str, ...]:
    require_program("perl")
    if subprocess.run(["perl", "-MCoro::AnyEvent", "-e", "1"], capture_output=True).returncode:
        missing("no Perl module Coro::AnyEvent")
    return ("--psgi", str(APPLICATIONS / "perl/carriers.psgi"), "--coroae", "50")


def go(folder: Path) -> tuple[str, ...]:
    return ("--go-app", str(build(APPLICATIONS / "go/carriers", folder)))


#: Options that serve it; the folder is for what has to be built.
LANGUAGES: tuple[Callable[[Path], tuple[str, ...]], ...] = (python, perl, go)
