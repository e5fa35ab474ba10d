"""Attention of one new token per sequence over paged KV: two Triton kernels and their plain torch twin.

Split-K (Flash-Decoding, Dao et al. 2023): the keys of a sequence are cut into stretches of _SPLIT_TOKENS, each
attended by programs of its own, and the partial results are merged by their log-sum-exp. Stretches are cut by
position alone, so a sequence's result does not depend on what else is in the batch.

Shared prefixes: attend the prefix once for all sequences of a group by stacking their queries as if they were more
heads of the same KV head (any number of query heads per KV head is taken), attend each one's own suffix, and join
both with merge_attention.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

HAS_TRITON = find_spec("triton") is not None  # macOS and Windows wheels of torch come without it

_SPLIT_TOKENS = 256
_MERGE_SPLITS = 16  # partial results the merge kernel reads at once


def decode_attention(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    block_table: torch.Tensor,
    lengths: torch.Tensor,
    *,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    positions: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend paged KV: the kernels for CUDA tensors, the twin elsewhere. See decode_attention_plain."""
    attend = decode_attention_triton if q.is_cuda else decode_attention_plain
    return attend(
        q,
        k_pages,
        v_pages,
        block_table,
        lengths,
        scale=scale,
        window=window,
        softcap=softcap,
        positions=positions,
    )


