"""Derivatives of expressions (Brzozowski 1964), compiled."""

from __future__ import annotations

import numpy as np

from .alternation_kernels import alt, and_
from .first_kernels import definition, first, partition
from .machine_code import compile_now, compiled, compiled_as, compiled_within
from .node_kernels import concat, counted, frame, negation, repeat
from .node_layout import (
    ALT,
    AND,
    ASK_DERIVATIVE,
    ASK_PRUNED,
    CAPTURE,
    CAT,
    CLASSES,
    COUNTED,
    DEEPEST,
    EMPTY,
    EPSILON,
    FLAGS,
    FRAME,
    KIND,
    LENGTH,
    MACHINE,
    NEVER,
    NOT,
    NOTHING,
    NULLABLE,
    PARTITIONS,
    PAUSE,
    PLAIN,
    PRUNED_OF,
    REF,
    REPEAT,
    SET,
    TOO_DEEP,
    UNBOUNDED,
    VERBATIM,
    WORDS,
    WORK,
    WORK_LIMIT,
    A,
    B,
    C,
)
from .pool_kernels import ask, derivative_key, fact, field, in_set, member, nullable, pair_key, plain, remember

_MANY = 8  # members of an alternation that are looked up by their first byte
_MOST_TRIED = np.int64(24)  # derivatives of an intersection that are looked at before the host is asked


@compiled
def derive(pool: np.ndarray, item: int, byte: int, depth: int) -> int:
    """What may follow a byte. May name the empty language by another expression than EMPTY."""
    kind = field(pool, item, KIND)
    if kind == SET:
        return EPSILON if in_set(pool, field(pool, item, A), byte) else EMPTY
    if kind == CAT:
        head = field(pool, item, A)
        if field(pool, head, KIND) == SET:
            return field(pool, item, B) if in_set(pool, field(pool, head, A), byte) else EMPTY
    key = derivative_key(item, byte)
    known = fact(pool, key)
    if known >= 0:
        return known
    pool[WORK] += 1
    if pool[WORK] > pool[WORK_LIMIT]:
        return PAUSE
    if depth > DEEPEST:
        return TOO_DEEP
    found = EMPTY
    if kind == CAT:
        found = _derive_cat(pool, item, byte, depth)
    elif kind == ALT:
        found = _derive_alt(pool, item, byte, depth)
    elif kind == AND:
        found = _derive_and(pool, item, byte, depth)
    elif kind == NOT:
        found = negation(pool, derive(pool, field(pool, item, A), byte, depth + 1))
    elif kind in (REPEAT, COUNTED):
        found = _derive_repeated(pool, item, byte, depth)
    elif kind == FRAME:
        found = derive(pool, field(pool, item, A), byte, depth + 1)
        found = found if found < 0 else frame(pool, found)
    elif kind in (REF, WORDS):
        meaning = definition(pool, item)
        found = meaning if meaning < 0 else derive(pool, meaning, byte, depth + 1)
        found = frame(pool, found) if found >= 0 and kind == REF else found
    elif kind in (CAPTURE, VERBATIM, MACHINE):
        return ask(pool, ASK_DERIVATIVE, item, byte)
    return found if found < 0 else remember(pool, key, found)


@compiled_within
def _derive_cat(pool: np.ndarray, item: int, byte: int, depth: int) -> int:
    n, rest = 1, item
    while field(pool, rest, KIND) == CAT and nullable(pool, field(pool, rest, A)):
        n += 1
        rest = field(pool, rest, B)
    ways = np.empty(n, np.int64)
    n = 0
    while field(pool, item, KIND) == CAT:
        head, tail = field(pool, item, A), field(pool, item, B)
        left = derive(pool, head, byte, depth + 1)
        if left < 0:
            return left
        if left != EMPTY:
            way = concat(pool, left, tail)
            if way < 0:
                return way
            ways[n] = way
            n += 1
        if not nullable(pool, head):
            return alt(pool, ways, n, depth + 1)
        item = tail
    left = derive(pool, item, byte, depth + 1)
    if left < 0:
        return left
    ways[n] = left
    return alt(pool, ways, n + 1, depth + 1)


@compiled_within
def _derive_alt(pool: np.ndarray, item: int, byte: int, depth: int) -> int:
    size = field(pool, item, B)
    ways = np.empty(size, np.int64)
    n = 0
    for i in range(size):
        each = member(pool, item, i)
        if size >= _MANY:
            number = first(pool, each, depth + 1)
            if number < 0:
                return number
            if not in_set(pool, number, byte):
                continue
        left = derive(pool, each, byte, depth + 1)
        if left < 0:
            return left
        if left != EMPTY:
            ways[n] = left
            n += 1
    return alt(pool, ways, n, depth + 1)


