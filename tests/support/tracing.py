"""Tests that ``make coverage`` cannot run: its tracer is in every process."""

from __future__ import annotations

import os

import pytest

#: For tests that look for what has been imported.
not_traced = pytest.mark.skipif("COVERAGE_RUN" in os.environ, reason="the tracer imports gevent")
