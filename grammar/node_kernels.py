"""Expression nodes are made, compiled, and found again when made alike.

See `pool_kernels` for what the array of a pool holds, and what functions return that could not go on.
"""

from __future__ import annotations

import numpy as np

from .machine_code import compiled
from .node_layout import (
    ALT,
    BUCKETS,
    CAT,
    COUNTED,
    EMPTY,
    EPSILON,
    EVERYTHING,
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
    MAX_MEMBERS,
    MAX_NODES,
    MEMBERS,
    N_BUCKETS,
    N_MEMBERS,
    N_NODES,
    NEED_ROOM,
    NEVER,
    NEXT_BITS,
    NO_BYTES,
    NO_FLAGS,
    NODES,
    NOT,
    NOTHING,
    NULLABLE,
    ONE,
    PARTITION,
    PLAIN,
    RECORD,
    REF,
    REPEAT,
    SET,
    UNBOUNDED,
    UNKNOWN,
    WHOLE,
    WORK,
    A,
    B,
    C,
)
from .pool_kernels import byte_set, field, member, mixed, nullable


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
