"""Kernels against their twins: random inputs of odd shapes, and how far apart the answers may be.

A case makes its inputs on the CPU, asks the twin in float64, and asks the kernel on a device. What a kernel must not
read is NaN or far out of range, and so is what it must write. Used by the tests, under the interpreter, and by
`benchmarks/gpu.py`, on a card.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from rootform.engine.kernels import decode_attention as decode
from rootform.engine.kernels import extend_attention as extend
from rootform.engine.kernels import layers, mask, merge, sampling, tree_attention, write_kv
from rootform.engine.kernels.online import Scoring
from rootform.engine.kernels.tiles import divide_up
from rootform.engine.paged_plan import Room, compose

HALF, BFLOAT = torch.float16, torch.bfloat16
CLOSE = {torch.float32: 2e-5, HALF: 3e-3, BFLOAT: 3e-2}


def poisoned_empty(*size: Any, **options: Any) -> torch.Tensor:
    """torch.empty, with NaN (or the least number) in it, so that what is not written is seen."""
    out = _empty(*size, **options)
    return out.fill_(torch.nan if out.is_floating_point() else torch.iinfo(out.dtype).min)


_empty = torch.empty


def assert_close(got: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    """Close for arithmetic in dtype; the same infinities. NaN never passes."""
    got, expected, close = got.cpu().double(), expected.double(), CLOSE[dtype]
    assert got.shape == expected.shape, (got.shape, expected.shape)
    if not torch.allclose(got, expected, atol=close, rtol=close):
        wrong = ~torch.isclose(got, expected, atol=close, rtol=close)
        raise AssertionError(
            f"{int(wrong.sum())} of {wrong.numel()} differ: {got[wrong][:4]}, not {expected[wrong][:4]}"
        )


def doubles(value: Any) -> Any:
    """Tensors of floats in it as float64."""
    if isinstance(value, torch.Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(doubles, value))
    return value


def moved(value: Any, device: str) -> Any:
    """Tensors in it on the device, kept apart in memory as they are here."""
    if isinstance(value, torch.Tensor):
        if device == "cpu":
            return value
        there = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device)
        return there.copy_(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(each, device) for each in value))
    return value


# -- attention ----------------------------------------------------------------------------------------------------


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


# -- the rest of a layer ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WriteKv:
    """Keys and values to scattered rows, some tokens to none; rotary_dim 0: no rope."""

    rotary_dim: int = 64
    q_heads: int = 9
    kv_heads: int = 3
    head_dim: int = 64
    v_dim: int = 64
    page_tokens: int = 16
    n: int = 7
    dtype: torch.dtype = torch.float32
    page_stride: int | None = None

    def run(self, device: str) -> None:
        torch.manual_seed(0)
        sizes = self.kv_heads, 1, self.head_dim, self.v_dim, self.page_tokens, self.dtype
        heads = Heads(*sizes, page_stride=self.page_stride)
        pools = heads.pools(divide_up(self.n, self.page_tokens) + 2)
        wide = torch.randn(self.n, self.q_heads + self.kv_heads, self.head_dim).to(self.dtype)
        q, k = wide[:, : self.q_heads], wide[:, self.q_heads :]
        v = torch.randn(self.n, self.kv_heads, self.v_dim).to(self.dtype)
        rows = torch.randperm(len(pools[0]) * self.page_tokens)[: self.n].int()
        rows[1::4] = -1
        turned: tuple = ()
        if self.rotary_dim:
            angles = torch.rand(50, self.rotary_dim // 2) * 6
            positions = torch.randint(0, 50, (self.n,), dtype=torch.int32)
            turned = (q, positions, write_kv.Rope(angles.cos(), angles.sin()))
        expected = [doubles(each) for each in (*pools, q)]
        twin = [doubles(each) for each in (k, v, *expected[:2], rows, *turned)]
        if turned:
            twin[5] = expected[2]
        write_kv.write_kv_plain(*twin)
        ours = [moved(each, device) for each in (k, v, *pools, rows, *turned)]
        write_kv.write_kv_triton(*ours)
        for got, wanted in zip((*ours[2:4], *ours[5:6]), expected, strict=False):
            assert torch.equal(got.isnan().cpu(), wanted.isnan())  # nothing beside the rows
            assert_close(got.nan_to_num(), wanted.nan_to_num(), self.dtype)


@dataclass(frozen=True)
class Norm:
    width: int = 96
    residual: bool = True
    dtype: torch.dtype = torch.float32

    def run(self, device: str) -> None:
        torch.manual_seed(0)
        x, residual = torch.randn(2, 3, self.width + 4).to(self.dtype)[:, :, : self.width]
        weight = torch.randn(self.width).to(self.dtype)
        if self.residual:  # sums that are rounded alike in all types
            x, residual = (x * 4).round() / 4, (residual * 4).round() / 4
        added = residual if self.residual else None
        theirs, ours = doubles(added), moved(added, device)
        expected = layers.rms_norm_plain(doubles(x), doubles(weight), 1e-5, theirs)
        got = layers.rms_norm_triton(moved(x, device), moved(weight, device), 1e-5, ours)
        assert got.dtype == self.dtype
        assert_close(got, expected, self.dtype)
        if ours is not None:
            assert_close(ours, theirs, self.dtype)


@dataclass(frozen=True)
class SwiGlu:
    width: int = 1100
    dtype: torch.dtype = torch.float32

    def run(self, device: str) -> None:
        torch.manual_seed(0)
        both = torch.randn(3, 2 * self.width + 6).to(self.dtype)[:, : 2 * self.width] * 3
        assert_close(layers.swiglu_triton(moved(both, device)), layers.swiglu_plain(doubles(both)), self.dtype)


# -- masks, sampling ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mask:
    """Rows of logits that are masked by the table's row, by no row, or by a row shared with another."""

    vocab: int
    words: int
    dtype: torch.dtype = torch.float32
    row_ids: tuple[int, ...] = (1, -1, 0, 1)

    def run(self, device: str) -> None:
        torch.manual_seed(0)
        # Rows of the table and of the logits stand apart in memory, as slices of wider ones do.
        table = torch.randint(-(2**31), 2**31, (2, self.words + 3), dtype=torch.int32)[:, : self.words]
        logits = torch.randn(len(self.row_ids), self.vocab + 5).to(self.dtype)
        row_ids = torch.tensor(self.row_ids, dtype=torch.int32)
        expected = logits.clone()
        mask.apply_mask_plain(expected[:, : self.vocab], table, row_ids)
        logits = moved(logits, device)
        mask.apply_mask_triton(logits[:, : self.vocab], moved(table, device), row_ids.to(device))
        assert torch.equal(logits.cpu(), expected)  # beside the slice as well


