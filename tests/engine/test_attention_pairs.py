"""Attention in bfloat16 by products of pairs, beside plain attention in float64."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine import attention
from rootform.engine.attention import Found, Scoring
from rootform.engine.attention_loops import UNSEEN
from rootform.engine.attention_pairs import can_attend
from rootform.engine.cascade import NearPart, ProductPart, make_sight

needs_pairs = pytest.mark.skipif(not can_attend(16, 16), reason="this processor has no products of pairs of bfloat16")
ROWS = 400


class Heads(NamedTuple):
    """Of a layer: key and value heads, queries for each, sizes."""

    kv: int
    groups: int
    key_dim: int
    value_dim: int


HEADS = [
    Heads(2, 3, 64, 64),
    Heads(1, 1, 16, 16),
    Heads(1, 7, 128, 128),
    Heads(2, 5, 80, 48),
    Heads(1, 2, 6, 96),
    Heads(3, 1, 32, 96),
    Heads(2, 4, 96, 32),
]


class Case(NamedTuple):
    """Queries (T, kv, groups, dim), the pool, and for each token the rows that it sees."""

    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    scoring: Scoring

    def plain(self, seen: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """out, lse as in Found."""
        n_tokens, kv, groups, _ = self.queries.shape
        out = torch.zeros(n_tokens, kv * groups, self.values.shape[2])
        lse = torch.full((n_tokens, kv * groups), UNSEEN)
        for token, rows in enumerate(seen):
            if len(rows):
                scores = torch.einsum("hgd,hld->hgl", self.queries[token].double(), self.keys[:, rows].double())
                scores *= self.scoring.scale
                if self.scoring.cap:
                    scores = self.scoring.cap * torch.tanh(scores / self.scoring.cap)
                values = torch.einsum("hgl,hld->hgd", scores.softmax(-1), self.values[:, rows].double())
                out[token], lse[token] = values.flatten(0, 1).float(), scores.logsumexp(-1).flatten().float()
        return out, lse


def case(rng: np.random.Generator, heads: Heads, n_tokens: int, cap: float) -> Case:
    def some(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape)).bfloat16()

    queries = 3 * some(n_tokens, heads.kv, heads.groups, heads.key_dim)
    keys, values = some(heads.kv, ROWS, heads.key_dim), some(heads.kv, ROWS, heads.value_dim)
    return Case(queries, keys, values, Scoring(heads.key_dim**-0.5, cap))


def assert_found(found: Found, wanted: tuple[torch.Tensor, torch.Tensor], tolerance: float = 5e-3) -> None:
    for got, expected in zip((found.out, found.lse), wanted, strict=True):
        torch.testing.assert_close(torch.from_numpy(got), expected, rtol=tolerance, atol=tolerance)


seeds = st.integers(0, 2**32 - 1)


@needs_pairs
@pytest.mark.parametrize("heads", HEADS)
@settings(max_examples=15)
@given(seed=seeds, n_owners=st.integers(1, 4), per_owner=st.integers(1, 9), cap=st.sampled_from([0.0, 4.0]))
def test_tokens_by_themselves(heads, seed, n_owners, per_owner, cap):
    rng = np.random.default_rng(seed)
    n_tokens = n_owners * per_owner
    these = case(rng, heads, n_tokens, cap)
    segments, first = [], [0]
    for _ in range(n_owners):  # pieces of the pool, some of few rows, with gaps in the positions between them
        cuts = np.sort(rng.choice(ROWS, 2 * rng.integers(1, 6), replace=False)).tolist()
        segments += [(a, b, int(rng.integers(-a, ROWS - b + 1))) for a, b in zip(cuts[::2], cuts[1::2], strict=True)]
        first.append(len(segments))
    owners = np.repeat(np.arange(n_owners), per_owner)
    part = NearPart(np.arange(n_tokens), owners, np.array(first), np.array(segments))
    low, high = rng.integers(0, ROWS // 2, n_tokens), rng.integers(0, ROWS, n_tokens)
    found = Found(n_tokens, heads.kv * heads.groups, heads.value_dim)
    found.near(part, make_sight(low, high), these.queries, these.keys, these.values, these.scoring)
    seen = [
        np.array([p + shift for a, b, shift in segments[first[o] : first[o + 1]] for p in range(a, b) if i <= p < j])
        for o, i, j in zip(owners, low, high, strict=True)
    ]
    assert_found(found, these.plain(seen))


@needs_pairs
@pytest.mark.parametrize("heads", HEADS)
@settings(max_examples=15)
@given(seed=seeds, n_tokens=st.integers(1, 40), whole=st.booleans(), cap=st.sampled_from([0.0, 4.0]))
def test_tokens_together(heads, seed, n_tokens, whole, cap):
    rng = np.random.default_rng(seed)
    these = case(rng, heads, n_tokens, cap)
    cut = int(rng.integers(1, ROWS - 1))
    parts = [slice(0, cut), torch.from_numpy(rng.permutation(np.arange(cut, ROWS)))]
    found = Found(n_tokens, heads.kv * heads.groups, heads.value_dim)
    seen: list[list[int]] = [[] for _ in range(n_tokens)]
    for rows in parts:
        numbers = np.arange(ROWS)[rows] if isinstance(rows, slice) else rows.numpy()
        n = len(numbers)
        low, high = np.zeros(n_tokens, dtype=np.int64), np.full(n_tokens, n)
        if not whole:
            low, high = rng.integers(0, n, n_tokens), rng.integers(0, n + 1, n_tokens)
        part = ProductPart(rows, np.array([[0, n]]), None, np.arange(n_tokens))
        some = [slice(at, min(at + 16, n_tokens)) for at in range(0, n_tokens, 16)]
        sights = [(each, make_sight(low[each], high[each])) for each in some]
        found.product(part, sights, these.queries, these.keys, these.values, these.scoring)
        for token in range(n_tokens):
            seen[token] += numbers[low[token] : high[token]].tolist()
    assert_found(found, these.plain([np.array(each) for each in seen]))


@pytest.mark.parametrize("paired", [pytest.param(True, marks=needs_pairs), False])
def test_some_tokens_by_either_way(paired, monkeypatch):
    if not paired:
        monkeypatch.setattr(attention, "is_paired", lambda queries, values: False)
    rng = np.random.default_rng(7)
    these = case(rng, HEADS[0], 9, 0.0)
    found = Found(9, 6, 64)
    numbers = np.array([1, 2, 5, 8])
    part = ProductPart(slice(20, 320), np.array([[0, 300]]), torch.from_numpy(numbers), numbers)
    sight = make_sight(np.zeros(4, dtype=np.int64), np.array([300, 10, 0, 150]))
    found.product(part, [(slice(0, 4), sight)], these.queries, these.keys, these.values, these.scoring)
    high = dict(zip(numbers.tolist(), sight.high.tolist(), strict=True))
    assert_found(found, these.plain([np.arange(20, 20 + high.get(n, 0)) for n in range(9)]), 2e-2)


@needs_pairs
def test_what_is_for_them():
    like = torch.empty(1, 1, 1, 64)
    assert attention.is_paired(like.bfloat16(), torch.empty(1, 1, 64))
    assert not attention.is_paired(like, torch.empty(1, 1, 64))
    assert not attention.is_paired(like.bfloat16(), torch.empty(1, 1, 24))
    assert not attention.is_paired(like.bfloat16()[..., :7], torch.empty(1, 1, 64))


@needs_pairs
def test_scores_far_apart_and_equal():
    """Weights that vanish, and thousands that are the same."""
    queries = torch.full((1, 1, 1, 16), 100.0).bfloat16()
    keys = torch.zeros(1, ROWS, 16).bfloat16()
    keys[0, 300] = 100.0
    values = torch.arange(ROWS)[None, :, None].expand(1, ROWS, 16).bfloat16().contiguous()
    for n, wanted in ((ROWS, float(values[0, 300, 0])), (300, float(values[0, :300, 0].float().mean()))):
        found = attention.attend_product(queries, keys[:, :n], values[:, :n])
        np.testing.assert_allclose(found.out, wanted, rtol=2e-3)


@needs_pairs
def test_what_a_token_does_not_see_does_not_matter():
    """A key far above all others, the last of a block that is no multiple of any vector, hidden from one token."""
    queries = torch.full((2, 1, 1, 64), 100.0).bfloat16()
    keys, values = torch.zeros(1, 21, 64).bfloat16(), torch.ones(1, 21, 64).bfloat16()
    keys[0, 20], values[0, 20] = 100.0, 7.0
    part = NearPart(np.arange(2), np.zeros(2, dtype=np.int64), np.array([0, 1]), np.array([[0, 21, 0]]))
    found = Found(2, 1, 64)
    found.near(
        part, make_sight(np.zeros(2, dtype=np.int64), np.array([20, 21])), queries, keys, values, Scoring(1.0, 0.0)
    )
    np.testing.assert_allclose(found.out[0], 1.0, rtol=1e-6)
    np.testing.assert_allclose(found.out[1], 7.0, rtol=1e-6)
