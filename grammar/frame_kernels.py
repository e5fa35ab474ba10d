"""The loop that goes through frames, compiled: the narrow walks of masks.

What is behind a frame is read off stacks as DFA states (`crossings` lays the tables out). A context is a frame being
walked, with its stack: a row of `frames`. What the loop does not know it writes down, and goes on with the rest; the
host finds it and calls again with what was written down.
"""

# pyright: reportReturnType=false, reportAssignmentType=false, reportArgumentType=false
# Numbers of compiled loops have 64 bits, and so are numpy's.

from __future__ import annotations

import numpy as np

from .crossing_kernels import SLOW, CrossingArrays, SequenceArrays, cross
from .dfa_kernels import APART, HALTS, MAY_END, SPLITS, Arrays, transition
from .machine_code import compiled
from .node_layout import ABOUT, ASK_DEFINITION, ASK_HOST, QUESTION

StackArrays = tuple[np.ndarray, np.ndarray, SequenceArrays]
"""What loops read of a `stacks.Stacks`: parents and tops, and the sequences."""

DONE, GIVE_UP = 0, 1
"""What `walk_frames` returns. GIVE_UP: this needs what the tables do not hold."""

EDGE, ARRIVAL, START, LEAVING = range(4)
"""What is to be done at a node: take its byte; begin an expression; go on in a frame; leave one."""

NOTHING_ASKED = np.int64(0)
"""In place of the count of an arrival that is missing, where no more is missing than what a reference stands for: the
reference; else this."""

UNIT, LO, HI, STACK, POPPED, SEQUENCE, BEHIND, OUTER = range(8)
"""Columns of `frames`. BEHIND: the state behind the frame, OUTER: its context; UNKNOWN before they are looked up."""

N_FRAMES, N_ITEMS, N_PUT_OFF, N_MISSING, DEEPEST, STEPS = range(6)
"""What `tally` counts."""

UNKNOWN = -1  # of tables of states, as SLOW is
_MOST_STEPS = 1 << 18
_LOOKED_AT = 8  # contexts compared before one is made
_MOST_PUSHED = 260  # items that one item becomes at most, and then some


@compiled
def context(
    frames: np.ndarray, tally: np.ndarray, unit: int, lo: int, hi: int, stack: int, popped: int, sequence: int
) -> int:
    """The row of a context, one of the last few, or new."""
    n = tally[N_FRAMES]
    for f in range(n - 1, max(n - 1 - _LOOKED_AT, -1), -1):
        row = frames[f]
        if (
            row[SEQUENCE] == sequence
            and row[STACK] == stack
            and row[UNIT] == unit
            and row[POPPED] == popped
            and row[LO] == lo
            and row[HI] == hi
        ):
            return f
    row = frames[n]
    row[UNIT], row[LO], row[HI] = unit, lo, hi
    row[STACK], row[POPPED], row[SEQUENCE] = stack, popped, sequence
    row[BEHIND] = row[OUTER] = UNKNOWN
    tally[N_FRAMES] = n + 1
    return n


@compiled
def put(items: np.ndarray, at: int, what: int, node: int, state: int, count: int, frame: int) -> int:
    """Write an item; the place behind it."""
    row = items[at]
    row[0], row[1], row[2], row[3], row[4] = what, node, state, count, frame
    return at + 1


@compiled
def find_behind(
    f: int,
    stacks: StackArrays,
    frames: np.ndarray,
    tally: np.ndarray,
) -> int:
    """The state behind a frame, now in its row; or SLOW."""
    parents, tops, sequences = stacks
    sequence_parents, _, sequence_tops, _, _, _, _, _ = sequences
    row = frames[f]
    if row[BEHIND] != UNKNOWN:
        return row[BEHIND]
    stack, popped, sequence = row[STACK], row[POPPED], row[SEQUENCE]
    if sequence > 0:
        state = sequence_tops[sequence]
        sequence = sequence_parents[sequence]
    else:
        popped += 1
        tally[DEEPEST] = max(tally[DEEPEST], popped)
        state = tops[stack]
        stack = parents[stack]
    if state > 0:
        row[OUTER] = context(frames, tally, -1, 0, 0, stack, popped, sequence)
    row[BEHIND] = state
    return state


@compiled
def is_wide(
    node: int,
    state: int,
    child_start: np.ndarray,
    child_byte: np.ndarray,
    child_node: np.ndarray,
    node_end: np.ndarray,
    transitions: np.ndarray,
    few_nodes: int,
    many_bytes: int,
) -> bool:
    """Whether a walk from a node may come to many: more than few_nodes are behind the bytes its state may go on with,
    and these are many_bytes or more.
    """
    if node_end[node] - node <= few_nodes:
        return False
    row, n_bytes, n_nodes = transitions[state], 0, 0
    for byte in range(256):
        n_bytes += row[byte] != 0
    if n_bytes < many_bytes:
        return False
    for at in range(child_start[node], child_start[node + 1]):
        if row[child_byte[at]] != 0:
            n_nodes += node_end[child_node[at]] - child_node[at]
    return n_nodes > few_nodes


@compiled
def begin(
    frames: np.ndarray,
    items: np.ndarray,
    words: np.ndarray,
    tally: np.ndarray,
    unit: int,
    lo: int,
    hi: int,
    stack: int,
    popped: int,
    sequence: int,
    what: int,
    state: int,
) -> None:
    """Have a frame, its first context, to be walked from the root, and nothing else."""
    words[:] = 0
    tally[:] = 0
    context(frames, tally, unit, lo, hi, stack, popped, sequence)
    tally[N_ITEMS] = put(items, 0, what, 0, state, 0, 0)