@dataclass(frozen=True)
class Sample:
    """Each row with another way of drawing, some masked, one with nothing allowed."""

    vocab: int = 3000
    dtype: torch.dtype = torch.float32
    seed: int = 0

    def run(self, device: str) -> None:
        torch.manual_seed(self.seed)
        ways = [  # temperature, top_k, top_p, min_p
            (0.0, 0, 1.0, 0.0),
            (1.0, 0, 1.0, 0.0),
            (0.7, 5, 1.0, 0.0),
            (1.5, 0, 0.8, 0.0),
            (1.0, 0, 1.0, 0.2),
            (2.0, 40, 0.6, 0.05),
            (1.0, self.vocab + 3, 0.95, 0.0),
            (1.0, 1, 1.0, 0.0),
            (1.0, 70, 1.0, 0.0),
            (0.05, 2000, 0.999, 0.0),
        ]
        n = 2 * len(ways)
        words = divide_up(self.vocab, 32)
        table = torch.randint(-(2**31), 2**31, (3, words + 1), dtype=torch.int32)[:, :words]
        table[2] = 0
        row_ids = torch.tensor([-1] * len(ways) + [0, 1] * (len(ways) // 2), dtype=torch.int32)
        row_ids[-1] = 2
        logits = (torch.randn(n, self.vocab + 2) * 3).to(self.dtype)[:, : self.vocab]
        logits[0, [5, 7]] = 60.0  # a tie
        logits[1, :-1] = -torch.inf
        logits[[8, 18]] = logits[[8, 18]].round()  # ties wherever a filter or the draw may cut
        columns = [torch.tensor(each * 2) for each in map(list, zip(*ways, strict=True))]
        uniform = torch.rand(n, dtype=torch.float64)
        uniform[[1, 3, 4]] = torch.tensor([0.0, 1 - 2.0**-53, 1 - 2.0**-53], dtype=torch.float64)
        draws = sampling.Draws(
            *(each.to(torch.int32 if i == 1 else torch.float64) for i, each in enumerate(columns)), uniform
        )
        expected = sampling.sample_plain(logits, table, row_ids, draws)
        got = sampling.sample_triton(*(moved(each, device) for each in (logits, table, row_ids, draws)))
        assert got[0].tolist() == expected[0].tolist()
        assert expected[0][0] == 5
        assert expected[0][-1] == -1
        assert_close(got[1], expected[1], torch.float32)


HEAD_SIZES = (64, 80, 96, 128, 256)
FAR = (1 << 29) + 128
SMALL: dict[str, Any] = {  # run by the ordinary tests: a few programs each
    "mask, whole words": Mask(vocab=64, words=2),
    "mask, a word in part": Mask(vocab=1057, words=34),
    "mask, tokens beyond the last word": Mask(vocab=1100, words=33),
    "mask, bits beyond the vocabulary": Mask(vocab=50, words=3, dtype=HALF),
    "mask, nothing constrained": Mask(vocab=40, words=1, row_ids=(-1, -1)),
    "mask, a table without words": Mask(vocab=40, words=0),
    "merge": Merge(),
    "merge, sinks, half": Merge(HALF, sinks=True),
    "write": WriteKv(rotary_dim=0, v_dim=32),
    "write, rope": WriteKv(),
    "write, rope in part, half": WriteKv(rotary_dim=40, head_dim=80, v_dim=80, page_tokens=5, dtype=HALF),
    "norm": Norm(),
    "norm without residual, half": Norm(residual=False, dtype=HALF),
    "swiglu": SwiGlu(),
    "swiglu, half": SwiGlu(width=70, dtype=HALF),
    "sample": Sample(),
    "sample, half": Sample(vocab=77, dtype=HALF),
    "decode 1:1, 64 wide": Decode(Heads(3, 1)),
    "decode 1:4, 64 wide": Decode(Heads(2), (15, 70)),
    "decode 1:8, 64 wide, half": Decode(Heads(2, 8, dtype=HALF), (0, 31)),
    "decode 1:3, 80 wide, half": Decode(Heads(1, 3, 80, dtype=HALF)),
    "decode 1:7, 96 wide": Decode(Heads(1, 7, 96), (0, 33)),
    "decode 1:8, 128 wide": Decode(Heads(1, 8, 128)),
    "decode 1:2, 256 wide, half": Decode(Heads(1, 2, 256, dtype=HALF), (20, 150)),
    "decode, values narrower than keys": Decode(Heads(1, 4, 48, 32)),
    "decode, a group wider than a tile": Decode(Heads(1, 70), (33,)),
    "decode, pages of 1": Decode(Heads(page_tokens=1), (1, 2, 70)),
    "decode, pages of 5": Decode(Heads(page_tokens=5), (0, 4, 5, 6, 11)),
    "decode, block and split edges": Decode(Heads(1, 2), (63, 64, 65, 127, 128, 129)),
    "decode, more splits than one merge takes": Decode(lengths=(1, 2200)),
    "decode, window": Decode(Heads(window=10), (0, 1, 9, 10, 11, 200)),
    "decode, window of 1": Decode(Heads(window=1, dtype=HALF), (0, 1, 65)),
    "decode, window over split edges": Decode(Heads(window=70), (69, 70, 71, 198, 300)),
    "decode, window, the query further on": Decode(Heads(window=20), (0, 5, 12, 40), query_offset=8),
    "decode, window, the query sees nothing": Decode(Heads(window=5), (0, 5, 150), query_offset=200),
    "decode, softcap": Decode(Heads(softcap=2.0)),
    "decode, softcap, window, sinks, half": Decode(Heads(softcap=30.0, window=12, sinks=True, dtype=HALF)),
    "decode, sinks": Decode(Heads(sinks=True)),
    "decode alone or in a batch": AloneOrInABatch(Decode(Heads(1, 2), (1, 64, 290))),
    "decode alone or in a batch, window": AloneOrInABatch(Decode(Heads(1, 2, window=90), (1, 150, 290))),
    "extend": Extend(Heads(2, 4)),
    "extend 1:3, 80 wide, pages of 5, half": Extend(Heads(1, 3, 80, page_tokens=5, dtype=HALF), ((0, 7), (9, 30))),
    "extend, window, softcap, sinks": Extend(Heads(1, 2, window=9, softcap=20.0, sinks=True), ((0, 12), (20, 33))),
    "extend, window of 1": Extend(Heads(1, 1, window=1), ((0, 3), (5, 1))),
    "extend, branches": Extend(Heads(1, 2), ((0, 4), (30, 40), (17, 1), (5, 0)), branches=True),
    "extend, branches, window, half": Extend(Heads(1, 4, window=6, dtype=HALF), ((0, 9), (30, 12)), branches=True),
    "extend, values narrower than keys": Extend(Heads(1, 2, 48, 32), ((3, 5),)),
    "tree": Tree(),
    "tree 1:1, many readers, half": Tree(Heads(group=1, dtype=HALF), own=(1,) * 34, counts=(1,) * 34),
    "tree 1:8, window, softcap, sinks": Tree(Heads(2, 8, window=20, softcap=25.0, sinks=True), 4, (0, 9)),
    "tree 1:3, 80 wide, pages of 5": Tree(Heads(1, 3, 80, page_tokens=5), 30, (7, 0, 22)),
    "tree 1:2, 256 wide, half": Tree(Heads(1, 2, 256, dtype=HALF), own=(1,) * 9, counts=(1,) * 9),
    "tree, nothing shared": Tree(Heads(1, 2), 0, (0,), own=(1, 40), counts=(1, 2)),
    "tree, values narrower than keys": Tree(Heads(1, 4, 48, 32), 20, (0,), own=(3, 4), counts=(1, 1)),
    "decode, no sequences": Decode(lengths=()),
    "decode, nothing but sinks": Decode(Heads(sinks=True), (0, 0)),
    "decode, window smaller than a page": Decode(Heads(window=3), (0, 1, 2, 3, 4, 15, 16, 17, 18, 19)),
    "decode, pages wider than a block": Decode(Heads(page_tokens=128), (0, 127, 128, 129)),
    "extend, no sequences": Extend(parts=()),
    "extend, nothing new": Extend(parts=((5, 0), (0, 0))),
    "extend, window smaller than a page, sinks": Extend(Heads(window=3, sinks=True), ((0, 1), (0, 20), (16, 2))),
    "extend, branches of more than 64": Extend(Heads(1, 1, window=5), ((0, 3), (21, 70)), branches=True),
    "tree, one token in all": Tree(Heads(sinks=True), 0, (0,), own=(1,), counts=(1,)),
    "tree, stretches as long as room asks": Tree(
        Heads(1, 8, window=500), 20, (0,), own=(300, 3, 290), counts=(1, 1, 2), room=Room(4, 1, 3, 99, 12)
    ),
    "tree, window smaller than a page": Tree(Heads(window=3), 3, (0, 2)),
    "tree, window, prefixes out of sight": Tree(Heads(window=5), own=(30, 40, 2), counts=(1, 2, 1)),
    "tree, pages of 1": Tree(Heads(page_tokens=1), 40, (0, 5)),
    "write, nothing": WriteKv(n=0),
    # Pages so far apart that 32 bits do not count the numbers between them, as in the pool of a large card.
    "decode, far pages": Decode(Heads(group=2, dtype=HALF, page_stride=FAR), (20, 33)),
    "extend, far pages": Extend(Heads(group=2, dtype=HALF, page_stride=FAR), ((17, 3),)),
    "tree, far pages": Tree(Heads(1, 2, page_tokens=64, dtype=HALF, page_stride=FAR), 2, (0,), (3, 4), (1, 1)),
    "write, far pages": WriteKv(n=60, dtype=HALF, page_stride=FAR),
}


def sweep() -> dict[str, Any]:
    """Every ratio of heads and head size in both kinds of precision, for each attention kernel: minutes interpreted."""
    cases: dict[str, Any] = {}
    for head_dim in HEAD_SIZES:
        for group in (1, 2, 3, 4, 5, 6, 7, 8):
            for dtype in (torch.float32, HALF):
                heads = Heads(2, group, head_dim, dtype=dtype, sinks=group % 2 == 0)
                name = f"1:{group}, {head_dim} wide, {str(dtype)[6:]}"
                cases[f"decode {name}"] = Decode(heads, (0, 1, 31, 150))
                cases[f"extend {name}"] = Extend(replace(heads, window=24), ((0, 5), (18, 21), (40, 1)))
                cases[f"tree {name}"] = Tree(heads, 9, (0, 3))
    return cases


def in_bfloat(cases: dict[str, Any]) -> dict[str, Any]:
    """The same in bfloat16, for a card: interpreted products of bfloat16 are wrong."""
    copies = {}
    for name, case in cases.items():
        if hasattr(case, "heads"):
            copies[f"{name}, bfloat"] = replace(case, heads=replace(case.heads, dtype=BFLOAT))
        elif hasattr(case, "dtype"):
            copies[f"{name}, bfloat"] = replace(case, dtype=BFLOAT)
    return copies


def run_all(cases: dict[str, Any], device: str, deadline: float = float("inf")) -> dict[str, str]:
    """{case: what went wrong, or ""}, with outputs poisoned and stretches so short that small cases have several.

    deadline: by time.monotonic(); cases that would begin later are not in it, nor are those a card has no memory for.
    """
    wrong = {}
    before = torch.empty, decode._SPLIT_TOKENS
    torch.empty, decode._SPLIT_TOKENS = poisoned_empty, 128
    try:
        for name, case in cases.items():
            if time.monotonic() >= deadline:
                break
            try:
                case.run(device)
                wrong[name] = ""
            except torch.OutOfMemoryError as error:
                print(f"{name}: {error}".splitlines()[0], file=sys.stderr)
            except Exception:
                wrong[name] = traceback.format_exc()
            if device == "cuda":
                torch.cuda.empty_cache()  # other processes check cases beside this one
    finally:
        torch.empty, decode._SPLIT_TOKENS = before
    return wrong
