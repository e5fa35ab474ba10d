"""Which keys each token of a step reads, and in how few calls: decided once per step, before the layers run.

Cascade attention (as in FlashInfer's "Cascade Inference"; merging by log-sum-exp goes back to online softmax): a
query's keys are split in parts, each part is attended by itself, and the parts' results are merged by their
log-sum-exps. Parts are of three kinds:

- prefix: rows of the tree's pages, read once for all sequences that have them in common;
- slab: the own rows of several sequences with few new tokens each, side by side in one arena, one strided view;
- chunk: the own rows of one sequence with many new tokens (prefill), or with scattered rows.

compose() finds the parts; they stay as they are while the same sequences take the same number of tokens each.
plan_step() adds what changes with every token: rows to write, lengths and masks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from .memory_cpu import Extent, Slot

# A prefix part saves the reading of its tokens once for every further reader, and costs a call and a merge. Below
# this many saved readings the slab is read instead, where it has the tokens too.
_WORTH_READINGS = 128
_MOST_SLAB_TOKENS = 16  # sequences with more new tokens are chunks
_WIDEST_GAP = 4  # idle slabs between busy ones that are read along rather than starting another call

HIDDEN = -1e30  # added to scores of keys out of sight; finite, so that a part without any key in sight merges to 0

Rows = slice | torch.Tensor  # neighbouring rows of the pool, or int64 row numbers
Tokens = slice | torch.Tensor | None  # packed tokens of the step; None: all of them, in order


class Kind(NamedTuple):
    """What masks depend on, of a layer: its window, and the query heads per KV head."""

    window: int | None
    groups: int


@dataclass(slots=True)
class PrefixPart:
    """Rows read by several sequences. positions: (L,) of the rows' tokens. token_numbers: (m,), the same as tokens."""

    rows: Rows
    positions: np.ndarray
    tokens: Tokens
    token_numbers: np.ndarray


@dataclass(slots=True)
class SlabPart:
    """`span` slabs side by side, `width` query tokens for each, padded where a slab has fewer or none.

    queries: (span * width,) packed tokens, padding reads token 0; None: all tokens in order, no padding.
    filled: (m,) which of span * width are no padding, tokens: (m,) which packed tokens those are.
    sequences: (n,) of the batch; places: (n,) their slabs, counted from the first of the span.
    """

    first_row: int
    slab_tokens: int
    span: int
    width: int
    sequences: np.ndarray
    places: np.ndarray
    queries: torch.Tensor | None
    filled: torch.Tensor
    tokens: torch.Tensor


@dataclass(slots=True)
class ChunkPart:
    """One sequence of the batch, its packed tokens and its own rows (int64, for its tokens from `base` on)."""

    sequence: int
    tokens: slice
    slab_rows: np.ndarray


@dataclass(slots=True)
class Composition:
    """The parts of a step. bases, splits: (n,), per sequence the first token in its slab, and the first read there."""

    n_tokens: int
    bases: np.ndarray
    splits: np.ndarray
    row_shifts: np.ndarray | None  # (T,) pool row minus position; None: some rows are scattered
    owners: np.ndarray  # (T,) the sequence of each packed token
    prefixes: list[PrefixPart]
    slabs: list[SlabPart]
    chunks: list[ChunkPart]


# -- composing ------------------------------------------------------------------------------------------------


def compose(slots: Sequence[Slot], lengths: np.ndarray) -> Composition:
    """The parts for a step that gives each of these sequences so many new tokens."""
    n_tokens = int(lengths.sum())
    firsts = np.cumsum(lengths) - lengths
    owners = np.repeat(np.arange(len(slots)), lengths)
    bases = np.array([slot.base for slot in slots])
    segments, splits = _shared_segments(slots)
    slabs, chunks = _own_parts(slots, lengths, firsts)
    shifts = None
    if all(slot.slab.arena is not None for slot in slots):
        shifts = np.array([slot.slab.rows[0] - slot.base for slot in slots])[owners]
    return Composition(
        n_tokens=n_tokens,
        bases=bases,
        splits=splits,
        row_shifts=shifts,
        owners=owners,
        prefixes=[_prefix_part(readers, runs, lengths, firsts, n_tokens) for readers, runs in segments],
        slabs=slabs,
        chunks=chunks,
    )


class _Segment(NamedTuple):
    position: int
    row: int
    n: int