@compiled_within
def _derive_and(pool: np.ndarray, item: int, byte: int, depth: int) -> int:
    size = field(pool, item, B)
    ways = np.empty(size, np.int64)
    for i in range(size):
        left = derive(pool, member(pool, item, i), byte, depth + 1)
        if left <= EMPTY:
            return left
        ways[i] = left
    return and_(pool, ways, size, depth + 1)


@compiled_within
def _derive_repeated(pool: np.ndarray, item: int, byte: int, depth: int) -> int:
    unit, lo, hi = field(pool, item, A), field(pool, item, B), field(pool, item, C)
    left = derive(pool, unit, byte, depth + 1)
    if left <= EMPTY:
        return left
    less, fewer = max(lo - 1, 0), hi if hi == UNBOUNDED else hi - 1
    one_less = (
        repeat(pool, unit, less, fewer) if field(pool, item, KIND) == REPEAT else counted(pool, unit, less, fewer)
    )
    return concat(pool, left, one_less)


compile_now(derive, "int64(int64[::1], int64, int64, int64)")


@compiled_within
def _meets(pool: np.ndarray, item: int) -> bool:
    """Whether an intersection is seen to have a member after few bytes. Errs towards no."""
    known = fact(pool, pair_key(PRUNED_OF, item, NOTHING))
    if known >= 0:
        return known != EMPTY
    todo = np.empty(_MOST_TRIED + 1, np.int64)
    todo[0] = item
    n, at, tried = 1, 0, 0
    while at < n:
        each = todo[at]
        at += 1
        begins, number = first(pool, each, NOTHING), partition(pool, each, NOTHING)
        if begins < 0 or number < 0:
            return False
        n_classes = np.int64(0)
        for byte in range(256):
            if pool[pool[PARTITIONS] + CLASSES * number + byte] != n_classes:
                continue
            n_classes += 1
            if not in_set(pool, begins, byte):
                continue
            if tried == _MOST_TRIED:
                return False
            tried += 1
            left = derive(pool, each, np.int64(byte), NOTHING)
            if left < 0:
                return False
            if left == EMPTY:
                continue
            length = field(pool, left, LENGTH)
            if field(pool, left, FLAGS) & (PLAIN | NULLABLE) != 0 or 0 <= length < NEVER:
                remember(pool, pair_key(PRUNED_OF, item, NOTHING), item)
                return True
            if length < 0 and field(pool, left, KIND) == AND:
                todo[n] = left
                n += 1
    return False


@compiled_as("boolean(int64[::1], int64)")
def has_member(pool: np.ndarray, item: int) -> bool:
    """Whether a language is seen, without searching, not to be empty. Errs towards no."""
    while True:
        if field(pool, item, FLAGS) & (PLAIN | NULLABLE) != 0:
            return item != EMPTY
        length = field(pool, item, LENGTH)
        if length >= 0:
            return length < NEVER
        kind = field(pool, item, KIND)
        if kind == CAT:
            if not has_member(pool, field(pool, item, A)):
                return False
            item = field(pool, item, B)
        elif kind in (FRAME, REPEAT, COUNTED):
            item = field(pool, item, A)
        elif kind == ALT:
            at = 0
            while at < field(pool, item, B) and not has_member(pool, member(pool, item, at)):
                at += 1
            return at < field(pool, item, B)
        else:
            return kind == AND and _meets(pool, item)


@compiled_as("int64(int64[::1], int64)")
def pruned(pool: np.ndarray, item: int) -> int:
    """The same language, with members of alternations that can never be matched taken out."""
    if item <= EPSILON or plain(pool, item):
        return item
    known = fact(pool, pair_key(PRUNED_OF, item, NOTHING))
    if known >= 0:
        return known
    if field(pool, item, KIND) == ALT:
        for i in range(field(pool, item, B)):
            if not has_member(pool, member(pool, item, i)):
                return ask(pool, ASK_PRUNED, item, NOTHING)
        return item
    return item if has_member(pool, item) else ask(pool, ASK_PRUNED, item, NOTHING)


@compiled
def derivative(pool: np.ndarray, item: int, byte: int, depth: int) -> int:
    """What may follow a byte; EMPTY exactly when nothing can."""
    return pruned(pool, derive(pool, item, byte, depth))
