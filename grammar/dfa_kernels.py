"""States of a `dfa.Dfa` and their transitions, compiled: made as they are met, without asking the host where it may be.

Functions return a state, 0 or more; or why they could not go on, below 0: as `pool_kernels` has it, or NO_ROOM for
another state, or REFUSED as there would be one for every text.
"""

# pyright: reportReturnType=false, reportAssignmentType=false, reportArgumentType=false
# Numbers of compiled loops have 64 bits, and so are numpy's.

from __future__ import annotations

import numpy as np

from .derivative_kernels import derive, pruned
from .first_kernels import first, partition
from .machine_code import compiled, compiled_as
from .node_layout import (
    ALT,
    AND,
    CAPTURE,
    CAT,
    CLASSES,
    COUNTED,
    EPSILON,
    FRAME,
    KIND,
    MACHINE,
    NOT,
    NOTHING,
    PARTITIONS,
    REF,
    SET,
    UNBOUNDED,
    VERBATIM,
    A,
    B,
    C,
)
from .pool_kernels import field, has_few, in_set, member, nullable, put_at_set

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""What a `dfa.Dfa` is: by expression its state and one, 0 for none, int32; by state the expression, int32, the
transitions and the kind; and (1,) int64 the number of states."""

NO_ROOM, REFUSED = np.int64(-6), np.int64(-7)

DEAD = 0
"""The DFA state from which nothing is accepted."""

UNKNOWN = -1
"""A transition that nobody asked for yet."""

_FEW = 16  # bytes, see `transition`

HALTS, MAY_END, SPLITS, NULLABLE, APART = 1, 2, 4, 8, 16
"""Bits of `Dfa.kinds`."""


@compiled_as("int64(int64[::1], int64)")
def head_kind(pool: np.ndarray, item: int) -> int:
    """The kind of the first part of a concatenation."""
    kind = field(pool, item, KIND)
    return field(pool, field(pool, item, A), KIND) if kind == CAT else kind


@compiled_as("boolean(int64[::1], int64)")
def _begins_frame(pool: np.ndarray, item: int) -> bool:
    kind = head_kind(pool, item)
    return kind in (FRAME, REF, COUNTED, CAPTURE)


@compiled_as("boolean(int64[::1], int64)")
def _is_limited(pool: np.ndarray, item: int) -> bool:
    """Whether a machine that limits lengths stands beside conditions (`machine.AnyMachine.is_limit`)."""
    if field(pool, item, KIND) != AND:
        return False
    for i in range(field(pool, item, B)):
        each = member(pool, item, i)
        if field(pool, each, KIND) == MACHINE and field(pool, each, B) == 1:
            return True
    return False


@compiled_as("int64(int64[::1], int64)")
def _kind_of(pool: np.ndarray, item: int) -> int:
    """The bits of `Dfa.kinds`, or REFUSED."""
    bits, kind = np.int64(0), field(pool, item, KIND)
    if kind in (AND, NOT):
        for i in range(field(pool, item, B) if kind == AND else 1):
            each = member(pool, item, i) if kind == AND else field(pool, item, A)
            inner = field(pool, each, KIND)
            if inner == CAPTURE:
                return REFUSED
            for j in range(field(pool, each, B) if inner == ALT else 0):
                if field(pool, member(pool, each, j), KIND) == CAPTURE:
                    return REFUSED
            if kind == AND and inner == COUNTED and field(pool, each, B) == 0 and field(pool, each, C) != UNBOUNDED:
                bits |= APART
    if kind == VERBATIM or _is_limited(pool, item):
        bits |= APART
    if _begins_frame(pool, item):
        bits |= HALTS
    elif kind == ALT:
        for i in range(field(pool, item, B)):
            if _begins_frame(pool, member(pool, item, i)):
                bits |= HALTS | SPLITS
                break
            if _is_limited(pool, member(pool, item, i)):
                bits |= APART
    if nullable(pool, item):
        bits |= NULLABLE
        if bits & HALTS == 0:
            bits |= MAY_END
    return bits


@compiled
def state_of(pool: np.ndarray, dfa: Arrays, item: int) -> int:
    """The state that an expression is, made if it is new."""
    states, expressions, transitions, kinds, counts = dfa
    if item >= states.shape[0]:
        return NO_ROOM
    if states[item] > 0:
        return np.int64(states[item]) - 1
    made = counts[0]
    if made >= kinds.shape[0]:
        return NO_ROOM
    bits = _kind_of(pool, item)
    if bits == REFUSED:
        return REFUSED
    row = transitions[made]
    number = -1 if bits & HALTS and not bits & SPLITS else first(pool, item, NOTHING)
    row[:] = DEAD if number >= 0 else UNKNOWN
    if number >= 0:
        put_at_set(pool, number, row, UNKNOWN)
    kinds[made] = bits
    expressions[made] = item
    states[item] = made + 1
    counts[0] = made + 1
    return made


@compiled
def _after(pool: np.ndarray, dfa: Arrays, item: int, byte: int) -> int:
    left = derive(pool, item, byte, NOTHING)
    if left >= 0:
        left = pruned(pool, left)
    return left if left < 0 else state_of(pool, dfa, left)


@compiled
def _take_over(pool: np.ndarray, dfa: Arrays, item: int, row: np.ndarray) -> int:
    """Where an item is another one without some texts, take its transitions over by bytes with which none of these
    begins: the number of the set of the other bytes; or, below 0, nothing was.
    """
    if field(pool, item, KIND) != AND or field(pool, item, B) != 2:
        return UNKNOWN
    body, without = member(pool, item, 0), member(pool, item, 1)
    if field(pool, body, KIND) == NOT:
        body, without = without, body
    if field(pool, without, KIND) != NOT or body >= dfa[0].shape[0] or dfa[0][body] == 0:
        return UNKNOWN
    number = first(pool, field(pool, without, A), NOTHING)
    if number >= 0:
        other = dfa[2][dfa[0][body] - 1]
        for byte in range(256):
            if row[byte] == UNKNOWN and not in_set(pool, number, byte):
                row[byte] = other[byte]
    return number


@compiled
def transition(pool: np.ndarray, dfa: Arrays, state: int, byte: int) -> int:
    """The state after a byte: now in `transitions`, for all bytes that behave alike.

    For this one alone where alternatives begin with few, or what is left out does: to find out which are alike takes
    longer than to take each.
    """
    _, expressions, transitions, _, _ = dfa
    item = np.int64(expressions[state])
    head, tail = item, np.int64(EPSILON)
    if field(pool, item, KIND) == CAT:
        head, tail = field(pool, item, A), field(pool, item, B)
    row = transitions[state]
    if field(pool, head, KIND) == SET:
        number = field(pool, head, A)
        left = pruned(pool, tail)
        if left < 0:
            return left
        after = state_of(pool, dfa, left)
        if after >= 0:
            row[:] = DEAD
            put_at_set(pool, number, row, after)
            after = np.int64(row[byte])
        return after
    number = first(pool, item, NOTHING)
    if number < 0:
        return number
    if not in_set(pool, number, byte):
        row[byte] = DEAD
        return DEAD
    besides = _take_over(pool, dfa, item, row)
    if row[byte] != UNKNOWN:
        return np.int64(row[byte])
    by_itself = besides >= 0 and in_set(pool, besides, byte) and has_few(pool, besides, _FEW)
    if by_itself or (field(pool, item, KIND) == ALT and has_few(pool, number, _FEW)):
        after = _after(pool, dfa, item, byte)
        if after >= 0:
            row[byte] = after
        return after
    number = partition(pool, item, NOTHING)
    if number < 0:
        return number
    classes = pool[PARTITIONS] + CLASSES * number
    alike = 0
    while pool[classes + alike] != pool[classes + byte]:
        alike += 1
    after = _after(pool, dfa, item, np.int64(alike))
    if after >= 0:
        for each in range(alike, 256):
            if pool[classes + each] == pool[classes + byte]:
                row[each] = after
    return after


@compiled
def find_edges(pool: np.ndarray, dfa: Arrays, edges: np.ndarray) -> int:
    """Fill in some transitions, as `transition` does. edges: states and bytes, (n, 2) int64."""
    for i in range(edges.shape[0]):
        state, byte = edges[i, 0], edges[i, 1]
        if dfa[2][state, byte] == UNKNOWN:
            after = transition(pool, dfa, state, byte)
            if after < 0:
                return after
    return 0


@compiled
def complete(pool: np.ndarray, dfa: Arrays, state: int) -> int:
    """Find all transitions of a state; returns the state."""
    transitions = dfa[2]
    for byte in range(256):
        if transitions[state, byte] == UNKNOWN:
            after = transition(pool, dfa, state, byte)
            if after < 0:
                return after
    return state
