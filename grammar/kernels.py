"""The loops that are compiled: batched table look-ups, rows of bits.

Each is plain Python over numpy arrays, and uncompiled gives the same answers. Hash tables are open-addressed: `keys`
(capacity, 3) int32 with -1 in column 0 where free, `values` (capacity,) int32, capacity a power of two and never full.
"""

from __future__ import annotations

import numpy as np

from .machine_code import compiled

DEEPER = -2
"""Table value: the answer depends on more of the stack than this key holds."""

MISSING = -1
"""Table value of a key that is not there."""

_LOW_BITS = (1 << 62) - 1
_MIX = np.int64(0x1E3779B97F4A7C15)
_B1, _B2, _B4, _B8, _B16 = np.uint32(1), np.uint32(2), np.uint32(4), np.uint32(8), np.uint32(16)
_M1, _M2, _M4, _M6 = np.uint32(0x55555555), np.uint32(0x33333333), np.uint32(0x0F0F0F0F), np.uint32(0x3F)


@compiled
def find(keys: np.ndarray, a: int, b: int, c: int) -> int:
    """Where the key (a, b, c) is in the table, or the free place where it belongs."""
    mixed = np.int64(a) * 0x9E3779B1 + np.int64(b) * 0x85EBCA6B + np.int64(c) * 0xC2B2AE35
    mixed ^= mixed >> 29
    place = mixed & (keys.shape[0] - 1)
    while keys[place, 0] != -1 and (keys[place, 0] != a or keys[place, 1] != b or keys[place, 2] != c):
        place = (place + 1) & (keys.shape[0] - 1)
    return place


@compiled
def put(keys: np.ndarray, values: np.ndarray, a: int, b: int, c: int, value: int) -> int:
    """Add an entry, or change its value: how many entries more there are. There has to be room."""
    place = find(keys, a, b, c)
    values[place] = value
    if keys[place, 0] != -1:
        return 0
    keys[place, 0], keys[place, 1], keys[place, 2] = a, b, c
    return 1


@compiled
def put_answer(
    keys: np.ndarray, values: np.ndarray, a: int, b: int, contexts: np.ndarray, level: int, value: int
) -> int:
    """Add an answer that depends on so many levels of `contexts`: how many entries more there are."""
    more = 0
    for upper in range(level):
        more += put(keys, values, a, b, contexts[upper], DEEPER)
    return more + put(keys, values, a, b, contexts[level], value)


@compiled
def rehash(old_keys: np.ndarray, old_values: np.ndarray, keys: np.ndarray, values: np.ndarray) -> None:
    """Put every entry of an old table into an empty, larger one."""
    for i in range(old_keys.shape[0]):
        if old_keys[i, 0] != -1:
            place = find(keys, old_keys[i, 0], old_keys[i, 1], old_keys[i, 2])
            keys[place] = old_keys[i]
            values[place] = old_values[i]


@compiled
def look_up(keys: np.ndarray, values: np.ndarray, a: int, b: int, contexts: np.ndarray) -> int:
    """Value of the first of the keys (a, b, contexts[0]), (a, b, contexts[1]), ... that holds an answer, or MISSING."""
    for level in range(contexts.shape[0]):
        place = find(keys, a, b, contexts[level])
        if keys[place, 0] == -1:
            return MISSING
        if values[place] != DEEPER:
            return int(values[place])
    return MISSING


@compiled
def set_bits(words: np.ndarray, tokens: np.ndarray, counts: np.ndarray, most: int) -> None:
    """Set the bit of each token whose count is not above `most`. words: uint32, bit b of word w is token 32 * w + b."""
    for i in range(tokens.shape[0]):
        if counts[i] <= most:
            words[tokens[i] >> 5] |= np.uint32(1) << np.uint32(tokens[i] & 31)


@compiled
def clear_bits(words: np.ndarray, tokens: np.ndarray) -> None:
    """Clear the bit of each token."""
    for i in range(tokens.shape[0]):
        words[tokens[i] >> 5] &= ~(np.uint32(1) << np.uint32(tokens[i] & 31))


