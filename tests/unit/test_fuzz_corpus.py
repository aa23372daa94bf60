"""What fuzzing has found worth keeping holds in both builds: `tests/fuzz`'s corpora, without its fuzzer."""

from __future__ import annotations

import pytest
from fuzz.builds import builds
from fuzz.run import TARGETS, corpus, module_of, seeds


@pytest.mark.parametrize("target", TARGETS)
def test_each_input_that_is_kept_is_as_it_should_be(target: str) -> None:
    check = module_of(target).prepare(builds())
    kept = corpus(target)
    assert kept, "a target without a corpus"
    for _, data in seeds(target, with_vectors=False):
        check(data)
    for path in kept:
        check(path.read_bytes())


def test_the_corpora_are_small() -> None:
    files = [path for target in TARGETS for path in corpus(target)]
    assert len(files) <= 250
    assert sum(path.stat().st_size for path in files) <= 300_000
