"""One token for each row of logits: mask, temperature, top-k, top-p, min-p and a seeded draw. Kernel and twin.

Nothing is sorted, and nothing goes to the host. What a filter leaves is all logits from some threshold on, and that
threshold is found by bisection over the numbers a float can be. The draw is a race (Gumbel-max; Yellott 1977): each
token runs for a time exponential in its weight, by random numbers that depend on seed, draw and token alone (Philox,
Salmon et al. 2011); the first one wins. So a row's token does not depend on its neighbours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from .mask import allowed_tokens
from .tiles import HAS_TRITON, need_contiguous_ends, need_triton

_BLOCK = 2048  # logits read at once
_WAYS = 8  # thresholds tried at once
_ROUNDS = 11  # of _WAYS + 1 parts each: more than the 2^32 numbers there are


class Draws(NamedTuple):
    """How each row is drawn, (n,) tensors.

    temperature: float32, 0: the likeliest, lowest id first.  top_k: int32, 0: all.  top_p, min_p: float32, 1 and 0:
    all.  seed, number: int64 and int32; the same seed and number draw the same token of the same logits.
    """

    temperature: torch.Tensor
    top_k: torch.Tensor
    top_p: torch.Tensor
    min_p: torch.Tensor
    seed: torch.Tensor
    number: torch.Tensor


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
    mask.apply_mask_plain.  Filters in the order temperature, top_k, top_p, min_p, each seeing what the one before left;
    tokens as likely as the last one that a filter leaves are left too.
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
        temperature, top_k, top_p, min_p, seed, number = (each[row].item() for each in draws)
        kept = scores.clone()
        if temperature > 0:
            weights = ((scores - scores.max()) / temperature).exp()
            if 0 < top_k < len(kept):
                kept[scores < scores.topk(int(top_k)).values[-1]] = -torch.inf
            if top_p < 1:
                kept[_mass_above(kept, weights) >= top_p * weights[kept > -torch.inf].sum()] = -torch.inf
            kept[weights < min_p] = -torch.inf
            kept = kept / temperature - race(int(seed), int(number), len(kept)).to(kept).log()
        token = int(kept.argmax())
        tokens[row] = token
        logprobs[row] = scores[token] - scores.logsumexp(0)
    return tokens, logprobs


def _mass_above(kept: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Of each token, the weight of all that are likelier and kept."""
    values, places = kept.unique(return_inverse=True)
    mass = weights.new_zeros(len(values)).index_add(0, places, weights * (kept > -torch.inf))
    return (mass.sum() - mass.cumsum(0))[places]


def race(seed: int, number: int, n: int) -> torch.Tensor:
    """Times of n tokens, exponential with mean 1, float64; those of the kernel, which has them in float32."""
    counters = np.zeros((4, n), dtype=np.uint64)
    counters[0] = np.arange(n)
    counters[1] = number & 0xFFFFFFFF
    uniform = _uniform(_philox(counters, np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32 & 0xFFFFFFFF)))
    return torch.from_numpy(-np.log1p(-np.maximum(uniform, 2.0**-33)))


def _philox(counters: np.ndarray, key_0: np.uint64, key_1: np.uint64) -> np.ndarray:
    """The first word of Philox 4x32-10. counters: (4, n) uint64 below 2^32."""
    low = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = counters
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (b >> np.uint64(32)) ^ c1 ^ key_0, b & low, (a >> np.uint64(32)) ^ c3 ^ key_1, a & low
        key_0, key_1 = (key_0 + np.uint64(0x9E3779B9)) & low, (key_1 + np.uint64(0xBB67AE85)) & low
    return c0


