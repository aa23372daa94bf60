"""The two builds of one module in the same process."""

from __future__ import annotations

from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parents[2] / "uwsgi_ws"


def python_twin(name: str) -> ModuleType:
    """Load a module of the package's from its Python source, whatever lies compiled beside it."""
    path = PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py")
    spec = spec_from_file_location(f"python_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def both_twins(name: str) -> dict[str, ModuleType]:
    """Return a module as it is in use and as Python, for a test that holds the two to the same."""
    return {"in use": import_module(name), "Python": python_twin(name)}
