"""Which keys each token of a step reads, and how: decided once per step, before the layers run.

Cascade attention (as in FlashInfer's "Cascade Inference"; merging by log-sum-exp goes back to online softmax): a
query's keys are split in parts, each part is attended by itself, and the parts' results are merged by their
log-sum-exps. There are two ways to attend:

- near: a token by itself reads its keys where they are (attention_loops.attend_rows). Costs in proportion to tokens
  times keys.
- product: all tokens that read the same rows are multiplied with them together. The rows are read once for all, and
  products of many rows are fast, but each has a price of its own, and so has the merging.

Rows of the tree's pages are products for those who have them in common, at every level of the tree where that is
cheaper by measured costs (crossover.py). A sequence with many new tokens (prefill) also multiplies them with its own.

compose() finds the parts; they stay as they are while the same sequences take the same number of tokens each.
plan_step() adds what changes with every token: the rows to write, and the range of keys that each token sees.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from .crossover import TYPICAL, Costs
from .memory_cpu import Extent, Slot, runs

_MOST_NEAR_TOKENS = 16  # sequences with more new tokens multiply them with their own rows
_MOST_TOKENS = 256  # in one product, so that later tokens' keys are not multiplied with all earlier tokens

Rows = slice | torch.Tensor  # neighbouring rows of the pool, or int64 row numbers
Tokens = slice | torch.Tensor | None  # packed tokens of the step; None: all of them, in order
Range = tuple[int, int]  # of positions, the second one exclusive


class Kind(NamedTuple):
    """What decides which keys a token of a layer sees, and how heads are grouped."""

    window: int | None
    groups: int


@dataclass(slots=True)
class NearPart:
    """Tokens that read by themselves. owners: (n,), ascending, whose segments each reads; the rest: see attend_rows.

    first_token: (owners + 1,), where each owner's tokens begin.
    """

    tokens: np.ndarray
    owners: np.ndarray
    first_segment: np.ndarray
    segments: np.ndarray
    first_token: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.first_token = np.searchsorted(self.owners, np.arange(len(self.first_segment)))


@dataclass(slots=True)
class ProductPart:
    """Rows that several tokens read together. runs: (S, 2), ascending, the positions that they stand for: the first of
    some that follow each other, and how many.

    numbers: (n,), the same as tokens.
    """

    rows: Rows
    runs: np.ndarray
    tokens: Tokens
    numbers: np.ndarray


@dataclass(slots=True)
class Composition:
    """The parts of a step. row_shifts: (T,) pool row minus position, where no sequence's rows are scattered."""

    n_tokens: int
    row_shifts: np.ndarray | None
    scattered: list[tuple[slice, np.ndarray, int]]  # else, by sequence: tokens, rows, and the first row's position
    near: NearPart | None
    products: list[ProductPart]


# -- composing ------------------------------------------------------------------------------------------------


def compose(
    slots: Sequence[Slot], lengths: np.ndarray, costs: Costs = TYPICAL, groups: Sequence[Group] | None = None
) -> Composition:
    """The parts for a step that gives each of these sequences so many new tokens. groups: theirs, where known."""
    n_tokens = int(lengths.sum())
    spans = [slice(stop - n, stop) for n, stop in zip(lengths.tolist(), np.cumsum(lengths).tolist(), strict=True)]
    is_near = (lengths <= _MOST_NEAR_TOKENS).tolist()
    groups = groups_of(slots) if groups is None else groups
    products, segments = _pages(slots, groups, lengths.tolist(), spans, is_near, costs)
    for number, slot in enumerate(slots):
        own = _own_segments(slot, products.covered[number])
        if is_near[number]:
            segments[number] += own
        else:
            products.add([_Segment(a, a + shift, b - a) for a, b, shift in own], [spans[number]])
    shifts = None
    if all(slot.slab.arena is not None for slot in slots):
        shifts = np.repeat(np.array([slot.slab.rows[0] - slot.base for slot in slots]), lengths)
    return Composition(
        n_tokens=n_tokens,
        row_shifts=shifts,
        scattered=[(span, slot.slab.rows, slot.base) for span, slot in zip(spans, slots, strict=True)],
        near=_near_part(segments, spans, is_near),
        products=products.parts,
    )


class _Segment(NamedTuple):
    position: int
    row: int
    n: int


