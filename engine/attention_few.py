"""Attention in bfloat16 of few rows of queries, such as a decoding token's over its own sequence: see attention_pairs.

Keys are the lanes of vectors here, all heads take a block of them in turn, and the next keys and values are fetched
meanwhile: so few rows are done sooner than memory brings them. A third of the time that lanes for rows take.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .attention_loops import UNSEEN, capped, merge
from .loops import LOG2_E, compiled
from .vectors_few import DIMS, add_rows, score_rows, soften_rows

_f32 = np.float32
MOST_ROWS = 8
"""A group has few rows up to so many."""
_BLOCK = 256  # keys
_UNSEEN, _LOWEST = _f32(UNSEEN), _f32(-3e38)


def suits(key_dim: int, value_dim: int) -> bool:
    """Whether attend_few() is for heads of these sizes."""
    return key_dim % DIMS == 0 and value_dim % DIMS == 0


class _Blocks(NamedTuple):
    """Two blocks of keys, the one that is attended and the next one, as rows and positions (2, _BLOCK); and where the
    one after them begins: owner, segment, and position. The last is -1 for the segment's first."""

    rows: Any
    positions: Any
    cursor: Any


class _Room(NamedTuple):
    """Of one group: queries (kv_heads, rows, key_dim), states (kv_heads, 3, rows) as vectors.soften() has them, totals
    (kv_heads, rows, value_dim). Of one block: scores, weights (rows, _BLOCK), keys and values where they are copied."""

    queries: Any
    states: Any
    totals: Any
    scores: Any
    weights: Any
    keys: Any
    values: Any


@compiled
def attend_few(
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
) -> None:
    """attention_pairs.attend_pairs(), of the groups with at most MOST_ROWS heads of tokens for each of keys alone."""
    kv_heads, groups, key_dim, value_dim = queries.shape[1], queries.shape[2], queries.shape[3], values.shape[2]
    blocks = _Blocks(np.empty((2, _BLOCK), np.int64), np.empty((2, _BLOCK), np.int64), np.array([0, 0, -1]))
    room = _Room(
        np.empty(kv_heads * MOST_ROWS * key_dim, np.uint16),
        np.empty(kv_heads * MOST_ROWS * 3, np.float32),
        np.empty(kv_heads * MOST_ROWS * value_dim, np.float32),
        np.empty(MOST_ROWS * _BLOCK, np.float32),
        np.empty(MOST_ROWS * _BLOCK, np.uint16),
        np.empty(_BLOCK * key_dim, np.uint16),
        np.empty(_BLOCK * value_dim, np.uint16),
    )
    read = low, high, first_token, first_segment, segments
    before, now = -1, 0
    owner, n = _next_block(blocks, now, groups, read)
    while n:
        following, n_following = _next_block(blocks, 1 - now, groups, read)
        some = slice(first_token[owner], first_token[owner + 1])
        if owner != before:
            _open(queries, tokens[some], room)
        _attend_block(keys, values, low[some], high[some], n, n_following, scale, cap, groups, now, blocks, room)
        if following != owner or not n_following:
            _close(out, lse, tokens[some], groups, room)
        before, owner, n, now = owner, following, n_following, 1 - now


@compiled
def _next_block(blocks: _Blocks, which: int, groups: int, read: Any) -> tuple[int, int]:
    """Whose keys the next block has, and how many; 0 after the last one."""
    low, high, first_token, first_segment, segments = read
    owner, s, position = blocks.cursor
    n = 0
    while owner < len(first_token) - 1 and not n:
        start, stop = first_token[owner], first_token[owner + 1]
        if start < stop and (stop - start) * groups <= MOST_ROWS:
            begin, end = low[start:stop].min(), high[start:stop].max()
            s = max(s, first_segment[owner])
            while s < first_segment[owner + 1] and n < _BLOCK:
                position, last, shift = max(segments[s, 0], begin, position), min(segments[s, 1], end), segments[s, 2]
                take = min(last - position, _BLOCK - n)
                for j in range(take):
                    blocks.rows[which, n + j] = position + shift + j
                    blocks.positions[which, n + j] = position + j
                if take > 0:
                    n += take
                    position += take
                if position >= last:
                    s, position = s + 1, -1
            if n and s < first_segment[owner + 1]:
                break
        owner, position = owner + 1, -1
        if n:
            blocks.cursor[:] = owner, s, position
            return owner - 1, n
    blocks.cursor[:] = owner, s, position
    return owner, n


