"""Rotating queries and keys, and writing keys and values to their pages, in one go: the Triton kernel and its twin.

Rotary positions (Su et al. 2021), the pairs half a rotated width apart, as in the Llama family.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from .tiles import HAS_TRITON, divide_up, need_contiguous_ends, need_triton, power_of_two, wide

_HEADS_AT_ONCE = 8


class Rope(NamedTuple):
    """The first rotary_dim of each head's numbers turn with the position; rotary_dim is even.

    cos, sin: (n_positions, rotary_dim / 2) float32.
    """

    cos: torch.Tensor
    sin: torch.Tensor


def write_kv(
    k: torch.Tensor,
    v: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    rows: torch.Tensor,
    q: torch.Tensor | None = None,
    positions: torch.Tensor | None = None,
    rope: Rope | None = None,
) -> None:
    """Write to the pool: the kernel for CUDA tensors, the twin elsewhere. See write_kv_plain."""
    write = write_kv_triton if k.is_cuda else write_kv_plain
    write(k, v, k_pages, v_pages, rows, q, positions, rope)


def write_kv_plain(
    k: torch.Tensor,
    v: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    rows: torch.Tensor,
    q: torch.Tensor | None = None,
    positions: torch.Tensor | None = None,
    rope: Rope | None = None,
) -> None:
    """Write each token's key, rotated, and value to its place; rotate q in place. The plain twin of write_kv_triton.

    k: (n, kv_heads, head_dim), v: (n, kv_heads, v_dim), q: (n, q_heads, head_dim), float; k is not changed.
    k_pages: (total_pages, page_tokens, kv_heads, head_dim), v_pages: (..., v_dim), of k's dtype.
    rows: (n,) int32, page * page_tokens + place in the page; -1: the token is not written. No row comes twice.
    positions: (n,) int32, with rope.  rope None: nothing is rotated, and q must be None.
    Raises ValueError for what does not fit together.
    """
    _check(k, v, k_pages, v_pages, rows, q, positions, rope)
    if rope is not None and positions is not None and q is not None:
        q.copy_(_rotated(q, positions, rope))
        k = _rotated(k, positions, rope)
    is_written = rows >= 0
    page, slot = rows[is_written].long() // k_pages.shape[1], rows[is_written].long() % k_pages.shape[1]
    k_pages[page, slot] = k[is_written].to(k_pages.dtype)
    v_pages[page, slot] = v[is_written]


def _rotated(x: torch.Tensor, positions: torch.Tensor, rope: Rope) -> torch.Tensor:
    """(n, heads, head_dim), in x's dtype."""
    half = rope.cos.shape[1]
    at = positions.long()
    cos, sin = wide(rope.cos)[at][:, None], wide(rope.sin)[at][:, None]
    a, b, rest = wide(x).split([half, half, x.shape[2] - 2 * half], dim=2)
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=2).to(x.dtype)


def _check(
    k: torch.Tensor,
    v: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    rows: torch.Tensor,
    q: torch.Tensor | None,
    positions: torch.Tensor | None,
    rope: Rope | None,
) -> None:
    n, kv_heads, head_dim = k.shape
    if v.shape[:2] != (n, kv_heads) or k_pages.shape[2:] != k.shape[1:] or v_pages.shape[2:] != v.shape[1:]:
        raise ValueError(
            f"k {tuple(k.shape)} and v {tuple(v.shape)} do not fit pages {tuple(k_pages.shape)}, {tuple(v_pages.shape)}"
        )
    if not k.dtype == v.dtype == k_pages.dtype == v_pages.dtype:
        raise ValueError(f"k, v and pages must share a dtype: {k.dtype}, {v.dtype}, {k_pages.dtype}, {v_pages.dtype}")
    if rows.shape != (n,) or rows.dtype != torch.int32:
        raise ValueError(f"rows must be ({n},) int32, not {tuple(rows.shape)} {rows.dtype}")
    if rope is None:
        if q is not None or positions is not None:
            raise ValueError("q and positions are for rope only")
        return
    if positions is None or positions.shape != (n,) or positions.dtype != torch.int32:
        raise ValueError(f"with rope, positions must be ({n},) int32")
    if q is None or q.shape[::2] != (n, head_dim) or q.dtype != k.dtype:
        raise ValueError(f"with rope, q must be ({n}, q_heads, {head_dim}) of k's dtype")
    if rope.cos.shape != rope.sin.shape or not 0 < 2 * rope.cos.shape[1] <= head_dim:
        raise ValueError(
            f"cos {tuple(rope.cos.shape)} and sin {tuple(rope.sin.shape)} must be (n_positions, rotary_dim / 2), "
            f"rotary_dim up to {head_dim}"
        )


def write_kv_triton(
    k: torch.Tensor,
    v: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    rows: torch.Tensor,
    q: torch.Tensor | None = None,
    positions: torch.Tensor | None = None,
    rope: Rope | None = None,
) -> None:
    """write_kv_plain as one kernel. Rows and positions are not checked. Raises ImportError where triton is missing."""
    need_triton("writing KV to pages")
    _check(k, v, k_pages, v_pages, rows, q, positions, rope)
    cos, sin = (None, None) if rope is None else rope
    need_contiguous_ends("write_kv_triton", k, v, q, k_pages, v_pages, cos, sin)
    n, kv_heads, head_dim = k.shape
    turned = k if q is None else q
    shape = write_shape(turned.shape[1], kv_heads, head_dim, v.shape[2], 0 if cos is None else 2 * cos.shape[1])
    grid = (n, divide_up(shape["Q_HEADS"], _HEADS_AT_ONCE) + divide_up(kv_heads, _HEADS_AT_ONCE))
    if n:
        write_kernel[grid](
            turned,
            k,
            v,
            k_pages,
            v_pages,
            rows,
            rows if positions is None else positions,
            k if cos is None else cos,
            k if sin is None else sin,
            *turned.stride()[:2],
            *k.stride()[:2],
            *v.stride()[:2],
            *k_pages.stride()[:3],
            *v_pages.stride()[:3],
            0 if cos is None else cos.stride(0),
            PAGE_TOKENS=k_pages.shape[1],
            **shape,
            num_warps=4,
        )


