"""The versions that we support are said in several files, for several tools: they must agree."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "setup.cfg").exists():
    pytest.skip("not a checkout", allow_module_level=True)


def text(name: str) -> str:
    return (ROOT / name).read_text()


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string(text("setup.cfg"))
    return parser


VERSIONS = re.findall(r"Python :: (3\.\d+)", setup()["metadata"]["classifiers"])
OLDEST = VERSIONS[0]


def test_this_interpreter_is_one_of_them() -> None:
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in VERSIONS


def test_the_oldest_python_is_the_same_everywhere() -> None:
    assert setup()["options"]["python_requires"] == f">={OLDEST}"
    assert f'target-version = "py{OLDEST.replace(".", "")}"' in text("pyproject.toml")
    assert f'python_version = "{OLDEST}"' in text("pyproject.toml")
    assert f"Python {OLDEST} or newer" in text("README.md")
    assert f"Python {OLDEST} or newer" in text("Makefile")


def test_tox_and_the_ci_run_all_of_them() -> None:
    tox = configparser.ConfigParser()
    tox.read_string(text("tox.ini"))
    assert re.findall(r"py(3)(\d+)", tox["tox"]["envlist"]) == [tuple(version.split(".")) for version in VERSIONS]
    assert f"for version in {' '.join(VERSIONS)}; do" in text(".ci/run")


def test_greenlet_is_built_against_what_it_runs_with() -> None:
    needed = re.search(r"greenlet(>=[\d.]+)", setup()["options"]["install_requires"])
    built = re.search(r'"greenlet(>=[\d.]+)"', text("pyproject.toml"))
    assert needed is not None
    assert built is not None
    assert needed[1] == built[1]
