"""The plain twins against torch and numpy, and what the modules do without triton or with wrong input."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from rootform.engine.kernels import extend_attention as extend
from rootform.engine.kernels import grammar, layers, mask, sampling, tree_attention, write_kv
from rootform.engine.kernels.online import Scoring
from tests.kernels.conftest import assert_close, paged

# -- masks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocab", [1, *range(63, 98)])  # where word boundaries bite
@pytest.mark.parametrize("words", [2, 3])
def test_mask_agrees_with_unpacked_bits(vocab, words):
    generator = np.random.default_rng(vocab)
    table = generator.integers(-(2**31), 2**31, (3, words), dtype=np.int32)
    bits = np.unpackbits(table.view(np.uint8), axis=1, bitorder="little")
    row_ids = [2, -1, 0, 2]
    logits = torch.from_numpy(generator.normal(size=(4, vocab)).astype(np.float32))
    expected = logits.clone()
    for row, row_id in enumerate(row_ids):
        for token in range(vocab):
            if row_id >= 0 and not (token < 32 * words and bits[row_id, token]):
                expected[row, token] = -torch.inf
    mask.apply_mask(logits, torch.from_numpy(table), torch.tensor(row_ids))
    assert torch.equal(logits, expected)


def test_bit_b_of_word_w_is_token_32_w_plus_b():
    logits = torch.zeros(1, 70)
    mask.apply_mask(logits, torch.tensor([[1 << 3, -(2**31)]], dtype=torch.int32), torch.tensor([0]))
    assert torch.nonzero(logits[0] == 0).flatten().tolist() == [3, 63]


def test_an_empty_table_masks_nothing():
    logits = torch.zeros(2, 5)
    mask.apply_mask(logits, torch.zeros(0, 1, dtype=torch.int32), torch.tensor([-1, -1]))
    assert (logits == 0).all()


@pytest.mark.parametrize(
    ("row_ids", "table", "message"),
    [
        ([0, 2], torch.zeros(2, 1, dtype=torch.int32), "must be -1 to 1 for a table of 2 rows, not 0 to 2"),
        ([0, -2], torch.zeros(2, 1, dtype=torch.int32), "not -2 to 0"),
        ([0], torch.zeros(2, 1, dtype=torch.int32), r"not \(2, 5\), \(2, 1\) and \(1,\)"),
        ([0, 0], torch.zeros(2, 1, dtype=torch.int64), "row_table must be int32"),
    ],
)
def test_wrong_masks_are_refused_and_nothing_changes(row_ids, table, message):
    logits = torch.zeros(2, 5)
    with pytest.raises(ValueError, match=message):
        mask.apply_mask(logits, table, torch.tensor(row_ids))
    assert (logits == 0).all()


# -- writing, norms -------------------------------------------------------------------------------------------


def test_rope_turns_as_transformers_does_and_lands_in_its_row():
    def turned(x):
        """Llama's rotate_half, spelled as transformers does."""
        return x * both.cos() + torch.cat([-x[..., 8:], x[..., :8]], -1) * both.sin()

    torch.manual_seed(0)
    q, k, v = torch.randn(5, 4, 16), torch.randn(5, 2, 16), torch.randn(5, 2, 8)
    angles = torch.arange(30)[:, None] * 10000 ** (-torch.arange(8) / 8)
    positions = torch.tensor([0, 29, 3, 7, 7], dtype=torch.int32)
    both = torch.cat([angles, angles], -1)[positions.long()][:, None]
    q_turned, k_turned = turned(q), turned(k)
    k_pages, v_pages = torch.zeros(4, 3, 2, 16), torch.zeros(4, 3, 2, 8)
    rows = torch.tensor([11, 0, -1, 4, 5], dtype=torch.int32)
    write_kv.write_kv(k, v, k_pages, v_pages, rows, q, positions, write_kv.Rope(angles.cos(), angles.sin()))
    assert_close(q, q_turned)
    for token, row in enumerate(rows.tolist()):
        if row >= 0:
            assert_close(k_pages[row // 3, row % 3], k_turned[token])
            assert torch.equal(v_pages[row // 3, row % 3], v[token])
    assert int((v_pages.flatten(0, 1) != 0).flatten(1).any(1).sum()) == 4


def test_norm_and_swiglu_are_torchs():
    torch.manual_seed(0)
    x, residual, weight = torch.randn(3, 20), torch.randn(3, 20), torch.randn(20)
    wanted = torch.nn.functional.rms_norm(x + residual, (20,), weight, 1e-5)
    added = x + residual
    assert_close(layers.rms_norm(x, weight, 1e-5, residual), wanted)
    assert_close(residual, added)
    assert_close(layers.rms_norm(x, weight, 1e-5), torch.nn.functional.rms_norm(x, (20,), weight, 1e-5))
    assert_close(layers.swiglu(x), torch.nn.functional.silu(x[:, :10]) * x[:, 10:])


# -- sampling -------------------------------------------------------------------------------------------------


def draws_of(n, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    def column(value):
        return torch.full((n,), value, dtype=torch.float64)

    uniform = (torch.arange(n, dtype=torch.float64) * 0.6180339887498949) % 1
    top_ks = torch.full((n,), top_k, dtype=torch.int32)
    return sampling.Draws(column(temperature), top_ks, column(top_p), column(min_p), uniform)


ALL = torch.tensor([[-1]], dtype=torch.int32)


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"top_k": 2}, [1, 3]),
        ({"top_p": 0.7}, [1, 3]),
        ({"min_p": 0.2}, [0, 1, 3]),
        ({"top_k": 3, "top_p": 0.9}, [0, 1, 3]),
        ({"temperature": 0.0}, [1]),
    ],
)
def test_tokens_come_as_often_as_they_should(filters, kept):
    chances = torch.tensor([0.125, 0.5, 0.025, 0.3, 0.05])
    n = 1500
    logits = chances.log().repeat(n, 1)
    tokens, logprobs = sampling.sample(logits, ALL, torch.full((n,), -1, dtype=torch.int32), draws_of(n, **filters))
    counts = torch.bincount(tokens.long(), minlength=5).double()
    assert set(counts.nonzero()[:, 0].tolist()) == set(kept)
    wanted = torch.zeros(5, dtype=torch.float64)
    wanted[kept] = chances.double()[kept]
    wanted *= n / wanted.sum()
    chi = ((counts - wanted)[kept].square() / wanted[kept]).sum()
    assert chi < 25  # of 4 degrees of freedom: once in 20,000 times
    assert_close(logprobs, chances.log()[tokens.long()])


def test_tokens_are_those_the_engine_draws_ties_and_all():
    from rootform.engine.ports import Few
    from rootform.engine.sample import Scores, Ways
    from rootform.engine.types import Sampling

    torch.manual_seed(0)
    ways = [
        *({"temperature": 1.0, "top_k": 4, "top_p": 0.7}, {"temperature": 0.4, "top_p": 0.3, "min_p": 0.4}),
        *({"temperature": 1.3, "min_p": 0.5}, {"temperature": 3.0, "top_k": 2}, {"temperature": 0.0}),
    ]
    n = 60 * len(ways)
    logits = (torch.randn(n, 24) * 2).round()  # most of them equal others
    table = torch.tensor([[0b1011_0110_1110_1101_1011]], dtype=torch.int32)
    rows = [row % 2 - 1 for row in range(n)]
    samplings = [Sampling(**ways[row % len(ways)]) for row in range(n)]
    uniforms = torch.rand(n, dtype=torch.float64).tolist()
    columns = [[each.temperature, each.top_p, each.min_p] for each in samplings]
    temperature, top_p, min_p = torch.tensor(columns, dtype=torch.float64).unbind(1)
    top_k = torch.tensor([each.top_k for each in samplings], dtype=torch.int32)
    draws = sampling.Draws(temperature, top_k, top_p, min_p, torch.tensor(uniforms, dtype=torch.float64))
    got, _ = sampling.sample(logits, table, torch.tensor(rows, dtype=torch.int32), draws)
    masked = logits.clone()
    mask.apply_mask(masked, table, torch.tensor(rows))
    allowed = np.flatnonzero(np.unpackbits(table.numpy().view(np.uint8), bitorder="little")[:24])
    for few in ([None] * n, [allowed if row == 0 else None for row in rows]):
        assert Scores(masked, Few.of(few)).choose(Ways.of_each(samplings, uniforms)).tolist() == got.tolist()


def test_a_row_is_drawn_by_its_own_number_alone():
    logits = torch.randn(6, 40)
    ids = torch.zeros(6, dtype=torch.int32)
    table = torch.tensor([[-1, 0b10]], dtype=torch.int32)
    draws = draws_of(6)
    tokens, _ = sampling.sample(logits, table, ids, draws)
    assert all(token < 32 or token == 33 for token in tokens.tolist())
    backwards = sampling.Draws(*(each.flip(0) for each in draws))
    assert sampling.sample(logits.flip(0), table, ids, backwards)[0].flip(0).tolist() == tokens.tolist()
    other = sampling.sample(logits, table, ids, draws._replace(uniform=draws.uniform.flip(0)))[0]
    assert other.tolist() != tokens.tolist()


def test_nothing_allowed_gives_no_token():
    table = torch.zeros(1, 2, dtype=torch.int32)
    tokens, logprobs = sampling.sample(torch.randn(1, 40), table, torch.zeros(1, dtype=torch.int32), draws_of(1))
    assert tokens.tolist() == [-1]
    assert logprobs.tolist() == [-torch.inf]


# -- what does not fit ----------------------------------------------------------------------------------------


def refusals():
    arrays, _ = paged([3])
    pools = arrays["k_pages"], arrays["v_pages"]
    one, none = torch.ones(1, dtype=torch.int32), torch.zeros(0, dtype=torch.int32)
    q, rows = torch.zeros(1, 6, 16), (arrays["block_table"], arrays["lengths"])
    wide = extend.Draft(torch.zeros(1, 0, dtype=torch.int32), one)
    units = tree_attention.Units(torch.zeros(0, 5, dtype=torch.int32), 0, none, none, one, one, none)
    k, v = torch.zeros(1, 2, 16), torch.zeros(1, 2, 16)
    sequences = torch.zeros(1, 3, dtype=torch.int32)
    tables = grammar.Tables(*[one] * 11)
    return [
        (lambda: extend.extend_attention(q, *pools, *rows, one - 1, one, 2, Scoring(1.0)), "most_queries is 2"),
        (lambda: extend.extend_attention(q, *pools, *rows, one[:0], one, 1, Scoring(1.0)), "query_starts must be"),
        (lambda: extend.extend_attention(q, *pools, *rows, one - 1, one, 1, Scoring(1.0), wide), "0 words for 1 new"),
        (lambda: tree_attention.tree_attention(q, *pools, one, units, Scoring(1.0)), r"units must be \(u, 6\)"),
        (lambda: write_kv.write_kv(k, v[:, :1], *pools, one), "do not fit pages"),
        (lambda: write_kv.write_kv(k, v, *pools, one, q), "for rope only"),
        (lambda: write_kv.write_kv(k, v, *pools, one[:0]), r"rows must be \(1,\) int32"),
        (lambda: layers.rms_norm(torch.zeros(2, 3), torch.zeros(4), 1e-5), "weight"),
        (lambda: sampling.sample(torch.zeros(2, 3), ALL, one, draws_of(2)), r"row_ids must be \(2,\)"),
        (lambda: grammar.advance(sequences, one, one[:0], tables, 1), "slots and tokens"),
        (lambda: grammar.advance(sequences, one, one, tables, 1), "stay must be torch.uint8"),
    ]


@pytest.mark.parametrize("n", range(11))
def test_what_does_not_fit_is_refused(n):
    call, message = refusals()[n]
    with pytest.raises(ValueError, match=message):
        call()


# -- without triton -------------------------------------------------------------------------------------------


WITHOUT = """
import sys
sys.modules["triton"] = None
import torch
from rootform.engine.kernels import decode_attention, extend_attention, layers, mask, merge, sampling, write_kv
from rootform.engine.kernels import grammar, tree_attention

logits = torch.zeros(1, 3)
table, row_ids = torch.tensor([[0b101]], dtype=torch.int32), torch.tensor([0])
mask.apply_mask(logits, table, row_ids)
assert logits.tolist() == [[0, -torch.inf, 0]]
assert layers.swiglu(torch.zeros(2, 4)).shape == (2, 2)
for call in (lambda: mask.apply_mask_triton(logits, table, row_ids), lambda: layers.swiglu_triton(logits)):
    try:
        call()
    except ImportError as error:
        assert "pip install triton" in str(error)
    else:
        raise AssertionError("a kernel ran without triton")
"""


def test_the_twins_need_no_triton():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
