"""Joining attention over disjoint sets of keys by their log-sum-exps: the Triton kernel and its plain torch twin.

Attention over many keys is cut into parts (stretches of one sequence's keys, prefixes shared by many); each part gives
the values weighted by its own softmax and the log of its sum. What they have together is a softmax over those logs.
"""

from __future__ import annotations

from typing import Any

import torch

from .tiles import HAS_TRITON, need_triton, power_of_two, wide

_PARTS_AT_ONCE = 16

Attended = tuple[torch.Tensor, torch.Tensor]


def merge_attention(out_a: torch.Tensor, lse_a: torch.Tensor, out_b: torch.Tensor, lse_b: torch.Tensor) -> Attended:
    """Attention over two disjoint sets of keys, from attention over each.

    out: (..., heads, v_dim) float, lse: (..., heads) float32; a part without keys has out 0 and lse -inf.
    Returns the joined out, in out_a's dtype, and lse.
    """
    lse = torch.logaddexp(lse_a, lse_b)
    share_a, share_b = ((part - lse).exp().nan_to_num(0.0)[..., None] for part in (lse_a, lse_b))
    return (out_a * share_a + out_b * share_b).to(out_a.dtype), lse


def merge_parts(
    part_out: torch.Tensor,
    part_lse: torch.Tensor,
    starts: torch.Tensor,
    stops: torch.Tensor,
    order: torch.Tensor | None,
    dtype: torch.dtype,
    sinks: torch.Tensor | None = None,
) -> Attended:
    """Join each token's parts: the kernel for CUDA tensors, the twin elsewhere. See merge_parts_plain."""
    merge = merge_parts_triton if part_out.is_cuda else merge_parts_plain
    return merge(part_out, part_lse, starts, stops, order, dtype, sinks)


def merge_parts_plain(
    part_out: torch.Tensor,
    part_lse: torch.Tensor,
    starts: torch.Tensor,
    stops: torch.Tensor,
    order: torch.Tensor | None,
    dtype: torch.dtype,
    sinks: torch.Tensor | None = None,
) -> Attended:
    """Join each token's parts. The plain twin of merge_parts_triton.

    part_out: (parts, heads, v_dim) float32, part_lse: (parts, heads) float32.
    starts, stops: (n,) int32; the parts of token i are order[starts[i] : stops[i]].  order: (m,) int32; None: the
        parts stand in order themselves. What is not listed is not read.
    sinks: (heads,) float, scores that join each head's softmax and carry no value.
    Returns out (n, heads, v_dim) in dtype, and lse (n, heads) float32, sinks counted in; a token without parts (or
    whose parts saw no key) has out 0, and lse -inf without sinks.
    """
    n, heads, v_dim = len(starts), *part_out.shape[1:]
    out = torch.zeros(n, heads, v_dim, dtype=dtype, device=part_out.device)
    lse = torch.full((n, heads), -torch.inf, dtype=wide(part_lse).dtype, device=part_out.device)
    for i, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        mine = torch.arange(start, stop, device=part_out.device) if order is None else order[start:stop].long()
        logs, values = wide(part_lse[mine]), wide(part_out[mine])
        if sinks is not None:
            logs = torch.cat([logs, wide(sinks).to(logs.dtype)[None]])
            values = torch.cat([values, values.new_zeros(1, heads, v_dim)])
        if len(logs):
            lse[i] = logs.logsumexp(0)
            out[i] = ((logs - lse[i]).exp().nan_to_num(0.0)[..., None] * values).sum(0).to(dtype)
    return out, lse


def merge_parts_triton(
    part_out: torch.Tensor,
    part_lse: torch.Tensor,
    starts: torch.Tensor,
    stops: torch.Tensor,
    order: torch.Tensor | None,
    dtype: torch.dtype,
    sinks: torch.Tensor | None = None,
) -> Attended:
    """merge_parts_plain as one kernel. part_out and part_lse are contiguous; indices are not checked."""
    has_order = order is not None
    return _merge(part_out, part_lse, starts, stops, order if has_order else starts, dtype, sinks, HAS_ORDER=has_order)