def _shared_segments(slots: Sequence[Slot]) -> tuple[list[tuple[tuple[int, ...], list[_Segment]]], np.ndarray]:
    """Which rows of pages are read by whom, [(sequences, segments)], and where each sequence goes over to its slab."""
    atoms = _atoms(slots)
    splits = np.array([slot.base for slot in slots])
    for segment, readers in atoms:
        if segment.n * (len(readers) - 1) >= _WORTH_READINGS:
            splits[readers] = np.maximum(splits[readers], segment.position + segment.n)
    by_readers: dict[tuple[int, ...], list[_Segment]] = {}
    for segment, readers in atoms:
        reading = tuple(each for each in readers if segment.position < splits[each])
        if reading:
            by_readers.setdefault(reading, []).append(segment)
    return list(by_readers.items()), splits


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


def _prefix_part(
    readers: tuple[int, ...], runs: list[_Segment], lengths: np.ndarray, firsts: np.ndarray, n_tokens: int
) -> PrefixPart:
    numbers = np.concatenate([np.arange(firsts[each], firsts[each] + lengths[each]) for each in readers])
    rows = np.concatenate([np.arange(run.row, run.row + run.n) for run in runs])
    positions = np.concatenate([np.arange(run.position, run.position + run.n) for run in runs])
    return PrefixPart(_as_rows(rows), positions, _as_tokens(numbers, n_tokens), numbers)


def _as_rows(rows: np.ndarray) -> Rows:
    if rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return torch.from_numpy(rows)


def _as_tokens(numbers: np.ndarray, n_tokens: int) -> Tokens:
    """numbers: ascending."""
    if len(numbers) == n_tokens:
        return None
    if numbers[-1] - numbers[0] + 1 == len(numbers):
        return slice(int(numbers[0]), int(numbers[-1]) + 1)
    return torch.from_numpy(numbers)


def _own_parts(
    slots: Sequence[Slot], lengths: np.ndarray, firsts: np.ndarray
) -> tuple[list[SlabPart], list[ChunkPart]]:
    together: dict[tuple[int, int], list[tuple[int, int]]] = {}  # (arena, width tier) -> [(place, sequence)]
    chunks: list[ChunkPart] = []
    for number, (slot, first, length) in enumerate(zip(slots, firsts.tolist(), lengths.tolist(), strict=True)):
        if slot.slab.arena is None or length > _MOST_SLAB_TOKENS:
            chunks.append(ChunkPart(number, slice(first, first + length), slot.slab.rows))
        else:
            tier = 1 if length == 1 else 4 if length <= 4 else _MOST_SLAB_TOKENS
            together.setdefault((slot.slab.arena, tier), []).append((slot.slab.place, number))
    n_tokens = int(lengths.sum())
    slabs = []
    for members in together.values():
        ordered = np.array(sorted(members))
        gaps = np.flatnonzero(np.diff(ordered[:, 0]) > _WIDEST_GAP) + 1
        slabs += [_slab_part(run, slots, lengths, firsts, n_tokens) for run in np.split(ordered, gaps)]
    return slabs, chunks


def _slab_part(
    members: np.ndarray, slots: Sequence[Slot], lengths: np.ndarray, firsts: np.ndarray, n_tokens: int
) -> SlabPart:
    """members: (n, 2), places in the arena (ascending) and sequences."""
    places, sequences = members[:, 0] - members[0, 0], members[:, 1]
    counts = lengths[sequences]
    span, width = int(places[-1]) + 1, int(counts.max())
    within = np.concatenate([np.arange(count) for count in counts.tolist()])
    filled = np.repeat(places * width, counts) + within
    tokens = np.repeat(firsts[sequences], counts) + within
    queries = np.zeros(span * width, dtype=np.int64)
    queries[filled] = tokens
    in_order = len(tokens) == n_tokens == span * width and bool((queries == np.arange(n_tokens)).all())
    slab_rows = slots[sequences[0]].slab.rows
    return SlabPart(
        first_row=int(slab_rows[0]),
        slab_tokens=len(slab_rows),
        span=span,
        width=width,
        sequences=sequences,
        places=places,
        queries=None if in_order else torch.from_numpy(queries),
        filled=torch.from_numpy(filled),
        tokens=torch.from_numpy(tokens),
    )


# -- planning a step --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class PrefixCall:
    """masks: by kind, (1, 1, m * groups, L) or None where all keys are in sight; a kind left out: none is."""

    part: PrefixPart
    masks: dict[Kind, torch.Tensor | None]


@dataclass(slots=True)
class SlabCall:
    """Reads n_keys rows of each slab, from its row `first` on.

    masks: by kind, (span, 1, 1, n_keys) where width is 1, else (span, 1, width * groups, n_keys).
    """

    part: SlabPart
    first: int
    n_keys: int
    masks: dict[Kind, torch.Tensor]


@dataclass(slots=True)
class ChunkCall:
    """masks: by kind, (1, 1, t, L), or None: plain causal, as many keys as queries."""

    part: ChunkPart
    rows: Rows
    masks: dict[Kind, torch.Tensor | None]


