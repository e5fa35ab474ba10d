"""The loops between matrix products, compiled by numba: one pass over memory where torch takes several.

Numbers come as float32, or as bfloat16 in the form of its bits, uint16, since numpy has no such type: see `bits`. All
arithmetic is float32. A row of a result never depends on the other rows, nor on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from numba import types
from numba.extending import overload

_f32, _i32, _u32, _u16 = np.float32, np.int32, np.uint32, np.uint16
_SIGN_OFF = _i32(0x7FFFFFFF)
_LOWEST = _i32(-(2**31))


def bits(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's own memory as an array: float32 as it is, bfloat16 as uint16."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled when first called, from numba's cache on disk where that can be written."""
    options = {"fastmath": True, "nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no place for the cache
        return numba.njit(**options)(function)


# -- numbers of either kind ---------------------------------------------------------------------------------------


def wide(x: Any) -> Any:
    """The float32 that an element stands for."""
    raise NotImplementedError("only in compiled loops")


def like(element: Any, x: Any) -> Any:
    """x, a float32, as an element of that one's kind; rounded to nearest, ties away from zero."""
    raise NotImplementedError("only in compiled loops")


@overload(wide, inline="always")
def _wide(x: Any) -> Any:
    def as_it_is(x: Any) -> Any:
        return x

    def widened(x: Any) -> Any:
        return _u32(_u32(x) << _u32(16)).view(np.float32)

    return widened if isinstance(x, types.Integer) else as_it_is


@overload(like, inline="always")
def _like(element: Any, x: Any) -> Any:
    def as_it_is(element: Any, x: Any) -> Any:
        return x

    def rounded(element: Any, x: Any) -> Any:
        return _u16(_u32(_f32(x).view(np.uint32) + _u32(0x8000)) >> _u32(16))

    return rounded if isinstance(element, types.Integer) else as_it_is


# -- int8 ---------------------------------------------------------------------------------------------------------


@compiled
def quantise_rows(x: np.ndarray, quantised: np.ndarray, largest: np.ndarray) -> None:
    """Each row of x (rows, n) as 128 + round(127 * x / largest), uint8; largest (rows,): its largest magnitude."""
    for r in range(x.shape[0]):
        row = x[r]
        top = _i32(0)
        for j in range(row.shape[0]):  # magnitudes are ordered as their bits are; as numbers this would not vectorise
            top = max(top, _i32(_f32(wide(row[j])).view(np.int32) & _SIGN_OFF))
        most = _i32(top).view(np.float32)
        largest[r] = most
        scale = _f32(127) / most if most > _f32(0) else _f32(0)
        for j in range(row.shape[0]):
            quantised[r, j] = np.uint8(_i32(wide(row[j]) * scale + _f32(128.5)))


@compiled
def scale_rows(x: np.ndarray, factors: np.ndarray, bias: np.ndarray) -> None:
    """x (rows, n) = x * factors (rows,) + bias, (n,) or of no elements for none; in place."""
    for r in range(x.shape[0]):
        row, factor = x[r], factors[r]
        if bias.shape[0]:
            for j in range(row.shape[0]):
                row[j] = like(row[j], wide(row[j]) * factor + wide(bias[j]))
        else:
            for j in range(row.shape[0]):
                row[j] = like(row[j], wide(row[j]) * factor)


# -- attention ----------------------------------------------------------------------------------------------------

UNSEEN = -1e30
"""Log-sum-exp of no keys at all; finite, so that merging it is no special case."""

_BLOCK = 256  # keys a row is attended at a time: their scores stay in the nearest cache
_LOG2_E = _f32(1.4426950408889634)
_LN_2 = _f32(0.6931471805599453)
_MOST_TANH = _f32(9.0)  # beyond it tanh is 1 in float32
_UNSEEN = _f32(UNSEEN)


@compiled
def _exp2(x: Any) -> Any:
    """2 ** x for x <= 30, right to 1e-7 of it; below -126: hardly more than 0. A polynomial, so that it vectorises."""
    x = max(x, _f32(-126))
    whole = _i32(x)
    r = x - _f32(whole)
    if r > _f32(0):  # the polynomial is for -1 .. 0
        r -= _f32(1)
        whole += _i32(1)
    p = _f32(0.0009381164563819766)
    p = p * r + _f32(0.009186874143779278)
    p = p * r + _f32(0.05527813360095024)
    p = p * r + _f32(0.24017158150672913)
    p = p * r + _f32(0.6931421756744385)
    p = p * r + _f32(0.9999999403953552)
    return p * _i32((whole + _i32(127)) << _i32(23)).view(np.float32)


@compiled
def _ordered(b: Any) -> Any:
    """The bits of a float32 as an int32 of the same order, and back."""
    return _i32(b ^ ((b >> _i32(31)) & _SIGN_OFF))


@compiled
def _capped(x: Any, cap: Any) -> Any:
    """cap * tanh(x / cap)."""
    y = min(max(x / cap, -_MOST_TANH), _MOST_TANH)
    return cap - _f32(2) * cap / (_exp2(_f32(2) * _LOG2_E * y) + _f32(1))


@compiled
def attend_rows(
    start: int,
    stop: int,
    queries: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    tokens: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    owners: np.ndarray,
    first_segment: np.ndarray,
    segments: np.ndarray,
    scale: float,
    cap: float,
    out: np.ndarray,
    lse: np.ndarray,
) -> None:
    """Attention of tokens[start:stop], each by itself over the keys at its positions low .. high - 1.

    queries (T, kv_heads, groups, key_dim) float32; keys, values (kv_heads, rows, dim); tokens, low, high, owners (n,);
    segments (S, 3): of owner o those numbered first_segment[o] .. first_segment[o + 1] - 1, ascending, each a first
    position, the one after its last, and row minus position. cap: of scores, 0 for none.
    Writes out (T, kv_heads * groups, value_dim) and lse (T, kv_heads * groups), float32.
    What a token gets depends on its keys in order, not on how they are cut in segments.
    """
    groups, value_dim = queries.shape[2], values.shape[2]
    rows = np.empty(_BLOCK + 3, np.int64)
    scores = np.empty((groups, _BLOCK + 3), np.float32)
    total = np.empty((groups, value_dim), np.float32)
    top, weight = np.empty(groups, np.float32), np.empty(groups, np.float32)
    factor = _f32(scale)
    for i in range(start, stop):
        token, owner = tokens[i], owners[i]
        for h in range(keys.shape[0]):
            query, head_keys, head_values = queries[token, h], keys[h], values[h]
            top[:] = _UNSEEN
            weight[:] = _f32(0)
            total[:] = _f32(0)
            n = 0
            for s in range(first_segment[owner], first_segment[owner + 1]):
                position, end, shift = max(segments[s, 0], low[i]), min(segments[s, 1], high[i]), segments[s, 2]
                while position < end:
                    take = min(end - position, _BLOCK - n)
                    for j in range(take):
                        rows[n + j] = position + shift + j
                    n += take
                    position += take
                    if n == _BLOCK:
                        _attend_block(query, head_keys, head_values, rows, n, factor, cap, scores, top, weight, total)
                        n = 0
            if n:
                _attend_block(query, head_keys, head_values, rows, n, factor, cap, scores, top, weight, total)
            for g in range(groups):
                head = h * groups + g
                is_seen = weight[g] > _f32(0)
                share = _f32(1) / weight[g] if is_seen else _f32(0)
                lse[token, head] = (top[g] + _f32(np.log2(weight[g]))) * _LN_2 if is_seen else _UNSEEN
                into = out[token, head]
                for d in range(value_dim):
                    into[d] = total[g, d] * share


@compiled
def _attend_block(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    rows: np.ndarray,
    n: int,
    factor: float,
    cap: float,
    scores: np.ndarray,
    top: np.ndarray,
    weight: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add n keys to what the heads of a group have found: four at a time, the last one again where n is no multiple."""
    groups, key_dim, value_dim = query.shape[0], query.shape[1], total.shape[1]
    padded = (n + 3) // 4 * 4
    for j in range(n, padded):
        rows[j] = rows[n - 1]
    for j in range(0, padded, 4):
        k0, k1, k2, k3 = keys[rows[j]], keys[rows[j + 1]], keys[rows[j + 2]], keys[rows[j + 3]]
        for g in range(groups):
            q = query[g]
            s0, s1, s2, s3 = _f32(0), _f32(0), _f32(0), _f32(0)
            for d in range(key_dim):
                x = q[d]
                s0 += x * wide(k0[d])
                s1 += x * wide(k1[d])
                s2 += x * wide(k2[d])
                s3 += x * wide(k3[d])
            of_head = scores[g]
            of_head[j], of_head[j + 1], of_head[j + 2], of_head[j + 3] = s0, s1, s2, s3
    for g in range(groups):
        row = scores[g]
        if cap > _f32(0):
            for j in range(n):
                row[j] = _capped(row[j] * factor, _f32(cap)) * _LOG2_E
        else:
            for j in range(n):
                row[j] = row[j] * (factor * _LOG2_E)
        most = _LOWEST
        for j in range(n):
            most = max(most, _ordered(_f32(row[j]).view(np.int32)))
        new_top = max(_i32(_ordered(most)).view(np.float32), top[g])
        sum_ = _f32(0)
        for j in range(n):
            e = _exp2(row[j] - new_top)
            row[j] = e
            sum_ += e
        for j in range(n, padded):
            row[j] = _f32(0)
        shrink = _exp2(top[g] - new_top)
        weight[g] = weight[g] * shrink + sum_
        top[g] = new_top
        for d in range(value_dim):
            total[g, d] *= shrink
    for j in range(0, padded, 4):
        v0, v1, v2, v3 = values[rows[j]], values[rows[j + 1]], values[rows[j + 2]], values[rows[j + 3]]
        for g in range(groups):
            w0, w1, w2, w3 = scores[g, j], scores[g, j + 1], scores[g, j + 2], scores[g, j + 3]
            into = total[g]
            for d in range(value_dim):
                into[d] += w0 * wide(v0[d]) + w1 * wide(v1[d]) + w2 * wide(v2[d]) + w3 * wide(v3[d])


@compiled
def soften(
    start: int,
    stop: int,
    scores: np.ndarray,
    first_key: int,
    groups: int,
    low: np.ndarray,
    high: np.ndarray,
    scale: float,
    cap: float,
    top: np.ndarray,
    weight: np.ndarray,
    total: np.ndarray,
) -> None:
    """Rows start:stop of scores (n * groups, L), of keys first_key and following, become weights of their values.

    Row r is of token r // groups, which sees the keys low .. high - 1; the other weights are 0. top, weight: (rows,)
    float32, of the keys before: the largest score and the sum of weights, 2 to the power of score minus top. total
    (rows, value_dim) float32, the values weighed so far, is brought to the new top.
    """
    n_keys = scores.shape[1]
    for r in range(start, stop):
        row = scores[r]
        begin, end = max(low[r // groups] - first_key, 0), min(high[r // groups] - first_key, n_keys)
        if begin >= end:
            row[:] = like(row[0], _f32(0))
            continue
        seen = row[begin:end]
        factor = _f32(scale) * _LOG2_E
        if cap > _f32(0):
            for j in range(len(seen)):
                seen[j] = like(seen[j], _capped(wide(seen[j]) * _f32(scale), _f32(cap)))
            factor = _LOG2_E
        most = _LOWEST
        for j in range(len(seen)):
            most = max(most, _ordered(_f32(wide(seen[j])).view(np.int32)))
        new_top = max(_i32(_ordered(most)).view(np.float32) * factor, top[r])
        sum_ = _f32(0)
        for j in range(len(seen)):
            e = _exp2(wide(seen[j]) * factor - new_top)
            sum_ += e
            seen[j] = like(seen[j], e)
        row[:begin] = like(row[0], _f32(0))
        row[end:] = like(row[0], _f32(0))
        shrink = _exp2(top[r] - new_top)
        weight[r] = weight[r] * shrink + sum_
        top[r] = new_top
        for d in range(total.shape[1]):
            total[r, d] *= shrink


@compiled
def merge(
    out: np.ndarray,
    lse: np.ndarray,
    tokens: np.ndarray,
    first_head: int,
    groups: int,
    top: np.ndarray,
    weight: np.ndarray,
    total: np.ndarray,
) -> None:
    """Join what soften() left of some keys to what is known of others.

    out (T, heads, value_dim), lse (T, heads) float32: of tokens (n,) the heads first_head .. first_head + groups - 1
    change; top, weight (n * groups,), total (n * groups, value_dim).
    """
    for i in range(tokens.shape[0]):
        for g in range(groups):
            r, head = i * groups + g, first_head + g
            if not weight[r] > _f32(0):
                continue
            mine = (top[r] + _f32(np.log2(weight[r]))) * _LN_2
            theirs = lse[tokens[i], head]
            larger = max(mine, theirs)
            a, b = _f32(np.exp(mine - larger)), _f32(np.exp(theirs - larger))
            into = out[tokens[i], head]
            share, kept = a / ((a + b) * weight[r]), b / (a + b)
            for d in range(into.shape[0]):
                into[d] = into[d] * kept + total[r, d] * share
            lse[tokens[i], head] = larger + _f32(np.log(a + b))