@compiled
def walk_frames(
    pool: np.ndarray,
    dfa: Arrays,
    child_start: np.ndarray,
    child_node: np.ndarray,
    child_byte: np.ndarray,
    node_byte: np.ndarray,
    node_end: np.ndarray,
    token_start: np.ndarray,
    token_ids: np.ndarray,
    crossings: CrossingArrays,
    stacks: StackArrays,
    few_nodes: int,
    many_bytes: int,
    frames: np.ndarray,
    items: np.ndarray,
    put_off: np.ndarray,
    missing: np.ndarray,
    words: np.ndarray,
    tally: np.ndarray,
) -> int:
    """Do all `items`, rows (what, node, state, count, frame), and all that follows; set the bits of the tokens met.

    What walks of one frame are for is written to `put_off`: where they are wide. Likewise `missing`: what needs an
    entry that is not known, or a transition that the host has to be asked for. See NOTHING_ASKED.
    few_nodes, many_bytes: see `is_wide`. tally: see N_FRAMES and the rest.
    """
    transitions, kinds = dfa[2], dfa[3]
    entered, splits, ways, _ = crossings
    top, n_put_off, n_missing, steps = tally[N_ITEMS], tally[N_PUT_OFF], tally[N_MISSING], tally[STEPS]
    code = DONE
    while top > 0:
        if (
            steps > _MOST_STEPS
            or top + _MOST_PUSHED > items.shape[0]
            or tally[N_FRAMES] + 2 > frames.shape[0]
            or n_put_off == put_off.shape[0]
            or n_missing == missing.shape[0]
        ):
            code = GIVE_UP
            break
        steps += 1
        top -= 1
        what, node, state = items[top, 0], items[top, 1], items[top, 2]
        count, f = items[top, 3], items[top, 4]
        if what == LEAVING:
            behind = find_behind(f, stacks, frames, tally)
            if behind == SLOW:
                code = GIVE_UP
                break
            if behind > 0:
                top = put(items, top, ARRIVAL, node, behind, 0, frames[f, OUTER])
            continue
        if what == ARRIVAL:
            kind = kinds[state]
            row = frames[f]
            if kind & SPLITS:
                if splits[state, 1] == 0:
                    cross(pool, dfa, crossings, stacks[2], np.int64(state), np.int64(0))
                n_ways = splits[state, 1]
                if n_ways == 0:
                    n_missing = put(missing, n_missing, ARRIVAL, node, state, NOTHING_ASKED, f)
                elif top + n_ways + _MOST_PUSHED > items.shape[0]:
                    code = GIVE_UP
                    break
                for at in range(splits[state, 0], splits[state, 0] + n_ways):
                    top = put(items, top, ARRIVAL, node, ways[at], 0, f)
                continue
            if kind & HALTS:
                sequence = cross(pool, dfa, crossings, stacks[2], np.int64(state), np.int64(row[SEQUENCE]))
                inside = entered[state, 0]
                if inside == SLOW:
                    code = GIVE_UP
                    break
                if sequence < 0:
                    is_told = sequence == ASK_HOST and pool[QUESTION] == ASK_DEFINITION
                    about = pool[ABOUT] if is_told else NOTHING_ASKED
                    n_missing = put(missing, n_missing, ARRIVAL, node, state, about, f)
                    continue
                unit, lo, hi = entered[state, 1], entered[state, 2], entered[state, 3]
                g = context(frames, tally, unit, lo, hi, row[STACK], row[POPPED], sequence)
                top = put(items, top, ARRIVAL if kinds[inside] & HALTS else START, node, inside, 0, g)
                continue
            if row[UNIT] >= 0:
                f = context(frames, tally, -1, 0, 0, row[STACK], row[POPPED], row[SEQUENCE])
            what = START
        unit = frames[f, UNIT]
        after = state
        if what == START:
            if kinds[state] & APART:
                n_put_off = put(put_off, n_put_off, START, node, state, 0, f)
                continue
            if is_wide(node, state, child_start, child_byte, child_node, node_end, transitions, few_nodes, many_bytes):
                n_put_off = put(put_off, n_put_off, START, node, state, 0, f)
                continue
        else:
            after = transitions[state, node_byte[node]]
            if after < 0:
                after = transition(pool, dfa, np.int64(state), np.int64(node_byte[node]))
            if after < 0:
                n_missing = put(missing, n_missing, EDGE, node, state, count, f)
                continue
            if after == 0:
                continue
            if unit >= 0 and state == unit:
                count += 1
                if count > frames[f, HI]:
                    continue
            for at in range(token_start[node], token_start[node + 1]):
                words[token_ids[at] >> 5] |= np.uint32(1) << np.uint32(token_ids[at] & 31)
        first = child_start[node]
        last = child_start[node + 1]
        if first == last:
            continue
        kind = kinds[after]
        if kind & HALTS:
            top = put(items, top, ARRIVAL, node, after, 0, f)
            continue
        if (after == unit and count >= frames[f, LO]) if unit >= 0 else kind & MAY_END != 0:
            behind = frames[f, BEHIND]
            goes_on = behind == UNKNOWN or (behind > 0 and kinds[behind] & HALTS != 0)
            if not goes_on and behind > 0:
                if kinds[behind] & MAY_END:
                    goes_on = True
                else:
                    row = transitions[behind]
                    for at in range(first, last):
                        if row[child_byte[at]] != 0:
                            goes_on = True
                            break
            if goes_on or behind == SLOW:
                top = put(items, top, LEAVING, node, after, count, f)
        row = transitions[after]
        for at in range(first, last):
            if row[child_byte[at]] != 0:
                top = put(items, top, EDGE, child_node[at], after, count, f)
    tally[N_ITEMS], tally[N_PUT_OFF], tally[N_MISSING], tally[STEPS] = top, n_put_off, n_missing, steps
    return code
