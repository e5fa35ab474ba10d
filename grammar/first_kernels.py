"""What strings of an expression may begin with, compiled: sets of first bytes, and bytes that behave alike."""

from __future__ import annotations

import numpy as np

from .machine_code import compile_now, compiled
from .node_layout import (
    ALT,
    AND,
    ANY_BYTE,
    ASK_CLASSES,
    ASK_DEFINITION,
    ASK_FIRST,
    CAPTURE,
    CAT,
    CLASSES,
    COUNTED,
    DEEPEST,
    EVERY_BYTE,
    FIRST,
    FRAME,
    KIND,
    MACHINE,
    MARK,
    MAX_PARTITIONS,
    N_PARTITIONS,
    NEED_ROOM,
    NO_BYTES,
    NOT,
    NOTHING,
    ONE_CLASS,
    PARTITION,
    PARTITION_SLOTS,
    PARTITIONS,
    REF,
    REFINED_OF,
    REPEAT,
    SET,
    TOO_DEEP,
    VERBATIM,
    WORDS,
    A,
    B,
)
from .pool_kernels import (
    ask,
    fact,
    field,
    in_set,
    joined_sets,
    member,
    nullable,
    pair_key,
    partition_hash,
    put_field,
    remember,
    shared_set,
)


@compiled
def definition(pool: np.ndarray, item: int) -> int:
    """What a reference, or a node of words, stands for."""
    found = field(pool, item, B)
    return found if found >= 0 else ask(pool, ASK_DEFINITION, item, NOTHING)


@compiled
def first(pool: np.ndarray, item: int, depth: int) -> int:
    """The number of the set of bytes that strings may begin with (of complements, all bytes)."""
    known = field(pool, item, FIRST)
    if known >= 0:
        return known
    if depth > DEEPEST:
        return TOO_DEEP
    kind = field(pool, item, KIND)
    found = NO_BYTES
    if kind == SET:
        found = field(pool, item, A)
    elif kind == CAT:
        rest, open_ = item, True
        while open_ and field(pool, rest, KIND) == CAT:
            head = field(pool, rest, A)
            other = first(pool, head, depth + 1)
            if other < 0:
                return other
            found = joined_sets(pool, found, other)
            if found < 0:
                return found
            open_ = nullable(pool, head)
            rest = field(pool, rest, B)
        if open_:
            other = first(pool, rest, depth + 1)
            if other < 0:
                return other
            found = joined_sets(pool, found, other)
    elif kind in (ALT, AND):
        if kind == AND:
            found = EVERY_BYTE
        for i in range(field(pool, item, B)):
            other = first(pool, member(pool, item, i), depth + 1)
            if other < 0:
                return other
            found = joined_sets(pool, found, other) if kind == ALT else shared_set(pool, found, other)
            if found < 0:
                return found
    elif kind == NOT:
        found = EVERY_BYTE
    elif kind in (REPEAT, COUNTED, FRAME):
        found = first(pool, field(pool, item, A), depth + 1)
    elif kind in (REF, WORDS):
        meaning = definition(pool, item)
        found = meaning if meaning < 0 else first(pool, meaning, depth + 1)
    elif kind in (MACHINE, VERBATIM, CAPTURE, MARK):
        return ask(pool, ASK_FIRST, item, NOTHING)
    if found >= 0:
        put_field(pool, item, FIRST, found)
    return found


compile_now(first, "int64(int64[::1], int64, int64)")


