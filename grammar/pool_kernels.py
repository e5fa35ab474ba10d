"""What is in a pool of expression nodes, compiled: words of nodes, facts remembered about them, sets of bytes.

A pool is one int64 array, `pool`: a header, then sections that grow (`node_store.NodeStore` lays them out). Functions
return what was asked for, 0 or more, or why they could not go on (`NEED_ROOM`, ...): whoever called, deep inside, hands
that up; the host then makes room, answers a question or looks at the clock, and calls again. What was found until then
is remembered, so nothing is found twice. Expressions are ids of nodes; see `nodes.Kind` for what each kind means.
"""

from __future__ import annotations

import numpy as np

from .machine_code import compiled
from .node_layout import (
    ABOUT,
    ALT,
    AND,
    ASK_HOST,
    BYTE,
    CAT,
    CLASSES,
    FACT_WORDS,
    FACTS,
    FLAGS,
    FRAME,
    KIND,
    MACHINE,
    MAX_FACTS,
    MAX_PARTITIONS,
    MAX_SETS,
    MEMBERS,
    N_FACTS,
    N_PARTITIONS,
    N_SETS,
    NEED_ROOM,
    NODES,
    NULLABLE,
    OLD_FACTS,
    OLD_ROOM,
    PARTITION_SLOTS,
    PARTITIONS,
    PLAIN,
    QUESTION,
    RECORD,
    SET,
    SET_SLOTS,
    SET_WORDS,
    SETS,
    UNKNOWN,
    A,
    B,
)


@compiled
def field(pool: np.ndarray, item: int, which: int) -> int:
    """One word of a node's record."""
    return int(pool[pool[NODES] + RECORD * item + which])


@compiled
def put_field(pool: np.ndarray, item: int, which: int, value: int) -> None:
    """Set one word of a node's record."""
    pool[pool[NODES] + RECORD * item + which] = value


@compiled
def nullable(pool: np.ndarray, item: int) -> bool:
    """Whether the empty string is in the language."""
    return pool[pool[NODES] + RECORD * item + FLAGS] & NULLABLE != 0


@compiled
def plain(pool: np.ndarray, item: int) -> bool:
    """Whether there is no intersection, complement, reference or capture inside."""
    return pool[pool[NODES] + RECORD * item + FLAGS] & PLAIN != 0


@compiled
def member(pool: np.ndarray, item: int, index: int) -> int:
    """One member of an alternation, an intersection or a list."""
    return int(pool[pool[MEMBERS] + pool[pool[NODES] + RECORD * item + A] + index])


@compiled
def mixed(value: int) -> int:
    """A hash of one number."""
    value = (value ^ (value >> 31)) * 0x7FB5D329728EA185
    value = (value ^ (value >> 27)) * 0x1D8AF066DEADBEEF
    return value ^ (value >> 33)


@compiled
def ask(pool: np.ndarray, question: int, item: int, byte: int) -> int:
    """Have the host answer."""
    pool[QUESTION] = question
    pool[ABOUT] = item
    pool[BYTE] = byte
    return ASK_HOST


# -- facts: a table from numbers to numbers -------------------------------------------------------------------


@compiled
def _place_of(pool: np.ndarray, table: int, room: int, key: int) -> int:
    """Where in a table of facts a key is; or, negative and less one, where it would be."""
    at = mixed(key) & (room - 1)
    while True:
        place = table + FACT_WORDS * at
        if pool[place] == key:
            return int(place)
        if pool[place] == 0:
            return int(-place - 1)
        at = (at + 1) & (room - 1)


@compiled
def fact(pool: np.ndarray, key: int) -> int:
    """What is remembered under a key, which is not 0; or UNKNOWN."""
    place = _place_of(pool, pool[FACTS], pool[MAX_FACTS], key)
    if place < 0 and pool[OLD_ROOM] > 0:
        place = _place_of(pool, pool[OLD_FACTS], pool[OLD_ROOM], key)
    return int(pool[place + 1]) if place >= 0 else UNKNOWN


@compiled
def remember(pool: np.ndarray, key: int, value: int) -> int:
    """Remember a value; the value, or NEED_ROOM."""
    if 2 * pool[N_FACTS] >= pool[MAX_FACTS]:
        return NEED_ROOM
    place = _place_of(pool, pool[FACTS], pool[MAX_FACTS], key)
    if place < 0:
        place = -place - 1
        pool[N_FACTS] += 1
        pool[place] = key
    pool[place + 1] = value
    return value


@compiled
def derivative_key(item: int, byte: int) -> int:
    """Where a derivative is remembered."""
    return (item << 9) + byte + 1


@compiled
def pair_key(kind: int, first: int, second: int) -> int:
    """Where something about two ids is remembered. kind: up to 3."""
    return -((((kind << 29) + first) << 30) + second) - 1


# -- sets of bytes --------------------------------------------------------------------------------------------


@compiled
def byte_set(pool: np.ndarray, w0: int, w1: int, w2: int, w3: int) -> int:
    """The number of a set of bytes, given as four words of 64 bits."""
    slots = 2 * pool[MAX_SETS]
    at = mixed(w0 ^ mixed(w1 ^ mixed(w2 ^ mixed(w3)))) & (slots - 1)
    while pool[pool[SET_SLOTS] + at] != 0:
        found = pool[pool[SET_SLOTS] + at] - 1
        place = pool[SETS] + SET_WORDS * found
        if pool[place] == w0 and pool[place + 1] == w1 and pool[place + 2] == w2 and pool[place + 3] == w3:
            return int(found)
        at = (at + 1) & (slots - 1)
    found = pool[N_SETS]
    if found >= pool[MAX_SETS]:
        return NEED_ROOM
    place = pool[SETS] + SET_WORDS * found
    pool[place], pool[place + 1], pool[place + 2], pool[place + 3] = w0, w1, w2, w3
    pool[pool[SET_SLOTS] + at] = found + 1
    pool[N_SETS] += 1
    return found


