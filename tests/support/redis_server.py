"""A Redis server of a test's own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.eventually import eventually
from support.peers import require_module, require_program


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Serve at the path that is yielded, a unix socket in ``folder``."""
    program = require_program("redis-server")
    require_module("redis")
    path = folder / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            eventually(path.exists)
            yield str(path)
        finally:
            process.terminate()
