"""What type checkers are told of ``uwsgi`` and ``uwsgidecorators`` is what a served application finds there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from applications.signatures import described
from support.http_client import fetch
from support.server import APPLICATIONS, ROOT, Server

#: Names that an application may assign, and that are not there before.
ASSIGNED = {"post_fork_hook", "atexit"}


@pytest.fixture(scope="module")
def found() -> Any:
    options = ("--sharedarea", "1", "--cache2", "name=a,items=10", "--gevent", "10")
    with Server(APPLICATIONS / "signatures.py", *options) as server:
        return json.loads(fetch(("127.0.0.1", server.port)).text)


def stub(name: str) -> dict[str, Any]:
    """Return a stub's names; of overloads the last one."""
    source = (ROOT / f"{name}-stubs/__init__.pyi").read_text().replace("@overload\n", "")
    names: dict[str, Any] = {"__name__": name}
    exec(source, names)  # with this file's `from __future__ import annotations`
    return names


def declared(name: str) -> tuple[dict[str, Any], dict[str, set[str]]]:
    """Return a stub's functions and classes as ``described``, and its variables with the names of their types."""
    names = stub(name)
    own = re.findall(r"^(?:def|class) ([a-zA-Z]\w*)", (ROOT / f"{name}-stubs/__init__.pyi").read_text(), re.MULTILINE)
    variables = {variable: kinds(annotation) for variable, annotation in names["__annotations__"].items()}
    return described({each: names[each] for each in own}), variables


def kinds(annotation: str) -> set[str]:
    """Return what an annotation's types are called."""
    return {kind.strip().replace("None", "NoneType") for kind in re.sub(r"\[.*\]", "", annotation).split("|")}


def agree(ours: Any, theirs: Any) -> bool:
    """Say whether a stub and a function have the same parameters; types where the function says more than Any."""
    if isinstance(ours, str) or isinstance(theirs, str):
        return bool(ours == theirs)
    takes, there = ours["takes"], theirs["takes"]
    if any(kind == "VAR_KEYWORD" for _, kind, *_ in there):
        keywords = ("KEYWORD_ONLY", "VAR_KEYWORD")  # the stub may name them
        takes, there = ([each for each in side if each[1] not in keywords] for side in (takes, there))
    types = [(each[-1], other[-1]) for each, other in zip(takes, there, strict=False)]
    types.append((ours["returns"], theirs["returns"]))
    same = [each[:3] for each in takes] == [each[:3] for each in there]
    return same and all(mine == other or "Any" in other for mine, other in types)


@pytest.mark.parametrize("module", ["uwsgi", "uwsgidecorators"])
def test_they_have_the_same_names(found: Any, module: str) -> None:
    functions, variables = declared(module)
    assert {*functions, *variables} - ASSIGNED == set(found[module]) - ASSIGNED


@pytest.mark.parametrize("module", ["uwsgi", "uwsgidecorators"])
def test_functions_take_and_return_the_same(found: Any, module: str) -> None:
    functions, _ = declared(module)
    there = found[module]
    wrong = [name for name, ours in functions.items() if name in there and not agree(ours, there[name])]
    assert {name: there[name] for name in wrong} == {}


@pytest.mark.parametrize("module", ["uwsgi", "uwsgidecorators"])
def test_variables_have_the_types_that_they_are_said_to_have(found: Any, module: str) -> None:
    _, variables = declared(module)
    wrong = {
        name: found[module][name]
        for name, kinds in variables.items()
        if name in found[module] and name not in ASSIGNED and found[module][name] not in kinds
    }
    assert wrong == {}


def test_a_worker_is_described_as_it_is_said_to_be(found: Any) -> None:
    hints = stub("uwsgi")["_Worker"].__annotations__
    assert {name: kinds(hint.__forward_arg__) for name, hint in hints.items()} == {
        name: {kind} for name, kind in found["worker"].items()
    }