@compiled
def drop(words: np.ndarray, drops: np.ndarray, token_start: np.ndarray, token_ids: np.ndarray) -> None:
    """Clear the bits of all tokens that end at nodes of the given ranges, rows (node, end)."""
    for i in range(drops.shape[0]):
        for at in range(token_start[drops[i, 0]], token_start[drops[i, 1]]):
            words[token_ids[at] >> 5] &= ~(np.uint32(1) << np.uint32(token_ids[at] & 31))


@compiled
def step(
    slot: int,
    token: int,
    sequences: np.ndarray,
    states: np.ndarray,
    stay: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    records: np.ndarray,
    contexts: np.ndarray,
    parents: np.ndarray,
    push_keys: np.ndarray,
    push_values: np.ndarray,
) -> int:
    """Advance one sequence by a token, in place: 1, it went; 0, the token is not allowed; MISSING, it is not known.

    sequences: (slots, 3) int32: state, register, stack. states: (states, 3) int32: lo, hi, row of `stay` or -1.
    stay: (rows, tokens) uint8: units the token adds while the state stays, 255 where it does not stay.
    records: (transitions, 6) int32: state after (-1: not allowed), frames popped, what is pushed, units, whether the
    register goes on counting, the register else.
    """
    state = sequences[slot, 0]
    register = sequences[slot, 1]
    stack = sequences[slot, 2]
    lo = states[state, 0]
    hi = states[state, 1]
    kept = states[state, 2]
    if token < 0 or token >= stay.shape[1]:
        return 0
    if kept >= 0 and stay[kept, token] != 255:
        units = np.int64(stay[kept, token])
        if units > np.int64(hi) - register:
            return 0
        sequences[slot, 1] = register + units if hi > 0 else 0
        return 1
    found = look_up(keys, values, state, token, contexts[stack])
    if found < 0:
        return MISSING
    if records[found, 0] < 0:
        return 0
    units = np.int64(records[found, 3])
    if units > np.int64(hi) - register or (records[found, 4] == 0 and register + units < lo):
        return 0
    for _ in range(records[found, 1]):
        stack = parents[stack]
    if records[found, 2] > 0:
        place = find(push_keys, stack, records[found, 2], 0)
        if push_keys[place, 0] == -1:
            return MISSING
        stack = push_values[place]
    sequences[slot, 0] = records[found, 0]
    sequences[slot, 1] = register + units if records[found, 4] == 1 else records[found, 5]
    sequences[slot, 2] = stack
    return 1


@compiled
def advance(
    slots: np.ndarray,
    tokens: np.ndarray,
    sequences: np.ndarray,
    states: np.ndarray,
    stay: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    records: np.ndarray,
    contexts: np.ndarray,
    parents: np.ndarray,
    push_keys: np.ndarray,
    push_values: np.ndarray,
    ok: np.ndarray,
    missed: np.ndarray,
) -> int:
    """`step` for one token each. Writes ok; returns how many indices, not known yet, it wrote to `missed`."""
    n_missed = 0
    for i in range(slots.shape[0]):
        went = step(
            slots[i],
            tokens[i],
            sequences,
            states,
            stay,
            keys,
            values,
            records,
            contexts,
            parents,
            push_keys,
            push_values,
        )
        ok[i] = went == 1
        if went == MISSING:
            missed[n_missed] = i
            n_missed += 1
    return n_missed


@compiled
def find_row(
    state: int,
    register: int,
    stack: int,
    states: np.ndarray,
    widest: int,
    contexts: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
) -> int:
    """The mask row of a sequence, or MISSING.

    widest: units a single token can hold at most; a register further than that from its bounds is as good as free.
    """
    need = min(max(np.int64(states[state, 0]) - register, 0), widest + 1)
    room = min(np.int64(states[state, 1]) - register, widest)
    return look_up(keys, values, state, need * (widest + 1) + room, contexts[stack])


@compiled
def find_rows(
    slots: np.ndarray,
    sequences: np.ndarray,
    states: np.ndarray,
    widest: int,
    contexts: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    rows: np.ndarray,
    missed: np.ndarray,
) -> int:
    """`find_row` of each slot, into `rows`; returns how many indices it wrote to `missed`."""
    n_missed = 0
    for i in range(slots.shape[0]):
        state, register, stack = sequences[slots[i]]
        rows[i] = find_row(state, register, stack, states, widest, contexts, keys, values)
        if rows[i] < 0:
            missed[n_missed] = i
            n_missed += 1
    return n_missed


