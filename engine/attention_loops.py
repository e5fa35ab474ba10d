"""The loops of attention, compiled by numba: tokens that read by themselves, and what stands between the two products
of tokens that read together. Numbers and rules as in `loops`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .loops import LOG2_E, SIGN_OFF, compiled, exp2, like, wide

_f32, _i32 = np.float32, np.int32
_LOWEST = _i32(-(2**31))

UNSEEN = -1e30
"""Log-sum-exp of no keys at all; finite, so that merging it is no special case."""

_BLOCK = 256  # keys a row is attended at a time: their scores stay in the nearest cache
_LN_2 = _f32(0.6931471805599453)
_MOST_TANH = _f32(9.0)  # beyond it tanh is 1 in float32
_UNSEEN = _f32(UNSEEN)


@compiled
def _ordered(b: Any) -> Any:
    """The bits of a float32 as an int32 of the same order, and back."""
    return _i32(b ^ ((b >> _i32(31)) & SIGN_OFF))


@compiled
def capped(x: Any, cap: Any) -> Any:
    """cap * tanh(x / cap)."""
    y = min(max(x / cap, -_MOST_TANH), _MOST_TANH)
    return cap - _f32(2) * cap / (exp2(_f32(2) * LOG2_E * y) + _f32(1))


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
                row[j] = capped(row[j] * factor, _f32(cap)) * LOG2_E
        else:
            for j in range(n):
                row[j] = row[j] * (factor * LOG2_E)
        most = _LOWEST
        for j in range(n):
            most = max(most, _ordered(_f32(row[j]).view(np.int32)))
        new_top = max(_i32(_ordered(most)).view(np.float32), top[g])
        sum_ = _f32(0)
        for j in range(n):
            e = exp2(row[j] - new_top)
            row[j] = e
            sum_ += e
        for j in range(n, padded):
            row[j] = _f32(0)
        shrink = exp2(top[g] - new_top)
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
    is_first: bool,
    top: np.ndarray,
    weight: np.ndarray,
    total: np.ndarray,
) -> None:
    """Rows start:stop of scores (n * groups, L), of keys first_key and following, become weights of their values.

    Row r is of token r // groups, which sees the keys low .. high - 1; the other weights are 0. top, weight: (rows,)
    float32, of the keys before: the largest score and the sum of weights, 2 to the power of score minus top. total
    (rows, value_dim) float32, the values weighed so far, is brought to the new top. is_first: there were no keys
    before, and nothing is read of the last three.
    """
    n_keys = scores.shape[1]
    for r in range(start, stop):
        row = scores[r]
        if is_first:
            top[r], weight[r] = _UNSEEN, _f32(0)
        begin, end = max(low[r // groups] - first_key, 0), min(high[r // groups] - first_key, n_keys)
        if begin >= end:
            row[:] = like(row[0], _f32(0))
            continue
        seen = row[begin:end]
        factor = _f32(scale) * LOG2_E
        if cap > _f32(0):
            for j in range(len(seen)):
                seen[j] = like(seen[j], capped(wide(seen[j]) * _f32(scale), _f32(cap)))
            factor = LOG2_E
        most = _LOWEST
        for j in range(len(seen)):
            most = max(most, _ordered(_f32(wide(seen[j])).view(np.int32)))
        new_top = max(_i32(_ordered(most)).view(np.float32) * factor, top[r])
        sum_ = _f32(0)
        for j in range(len(seen)):
            e = exp2(wide(seen[j]) * factor - new_top)
            sum_ += e
            seen[j] = like(seen[j], e)
        row[:begin] = like(row[0], _f32(0))
        row[end:] = like(row[0], _f32(0))
        shrink = exp2(top[r] - new_top)
        weight[r] = weight[r] * shrink + sum_
        top[r] = new_top
        if not is_first:
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
