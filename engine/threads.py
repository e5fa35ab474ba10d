"""How many CPU threads serve this model best on this machine, as it is now: measured at start, not guessed.

Small matrices are done before their threads have met, and on a busy machine threads wait for each other at every
barrier: two can then be many times slower than one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from .ports import ForwardBatch, Model

_TOKENS = 16  # a small step: eight sequences and a little prefill
_ROUNDS = 5
_BUDGET_S = 2.0  # rounds beyond the second are left out once so much time is spent
_WORTH_IT = 0.9  # more threads must take at most this share of the time of fewer


def choose_threads(model: Model, most: int, clock: Callable[[], float] = time.perf_counter) -> int:
    """The number of threads, 1 to `most`, that runs a small step fastest; fewer where more gain little.

    Leaves torch at that number and the model's memory as it was.
    """
    counts = sorted({min(2**n, most) for n in range(most.bit_length() + 1)})
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    began = clock()
    _run_step(model)  # the first pass also makes buffers and code
    for n_round in range(_ROUNDS if len(counts) > 1 else 0):
        if n_round > 1 and clock() - began > _BUDGET_S:
            break
        for count in counts:
            torch.set_num_threads(count)
            before = clock()
            _run_step(model)
            seconds[count].append(clock() - before)
    best = counts[0]
    for count in counts[1:]:
        if median(seconds[count]) < _WORTH_IT * median(seconds[best]):
            best = count
    torch.set_num_threads(best)
    return best


def _run_step(model: Model) -> None:
    n = min(_TOKENS, model.memory.total_pages * model.memory.page_tokens)
    slot = model.memory.open(np.empty(0, dtype=np.int32), 0, n)
    assert slot is not None, "threads are chosen before anything is in memory"
    batch = ForwardBatch(
        token_ids=np.zeros(n, dtype=np.int64),
        positions=np.arange(n, dtype=np.int64),
        slots=np.array([slot], dtype=np.int32),
        starts=np.zeros(1, dtype=np.int32),
        lengths=np.array([n], dtype=np.int32),
        logit_rows=np.arange(n, dtype=np.int64)[-8:],
    )
    try:
        model.forward(batch)
    finally:
        model.memory.close(slot)
