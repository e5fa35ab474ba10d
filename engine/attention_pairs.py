"""Attention in bfloat16 as one compiled loop, where the processor has instructions for products of pairs (vectors.py).

Tokens that read the same keys are attended together: each head of each of them is a lane of vectors, so that keys and
values are read where they are, once, in blocks that stay in the nearest caches (FlashAttention, arXiv:2205.14135). Half
to three quarters of the time of two products by oneDNN with what stands between them, and scores are never rounded.
For few rows of queries see attention_few. Numbers and rules as in `loops`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .attention_loops import UNSEEN, capped, merge
from .loops import LOG2_E, compiled
from .vectors import KEYS, ROWS, VALUES, add_values, available, dots, fetch, soften

_f32, _u32 = np.float32, np.uint32
_BLOCK = 128  # keys
_SMALL_BLOCK = 32  # with eight lanes, where it is memory that one waits for
_LANES = 16  # the last lanes of a group are eight where that is enough
_UNSEEN, _LOWEST = _f32(UNSEEN), _f32(-3e38)
_AVAILABLE = available()


def can_attend(key_dim: int, value_dim: int) -> bool:
    """Whether attend_pairs() is for heads of these sizes on this processor."""
    return _AVAILABLE and key_dim % 2 == 0 and value_dim % VALUES == 0


class _Group(NamedTuple):
    """Tokens that read the same keys, (n,) each, and what they have found so far: for each sixteen of rows, which are
    heads of tokens, their pairs of queries (key_dim / 2, lanes), and their state as vectors.soften() has it; totals
    (rows, value_dim)."""

    tokens: Any
    low: Any
    high: Any
    packed: Any
    state: Any
    total: Any


class _Block(NamedTuple):
    """Keys that are read at once: their rows and positions. The rest is room: see _attend_block()."""

    rows: Any
    positions: Any
    keys: Any
    values: Any
    scores: Any
    weights: Any


@compiled
def attend_pairs(
    queries: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    tokens: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    first_token: np.ndarray,
    first_segment: np.ndarray,
    segments: np.ndarray,
    scale: float,
    cap: float,
    out: np.ndarray,
    lse: np.ndarray,
    most_few: int,
) -> None:
    """Attention of groups of tokens, merged with what stands in out and lse: of more rows than most_few.

    queries (T, kv_heads, groups, key_dim), keys and values (kv_heads, rows, dim): bfloat16 as uint16. Group o is tokens
    first_token[o] .. first_token[o + 1] - 1 of tokens (n,). The rest: see attention_loops.attend_rows().
    """
    groups, key_dim, value_dim = queries.shape[2], queries.shape[3], values.shape[2]
    block = _Block(
        np.empty(_BLOCK, np.int64),
        np.empty(_BLOCK, np.int64),
        np.zeros(_BLOCK * key_dim, np.uint16),
        np.empty(_BLOCK // 2 * value_dim, np.uint32),
        np.empty(_BLOCK * _LANES, np.float32),
        np.empty(_BLOCK // 2 * _LANES, np.uint32),
    )
    most_lanes = _lanes(np.diff(first_token).max() * groups)
    packed = np.zeros(most_lanes * key_dim // 2, np.uint32)
    state = np.empty(3 * most_lanes, np.float32)
    total = np.empty(most_lanes * value_dim, np.float32)
    for o in range(len(first_token) - 1):
        if (first_token[o + 1] - first_token[o]) * groups <= most_few:
            continue
        some = slice(first_token[o], first_token[o + 1])
        group = _Group(tokens[some], low[some], high[some], packed, state, total)
        begin, end = group.low.min(), group.high.max()
        most = _SMALL_BLOCK if len(group.tokens) * groups <= 8 else _BLOCK
        for h in range(keys.shape[0]):
            _open(queries, h, value_dim, group)
            n, first = 0, -1
            for s in range(first_segment[o], first_segment[o + 1]):
                position, stop, shift = max(segments[s, 0], begin), min(segments[s, 1], end), segments[s, 2]
                while position < stop:
                    take = min(stop - position, most - n)
                    for j in range(take):
                        block.rows[n + j] = position + shift + j
                        block.positions[n + j] = position + j
                    n += take
                    position += take
                    first = block.rows[0] if first < 0 else first
                    if n == most:
                        ahead = h * keys.shape[1] + position + shift
                        _attend_block(keys, values, h, groups, n, scale, cap, ahead, group, block)
                        n = 0
            if n:
                ahead = (h + 1) * keys.shape[1] + first
                _attend_block(keys, values, h, groups, n, scale, cap, ahead, group, block)
            _close(out, lse, h, groups, group)


@compiled
def _lanes(n_rows: int) -> int:
    return (n_rows + 7) // 8 * 8


@compiled
def _open(queries: np.ndarray, head: int, value_dim: int, group: _Group) -> None:
    """The group has found nothing yet, and its queries are packed."""
    groups, n_pairs = queries.shape[2], queries.shape[3] // 2
    n_rows = len(group.tokens) * groups
    n_lanes = _lanes(n_rows)
    for row in range(n_lanes):
        at = row // _LANES * _LANES
        lanes, lane = min(_LANES, n_lanes - at), row - at
        group.state[3 * at + lane] = _UNSEEN
        group.state[3 * at + lanes + lane] = _f32(0)
        first = at * n_pairs + lane
        if row < n_rows:
            query = queries[group.tokens[row // groups], head, row % groups]
            for p in range(n_pairs):
                pair = _u32(query[2 * p]) | _u32(_u32(query[2 * p + 1]) << _u32(16))
                group.packed[first + p * lanes] = pair
        else:
            for p in range(n_pairs):
                group.packed[first + p * lanes] = _u32(0)
    group.total[: n_lanes * value_dim] = _f32(0)


@compiled
def _attend_block(
    keys: np.ndarray,
    values: np.ndarray,
    head: int,
    groups: int,
    n: int,
    scale: float,
    cap: float,
    ahead: int,
    group: _Group,
    block: _Block,
) -> None:
    """Add n keys to what the group has found. Those that are no neighbours, or no multiple of KEYS, are copied.

    ahead: the row, of all heads' rows one after another, from which on the next keys stand, most likely.
    """
    key_dim, value_dim = keys.shape[2], values.shape[2]
    n_pairs, n_keys = key_dim // 2, (n + KEYS - 1) // KEYS * KEYS
    in_place = _copy_keys(keys[head], n, block)
    _pair_values(values[head], n, n_keys, block)
    key = (head * keys.shape[1] + block.rows[0]) * key_dim
    factor = _f32(scale) if cap > _f32(0) else _f32(scale) * LOG2_E
    n_lanes = _lanes(len(group.tokens) * groups)
    oldest, newest = block.positions[0], block.positions[n - 1]
    is_first = True
    for at in range(0, n_lanes, _LANES):
        lanes = min(_LANES, n_lanes - at)
        some = slice(at // groups, min((at + lanes - 1) // groups + 1, len(group.tokens)))
        low, high = group.low[some], group.high[some]
        if newest < low.min() or high.max() <= oldest:
            continue
        n_fetched, is_first = KEYS if is_first else 0, False
        for j in range(0, in_place, KEYS):
            fetch(keys, (ahead + j) * key_dim, n_fetched * key_dim)
            fetch(values, (ahead + j) * value_dim, n_fetched * value_dim)
            dots(group.packed, at * n_pairs, keys, key + j * key_dim, block.scores, j * lanes, n_pairs, lanes, factor)
        for j in range(in_place, n_keys, KEYS):
            dots(group.packed, at * n_pairs, block.keys, j * key_dim, block.scores, j * lanes, n_pairs, lanes, factor)
        if cap > _f32(0):
            for i in range(n * lanes):
                block.scores[i] = capped(block.scores[i], _f32(cap)) * LOG2_E
        if n < n_keys or oldest < low.max() or high.min() <= newest:
            _hide(block, n, n_keys, at, lanes, groups, group)
        soften(block.scores, 0, group.state, 3 * at, block.weights, 0, n_keys // 2, lanes)
        for row in range(0, min(lanes, len(group.tokens) * groups - at), ROWS):
            shrink, total = 3 * at + 2 * lanes + row, (at + row) * value_dim
            room = group.state, shrink, group.total, total
            add_values(block.weights, row, block.values, 0, *room, n_keys // 2, lanes, value_dim)


@compiled
def _copy_keys(keys: np.ndarray, n: int, block: _Block) -> int:
    """How many of the n keys can be read where they are; the others are copied to their places in the block's room."""
    in_place = n // KEYS * KEYS
    for j in range(1, n):
        if block.rows[j] != block.rows[0] + j:
            in_place = 0
            break
    dim = keys.shape[1]
    for j in range(in_place, n):
        key, into = keys[block.rows[j]], block.keys[j * dim : (j + 1) * dim]
        for d in range(dim):
            into[d] = key[d]
    return in_place


