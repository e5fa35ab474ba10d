"""One token for each row of logits: mask, temperature, top-k, top-p, min-p and a draw. Kernel and twin.

Tokens are drawn by inverting their cumulated probabilities, likeliest first, at a number the caller brings: so the same
numbers give the same tokens wherever they are drawn, up to the rounding of sums. The kernel sorts nothing, and nothing
goes to the host. What a filter leaves is always the likeliest so many tokens, so all that need be known of them is
their mass; and where a mass is reached is found by bisection over the numbers a float can be. A row's token does not
depend on its neighbours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from .mask import allowed_tokens
from .tiles import HAS_TRITON, need_contiguous_ends, need_triton

_BLOCK = 2048  # logits read at once
_WAYS = 8  # thresholds tried at once
_ROUNDS = 11  # of _WAYS + 1 parts each: more than the 2^32 numbers there are


class Draws(NamedTuple):
    """How each row is drawn, (n,) tensors: float64, top_k int32.

    Filters as in transformers and vLLM, in the order temperature, top_k, top_p, min_p, each seeing what the one before
    left. temperature 0: the likeliest, lowest id first.  top_k 0, top_p 1, min_p 0: all.  uniform: the number in
    [0, 1) at which the cumulated probabilities of what is left, likeliest first, are inverted; unused by greedy rows.
    """

    temperature: torch.Tensor
    top_k: torch.Tensor
    top_p: torch.Tensor
    min_p: torch.Tensor
    uniform: torch.Tensor


def sample(
    logits: torch.Tensor, row_table: torch.Tensor, row_ids: torch.Tensor, draws: Draws
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose tokens: the kernel for CUDA tensors, the twin elsewhere. See sample_plain."""
    return (sample_triton if logits.is_cuda else sample_plain)(logits, row_table, row_ids, draws)


