"""What the tables of an automaton do not hold yet, found and put there: transitions, and rows of narrow walks.

Everything is read from a table of addresses (`address_kernels`). Where a loop cannot go on the host does it another
way, from the start, with what was found meanwhile at hand.
"""

# pyright: reportReturnType=false, reportAssignmentType=false, reportArgumentType=false
# Numbers of compiled loops have 64 bits, and so are numpy's.

from __future__ import annotations

import numpy as np

from . import address_kernels as ak
from . import frame_kernels as loops
from . import kernels
from .dfa_kernels import APART, HALTS, MAY_END, SPLITS, Arrays
from .first_kernels import first
from .follow_kernels import REFUSED, WENT, follow, may_all_end
from .frame_kernels import StackArrays
from .machine_code import compiled
from .node_layout import NO_BYTES, NOTHING
from .stack_kernels import LEVELS, NO_STAY, ROOM_NEEDED, get_from, has_entries_left, place_id, push_all, put_in
from .wide_kernels import walk_beside

NEW, ASK, FULL = np.int64(2), np.int64(-20), np.int64(-21)
"""Answers: the sequence went, by a transition that is new; the host has to find it; it has to make room first."""

UNFINISHED, OPEN_END, STAY = np.int64(-22), np.int64(-23), np.int64(-24)
"""Of rows: the host has to do what is missing and put off, and have the loop go on; it has to say whether everything
may end here, and finish the row; it has to look for a row of `stay` first."""

_WAYS_LEFT = 1024
_NOT_ALLOWED = np.int64(0)
_ZERO = np.int64(0)


@compiled
def _dfa(table: np.ndarray) -> Arrays:
    return (
        ak.int32s(table, ak.NUMBERS),
        ak.int32s(table, ak.EXPRESSIONS),
        ak.int32_rows(table, ak.EDGES),
        ak.bytes_of(table, ak.KINDS),
        ak.int64s(table, ak.N_STATES),
    )


