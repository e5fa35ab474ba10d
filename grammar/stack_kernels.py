"""Stacks and places as numbers, compiled: made as they are met. See `stacks.Stacks` and `states.States`.

Functions return a number, 0 or more; or why there is none, below 0, as `dfa_kernels` has it. There has to be room.
"""

# pyright: reportReturnType=false, reportAssignmentType=false, reportArgumentType=false
# Numbers of compiled loops have 64 bits, and so are numpy's.

from __future__ import annotations

import numpy as np

from . import address_kernels as ak
from .crossing_kernels import SLOW
from .dfa_kernels import Arrays, state_of
from .kernels import MISSING, find, put
from .machine_code import compiled
from .node_layout import KIND, MARK
from .pool_kernels import field

LEVELS = 5
"""Contexts kept per stack: its upper 0, 1, 2, 3 entries, and all of it."""

NO_STAY = np.int64(-3)
"""In the table of rows of `stay`: it was found that there is none."""

ROOM_NEEDED = np.int64(32)
"""So much room there has to be in each array that a single call adds to, and then some."""

ROOM_MADE = 40
"""So much room there is when a call begins."""


@compiled
def has_entries_left(table: np.ndarray, which: int) -> bool:
    """Whether a hash table has room for some more."""
    return 2 * (ak.int64s(table, which + 2)[0] + ROOM_NEEDED) <= ak.int32s(table, which + 1).shape[0]


@compiled
def put_in(table: np.ndarray, which: int, a: int, b: int, c: int, value: int) -> None:
    """Add an entry to a hash table, or change its value."""
    ak.int64s(table, which + 2)[0] += put(ak.int32_rows(table, which), ak.int32s(table, which + 1), a, b, c, value)


@compiled
def get_from(table: np.ndarray, which: int, a: int, b: int, c: int) -> int:
    """The value in a hash table, or MISSING."""
    return np.int64(ak.int32s(table, which + 1)[find(ak.int32_rows(table, which), a, b, c)])


@compiled
def _name_of(table: np.ndarray, inner: int, entry: int) -> int:
    """The name of an entry above entries that have a name."""
    known = get_from(table, ak.STACK_NAMES, inner, entry, np.int64(0))
    if known != MISSING:
        return known
    counts = ak.int64s(table, ak.N_STACKS)
    made = counts[1]
    put_in(table, ak.STACK_NAMES, inner, entry, np.int64(0), made)
    counts[1] = made + 1
    return made


@compiled
def name_stack(table: np.ndarray, stack: int) -> None:
    """Write the contexts of a stack that has a parent and an entry. The bottom is its own parent."""
    contexts, entry = ak.int32_rows(table, ak.CONTEXTS), np.int64(ak.int32s(table, ak.ENTRIES)[stack])
    below = np.int64(ak.int32s(table, ak.PARENTS)[stack])
    contexts[stack, 0] = 0
    for level in range(1, LEVELS - 1):
        contexts[stack, level] = _name_of(table, np.int64(contexts[below, level - 1]), entry)
    counts = ak.int64s(table, ak.N_STACKS)
    contexts[stack, LEVELS - 1] = counts[1]
    counts[1] += 1


@compiled
def push(pool: np.ndarray, dfa: Arrays, table: np.ndarray, stack: int, entry: int) -> int:
    """The stack with one more entry."""
    known = get_from(table, ak.STACK_IDS, stack, entry, np.int64(0))
    if known != MISSING:
        return known
    top = np.int64(SLOW)
    if field(pool, entry, KIND) != MARK:
        top = state_of(pool, dfa, entry)
        if top < 0:
            return top
    counts = ak.int64s(table, ak.N_STACKS)
    made = counts[0]
    counts[0] = made + 1
    ak.int32s(table, ak.PARENTS)[made] = stack
    ak.int32s(table, ak.ENTRIES)[made] = entry
    ak.int32s(table, ak.TOPS)[made] = top
    put_in(table, ak.STACK_IDS, stack, entry, np.int64(0), made)
    name_stack(table, made)
    return made


@compiled
def push_all(pool: np.ndarray, dfa: Arrays, table: np.ndarray, stack: int, sequence: int) -> int:
    """The stack with the entries of a sequence on it, now in `Stacks.pushed`; MISSING for one that is long."""
    known = get_from(table, ak.PUSHED, stack, sequence, np.int64(0))
    if known != MISSING:
        return known
    parents, entries = ak.int32s(table, ak.FOLLOWED), ak.int32s(table, ak.FOLLOWING)
    n, at = np.int64(0), np.int64(sequence)
    while at > 0:
        at = np.int64(parents[at])
        n += 1
    if n > ROOM_NEEDED // 4:
        return MISSING
    found = np.int64(stack)
    for i in range(n):
        at = np.int64(sequence)
        for _ in range(n - 1 - i):
            at = np.int64(parents[at])
        found = push(pool, dfa, table, found, np.int64(entries[at]))
        if found < 0:
            return found
    put_in(table, ak.PUSHED, stack, sequence, np.int64(0), found)
    return found


@compiled
def place_id(table: np.ndarray, local: int, unit: int, lo: int, hi: int, text: int) -> int:
    """The state that is a place, made if it is new."""
    counts = ak.int64s(table, ak.N_PLACES)
    run = get_from(table, ak.RUN_IDS, unit + 1, lo, hi)
    if run == MISSING:
        run = counts[1]
        put_in(table, ak.RUN_IDS, unit + 1, lo, hi, run)
        counts[1] = run + 1
    known = get_from(table, ak.PLACE_IDS, local, run, text)
    if known != MISSING:
        return known
    made = counts[0]
    counts[0] = made + 1
    put_in(table, ak.PLACE_IDS, local, run, text, made)
    place, bounds = ak.int32_rows(table, ak.PLACES)[made], ak.int32_rows(table, ak.BOUNDS)[made]
    place[0], place[1], place[2], place[3], place[4] = local, unit, lo, hi, text
    if text == 0:
        bounds[0], bounds[1] = lo, hi
        bounds[2] = max(get_from(table, ak.STAYS, local, unit, np.int64(0)), np.int64(-1))
    else:  # counts are part of the place, and no token keeps it
        bounds[0], bounds[1], bounds[2] = 0, 0, -1
    return made
