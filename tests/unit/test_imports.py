"""Imports point one way, and the rooms that are pure stay so: read from the source, module by module.

An arrow is any import, also one inside a function, one that only type checkers see, and a ``cimport`` in a ``.pxd`` or
``.pyx``: compiled, that one imports the other module when it is loaded itself.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "uwsgi_ws"

# Who may import whom: a module may import those of its own room and of the floors below. A room is a folder; a module
# at the top is a room of its own.
FLOORS = (
    (
        *(
            "errors",
            "files",
            "log",
            "loggers",
            "stats",
            "addresses",
            "certificates",
            "collector",
            "crontab",
            "users",
            "_build",
        ),
        "shared",
    ),
    ("hub",),
    ("protocol", "options"),
    ("net", "client"),
    ("channels",),
    ("websocket",),
    ("request",),
    ("fronts", "wsgi", "routing", "companions"),
    ("threads",),
    ("server",),
    ("api",),
    ("process", "check"),
    ("cli", "gunicorn_worker", "testing"),
    ("pytest_plugin",),
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


class Arrow(NamedTuple):
    """An import: which module of ours imports which, and where."""

    importer: str
    imported: str
    where: str


def name_of(path: Path) -> str:
    """``protocol.websocket.frames`` for its file; a package is called like its folder."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TYPES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.p[xy][dx]"))}


def imports_in(nodes: Iterable[ast.AST], modules: Container[str], *, typing: bool = True) -> Iterator[tuple[str, int]]:
    """Yield the modules that are imported, with the line; ``typing`` says whether for type checkers alone counts."""
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports_in([*(node.body if typing else ()), *node.orelse], modules, typing=typing)
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
            yield from imports_in(ast.iter_child_nodes(node), modules, typing=typing)


def cimports_in(text: str) -> Iterator[tuple[str, int]]:
    """Yield the modules that a file of Cython's names, with the line."""
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r"\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", line)
        if found:
            yield found[1] or found[2], number


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """The modules that a file imports, anywhere in it."""
    if path.suffix == ".py":
        return imports_in(ast.parse(path.read_text()).body, MODULES)
    return cimports_in(path.read_text())


def arrows(files: Mapping[str, Path]) -> Iterator[Arrow]:
    """Yield the arrows from our modules to our modules."""
    for importer, path in files.items():
        for imported, line in imports_of(path):
            if imported.split(".")[0] == "uwsgi_ws" and imported != "uwsgi_ws":
                yield Arrow(importer, imported.removeprefix("uwsgi_ws."), f"{path.relative_to(PACKAGE)}:{line}")


ARROWS = [
    arrow
    for files in (MODULES, TYPES)
    for arrow in arrows(files)
    if arrow.importer not in ENTRANCES and arrow.importer != arrow.imported
]


def room_of(module: str) -> str:
    return module.split(".")[0]


def floor_of(module: str) -> int:
    for number, floor in enumerate(FLOORS):
        if room_of(module) in floor:
            return number
    raise AssertionError(f"say in FLOORS where {module} belongs")


def upwards(found: Iterable[Arrow]) -> list[str]:
    """Return the arrows that point up, or to another room of the same floor."""
    return [
        f"{arrow.where} imports {arrow.imported}"
        for arrow in found
        if room_of(arrow.imported) != room_of(arrow.importer)
        and (
            floor_of(arrow.imported) >= floor_of(arrow.importer) > 0
            or floor_of(arrow.imported) > 0 == floor_of(arrow.importer)
        )
    ]


