"""Members of objects, compiled: each of these does in one call what takes many when it is done step by step."""

from __future__ import annotations

import numpy as np

from .alternation_kernels import alt, and_
from .machine_code import compiled
from .node_kernels import cat, concat, frame, negation, prefixed, repeat
from .node_layout import EMPTY, EPSILON, LENGTH, UNBOUNDED
from .pool_kernels import nullable, put_field


@compiled
def any_of(pool: np.ndarray, texts: np.ndarray, choices: np.ndarray) -> int:
    """One of some choices.

    choices: of each where its text ends in texts, (bytes,) uint8, and two items that follow it, (n, 3) int64.
    """
    n, start = choices.shape[0], 0
    written = np.empty(n, np.int64)
    for i in range(n):
        written[i] = prefixed(pool, texts, start, choices[i, 0], choices[i, 1], choices[i, 2])
        if written[i] < 0:
            return int(written[i])
        start = choices[i, 0]
    return alt(pool, written, n, 0)


@compiled
def frame_of(pool: np.ndarray, before: int, texts: np.ndarray, choices: np.ndarray) -> int:
    """A frame of an item and one of some choices, which are as `any_of` has them."""
    found = any_of(pool, texts, choices)
    if found >= 0:
        found = concat(pool, before, found)
    return frame(pool, found) if found >= 0 else found


@compiled
def besides(pool: np.ndarray, body: int, letters: np.ndarray, ends: np.ndarray, spellings: np.ndarray) -> int:
    """Texts of an item, but none of some words.

    letters: the words, one behind the other, as numbers of their spellings, (letters,) uint8. ends: where each ends,
    (n,) int64. spellings: (m,) int64 items.
    """
    n, start = ends.shape[0], 0
    words = np.empty(n, np.int64)
    for i in range(n):
        word = EPSILON
        for at in range(ends[i] - 1, start - 1, -1):
            word = concat(pool, spellings[letters[at]], word)
            if word < 0:
                return int(word)
        words[i] = word
        start = ends[i]
    none = negation(pool, alt(pool, words, n, 0))
    if none < 0:
        return none
    both = np.empty(2, np.int64)
    both[0], both[1] = body, none
    found = and_(pool, both, 2, 0)
    if found >= 0 and nullable(pool, found):
        put_field(pool, found, LENGTH, 0)
    return found


@compiled
def quoted(pool: np.ndarray, body: int, quote: int) -> int:
    """A frame of an item between quotes."""
    if body == EMPTY:
        return EMPTY
    found = frame(pool, body)
    if found >= 0:
        found = cat(pool, found, quote)
    return concat(pool, quote, found) if found >= 0 else found


@compiled
def many_before(pool: np.ndarray, comma: int, item: int, close: int) -> int:
    """Any number of an item, a comma before each, and the end."""
    found = concat(pool, comma, item)
    if found >= 0:
        found = repeat(pool, found, 0, UNBOUNDED)
    return concat(pool, found, close) if found >= 0 else found
