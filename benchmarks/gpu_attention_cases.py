"""Cases of attention kernels, of odd shapes: what must not be read is NaN. See `gpu_cases`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from rootform.engine.kernels import decode_attention as decode
from rootform.engine.kernels import extend_attention as extend
from rootform.engine.kernels import merge, tree_attention
from rootform.engine.kernels.online import Scoring
from rootform.engine.kernels.tiles import divide_up
from rootform.engine.paged_plan import Room, compose

from .gpu_twins import assert_close, doubles, moved


@dataclass(frozen=True)
class Heads:
    """Shapes and options that all attention kernels share."""

    kv_heads: int = 1
    group: int = 4
    head_dim: int = 64
    v_dim: int | None = None
    page_tokens: int = 16
    dtype: torch.dtype = torch.float32
    window: int | None = None
    softcap: float | None = None
    sinks: bool = False
    page_stride: int | None = None  # numbers from one page to the next, where they are far apart

    def scoring(self) -> Scoring:
        sinks = torch.randn(self.kv_heads * self.group) if self.sinks else None
        return Scoring(self.head_dim**-0.5, self.window, self.softcap, sinks)

    def queries(self, n: int) -> torch.Tensor:
        """A slice of something wider, as the output of one product for queries, keys and values is."""
        return torch.randn(n, self.kv_heads * self.group + 2, self.head_dim).to(self.dtype)[:, 1:-1]

    def pools(self, total_pages: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Head-major in memory, as the engine has them; NaN."""
        k, v = (self._pool(total_pages, dim).fill_(torch.nan) for dim in (self.head_dim, self.v_dim or self.head_dim))
        return k.transpose(1, 2), v.transpose(1, 2)

    def _pool(self, total_pages: int, dim: int) -> torch.Tensor:
        size = (total_pages, self.kv_heads, self.page_tokens, dim)
        if self.page_stride is None:
            return torch.empty(size, dtype=self.dtype)
        strides = (self.page_stride, self.page_tokens * dim, dim, 1)  # what lies between is never touched
        return torch.empty_strided(size, strides, dtype=self.dtype)

    def fill(self, pools: tuple[torch.Tensor, torch.Tensor], pages: torch.Tensor, n_tokens: int) -> None:
        """Numbers for the first n_tokens of a row of pages."""
        for pool in pools:
            for j in range(divide_up(n_tokens, self.page_tokens)):
                room = pool[int(pages[j])][: n_tokens - j * self.page_tokens]
                room.copy_(torch.randn(room.shape))

    def tables(self, lengths: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pools and a table for sequences of these lengths, on pages scattered over the pools."""
        max_pages = divide_up(max((1, *lengths)), self.page_tokens) + 1
        total_pages = len(lengths) * max_pages + 3
        table = torch.randperm(total_pages)[: len(lengths) * max_pages].view(len(lengths), max_pages).int()
        pools = self.pools(total_pages)
        for row, length in zip(table, lengths, strict=True):
            self.fill(pools, row, length)
        return *pools, table


def compare_attention(kernel: Callable, twin: Callable, inputs: tuple, device: str, dtype: torch.dtype) -> None:
    expected = twin(*map(doubles, inputs))
    got = kernel(*(moved(each, device) for each in inputs))
    assert (got[0].dtype, got[1].dtype) == (dtype, torch.float32)
    for ours, theirs in zip(got, expected, strict=True):
        assert_close(ours, theirs, dtype)


@dataclass(frozen=True)
class Decode:
    """One token of sequences of all sorts of lengths."""

    heads: Heads = Heads()
    lengths: tuple[int, ...] = (0, 1, 16, 17, 150)
    query_offset: int | None = None  # the query stands so far beyond its last key

    def inputs(self) -> tuple:
        torch.manual_seed(0)
        k, v, table = self.heads.tables(self.lengths)
        lengths = torch.tensor(self.lengths, dtype=torch.int32)
        positions = None if self.query_offset is None else lengths + self.query_offset - 1
        return self.heads.queries(len(lengths)), k, v, table, lengths, self.heads.scoring(), positions

    def run(self, device: str) -> None:
        twin, kernel = decode.decode_attention_plain, decode.decode_attention_triton
        compare_attention(kernel, twin, self.inputs(), device, self.heads.dtype)


@dataclass(frozen=True)
class AloneOrInABatch:
    """A sequence's result is the same, bit by bit, in a batch and alone with a table no wider than it needs."""

    case: Decode

    def run(self, device: str) -> None:
        q, k, v, table, lengths, scoring, _ = self.case.inputs()
        k, v, scoring = (moved(each, device) for each in (k, v, scoring))

        def attend(rows: slice, n_pages: int) -> tuple[torch.Tensor, torch.Tensor]:
            own = (moved(each, device) for each in (q[rows], table[rows, :n_pages], lengths[rows]))
            queries, pages, length = own
            return decode.decode_attention_triton(queries, k, v, pages, length, scoring)

        together = attend(slice(None), table.shape[1])
        for i, length in enumerate(self.case.lengths):
            alone = attend(slice(i, i + 1), divide_up(length, self.case.heads.page_tokens))
            assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, together, strict=True))


