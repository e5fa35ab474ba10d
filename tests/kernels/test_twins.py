"""The plain twins against torch and numpy, and what the modules do without triton or with wrong input."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from rootform.engine.kernels import decode_attention as attention
from rootform.engine.kernels import extend_attention as extend
from rootform.engine.kernels import grammar, layers, mask, merge, sampling, tree_attention, write_kv
from rootform.engine.kernels.online import Scoring
from rootform.engine.paged_plan import compose


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
    out, lse = attention.decode_attention(**arrays, scoring=Scoring(0.3, window))
    for i, (k, v) in enumerate(dense):
        first = 0 if window is None else max(0, lengths[i] - window)
        k, v = (x[first:].transpose(0, 1).repeat_interleave(3, 0) for x in (k, v))
        q = arrays["q"][i][:, None]
        expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=0.3)[:, 0]
        assert_close(out[i], expected)
        assert_close(lse[i], (q @ k.mT * 0.3).logsumexp(-1)[:, 0])


def test_softcap_bounds_the_scores():
    arrays, dense = paged([9])
    out, lse = attention.decode_attention(**arrays, scoring=Scoring(1.0, softcap=1.5))
    k, v = (x.transpose(0, 1).repeat_interleave(3, 0) for x in dense[0])
    scores = 1.5 * torch.tanh((k @ arrays["q"][0][:, :, None])[:, :, 0] / 1.5)
    assert_close(out[0], (scores.softmax(-1)[:, None] @ v)[:, 0])
    assert_close(lse[0], scores.exp().sum(-1).log())


def test_no_keys_give_zero_and_minus_infinity():
    arrays, _ = paged([0, 3])
    out, lse = attention.decode_attention(**arrays, scoring=Scoring(1.0))
    assert (out[0] == 0).all()
    assert (lse[0] == -torch.inf).all()


@pytest.mark.parametrize("window", [None, 6])
def test_a_prefix_and_a_suffix_merge_to_the_whole(window):
    """Each sequence's first two pages are a prefix; the parts know by `positions` where the query stands."""
    arrays, _ = paged([8, 9, 17, 20])
    whole = attention.decode_attention(**arrays, scoring=Scoring(0.3, window))
    prefix = arrays | {
        "block_table": arrays["block_table"][:, :2],
        "lengths": torch.full((4,), 8, dtype=torch.int32),
    }
    suffix = arrays | {"block_table": arrays["block_table"][:, 2:], "lengths": arrays["lengths"] - 8}
    stands_at = arrays["lengths"] - 1
    a = attention.decode_attention(**prefix, scoring=Scoring(0.3, window), positions=stands_at)
    b = attention.decode_attention(**suffix, scoring=Scoring(0.3, window), positions=stands_at - 8)
    for merged, expected in zip(merge.merge_attention(*a, *b), whole, strict=True):
        assert_close(merged, expected)


def test_a_shared_prefix_is_attended_once_by_stacked_queries():
    arrays, _ = paged([12, 12, 12], kv_heads=2, group=3)
    arrays["block_table"][:] = arrays["block_table"][0].clone()
    each, each_lse = attention.decode_attention(**arrays, scoring=Scoring(0.3))
    stacked = arrays["q"].unflatten(1, (2, 3)).transpose(0, 1).reshape(1, 2 * 3 * 3, 16)
    one = {"q": stacked, "block_table": arrays["block_table"][:1], "lengths": arrays["lengths"][:1]}
    out, lse = attention.decode_attention(**(arrays | one), scoring=Scoring(0.3))
    assert_close(out.view(2, 3, 3, 16).transpose(0, 1).flatten(1, 2), each)
    assert_close(lse.view(2, 3, 3).transpose(0, 1).flatten(1), each_lse)


