"""The steps that all attention kernels take with a block of keys: read it, score it, absorb it (Flash-Attention).

The softmax is kept as three running values for each row of queries: the highest score so far, the sum of exponentials
below it, and the values weighted by them (Milakov & Gimelshein 2018; Dao et al. 2022). Calculated in float32 but for
the products, which are in the type of the keys and values. Twins of the kernels need none of this.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from .tiles import HAS_TRITON, power_of_two, wide


def warps_of(shape: dict[str, int], *, is_hopper: bool = True) -> int:
    """Warps of a program with these tiles: enough to hold what is added up (before Hopper queries too) in registers."""
    room = 8192 if is_hopper else 4096
    return 8 if shape["BLOCK_M"] * max(shape["BLOCK_D"], shape["BLOCK_V"], 128) > room else 4


class Scoring(NamedTuple):
    """How queries and keys become weights.

    scale: multiplies the scores.  softcap: scores become softcap * tanh(scores / softcap), after scaling.
    window: only the last `window` positions up to the query's own are seen; None: all.
    sinks: (q_heads,) float, a score for each query head that joins the softmax and carries no value.
    """

    scale: float
    window: int | None = None
    softcap: float | None = None
    sinks: torch.Tensor | None = None


def check_heads(q: torch.Tensor, k_pages: torch.Tensor, v_pages: torch.Tensor, scoring: Scoring) -> None:
    """Raise ValueError unless queries (n, q_heads, head_dim), a pool and the options of attention fit together."""
    _, q_heads, head_dim = q.shape
    _, window, softcap, sinks = scoring
    if k_pages.shape[:3] != v_pages.shape[:3] or k_pages.shape[3] != head_dim:
        raise ValueError(
            f"k_pages {tuple(k_pages.shape)} and v_pages {tuple(v_pages.shape)} must agree but for their last size, "
            f"and k_pages must end in q's head_dim, {head_dim}"
        )
    if q_heads % k_pages.shape[2]:
        raise ValueError(f"{q_heads} query heads cannot share {k_pages.shape[2]} KV heads evenly")
    if not q.dtype == k_pages.dtype == v_pages.dtype:
        raise ValueError(f"q, k_pages, v_pages must share a dtype: {q.dtype}, {k_pages.dtype}, {v_pages.dtype}")
    if sinks is not None and sinks.shape != (q_heads,):
        raise ValueError(f"sinks must be ({q_heads},), one for each query head, not {tuple(sinks.shape)}")
    if window is not None and window < 1:
        raise ValueError(f"window is {window}; it counts the query's own position, so it is 1 or more")
    if softcap is not None and softcap <= 0:
        raise ValueError(f"softcap is {softcap}; it must be above 0, or None")


def tile_shape(rows: int, head_dim: int, v_dim: int, element_bytes: int, most_rows: int = 128) -> dict[str, int]:
    """Tile sizes of an attention kernel whose programs have up to `rows` rows of queries, most_rows at once where
    heads are no wider than 128 numbers.

    A tensor-core product takes tiles of at least 16 on each side, powers of two. Two buffered tiles of keys and
    two of values must fit in shared memory (163 KiB on sm_80) beside the queries, and a float32 tile, multiplied
    without tensor cores, in registers.
    """
    block_d, block_v = power_of_two(head_dim), power_of_two(v_dim)
    row_bytes = max(block_d, block_v) * element_bytes
    is_narrow, is_half = row_bytes <= 256, row_bytes <= 512 and element_bytes < 4
    return {
        "HEAD_DIM": head_dim,
        "V_DIM": v_dim,
        "BLOCK_M": min(most_rows if is_narrow else most_rows // 2 if is_half else 16, power_of_two(rows)),
        "BLOCK_N": 64 if is_narrow else 32 if is_half else 16,
        "BLOCK_D": block_d,
        "BLOCK_V": block_v,
    }


def attend_plain(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    is_seen: torch.Tensor,
    scoring: Scoring,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of one token, spelled out, for the twins. All float32 or float64.

    q: (q_heads, head_dim).  k: (tokens, kv_heads, head_dim), v: (tokens, kv_heads, v_dim).  is_seen: (tokens,) bool.
    Returns out (q_heads, v_dim) and lse (q_heads,); without a visible key 0 and -inf (or the sinks). The window is
    in is_seen.
    """
    kv_heads, v_dim = v.shape[1:]
    scale, _, softcap, sinks = scoring
    k, v = k[is_seen], v[is_seen]
    scores = torch.einsum("hrd,thd->hrt", q.unflatten(0, (kv_heads, -1)), k) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if sinks is not None:
        scores = torch.cat([scores, wide(sinks).to(scores.dtype).view(kv_heads, -1, 1)], -1)
        v = torch.cat([v, v.new_zeros(1, kv_heads, v_dim)])
    if not len(v):
        return q.new_zeros(len(q), v_dim), q.new_full((len(q),), -torch.inf)
    out = torch.einsum("hrt,thd->hrd", scores.softmax(-1), v).flatten(0, 1)
    return out, scores.logsumexp(-1).flatten()


if HAS_TRITON:
    import triton
    import triton.language as tl

    jit: Any = triton.jit  # a launch takes more arguments than the function

    @jit
    def load_block(pages, at, is_there, column, DIM: tl.constexpr):
        """(rows, columns) of a pool: row i begins at element at[i]; 0 where there is none."""
        return tl.load(
            pages + at[:, None] + column[None, :], mask=is_there[:, None] & (column < DIM)[None, :], other=0.0
        )

    @jit
    def score(queries, keys, is_seen, scale, softcap, HAS_SOFTCAP: tl.constexpr):
        """Scores (rows, keys), -inf where is_seen does not hold."""
        scores = tl.dot(queries, tl.trans(keys), input_precision="ieee") * scale
        if HAS_SOFTCAP:
            scores = softcap * (2 * tl.sigmoid(2 * scores / softcap) - 1)  # tanh
        return tl.where(is_seen, scores, float("-inf"))

    @jit
    def absorb(scores, values, highest, total, acc):
        """The running softmax with one more block."""
        new_highest = tl.maximum(highest, tl.max(scores, 1))
        finite = tl.where(new_highest == float("-inf"), 0.0, new_highest)  # -inf - -inf would be nan
        weights = tl.exp(scores - finite[:, None])
        shrink = tl.exp(highest - finite)
        total = total * shrink + tl.sum(weights, 1)
        acc = tl.dot(weights.to(values.dtype), values, acc * shrink[:, None], input_precision="ieee")
        return new_highest, total, acc

    @jit
    def finish(highest, total, acc):
        """Values and log-sum-exps: 0 and -inf for rows that have seen nothing."""
        divisor = tl.where(total > 0, total, 1.0)
        lse = tl.where(total > 0, highest + tl.log(divisor), float("-inf"))
        return acc / divisor[:, None], lse

    @jit
    def admit(sinks, highest, total, acc):
        """The running softmax with one more score per row, which carries no value."""
        new_highest = tl.maximum(highest, sinks)
        shrink = tl.exp(highest - new_highest)
        return new_highest, total * shrink + tl.exp(sinks - new_highest), acc * shrink[:, None]
