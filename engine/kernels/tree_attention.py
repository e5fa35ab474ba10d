"""Attention over a tree of shared prefixes in paged KV, each read once: a Triton kernel and its plain torch twin.

The keys of a batch are nodes of the prefix tree and the sequences' own last tokens. A unit of work is a stretch of
one node's keys with a tile of its readers, whose queries are stacked as rows of one product; so a prefix that many
share is read once, on every level of the tree. What a token finds in its units is merged by log-sum-exp (merge.py).
Several query tokens of one sequence (drafts) are so many readers: each sees keys up to where it stands.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from .merge import merge_parts_triton
from .online import Scoring, attend_plain, check_heads, tile_shape, warps_of
from .tiles import HAS_TRITON, divide_up, need_contiguous_ends, need_triton, power_of_two, wide

STRETCH_TOKENS = 256
"""Keys in one unit, so that long prefixes have many programs; several times as many where units would be too many."""

_WIDE_ROWS = 64
UNIT_FIELDS = ("first_page", "offset", "n_keys", "position", "first_reader", "n_readers")


class Units(NamedTuple):
    """The work of one step.

    units: (u, 6) int32, by UNIT_FIELDS. Key j of a unit is token (offset + j) % page_tokens of page
        pages[first_page + (offset + j) // page_tokens], and stands at position + j of its sequence. Its readers are
        readers[first_reader : first_reader + n_readers]. Without keys its readers find nothing there (lse -inf).
    n_wide: the first n_wide units have up to readers_of_unit(group, is_wide=True) readers, the others up to
        readers_of_unit(group, is_wide=False).
    pages: (p,) int32.  readers: (r,) int32, rows of q; each entry is in one unit at most.
    starts, stops: (n,) int32; token i stands in the entries order[starts[i] : stops[i]] of readers.  order: (r,) int32.
    """

    units: torch.Tensor
    n_wide: int
    pages: torch.Tensor
    readers: torch.Tensor
    starts: torch.Tensor
    stops: torch.Tensor
    order: torch.Tensor


def readers_of_unit(group: int, *, is_wide: bool) -> int:
    """How many readers one unit may have. group: query heads per KV head."""
    return max(1, (_WIDE_ROWS if is_wide else 16) // group)


def tree_attention(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    positions: torch.Tensor,
    work: Units,
    scoring: Scoring,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend the nodes of a tree: the kernel for CUDA tensors, the twin elsewhere. See tree_attention_plain."""
    attend = tree_attention_triton if q.is_cuda else tree_attention_plain
    return attend(q, k_pages, v_pages, positions, work, scoring)


def tree_attention_plain(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    positions: torch.Tensor,
    work: Units,
    scoring: Scoring,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend the nodes of a tree. The plain twin of tree_attention_triton: all keys of a token in one softmax.

    q: (n, q_heads, head_dim) float. Query heads h * r .. h * r + r - 1 read KV head h, r = q_heads / kv_heads.
    k_pages: (total_pages, page_tokens, kv_heads, head_dim), v_pages: (..., v_dim), both of q's dtype.
    positions: (n,) int32, where each query token stands in its sequence; it sees keys up to there.
    Returns out (n, q_heads, v_dim) in q's dtype and lse (n, q_heads) float32, sinks counted in. Arithmetic is
    float32 (float64 where q is that).  Raises ValueError for shapes and dtypes that do not fit.
    """
    _check(q, k_pages, v_pages, positions, work, scoring)
    out = torch.empty(*q.shape[:2], v_pages.shape[3], dtype=q.dtype, device=q.device)
    lse = torch.empty(q.shape[:2], dtype=wide(q[:0]).dtype, device=q.device)
    keys_of: list[list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]] = [[] for _ in q]
    for first_page, offset, n_keys, position, first_reader, n_readers in work.units.tolist():
        if not n_readers:  # a graph has room for more units than a step needs
            continue
        token = offset + torch.arange(n_keys, device=q.device)
        page, slot = work.pages[first_page + token // k_pages.shape[1]].long(), token % k_pages.shape[1]
        part = wide(k_pages[page, slot]), wide(v_pages[page, slot]), position + token - offset
        for reader in work.readers[first_reader : first_reader + n_readers].tolist():
            keys_of[reader].append(part)
    for i, stands_at in enumerate(positions.tolist()):
        k = torch.cat([wide(k_pages[:0, 0]), *(part[0] for part in keys_of[i])])
        v = torch.cat([wide(v_pages[:0, 0]), *(part[1] for part in keys_of[i])])
        at = torch.cat([positions[:0], *(part[2] for part in keys_of[i])])
        is_seen = at <= stands_at
        if scoring.window is not None:
            is_seen &= at > stands_at - scoring.window
        one_out, lse[i] = attend_plain(wide(q[i]), k, v, is_seen, scoring)
        out[i] = one_out.to(q.dtype)
    return out, lse


def _check(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    positions: torch.Tensor,
    work: Units,
    scoring: Scoring,
) -> None:
    check_heads(q, k_pages, v_pages, scoring)
    if work.units.ndim != 2 or work.units.shape[1] != len(UNIT_FIELDS) or not 0 <= work.n_wide <= len(work.units):
        raise ValueError(f"units must be (u, {len(UNIT_FIELDS)}), n_wide of them first, not {tuple(work.units.shape)}")
    n, r = len(q), len(work.readers)
    rows = (("positions", positions, n), ("starts", work.starts, n), ("stops", work.stops, n), ("order", work.order, r))
    for name, row, size in rows:
        if row.shape != (size,) or row.dtype != torch.int32:
            raise ValueError(f"{name} must be ({size},) int32, not {tuple(row.shape)} {row.dtype}")
    for name, row in (("units", work.units), ("pages", work.pages), ("readers", work.readers)):
        if row.dtype != torch.int32:
            raise ValueError(f"{name} must be int32, not {row.dtype}")


def tree_attention_triton(
    q: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    positions: torch.Tensor,
    work: Units,
    scoring: Scoring,
) -> tuple[torch.Tensor, torch.Tensor]:
    """tree_attention_plain as three launches: wide units, narrow units, the merge. The last dimension of each tensor
    must be contiguous.

    Never waits for the device: grids follow from shapes. Indices are not checked.
    Raises ImportError where triton is not installed.
    """
    need_triton("paged attention")
    _check(q, k_pages, v_pages, positions, work, scoring)
    need_contiguous_ends("tree_attention_triton", q, k_pages, v_pages, work.units)
    q_heads, head_dim = q.shape[1:]
    page_tokens, kv_heads, v_dim = v_pages.shape[1:]
    part_out = torch.empty(len(work.readers), q_heads, v_dim, dtype=torch.float32, device=q.device)
    part_lse = torch.empty(len(work.readers), q_heads, dtype=torch.float32, device=q.device)
    for is_wide, units in ((True, work.units[: work.n_wide]), (False, work.units[work.n_wide :])):
        shape = unit_shape(q_heads // kv_heads, head_dim, v_dim, q.element_size(), is_wide=is_wide)
        if len(units):
            unit_kernel[(len(units), kv_heads)](
                q,
                k_pages,
                v_pages,
                positions,
                units,
                work.pages,
                work.readers,
                part_out,
                part_lse,
                float(scoring.scale),
                float(scoring.softcap or 0.0),
                scoring.window or 0,
                *q.stride()[:2],
                *k_pages.stride()[:3],
                *v_pages.stride()[:3],
                units.stride(0),
                PAGE_TOKENS=page_tokens,
                HAS_WINDOW=scoring.window is not None,
                HAS_SOFTCAP=scoring.softcap is not None,
                **shape,
                num_warps=warps_of(shape),
                num_stages=2,
            )
    return merge_parts_triton(part_out, part_lse, work.starts, work.stops, work.order, q.dtype, scoring.sinks)


def unit_shape(group: int, head_dim: int, v_dim: int, element_bytes: int, *, is_wide: bool) -> dict[str, int]:
    """Tile sizes of unit_kernel. Where a product takes fewer rows than a unit has, the unit's keys are read again."""
    rows = readers_of_unit(group, is_wide=is_wide) * group
    shape = tile_shape(rows, head_dim, v_dim, element_bytes)
    return {"GROUP": group, "TILES": divide_up(power_of_two(rows), shape["BLOCK_M"]), **shape}


if HAS_TRITON:
    import triton
    import triton.language as tl

    from .online import absorb, finish, load_block, score

    jit: Any = triton.jit  # a launch takes more arguments than the function

    @jit(do_not_specialize_on_alignment=["positions", "units", "pages", "readers"])
    def unit_kernel(
        q,
        k_pages,
        v_pages,
        positions,
        units,
        pages,
        readers,
        part_out,
        part_lse,
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
        unit_stride,
        PAGE_TOKENS: tl.constexpr,
        HAS_WINDOW: tl.constexpr,
        HAS_SOFTCAP: tl.constexpr,
        GROUP: tl.constexpr,
        TILES: tl.constexpr,
        HEAD_DIM: tl.constexpr,
        V_DIM: tl.constexpr,
        BLOCK_M: tl.constexpr,
        BLOCK_N: tl.constexpr,
        BLOCK_D: tl.constexpr,
        BLOCK_V: tl.constexpr,
    ):
        """One program: one unit and KV head. A row is one query head of one reader.

        Programs next to each other have the same KV head, and units of the same node stand next to each other, so
        that what one reads the other finds in the cache.
        """
        unit = units + tl.program_id(0) * unit_stride
        kv_head = tl.program_id(1).to(tl.int64)
        first_page = tl.load(unit)
        offset = tl.load(unit + 1)
        n_keys = tl.load(unit + 2)
        position = tl.load(unit + 3)
        first_reader = tl.load(unit + 4)
        n_rows = tl.load(unit + 5) * GROUP
        if n_rows == 0:
            return

        d = tl.arange(0, BLOCK_D)
        e = tl.arange(0, BLOCK_V)
        for tile in range(TILES):
            row = tile * BLOCK_M + tl.arange(0, BLOCK_M)
            is_query = row < n_rows
            part = (first_reader + row // GROUP).to(tl.int64)
            q_head = kv_head * GROUP + row % GROUP
            token = tl.load(readers + part, mask=is_query, other=0).to(tl.int64)
            stands_at = tl.load(positions + token, mask=is_query, other=-1)
            queries = load_block(q, token * q_token_stride + q_head * q_head_stride, is_query, d, HEAD_DIM)

            stop = tl.minimum(n_keys, tl.max(stands_at, 0) - position + 1)
            visible_from = 0
            if HAS_WINDOW:
                lowest = tl.min(tl.where(is_query, stands_at, 2147483647), 0)
                visible_from = tl.maximum(0, lowest - window + 1 - position)

            highest = tl.full([BLOCK_M], float("-inf"), tl.float32)
            total = tl.zeros([BLOCK_M], tl.float32)
            acc = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)
            for block in range(visible_from, stop, BLOCK_N):
                key = block + tl.arange(0, BLOCK_N)
                is_key = key < stop
                page = tl.load(pages + first_page + (offset + key) // PAGE_TOKENS, mask=is_key, other=0).to(tl.int64)
                slot = (offset + key) % PAGE_TOKENS
                k_at = page * k_page_stride + slot * k_token_stride + kv_head * k_head_stride
                v_at = page * v_page_stride + slot * v_token_stride + kv_head * v_head_stride
                keys = load_block(k_pages, k_at, is_key, d, HEAD_DIM)
                is_seen = is_key[None, :] & ((position + key)[None, :] <= stands_at[:, None])
                if HAS_WINDOW:
                    is_seen &= (position + key)[None, :] > stands_at[:, None] - window
                scores = score(queries, keys, is_seen, scale, softcap, HAS_SOFTCAP)
                values = load_block(v_pages, v_at, is_key, e, V_DIM)
                highest, total, acc = absorb(scores, values, highest, total, acc)

            values, logs = finish(highest, total, acc)
            at = part * tl.num_programs(1) * GROUP + q_head
            tl.store(
                part_out + at[:, None] * V_DIM + e[None, :],
                values,
                mask=is_query[:, None] & (e < V_DIM)[None, :],
            )
            tl.store(part_lse + at, logs, mask=is_query)
