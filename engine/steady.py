"""Arithmetic in which a token's numbers depend on its own past alone: not on the batch, its size or order, on how a
prompt was cut in pieces, or on what was read from the cache. For `deterministic`; the usual paths are faster.

Three things else differ in the last bits from batch to batch, and are done otherwise:

- Attention that tokens do together merges sums in an order that depends on who is there, and matrix products block
  their sums by sizes. Here each token reads its keys by itself, first to last, in blocks of a fixed size
  (attention_loops.attend_rows), and nothing depends on measured times: compose_apart().
- Products with weights may add in another order for other numbers of rows: see steady_linears.py.
- What a model's own classes do between these is torch's: on one thread, which cuts no row in two.

A model is tried out when it loads, and refused where that is not enough: model.load_model().
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from .cascade import Composition, NearPart
from .memory_cpu import Slot, runs

Segment = tuple[int, int, int]  # first position, one after the last, row minus position


def compose_apart(slots: Sequence[Slot], lengths: np.ndarray) -> Composition:
    """cascade.compose() for a step in which each token reads by itself."""
    n_tokens = int(lengths.sum())
    stops = np.cumsum(lengths).tolist()
    spans = [slice(stop - n, stop) for n, stop in zip(lengths.tolist(), stops, strict=True)]
    segments = [list(_segments(slot)) for slot in slots]
    shifts = None
    if all(slot.slab.arena is not None for slot in slots):
        shifts = np.repeat(np.array([slot.slab.rows[0] - slot.base for slot in slots]), lengths)
    near = NearPart(
        tokens=np.arange(n_tokens),
        owners=np.repeat(np.arange(len(slots)), lengths),
        first_segment=np.concatenate([[0], np.cumsum([len(each) for each in segments])]),
        segments=np.array([each for some in segments for each in some], dtype=np.int64).reshape(-1, 3),
    )
    scattered = [(span, slot.slab.rows, slot.base) for span, slot in zip(spans, slots, strict=True)]
    return Composition(n_tokens=n_tokens, row_shifts=shifts, scattered=scattered, near=near, products=[])


def _segments(slot: Slot) -> Iterator[Segment]:
    """Where a sequence's tokens stand: before its slab in pages, from there on in the slab."""
    position = 0
    for row, n in slot.extents:
        stop = min(position + n, slot.base)
        if position < stop:
            yield position, stop, row - position
        position += n
    position = slot.base
    rows = [(int(slot.slab.rows[0]), len(slot.slab.rows))] if slot.slab.arena is not None else runs(slot.slab.rows)
    for row, n in rows:
        yield position, position + n, row - position
        position += n


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes on one thread meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