@compiled
def _crossings(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return (
        ak.int32_rows(table, ak.ENTERED),
        ak.int32_rows(table, ak.SPLIT),
        ak.int32s(table, ak.WAYS),
        ak.int64s(table, ak.N_WAYS),
    )


@compiled
def _stacks(table: np.ndarray) -> StackArrays:
    sequences = (
        ak.int32s(table, ak.FOLLOWED),
        ak.int32s(table, ak.FOLLOWING),
        ak.int32s(table, ak.SEQUENCE_TOPS),
        ak.int32_rows(table, ak.SEQUENCE_KEYS),
        ak.int32s(table, ak.SEQUENCE_VALUES),
        ak.int32_rows(table, ak.JOIN_KEYS),
        ak.int32s(table, ak.JOIN_VALUES),
        ak.int64s(table, ak.N_SEQUENCES),
    )
    return ak.int32s(table, ak.PARENTS), ak.int32s(table, ak.TOPS), sequences


@compiled
def _has_room(table: np.ndarray) -> bool:
    """Whether there is room for all that one call adds, apart from what loops look after themselves."""
    n_sequences, sequences = ak.int64s(table, ak.N_SEQUENCES), ak.int32s(table, ak.FOLLOWED).shape[0]
    if n_sequences[0] + ROOM_NEEDED > sequences:
        return False
    if 2 * (n_sequences[0] + ROOM_NEEDED) > ak.int32s(table, ak.SEQUENCE_VALUES).shape[0]:
        return False
    if 2 * (n_sequences[1] + ROOM_NEEDED) > ak.int32s(table, ak.JOIN_VALUES).shape[0]:
        return False
    if ak.int64s(table, ak.N_WAYS)[0] + _WAYS_LEFT > ak.int32s(table, ak.WAYS).shape[0]:
        return False
    if ak.int32_rows(table, ak.ENTERED).shape[0] < ak.bytes_of(table, ak.KINDS).shape[0]:
        return False
    if ak.int64s(table, ak.N_STACKS)[0] + ROOM_NEEDED > ak.int32s(table, ak.PARENTS).shape[0]:
        return False
    if ak.int64s(table, ak.N_PLACES)[0] + ROOM_NEEDED > ak.int32_rows(table, ak.PLACES).shape[0]:
        return False
    if ak.int64s(table, ak.N_RECORDS)[0] + ROOM_NEEDED > ak.int32_rows(table, ak.RECORDS).shape[0]:
        return False
    n_rows, slots = ak.int64s(table, ak.N_ROWS)[0] + ROOM_NEEDED, ak.int32s(table, ak.ROW_SLOTS).shape[0]
    if n_rows > ak.int64s(table, ak.DIGESTS).shape[0] or 2 * n_rows > slots:
        return False
    for which in (ak.STACK_IDS, ak.STACK_NAMES, ak.PUSHED, ak.RUN_IDS, ak.PLACE_IDS, ak.STAYS):
        if not has_entries_left(table, which):
            return False
    return has_entries_left(table, ak.TRANSITIONS) and has_entries_left(table, ak.ROW_IDS)


@compiled
def _put_answer(table: np.ndarray, which: int, state: int, key: int, stack: int, level: int, value: int) -> None:
    contexts = ak.int32_rows(table, ak.CONTEXTS)[stack]
    keys, values = ak.int32_rows(table, which), ak.int32s(table, which + 1)
    ak.int64s(table, which + 2)[0] += kernels.put_answer(keys, values, state, key, contexts, level, value)


@compiled
def _step(table: np.ndarray, token: int) -> int:
    return kernels.step(
        _ZERO,
        token,
        ak.int32_rows(table, ak.SEQUENCE),
        ak.int32_rows(table, ak.BOUNDS),
        ak.byte_rows(table, ak.STAY),
        ak.int32_rows(table, ak.TRANSITIONS),
        ak.int32s(table, ak.TRANSITIONS + 1),
        ak.int32_rows(table, ak.RECORDS),
        ak.int32_rows(table, ak.CONTEXTS),
        ak.int32s(table, ak.PARENTS),
        ak.int32_rows(table, ak.PUSHED),
        ak.int32s(table, ak.PUSHED + 1),
    )


@compiled
def add_record(table: np.ndarray, state: int, popped: int, pushed: int, units: int, goes_on: int, register: int) -> int:
    """The number of a new row of `records`; see `kernels.step`."""
    counts, records = ak.int64s(table, ak.N_RECORDS), ak.int32_rows(table, ak.RECORDS)
    made = counts[0]
    counts[0] = made + 1
    row = records[made]
    row[0], row[1], row[2], row[3], row[4], row[5] = state, popped, pushed, units, goes_on, register
    return made


@compiled
def find_transition(pool: np.ndarray, table: np.ndarray, state: int, token: int, stack: int) -> int:
    """Put what a token does, which is not known on a stack, into `transitions`: NEW; or ASK, or FULL."""
    if not _has_room(table):
        return FULL
    place, dfa, parents = ak.int32_rows(table, ak.PLACES)[state], _dfa(table), ak.int32s(table, ak.PARENTS)
    if place[4] != 0 or token < 0 or token + 1 >= ak.int64s(table, ak.TEXT_START).shape[0]:
        return ASK
    contexts, records = ak.int32_rows(table, ak.CONTEXTS)[stack], ak.int32_rows(table, ak.RECORDS)
    keys, values = ak.int32_rows(table, ak.TRANSITIONS), ak.int32s(table, ak.TRANSITIONS + 1)
    known = kernels.look_up(keys, values, state, token, contexts)
    if known > _NOT_ALLOWED:  # but not yet on this stack
        for _ in range(records[known, 1]):
            stack = np.int64(parents[stack])
        pushed = push_all(pool, dfa, table, np.int64(stack), np.int64(records[known, 2]))
        return NEW if pushed >= 0 else ASK
    starts = ak.int64s(table, ak.TEXT_START)
    record, level = _NOT_ALLOWED, _ZERO
    if starts[token] < starts[token + 1]:
        at = ak.int64s(table, ak.FOLLOWER)
        at[0], at[1], at[2], at[3], at[4], at[5], at[6] = place[0], place[1], place[2], place[3], stack, 0, 0
        at[7], at[8], at[9], at[10], at[11] = 0, 1 if place[1] >= 0 else 0, 0, starts[token], 0
        text, other = ak.bytes_of(table, ak.TEXT), ak.int64s(table, ak.OTHER_FOLLOWER)
        code = follow(pool, dfa, text, starts[token + 1], at, other, _crossings(table), _stacks(table))
        if code != WENT and code != REFUSED:
            return ASK
        level = min(at[11], LEVELS - 1)
        if code == WENT:
            after = place_id(table, at[0], at[1], at[2], at[3], _ZERO)
            goes_on = at[8]
            units = at[7] if goes_on else at[9]
            register = at[7] if at[1] >= 0 and not goes_on else _ZERO
            if push_all(pool, dfa, table, at[4], at[6]) < 0:
                return ASK
            record = add_record(table, after, at[5], at[6], units, goes_on, register)
    _put_answer(table, ak.TRANSITIONS, np.int64(state), np.int64(token), np.int64(stack), level, record)
    return NEW


@compiled
def after(pool: np.ndarray, table: np.ndarray, state: int, register: int, stack: int, token: int) -> int:
    """Move a sequence by a token: 1 or NEW, where it went, 0, the token is not allowed, or ASK, or FULL.

    Where it went to is the only row of SEQUENCE.
    """
    sequence = ak.int32_rows(table, ak.SEQUENCE)[0]
    sequence[0], sequence[1], sequence[2] = state, register, stack
    went = _step(table, token)
    if went != kernels.MISSING:
        return went
    found = find_transition(pool, table, state, token, stack)
    if found != NEW:
        return found
    went = np.int64(_step(table, token))
    return NEW if went == 1 else went


@compiled
def _may_stay(table: np.ndarray, local: int) -> bool:
    """Whether a state may have a row of `stay`: where walks from the root are kept (`masks.Masks.is_wide`)."""
    kind = ak.bytes_of(table, ak.KINDS)[local]
    if kind & (SPLITS | HALTS):
        return False
    if kind & APART:
        return True
    limits = ak.int64s(table, ak.LIMITS)
    return loops.is_wide(
        _ZERO,
        local,
        ak.int32s(table, ak.CHILD_START),
        ak.bytes_of(table, ak.CHILD_BYTE),
        ak.int32s(table, ak.CHILD_NODE),
        ak.int32s(table, ak.NODE_END),
        ak.int32_rows(table, ak.EDGES),
        limits[0],
        limits[1],
    )


@compiled
def add_row(table: np.ndarray, words: np.ndarray, accepts: bool) -> int:
    """The row that is a mask, made if it is new. There has to be room."""
    rows, n_rows = ak.uint32_rows(table, ak.ROWS), ak.int64s(table, ak.N_ROWS)
    slots, made = ak.int32s(table, ak.ROW_SLOTS), n_rows[0]
    found = n_rows[1:2]
    row = kernels.add_row(rows, ak.int64s(table, ak.DIGESTS), slots, made, words, found)
    if row == made:
        ak.int32s(table, ak.ROW_SIZES)[row] = found[0]
        ak.bytes_of(table, ak.ACCEPTS)[row] = accepts
        ak.bytes_of(table, ak.ENDS)[row] = accepts and found[0] == ak.int32s(table, ak.EOS).shape[0]
        n_rows[0] = made + 1
    return row


@compiled
def _towards(pool: np.ndarray, table: np.ndarray, dfa: Arrays, stacks: StackArrays, frame: int) -> int:
    """The number of the set of bytes that may come first behind a frame; below 0: it depends on more than one entry."""
    behind = np.int64(loops.find_behind(frame, stacks, ak.int32_rows(table, ak.FRAMES), ak.int64s(table, ak.TALLY)))
    if behind == 0:
        return np.int64(NO_BYTES)
    if behind < 0 or dfa[3][behind] & MAY_END:
        return np.int64(-1)
    return first(pool, np.int64(dfa[1][behind]), NOTHING)


@compiled
def put_wide(
    table: np.ndarray,
    at: int,
    state: int,
    number: int,
    has_words: bool,
    words: np.ndarray,
    tokens: np.ndarray,
    exits: np.ndarray,
) -> bool:
    """Write a row of `wide.WideWalks.records`, and where it is; False: there is one. There has to be room."""
    if get_from(table, ak.WIDE, np.int64(state), np.int64(number), _ZERO) != kernels.MISSING:
        return False
    row = ak.int64_rows(table, ak.WIDE_RECORDS)[at]
    row[0], row[1], row[2] = 0, np.int64(tokens.ctypes.data), tokens.shape[0]
    if has_words:
        row[0] = np.int64(words.ctypes.data)
    row[3], row[4] = np.int64(exits.ctypes.data), exits.shape[0]
    put_in(table, ak.WIDE, np.int64(state), np.int64(number), _ZERO, np.int64(at))
    return True


@compiled
def _take_wide(table: np.ndarray, state: int, frame: int, number: int) -> bool:
    """Do a wide walk of a frame from the root, where it is known, and put where it is left on the list.

    number: of the set of bytes that may come first behind the frame.
    """
    items, tally = ak.int32_rows(table, ak.ITEMS), ak.int64s(table, ak.TALLY)
    known = get_from(table, ak.WIDE, np.int64(state), number, _ZERO)
    if known == kernels.MISSING:
        return False
    record, words = ak.int64_rows(table, ak.WIDE_RECORDS)[known], ak.uint32s(table, ak.BITS)
    n, top = record[4], tally[loops.N_ITEMS]
    if top + n > items.shape[0]:
        return False
    if record[0]:
        all_bits = ak.uint32s_at(record[0], words.shape[0])
        for i in range(words.shape[0]):
            words[i] |= all_bits[i]
    else:
        for token in ak.int32s_at(record[1], record[2]):
            words[token >> 5] |= np.uint32(1) << np.uint32(token & 31)
    for node in ak.int32s_at(record[3], n):
        top = loops.put(items, top, loops.LEAVING, node, state, 0, frame)
    tally[loops.N_ITEMS] = top
    return True


@compiled
def _room_in(table: np.ndarray, state: int, register: int) -> tuple[int, int]:
    """How many units a counted run needs at least, and may have at most, as far as tokens can tell."""
    bounds, widest = ak.int32_rows(table, ak.BOUNDS)[state], ak.int64s(table, ak.LIMITS)[2]
    return min(max(np.int64(bounds[0]) - register, _ZERO), widest + 1), min(np.int64(bounds[1]) - register, widest)


@compiled
def finish_row(table: np.ndarray, state: int, register: int, stack: int, accepts: bool, depth: int) -> int:
    """The row of the mask that was walked, now in `row_ids`. depth: how much of the stack it depends on."""
    words = ak.uint32s(table, ak.BITS)
    if accepts:
        for token in ak.int32s(table, ak.EOS):
            words[token >> 5] |= np.uint32(1) << np.uint32(token & 31)
    row = add_row(table, words, accepts)
    place, tally = ak.int32_rows(table, ak.PLACES)[state], ak.int64s(table, ak.TALLY)
    local, unit = np.int64(place[0]), np.int64(place[1])
    if place[4] == 0 and get_from(table, ak.STAYS, local, unit, _ZERO) == kernels.MISSING:
        put_in(table, ak.STAYS, local, unit, _ZERO, NO_STAY)
    need, room = _room_in(table, state, register)
    tally[loops.DEEPEST] = max(np.int64(depth), tally[loops.DEEPEST])
    level = min(tally[loops.DEEPEST], LEVELS - 1)
    key = need * (ak.int64s(table, ak.LIMITS)[2] + 1) + room
    _put_answer(table, ak.ROW_IDS, np.int64(state), key, np.int64(stack), level, row)
    ak.int64s(table, ak.N_ROWS)[2] += 1
    return row


@compiled
def go_on(pool: np.ndarray, table: np.ndarray, state: int, register: int, stack: int) -> int:
    """Do what is left of a walk, and what is behind: the row; or UNFINISHED, OPEN_END, ASK, or FULL.

    What is put off then has in place of a count, where a walk from the root counts nothing, the number of the set of
    bytes that may come first behind the frame, if that is easily told; else -1.
    """
    if not _has_room(table):
        return FULL
    dfa, stacks, tally, words = _dfa(table), _stacks(table), ak.int64s(table, ak.TALLY), ak.uint32s(table, ak.BITS)
    frames, items, limits = ak.int32_rows(table, ak.FRAMES), ak.int32_rows(table, ak.ITEMS), ak.int64s(table, ak.LIMITS)
    put_off = ak.int32_rows(table, ak.PUT_OFF)
    while True:
        n = np.int64(0)
        for i in range(tally[loops.N_PUT_OFF]):
            local, frame, number = np.int64(put_off[i, 2]), np.int64(put_off[i, 4]), np.int64(-1)
            if put_off[i, 1] == 0 and frames[frame, loops.UNIT] < 0:
                number = _towards(pool, table, dfa, stacks, frame)
            if number < 0 or not _take_wide(table, local, frame, number):
                put_off[n] = put_off[i]
                put_off[n, 3] = max(number, -1)
                n += 1
        tally[loops.N_PUT_OFF] = n
        if n or tally[loops.N_MISSING]:
            return UNFINISHED
        if tally[loops.N_ITEMS] == 0:
            break
        code = loops.walk_frames(
            pool,
            dfa,
            ak.int32s(table, ak.CHILD_START),
            ak.int32s(table, ak.CHILD_NODE),
            ak.bytes_of(table, ak.CHILD_BYTE),
            ak.bytes_of(table, ak.NODE_BYTE),
            ak.int32s(table, ak.NODE_END),
            ak.int32s(table, ak.TOKEN_START),
            ak.int32s(table, ak.TOKEN_IDS),
            _crossings(table),
            stacks,
            limits[0],
            limits[1],
            frames,
            items,
            put_off,
            ak.int32_rows(table, ak.MISSING_ITEMS),
            words,
            tally,
        )
        if code != loops.DONE:
            return ASK
    place, depth = ak.int32_rows(table, ak.PLACES)[state], np.zeros(1, np.int64)
    lo = _room_in(table, state, register)[0] if place[1] >= 0 else _ZERO
    accepts = may_all_end(np.int64(place[0]), np.int64(place[1]), lo, stack, dfa[3], stacks[0], stacks[1], depth)
    if accepts == loops.SLOW:
        return OPEN_END
    return finish_row(table, state, register, stack, accepts == 1, depth[0])


@compiled
def find_row(pool: np.ndarray, table: np.ndarray, state: int, register: int, stack: int, may_find: bool) -> int:
    """The row of a sequence, now in `row_ids`; or STAY, or as `go_on`. may_find: where it is not known; else ASK."""
    need, room = _room_in(table, state, register)
    key, contexts = need * (ak.int64s(table, ak.LIMITS)[2] + 1) + room, ak.int32_rows(table, ak.CONTEXTS)[stack]
    row = kernels.look_up(ak.int32_rows(table, ak.ROW_IDS), ak.int32s(table, ak.ROW_IDS + 1), state, key, contexts)
    if row >= 0:
        return row
    place = ak.int32_rows(table, ak.PLACES)[state]
    local, unit, lo, hi = np.int64(place[0]), np.int64(place[1]), np.int64(place[2]), np.int64(place[3])
    if not may_find or place[4] != 0:
        return ASK
    if get_from(table, ak.STAYS, local, unit, _ZERO) == kernels.MISSING and _may_stay(table, local):
        return STAY
    if unit >= 0:
        lo, hi = need, room
    what = loops.ARRIVAL if ak.bytes_of(table, ak.KINDS)[local] & HALTS else loops.START
    loops.begin(
        ak.int32_rows(table, ak.FRAMES),
        ak.int32_rows(table, ak.ITEMS),
        ak.uint32s(table, ak.BITS),
        ak.int64s(table, ak.TALLY),
        unit,
        lo,
        hi,
        stack,
        _ZERO,
        _ZERO,
        what,
        local,
    )
    return go_on(pool, table, state, register, stack)


FIND_ROW, GO_ON, FIND_TRANSITION, AFTER, WALK_BESIDE = range(5)
"""What `run` does: the function of that name."""


@compiled
def run(pool: np.ndarray, table: np.ndarray, what: int, a: int, b: int, c: int, d: int) -> int:
    """One of the functions above, or `wide_kernels.walk_beside`, with what it takes behind the table (0 for the rest).

    All are compiled as one: what they rest on is there once, and what one call brought into the processor's caches is
    there for the next. A mask that is new takes several, with all caches cold.
    """
    if what == FIND_ROW:
        return find_row(pool, table, a, b, c, d != 0)
    if what == GO_ON:
        return go_on(pool, table, a, b, c)
    if what == FIND_TRANSITION:
        return find_transition(pool, table, a, b, c)
    if what == AFTER:
        return after(pool, table, a, b, c, d)
    return walk_beside(pool, table, a, b, c)
