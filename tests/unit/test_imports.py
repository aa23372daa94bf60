"""Imports point one way, and the rooms that are pure stay so: read from the source, module by module."""

from __future__ import annotations

import ast
import sys
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "uwsgi_ws"

# Who may import whom: a module may import those of its own floor and of the floors below. A package stands for
# all of its modules, unless one is named itself.
FLOORS = (
    ("plain",),
    (
        "errors",
        "options",
        "files",
        "log",
        "log_output",
        "stats",
        "addresses",
        "certificates",
        "users",
        "tally",
        "attendance",
        "_build",
        "own",
    ),
    ("protocol",),
    ("net",),
    ("fronts", "websocket", "channels"),
    ("wsgi", "admission", "eviction", "static", "public"),
    ("routing",),
    ("api", "api_channels", "place", "server", "threads"),
    ("process",),
    ("cli",),
)
# The package itself is a list of names for applications, and __main__ calls the command line.
ENTRANCES = {"", "__main__"}

# Bytes in, events out: none of what reaches outside the process, waits, or tells the time.
IMPURE = {
    "asyncio",
    "gevent",
    "greenlet",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "select",
    "selectors",
    "signal",
    "socket",
    "_socket",
    "ssl",
    "subprocess",
    "sys",
    "threading",
    "time",
}
PURE_MAY_IMPORT_OF_OTHERS = {"httptools", "wsaccel"}


def name_of(path: Path) -> str:
    """``protocol.frames`` for its file; a package is called like its folder."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """The modules a file imports, anywhere in it, but for those that only type checkers see."""
    return imports_in(ast.parse(path.read_text()).body, MODULES)


def imports_in(nodes: Iterable[ast.AST], modules: Container[str]) -> Iterator[tuple[str, int]]:
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports_in(node.orelse, modules)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import hides where the arrow points"
            assert node.module is not None
            for alias in node.names:
                # `from uwsgi_ws.protocol import frames` imports a module, `... import encode` a name of one.
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole.removeprefix("uwsgi_ws.") in modules else node.module), node.lineno
        else:
            yield from imports_in(ast.iter_child_nodes(node), modules)


def ours(path: Path) -> Iterator[tuple[str, int]]:
    """Of the imported modules, ours, without the package's name."""
    for module, line in imports_of(path):
        if module.split(".")[0] == "uwsgi_ws":
            yield module.removeprefix("uwsgi_ws").removeprefix("."), line


def floor_of(module: str) -> int:
    while module:
        for number, floor in enumerate(FLOORS):
            if module in floor:
                return number
        module = module.rpartition(".")[0]
    raise AssertionError("no floor")


def test_every_module_has_its_floor() -> None:
    assert len(MODULES) > 30
    for module in MODULES:
        if module not in ENTRANCES:
            assert floor_of(module) >= 0, f"say in FLOORS where {module} belongs"
    for floor in FLOORS:
        for entry in floor:
            assert entry in MODULES, f"{entry} is gone: take it out of FLOORS"


@pytest.mark.parametrize("module", [module for module in MODULES if module not in ENTRANCES])
def test_no_import_points_upwards(module: str) -> None:
    wrong = [
        f"{MODULES[module].name}:{line} imports {imported}"
        for imported, line in ours(MODULES[module])
        if imported != "" and floor_of(imported) > floor_of(module)
    ]
    assert wrong == []


PURE = [module for module in MODULES if module.split(".")[0] == "protocol"]
PURE_OF_CHANNELS = ["channels.records", "channels.registry", "channels.interest"]


@pytest.mark.parametrize("module", PURE)
def test_the_protocol_room_imports_itself_and_the_ground_only(module: str) -> None:
    wrong = [
        f"{MODULES[module].name}:{line} imports {imported}"
        for imported, line in ours(MODULES[module])
        if imported not in ("", "errors", "plain") and imported.split(".")[0] != "protocol"
    ]
    assert wrong == []


@pytest.mark.parametrize("module", PURE_OF_CHANNELS)
def test_the_pure_modules_of_channels_import_of_the_ground_only(module: str) -> None:
    assert {imported for imported, _ in ours(MODULES[module])} <= {"errors", "plain", "tally"}


@pytest.mark.parametrize(
    "module", [*PURE, *PURE_OF_CHANNELS, "addresses", "certificates", "tally", "attendance", "plain"]
)
def test_pure_rooms_import_nothing_that_acts(module: str) -> None:
    allowed = (sys.stdlib_module_names - IMPURE) | PURE_MAY_IMPORT_OF_OTHERS | {"uwsgi_ws"}
    if module == "addresses":
        allowed |= {"os"}  # for os.fsencode, which looks at nothing but the locale
    wrong = [
        f"{MODULES[module].name}:{line} imports {imported}"
        for imported, line in imports_of(MODULES[module])
        if imported.split(".")[0] not in allowed
    ]
    assert wrong == []


EARLY = ["", "cli", "errors", "net", "addresses", "certificates", "own", "__main__"]
EARLY += [module for module in MODULES if module.split(".")[0] == "options"]


@pytest.mark.parametrize("module", EARLY)
def test_what_is_imported_before_patching_imports_nothing_that_would_have_to_be_patched(module: str) -> None:
    """At the top of the file, that is: ``cli`` patches before it imports the rest inside its functions."""
    body = ast.parse(MODULES[module].read_text()).body
    top = [node for node in body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    early = {imported.split(".")[0] for imported, _ in imports_in(top, MODULES)}
    assert not early & {"gevent", "socket", "threading", "select", "selectors", "ssl", "subprocess", "logging"}
    before = {
        "uwsgi_ws",
        "uwsgi_ws._build",
        "uwsgi_ws.cli",
        "uwsgi_ws.errors",
        "uwsgi_ws.options",
        "uwsgi_ws.addresses",
        "uwsgi_ws.certificates",
        "uwsgi_ws.own",
    }
    of_ours = {imported for imported, _ in imports_in(top, MODULES) if imported.startswith("uwsgi_ws")}
    assert {name for name in of_ours if not name.startswith("uwsgi_ws.options.")} <= before


@pytest.mark.parametrize("module", ["process.master", "process.nursery"])
def test_the_master_loads_nothing_that_brings_gevent_along(module: str) -> None:
    """A nursery is forked from it, and imports the rest in its own time, after patching."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        module = waiting.pop()
        if module in seen or module not in MODULES:
            continue
        seen.add(module)
        body = ast.parse(MODULES[module].read_text()).body
        top = [node for node in body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
        imported = [name for name, _ in imports_in(top, MODULES)]
        assert not [name for name in imported if name.split(".")[0] == "gevent"], module
        waiting += [name.removeprefix("uwsgi_ws").removeprefix(".") for name in imported if "uwsgi_ws" in name]
    assert len(seen) > 8


def test_the_reader_of_imports_sees_all_but_type_checking() -> None:
    source = """
import os.path
if TYPE_CHECKING:
    import hidden
else:
    import shown
def function():
    from uwsgi_ws.protocol import frames, nothing
    try:
        import inner
    except ImportError:
        pass
"""
    found = [module for module, _ in imports_in(ast.parse(source).body, {"protocol.frames"})]
    assert found == ["os.path", "shown", "uwsgi_ws.protocol.frames", "uwsgi_ws.protocol", "inner"]
