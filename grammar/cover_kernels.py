"""Members of an alternation or an intersection, compiled: ascending, each once, without those that others cover."""

from __future__ import annotations

import numpy as np

from .machine_code import compile_now, compiled
from .node_layout import (
    ALT,
    CAT,
    COUNTED,
    COVERED_BY,
    DEEPEST,
    EPSILON,
    KIND,
    REPEAT,
    SET,
    TOO_DEEP,
    UNBOUNDED,
    A,
    B,
    C,
)
from .pool_kernels import fact, field, is_within, member, nullable, pair_key, remember

FEW = 24
"""Members that are sorted by insertion."""


@compiled
def sorted_once(items: np.ndarray, n: int) -> int:
    """Sort the first n items in place and drop what comes twice: how many are left."""
    if n > FEW:
        items[:n] = np.sort(items[:n])
    else:
        for i in range(1, n):
            item, at = items[i], i
            while at > 0 and items[at - 1] > item:
                items[at] = items[at - 1]
                at -= 1
            items[at] = item
    kept = 0
    for i in range(n):
        if kept == 0 or items[kept - 1] != items[i]:
            items[kept] = items[i]
            kept += 1
    return kept


@compiled
def members_of(pool: np.ndarray, items: np.ndarray, n: int, kind: int) -> tuple[np.ndarray, int]:
    """The items, those of a kind replaced by their members; ascending, each once."""
    total = 0
    for i in range(n):
        total += field(pool, items[i], B) if field(pool, items[i], KIND) == kind else 1
    members = np.empty(max(total, 1), np.int64)
    total = 0
    for i in range(n):
        if field(pool, items[i], KIND) == kind:
            for j in range(field(pool, items[i], B)):
                members[total] = member(pool, items[i], j)
                total += 1
        else:
            members[total] = items[i]
            total += 1
    return members, sorted_once(members, total)


@compiled
def holds(members: np.ndarray, n: int, item: int) -> bool:
    """Whether an item is among ascending members."""
    at = np.searchsorted(members[:n], item)
    return bool(at < n and members[at] == item)


@compiled
def without(members: np.ndarray, n: int, item: int) -> int:
    """Take an item out of ascending members: how many are left."""
    kept = 0
    for i in range(n):
        if members[i] != item:
            members[kept] = members[i]
            kept += 1
    return kept


# -- what others cover ----------------------------------------------------------------------------------------


@compiled
def _unit_has(pool: np.ndarray, unit: int, number: int) -> bool:
    """Whether all bytes of a set are one of the unit's ways."""
    if field(pool, unit, KIND) == SET:
        return is_within(pool, number, field(pool, unit, A))
    if field(pool, unit, KIND) == ALT:
        for i in range(field(pool, unit, B)):
            way = member(pool, unit, i)
            if field(pool, way, KIND) == SET and is_within(pool, number, field(pool, way, A)):
                return True
    return False


@compiled
def covers(pool: np.ndarray, star: int, item: int, depth: int) -> int:
    """1 where `item` is seen, without searching, to be within `star` = x*; else 0."""
    key = pair_key(COVERED_BY, star, item)
    known = fact(pool, key)
    if known >= 0:
        return known
    if depth > DEEPEST:
        return TOO_DEEP
    unit = field(pool, star, A)
    found = -1
    rest = item
    while field(pool, rest, KIND) == CAT and rest != unit:
        inner = covers(pool, star, field(pool, rest, A), depth + 1)
        if inner < 0:
            return inner
        if inner == 0:
            found = 0
            break
        rest = field(pool, rest, B)
    if found < 0:
        kind = field(pool, rest, KIND)
        found = 0
        if rest in (star, unit, EPSILON):
            found = 1
        elif kind == SET:
            found = 1 if _unit_has(pool, unit, field(pool, rest, A)) else 0
        elif kind == ALT:
            found = 1
            for i in range(field(pool, rest, B)):
                inner = covers(pool, star, member(pool, rest, i), depth + 1)
                if inner <= 0:
                    if inner < 0:
                        return inner
                    found = 0
                    break
        elif kind in (REPEAT, COUNTED):
            found = covers(pool, star, field(pool, rest, A), depth + 1)
            if found < 0:
                return found
    return remember(pool, key, found)


compile_now(covers, "int64(int64[::1], int64, int64, int64)")


@compiled
def absorbed(pool: np.ndarray, members: np.ndarray, n: int, depth: int) -> int:
    """Drop members that others plainly cover: `x*|xyx*` is `x*` when y is one of x, `y|x?y` is `x?y`."""
    at = 0
    while at < n:
        star = members[at]
        if field(pool, star, KIND) == REPEAT and field(pool, star, B) == 0 and field(pool, star, C) == UNBOUNDED:
            kept = 0
            for i in range(n):
                covered = 0 if members[i] == star else covers(pool, star, members[i], depth + 1)
                if covered < 0:
                    return covered
                if not covered:
                    members[kept] = members[i]
                    kept += 1
            n = kept
            at = np.searchsorted(members[:n], star)
        at += 1
    dropped = np.zeros(n, np.bool_)
    for i in range(n):
        item = members[i]
        while field(pool, item, KIND) == CAT and nullable(pool, field(pool, item, A)):
            item = field(pool, item, B)
            found = np.searchsorted(members[:n], item)
            if found < n and members[found] == item:
                dropped[found] = True
    kept = 0
    for i in range(n):
        if not dropped[i]:
            members[kept] = members[i]
            kept += 1
    n = kept
    if holds(members, n, EPSILON):
        for i in range(n):
            if members[i] != EPSILON and nullable(pool, members[i]):
                return without(members, n, EPSILON)
    return n
