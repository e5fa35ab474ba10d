"""Tokens from logits, against slow and obvious references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.kernels.mask import apply_mask
from rootform.engine.kernels.sampling import draw_sorted
from rootform.engine.loops import forbid, likeliest
from rootform.engine.ports import Few
from rootform.engine.sample import MaskTables, Scores, Ways, mask_rows
from rootform.engine.types import Sampling

GREEDY = Ways.of_each([Sampling()], [0.0])


def bit_rows(allowed_sets, n_tokens):
    rows = np.zeros((len(allowed_sets), -(-n_tokens // 32)), dtype=np.uint32)
    for row, allowed in zip(rows, allowed_sets, strict=True):
        for token in allowed:
            row[token // 32] |= np.uint32(1 << (token % 32))
    return rows.view(np.int32)


def plain_distribution(logits, sampling):
    """Probabilities after temperature, top_k, top_p, min_p, one token at a time."""
    scaled = logits.astype(np.float64) / sampling.temperature
    weights = np.exp(scaled - scaled.max())
    order = sorted(range(len(weights)), key=lambda token: (-weights[token], token))
    kept = order[: sampling.top_k] if sampling.top_k else order
    total, so_far, nucleus = sum(weights[token] for token in kept), 0.0, []
    for token in kept:
        if so_far < sampling.top_p * total:
            nucleus.append(token)
        so_far += weights[token]
    kept = [token for token in nucleus if weights[token] >= sampling.min_p * weights[order[0]]]
    probabilities = np.zeros(len(weights))
    probabilities[kept] = weights[kept] / weights[kept].sum()
    return probabilities


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0),
        Sampling(temperature=0.4, top_k=5),
        Sampling(temperature=1.5, top_p=0.7),
        Sampling(temperature=1.0, min_p=0.2),
        Sampling(temperature=2.0, top_k=8, top_p=0.8, min_p=0.05),
    ],
)
def test_drawing_follows_the_filtered_distribution(sampling):
    logits = np.random.default_rng(3).normal(size=17).astype(np.float32) * 2
    n = 4000
    uniforms = ((np.arange(n) + 0.5) / n).tolist()
    draws = Ways.of_each([sampling] * n, uniforms).draws(torch.device("cpu"))
    drawn = draw_sorted(torch.from_numpy(logits).expand(n, -1), draws)
    share = np.bincount(drawn.numpy(), minlength=17) / n
    np.testing.assert_allclose(share, plain_distribution(logits, sampling), atol=1.01 / n)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_tokens=st.integers(1, 70),
    rows=st.integers(1, 6),
    temperature=st.sampled_from([0.0, 0.7]),
)
def test_only_allowed_tokens_and_a_row_never_sees_its_neighbours(seed, n_tokens, rows, temperature):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(rows, n_tokens)).astype(np.float32))
    kinds = rng.integers(0, 3, size=rows)  # free, masked by bits, few allowed
    sets = [np.flatnonzero(rng.random(n_tokens) < 0.5) for _ in range(rows)]
    sets = [each if len(each) else np.array([0]) for each in sets]
    table = torch.from_numpy(bit_rows(sets, n_tokens))
    row_ids = np.array([-1 if kind == 0 else n for n, kind in enumerate(kinds)], dtype=np.int32)
    few = [sets[n] if kind == 2 else None for n, kind in enumerate(kinds)]
    samplings = [Sampling(temperature=temperature, top_p=0.9, seed=1) for _ in range(rows)]
    uniforms = rng.random(rows).tolist()

    ways = Ways.of_each(samplings, uniforms)
    together = mask_rows(logits.clone(), [(table, row_ids)], Few.of(few)).choose(ways)
    for n in range(rows):
        alone = mask_rows(logits[n : n + 1].clone(), [(table, row_ids[n : n + 1])], Few.of(few[n : n + 1]))
        assert alone.choose(ways.of(np.array([n])))[0] == together[n]
        allowed = np.arange(n_tokens) if kinds[n] == 0 else sets[n]
        assert together[n] in allowed
        if temperature == 0:
            assert together[n] == allowed[logits[n].numpy()[allowed].argmax()]


@pytest.mark.parametrize("by_bits", [True, False])
def test_logprobs_are_over_the_allowed_tokens(by_bits):
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    allowed = np.array([0, 2])
    few = Few.of([None] if by_bits else [allowed])
    scores = mask_rows(logits, [(torch.from_numpy(bit_rows([allowed], 4)), np.array([0], dtype=np.int32))], few)
    want = np.log(np.exp([1.0, 3.0]) / np.exp([1.0, 3.0]).sum())
    got = scores.logprob(0, 0, n_top=10)
    assert got.logprob == pytest.approx(want[0], abs=1e-6)
    assert [token for token, _ in got.top] == [2, 0]
    assert [logprob for _, logprob in got.top] == pytest.approx(want[::-1].tolist(), abs=1e-6)


def test_ties_go_to_the_lowest_id_either_way():
    logits = torch.zeros((2, 40))
    scores = Scores(logits, Few.of([None, np.array([7, 9, 30])]))
    assert scores.choose(GREEDY.of(np.zeros(2, dtype=np.int64))).tolist() == [0, 7]


@given(
    seed=st.integers(0, 2**32),
    vocab=st.integers(1, 130),
    words=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_the_compiled_loops_do_what_torch_does(seed, vocab, words):
    rng = np.random.default_rng(seed)
    table = torch.from_numpy(rng.integers(-(2**31), 2**31, (3, words), dtype=np.int32))
    row_ids = rng.integers(-1, 3, size=5).astype(np.int32)
    logits = torch.from_numpy(rng.integers(-3, 3, size=(5, vocab)).astype(np.float32)) + 0.5  # many are the same
    logits[torch.from_numpy(rng.random((5, vocab)) < 0.1)] = -torch.inf
    by_torch = logits.clone()
    apply_mask(by_torch, table, torch.from_numpy(row_ids))
    bits = logits.view(torch.int32).numpy()
    forbid(bits, table.numpy(), row_ids)
    assert torch.equal(logits, by_torch)
    rows, found = np.array([3, 0, 4]), np.empty(3, dtype=np.int64)
    likeliest(bits, rows, found)
    assert found.tolist() == logits[torch.from_numpy(rows)].argmax(dim=1).tolist()


def test_a_row_that_is_not_in_the_table_is_refused():
    masks = [(torch.zeros(2, 1, dtype=torch.int32), np.array([2], dtype=np.int32))]
    with pytest.raises(ValueError, match="mask row 2 is not in a table of 2 rows"):
        mask_rows(torch.zeros(1, 4), masks, Few.of([None]))


def test_mask_tables_on_another_device_follow_the_grammars_rows():
    tables, rng = MaskTables(), np.random.default_rng(0)
    rows = rng.integers(0, 9, size=(3000, 2)).astype(np.int32)
    for n in (1, 5, 1024, 1025, 3000):
        for serial in (3, 7, 8):
            held = tables.on(torch.device("meta"), serial, rows[:n])
            assert held.shape[0] >= n
    assert np.shares_memory(tables.on(torch.device("cpu"), 3, rows).numpy(), rows)


def test_rows_masked_by_different_tables():
    logits = torch.zeros((3, 4))
    tables = [torch.from_numpy(bit_rows([np.array([allowed])], 4)) for allowed in (1, 2)]
    ids = [np.array([0, -1, -1], dtype=np.int32), np.array([-1, -1, 0], dtype=np.int32)]
    scores = mask_rows(logits, zip(tables, ids, strict=True), Few.of([None, None, None]))
    assert scores.choose(GREEDY.of(np.zeros(3, dtype=np.int64))).tolist() == [1, 0, 2]
