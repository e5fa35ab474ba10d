"""The plain twins against torch and numpy, and what the modules do without triton or with wrong input."""

import importlib.util
import sys

import numpy as np
import pytest
import torch

from rootform.engine.kernels import decode_attention as attention
from rootform.engine.kernels import mask


def assert_close(got: torch.Tensor, expected: torch.Tensor) -> None:
    """As torch.testing's, without the second it takes to import."""
    assert got.shape == expected.shape
    assert torch.allclose(got, expected, atol=1e-5, rtol=1e-5), (got - expected).abs().max()


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


# -- attention ------------------------------------------------------------------------------------------------


def paged(lengths, page_tokens=4, kv_heads=2, group=3, head_dim=16):
    """A batch whose tables are shuffled, and the same keys and values as one dense row per sequence."""
    torch.manual_seed(0)
    n, max_pages = len(lengths), -(-max(lengths) // page_tokens)
    table = torch.randperm(n * max_pages).view(n, max_pages).int()
    k, v = torch.randn(2, n * max_pages, page_tokens, kv_heads, head_dim)
    arrays = {
        "q": torch.randn(n, kv_heads * group, head_dim),
        "k_pages": k,
        "v_pages": v,
        "block_table": table,
        "lengths": torch.tensor(lengths, dtype=torch.int32),
    }
    dense = [
        (k[row.long()].flatten(0, 1)[:length], v[row.long()].flatten(0, 1)[:length])
        for row, length in zip(table, lengths, strict=True)
    ]
    return arrays, dense


@pytest.mark.parametrize("window", [None, 1, 5])
def test_attention_agrees_with_torch(window):
    lengths = [1, 4, 9, 11]
    arrays, dense = paged(lengths)
    out, lse = attention.decode_attention(**arrays, scale=0.3, window=window)
    for i, (k, v) in enumerate(dense):
        first = 0 if window is None else max(0, lengths[i] - window)
        k, v = (x[first:].transpose(0, 1).repeat_interleave(3, 0) for x in (k, v))
        q = arrays["q"][i][:, None]
        expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=0.3)[:, 0]
        assert_close(out[i], expected)
        assert_close(lse[i], (q @ k.mT * 0.3).logsumexp(-1)[:, 0])


def test_softcap_bounds_the_scores():
    arrays, dense = paged([9])
    out, lse = attention.decode_attention(**arrays, scale=1.0, softcap=1.5)
    k, v = (x.transpose(0, 1).repeat_interleave(3, 0) for x in dense[0])
    scores = 1.5 * torch.tanh((k @ arrays["q"][0][:, :, None])[:, :, 0] / 1.5)
    assert_close(out[0], (scores.softmax(-1)[:, None] @ v)[:, 0])
    assert_close(lse[0], scores.exp().sum(-1).log())


def test_no_keys_give_zero_and_minus_infinity():
    arrays, _ = paged([0, 3])
    out, lse = attention.decode_attention(**arrays, scale=1.0)
    assert (out[0] == 0).all()
    assert (lse[0] == -torch.inf).all()


@pytest.mark.parametrize("window", [None, 6])
def test_a_prefix_and_a_suffix_merge_to_the_whole(window):
    """Each sequence's first two pages are a prefix; the parts know by `positions` where the query stands."""
    arrays, _ = paged([8, 9, 17, 20])
    whole = attention.decode_attention(**arrays, scale=0.3, window=window)
    prefix = arrays | {
        "block_table": arrays["block_table"][:, :2],
        "lengths": torch.full((4,), 8, dtype=torch.int32),
    }
    suffix = arrays | {"block_table": arrays["block_table"][:, 2:], "lengths": arrays["lengths"] - 8}
    stands_at = arrays["lengths"] - 1
    a = attention.decode_attention(**prefix, scale=0.3, window=window, positions=stands_at)
    b = attention.decode_attention(**suffix, scale=0.3, window=window, positions=stands_at - 8)
    for merged, expected in zip(attention.merge_attention(*a, *b), whole, strict=True):
        assert_close(merged, expected)