@dataclass(frozen=True)
class Extend:
    """New tokens of several sequences: (tokens before, new tokens) of each. branches: drafts that are trees."""

    heads: Heads = Heads()
    parts: tuple[tuple[int, int], ...] = ((0, 1), (0, 5), (15, 1), (16, 17), (40, 0), (33, 40))
    branches: bool = False

    def inputs(self) -> tuple:
        torch.manual_seed(0)
        past = torch.tensor([past for past, _ in self.parts], dtype=torch.int32)
        counts = torch.tensor([count for _, count in self.parts], dtype=torch.int32)
        k, v, table = self.heads.tables(tuple((past + counts).tolist()))
        stops = counts.cumsum(0).int()
        total, most = int(counts.sum()), max([count for _, count in self.parts], default=0)
        draft = self.draft(past, counts) if self.branches else None
        rows = table, past + counts, stops - counts, stops, most
        return self.heads.queries(total), k, v, *rows, self.heads.scoring(), draft

    def draft(self, past: torch.Tensor, counts: torch.Tensor) -> extend.Draft:
        """Of each sequence a random tree: every new token but the first hangs on an earlier one."""
        random = np.random.default_rng(0)
        words = divide_up(int(counts.max()), 32) + 1
        bits = torch.zeros(int(counts.sum()), words, dtype=torch.int32)
        positions = []
        row = 0
        for before, count in zip(past.tolist(), counts.tolist(), strict=True):
            seen: list[set[int]] = []
            for i in range(count):
                seen.append(({i} | seen[int(random.integers(max(0, i - 3), i))]) if i else {0})
                for j in seen[i]:
                    bits[row, j // 32] |= int(np.int32(np.uint32(1 << j % 32)))
                positions.append(before + len(seen[i]) - 1)
                row += 1
        return extend.Draft(bits, torch.tensor(positions, dtype=torch.int32))

    def run(self, device: str) -> None:
        twin, kernel = extend.extend_attention_plain, extend.extend_attention_triton
        compare_attention(kernel, twin, self.inputs(), device, self.heads.dtype)


@dataclass(frozen=True)
class Tree:
    """A trunk that all read, branches that some read, own tokens of each sequence, and several query tokens of some.

    own: tokens of each sequence behind what it shares, its query tokens among them.  room: so small that stretches are
    longer than they would be; None: any.
    """

    heads: Heads = Heads()
    trunk_pages: int = 9
    branch_pages: tuple[int, ...] = (0, 12, 3)
    own: tuple[int, ...] = (1, 2, 16, 17, 33, 5, 1)
    counts: tuple[int, ...] = (1, 1, 3, 1, 5, 1, 1)
    room: Room | None = None

    def inputs(self) -> tuple:
        torch.manual_seed(0)
        size, n = self.heads.page_tokens, len(self.own)
        n_own = [divide_up(own, size) + 1 for own in self.own]  # one more than is filled
        ids = torch.randperm(self.trunk_pages + sum(self.branch_pages) + sum(n_own) + 2).int()
        pools = self.heads.pools(len(ids))
        trunk, *rest = ids.split([self.trunk_pages, *self.branch_pages, *n_own, 2])
        branches, owns = rest[: len(self.branch_pages)], rest[len(self.branch_pages) : -1]
        for pages in (trunk, *branches):
            self.heads.fill(pools, pages, len(pages) * size)
        tables, lengths = [], []
        for i in range(n):
            branch = branches[i % len(branches)]
            self.heads.fill(pools, owns[i], self.own[i])
            tables.append(torch.cat([trunk, branch, owns[i]]).numpy())
            lengths.append((len(trunk) + len(branch)) * size + self.own[i])
        counts = np.array(self.counts)
        starts = np.cumsum(counts) - counts
        n_pages = np.array([len(table) for table in tables])
        padded = np.stack([np.pad(table, (0, int(n_pages.max()) - len(table))) for table in tables])
        work = compose(padded, n_pages, starts, counts, int(counts.sum()), self.heads.group, size, room=self.room)
        work.set_lengths(np.array(lengths))
        assert (work.stretch > tree_attention.STRETCH_TOKENS) == (self.room is not None)
        assert (work.prefixes != []) == (n > 1 and self.trunk_pages + sum(self.branch_pages) > 0)
        arrays = (work.pages, work.readers, work.starts, work.stops, work.order)
        units = tree_attention.Units(torch.from_numpy(work.units), work.n_wide, *map(torch.from_numpy, arrays))
        positions = np.concatenate([np.arange(b - c, b) for b, c in zip(lengths, self.counts, strict=True)])
        return (
            self.heads.queries(int(counts.sum())),
            *pools,
            torch.from_numpy(positions.astype(np.int32)),
            units,
            self.heads.scoring(),
        )

    def run(self, device: str) -> None:
        twin, kernel = tree_attention.tree_attention_plain, tree_attention.tree_attention_triton
        compare_attention(kernel, twin, self.inputs(), device, self.heads.dtype)


@dataclass(frozen=True)
class Merge:
    """Tokens with no part, one, several, and parts that saw nothing."""

    dtype: torch.dtype = torch.float32
    sinks: bool = False

    def run(self, device: str) -> None:
        torch.manual_seed(0)
        part_out, part_lse = torch.randn(40, 3, 20), torch.randn(40, 3) * 5
        part_lse[[4, 30]], part_out[[4, 30]] = -torch.inf, 0
        part_out[7], part_lse[7] = torch.nan, torch.nan  # in no list
        order = torch.tensor([9, 4, *(i for i in range(8, 40) if i != 9)], dtype=torch.int32)
        starts = torch.tensor([0, 0, 1, 2, 33], dtype=torch.int32)
        stops = torch.tensor([0, 1, 2, 33, 33], dtype=torch.int32)
        sinks = torch.randn(3) if self.sinks else None
        inputs = part_out, part_lse, starts, stops, order
        expected = merge.merge_parts_plain(*map(doubles, inputs), torch.float64, doubles(sinks))
        got = merge.merge_parts_triton(*(moved(each, device) for each in inputs), self.dtype, moved(sinks, device))
        for ours, theirs in zip(got, expected, strict=True):
            assert_close(ours, theirs, self.dtype)
