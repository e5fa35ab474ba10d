"""Members of objects, compiled: each of these does in one call what takes many when it is done step by step."""

from __future__ import annotations

import numpy as np

from .alternation_kernels import alt, and_
from .machine_code import compiled, compiled_within
from .node_kernels import add_opaque, cat, concat, frame, negation, prefixed, repeat
from .node_layout import (
    EMPTY,
    EPSILON,
    LENGTH,
    MAX_NODES,
    N_NODES,
    NEED_ROOM,
    NO_FLAGS,
    NOTHING,
    REF,
    UNBOUNDED,
    UNKNOWN,
)
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


@compiled_within
def _spell(pool: np.ndarray, letters: np.ndarray, ends: np.ndarray, spellings: np.ndarray, words: np.ndarray) -> int:
    """Words, each letter in each of its spellings, as `besides` has them; put into words: (n,) int64."""
    start = 0
    for i in range(ends.shape[0]):
        word = EPSILON
        for at in range(ends[i] - 1, start - 1, -1):
            word = concat(pool, spellings[letters[at]], word)
            if word < 0:
                return int(word)
        words[i] = word
        start = ends[i]
    return 0


@compiled
def besides(pool: np.ndarray, body: int, letters: np.ndarray, ends: np.ndarray, spellings: np.ndarray) -> int:
    """Texts of an item, but none of some words.

    letters: the words, one behind the other, as numbers of their spellings, (letters,) uint8. ends: where each ends,
    (n,) int64. spellings: (m,) int64 items.
    """
    n = ends.shape[0]
    words = np.empty(n, np.int64)
    code = _spell(pool, letters, ends, spellings, words)
    if code < 0:
        return code
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
def write_strings(
    pool: np.ndarray, letters: np.ndarray, ends: np.ndarray, spellings: np.ndarray, quote: int, found: np.ndarray
) -> int:
    """Words, each `quoted`, which are as `besides` has them; put into found: (n,) int64."""
    code = _spell(pool, letters, ends, spellings, found)
    if code < 0:
        return code
    for i in range(ends.shape[0]):
        found[i] = quoted(pool, found[i], quote)
        if found[i] < 0:
            return int(found[i])
    return 0


@compiled
def many_before(pool: np.ndarray, comma: int, item: int, close: int) -> int:
    """Any number of an item, a comma before each, and the end."""
    found = concat(pool, comma, item)
    if found >= 0:
        found = repeat(pool, found, 0, UNBOUNDED)
    return concat(pool, found, close) if found >= 0 else found


@compiled
def write_each(pool: np.ndarray, firsts: np.ndarray, middle: int, lasts: np.ndarray, found: np.ndarray) -> int:
    """Of each pair of items the first, then `middle`, then the last; put into found. All: (n,) int64."""
    for i in range(firsts.shape[0]):
        found[i] = concat(pool, firsts[i], concat(pool, middle, lasts[i]))
        if found[i] < 0:
            return int(found[i])
    return 0


@compiled
def add_references(pool: np.ndarray, first: int, lengths: np.ndarray) -> int:
    """New references, one id behind the other, which the host has numbered from `first` on: the id of the first.

    lengths: bytes of the shortest text of each, or UNKNOWN, (n,) int64.
    """
    n, found = lengths.shape[0], pool[N_NODES]
    if found + n > pool[MAX_NODES]:
        return NEED_ROOM  # before any is made: to make them again would be to make others
    for i in range(n):
        put_field(pool, add_opaque(pool, REF, first + i, UNKNOWN, NOTHING, NO_FLAGS), LENGTH, lengths[i])
    return int(found)


@compiled
def next_of(pool: np.ndarray, comma: int, values: np.ndarray, rests: np.ndarray, end: int) -> int:
    """`end`, or one of some values, a comma before it and what follows behind it.

    values, rests: items, (n,) int64. Values that the same follows are one alternation.
    """
    n = values.shape[0]
    order = np.argsort(rests, kind="mergesort")
    found, alike = np.empty(n + 1, np.int64), np.empty(n, np.int64)
    n_found, at = 0, 0
    while at < n:
        rest, n_alike = rests[order[at]], 0
        while at < n and rests[order[at]] == rest:
            alike[n_alike] = values[order[at]]
            n_alike += 1
            at += 1
        each = concat(pool, comma, concat(pool, alt(pool, alike, n_alike, 0), rest))
        if each < 0:
            return each
        found[n_found] = each
        n_found += 1
    found[n_found] = end
    return alt(pool, found, n_found + 1, 0)