@compiled
def _open(queries: np.ndarray, tokens: np.ndarray, room: _Room) -> None:
    """The group has found nothing yet, and its queries are side by side."""
    kv_heads, groups, dim = queries.shape[1], queries.shape[2], queries.shape[3]
    n_rows = len(tokens) * groups
    for h in range(kv_heads):
        for row in range(n_rows):
            query = queries[tokens[row // groups], h, row % groups]
            into = room.queries[(h * n_rows + row) * dim : (h * n_rows + row + 1) * dim]
            for d in range(dim):
                into[d] = query[d]
            room.states[3 * n_rows * h + row] = _UNSEEN
            room.states[3 * n_rows * h + n_rows + row] = _f32(0)
    n = len(room.totals) // MOST_ROWS * n_rows
    room.totals[:n] = _f32(0)


@compiled
def _attend_block(
    keys: np.ndarray,
    values: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    n: int,
    n_ahead: int,
    scale: float,
    cap: float,
    groups: int,
    which: int,
    blocks: _Blocks,
    room: _Room,
) -> None:
    """Add n keys to what the group has found, of all heads; those that are no neighbours are copied."""
    pool_rows, key_dim, value_dim, n_rows = keys.shape[1], keys.shape[2], values.shape[2], len(low) * groups
    rows, positions, ahead = blocks.rows[which], blocks.positions[which], blocks.rows[1 - which, 0]
    factor = _f32(scale) if cap > _f32(0) else _f32(scale) * LOG2_E
    is_run = rows[n - 1] - rows[0] == n - 1
    if is_run:
        for j in range(1, n):
            is_run &= rows[j] == rows[0] + j
    some_hidden = positions[0] < low.max() or high.min() <= positions[n - 1]
    for h in range(keys.shape[0]):
        row, next_row, n_next = h * pool_rows + rows[0], (h + 1) * pool_rows + rows[0], n
        if h == keys.shape[0] - 1:
            next_row, n_next = ahead, n_ahead
        query, state, total = h * n_rows * key_dim, h * n_rows * 3, h * n_rows * value_dim
        scoring = n, n_rows, _BLOCK, key_dim, factor, next_row * key_dim, n_next
        if is_run:
            score_rows(room.queries, query, keys, row * key_dim, room.scores, 0, *scoring)
        else:
            _copy(keys[h], rows, n, room.keys)
            score_rows(room.queries, query, room.keys, 0, room.scores, 0, *scoring)
        if cap > _f32(0):
            for i in range(n_rows * _BLOCK):
                room.scores[i] = capped(room.scores[i], _f32(cap)) * LOG2_E
        if some_hidden:
            _hide(room.scores, positions[:n], low, high, groups)
        soften_rows(room.scores, 0, room.states, state, room.weights, 0, n, n_rows, _BLOCK)
        adding = n, n_rows, _BLOCK, value_dim, next_row * value_dim, n_next
        shrink = state + 2 * n_rows
        if is_run:
            add_rows(room.weights, 0, values, row * value_dim, room.states, shrink, room.totals, total, *adding)
        else:
            _copy(values[h], rows, n, room.values)
            add_rows(room.weights, 0, room.values, 0, room.states, shrink, room.totals, total, *adding)


@compiled
def _copy(pool: np.ndarray, rows: np.ndarray, n: int, into: np.ndarray) -> None:
    dim = pool.shape[1]
    for j in range(n):
        source, target = pool[rows[j]], into[j * dim : (j + 1) * dim]
        for d in range(dim):
            target[d] = source[d]


@compiled
def _hide(scores: np.ndarray, positions: np.ndarray, low: np.ndarray, high: np.ndarray, groups: int) -> None:
    """Scores of keys that a row does not see become the lowest."""
    for row in range(len(low) * groups):
        first, end = low[row // groups], high[row // groups]
        of_row = scores[row * _BLOCK : row * _BLOCK + len(positions)]
        for j in range(len(positions)):
            if not first <= positions[j] < end:
                of_row[j] = _LOWEST


@compiled
def _close(out: np.ndarray, lse: np.ndarray, tokens: np.ndarray, groups: int, room: _Room) -> None:
    """What the group has found is merged with what stands in out and lse."""
    n_rows, value_dim = len(tokens) * groups, out.shape[2]
    for h in range(out.shape[1] // groups):
        state = room.states[3 * n_rows * h : 3 * n_rows * (h + 1)]
        total = room.totals[n_rows * h * value_dim : n_rows * (h + 1) * value_dim].reshape(n_rows, value_dim)
        merge(out, lse, tokens, h * groups, groups, state[:n_rows], state[n_rows : 2 * n_rows], total)
