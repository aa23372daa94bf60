"""Each compiled module lies beside a Python source that has the same names and keeps the same attributes.

An attribute is listed three times: in ``__slots__``, in the ``.pxd``, and where ``__init__`` sets it. One that is
missing from a ``.pxd`` is an AttributeError in one build only, and one that is never set is None, or 0, in one build.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.twins import PACKAGE

TYPES = {path: path.read_text() for path in sorted(PACKAGE.rglob("*.pxd"))}
#: Those with the types of a Python source that is compiled as it is; others describe a .pyx, or are C to be included.
OF_PYTHON = [
    path for path, text in TYPES.items() if not path.with_suffix(".pyx").exists() and "cdef inline" not in text
]
POINTERS = sorted(PACKAGE.rglob("*.pyx"))


def short(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


class Attributes(NamedTuple):
    """What each of three places says of a class."""

    declared: set[str]
    slots: set[str]
    set_at_first: set[str]


def declared_in(pxd: str) -> dict[str, set[str]]:
    """Return the attributes of each ``cdef class``."""
    found: dict[str, set[str]] = {}
    names: set[str] = set()
    for line in pxd.splitlines():
        if match := re.match(r"cdef class (\w+)", line):
            names = found[match[1]] = set()
        elif match := re.match(r"    cdef (?:public |readonly )?[\w.]+ (\w+(?:, \w+)*)$", line):
            names.update(match[1].split(", "))
    return found


def assigned_in(body: list[ast.stmt], methods: dict[str, ast.FunctionDef]) -> Iterator[str]:
    """Yield the attributes of ``self`` that statements set, and those that the methods they call on it do."""
    for node in ast.walk(ast.Module(body, [])):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
            if isinstance(node.ctx, ast.Store):
                yield node.attr
        elif isinstance(node, ast.Call) and (called := re.fullmatch(r"self\.(\w+)", ast.unparse(node.func))):
            method = methods.get(called[1])
            if method is not None and method.body is not body:
                yield from assigned_in(method.body, methods)


def classes_of(source: str, pxd: str) -> dict[str, Attributes]:
    """Return what is said of each declared class."""
    found = {}
    declared = declared_in(pxd)
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name in declared:
            slots: set[str] = set()
            methods = {}
            for part in node.body:
                if isinstance(part, ast.FunctionDef):
                    methods[part.name] = part
                elif isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "__slots__":
                    slots.update(ast.literal_eval(part.value))
            first = methods.get("__init__")
            assigned = set() if first is None else set(assigned_in(first.body, methods))
            found[node.name] = Attributes(declared[node.name], slots, assigned)
    assert found.keys() == declared.keys()
    return found


@pytest.mark.parametrize("pxd", OF_PYTHON, ids=short)
def test_a_class_says_the_same_attributes_in_each_place(pxd: Path) -> None:
    assert pxd.with_suffix(".py").exists()
    for name, said in classes_of(pxd.with_suffix(".py").read_text(), TYPES[pxd]).items():
        assert said.declared == said.slots, f"{name}: .pxd and __slots__ differ"
        assert said.slots <= said.set_at_first, f"{name}: __init__ leaves some out"


def test_a_difference_is_seen() -> None:
    source = "class A:\n    __slots__ = ('one', 'two')\n    def __init__(self):\n        self.one = self._two()\n"
    pxd = "cdef class A:\n    cdef public int one\n    cdef list three, four\n    cpdef object f(self)\n"
    assert classes_of(source, pxd) == {"A": Attributes({"one", "three", "four"}, {"one", "two"}, {"one"})}


def test_many_classes_are_compared() -> None:
    assert sum(len(declared_in(TYPES[pxd])) for pxd in OF_PYTHON) > 15


@pytest.mark.parametrize("pxd", [path for path in TYPES if "cimport greenlets" in TYPES[path]], ids=short)
def test_whoever_calls_greenlet_s_c_functions_looks_them_up_when_it_is_imported(pxd: Path) -> None:
    """They are called through a null pointer otherwise."""
    calls = [
        ast.unparse(node) for node in ast.parse(pxd.with_suffix(".py").read_text()).body if isinstance(node, ast.Expr)
    ]
    assert "greenlets.prepare()" in calls


def public_in_python(source: str) -> dict[str, list[str] | None]:
    """Return each public name with its parameters; ``Class.method`` for methods; None for what has none."""
    tree = ast.parse(source)
    found: dict[str, list[str] | None] = {}
    tried = [part for node in tree.body if isinstance(node, ast.Try) for part in node.body]
    for node in tree.body + tried:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = [argument.arg for argument in node.args.args]
        elif isinstance(node, ast.ClassDef):
            found[node.name] = None
            for part in node.body:
                if isinstance(part, ast.FunctionDef):
                    found[f"{node.name}.{part.name}"] = [argument.arg for argument in part.args.args]
        elif isinstance(node, ast.ImportFrom):
            found.update({alias.asname or alias.name: None for alias in node.names})
    listed = next(
        ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and "__all__" in ast.unparse(n)
    )
    return {
        name: what
        for name, what in found.items()
        if name.split(".")[0] in listed and ("._" not in name or "__" in name)
    }


def public_in_pointers(source: str) -> dict[str, list[str] | None]:
    """The same of a .pyx: what Python can see of it."""
    found: dict[str, list[str] | None] = {}
    owner = ""
    for line in source.splitlines():
        if match := re.match(r"cdef class (\w+)", line):
            owner = match[1]
            found[owner] = None
        elif match := re.match(r"(\s*)(?:cpdef\s.*?|def\s+)(\w+)\((.*?)\)", line):
            name = f"{owner}.{match[2]}" if match[1] else match[2]
            parameters = [
                re.split(r"\s+not None|=", part)[0].split()[-1] for part in match[3].split(",") if part.strip()
            ]
            found[name] = parameters
        elif line and not line[0].isspace():
            owner = ""
    return found


@pytest.mark.parametrize("pyx", POINTERS, ids=short)
def test_pointers_have_the_interface_of_the_python_beside_them(pyx: Path) -> None:
    python = public_in_python(pyx.with_suffix(".py").read_text())
    pointers = public_in_pointers(pyx.read_text())
    # What another library makes for Python has no source here to compare.
    foreign = [
        name for name in python if python[name] is None and not any(other.startswith(name + ".") for other in python)
    ]
    assert len(pointers) > 1
    assert {
        name: what for name, what in pointers.items() if name.split(".")[0] not in foreign or "." not in name
    } == python


def test_a_difference_between_pointers_and_python_is_seen() -> None:
    pyx = "cdef class A:\n    def __init__(self, bytes key not None):\n    cpdef bint f(self, int n=0) except -1:\n"
    assert public_in_pointers(pyx) == {"A": None, "A.__init__": ["self", "key"], "A.f": ["self", "n"]}
    source = (
        "__all__ = ['A', 'g']\nclass A:\n    def f(self, n): ...\n    def _g(self): ...\ndef g(): ...\ndef h(): ..."
    )
    assert public_in_python(source) == {"A": None, "A.f": ["self", "n"], "g": []}


def test_no_build_is_told_from_another_by_what_cannot_be_imported() -> None:
    """Consumers import a name, and get the one of the build that runs."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Try) and any(
                "ImportError" in ast.unparse(part.type or node) for part in node.handlers
            ):
                assert "uwsgi_ws" not in ast.unparse(node.body[0]), f"{short(path)}:{node.lineno}"
    assert not list(PACKAGE.rglob("*.pyi")), "a third description"
