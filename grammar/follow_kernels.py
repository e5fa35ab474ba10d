"""The loop that takes the bytes of one token through frames, compiled; and whether all frames of a stack may end."""

# pyright: reportReturnType=false, reportAssignmentType=false, reportArgumentType=false
# Numbers of compiled loops have 64 bits, and so are numpy's.

from __future__ import annotations

import numpy as np

from .crossing_kernels import SLOW, CrossingArrays, cross
from .dfa_kernels import HALTS, NULLABLE, SPLITS, Arrays, transition
from .frame_kernels import HI, LO, POPPED, SEQUENCE, STACK, UNIT, StackArrays, find_behind, is_wide
from .machine_code import compiled, compiled_within

LEFT, REFUSED, WENT, AMBIGUOUS, NO_EDGE, NO_ENTRY = range(6)
"""What `follow` returns; LEFT is internal. AMBIGUOUS: it needs what the tables do not hold. NO_...: to be found."""

LOCAL, UNITS, OPEN, RUN_UNITS, AT, DEPTH, ASKED, BESIDE = 0, 7, 8, 9, 10, 11, 12, 13
"""Columns of the place that `follow` moves; 1 to 6 are UNIT to SEQUENCE, each one further than in `frames`. OPEN,
RUN_UNITS: see `places.Path`. DEPTH: how much of the stack was read. ASKED: the state whose transition or entry has to
be found; BESIDE: the sequence pushed before."""


@compiled
def may_all_end(
    state: int,
    unit: int,
    lo: int,
    stack: int,
    kinds: np.ndarray,
    parents: np.ndarray,
    tops: np.ndarray,
    depth: np.ndarray,
) -> int:
    """Whether everything may end at a place: 1 or 0, or SLOW.

    depth: (1,) int64, how much of the stack was read.
    """
    may = state == unit and lo <= 0 if unit >= 0 else kinds[state] & NULLABLE != 0
    while may:
        top = tops[stack]
        if top < 0:
            return top
        depth[0] += 1
        if top == 0:
            return 1
        may = kinds[top] & NULLABLE != 0
        stack = parents[stack]
    return 0


@compiled_within
def step_in(
    pool: np.ndarray,
    dfa: Arrays,
    place: np.ndarray,
    state: int,
    stack: int,
    popped: int,
    sequence: int,
    crossings: CrossingArrays,
    stacks: StackArrays,
) -> int:
    """Put a place to where a state begins, on a stack: LEFT; or what has to be found first."""
    unit, lo, hi = -1, 0, 0
    kinds, entered = dfa[3], crossings[0]
    if kinds[state] & HALTS and not kinds[state] & SPLITS:
        above = cross(pool, dfa, crossings, stacks[2], state, sequence)
        inside = entered[state, 0]
        if inside == SLOW:
            return AMBIGUOUS
        if above < 0:
            place[ASKED] = state
            place[BESIDE] = sequence
            return NO_ENTRY
        unit, lo, hi = entered[state, 1], entered[state, 2], entered[state, 3]
        state, sequence = inside, above
    place[LOCAL], place[1 + UNIT], place[1 + LO], place[1 + HI] = state, unit, lo, hi
    place[1 + STACK], place[1 + POPPED], place[1 + SEQUENCE] = stack, popped, sequence
    return LEFT


@compiled_within
def step_out(
    pool: np.ndarray,
    dfa: Arrays,
    place: np.ndarray,
    crossings: CrossingArrays,
    stacks: StackArrays,
) -> int:
    """Leave the frame of a place, in place: LEFT; REFUSED, nothing is behind it; or what has to be found first."""
    parents, tops, sequences = stacks
    sequence_parents, _, sequence_tops, _, _, _, _, _ = sequences
    stack, popped, sequence = place[1 + STACK], place[1 + POPPED], place[1 + SEQUENCE]
    if sequence > 0:
        behind = sequence_tops[sequence]
        sequence = sequence_parents[sequence]
    else:
        behind = tops[stack]
        stack = parents[stack]
        popped += 1
        place[DEPTH] = max(place[DEPTH], popped)
    if behind == SLOW:
        return AMBIGUOUS
    if behind == 0:
        return REFUSED
    return step_in(pool, dfa, place, np.int64(behind), stack, popped, np.int64(sequence), crossings, stacks)


