"""Cases of the kernels around attention: of a layer, of masks and of sampling. See `gpu_cases`."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rootform.engine.kernels import layers, mask, sampling, write_kv
from rootform.engine.kernels.tiles import divide_up

from .gpu_attention_cases import Heads
from .gpu_twins import assert_close, doubles, moved


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
