"""A hundred thousand WebSockets opened, pinged, and reached by one broadcast: a tenth of `make million`."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from support.server import ROOT

CONNECTIONS = 100_000
#: Of the server and its clients, and of the machine's memory for both ends of each.
DESCRIPTORS, BYTES = 2.2 * CONNECTIONS, 12_000 * CONNECTIONS


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_hundred_thousand_are_served_and_none_is_lost() -> None:
    allocated, _, most = map(int, Path("/proc/sys/fs/file-nr").read_text().split())
    if most - allocated < DESCRIPTORS or resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 5_000:
        pytest.skip("the machine has not so many descriptors")
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < BYTES:
        pytest.skip("the machine has not so much memory")
    command = [sys.executable, "benchmarks/million.py", "--connections", str(CONNECTIONS), "--ping", "15"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