def merge_stretches_triton(
    part_out: torch.Tensor,
    part_lse: torch.Tensor,
    lengths: torch.Tensor,
    stretch_tokens: int,
    dtype: torch.dtype,
    sinks: torch.Tensor | None,
) -> Attended:
    """Join each token's stretches of keys; see merge_parts_plain.

    part_out, part_lse: with (n, stretches) in place of their first size. lengths: (n,) int32, each token's keys;
    what lies beyond them is not read.
    """
    n, room = part_lse.shape[:2]
    part_out, part_lse = part_out.flatten(0, 1), part_lse.flatten(0, 1)
    return _merge(
        part_out, part_lse, lengths, lengths, lengths, dtype, sinks, n=n, room=room, STRETCH_TOKENS=stretch_tokens
    )


def _merge(
    part_out: torch.Tensor,
    part_lse: torch.Tensor,
    starts: torch.Tensor,
    stops: torch.Tensor,
    order: torch.Tensor,
    dtype: torch.dtype,
    sinks: torch.Tensor | None,
    *,
    n: int | None = None,
    room: int = 0,
    HAS_ORDER: bool = False,
    STRETCH_TOKENS: int = 0,
) -> Attended:
    need_triton("attention")
    n = len(starts) if n is None else n
    heads, v_dim = part_out.shape[1:]
    out = torch.empty(n, heads, v_dim, dtype=dtype, device=part_out.device)
    lse = torch.empty(n, heads, dtype=torch.float32, device=part_out.device)
    if n:
        merge_kernel[(n, heads)](
            part_out,
            part_lse,
            starts,
            stops,
            order,
            part_lse if sinks is None else sinks,
            out,
            lse,
            heads,
            room,
            HAS_ORDER=HAS_ORDER,
            HAS_SINKS=sinks is not None,
            STRETCH_TOKENS=STRETCH_TOKENS,
            **merge_shape(v_dim),
            num_warps=4,
        )
    return out, lse


def merge_shape(v_dim: int) -> dict[str, int]:
    """Tile sizes of merge_kernel."""
    return {"V_DIM": v_dim, "BLOCK_S": _PARTS_AT_ONCE, "BLOCK_V": power_of_two(v_dim)}


if HAS_TRITON:
    import triton
    import triton.language as tl

    jit: Any = triton.jit  # a launch takes more arguments than the function

    @jit(do_not_specialize_on_alignment=["starts", "stops", "order"], do_not_specialize=["room"])
    def merge_kernel(
        part_out,
        part_lse,
        starts,
        stops,
        order,
        sinks,
        out,
        lse,
        heads,
        room,
        HAS_ORDER: tl.constexpr,
        HAS_SINKS: tl.constexpr,
        STRETCH_TOKENS: tl.constexpr,
        V_DIM: tl.constexpr,
        BLOCK_S: tl.constexpr,
        BLOCK_V: tl.constexpr,
    ):
        """One program: one head of one token."""
        token = tl.program_id(0)
        head = tl.program_id(1)
        if STRETCH_TOKENS > 0:
            first = token * room
            stop = first + tl.cdiv(tl.load(stops + token), STRETCH_TOKENS)
        else:
            first = tl.load(starts + token)
            stop = tl.load(stops + token)
        e = tl.arange(0, BLOCK_V)

        highest = float("-inf")
        total = 0.0
        if HAS_SINKS:
            highest = tl.load(sinks + head).to(tl.float32)
            total = 1.0
        acc = tl.zeros([BLOCK_V], tl.float32)
        for base in range(first, stop, BLOCK_S):
            listed = base + tl.arange(0, BLOCK_S)
            is_there = listed < stop
            part = listed
            if HAS_ORDER:
                part = tl.load(order + listed, mask=is_there, other=0)
            row = part.to(tl.int64) * heads + head
            logs = tl.load(part_lse + row, mask=is_there, other=float("-inf"))
            values = tl.load(
                part_out + row[:, None] * V_DIM + e[None, :],
                mask=(is_there & (logs > float("-inf")))[:, None] & (e < V_DIM)[None, :],
                other=0.0,
            )
            new_highest = tl.maximum(highest, tl.max(logs, 0))
            finite = tl.where(new_highest == float("-inf"), 0.0, new_highest)  # -inf - -inf would be nan
            weights = tl.exp(logs - finite)
            shrink = tl.exp(highest - finite)
            total = total * shrink + tl.sum(weights, 0)
            acc = acc * shrink + tl.sum(weights[:, None] * values, 0)
            highest = new_highest

        row = token.to(tl.int64) * heads + head
        divisor = tl.where(total > 0, total, 1.0)
        tl.store(out + row * V_DIM + e, (acc / divisor).to(out.dtype.element_ty), mask=e < V_DIM)
        tl.store(lse + row, tl.where(total > 0, highest + tl.log(divisor), float("-inf")))