@compiled_within
def goes_on_behind(
    pool: np.ndarray,
    dfa: Arrays,
    byte: int,
    place: np.ndarray,
    other: np.ndarray,
    crossings: CrossingArrays,
    stacks: StackArrays,
) -> int:
    """Whether a byte could also be taken behind the frame: AMBIGUOUS, or REFUSED; or what has to be found first."""
    transitions, kinds = dfa[2], dfa[3]
    for i in range(place.shape[0]):
        other[i] = place[i]
    code = LEFT
    while code == LEFT:
        code = step_out(pool, dfa, other, crossings, stacks)
        if code != LEFT:
            break
        state, unit = other[LOCAL], other[1 + UNIT]
        after = np.int64(transitions[state, byte])
        if after < 0:
            after = transition(pool, dfa, state, byte)
        if after < 0:
            code = NO_EDGE
            other[ASKED] = state
        elif after > 0 and not (unit >= 0 and state == unit and other[1 + HI] <= 0):
            code = AMBIGUOUS
        elif not (other[1 + LO] <= 0 if unit >= 0 else kinds[state] & NULLABLE != 0):
            code = REFUSED
    place[DEPTH] = other[DEPTH]
    if code >= NO_EDGE:
        place[ASKED] = other[ASKED]
        place[BESIDE] = other[BESIDE]
    return code


@compiled
def follow(
    pool: np.ndarray,
    dfa: Arrays,
    text: np.ndarray,
    end: int,
    place: np.ndarray,
    other: np.ndarray,
    crossings: CrossingArrays,
    stacks: StackArrays,
) -> int:
    """Follow the bytes of `text` from place[AT] to `end`, as `places.Path` does; the place moves, see LOCAL and so on.

    Returns WENT, REFUSED or AMBIGUOUS; or NO_EDGE or NO_ENTRY for what has to be found before it is called again,
    with the same place. other: room for another place.
    """
    transitions, kinds = dfa[2], dfa[3]
    while place[AT] < end:
        byte = np.int64(text[place[AT]])
        state, unit = place[LOCAL], place[1 + UNIT]
        after = np.int64(transitions[state, byte])
        if after < 0:
            after = transition(pool, dfa, state, byte)
        if after < 0:
            place[ASKED] = state
            return NO_EDGE
        if unit >= 0 and state == unit and place[OPEN] == 0 and place[UNITS] >= place[1 + HI]:
            after = 0
        if after > 0:
            if unit < 0 and kinds[state] & NULLABLE:
                code = goes_on_behind(pool, dfa, byte, place, other, crossings, stacks)
                if code != REFUSED:
                    return code
            if unit >= 0:
                place[UNITS] += state == unit
                place[LOCAL] = after
            else:
                stack, popped, sequence = place[1 + STACK], place[1 + POPPED], place[1 + SEQUENCE]
                code = step_in(pool, dfa, place, after, stack, popped, sequence, crossings, stacks)
                if code != LEFT:
                    return code
            place[AT] += 1
            continue
        if unit >= 0:
            may_leave = state == unit and (place[OPEN] == 1 or place[UNITS] >= place[1 + LO])
        else:
            may_leave = kinds[state] & NULLABLE != 0
        if not may_leave:
            return REFUSED
        code = step_out(pool, dfa, place, crossings, stacks)
        if code != LEFT:
            return code
        if place[OPEN] == 1:
            place[OPEN] = 0
            place[RUN_UNITS] = place[UNITS]
        place[UNITS] = 0
    return WENT


def warm() -> None:
    """Have the loops through frames compiled, by calling them with nothing to do."""
    ints, table, values = np.zeros(1, np.int32), np.full((2, 3), -1, np.int32), np.full(2, -1, np.int32)
    rows, bytes_, wide = np.zeros((2, 8), np.int32), np.zeros(1, np.uint8), np.zeros((1, 256), np.int32)
    pool, dfa = np.zeros(1, np.int64), (ints, ints, wide, bytes_, np.zeros(1, np.int64))
    crossings = (rows[:, :5].copy(), rows[:, :2].copy(), ints, np.zeros(1, np.int64))
    stacks = (ints, ints, (ints, ints, ints, table, values, table, values, np.zeros(2, np.int64)))
    find_behind(0, stacks, rows, np.zeros(6, np.int64))
    is_wide(0, 0, ints, bytes_, ints, ints, wide, 0, 0)
    place = np.zeros(14, np.int64)
    follow(pool, dfa, bytes_, 0, place, place.copy(), crossings, stacks)
