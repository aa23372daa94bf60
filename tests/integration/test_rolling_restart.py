"""Two instances behind each proxy restart one after the other; `make rolling` does the same with a thousand clients."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.rolling import PROXIES, roll

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.mark.parametrize("name", PROXIES)
def test_each_client_gets_a_close_frame_and_comes_back(name: str, tmp_path: Path) -> None:
    outcomes = roll(PROXIES[name], 100, tmp_path)
    for how in ("reload", "replace"):
        outcome = outcomes[how]
        assert outcome.is_clean, (how, outcome)
        assert outcome.codes.total() >= 100, (how, outcome)