def _uniform(words: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) from 32 random bits, in steps of 2^-31, as triton makes them."""
    signed = words.astype(np.uint32).view(np.int32).astype(np.int64)
    return (np.where(signed < 0, -signed - 1, signed).astype(np.float32) * np.float32(4.6566127342e-10)).astype(float)


def _check(logits: torch.Tensor, row_table: torch.Tensor, row_ids: torch.Tensor, draws: Draws) -> None:
    n = len(logits)
    if logits.ndim != 2 or not logits.shape[1]:
        raise ValueError(f"logits must be (n, vocab), not {tuple(logits.shape)}")
    if row_table.ndim != 2 or row_table.dtype != torch.int32:
        raise ValueError(f"row_table must be (n_rows, words) int32, not {tuple(row_table.shape)} {row_table.dtype}")
    wanted = (torch.float32, torch.int32, torch.float32, torch.float32, torch.int64, torch.int32)
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
    philox: Any = tl.philox

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
    def threshold(
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
        """The least number t such that logits above t number (COUNTS), or weigh, less than limit.

        Only logits from `lowest` on are looked at; `highest` is the highest of them. Weights are exp((logit - highest)
        * per_degree).
        """
        way = tl.arange(0, WAYS)
        # t is in (below, upto], as places among all floats
        below = tl.cast(-2139095042, tl.int64)  # under that of -inf
        bits_of_highest = tl.cast(highest, tl.int32, bitcast=True)
        upto = tl.where(bits_of_highest >= 0, bits_of_highest, bits_of_highest ^ 0x7FFFFFFF).to(tl.int64)
        for _ in range(ROUNDS):
            step = (upto - below + WAYS) // (WAYS + 1)  # rounded up, so that the last part is no longer than others
            tried = tl.minimum(below + step * (way + 1), upto)
            numbers = as_float(tried.to(tl.int32))
            above = tl.zeros([WAYS], tl.float32)
            for block in range(0, vocab, BLOCK):
                scores = masked_block(row, bits, is_masked, block + tl.arange(0, BLOCK), vocab, words)
                weights = tl.full([BLOCK], 1.0, tl.float32) if COUNTS else tl.exp((scores - highest) * per_degree)
                weights = tl.where((scores >= lowest) & (scores > float("-inf")), weights, 0.0)
                is_above = scores[:, None] > numbers[None, :]
                above += tl.sum(tl.where(is_above, weights[:, None], 0.0), 0)
            # `above` falls with the numbers: t is at most the first that is under the limit
            is_enough = above < limit
            upto = tl.minimum(upto, tl.min(tl.where(is_enough, tried, upto), 0))
            below = tl.maximum(below, tl.max(tl.where(is_enough, below, tried), 0))
        return as_float(upto.to(tl.int32))

    @jit
    def sample_kernel(
        logits,
        row_table,
        row_ids,
        temperatures,
        top_ks,
        top_ps,
        min_ps,
        seeds,
        numbers,
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
        temperature = tl.load(temperatures + n)

        highest = float("-inf")
        total = 0.0
        chosen = -1
        chosen_score = float("-inf")
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
        chosen_score = highest

        if (temperature > 0) & (chosen >= 0):
            per_degree = 1 / temperature
            top_k = tl.load(top_ks + n)
            top_p = tl.load(top_ps + n)
            min_p = tl.load(min_ps + n)
            lowest = float("-inf")
            if (top_k > 0) & (top_k < vocab):
                lowest = threshold(
                    row, bits, is_masked, vocab, words, lowest, highest, per_degree, top_k, True, WAYS, ROUNDS, BLOCK
                )
            if top_p < 1:
                mass = 0.0
                for block in range(0, vocab, BLOCK):
                    scores = masked_block(row, bits, is_masked, block + tl.arange(0, BLOCK), vocab, words)
                    weights = tl.exp((scores - highest) * per_degree)
                    mass += tl.sum(tl.where(scores >= lowest, weights, 0.0), 0)
                of_p = threshold(
                    row,
                    bits,
                    is_masked,
                    vocab,
                    words,
                    lowest,
                    highest,
                    per_degree,
                    top_p * mass,
                    False,
                    WAYS,
                    ROUNDS,
                    BLOCK,
                )
                lowest = tl.maximum(lowest, of_p)
            seed = tl.load(seeds + n)
            number = tl.load(numbers + n)
            best = float("-inf")
            for block in range(0, vocab, BLOCK):
                token = block + tl.arange(0, BLOCK)
                scores = masked_block(row, bits, is_masked, token, vocab, words)
                hot = (scores - highest) * per_degree
                is_kept = (scores >= lowest) & (scores > float("-inf")) & (tl.exp(hot) >= min_p)
                zero = token * 0
                word, _, _, _ = philox(seed, token, zero + number, zero, zero)
                signed = word.to(tl.int32, bitcast=True)
                uniform = tl.where(signed < 0, -signed - 1, signed).to(tl.float32) * 4.6566127342e-10
                uniform = tl.maximum(uniform, 1.1641532182693481e-10)
                series = uniform * (1 + uniform * (0.5 + uniform * 0.33333333))  # where 1 - uniform would lose digits
                time = tl.where(uniform < 1e-3, series, -tl.log(1 - uniform))
                raced = tl.where(is_kept, hot - tl.log(time), float("-inf"))
                block_best = tl.max(raced, 0)
                if block_best > best:
                    best = block_best
                    chosen = tl.min(tl.where(raced == block_best, token, 2147483647), 0)
            chosen_score = tl.load(row + chosen).to(tl.float32)
        tl.store(tokens + n, chosen)
        logprob = chosen_score - highest - tl.log(tl.where(total > 0, total, 1.0))
        tl.store(logprobs + n, tl.where(chosen >= 0, logprob, float("-inf")))