@compiled
def add_partition(pool: np.ndarray, classes: np.ndarray) -> int:
    """The number of a partition of the bytes: (256,) int64, classes numbered as they are met."""
    found = pool[N_PARTITIONS]
    if found >= pool[MAX_PARTITIONS]:
        return NEED_ROOM
    place = pool[PARTITIONS] + CLASSES * found  # written where it would stand: there is one way to compare and to hash
    for byte in range(CLASSES):
        pool[place + byte] = classes[byte]
    slots = 2 * pool[MAX_PARTITIONS]
    at = partition_hash(pool, place) & (slots - 1)
    while pool[pool[PARTITION_SLOTS] + at] != 0:
        other = pool[pool[PARTITION_SLOTS] + at] - 1
        same = True
        for byte in range(CLASSES):
            if pool[pool[PARTITIONS] + CLASSES * other + byte] != classes[byte]:
                same = False
                break
        if same:
            return int(other)
        at = (at + 1) & (slots - 1)
    pool[pool[PARTITION_SLOTS] + at] = found + 1
    pool[N_PARTITIONS] += 1
    return found


@compiled
def _two_classes(pool: np.ndarray, number: int) -> int:
    """The partition of a set's bytes and all others."""
    classes = np.zeros(CLASSES, np.int64)
    of_first = in_set(pool, number, NOTHING)
    for byte in range(CLASSES):
        classes[byte] = 0 if in_set(pool, number, byte) == of_first else 1
    return add_partition(pool, classes)


@compiled
def _refined(pool: np.ndarray, first_: int, second: int) -> int:
    """The partition in which bytes are together that are so in both."""
    if first_ == second or second == ONE_CLASS:
        return first_
    if first_ == ONE_CLASS:
        return second
    low, high = min(first_, second), max(first_, second)
    known = fact(pool, pair_key(REFINED_OF, low, high))
    if known >= 0:
        return known
    classes = np.zeros(CLASSES, np.int64)
    place, other, n, n_other = pool[PARTITIONS] + CLASSES * low, pool[PARTITIONS] + CLASSES * high, 0, 0
    for byte in range(CLASSES):
        n, n_other = max(n, pool[place + byte] + 1), max(n_other, pool[other + byte] + 1)
    seen = np.full(n * n_other, -1, np.int16)
    n = 0
    for byte in range(CLASSES):
        both = pool[place + byte] * n_other + pool[other + byte]
        if seen[both] < 0:
            seen[both] = n
            n += 1
        classes[byte] = seen[both]
    found = add_partition(pool, classes)
    return found if found < 0 else remember(pool, pair_key(REFINED_OF, low, high), found)


@compiled
def partition(pool: np.ndarray, item: int, depth: int) -> int:
    """The number of a partition of the bytes: those of one class have the same derivative."""
    known = field(pool, item, PARTITION)
    if known >= 0:
        return known
    if depth > DEEPEST:
        return TOO_DEEP
    kind = field(pool, item, KIND)
    found = ONE_CLASS
    if kind == SET:
        if item != ANY_BYTE:
            found = _two_classes(pool, field(pool, item, A))
    elif kind == CAT:
        rest, open_ = item, True
        while open_ and field(pool, rest, KIND) == CAT:
            head = field(pool, rest, A)
            other = partition(pool, head, depth + 1)
            if other < 0:
                return other
            found = _refined(pool, found, other)
            if found < 0:
                return found
            open_ = nullable(pool, head)
            rest = field(pool, rest, B)
        if open_:
            other = partition(pool, rest, depth + 1)
            if other < 0:
                return other
            found = _refined(pool, found, other)
    elif kind in (ALT, AND):
        for i in range(field(pool, item, B)):
            other = partition(pool, member(pool, item, i), depth + 1)
            if other < 0:
                return other
            found = _refined(pool, found, other)
            if found < 0:
                return found
    elif kind in (NOT, REPEAT, COUNTED, FRAME):
        found = partition(pool, field(pool, item, A), depth + 1)
    elif kind in (REF, WORDS):
        meaning = definition(pool, item)
        found = meaning if meaning < 0 else partition(pool, meaning, depth + 1)
    elif kind in (MACHINE, VERBATIM, CAPTURE):
        return ask(pool, ASK_CLASSES, item, NOTHING)
    if found >= 0:
        put_field(pool, item, PARTITION, found)
    return found


compile_now(partition, "int64(int64[::1], int64, int64)")
