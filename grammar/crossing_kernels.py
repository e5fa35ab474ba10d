"""What entering frames comes to, compiled: the frames an expression begins with, its alternatives, what is pushed."""

# pyright: reportReturnType=false, reportAssignmentType=false, reportArgumentType=false
# Numbers of compiled loops have 64 bits, and so are numpy's.

from __future__ import annotations

import numpy as np

from .alternation_kernels import alt
from .derivative_kernels import pruned
from .dfa_kernels import SPLITS, Arrays, head_kind, state_of
from .first_kernels import definition, first
from .kernels import find, put
from .machine_code import compiled, compiled_within
from .node_kernels import concat, repeat
from .node_layout import (
    CAPTURE,
    CAT,
    COUNTED,
    EMPTY,
    EPSILON,
    FRAME,
    KIND,
    MARK,
    NOTHING,
    REF,
    SET_WORDS,
    SETS,
    UNBOUNDED,
    A,
    B,
    C,
)
from .pool_kernels import field, member, nullable

SequenceArrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""What a `sequences.Sequences` is: by sequence the one without its last entry, that entry, and its DFA state, int32;
the hash table of these, and that of joins (`kernels.find`); and (2,) int64 how many of both there are."""

CrossingArrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""What a `crossings.Crossings` is: `entered`, `splits`, `ways`, and (1,) int64 how many ways there are."""

NO_PLACE = np.int64(-8)
"""There is no room for one more sequence or way."""

SLOW = -2
"""In tables of states: it depends on the stack, or on a captured text."""

_ASKED = np.int64(-10)
_FARTHEST = np.int64((1 << 31) - 1)


@compiled
def pushed_on(pool: np.ndarray, dfa: Arrays, sequences: SequenceArrays, below: int, entry: int) -> int:
    """The sequence with one more entry, made if it is new; or why there is none."""
    parents, entries, tops, keys, values, _, _, counts = sequences
    place = find(keys, below, entry, NOTHING)
    if keys[place, 0] != -1:
        return np.int64(values[place])
    made = counts[0]
    if made >= parents.shape[0] or 2 * made >= values.shape[0]:
        return NO_PLACE
    top = SLOW if field(pool, entry, KIND) == MARK else state_of(pool, dfa, entry)
    if top < 0 and top != SLOW:
        return top
    parents[made], entries[made], tops[made] = below, entry, top
    put(keys, values, below, entry, NOTHING, made)
    counts[0] = made + 1
    return made


@compiled
def joined(pool: np.ndarray, dfa: Arrays, sequences: SequenceArrays, below: int, above: int) -> int:
    """What is pushed when first one sequence is, then another; or why there is none."""
    parents, entries, _, _, _, keys, values, counts = sequences
    if below == 0:
        return above
    if above == 0:
        return below
    place = find(keys, below, above, NOTHING)
    if keys[place, 0] != -1:
        return np.int64(values[place])
    if 2 * counts[1] >= values.shape[0]:
        return NO_PLACE
    n, at = 0, above
    while at > 0:
        at = np.int64(parents[at])
        n += 1
    found = below
    for i in range(n):
        at = above
        for _ in range(n - 1 - i):
            at = np.int64(parents[at])
        found = pushed_on(pool, dfa, sequences, found, np.int64(entries[at]))
        if found < 0:
            return found
    counts[1] += put(keys, values, below, above, NOTHING, found)
    return found


@compiled_within
def _meet(pool: np.ndarray, own: int, other: int) -> bool:
    """Whether two sets of bytes have one in common."""
    a, b = pool[SETS] + SET_WORDS * own, pool[SETS] + SET_WORDS * other
    shared = np.int64(0)
    for i in range(SET_WORDS):
        shared |= pool[a + i] & pool[b + i]
    return shared != 0


@compiled_within
def _may_follow(pool: np.ndarray, sequences: SequenceArrays, run: int, tail: int, sequence: int) -> int:
    """Whether what stands behind a counted run may begin with a byte the run goes on with, 0 or 1; SLOW: it depends on
    the stack; or below _ASKED why that is not known.
    """
    parents, entries, _, _, _, _, _, _ = sequences
    own, behind = first(pool, field(pool, run, A), NOTHING), tail
    if own < 0:
        return _ASKED + own
    while True:
        other = first(pool, behind, NOTHING)
        if other < 0:
            return _ASKED + other
        if _meet(pool, own, other):
            return 1
        if not nullable(pool, behind):
            return 0
        if sequence == 0:
            return SLOW
        behind = np.int64(entries[sequence])
        sequence = np.int64(parents[sequence])