def test_merging_with_nothing_changes_nothing():
    out, lse = torch.randn(2, 3, 4), torch.randn(2, 3)
    empty = torch.zeros(2, 3, 4), torch.full((2, 3), -torch.inf)
    for merged in (merge.merge_attention(out, lse, *empty), merge.merge_attention(*empty, out, lse)):
        assert torch.equal(merged[0], out)
        assert torch.equal(merged[1], lse)
    both = merge.merge_attention(*empty, *empty)
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
        ({"scoring": Scoring(1.0, window=0)}, "window is 0"),
        ({"scoring": Scoring(1.0, softcap=0.0)}, "softcap is 0.0"),
        ({"scoring": Scoring(1.0, sinks=torch.zeros(2))}, r"sinks must be \(6,\)"),
    ],
)
def test_attention_that_does_not_fit_is_refused(change, message):
    arrays, _ = paged([3, 4])
    with pytest.raises(ValueError, match=message):
        attention.decode_attention(**(arrays | {"scoring": Scoring(1.0)} | change))


# -- several tokens -------------------------------------------------------------------------------------------


def dense_attention(q, k, v, is_seen, scale, sinks=None):
    """q (t, heads, d), k and v (n, kv_heads, d), is_seen (t, n): the obvious softmax."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1).transpose(0, 1) for x in (k, v))
    scores = (q.transpose(0, 1) @ k.mT * scale).masked_fill(~is_seen, -torch.inf)
    if sinks is not None:
        scores = torch.cat([scores, sinks[:, None, None].expand(-1, len(q), 1)], -1)
        v = torch.cat([v, v.new_zeros(len(v), 1, v.shape[2])], 1)
    return (scores.softmax(-1) @ v).transpose(0, 1)


@pytest.mark.parametrize("window", [None, 3])
def test_new_tokens_see_what_stood_before_and_up_to_themselves(window):
    pasts, counts = [0, 5, 9], [4, 1, 2]
    lengths = [a + b for a, b in zip(pasts, counts, strict=True)]
    arrays, dense = paged(lengths)
    q, sinks = torch.randn(7, 6, 16), torch.randn(6)
    stops = torch.tensor(counts).cumsum(0).int()
    rows = arrays["block_table"], arrays["lengths"], stops - torch.tensor(counts).int(), stops, 4
    out, _ = extend.extend_attention(q, arrays["k_pages"], arrays["v_pages"], *rows, Scoring(0.3, window, None, sinks))
    first = 0
    for past, count, (k, v) in zip(pasts, counts, dense, strict=True):
        distance = torch.arange(past, past + count)[:, None] - torch.arange(past + count)
        is_seen = (distance >= 0) & (distance < (window or 99))
        wanted = dense_attention(q[first : first + count], k, v, is_seen, 0.3, sinks)
        assert_close(out[first : first + count], wanted)
        first += count


def test_a_draft_that_branches_is_verified_like_its_branches_one_by_one():
    """Token 0, then 1 and 2 on it, then 3 on 1: each path gives what it gives as a sequence of its own."""
    arrays, dense = paged([12])
    parents = [None, 0, 0, 1]
    paths = [[0], [0, 1], [0, 2], [0, 1, 3]]
    bits = torch.tensor([[sum(1 << i for i in path)] for path in paths], dtype=torch.int32)
    positions = torch.tensor([8 + len(path) - 1 for path in paths], dtype=torch.int32)
    q = torch.randn(4, 6, 16)
    first, stop = torch.tensor([0], dtype=torch.int32), torch.tensor([4], dtype=torch.int32)
    rows = arrays["block_table"], arrays["lengths"], first, stop, 4
    draft = extend.Draft(bits, positions)
    out, _ = extend.extend_attention(q, arrays["k_pages"], arrays["v_pages"], *rows, Scoring(0.3, 5), draft)
    k, v = dense[0]
    for token, path in enumerate(paths):
        rows = [*range(8), *(8 + i for i in path)][-5:]  # the window counts along the path
        assert_close(
            out[token], dense_attention(q[token][None], k[rows], v[rows], torch.ones(1, len(rows)) > 0, 0.3)[0]
        )
    assert parents == [path[-2] if len(path) > 1 else None for path in paths]


def test_new_tokens_leave_other_rows_alone():
    arrays, _ = paged([6])
    q, out = torch.randn(5, 6, 16), torch.full((5, 6, 16), 7.0)
    first, stop = torch.tensor([2], dtype=torch.int32), torch.tensor([4], dtype=torch.int32)
    rows = arrays["block_table"], arrays["lengths"], first, stop, 2
    extend.extend_attention(q, arrays["k_pages"], arrays["v_pages"], *rows, Scoring(0.3), None, out)
    assert (out[[0, 1, 4]] == 7).all()
    assert (out[2:4] != 7).all()


@pytest.mark.parametrize("window", [None, 30])
def test_a_tree_read_together_gives_what_each_sequence_gives_alone(window):
    """Three levels of shared pages, sequences of several query tokens: against decode_attention on whole tables."""
    torch.manual_seed(0)
    ids = torch.randperm(200).int().numpy()
    trunk, left, right, twig = ids[:40], ids[40:80], ids[80:85], ids[85:120]
    own = [ids[120 + 3 * i : 123 + 3 * i] for i in range(6)]
    heads = [[trunk, left, twig], [trunk, left, twig], [trunk, left], [trunk, right], [trunk, right], [trunk]]
    tables = [np.concatenate([*head, tail]) for head, tail in zip(heads, own, strict=True)]
    counts = np.array([1, 2, 1, 1, 3, 1])
    lengths = np.array([len(table) * 4 - 12 + n for table, n in zip(tables, (1, 9, 4, 5, 12, 7), strict=True)])
    k, v = torch.randn(2, 200, 4, 2, 16)
    q, starts = torch.randn(9, 6, 16), np.cumsum(counts) - counts
    n_pages = np.array([len(each) for each in tables])
    padded = np.array([np.pad(each, (0, n_pages.max() - len(each))) for each in tables], dtype=np.int32)
    work = compose(padded, n_pages, starts, counts, 9, 3, 4)
    work.set_lengths(lengths)
    assert [len(each.sequences) for each in work.prefixes] == [6, 3, 2]  # the right branch is too short to be worth it
    arrays = map(torch.from_numpy, (work.pages, work.readers, work.starts, work.stops, work.order))
    units = tree_attention.Units(torch.from_numpy(work.units), work.n_wide, *arrays)
    stands_at = np.concatenate([np.arange(b - c, b) for b, c in zip(lengths, counts, strict=True)]).astype(np.int32)
    scoring = Scoring(0.3, window, None, torch.randn(6))
    got = tree_attention.tree_attention(q, k, v, torch.from_numpy(stands_at), units, scoring)
    owners = np.repeat(np.arange(6), counts)
    table = torch.zeros(9, max(map(len, tables)), dtype=torch.int32)
    for row, owner in enumerate(owners):
        table[row, : len(tables[owner])] = torch.from_numpy(tables[owner])
    wanted = attention.decode_attention(q, k, v, table, torch.from_numpy(stands_at) + 1, scoring)
    for ours, theirs in zip(got, wanted, strict=True):
        assert_close(ours, theirs)
    merged = tree_attention.tree_attention_plain(
        q, k, v, torch.from_numpy(stands_at), units, scoring._replace(sinks=None)
    )
    assert not torch.allclose(merged[0], got[0])


def test_merged_parts_are_one_softmax():
    parts = [3, 1, 0, 4]
    starts = torch.tensor([0, 3, 4, 4], dtype=torch.int32)
    stops = starts + torch.tensor(parts, dtype=torch.int32)
    scores, values = torch.randn(8, 2, 5), torch.randn(8, 2, 5, 3)
    lse = scores.logsumexp(-1)
    out = torch.einsum("phk,phkd->phd", scores.softmax(-1), values)
    got, got_lse = merge.merge_parts(out, lse, starts, stops, None, torch.float32)
    for i, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        together = scores[start:stop].transpose(0, 1).flatten(1)
        wanted = torch.einsum("hk,hkd->hd", together.softmax(-1), values[start:stop].transpose(0, 1).flatten(1, 2))
        assert_close(got[i], wanted)
        assert_close(got_lse[i], together.logsumexp(-1) if parts[i] else torch.full((2,), -torch.inf))


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