@compiled
def add_row(
    table: np.ndarray, digests: np.ndarray, slots: np.ndarray, n_rows: int, words: np.ndarray, found: np.ndarray
) -> int:
    """The row that is this mask, (words,) uint32; if none of the first n_rows is, it is now the one behind them.

    digests: (rows,) int64, of each row. slots: (slots,) int32, an open-addressed table of row + 1, 0 where free.
    found: (1,) int64, becomes how many bits are set. There has to be room.
    """
    mixed, count, n = np.int64(0), np.int64(0), words.shape[0]
    for i in range(n):  # without branches, so that several words are done at once
        mixed += np.int64(words[i]) * (_MIX * np.int64(2 * i + 1))
    for i in range(n):
        bits = words[i] - ((words[i] >> _B1) & _M1)
        bits = (bits & _M2) + ((bits >> _B2) & _M2)
        bits = (bits + (bits >> _B4)) & _M4
        bits = bits + (bits >> _B8)
        count += np.int64((bits + (bits >> _B16)) & _M6)
    mixed = (mixed ^ (mixed >> 31)) & _LOW_BITS
    found[0] = count
    at = mixed & (slots.shape[0] - 1)
    while slots[at] != 0:
        row = int(slots[at]) - 1
        if digests[row] == mixed:
            known, other = table[row], np.uint32(0)
            for i in range(n):
                other |= known[i] ^ words[i]
            if other == 0:
                return row
        at = (at + 1) & (slots.shape[0] - 1)
    slots[at] = n_rows + 1
    digests[n_rows] = mixed
    made = table[n_rows]
    for i in range(n):
        made[i] = words[i]
    return n_rows


@compiled
def put_digests(digests: np.ndarray, n_rows: int, slots: np.ndarray) -> None:
    """Fill an empty table of slots; see `add_row`."""
    for row in range(n_rows):
        at = digests[row] & (slots.shape[0] - 1)
        while slots[at] != 0:
            at = (at + 1) & (slots.shape[0] - 1)
        slots[at] = row + 1


@compiled
def list_bits(words: np.ndarray, found: np.ndarray) -> None:
    """The bits that are set, ascending, into `found`, int64, which is as long."""
    n = 0
    for i in range(words.shape[0]):
        word = words[i]
        if word != 0:
            for bit in range(32):
                if (word >> bit) & 1:
                    found[n] = 32 * i + bit
                    n += 1


def warm() -> None:
    """Have every loop compiled, by calling it with nothing to do. The rest is compiled by the calls they make."""
    ints, table = np.zeros(0, np.int32), np.full((2, 3), -1, np.int32)
    values, rows = np.full(2, MISSING, np.int32), np.zeros((1, 6), np.int32)
    one, threes = np.zeros(1, np.int32), np.zeros((1, 3), np.int32)
    rehash(table, values, table.copy(), values.copy())
    look_up(table, values, 0, 0, one)
    put(table.copy(), values.copy(), 0, 0, 0, 0)
    put_answer(table.copy(), values.copy(), 0, 0, one, 0, 0)
    ok, stay, contexts = np.zeros(0, bool), np.zeros((1, 1), np.uint8), rows[:, :5].copy()
    step(0, 0, threes, threes, stay, table, values, rows, contexts, one, table, values)
    advance(ints, ints, threes, threes, stay, table, values, rows, contexts, one, table, values, ok, ints)
    find_row(0, 0, 0, threes, 1, contexts, table, values)
    find_rows(ints, threes, threes, 1, contexts, table, values, ints, ints)
    words, pairs, longs = np.zeros(1, np.uint32), np.zeros((0, 2), np.int32), np.zeros(2, np.int64)
    set_bits(words, ints, ints, 0)
    clear_bits(words, ints)
    drop(words, pairs, one, ints)
    add_row(np.zeros((1, 1), np.uint32), longs.copy(), np.zeros(2, np.int32), 0, words, longs)
    put_digests(longs, 0, one)
    list_bits(words, longs)
