"""Attention of several new tokens per sequence over paged KV, ragged: a Triton kernel and its plain torch twin.

For prefill, for prompts that continue a cached prefix, and for drafts to be verified. The new tokens' own keys and
values are in the pages already. Each sees what stood before, and of the new tokens those up to itself; or, where
drafts branch, those that a mask names.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from .decode_attention import gather_rows
from .online import Scoring, attend_plain, check_heads, tile_shape, warps_of
from .tiles import HAS_TRITON, divide_up, need_contiguous_ends, need_triton, wide


class Draft(NamedTuple):
    """Drafts that branch. bits: (total, words) int32, bit b of word w of a token: it sees new token 32 * w + b of its
    sequence.  positions: (total,) int32, where each new token stands in its sequence (siblings stand at the same)."""

    bits: torch.Tensor
    positions: torch.Tensor


def extend_attention(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    block_table: torch.Tensor,
    lengths: torch.Tensor,
    query_starts: torch.Tensor,
    query_stops: torch.Tensor,
    most_queries: int,
    scoring: Scoring,
    draft: Draft | None = None,
    out: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend paged KV: the kernel for CUDA tensors, the twin elsewhere. See extend_attention_plain."""
    attend = extend_attention_triton if q.is_cuda else extend_attention_plain
    return attend(
        q, k_pages, v_pages, block_table, lengths, query_starts, query_stops, most_queries, scoring, draft, out
    )