def decode_attention_plain(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    block_table: torch.Tensor,
    lengths: torch.Tensor,
    *,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    positions: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend paged KV, one query token per sequence. The plain twin of decode_attention_triton.

    q: (n, q_heads, head_dim) float.  Query heads h * r .. h * r + r - 1 read KV head h, r = q_heads / kv_heads.
    k_pages: (total_pages, page_tokens, kv_heads, head_dim), v_pages: (..., v_dim), both of q's dtype.
    block_table: (n, max_pages) int32; key j of sequence i is token j % page_tokens of page
        block_table[i, j // page_tokens].
    lengths: (n,) int32, the keys of each sequence, the query's own among them where it is to be seen; 0 to
        max_pages * page_tokens.
    scale: multiplies the scores.  softcap: scores become softcap * tanh(scores / softcap), after scaling.
    window: only the last `window` positions up to the query's own are seen.
    positions: (n,) int32, where the query stands, counted from its first key here, >= lengths - 1; matters with
        a window only. None: at its last key, lengths - 1.
    Returns out (n, q_heads, v_dim) in q's dtype and lse (n, q_heads) float32, the natural log of the summed
    exponentials of the scores; without a visible key they are 0 and -inf. Arithmetic is float32.
    Raises ValueError for shapes and dtypes that do not fit.
    """
    _check(q, k_pages, v_pages, block_table, lengths, window, softcap, positions)
    n, q_heads, _ = q.shape
    kv_heads, v_dim = v_pages.shape[2:]
    out = torch.zeros(n, q_heads, v_dim, dtype=q.dtype, device=q.device)
    lse = torch.full((n, q_heads), -torch.inf, device=q.device)
    stands_at = (lengths - 1 if positions is None else positions).tolist()
    for i, length in enumerate(lengths.tolist()):
        first = 0 if window is None else max(0, stands_at[i] - window + 1)
        if first >= length:
            continue
        k, v = _gather(k_pages, v_pages, block_table[i], first, length)
        scores = torch.einsum("hrd,thd->hrt", q[i].float().unflatten(0, (kv_heads, -1)), k) * scale
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        lse[i] = scores.logsumexp(-1).flatten()
        out[i] = torch.einsum("hrt,thd->hrd", scores.softmax(-1), v).flatten(0, 1).to(q.dtype)
    return out, lse


def _gather(
    k_pages: torch.Tensor, v_pages: torch.Tensor, table: torch.Tensor, first: int, stop: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values [first, stop) of one sequence: (tokens, kv_heads, dim) float32."""
    tokens = torch.arange(first, stop, device=table.device)
    page_tokens = k_pages.shape[1]
    page, slot = table[tokens // page_tokens].long(), tokens % page_tokens
    return k_pages[page, slot].float(), v_pages[page, slot].float()


def merge_attention(
    out_a: torch.Tensor, lse_a: torch.Tensor, out_b: torch.Tensor, lse_b: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention over two disjoint sets of keys, from attention over each.

    out: (..., heads, v_dim) float, lse: (..., heads) float32; a part without keys has out 0 and lse -inf.
    Returns the joined out, in out_a's dtype, and lse.
    """
    lse = torch.logaddexp(lse_a, lse_b)
    share_a, share_b = ((part - lse).exp().nan_to_num(0.0)[..., None] for part in (lse_a, lse_b))
    return (out_a * share_a + out_b * share_b).to(out_a.dtype), lse


def _check(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    block_table: torch.Tensor,
    lengths: torch.Tensor,
    window: int | None,
    softcap: float | None,
    positions: torch.Tensor | None,
) -> None:
    n, q_heads, head_dim = q.shape
    if k_pages.shape[:3] != v_pages.shape[:3] or k_pages.shape[3] != head_dim:
        raise ValueError(
            f"k_pages {tuple(k_pages.shape)} and v_pages {tuple(v_pages.shape)} must agree but for their last size, "
            f"and k_pages must end in q's head_dim, {head_dim}"
        )
    if q_heads % k_pages.shape[2]:
        raise ValueError(f"{q_heads} query heads cannot share {k_pages.shape[2]} KV heads evenly")
    if not q.dtype == k_pages.dtype == v_pages.dtype:
        raise ValueError(f"q, k_pages, v_pages must share a dtype: {q.dtype}, {k_pages.dtype}, {v_pages.dtype}")
    if block_table.ndim != 2 or len(block_table) != n or block_table.dtype != torch.int32:
        raise ValueError(f"block_table must be ({n}, max_pages) int32, not {tuple(block_table.shape)}")
    for name, row in (("lengths", lengths), ("positions", positions)):
        if row is not None and (row.shape != (n,) or row.dtype != torch.int32):
            raise ValueError(f"{name} must be ({n},) int32, not {tuple(row.shape)} {row.dtype}")
    if window is not None and window < 1:
        raise ValueError(f"window is {window}; it counts the query's own position, so it is 1 or more")
    if softcap is not None and softcap <= 0:
        raise ValueError(f"softcap is {softcap}; it must be above 0, or None")


def decode_attention_triton(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    block_table: torch.Tensor,
    lengths: torch.Tensor,
    *,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    positions: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """decode_attention_plain as two kernels; see there. The last dimension of each tensor must be contiguous.

    Never waits for the device: grids follow from shapes, so a call can be captured in a CUDA graph. float16 and
    bfloat16 multiply in their own precision and add in float32. Lengths and page numbers are not checked.
    Raises ImportError where triton is not installed.
    """
    if not HAS_TRITON:
        raise ImportError("paged attention on CUDA needs triton, which is not installed: pip install triton")
    _check(q, k_pages, v_pages, block_table, lengths, window, softcap, positions)
    if any(t.stride(-1) != 1 for t in (q, k_pages, v_pages, block_table) if t.numel()):
        raise ValueError("decode_attention_triton: the last dimension of each tensor must be contiguous")
    n, q_heads, head_dim = q.shape
    page_tokens, kv_heads, v_dim = v_pages.shape[1:]
    n_splits = max(1, _divide_up(block_table.shape[1] * page_tokens, _SPLIT_TOKENS))
    out = torch.empty(n, q_heads, v_dim, dtype=q.dtype, device=q.device)
    lse = torch.empty(n, q_heads, dtype=torch.float32, device=q.device)
    part_out = torch.empty(n, q_heads, n_splits, v_dim, dtype=torch.float32, device=q.device)
    part_lse = torch.empty(n, q_heads, n_splits, dtype=torch.float32, device=q.device)
    if n == 0:
        return out, lse
    shape = split_shape(q_heads // kv_heads, head_dim, v_dim, q.element_size())
    has = {"HAS_WINDOW": window is not None, "HAS_SOFTCAP": softcap is not None}
    grid = (n, kv_heads * _divide_up(shape["GROUP"], shape["BLOCK_M"]), n_splits)
    split_kernel[grid](
        q,
        k_pages,
        v_pages,
        block_table,
        lengths,
        lengths if positions is None else positions,
        part_out,
        part_lse,
        float(scale),
        float(softcap or 0.0),
        window or 0,
        n_splits,
        *q.stride()[:2],
        *k_pages.stride()[:3],
        *v_pages.stride()[:3],
        block_table.stride(0),
        PAGE_TOKENS=page_tokens,
        HAS_POSITIONS=positions is not None,
        **has,
        **shape,
        num_warps=4,
        num_stages=2,
    )
    merge_kernel[(n, q_heads)](
        part_out, part_lse, lengths, out, lse, q_heads, n_splits, **merge_shape(v_dim), num_warps=4
    )
    return out, lse


def split_shape(group: int, head_dim: int, v_dim: int, element_bytes: int) -> dict[str, int]:
    """Tile sizes of split_kernel. group: query heads per KV head.

    A tensor-core product takes tiles of at least 16 on each side, powers of two. Two buffered tiles of keys and
    two of values must fit in shared memory (163 KiB on sm_80) beside the queries, and a float32 tile, multiplied
    without tensor cores, in registers.
    """
    block_d, block_v = _power_of_two(head_dim), _power_of_two(v_dim)
    row_bytes = max(block_d, block_v) * element_bytes
    return {
        "GROUP": group,
        "HEAD_DIM": head_dim,
        "V_DIM": v_dim,
        "SPLIT_TOKENS": _SPLIT_TOKENS,
        "BLOCK_M": min(64 if row_bytes <= 256 else 16, _power_of_two(group)),
        "BLOCK_N": 64 if row_bytes <= 256 else 32 if row_bytes <= 512 and element_bytes < 4 else 16,
        "BLOCK_D": block_d,
        "BLOCK_V": block_v,
    }


def merge_shape(v_dim: int) -> dict[str, int]:
    """Tile sizes of merge_kernel."""
    return {
        "V_DIM": v_dim,
        "SPLIT_TOKENS": _SPLIT_TOKENS,
        "BLOCK_S": _MERGE_SPLITS,
        "BLOCK_V": _power_of_two(v_dim),
    }


def _divide_up(n: int, by: int) -> int:
    return -(-n // by)


def _power_of_two(n: int) -> int:
    """The least power of two that is at least n and 16."""
    return max(16, 1 << (n - 1).bit_length())


if HAS_TRITON:
    import triton
    import triton.language as tl

    jit: Any = triton.jit  # a launch takes more arguments than the function

    @jit
    def split_kernel(
        q,
        k_pages,
        v_pages,
        block_table,
        lengths,
        positions,
        part_out,
        part_lse,
        scale,
        softcap,
        window,
        n_splits,
        q_seq_stride,
        q_head_stride,
        k_page_stride,
        k_token_stride,
        k_head_stride,
        v_page_stride,
        v_token_stride,
        v_head_stride,
        table_stride,
        PAGE_TOKENS: tl.constexpr,
        HAS_POSITIONS: tl.constexpr,
        HAS_WINDOW: tl.constexpr,
        HAS_SOFTCAP: tl.constexpr,
        GROUP: tl.constexpr,
        HEAD_DIM: tl.constexpr,
        V_DIM: tl.constexpr,
        SPLIT_TOKENS: tl.constexpr,
        BLOCK_M: tl.constexpr,
        BLOCK_N: tl.constexpr,
        BLOCK_D: tl.constexpr,
        BLOCK_V: tl.constexpr,
    ):
        """One program: one sequence, BLOCK_M of the query heads of one KV head, one stretch of keys.

        Writes nothing for a stretch beyond the sequence's length; lse -inf for one before its window.
        """
        seq = tl.program_id(0).to(tl.int64)
        tiles: tl.constexpr = (GROUP + BLOCK_M - 1) // BLOCK_M
        kv_head = (tl.program_id(1) // tiles).to(tl.int64)
        split = tl.program_id(2)
        length = tl.load(lengths + seq)
        first = split * SPLIT_TOKENS
        if first >= length:
            return
        stop = tl.minimum(first + SPLIT_TOKENS, length)

        visible_from = first
        if HAS_WINDOW:
            stands_at = tl.load(positions + seq) if HAS_POSITIONS else length - 1
            visible_from = tl.maximum(first, stands_at - window + 1)

        member = (tl.program_id(1) % tiles) * BLOCK_M + tl.arange(0, BLOCK_M)
        q_head = kv_head * GROUP + member
        d = tl.arange(0, BLOCK_D)
        e = tl.arange(0, BLOCK_V)
        queries = tl.load(
            q + seq * q_seq_stride + q_head[:, None] * q_head_stride + d[None, :],
            mask=(member < GROUP)[:, None] & (d < HEAD_DIM)[None, :],
            other=0.0,
        )

        highest = tl.full([BLOCK_M], float("-inf"), tl.float32)
        total = tl.zeros([BLOCK_M], tl.float32)
        acc = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)
        for block in range(visible_from, stop, BLOCK_N):
            token = block + tl.arange(0, BLOCK_N)
            is_seen = token < stop  # the first one always is, so no maximum below is -inf
            page = tl.load(block_table + seq * table_stride + token // PAGE_TOKENS, mask=is_seen, other=0)
            page = page.to(tl.int64)
            slot = token % PAGE_TOKENS
            keys = tl.load(
                k_pages
                + (page * k_page_stride + slot * k_token_stride + kv_head * k_head_stride)[:, None]
                + d[None, :],
                mask=is_seen[:, None] & (d < HEAD_DIM)[None, :],
                other=0.0,
            )
            scores = tl.dot(queries, tl.trans(keys), input_precision="ieee") * scale
            if HAS_SOFTCAP:
                scores = softcap * (2 * tl.sigmoid(2 * scores / softcap) - 1)  # tanh
            scores = tl.where(is_seen[None, :], scores, float("-inf"))

            new_highest = tl.maximum(highest, tl.max(scores, 1))
            weights = tl.exp(scores - new_highest[:, None])
            shrink = tl.exp(highest - new_highest)
            values = tl.load(
                v_pages
                + (page * v_page_stride + slot * v_token_stride + kv_head * v_head_stride)[:, None]
                + e[None, :],
                mask=is_seen[:, None] & (e < V_DIM)[None, :],
                other=0.0,
            )
            total = total * shrink + tl.sum(weights, 1)
            acc = acc * shrink[:, None]
            acc = tl.dot(weights.to(values.dtype), values, acc, input_precision="ieee")
            highest = new_highest

        has_seen = total > 0
        divisor = tl.where(has_seen, total, 1.0)
        row = (seq * (tl.num_programs(1) // tiles) * GROUP + q_head) * n_splits + split
        tl.store(
            part_out + row[:, None] * V_DIM + e[None, :],
            acc / divisor[:, None],
            mask=(member < GROUP)[:, None] & (e < V_DIM)[None, :],
        )
        lse = tl.where(has_seen, highest + tl.log(divisor), float("-inf"))
        tl.store(part_lse + row, lse, mask=member < GROUP)

    @jit
    def merge_kernel(
        part_out,
        part_lse,
        lengths,
        out,
        lse,
        q_heads,
        n_splits,
        V_DIM: tl.constexpr,
        SPLIT_TOKENS: tl.constexpr,
        BLOCK_S: tl.constexpr,
        BLOCK_V: tl.constexpr,
    ):
        """One program: one query head of one sequence; reads the stretches that split_kernel wrote."""
        seq = tl.program_id(0).to(tl.int64)
        row = seq * q_heads + tl.program_id(1)
        n_written = tl.cdiv(tl.load(lengths + seq), SPLIT_TOKENS)
        e = tl.arange(0, BLOCK_V)

        highest = float("-inf")
        total = 0.0
        acc = tl.zeros([BLOCK_V], tl.float32)
        for base in range(0, n_written, BLOCK_S):
            split = base + tl.arange(0, BLOCK_S)
            part = row * n_splits + split
            part_logs = tl.load(part_lse + part, mask=split < n_written, other=float("-inf"))
            values = tl.load(
                part_out + part[:, None] * V_DIM + e[None, :],
                mask=(split < n_written)[:, None] & (e < V_DIM)[None, :],
                other=0.0,
            )
            new_highest = tl.maximum(highest, tl.max(part_logs, 0))
            finite = tl.where(new_highest == float("-inf"), 0.0, new_highest)  # -inf - -inf would be nan
            weights = tl.exp(part_logs - finite)
            shrink = tl.exp(highest - finite)
            total = total * shrink + tl.sum(weights, 0)
            acc = acc * shrink + tl.sum(weights[:, None] * values, 0)
            highest = new_highest

        divisor = tl.where(total > 0, total, 1.0)
        tl.store(out + row * V_DIM + e, (acc / divisor).to(out.dtype.element_ty), mask=e < V_DIM)
        tl.store(lse + row, tl.where(total > 0, highest + tl.log(divisor), float("-inf")))
