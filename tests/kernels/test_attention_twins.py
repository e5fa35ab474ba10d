"""The plain twins of attention kernels against torch and a softmax written out."""

import numpy as np
import pytest
import torch

from rootform.engine.kernels import decode_attention as attention
from rootform.engine.kernels import extend_attention as extend
from rootform.engine.kernels import merge, tree_attention
from rootform.engine.kernels.online import Scoring
from rootform.engine.paged_plan import compose
from tests.kernels.conftest import assert_close, paged

# -- one token of each sequence -------------------------------------------------------------------------------


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
