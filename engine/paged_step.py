"""One step over paged memory: what the host plans as arrays, and what each layer's attention does with them.

Sequences with few new tokens (decodes, drafts) read the tree of prefixes together (kernels/tree_attention.py); longer
runs of new tokens (prompts) are attended sequence by sequence (kernels/extend_attention.py). Both write into the same
output. The host never waits: the arrays of a step travel to the device in one copy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from .kernels.extend_attention import extend_attention
from .kernels.online import Scoring
from .kernels.tree_attention import Units, tree_attention
from .kernels.write_kv import Rope, write_kv
from .memory_paged import PagedMemory
from .paged_plan import Composition, Room, Shared, compose, find_shared
from .ports import ForwardBatch

MOST_TREE_TOKENS = 16
"""A sequence with more new tokens in a step is attended by itself."""


class Prompts(NamedTuple):
    """Sequences that are attended by themselves; see kernels.extend_attention."""

    block_table: torch.Tensor
    lengths: torch.Tensor
    query_starts: torch.Tensor
    query_stops: torch.Tensor
    most_queries: int


class StepArrays(NamedTuple):
    """A step on the device. T tokens.  tree None: no sequence has few new tokens; prompts None: none has many."""

    ids: torch.Tensor  # (T,) int32
    positions: torch.Tensor  # (T,) int32
    rows: torch.Tensor  # (T,) int32: where each token's KV goes, -1: nowhere
    logit_rows: torch.Tensor  # (m,) int32
    sources: torch.Tensor  # (T,) int32: the lane whose last token stands here, -1: the one in ids does
    tree: Units | None
    prompts: Prompts | None


class HostArrays(NamedTuple):
    """The same as numpy arrays. composition: whose arrays the tree is; prompt_arrays in the order of Prompts."""

    ids: np.ndarray
    positions: np.ndarray
    rows: np.ndarray
    logit_rows: np.ndarray
    sources: np.ndarray
    composition: Composition | None
    prompt_arrays: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None


class Planner:
    """Makes the arrays of steps; remembers what is shared while the same sequences take the same number of tokens."""

    def __init__(self, memory: PagedMemory) -> None:
        self._memory = memory
        self._group = max(each.groups for each in memory.layers)
        self._composed: tuple[tuple[int, bytes, bytes, Room | None], Composition] | None = None
        self._shared: tuple[tuple[int, bytes, bytes], Shared] | None = None

    def plan(self, batch: ForwardBatch, sources: np.ndarray | None = None, room: Room | None = None) -> HostArrays:
        """The arrays of a batch that memory has room for. sources: see StepArrays; None: the batch has all tokens.
        room: of the graph that the step should run in, where all its sequences have few new tokens."""
        lengths = batch.lengths.astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        is_long = lengths > MOST_TREE_TOKENS
        composition = None
        if not is_long.all():
            counts = np.where(is_long, 0, lengths)
            composition = self._composition(batch, starts, counts, None if is_long.any() else room)
            composition.set_lengths(batch.starts + lengths)
        prompts = None
        if is_long.any():
            which = np.flatnonzero(is_long)
            table, _ = self._memory.tables(batch.slots[which])
            ends = (batch.starts + lengths)[which], starts[which], (starts + lengths)[which]
            prompts = (table, *(each.astype(np.int32) for each in ends))
        return HostArrays(
            ids=batch.token_ids.astype(np.int32),
            positions=batch.positions.astype(np.int32),
            rows=self._memory.rows(batch.slots, batch.lengths, batch.positions),
            logit_rows=batch.logit_rows.astype(np.int32),
            sources=np.full(len(batch.token_ids), -1, np.int32) if sources is None else sources.astype(np.int32),
            composition=composition,
            prompt_arrays=prompts,  # type: ignore[arg-type]
        )

    def _composition(
        self, batch: ForwardBatch, starts: np.ndarray, counts: np.ndarray, room: Room | None
    ) -> Composition:
        memory = self._memory
        key = (memory.version, batch.slots.tobytes(), batch.lengths.tobytes(), room)
        if self._composed is None or self._composed[0] != key:
            table, n_pages = memory.tables(batch.slots)
            shared = self._found_shared(batch, table, n_pages, counts)
            n_rows = len(batch.token_ids)
            made = compose(table, n_pages, starts, counts, n_rows, self._group, memory.page_tokens, shared, room)
            self._composed = (key, made)
        return self._composed[1]

    def _found_shared(self, batch: ForwardBatch, table: np.ndarray, n_pages: np.ndarray, counts: np.ndarray) -> Shared:
        reading = np.flatnonzero(counts)
        key = (self._memory.shared_version, batch.slots.tobytes(), reading.tobytes())
        if self._shared is None or self._shared[0] != key:
            self._shared = (key, find_shared(table, n_pages, reading, self._memory.page_tokens))
        return self._shared[1]


def pinned(parts: list[np.ndarray], device: torch.device) -> torch.Tensor:
    """int32 arrays in one row, in memory that a GPU copies from while the host goes on."""
    flat = torch.from_numpy(np.concatenate([part.ravel() for part in parts]))
    return flat.pin_memory() if device.type == "cuda" else flat


def on_device(host: HostArrays, device: torch.device) -> StepArrays:
    """The arrays of a step on the device: one copy of all together, from pinned memory where there is a GPU."""
    made = host.composition
    parts = [host.ids, host.positions, host.rows, host.logit_rows, host.sources]
    if made is not None:
        parts += [made.units, made.pages, made.readers, made.starts, made.stops, made.order]
    if host.prompt_arrays is not None:
        parts += host.prompt_arrays
    flat = pinned(parts, device).to(device, non_blocking=True)
    there = [each.view(part.shape) for each, part in zip(flat.split([part.size for part in parts]), parts, strict=True)]
    tree, prompts = None, None
    if made is not None:
        tree = Units(there[5], made.n_wide, *there[6:11])
    if host.prompt_arrays is not None:
        _, _, starts, stops = host.prompt_arrays
        prompts = Prompts(*there[-4:], most_queries=int((stops - starts).max()))
    return StepArrays(*there[:5], tree=tree, prompts=prompts)


def inputs(arrays: StepArrays, last_tokens: torch.Tensor) -> torch.Tensor:
    """The token ids of a step, (T,) int32. last_tokens: (lanes,) int32, of each lane."""
    is_known = arrays.sources < 0
    return torch.where(is_known, arrays.ids, last_tokens[arrays.sources.clamp(min=0).long()])


class PagedAttention:
    """`context.Attend` for one step, and the same for decoders that leave the turning of queries and keys to it."""

    def __init__(self, memory: PagedMemory, arrays: StepArrays) -> None:
        self._memory = memory
        self._arrays = arrays

    def __call__(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        attention_mask: torch.Tensor | None,
        scaling: float | None,
        sliding_window: int | None,
        softcap: float | None,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """See context.Attend; the window is the one the probe saw."""
        q, k, v = (each[0].transpose(0, 1) for each in (query, key, value))
        scale = q.shape[2] ** -0.5 if scaling is None else scaling
        return self.attend(layer, q, k, v, scale, softcap=softcap, sinks=sinks)[None]

    def attend(
        self,
        layer: int,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        scale: float,
        *,
        softcap: float | None = None,
        sinks: torch.Tensor | None = None,
        rope: Rope | None = None,
    ) -> torch.Tensor:
        """q (T, heads, dim), k and v (T, kv_heads, dim) -> (T, heads, value_dim). With rope, q and k are turned first,
        q in place."""
        memory, arrays = self._memory, self._arrays
        scoring = Scoring(scale, memory.layers[layer].window, softcap, sinks)
        k_pages, v_pages = memory.keys[layer], memory.values[layer]
        if rope is None:
            write_kv(k, v, k_pages, v_pages, arrays.rows)
        else:
            write_kv(k, v, k_pages, v_pages, arrays.rows, q, arrays.positions, rope)
        out = None
        if arrays.tree is not None:
            out, _ = tree_attention(q, k_pages, v_pages, arrays.positions, arrays.tree, scoring)
        if arrays.prompts is not None:
            out, _ = extend_attention(q, k_pages, v_pages, *arrays.prompts, scoring, None, out)
        assert out is not None, "a step has tokens"
        return out