def circles(found: Iterable[Arrow], of: Callable[[str], str]) -> list[list[str]]:
    """Return the groups of nodes, rooms or modules, that reach one another (Tarjan's components of more than one)."""
    targets: dict[str, set[str]] = {}
    for arrow in found:
        if of(arrow.importer) != of(arrow.imported):
            targets.setdefault(of(arrow.importer), set()).add(of(arrow.imported))
    reach: dict[str, set[str]] = {}
    for node in targets:
        seen: set[str] = set()
        waiting = [node]
        while waiting:
            for target in targets.get(waiting.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        reach[node] = seen
    groups = {tuple(sorted(other for other in reach[node] if node in reach.get(other, ()))) for node in reach}
    return [list(group) for group in sorted(groups) if len(group) > 1]


def test_every_module_has_its_floor() -> None:
    assert len(MODULES) > 100
    for module in MODULES:
        if module not in ENTRANCES:
            floor_of(module)
    for floor in FLOORS:
        for room in floor:
            assert room in MODULES, f"{room} is gone: take it out of FLOORS"


def test_no_import_points_upwards() -> None:
    assert upwards(ARROWS) == []


def test_no_rooms_import_one_another() -> None:
    assert circles(ARROWS, room_of) == []


def test_no_modules_import_one_another() -> None:
    assert circles(ARROWS, str) == []


@pytest.mark.parametrize(
    ("importer", "line"),
    [
        ("stats.py", "from uwsgi_ws.net.base import Stream"),
        ("stats.py", "def f():\n    import uwsgi_ws.server.server"),
        ("stats.py", "if TYPE_CHECKING:\n    from uwsgi_ws.request.base import Request"),
        ("stats.pxd", "from uwsgi_ws.request.base cimport Request"),
        ("routing/new.py", "from uwsgi_ws.wsgi import runner"),
    ],
)
def test_an_arrow_the_wrong_way_is_seen(
    importer: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list(arrows({importer.partition(".")[0].replace("/", "."): _file(importer, line, tmp_path, monkeypatch)}))
    assert len(found) == len(upwards(found)) == 1


def test_a_circle_is_seen_whatever_its_arrows_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = _file("net/one.py", "if TYPE_CHECKING:\n    from uwsgi_ws.net.two import Two", tmp_path, monkeypatch)
    two = _file("net/two.pxd", "from uwsgi_ws.net.one cimport One", tmp_path, monkeypatch)
    assert circles(arrows({"net.one": one, "net.two": two}), str) == [["net.one", "net.two"]]


def _file(name: str, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(globals(), "PACKAGE", folder)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


PURE = [module for module in MODULES if room_of(module) == "protocol"]
PURE_OF_CHANNELS = [
    "channels.events",
    "channels.positions",
    "channels.records",
    "channels.registry",
    "channels.roster",
    "channels.interest",
    "channels.tally",
    "channels.redis.wire",
]
PURE_OF_OTHERS = [
    *PURE_OF_CHANNELS,
    "addresses",
    "certificates",
    "shared.counts",
    "shared.websockets",
    "shared.cache",
    "shared.metrics",
    "shared.areas",
    "shared.signals",
]


def ours(path: Path) -> Iterator[tuple[str, int]]:
    """Of the imported modules, ours, without the package's name."""
    for module, line in imports_of(path):
        if module.split(".")[0] == "uwsgi_ws":
            yield module.removeprefix("uwsgi_ws").removeprefix("."), line


@pytest.mark.parametrize("module", PURE)
def test_the_protocol_room_imports_itself_and_errors_only(module: str) -> None:
    wrong = [
        f"{MODULES[module].name}:{line} imports {imported}"
        for imported, line in ours(MODULES[module])
        if imported not in ("", "errors") and room_of(imported) != "protocol"
    ]
    assert wrong == []


@pytest.mark.parametrize("module", PURE_OF_CHANNELS)
def test_the_pure_modules_of_channels_import_what_is_pure_only(module: str) -> None:
    allowed = {"errors", "protocol.plain", "shared.counts", "channels.records", "channels.events", "channels.positions"}
    assert {imported for imported, _ in ours(MODULES[module])} <= allowed


@pytest.mark.parametrize("module", [*PURE, *PURE_OF_OTHERS])
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


EARLY = [
    "",
    "cli",
    "collector",
    "errors",
    "net",
    "addresses",
    "certificates",
    "loggers",
    "hub.own",
    "shared",
    "shared.cache",
    "shared.metrics",
    "shared.areas",
    "shared.signals",
    "__main__",
]
EARLY += [module for module in MODULES if module.split(".")[0] == "options"]


@pytest.mark.parametrize("module", EARLY)
def test_what_is_imported_before_patching_imports_nothing_that_would_have_to_be_patched(module: str) -> None:
    """At the top of the file, that is: ``cli`` patches before it imports the rest inside its functions."""
    body = ast.parse(MODULES[module].read_text()).body
    top = [node for node in body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    early = {imported.split(".")[0] for imported, _ in imports_in(top, MODULES, typing=False)}
    assert not early & {"gevent", "socket", "threading", "select", "selectors", "ssl", "subprocess", "logging"}
    before = {
        "uwsgi_ws",
        "uwsgi_ws._build",
        "uwsgi_ws.cli",
        "uwsgi_ws.collector",
        "uwsgi_ws.errors",
        "uwsgi_ws.options",
        "uwsgi_ws.addresses",
        "uwsgi_ws.certificates",
        "uwsgi_ws.loggers",
        "uwsgi_ws.crontab",
        "uwsgi_ws.hub.own",
        "uwsgi_ws.shared",
        "uwsgi_ws.shared.cache",
        "uwsgi_ws.shared.metrics",
        "uwsgi_ws.shared.areas",
    }
    of_ours = {imported for imported, _ in imports_in(top, MODULES, typing=False) if imported.startswith("uwsgi_ws")}
    assert {name for name in of_ours if not name.startswith("uwsgi_ws.options.")} <= before


@pytest.mark.parametrize("module", ["process.master", "process.forkserver"])
def test_the_master_loads_nothing_that_brings_gevent_along(module: str) -> None:
    """A fork server is forked from it, and imports the rest in its own time, after patching."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        module = waiting.pop()
        if module in seen or module not in MODULES:
            continue
        seen.add(module)
        body = ast.parse(MODULES[module].read_text()).body
        top = [node for node in body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
        imported = [name for name, _ in imports_in(top, MODULES, typing=False)]
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
    found = [module for module, _ in imports_in(ast.parse(source).body, {"protocol.frames"}, typing=False)]
    assert found == ["os.path", "shown", "uwsgi_ws.protocol.frames", "uwsgi_ws.protocol", "inner"]
