"""The arithmetic of expression nodes, compiled: nodes are made, and found again when made alike.

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
    BUCKETS,
    BYTE,
    CAT,
    CLASSES,
    COUNTED,
    EMPTY,
    EPSILON,
    EVERYTHING,
    FACT_WORDS,
    FACTS,
    FIRST,
    FIRST_BYTE,
    FLAGS,
    FRAME,
    HASH_BITS,
    KIND,
    LENGTH,
    LINK_BITS,
    LINKS,
    LIST,
    MACHINE,
    MAX_FACTS,
    MAX_MEMBERS,
    MAX_NODES,
    MAX_PARTITIONS,
    MAX_SETS,
    MEMBERS,
    N_BUCKETS,
    N_FACTS,
    N_MEMBERS,
    N_NODES,
    N_PARTITIONS,
    N_SETS,
    NEED_ROOM,
    NEVER,
    NEXT_BITS,
    NO_BYTES,
    NO_FLAGS,
    NODES,
    NOT,
    NOTHING,
    NULLABLE,
    OLD_FACTS,
    OLD_ROOM,
    ONE,
    PARTITION,
    PARTITION_SLOTS,
    PARTITIONS,
    PLAIN,
    QUESTION,
    RECORD,
    REF,
    REPEAT,
    SET,
    SET_SLOTS,
    SET_WORDS,
    SETS,
    UNBOUNDED,
    UNKNOWN,
    WHOLE,
    WORK,
    A,
    B,
    C,
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


# -- nodes ----------------------------------------------------------------------------------------------------


@compiled
def _hash(kind: int, a: int, b: int, c: int) -> int:
    """The hash of a node."""
    return int(mixed(kind ^ mixed(a ^ mixed(b ^ mixed(c)))) & HASH_BITS)


@compiled
def _bucket(pool: np.ndarray, at: int) -> int:
    """Where the bucket of a hash is. There are WHOLE buckets, of which the first have each been split in two."""
    bucket = at & (2 * pool[WHOLE] - 1)
    return int(pool[BUCKETS] + (bucket if bucket < pool[N_BUCKETS] else bucket - pool[WHOLE]))


@compiled
def _found(pool: np.ndarray, at: int, kind: int, a: int, b: int, c: int) -> int:
    """The node that was made alike, by its hash; or UNKNOWN."""
    item = pool[_bucket(pool, at)] - 1
    while item >= 0:
        link = pool[pool[LINKS] + item]
        if link >> LINK_BITS == at:
            place = pool[NODES] + RECORD * item
            if pool[place] == kind and pool[place + A] == a and pool[place + B] == b and pool[place + C] == c:
                return int(item)
        item = (link & NEXT_BITS) - 1
    return UNKNOWN


@compiled
def _split(pool: np.ndarray) -> None:
    """One bucket more: half of what is in the next one to be split. So no node has to wait for the whole table."""
    new, whole = pool[N_BUCKETS], pool[WHOLE]
    old = new - whole
    item = pool[pool[BUCKETS] + old] - 1
    pool[pool[BUCKETS] + old] = pool[pool[BUCKETS] + new] = 0
    while item >= 0:
        link = pool[pool[LINKS] + item]
        at = link >> LINK_BITS
        bucket = pool[BUCKETS] + (new if at & whole else old)
        pool[pool[LINKS] + item] = (at << LINK_BITS) | pool[bucket]
        pool[bucket] = item + 1
        item = (link & NEXT_BITS) - 1
    pool[N_BUCKETS] = new + 1
    if new + 1 == 2 * whole:
        pool[WHOLE] = new + 1


@compiled
def _add(pool: np.ndarray, at: int, kind: int, a: int, b: int, c: int, flags: int, length: int) -> int:
    """A new node, of this hash; its id."""
    item = pool[N_NODES]
    if item >= pool[MAX_NODES]:
        return NEED_ROOM
    place = pool[NODES] + RECORD * item
    pool[place], pool[place + A], pool[place + B], pool[place + C] = kind, a, b, c
    pool[place + FLAGS], pool[place + LENGTH] = flags, length
    pool[place + FIRST] = pool[place + PARTITION] = UNKNOWN
    bucket = _bucket(pool, at)
    pool[pool[LINKS] + item] = (at << LINK_BITS) | pool[bucket]
    pool[bucket] = item + 1
    pool[N_NODES] += 1
    pool[WORK] += 1
    if pool[N_NODES] > pool[N_BUCKETS]:
        _split(pool)
    return int(item)


@compiled
def add_opaque(pool: np.ndarray, kind: int, a: int, b: int, c: int, flags: int) -> int:
    """A new node of a kind about which the host answers. The host has looked whether it is there already."""
    return _add(pool, _hash(kind, a, b, c), kind, a, b, c, flags, UNKNOWN)


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


@compiled
def of_set(pool: np.ndarray, number: int) -> int:
    """One byte out of a set."""
    if number < 0:
        return number
    if number == NO_BYTES:
        return EMPTY
    at = _hash(SET, number, NOTHING, NOTHING)
    found = _found(pool, at, SET, number, NOTHING, NOTHING)
    return found if found >= 0 else _add(pool, at, SET, number, NOTHING, NOTHING, PLAIN, ONE)


@compiled
def byte_mask(pool: np.ndarray, w0: int, w1: int, w2: int, w3: int) -> int:
    """One byte out of a set, given as four words."""
    return of_set(pool, byte_set(pool, w0, w1, w2, w3))


@compiled
def cat(pool: np.ndarray, head: int, tail: int) -> int:
    """A concatenation whose head is none itself."""
    if head == EMPTY or tail == EMPTY:
        return EMPTY
    if head == EPSILON:
        return tail
    if tail == EPSILON:
        return head
    at = _hash(CAT, head, tail, NOTHING)
    found = _found(pool, at, CAT, head, tail, NOTHING)
    if found >= 0:
        return found
    flags = field(pool, head, FLAGS) & field(pool, tail, FLAGS)
    first, second = field(pool, head, LENGTH), field(pool, tail, LENGTH)
    length = min(first + second, NEVER) if first >= 0 and second >= 0 else UNKNOWN
    return _add(pool, at, CAT, head, tail, NOTHING, flags, length)


@compiled
def concat(pool: np.ndarray, first: int, second: int) -> int:
    """Strings of the one, then of the other; both may be concatenations."""
    if first < 0 or second < 0:
        return min(first, second)
    if field(pool, first, KIND) != CAT:
        return cat(pool, first, second)
    n, item = 0, first
    while field(pool, item, KIND) == CAT:
        n += 1
        item = field(pool, item, B)
    result = cat(pool, item, second)
    heads = np.empty(n, np.int64)
    item = first
    for i in range(n):
        heads[i] = field(pool, item, A)
        item = field(pool, item, B)
    for i in range(n - 1, -1, -1):
        if result < 0:
            return result
        result = cat(pool, heads[i], result)
    return result


@compiled
def concat_all(pool: np.ndarray, items: np.ndarray, n: int) -> int:
    """Strings of each of the first n items, one after the other."""
    result = EPSILON
    for i in range(n - 1, -1, -1):
        result = concat(pool, items[i], result)
        if result < 0:
            return result
    return result


@compiled
def prefixed(pool: np.ndarray, text: np.ndarray, start: int, end: int, first: int, second: int) -> int:
    """A part of a text, (bytes,) uint8, and then strings of the one and of the other item."""
    result = concat(pool, first, second) if second != EPSILON else first
    for i in range(end - 1, start - 1, -1):
        if result < 0:
            return result
        result = cat(pool, FIRST_BYTE + text[i], result)
    return result


@compiled
def of_members(pool: np.ndarray, kind: int, members: np.ndarray, n: int, flags: int) -> int:
    """A node of n members, ascending: an alternation, an intersection or a list."""
    at = kind
    for i in range(n):
        at = mixed(at ^ members[i])
    at &= HASH_BITS
    found = pool[_bucket(pool, at)] - 1
    while found >= 0:
        link = pool[pool[LINKS] + found]
        if link >> LINK_BITS == at and field(pool, found, KIND) == kind and field(pool, found, B) == n:
            same = True
            for i in range(n):
                if member(pool, found, i) != members[i]:
                    same = False
                    break
            if same:
                return int(found)
        found = (link & NEXT_BITS) - 1
    first = pool[N_MEMBERS]
    if first + n > pool[MAX_MEMBERS]:
        return NEED_ROOM
    length = UNKNOWN
    if kind == ALT:
        length = NEVER
        for i in range(n):
            length = min(length, field(pool, members[i], LENGTH))  # UNKNOWN is the least
    added = _add(pool, at, kind, first, n, UNKNOWN if kind == LIST else NOTHING, flags, length)
    if added >= 0:
        place = pool[MEMBERS] + first
        for i in range(n):
            pool[place + i] = members[i]
        pool[N_MEMBERS] += n
    return added


@compiled
def negation(pool: np.ndarray, item: int) -> int:
    """All byte strings that are not in a language."""
    if item < 0:
        return item
    if field(pool, item, KIND) == FRAME:
        item = field(pool, item, A)
    if field(pool, item, KIND) == NOT:
        return field(pool, item, A)
    if item == EMPTY:
        return EVERYTHING
    if item == EVERYTHING:
        return EMPTY
    at = _hash(NOT, item, NOTHING, NOTHING)
    found = _found(pool, at, NOT, item, NOTHING, NOTHING)
    if found >= 0:
        return found
    return _add(pool, at, NOT, item, NOTHING, NOTHING, NO_FLAGS if nullable(pool, item) else NULLABLE, UNKNOWN)


@compiled
def frame(pool: np.ndarray, item: int) -> int:
    """The same language, marked as a nesting boundary."""
    if item <= EPSILON:
        return item
    kind = field(pool, item, KIND)
    if kind in (FRAME, REF):
        return item
    at = _hash(FRAME, item, NOTHING, NOTHING)
    found = _found(pool, at, FRAME, item, NOTHING, NOTHING)
    if found >= 0:
        return found
    return _add(pool, at, FRAME, item, NOTHING, NOTHING, field(pool, item, FLAGS), field(pool, item, LENGTH))


@compiled
def times(count: int, length: int) -> int:
    """The length of so many texts of a length."""
    if count == 0 or length == 0:
        return 0
    if length >= NEVER:
        return NEVER
    return NEVER - 1 if count > (NEVER - 1) // length else count * length


@compiled
def _repeated(pool: np.ndarray, kind: int, item: int, lo: int, hi: int) -> int:
    at = _hash(kind, item, lo, hi)
    found = _found(pool, at, kind, item, lo, hi)
    if found >= 0:
        return found
    flags = (NULLABLE if lo == 0 else NO_FLAGS) | (field(pool, item, FLAGS) & PLAIN)
    inner = field(pool, item, LENGTH)
    length = 0 if lo == 0 else (times(lo, inner) if inner >= 0 else UNKNOWN)
    return _add(pool, at, kind, item, lo, hi, flags, length)


@compiled
def repeat(pool: np.ndarray, item: int, lo: int, hi: int) -> int:
    """Between lo and hi strings of a language, one after the other; hi UNBOUNDED: any number."""
    if hi != UNBOUNDED and lo > hi:
        return EMPTY
    if hi == 0 or item == EPSILON or (item == EMPTY and lo == 0):
        return EPSILON
    if item == EMPTY or (lo == 1 and hi == 1):
        return item
    if nullable(pool, item):
        lo = 0
        if field(pool, item, KIND) == REPEAT and field(pool, item, B) == 0 and field(pool, item, C) == UNBOUNDED:
            return item
    return _repeated(pool, REPEAT, item, lo, hi)


@compiled
def counted(pool: np.ndarray, unit: int, lo: int, hi: int) -> int:
    """`repeat` of one character, whose count is kept in a register."""
    if hi != UNBOUNDED and lo > hi:
        return EMPTY
    if hi == 0 or (unit == EMPTY and lo == 0):
        return EPSILON
    return EMPTY if unit == EMPTY else _repeated(pool, COUNTED, unit, lo, hi)


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