@compiled_within
def enter(pool: np.ndarray, dfa: Arrays, crossings: CrossingArrays, sequences: SequenceArrays, state: int) -> int:
    """Find what entering a state comes to that halts and does not split (`places.Frames.enter`); 0, or why not."""
    entered, _, _, _ = crossings
    item, sequence = np.int64(dfa[1][state]), np.int64(0)
    row = entered[state]
    while True:
        head, tail = item, np.int64(EPSILON)
        if field(pool, item, KIND) == CAT:
            head, tail = field(pool, item, A), field(pool, item, B)
        kind = field(pool, head, KIND)
        if kind == CAPTURE:
            row[0] = SLOW
            return 0
        if kind == COUNTED:
            unit, lo, hi = field(pool, head, A), field(pool, head, B), field(pool, head, C)
            follows = _may_follow(pool, sequences, head, tail, sequence)
            if follows == SLOW:
                row[0] = SLOW
                return 0
            if follows < 0:
                return follows - _ASKED
            item = repeat(pool, unit, NOTHING if follows == 0 else lo, UNBOUNDED if follows == 0 else hi)
            if follows == 1 and item >= 0:
                item = concat(pool, item, tail)
            if item < 0:
                return item
            inside = state_of(pool, dfa, item)
            if inside < 0:
                return inside
            if follows == 0 and tail != EPSILON:
                sequence = pushed_on(pool, dfa, sequences, sequence, tail)
                if sequence < 0:
                    return sequence
            row[1], row[2], row[3], row[4] = -1, 0, 0, sequence
            if follows == 0:
                row[1], row[2], row[3] = inside, lo, _FARTHEST if hi == UNBOUNDED else hi
            row[0] = inside
            return 0
        if kind not in (FRAME, REF):
            inside = state_of(pool, dfa, item)
            if inside >= 0:
                row[0], row[1], row[2], row[3], row[4] = inside, -1, 0, 0, sequence
            return min(inside, 0)
        item = field(pool, head, A) if kind == FRAME else definition(pool, head)
        if item < 0:
            return item
        if tail != EPSILON:
            sequence = pushed_on(pool, dfa, sequences, sequence, tail)
            if sequence < 0:
                return sequence


@compiled_within
def split(pool: np.ndarray, dfa: Arrays, crossings: CrossingArrays, state: int) -> int:
    """Find the alternatives of a state that splits: how many they are, or why they are not known.

    Together they are the same; no more than one does not halt.
    """
    _, splits, ways, counts = crossings
    item = np.int64(dfa[1][state])
    size, at = field(pool, item, B), counts[0]
    if at + size > ways.shape[0]:
        return NO_PLACE
    others, n_others = np.empty(size, np.int64), np.int64(0)
    for i in range(size):
        each = member(pool, item, np.int64(i))
        left = pruned(pool, each)
        if left < 0:
            return left
        if left == EMPTY:
            continue
        if head_kind(pool, each) in (FRAME, REF, COUNTED, CAPTURE):
            inside = state_of(pool, dfa, each)
            if inside < 0:
                return inside
            ways[at] = inside
            at += 1
        else:
            others[n_others] = each
            n_others += 1
    left = alt(pool, others, n_others, NOTHING) if n_others else np.int64(EMPTY)
    if left < 0:
        return left
    if left != EMPTY:
        inside = state_of(pool, dfa, left)
        if inside < 0:
            return inside
        ways[at] = inside
        at += 1
    splits[state, 0], splits[state, 1] = counts[0], at - counts[0]
    counts[0] = at
    return splits[state, 1]


@compiled
def cross(
    pool: np.ndarray, dfa: Arrays, crossings: CrossingArrays, sequences: SequenceArrays, state: int, below: int
) -> int:
    """Find what entering a state comes to that halts, with a sequence pushed before: not below 0, or why not."""
    if dfa[3][state] & SPLITS:
        return split(pool, dfa, crossings, state)
    entered = crossings[0]
    if entered[state, 0] == 0:
        code = enter(pool, dfa, crossings, sequences, state)
        if code < 0:
            return code
    return 0 if entered[state, 0] == SLOW else joined(pool, dfa, sequences, below, np.int64(entered[state, 4]))