def extend_attention_plain(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    block_table: torch.Tensor,
    lengths: torch.Tensor,
    query_starts: torch.Tensor,
    query_stops: torch.Tensor,
    most_queries: int,
    scoring: Scoring,
    draft: Draft | None = None,
    out: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend paged KV, any number of query tokens per sequence. The plain twin of extend_attention_triton.

    q: (total, q_heads, head_dim) float, those of one sequence side by side. Query heads
        h * r .. h * r + r - 1 read KV head h, r = q_heads / kv_heads.
    k_pages: (total_pages, page_tokens, kv_heads, head_dim), v_pages: (..., v_dim), both of q's dtype.
    block_table: (n, max_pages) int32, lengths: (n,) int32, all keys of each sequence, those of its new tokens last.
    query_starts, query_stops: (n,) int32; the new tokens of sequence i are query_starts[i] .. query_stops[i] - 1, no
        more than lengths[i].  most_queries: no sequence has more of them.
    draft: None: each new token sees those before it, and itself.
    out: where to write; rows that are no sequence's new tokens are left as they are. None: made here.
    Returns out (total, q_heads, v_dim) in q's dtype and lse (total, q_heads) float32, sinks counted in. Arithmetic is
    float32 (float64 where q is that).  Raises ValueError for shapes and dtypes that do not fit.
    """
    _check(q, k_pages, v_pages, block_table, lengths, query_starts, query_stops, most_queries, scoring, draft, out)
    if out is None:
        out = torch.empty(*q.shape[:2], v_pages.shape[3], dtype=q.dtype, device=q.device)
    lse = torch.empty(q.shape[:2], dtype=wide(q[:0]).dtype, device=q.device)
    rows = zip(lengths.tolist(), query_starts.tolist(), query_stops.tolist(), strict=True)
    for i, (length, first, stop) in enumerate(rows):
        n_past = length - (stop - first)
        k, v = gather_rows(k_pages, v_pages, block_table[i], length)
        at = torch.arange(length, device=q.device)  # where each key stands
        if draft is not None:
            at[n_past:] = draft.positions[first:stop]
        for token in range(first, stop):
            is_seen = torch.arange(length, device=q.device) <= n_past + token - first
            if draft is not None:
                new = torch.arange(stop - first, device=q.device)
                is_seen[:n_past] = True
                is_seen[n_past:] = (draft.bits[token][new // 32] >> (new % 32)) & 1 == 1
            if scoring.window is not None:
                is_seen &= at > at[n_past + token - first] - scoring.window
            one_out, lse[token] = attend_plain(wide(q[token]), k, v, is_seen, scoring)
            out[token] = one_out.to(q.dtype)
    return out, lse


def _check(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    block_table: torch.Tensor,
    lengths: torch.Tensor,
    query_starts: torch.Tensor,
    query_stops: torch.Tensor,
    most_queries: int,
    scoring: Scoring,
    draft: Draft | None,
    out: torch.Tensor | None,
) -> None:
    check_heads(q, k_pages, v_pages, scoring)
    n = len(lengths)
    if block_table.ndim != 2 or len(block_table) != n or block_table.dtype != torch.int32:
        raise ValueError(f"block_table must be ({n}, max_pages) int32, not {tuple(block_table.shape)}")
    for name, row in (("lengths", lengths), ("query_starts", query_starts), ("query_stops", query_stops)):
        if row.shape != (n,) or row.dtype != torch.int32:
            raise ValueError(f"{name} must be ({n},) int32, not {tuple(row.shape)} {row.dtype}")
    if out is not None and (out.shape != (*q.shape[:2], v_pages.shape[3]) or not out.is_contiguous()):
        raise ValueError(f"out must be {(*q.shape[:2], v_pages.shape[3])} and contiguous, not {tuple(out.shape)}")
    if not 0 <= most_queries <= len(q):
        raise ValueError(f"most_queries is {most_queries}, with {len(q)} queries in all")
    if draft is not None:
        if draft.bits.shape[:1] != q.shape[:1] or draft.bits.dtype != torch.int32 or draft.bits.ndim != 2:
            raise ValueError(f"draft.bits must be ({len(q)}, words) int32, not {tuple(draft.bits.shape)}")
        if 32 * draft.bits.shape[1] < most_queries:
            raise ValueError(f"draft.bits has {draft.bits.shape[1]} words for {most_queries} new tokens")
        if draft.positions.shape != (len(q),) or draft.positions.dtype != torch.int32:
            raise ValueError(f"draft.positions must be ({len(q)},) int32, not {tuple(draft.positions.shape)}")


def extend_attention_triton(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    block_table: torch.Tensor,
    lengths: torch.Tensor,
    query_starts: torch.Tensor,
    query_stops: torch.Tensor,
    most_queries: int,
    scoring: Scoring,
    draft: Draft | None = None,
    out: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """extend_attention_plain as one kernel; see there. The last dimension of each tensor must be contiguous.

    Never waits for the device. Lengths, starts and page numbers are not checked.
    Raises ImportError where triton is not installed.
    """
    need_triton("paged attention")
    _check(q, k_pages, v_pages, block_table, lengths, query_starts, query_stops, most_queries, scoring, draft, out)
    bits, positions = (None, None) if draft is None else draft
    need_contiguous_ends("extend_attention_triton", q, k_pages, v_pages, block_table, bits)
    total, q_heads, head_dim = q.shape
    page_tokens, kv_heads, v_dim = v_pages.shape[1:]
    if out is None:
        out = torch.empty(total, q_heads, v_dim, dtype=q.dtype, device=q.device)
    lse = torch.empty(total, q_heads, dtype=torch.float32, device=q.device)
    is_hopper = not q.is_cuda or torch.cuda.get_device_capability(q.device) >= (9, 0)
    group = q_heads // kv_heads
    shape = extend_shape(group, most_queries, head_dim, v_dim, q.element_size(), is_hopper=is_hopper)
    tiles = divide_up(most_queries * shape["GROUP"], shape["BLOCK_M"])
    if tiles and len(lengths):
        extend_kernel[(tiles, kv_heads, len(lengths))](
            q,
            k_pages,
            v_pages,
            block_table,
            lengths,
            query_starts,
            query_stops,
            lengths if bits is None else bits,
            lengths if positions is None else positions,
            lengths if scoring.sinks is None else scoring.sinks,
            out,
            lse,
            float(scoring.scale),
            float(scoring.softcap or 0.0),
            scoring.window or 0,
            *q.stride()[:2],
            *k_pages.stride()[:3],
            *v_pages.stride()[:3],
            block_table.stride(0),
            0 if bits is None else bits.stride(0),
            PAGE_TOKENS=page_tokens,
            HAS_DRAFT=draft is not None,
            HAS_WINDOW=scoring.window is not None,
            HAS_SOFTCAP=scoring.softcap is not None,
            HAS_SINKS=scoring.sinks is not None,
            **shape,
            num_warps=warps_of(shape, is_hopper=is_hopper),
            num_stages=2,
        )
    return out, lse


def extend_shape(
    group: int, most_queries: int, head_dim: int, v_dim: int, element_bytes: int, *, is_hopper: bool
) -> dict[str, int]:
    """Tile sizes of extend_kernel. group: query heads per KV head.  is_hopper: sm_90, whose products need not hold
    queries in registers, or later."""
    most_rows = 128 if element_bytes < 4 and is_hopper else 64
    return {"GROUP": group, **tile_shape(group * most_queries, head_dim, v_dim, element_bytes, most_rows)}


if HAS_TRITON:
    import triton
    import triton.language as tl

    from .online import absorb, admit, finish, load_block, score

    jit: Any = triton.jit  # a launch takes more arguments than the function

    @jit(
        do_not_specialize_on_alignment=[
            "block_table",
            "lengths",
            "query_starts",
            "query_stops",
            "bits",
            "positions",
            "sinks",
        ],
        do_not_specialize=["table_stride", "bits_stride"],
    )
    def extend_kernel(
        q,
        k_pages,
        v_pages,
        block_table,
        lengths,
        query_starts,
        query_stops,
        bits,
        positions,
        sinks,
        out,
        lse,
        scale,
        softcap,
        window,
        q_token_stride,
        q_head_stride,
        k_page_stride,
        k_token_stride,
        k_head_stride,
        v_page_stride,
        v_token_stride,
        v_head_stride,
        table_stride,
        bits_stride,
        PAGE_TOKENS: tl.constexpr,
        HAS_DRAFT: tl.constexpr,
        HAS_WINDOW: tl.constexpr,
        HAS_SOFTCAP: tl.constexpr,
        HAS_SINKS: tl.constexpr,
        GROUP: tl.constexpr,
        HEAD_DIM: tl.constexpr,
        V_DIM: tl.constexpr,
        BLOCK_M: tl.constexpr,
        BLOCK_N: tl.constexpr,
        BLOCK_D: tl.constexpr,
        BLOCK_V: tl.constexpr,
    ):
        """One program: BLOCK_M rows of one sequence and KV head; a row is one query head of one new token.

        Later tiles have more keys to read, so they begin first.
        """
        tile = tl.num_programs(0) - 1 - tl.program_id(0)
        kv_head = tl.program_id(1).to(tl.int64)
        seq = tl.program_id(2).to(tl.int64)
        first_query = tl.load(query_starts + seq)
        n_queries = tl.load(query_stops + seq) - first_query
        first_row = tile * BLOCK_M
        if first_row >= n_queries * GROUP:
            return
        length = tl.load(lengths + seq)
        n_past = length - n_queries

        row = first_row + tl.arange(0, BLOCK_M)
        new = row // GROUP  # which of the sequence's new tokens
        is_query = new < n_queries
        new = tl.minimum(new, n_queries - 1)
        token = (first_query + new).to(tl.int64)
        q_head = kv_head * GROUP + row % GROUP
        d = tl.arange(0, BLOCK_D)
        e = tl.arange(0, BLOCK_V)
        queries = load_block(q, token * q_token_stride + q_head * q_head_stride, is_query, d, HEAD_DIM)
        stands_at = n_past + new
        if HAS_DRAFT:
            stands_at = tl.load(positions + token)

        stop = tl.minimum(length, n_past + (first_row + BLOCK_M - 1) // GROUP + 1)
        if HAS_DRAFT:
            stop = length
        visible_from = 0
        if HAS_WINDOW:
            visible_from = tl.maximum(0, tl.minimum(tl.min(stands_at, 0) - window + 1, n_past))

        highest = tl.full([BLOCK_M], float("-inf"), tl.float32)
        total = tl.zeros([BLOCK_M], tl.float32)
        acc = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)
        for block in range(visible_from, stop, BLOCK_N):
            key = block + tl.arange(0, BLOCK_N)
            is_key = key < stop
            page = tl.load(block_table + seq * table_stride + key // PAGE_TOKENS, mask=is_key, other=0).to(tl.int64)
            slot = key % PAGE_TOKENS
            k_at = page * k_page_stride + slot * k_token_stride + kv_head * k_head_stride
            v_at = page * v_page_stride + slot * v_token_stride + kv_head * v_head_stride
            keys = load_block(k_pages, k_at, is_key, d, HEAD_DIM)

            if HAS_DRAFT:
                is_new = key >= n_past
                nth = tl.where(is_new, key - n_past, 0)
                word = tl.load(
                    bits + token[:, None] * bits_stride + (nth // 32)[None, :],
                    mask=(is_new & is_key)[None, :],
                    other=-1,
                )
                is_seen = ((word >> (nth % 32)[None, :]) & 1 == 1) & is_key[None, :]
                key_at = tl.load(positions + first_query + nth, mask=is_new & is_key, other=0)
                key_at = tl.where(is_new, key_at, key)
            else:
                key_at = key
                is_seen = key[None, :] <= (n_past + new)[:, None]
            if HAS_WINDOW:
                is_seen &= key_at[None, :] > stands_at[:, None] - window

            scores = score(queries, keys, is_seen, scale, softcap, HAS_SOFTCAP)
            values = load_block(v_pages, v_at, is_key, e, V_DIM)
            highest, total, acc = absorb(scores, values, highest, total, acc)

        if HAS_SINKS:
            highest, total, acc = admit(tl.load(sinks + q_head).to(tl.float32), highest, total, acc)
        values, logs = finish(highest, total, acc)
        at = token * tl.num_programs(1) * GROUP + q_head
        tl.store(
            out + at[:, None] * V_DIM + e[None, :],
            values.to(out.dtype.element_ty),
            mask=is_query[:, None] & (e < V_DIM)[None, :],
        )
        tl.store(lse + at, logs, mask=is_query)
