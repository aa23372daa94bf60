"""Programs in Go, built as their users build them, from the checkout's module."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support.peers import require_program


def build(source: Path, folder: Path) -> Path:
    """Return the program of a folder with a ``go.mod``, built into another one; what is built once Go keeps."""
    program = folder / source.name
    # No version of anything is looked for elsewhere.
    environment = {**os.environ, "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    built = subprocess.run(
        [require_program("go"), "build", "-o", program],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return program