@dataclass(slots=True)
class StepPlan:
    """Everything attention needs in one step. write_rows: (T,) int64, where each token's KV goes."""

    n_tokens: int
    write_rows: torch.Tensor
    prefixes: list[PrefixCall]
    slabs: list[SlabCall]
    chunks: list[ChunkCall]


def plan_step(
    composition: Composition, starts: np.ndarray, positions: np.ndarray, kinds: Sequence[Kind], dtype: torch.dtype
) -> StepPlan:
    """starts: (n,), positions: (T,) as in ForwardBatch; kinds: those the model's layers have; dtype: of the masks."""
    slabs = [_slab_call(part, composition, starts, kinds, dtype) for part in composition.slabs]
    chunks = [_chunk_call(part, composition, starts, kinds, dtype) for part in composition.chunks]
    prefixes = [_prefix_call(part, positions, kinds, dtype) for part in composition.prefixes]
    return StepPlan(composition.n_tokens, _write_rows(composition, positions), prefixes, slabs, chunks)


def _write_rows(composition: Composition, positions: np.ndarray) -> torch.Tensor:
    if composition.row_shifts is not None:
        return torch.from_numpy(positions + composition.row_shifts)
    rows = np.empty(composition.n_tokens, dtype=np.int64)
    for part in composition.chunks:
        rows[part.tokens] = part.slab_rows[positions[part.tokens] - composition.bases[part.sequence]]
    for part in composition.slabs:
        tokens = part.tokens.numpy()
        owners = composition.owners[tokens]
        first_rows = np.zeros(len(composition.bases), dtype=np.int64)
        first_rows[part.sequences] = part.first_row + part.places * part.slab_tokens
        rows[tokens] = first_rows[owners] + positions[tokens] - composition.bases[owners]
    return torch.from_numpy(rows)


def _slab_call(
    part: SlabPart, composition: Composition, starts: np.ndarray, kinds: Sequence[Kind], dtype: torch.dtype
) -> SlabCall:
    own_first = composition.splits[part.sequences] - composition.bases[part.sequences]
    own_start = starts[part.sequences] - composition.bases[part.sequences]
    first = int(own_first.min()) // 64 * 64
    end = int(own_start.max()) + part.width
    n_keys = min(-(-end // 16) * 16, part.slab_tokens) - first
    lowest = np.zeros((part.span, 1, 1, 1), dtype=np.int64)
    newest = np.zeros((part.span, 1, part.width, 1), dtype=np.int64)
    lowest[part.places, 0, 0, 0] = own_first
    newest[part.places, 0, :, 0] = own_start[:, None] + np.arange(part.width)
    keys = np.arange(first, first + n_keys)
    masks = {}
    for kind in kinds:
        low = lowest if kind.window is None else np.maximum(lowest, newest - (kind.window - 1))
        mask = _mask((keys >= low) & (keys <= newest), dtype)
        masks[kind] = mask if part.width == 1 else mask.repeat_interleave(kind.groups, dim=2)
    return SlabCall(part, first, n_keys, masks)


def _chunk_call(
    part: ChunkPart, composition: Composition, starts: np.ndarray, kinds: Sequence[Kind], dtype: torch.dtype
) -> ChunkCall:
    base, split = int(composition.bases[part.sequence]), int(composition.splits[part.sequence])
    n_queries = part.tokens.stop - part.tokens.start
    n_past = int(starts[part.sequence]) - split
    keys = np.arange(n_past + n_queries)
    newest = n_past + np.arange(n_queries)[:, None]
    masks: dict[Kind, torch.Tensor | None] = {}
    for kind in kinds:
        if n_past == 0 and (kind.window is None or n_queries <= kind.window):
            masks[kind] = None
            continue
        in_sight = keys <= newest
        if kind.window is not None:
            in_sight &= keys > newest - kind.window
        masks[kind] = _mask(in_sight[None, None], dtype)
    return ChunkCall(part, _as_rows(part.slab_rows[split - base : split - base + len(keys)]), masks)


def _prefix_call(part: PrefixPart, positions: np.ndarray, kinds: Sequence[Kind], dtype: torch.dtype) -> PrefixCall:
    masks: dict[Kind, torch.Tensor | None] = {}
    for kind in kinds:
        if kind.window is None:
            masks[kind] = None
            continue
        asking = positions[part.token_numbers]
        if asking.max() - part.positions[0] < kind.window:
            masks[kind] = None
        elif asking.min() - part.positions[-1] < kind.window:
            in_sight = part.positions > asking[:, None] - kind.window
            masks[kind] = _mask(np.repeat(in_sight, kind.groups, axis=0)[None, None], dtype)
    return PrefixCall(part, masks)


def _mask(in_sight: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(np.where(in_sight, np.float32(0), np.float32(HIDDEN))).to(dtype)