def sample_plain(
    logits: torch.Tensor, row_table: torch.Tensor, row_ids: torch.Tensor, draws: Draws
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose one token for each row. The plain twin of sample_triton.

    logits: (n, vocab) float, -inf: never.  row_table: (n_rows, words) int32, row_ids: (n,) int32, as in
    mask.apply_mask_plain.
    Returns tokens (n,) int32, -1 where nothing is allowed, and logprobs (n,) float32: natural logs, over the allowed
    tokens, before temperature and filters; -inf with token -1.
    """
    _check(logits, row_table, row_ids, draws)
    tokens = torch.full((len(logits),), -1, dtype=torch.int32, device=logits.device)
    logprobs = torch.full((len(logits),), -torch.inf, device=logits.device)
    for row, row_id in enumerate(row_ids.tolist()):
        scores = logits[row].double()
        if row_id >= 0:
            scores = scores.masked_fill(~allowed_tokens(row_table[row_id], logits.shape[1]), -torch.inf)
        if (scores == -torch.inf).all():
            continue
        own = Draws(*(each[row : row + 1] for each in draws))
        drawn = own.temperature.item() > 0
        token = int(draw_sorted(scores[None], own)) if drawn else int(scores.argmax())
        tokens[row] = token
        logprobs[row] = scores[token] - scores.logsumexp(0)
    return tokens, logprobs


def draw_sorted(logits: torch.Tensor, draws: Draws) -> torch.Tensor:
    """One column for each row, drawn by inverting the cumulated probabilities at its uniform number; int64.

    logits: (rows, columns), -inf: never. float64 and a sort that keeps ties in order, so that columns of -inf added by
    neighbours change nothing. Temperatures are above 0.
    """
    weights, order = filter_sorted(logits, draws)
    so_far = weights.cumsum(dim=1)
    ranks = (so_far <= _column(draws.uniform) * so_far[:, -1:]).sum(dim=1)
    ranks = ranks.minimum((weights > 0).sum(dim=1) - 1)
    return order.gather(1, ranks[:, None])[:, 0]


def filter_sorted(logits: torch.Tensor, draws: Draws) -> tuple[torch.Tensor, torch.Tensor]:
    """How likely each column is to be drawn, up to a factor for each row, and the columns; both likeliest first, equal
    ones in order."""
    n_columns = logits.shape[1]
    hot, order = torch.sort(logits.double() / _column(draws.temperature), descending=True, stable=True)
    weights = (hot - hot[:, :1]).exp()
    rank = torch.arange(n_columns, device=logits.device)
    top_k = _column(draws.top_k)
    weights *= rank < torch.where(top_k == 0, n_columns, top_k)
    so_far = weights.cumsum(dim=1)
    weights *= so_far - weights < _column(draws.top_p) * so_far[:, -1:]
    weights *= weights >= _column(draws.min_p) * weights[:, :1]
    return weights, order


def _column(row: torch.Tensor) -> torch.Tensor:
    return row.double()[:, None]


def _check(logits: torch.Tensor, row_table: torch.Tensor, row_ids: torch.Tensor, draws: Draws) -> None:
    n = len(logits)
    if logits.ndim != 2 or not logits.shape[1]:
        raise ValueError(f"logits must be (n, vocab), not {tuple(logits.shape)}")
    if row_table.ndim != 2 or row_table.dtype != torch.int32:
        raise ValueError(f"row_table must be (n_rows, words) int32, not {tuple(row_table.shape)} {row_table.dtype}")
    number = torch.float64
    wanted = (number, torch.int32, number, number, number)
    for name, row, dtype in (
        ("row_ids", row_ids, torch.int32),
        *zip(Draws._fields, draws, wanted, strict=True),
    ):
        if row.shape != (n,) or row.dtype != dtype:
            raise ValueError(f"{name} must be ({n},) {dtype}, not {tuple(row.shape)} {row.dtype}")


def sample_triton(
    logits: torch.Tensor, row_table: torch.Tensor, row_ids: torch.Tensor, draws: Draws
) -> tuple[torch.Tensor, torch.Tensor]:
    """sample_plain as one kernel, in float32. Rows of logits and of the table must be contiguous in themselves.

    Row ids are not checked. Raises ImportError where triton is not installed.
    """
    need_triton("sampling")
    _check(logits, row_table, row_ids, draws)
    need_contiguous_ends("sample_triton", logits, row_table)
    tokens = torch.empty(len(logits), dtype=torch.int32, device=logits.device)
    logprobs = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    if len(logits):
        sample_kernel[(len(logits),)](
            logits,
            row_table,
            row_ids,
            *draws,
            tokens,
            logprobs,
            logits.shape[1],
            row_table.shape[1],
            logits.stride(0),
            row_table.stride(0),
            WAYS=_WAYS,
            ROUNDS=_ROUNDS,
            BLOCK=_BLOCK,
            num_warps=8,
        )
    return tokens, logprobs


if HAS_TRITON:
    import triton
    import triton.language as tl

    jit: Any = triton.jit  # a launch takes more arguments than the function

    @jit
    def masked_block(row, bits, is_masked, token, vocab, words):
        """Logits as float32, -inf where they are not allowed. bits: the row of the table, or anything unmasked."""
        is_there = token < vocab
        scores = tl.load(row + token, mask=is_there, other=float("-inf")).to(tl.float32)
        if is_masked:
            word = tl.load(bits + token // 32, mask=is_there & (token // 32 < words), other=0)
            scores = tl.where(((word >> (token % 32)) & 1) == 1, scores, float("-inf"))
        return scores

    @jit
    def as_float(order):
        """The float32 whose place among all of them is `order`, int32: the inverse of bits that sort as numbers do."""
        return tl.where(order >= 0, order, order ^ 0x7FFFFFFF).to(tl.float32, bitcast=True)

    @jit
    def place_of(number):
        """The inverse of as_float, as int64."""
        bits = tl.cast(number, tl.int32, bitcast=True)
        return tl.where(bits >= 0, bits, bits ^ 0x7FFFFFFF).to(tl.int64)

    @jit
    def mass_before(
        row,
        bits,
        is_masked,
        vocab,
        words,
        lowest,
        highest,
        per_degree,
        limit,
        COUNTS: tl.constexpr,
        WAYS: tl.constexpr,
        ROUNDS: tl.constexpr,
        BLOCK: tl.constexpr,
    ):
        """Where the mass of tokens, likeliest first, first comes to be more than `limit`: the logit t of the token
        there; the mass above it, of tokens whose logits are above t, and their number; and how many have the logit t.

        t is the least logit such that the mass above it is at most limit. lowest, highest: of the logits that count. A
        token's mass is 1 (COUNTS, in the search alone), or exp((logit - highest) * per_degree).
        """
        way = tl.arange(0, WAYS)
        # t is in (below, upto], as places among all floats
        below = place_of(lowest) - 1
        upto = place_of(highest)
        for _ in range(ROUNDS):
            step = (upto - below + WAYS) // (WAYS + 1)  # rounded up, so that the last part is no longer than others
            tried = tl.minimum(below + step * (way + 1), upto)
            numbers = as_float(tried.to(tl.int32))
            above = tl.zeros([WAYS], tl.float32)
            for block in range(0, vocab, BLOCK):
                scores = masked_block(row, bits, is_masked, block + tl.arange(0, BLOCK), vocab, words)
                masses = tl.full([BLOCK], 1.0, tl.float32) if COUNTS else tl.exp((scores - highest) * per_degree)
                masses = tl.where(scores > float("-inf"), masses, 0.0)
                above += tl.sum(tl.where(scores[:, None] > numbers[None, :], masses[:, None], 0.0), 0)
            # `above` falls with the numbers: t is at most the first that leaves no more than the limit above it
            is_enough = above <= limit
            upto = tl.minimum(upto, tl.min(tl.where(is_enough, tried, upto), 0))
            below = tl.maximum(below, tl.max(tl.where(is_enough, below, tried), 0))
        t = as_float(upto.to(tl.int32))
        above_t = 0.0
        n_above = 0.0
        n_ties = 0.0
        for block in range(0, vocab, BLOCK):
            scores = masked_block(row, bits, is_masked, block + tl.arange(0, BLOCK), vocab, words)
            is_above = scores > t
            above_t += tl.sum(tl.where(is_above, tl.exp((scores - highest) * per_degree), 0.0), 0)
            n_above += tl.sum(tl.where(is_above, 1.0, 0.0), 0)
            n_ties += tl.sum(tl.where(scores == t, 1.0, 0.0), 0)
        return t, above_t, n_above, n_ties

    @jit(
        do_not_specialize_on_alignment=["row_ids", "temperatures", "top_ks", "top_ps", "min_ps", "uniforms"],
        do_not_specialize=["words", "table_stride"],
    )
    def sample_kernel(
        logits,
        row_table,
        row_ids,
        temperatures,
        top_ks,
        top_ps,
        min_ps,
        uniforms,
        tokens,
        logprobs,
        vocab,
        words,
        logits_stride,
        table_stride,
        WAYS: tl.constexpr,
        ROUNDS: tl.constexpr,
        BLOCK: tl.constexpr,
    ):
        """One program: one row."""
        n = tl.program_id(0).to(tl.int64)
        row = logits + n * logits_stride
        row_id = tl.load(row_ids + n).to(tl.int64)
        is_masked = row_id >= 0
        bits = row_table + tl.maximum(row_id, 0) * table_stride
        temperature = tl.load(temperatures + n).to(tl.float32)

        highest = float("-inf")
        total = 0.0
        allowed = 0.0
        chosen = -1
        for block in range(0, vocab, BLOCK):
            token = block + tl.arange(0, BLOCK)
            scores = masked_block(row, bits, is_masked, token, vocab, words)
            block_highest = tl.max(scores, 0)
            if block_highest > highest:
                first = tl.min(tl.where(scores == block_highest, token, 2147483647), 0)
                total = total * tl.exp(highest - block_highest)
                highest = block_highest
                chosen = first
            finite = tl.where(highest == float("-inf"), 0.0, highest)
            total += tl.sum(tl.exp(scores - finite), 0)
            allowed += tl.sum(tl.where(scores > float("-inf"), 1.0, 0.0), 0)
        chosen_score = highest

        if (temperature > 0) & (chosen >= 0):
            per_degree = 1 / temperature
            top_k = tl.load(top_ks + n)
            top_p = tl.load(top_ps + n).to(tl.float32)
            min_p = tl.load(min_ps + n).to(tl.float32)
            mass = 0.0  # of the tokens that filters leave, which are always the likeliest so many
            likely = 0.0  # of those that min_p would leave alone
            lowest = highest  # the last that is left; of those that equal it, n_lowest are
            n_lowest = 2147483647.0
            least = highest
            for block in range(0, vocab, BLOCK):
                scores = masked_block(row, bits, is_masked, block + tl.arange(0, BLOCK), vocab, words)
                masses = tl.where(scores > float("-inf"), tl.exp((scores - highest) * per_degree), 0.0)
                mass += tl.sum(masses, 0)
                likely += tl.sum(tl.where(masses >= min_p, masses, 0.0), 0)
                lowest = tl.minimum(lowest, tl.min(tl.where(masses > 0, scores, highest), 0))
                least = tl.minimum(least, tl.min(tl.where((masses > 0) & (masses >= min_p), scores, highest), 0))
            if (top_k > 0) & (top_k < allowed):
                most = (top_k - 1).to(tl.float32)
                t, above, n_above, n_ties = mass_before(
                    *(row, bits, is_masked, vocab, words, lowest, highest, per_degree, most),
                    *(True, WAYS, ROUNDS, BLOCK),
                )
                lowest = t
                n_lowest = tl.minimum(top_k - n_above, n_ties)
                mass = above + n_lowest * tl.exp((t - highest) * per_degree)
            if top_p < 1:
                limit = top_p * mass
                t, above, n_above, n_ties = mass_before(
                    *(row, bits, is_masked, vocab, words, lowest, highest, per_degree, limit),
                    *(False, WAYS, ROUNDS, BLOCK),
                )
                each = tl.exp((t - highest) * per_degree)
                n_kept = tl.maximum(tl.minimum(tl.ceil((limit - above) / each), n_ties), 1.0)
                n_lowest = tl.where(t > lowest, n_kept, tl.minimum(n_lowest, n_kept))
                lowest = t
                mass = above + n_lowest * each
            n_lowest = tl.where(least > lowest, 2147483647.0, n_lowest)
            lowest = tl.maximum(lowest, least)
            # a number just below 1 may have been rounded up to it
            at = tl.minimum(tl.load(uniforms + n).to(tl.float32), 0.99999994) * tl.minimum(mass, likely)
            t, above, n_above, n_ties = mass_before(
                *(row, bits, is_masked, vocab, words, lowest, highest, per_degree, at),
                *(False, WAYS, ROUNDS, BLOCK),
            )
            nth = tl.floor((at - above) / tl.exp((t - highest) * per_degree))
            n_ties = tl.where(t == lowest, tl.minimum(n_ties, n_lowest), n_ties)
            nth = tl.maximum(tl.minimum(nth, n_ties - 1), 0.0).to(tl.int32)
            seen = 0
            chosen = -1
            for block in range(0, vocab, BLOCK):
                token = block + tl.arange(0, BLOCK)
                scores = masked_block(row, bits, is_masked, token, vocab, words)
                is_tie = (scores == t).to(tl.int32)
                number = seen + tl.cumsum(is_tie, 0) - 1
                chosen = tl.maximum(chosen, tl.max(tl.where((is_tie == 1) & (number == nth), token, -1), 0))
                seen += tl.sum(is_tie, 0)
            chosen_score = tl.load(row + chosen).to(tl.float32)
        tl.store(tokens + n, chosen)
        logprob = chosen_score - highest - tl.log(tl.where(total > 0, total, 1.0))
        tl.store(logprobs + n, tl.where(chosen >= 0, logprob, float("-inf")))