def write_shape(q_heads: int, kv_heads: int, head_dim: int, v_dim: int, rotary_dim: int) -> dict[str, int]:
    """Sizes that write_kernel is compiled for. rotary_dim 0: no rope."""
    return {
        "Q_HEADS": q_heads if rotary_dim else 0,
        "KV_HEADS": kv_heads,
        "HEAD_DIM": head_dim,
        "V_DIM": v_dim,
        "HALF": rotary_dim // 2,
        "BLOCK_H": _HEADS_AT_ONCE,
        "BLOCK_HALF": power_of_two(rotary_dim // 2),
        "BLOCK_D": power_of_two(max(head_dim, v_dim)),
    }


if HAS_TRITON:
    import triton
    import triton.language as tl

    jit: Any = triton.jit  # a launch takes more arguments than the function

    @jit
    def rotate(source, at, is_head, cos, sin, HALF: tl.constexpr, BLOCK_HALF: tl.constexpr):
        """Both halves of the rotated numbers of some heads, (heads, HALF) each; row i begins at element at[i]."""
        c = tl.arange(0, BLOCK_HALF)
        is_there = is_head[:, None] & (c < HALF)[None, :]
        turn_cos = tl.load(cos + c, mask=c < HALF, other=0.0).to(tl.float32)[None, :]
        turn_sin = tl.load(sin + c, mask=c < HALF, other=0.0).to(tl.float32)[None, :]
        a = tl.load(source + at[:, None] + c[None, :], mask=is_there, other=0.0).to(tl.float32)
        b = tl.load(source + at[:, None] + HALF + c[None, :], mask=is_there, other=0.0).to(tl.float32)
        return a * turn_cos - b * turn_sin, b * turn_cos + a * turn_sin, is_there

    @jit(do_not_specialize_on_alignment=["rows", "positions"])
    def write_kernel(
        q,
        k,
        v,
        k_pages,
        v_pages,
        rows,
        positions,
        cos,
        sin,
        q_token_stride,
        q_head_stride,
        k_token_stride,
        k_head_stride,
        v_token_stride,
        v_head_stride,
        k_page_stride,
        k_slot_stride,
        k_row_head_stride,
        v_page_stride,
        v_slot_stride,
        v_row_head_stride,
        turn_stride,
        PAGE_TOKENS: tl.constexpr,
        Q_HEADS: tl.constexpr,
        KV_HEADS: tl.constexpr,
        HEAD_DIM: tl.constexpr,
        V_DIM: tl.constexpr,
        HALF: tl.constexpr,
        BLOCK_H: tl.constexpr,
        BLOCK_HALF: tl.constexpr,
        BLOCK_D: tl.constexpr,
    ):
        """One program: BLOCK_H query heads of one token, or BLOCK_H of its KV heads."""
        token = tl.program_id(0).to(tl.int64)
        q_tiles: tl.constexpr = (Q_HEADS + BLOCK_H - 1) // BLOCK_H
        c = tl.arange(0, BLOCK_HALF)
        turn = tl.load(positions + token).to(tl.int64) * turn_stride
        if tl.program_id(1) < q_tiles:
            head = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
            at = token * q_token_stride + head * q_head_stride
            a, b, is_there = rotate(q, at, head < Q_HEADS, cos + turn, sin + turn, HALF, BLOCK_HALF)
            tl.store(q + at[:, None] + c[None, :], a.to(q.dtype.element_ty), mask=is_there)
            tl.store(q + at[:, None] + HALF + c[None, :], b.to(q.dtype.element_ty), mask=is_there)
            return
        row = tl.load(rows + token)
        if row < 0:
            return
        page = (row // PAGE_TOKENS).to(tl.int64)
        slot = row % PAGE_TOKENS
        head = (tl.program_id(1) - q_tiles) * BLOCK_H + tl.arange(0, BLOCK_H)
        is_head = head < KV_HEADS
        k_at = token * k_token_stride + head * k_head_stride
        k_to = page * k_page_stride + slot * k_slot_stride + head * k_row_head_stride
        if HALF > 0:
            a, b, is_there = rotate(k, k_at, is_head, cos + turn, sin + turn, HALF, BLOCK_HALF)
            tl.store(k_pages + k_to[:, None] + c[None, :], a.to(k_pages.dtype.element_ty), mask=is_there)
            tl.store(k_pages + k_to[:, None] + HALF + c[None, :], b.to(k_pages.dtype.element_ty), mask=is_there)
        d = tl.arange(0, BLOCK_D)
        if 2 * HALF < HEAD_DIM:
            is_rest = is_head[:, None] & ((d >= 2 * HALF) & (d < HEAD_DIM))[None, :]
            rest = tl.load(k + k_at[:, None] + d[None, :], mask=is_rest, other=0.0)
            tl.store(k_pages + k_to[:, None] + d[None, :], rest, mask=is_rest)
        is_value = is_head[:, None] & (d < V_DIM)[None, :]
        v_at = token * v_token_stride + head * v_head_stride
        v_to = page * v_page_stride + slot * v_slot_stride + head * v_row_head_stride
        values = tl.load(v + v_at[:, None] + d[None, :], mask=is_value, other=0.0)
        tl.store(v_pages + v_to[:, None] + d[None, :], values, mask=is_value)