@compiled
def in_set(pool: np.ndarray, number: int, byte: int) -> bool:
    """Whether a byte is in a set."""
    return (pool[pool[SETS] + SET_WORDS * number + (byte >> 6)] >> (byte & 63)) & 1 != 0


@compiled
def joined_sets(pool: np.ndarray, first: int, second: int) -> int:
    """The bytes of either set."""
    a, b = pool[SETS] + SET_WORDS * first, pool[SETS] + SET_WORDS * second
    return byte_set(
        pool, pool[a] | pool[b], pool[a + 1] | pool[b + 1], pool[a + 2] | pool[b + 2], pool[a + 3] | pool[b + 3]
    )


@compiled
def shared_set(pool: np.ndarray, first: int, second: int) -> int:
    """The bytes of both sets."""
    a, b = pool[SETS] + SET_WORDS * first, pool[SETS] + SET_WORDS * second
    return byte_set(
        pool, pool[a] & pool[b], pool[a + 1] & pool[b + 1], pool[a + 2] & pool[b + 2], pool[a + 3] & pool[b + 3]
    )


@compiled
def is_within(pool: np.ndarray, first: int, second: int) -> bool:
    """Whether all bytes of the first set are in the second."""
    a, b = pool[SETS] + SET_WORDS * first, pool[SETS] + SET_WORDS * second
    outside = pool[a] & ~pool[b] | pool[a + 1] & ~pool[b + 1] | pool[a + 2] & ~pool[b + 2] | pool[a + 3] & ~pool[b + 3]
    return outside == 0


@compiled
def put_at_set(pool: np.ndarray, number: int, row: np.ndarray, value: int) -> None:
    """Write a value at each byte of a set. row: (256,) int32."""
    for word in range(SET_WORDS):
        bits = pool[pool[SETS] + SET_WORDS * number + word]
        if bits != 0:
            for bit in range(64):
                if (bits >> bit) & 1:
                    row[64 * word + bit] = value


@compiled
def has_few(pool: np.ndarray, number: int, most: int) -> bool:
    """Whether a set has no more than so many bytes."""
    for word in range(SET_WORDS):
        bits = pool[pool[SETS] + SET_WORDS * number + word]
        while bits != 0 and most >= 0:
            bits &= bits - 1
            most -= 1
    return most >= 0


# -- what an item begins with ---------------------------------------------------------------------------------


@compiled
def _is_byte(pool: np.ndarray, item: int) -> bool:
    kind = field(pool, item, KIND)
    while kind in (CAT, FRAME):
        item = field(pool, item, A)
        kind = field(pool, item, KIND)
    return kind == SET


@compiled
def begins_with_byte(pool: np.ndarray, item: int) -> bool:
    """Whether an item, or each of its alternatives, is seen to be a byte out of a set, and perhaps something behind it.

    Alternatives further inside are not looked at.
    """
    while field(pool, item, KIND) in (CAT, FRAME):
        item = field(pool, item, A)
    if field(pool, item, KIND) != ALT:
        return _is_byte(pool, item)
    at = 0
    while at < field(pool, item, B) and _is_byte(pool, member(pool, item, at)):
        at += 1
    return at == field(pool, item, B)


@compiled
def may_begin_with_machine(pool: np.ndarray, item: int) -> bool:
    """Whether an automaton is the first part of an item, of an alternative, or of what has to hold besides others.

    That part may be an alternation itself. Further inside is not looked.
    """
    for i in range(field(pool, item, B) if field(pool, item, KIND) == ALT else 1):
        way = member(pool, item, i) if field(pool, item, KIND) == ALT else item
        for j in range(field(pool, way, B) if field(pool, way, KIND) == AND else 1):
            part = member(pool, way, j) if field(pool, way, KIND) == AND else way
            if field(pool, part, KIND) == CAT:
                part = field(pool, part, A)
            for k in range(field(pool, part, B) if field(pool, part, KIND) == ALT else 1):
                if field(pool, member(pool, part, k) if field(pool, part, KIND) == ALT else part, KIND) == MACHINE:
                    return True
    return False


# -- growing --------------------------------------------------------------------------------------------------


@compiled
def partition_hash(pool: np.ndarray, place: int) -> int:
    """The hash of a partition at a place of the array."""
    at = 0
    for byte in range(CLASSES):
        at = at * 31 + pool[place + byte]
    return mixed(at)


@compiled
def rehash(pool: np.ndarray) -> None:
    """Fill the hash tables of the sets and partitions of a pool, which are empty."""
    slots = 2 * pool[MAX_SETS]
    for number in range(pool[N_SETS]):
        place = pool[SETS] + SET_WORDS * number
        at = mixed(pool[place] ^ mixed(pool[place + 1] ^ mixed(pool[place + 2] ^ mixed(pool[place + 3]))))
        at &= slots - 1
        while pool[pool[SET_SLOTS] + at] != 0:
            at = (at + 1) & (slots - 1)
        pool[pool[SET_SLOTS] + at] = number + 1
    slots = 2 * pool[MAX_PARTITIONS]
    for number in range(pool[N_PARTITIONS]):
        at = partition_hash(pool, pool[PARTITIONS] + CLASSES * number) & (slots - 1)
        while pool[pool[PARTITION_SLOTS] + at] != 0:
            at = (at + 1) & (slots - 1)
        pool[pool[PARTITION_SLOTS] + at] = number + 1
