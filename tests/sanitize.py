"""Build the compiled twin with ASan and UBSan in a copy of the tree, and run there the tests that reach it.

    python tests/sanitize.py [pytest arguments]

A report of either sanitizer ends the process it is about, and so fails a test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_COPIED = shutil.ignore_patterns(".*", "build", "dist", "*.so", "*.c", "*.egg-info", "__pycache__", "results")
TESTS = [
    "tests/unit/protocol",
    "tests/unit/websocket",
    "tests/integration/test_bad_frames.py",
    "tests/integration/test_connection.py",
    "tests/integration/test_broadcast.py",
    "tests/integration/test_dead_peers.py",
]
FLAGS = "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
# greenlet copies stacks as a whole, red zones and all, and puts them back elsewhere: no zones there, and no watch on
# memcpy. Python's own allocator would hide a stray access to a neighbour; it and gevent leave memory to the end.
STACKS = "--param asan-stack=0"
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=0:replace_intrin=0:detect_stack_use_after_return=0:abort_on_error=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "PYTHONMALLOC": "malloc",
}


def library(compiler: str, name: str) -> str:
    """Return where the compiler has a sanitizer's runtime: it must be loaded before everything else."""
    done = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return os.path.realpath(done.stdout.strip())


def main() -> int:
    """Build and test; return pytest's exit status."""
    compiler = os.environ.get("CC") or (sysconfig.get_config_var("CC") or "cc").split()[0]
    with tempfile.TemporaryDirectory(prefix="uwsgi_ws-sanitize-") as folder:
        tree = Path(folder, "tree")
        shutil.copytree(ROOT, tree, ignore=NOT_COPIED)
        flags = {"CFLAGS": f"{FLAGS} {STACKS}", "LDFLAGS": "-fsanitize=address,undefined"}
        build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        subprocess.run(build, cwd=tree, env={**os.environ, **flags}, check=True)
        built = sorted(tree.glob("uwsgi_ws/**/*.so"))
        assert built, "nothing was compiled: is Cython installed, and a compiler?"
        # libstdc++ is greenlet's; loaded late, its exceptions would be thrown past ASan.
        preload = ":".join(library(compiler, name) for name in ("libasan.so", "libubsan.so", "libstdc++.so.6"))
        environment = {**os.environ, **ENVIRONMENT, "LD_PRELOAD": preload}
        # ASan keeps what is freed for a while and copies what grows: memory and time say nothing about the parsers.
        test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not memory and not linear"]
        test += sys.argv[1:] or TESTS
        return subprocess.run(test, cwd=tree, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
