"""How the cost of work grows with its size, whatever else the machine does meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

ROUNDS = 3


def growth(work: Callable[[int], object], small: int, large: int) -> float:
    """Return how many times the processor time of ``work(small)`` it takes to do ``work(large)``.

    Only this thread's own time counts: on a busy machine the clock on the wall measures the others. Both sizes take
    turns, and of each the fastest turn counts, as disturbance only ever adds.
    """
    best = {small: math.inf, large: math.inf}
    for _ in range(ROUNDS):
        for size in best:
            begun = time.thread_time()
            work(size)
            best[size] = min(best[size], time.thread_time() - begun)
    return best[large] / best[small]
