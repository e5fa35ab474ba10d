"""Attention of one new token per sequence over paged KV: a Triton kernel and its plain torch twin.

Split-K (Flash-Decoding, Dao et al. 2023): the keys of a sequence are cut into stretches of _SPLIT_TOKENS, each
attended by programs of its own, and the partial results are merged by their log-sum-exp (merge.py). Stretches are cut
by position alone, so a sequence's result does not depend on what else is in the batch.

Every sequence reads its own keys here; tree_attention.py reads once what several have in common.
"""

from __future__ import annotations

from typing import Any

import torch

from .merge import merge_stretches_triton
from .online import Scoring, attend_plain, check_heads, tile_shape, warps_of
from .tiles import HAS_TRITON, divide_up, need_contiguous_ends, need_triton, wide

_SPLIT_TOKENS = 256


def decode_attention(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    block_table: torch.Tensor,
    lengths: torch.Tensor,
    scoring: Scoring,
    positions: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend paged KV: the kernels for CUDA tensors, the twin elsewhere. See decode_attention_plain."""
    attend = decode_attention_triton if q.is_cuda else decode_attention_plain
    return attend(q, k_pages, v_pages, block_table, lengths, scoring, positions)


def decode_attention_plain(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    block_table: torch.Tensor,
    lengths: torch.Tensor,
    scoring: Scoring,
    positions: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend paged KV, one query token per sequence. The plain twin of decode_attention_triton.

    q: (n, q_heads, head_dim) float.  Query heads h * r .. h * r + r - 1 read KV head h, r = q_heads / kv_heads.
    k_pages: (total_pages, page_tokens, kv_heads, head_dim), v_pages: (..., v_dim), both of q's dtype.
    block_table: (n, max_pages) int32; key j of sequence i is token j % page_tokens of page
        block_table[i, j // page_tokens].
    lengths: (n,) int32, the keys of each sequence, the query's own among them where it is to be seen; 0 to
        max_pages * page_tokens.
    positions: (n,) int32, where the query stands, counted from its first key here, >= lengths - 1; matters with
        a window only. None: at its last key, lengths - 1.
    Returns out (n, q_heads, v_dim) in q's dtype and lse (n, q_heads) float32, the natural log of the summed
    exponentials of the scores, sinks among them; without any they are 0 and -inf. Arithmetic is float32 (float64
    where q is that).
    Raises ValueError for shapes and dtypes that do not fit.
    """
    _check(q, k_pages, v_pages, block_table, lengths, scoring, positions)
    out = torch.empty(*q.shape[:2], v_pages.shape[3], dtype=q.dtype, device=q.device)
    lse = torch.empty(q.shape[:2], dtype=wide(q[:0]).dtype, device=q.device)
    stands_at = (lengths - 1 if positions is None else positions).tolist()
    for i, length in enumerate(lengths.tolist()):
        k, v = gather_rows(k_pages, v_pages, block_table[i], length)
        lowest = 0 if scoring.window is None else stands_at[i] - scoring.window + 1
        one_out, lse[i] = attend_plain(wide(q[i]), k, v, torch.arange(length, device=q.device) >= lowest, scoring)
        out[i] = one_out.to(q.dtype)
    return out, lse


def gather_rows(
    k_pages: torch.Tensor, v_pages: torch.Tensor, pages: torch.Tensor, n_tokens: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values of the first n_tokens of a row of pages: (tokens, kv_heads, dim), as wide as twins calculate."""
    token = torch.arange(n_tokens, device=pages.device)
    page_tokens = k_pages.shape[1]
    page, slot = pages[token // page_tokens].long(), token % page_tokens
    return wide(k_pages[page, slot]), wide(v_pages[page, slot])


def _check(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    block_table: torch.Tensor,
    lengths: torch.Tensor,
    scoring: Scoring,
    positions: torch.Tensor | None,
) -> None:
    check_heads(q, k_pages, v_pages, scoring)
    n = len(q)
    if block_table.ndim != 2 or len(block_table) != n or block_table.dtype != torch.int32:
        raise ValueError(f"block_table must be ({n}, max_pages) int32, not {tuple(block_table.shape)}")
    for name, row in (("lengths", lengths), ("positions", positions)):
        if row is not None and (row.shape != (n,) or row.dtype != torch.int32):
            raise ValueError(f"{name} must be ({n},) int32, not {tuple(row.shape)} {row.dtype}")


def decode_attention_triton(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    block_table: torch.Tensor,
    lengths: torch.Tensor,
    scoring: Scoring,
    positions: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """decode_attention_plain as two kernels; see there. The last dimension of each tensor must be contiguous.

    Never waits for the device: grids follow from shapes, so a call can be captured in a CUDA graph. float16 and
    bfloat16 multiply in their own precision and add in float32. Lengths and page numbers are not checked.
    Raises ImportError where triton is not installed.
    """
    need_triton("paged attention")
    _check(q, k_pages, v_pages, block_table, lengths, scoring, positions)
    need_contiguous_ends("decode_attention_triton", q, k_pages, v_pages, block_table)
    n, q_heads, head_dim = q.shape
    page_tokens, kv_heads, v_dim = v_pages.shape[1:]
    n_splits = max(1, divide_up(block_table.shape[1] * page_tokens, _SPLIT_TOKENS))
    part_out = torch.empty(n, n_splits, q_heads, v_dim, dtype=torch.float32, device=q.device)
    part_lse = torch.empty(n, n_splits, q_heads, dtype=torch.float32, device=q.device)
    if n:
        shape = split_shape(q_heads // kv_heads, head_dim, v_dim, q.element_size())
        split_kernel[(n, kv_heads * divide_up(shape["GROUP"], shape["BLOCK_M"]), n_splits)](
            q,
            k_pages,
            v_pages,
            block_table,
            lengths,
            lengths if positions is None else positions,
            part_out,
            part_lse,
            float(scoring.scale),
            float(scoring.softcap or 0.0),
            scoring.window or 0,
            n_splits,
            *q.stride()[:2],
            *k_pages.stride()[:3],
            *v_pages.stride()[:3],
            block_table.stride(0),
            PAGE_TOKENS=page_tokens,
            HAS_POSITIONS=positions is not None,
            HAS_WINDOW=scoring.window is not None,
            HAS_SOFTCAP=scoring.softcap is not None,
            **shape,
            num_warps=warps_of(shape),
            num_stages=2,
        )
    return merge_stretches_triton(part_out, part_lse, lengths, _SPLIT_TOKENS, q.dtype, scoring.sinks)


def split_shape(group: int, head_dim: int, v_dim: int, element_bytes: int) -> dict[str, int]:
    """Tile sizes of split_kernel. group: query heads per KV head."""
    return {"GROUP": group, "SPLIT_TOKENS": _SPLIT_TOKENS, **tile_shape(group, head_dim, v_dim, element_bytes)}


if HAS_TRITON:
    import triton
    import triton.language as tl

    from .online import absorb, finish, load_block, score

    jit: Any = triton.jit  # a launch takes more arguments than the function

    @jit(
        do_not_specialize_on_alignment=["block_table", "lengths", "positions"],
        do_not_specialize=["n_splits", "table_stride"],
    )
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
        is_query = member < GROUP
        d = tl.arange(0, BLOCK_D)
        e = tl.arange(0, BLOCK_V)
        queries = load_block(q, seq * q_seq_stride + q_head * q_head_stride, is_query, d, HEAD_DIM)

        highest = tl.full([BLOCK_M], float("-inf"), tl.float32)
        total = tl.zeros([BLOCK_M], tl.float32)
        acc = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)
        for block in range(visible_from, stop, BLOCK_N):
            token = block + tl.arange(0, BLOCK_N)
            is_seen = token < stop
            page = tl.load(block_table + seq * table_stride + token // PAGE_TOKENS, mask=is_seen, other=0)
            page = page.to(tl.int64)
            slot = token % PAGE_TOKENS
            k_at = page * k_page_stride + slot * k_token_stride + kv_head * k_head_stride
            v_at = page * v_page_stride + slot * v_token_stride + kv_head * v_head_stride
            keys = load_block(k_pages, k_at, is_seen, d, HEAD_DIM)
            scores = score(queries, keys, is_seen[None, :], scale, softcap, HAS_SOFTCAP)
            values = load_block(v_pages, v_at, is_seen, e, V_DIM)
            highest, total, acc = absorb(scores, values, highest, total, acc)

        values, lse = finish(highest, total, acc)
        row = (seq * n_splits + split) * (tl.num_programs(1) // tiles) * GROUP + q_head
        tl.store(
            part_out + row[:, None] * V_DIM + e[None, :],
            values,
            mask=is_query[:, None] & (e < V_DIM)[None, :],
        )
        tl.store(part_lse + row, lse, mask=is_query)