class _Products:
    """The product parts found so far. covered: by sequence, the positions that they read for it, ascending."""

    def __init__(self, n_sequences: int, n_tokens: int) -> None:
        self.parts: list[ProductPart] = []
        self.covered: list[list[Range]] = [[] for _ in range(n_sequences)]
        self._n_tokens = n_tokens

    def add(self, segments: Sequence[_Segment], spans: Sequence[slice]) -> None:
        runs = np.array([(each.position, each.n) for each in segments])
        numbers = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        self.parts.append(ProductPart(_rows(segments), runs, _as_tokens(numbers, self._n_tokens), numbers))

    def cover(self, number: int, segments: Iterable[_Segment]) -> None:
        self.covered[number] = sorted([*self.covered[number], *((s.position, s.position + s.n) for s in segments)])


class Group(NamedTuple):
    """Pages of the tree that the same sequences read: readers, by number.

    alone: for each reader, what it reads by itself where they are not read together: first position, one after last,
    and row minus position. What stands in its slab is read there.
    """

    readers: tuple[int, ...]
    segments: list[_Segment]
    n_keys: int
    alone: list[list[tuple[int, int, int]]]


def groups_of(slots: Sequence[Slot]) -> list[Group]:
    """All pages that these sequences read. They stay as they are while `CpuMemory.version` does."""
    by_readers: dict[tuple[int, ...], list[_Segment]] = {}
    for segment, readers in _atoms(slots):
        by_readers.setdefault(tuple(readers), []).append(segment)
    groups = []
    for readers, segments in by_readers.items():
        whole = [(each.position, each.position + each.n, each.row - each.position) for each in segments]
        alone = [[each for each in whole if each[0] < slots[reader].base] for reader in readers]
        groups.append(Group(readers, segments, sum(each.n for each in segments), alone))
    return groups


def _pages(
    slots: Sequence[Slot],
    groups: Sequence[Group],
    lengths: list[int],
    spans: list[slice],
    is_near: list[bool],
    costs: Costs,
) -> tuple[_Products, list[list[tuple[int, int, int]]]]:
    """How the tree's pages are read: the products, and by sequence the segments left to its tokens themselves."""
    products = _Products(len(slots), sum(lengths))
    left: list[list[tuple[int, int, int]]] = [[] for _ in slots]
    for group in groups:
        readers, multiplying = group.readers, group.readers
        if not costs.product_pays(sum([lengths[each] for each in readers]), group.n_keys):
            multiplying = tuple([each for each in readers if not is_near[each]])
            for each, alone in zip(readers, group.alone, strict=True):
                if alone and is_near[each]:
                    left[each] += alone
        if multiplying:
            _share(products, slots, spans, multiplying, group.segments, together=multiplying == readers)
    for segments in left:
        segments.sort()
    return products, left


def _share(
    products: _Products,
    slots: Sequence[Slot],
    spans: list[slice],
    readers: tuple[int, ...],
    segments: list[_Segment],
    *,
    together: bool,
) -> None:
    """A product of the segments with all readers together; else for each, of what does not stand in its slab."""
    groups = [readers] if together else [(each,) for each in readers]
    for group in groups:
        kept = segments if together else [s for s in segments if s.position < slots[group[0]].base]
        if kept:
            products.add(kept, [spans[each] for each in group])
            for each in group:
                products.cover(each, kept)


def _atoms(slots: Sequence[Slot]) -> list[tuple[_Segment, list[int]]]:
    """The sequences' extents cut so finely that any two are the same or disjoint; by position, with their readers.

    Also cut where a slab begins. A row stands for one position only, whoever reads it.
    """
    readers_of: dict[tuple[int, Extent], list[int]] = {}  # (position, extent) -> sequences
    cuts: set[int] = set()
    for number, slot in enumerate(slots):
        position = 0
        for row, n in slot.extents:
            readers_of.setdefault((position, (row, n)), []).append(number)
            cuts.update((row, row + n))
            if position < slot.base < position + n:
                cuts.add(row + slot.base - position)
            position += n
    ordered = sorted(cuts)
    atoms: dict[_Segment, list[int]] = {}
    for (position, (row, n)), readers in readers_of.items():
        edges = ordered[bisect_left(ordered, row) : bisect_right(ordered, row + n)]
        for start, stop in pairwise(edges):
            atoms.setdefault(_Segment(position + start - row, start, stop - start), []).extend(readers)
    return [(segment, sorted(readers)) for segment, readers in sorted(atoms.items())]


def _own_segments(slot: Slot, covered: list[Range]) -> list[tuple[int, int, int]]:
    """The slab's positions that no product reads, as first, one after last, and row minus position."""
    own: list[tuple[int, int, int]] = []
    position = slot.base
    rows = [(int(slot.slab.rows[0]), len(slot.slab.rows))] if slot.slab.arena is not None else runs(slot.slab.rows)
    for row, n in rows:
        shift, end = row - position, position + n
        for a, b in covered:
            if b > position and a < end:
                if a > position:
                    own.append((position, a, shift))
                position = min(b, end)
        if position < end:
            own.append((position, end, shift))
        position = end
    return own