@compiled
def _pair_values(values: np.ndarray, n: int, n_keys: int, block: _Block) -> None:
    """The block's values become (n_keys / 2, value_dim) pairs; those beyond the n-th key are 0."""
    dim = values.shape[1]
    for p in range(n // 2):
        a, b = values[block.rows[2 * p]], values[block.rows[2 * p + 1]]
        into = block.values[p * dim : (p + 1) * dim]
        for d in range(dim):
            into[d] = _u32(a[d]) | _u32(_u32(b[d]) << _u32(16))
    if n % 2:
        a, into = values[block.rows[n - 1]], block.values[n // 2 * dim : (n // 2 + 1) * dim]
        for d in range(dim):
            into[d] = _u32(a[d])
    block.values[(n + 1) // 2 * dim : n_keys // 2 * dim] = _u32(0)


@compiled
def _hide(block: _Block, n: int, n_keys: int, first_row: int, lanes: int, groups: int, group: _Group) -> None:
    """Scores (n_keys, lanes) that a lane does not see become the lowest: of other positions, and beyond n keys."""
    for lane in range(lanes):
        token = min((first_row + lane) // groups, len(group.tokens) - 1)
        low, high = group.low[token], group.high[token]
        for j in range(n):
            if not low <= block.positions[j] < high:
                block.scores[j * lanes + lane] = _LOWEST
    block.scores[n * lanes : n_keys * lanes] = _LOWEST


@compiled
def _close(out: np.ndarray, lse: np.ndarray, head: int, groups: int, group: _Group) -> None:
    """What the group has found is merged with what stands in out and lse."""
    n_rows = len(group.tokens) * groups
    n_lanes = _lanes(n_rows)
    top, weight = np.empty(n_rows, np.float32), np.empty(n_rows, np.float32)
    for row in range(n_rows):
        at = row // _LANES * _LANES
        top[row] = group.state[3 * at + row - at]
        weight[row] = group.state[3 * at + min(_LANES, n_lanes - at) + row - at]
    value_dim = out.shape[2]
    total = group.total[: n_lanes * value_dim].reshape(n_lanes, value_dim)
    merge(out, lse, group.tokens, head * groups, groups, top, weight, total)