def test_a_shared_prefix_is_attended_once_by_stacked_queries():
    arrays, _ = paged([12, 12, 12], kv_heads=2, group=3)
    arrays["block_table"][:] = arrays["block_table"][0].clone()
    each, each_lse = attention.decode_attention(**arrays, scale=0.3)
    stacked = arrays["q"].unflatten(1, (2, 3)).transpose(0, 1).reshape(1, 2 * 3 * 3, 16)
    one = {"q": stacked, "block_table": arrays["block_table"][:1], "lengths": arrays["lengths"][:1]}
    out, lse = attention.decode_attention(**(arrays | one), scale=0.3)
    assert_close(out.view(2, 3, 3, 16).transpose(0, 1).flatten(1, 2), each)
    assert_close(lse.view(2, 3, 3).transpose(0, 1).flatten(1), each_lse)


def test_merging_with_nothing_changes_nothing():
    out, lse = torch.randn(2, 3, 4), torch.randn(2, 3)
    empty = torch.zeros(2, 3, 4), torch.full((2, 3), -torch.inf)
    for merged in (attention.merge_attention(out, lse, *empty), attention.merge_attention(*empty, out, lse)):
        assert torch.equal(merged[0], out)
        assert torch.equal(merged[1], lse)
    both = attention.merge_attention(*empty, *empty)
    assert torch.equal(both[0], empty[0])
    assert torch.equal(both[1], empty[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": torch.zeros(2, 5, 16)}, "5 query heads cannot share 2 KV heads"),
        ({"q": torch.zeros(2, 6, 8)}, "must end in q's head_dim, 8"),
        ({"q": torch.zeros(2, 6, 16, dtype=torch.float16)}, "must share a dtype"),
        ({"block_table": torch.zeros(3, 2, dtype=torch.int32)}, r"must be \(2, max_pages\) int32"),
        ({"lengths": torch.zeros(2, dtype=torch.int64)}, r"lengths must be \(2,\) int32"),
        ({"positions": torch.zeros(3, dtype=torch.int32)}, r"positions must be \(2,\) int32"),
        ({"window": 0}, "window is 0"),
        ({"softcap": 0.0}, "softcap is 0.0"),
    ],
)
def test_attention_that_does_not_fit_is_refused(change, message):
    arrays, _ = paged([3, 4])
    with pytest.raises(ValueError, match=message):
        attention.decode_attention(**(arrays | {"scale": 1.0} | change))


# -- without triton -------------------------------------------------------------------------------------------


@pytest.fixture
def without_triton(monkeypatch):
    """Both modules, loaded afresh where `import triton` fails."""
    monkeypatch.setitem(sys.modules, "triton", None)
    loaded = []
    for module in (mask, attention):
        spec = importlib.util.spec_from_file_location(f"{module.__name__}_alone", module.__file__)
        assert spec is not None
        assert spec.loader is not None
        loaded.append(importlib.util.module_from_spec(spec))
        spec.loader.exec_module(loaded[-1])
    return loaded


def test_the_twins_need_no_triton(without_triton):
    plain_mask, plain_attention = without_triton
    logits = torch.zeros(1, 3)
    table, row_ids = torch.tensor([[0b101]], dtype=torch.int32), torch.tensor([0])
    plain_mask.apply_mask(logits, table, row_ids)
    assert logits.tolist() == [[0, -torch.inf, 0]]
    with pytest.raises(ImportError, match="pip install triton"):
        plain_mask.apply_mask_triton(logits, table, row_ids)
    arrays, _ = paged([3])
    out, _ = plain_attention.decode_attention(**arrays, scale=1.0)
    assert torch.equal(out, attention.decode_attention(**arrays, scale=1.0)[0])
    with pytest.raises(ImportError, match="pip install triton"):
        plain_attention.decode_attention_triton(**arrays, scale=1.0)
