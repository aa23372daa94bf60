"""Node's WebSocket clients: its own, and the package ws."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.peers import missing, require_program

LIMIT = 20  # seconds for one step


def folder_with_ws(node: str, tmp_path: Path) -> Path:
    """Return a folder from which Node finds the package: the current one, or a new one that npm fills."""
    here = Path.cwd()
    if subprocess.run([node, "-e", "require('ws')"], cwd=here, capture_output=True, timeout=LIMIT).returncode == 0:
        return here
    folder = tmp_path.parent / "npm-ws"  # shared by the tests of this run
    if not (folder / "node_modules" / "ws").is_dir():
        npm = require_program("npm")
        folder.mkdir(exist_ok=True)
        command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--no-save", "ws@8"]
        install = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50)
        if install.returncode != 0:
            missing(f"npm cannot install ws: {install.stderr.strip()}")
    return folder


def node_sees(
    command: list[str], url: str, messages: list[str], code: int, reason: str, env: Mapping[str, str]
) -> dict[str, Any]:
    """Have ``node_client.mjs`` send messages and close; return what it has seen.

    Args:
        command: Node, with its switches.
        url: The server's.
        messages: Each is sent after the echo of the one before.
        code: To close with.
        reason: The same.
        env: Variables added to this process's.
    """
    script = Path(__file__).with_name("node_client.mjs")
    run = subprocess.run(
        [*command, str(script), url, str(code), reason],
        input=json.dumps(messages),
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert run.stdout, f"the Node client said nothing; its stderr: {run.stderr}"
    seen: dict[str, Any] = json.loads(run.stdout)
    return seen
