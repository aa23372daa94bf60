"""How Sphinx makes a site of these pages; `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate  # noqa: E402  # it and the package are found by the line above

import uwsgi_ws  # noqa: E402

project = "uwsgi_ws"
release = version = uwsgi_ws.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"uwsgi_ws {release}"
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
# Pages link to files of the repository, which a site does not have; a test looks whether each of them is there.
suppress_warnings = ["myst.xref_missing"]
autodoc_member_order = "bysource"
# As fields of the class: its members are described by themselves.
napoleon_use_ivar = True
autodoc_typehints = "description"

generate.write_all(HERE / "reference")