def _near_part(segments: list[list[tuple[int, int, int]]], spans: list[slice], is_near: list[bool]) -> NearPart | None:
    near = [number for number, short in enumerate(is_near) if short]
    if not near:
        return None
    tokens = [np.arange(spans[number].start, spans[number].stop) for number in near]
    counts = [len(segments[number]) for number in near]
    return NearPart(
        tokens=np.concatenate(tokens),
        owners=np.repeat(np.arange(len(near)), [len(each) for each in tokens]),
        first_segment=np.concatenate([[0], np.cumsum(counts)]),
        segments=np.array([each for number in near for each in segments[number]], dtype=np.int64).reshape(-1, 3),
    )


def _rows(segments: Sequence[_Segment]) -> Rows:
    if all(one.row + one.n == other.row for one, other in pairwise(segments)):
        return slice(segments[0].row, segments[-1].row + segments[-1].n)
    return torch.from_numpy(np.concatenate([np.arange(each.row, each.row + each.n) for each in segments]))


def _as_tokens(numbers: np.ndarray, n_tokens: int) -> Tokens:
    """numbers: ascending."""
    if len(numbers) == n_tokens:
        return None
    if numbers[-1] - numbers[0] + 1 == len(numbers):
        return slice(int(numbers[0]), int(numbers[-1]) + 1)
    return torch.from_numpy(numbers)


# -- planning a step --------------------------------------------------------------------------------------------


class Sight(NamedTuple):
    """The keys that tokens see, low .. high - 1, (n,) int64: positions for near tokens, places in the part's rows for
    products. first, last: the least low and the greatest high."""

    low: np.ndarray
    high: np.ndarray
    first: int
    last: int


def make_sight(low: np.ndarray, high: np.ndarray) -> Sight:
    """With what follows from low and high."""
    return Sight(low, high, int(low.min()), int(high.max()))


@dataclass(slots=True)
class ProductCall:
    """sights: by window, of so many tokens at a time as are multiplied at once. A window in which no token sees any of
    the keys is left out."""

    part: ProductPart
    sights: dict[int | None, list[tuple[slice, Sight]]]


@dataclass(slots=True)
class StepPlan:
    """Everything attention needs in one step. write_rows: (T,) int64, where each token's KV goes."""

    n_tokens: int
    write_rows: np.ndarray
    near: NearPart | None
    near_sights: dict[int | None, Sight]
    products: list[ProductCall]


def plan_step(composition: Composition, positions: np.ndarray, windows: Sequence[int | None]) -> StepPlan:
    """positions: (T,) as in ForwardBatch; windows: those the model's layers have, each once."""
    near = composition.near
    near_sights: dict[int | None, Sight] = {}
    if near is not None:
        newest = positions[near.tokens]
        near_sights = {window: make_sight(_oldest(newest, window), newest + 1) for window in windows}
    products = [_product_call(part, positions, windows) for part in composition.products]
    return StepPlan(composition.n_tokens, _write_rows(composition, positions), near, near_sights, products)


def _oldest(newest: np.ndarray, window: int | None) -> np.ndarray:
    """The first position that a token at `newest` sees."""
    return np.zeros_like(newest) if window is None else np.maximum(newest - window + 1, 0)


def _product_call(part: ProductPart, positions: np.ndarray, windows: Sequence[int | None]) -> ProductCall:
    newest = positions[part.numbers]
    high = _rows_before(part.runs, newest + 1)
    sights: dict[int | None, list[tuple[slice, Sight]]] = {}
    for window in windows:
        low = _rows_before(part.runs, _oldest(newest, window))
        if (low < high).any():
            some = [slice(at, min(at + _MOST_TOKENS, len(low))) for at in range(0, len(low), _MOST_TOKENS)]
            sights[window] = [(each, make_sight(low[each], high[each])) for each in some]
    return ProductCall(part, sights)


def _rows_before(runs: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """How many rows of runs (S, 2), see ProductPart, stand for positions before each of these (n,)."""
    firsts, counts = runs[:, 0], runs[:, 1]
    run = np.maximum(np.searchsorted(firsts, positions) - 1, 0)
    before = np.cumsum(counts) - counts
    return before[run] + np.clip(positions - firsts[run], 0, counts[run])


def _write_rows(composition: Composition, positions: np.ndarray) -> np.ndarray:
    if composition.row_shifts is not None:
        return positions + composition.row_shifts
    rows = np.empty(composition.n_tokens, dtype=np.int64)
    for tokens, slab_rows, base in composition.scattered:
        rows[tokens] = slab_rows[positions[tokens] - base]
    return rows
