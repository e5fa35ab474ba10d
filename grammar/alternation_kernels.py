"""Alternations and intersections, compiled: simpler ways to write them."""

from __future__ import annotations

import numpy as np

from .cover_kernels import FEW, absorbed, holds, members_of, sorted_once, without
from .first_kernels import first
from .machine_code import compile_now, compiled, compiled_within
from .node_kernels import cat, concat, frame, negation, of_members, of_set
from .node_layout import (
    ALT,
    AND,
    ASK_JOINED,
    CAPTURE,
    CAT,
    DEEPEST,
    EMPTY,
    EPSILON,
    EVERY_BYTE,
    EVERYTHING,
    FLAGS,
    FRAME,
    KIND,
    LIST,
    NO_BYTES,
    NO_FLAGS,
    NOT,
    NULLABLE,
    PLAIN,
    SET,
    TOO_DEEP,
    UNKNOWN,
    WORK,
    A,
    B,
    C,
)
from .pool_kernels import ask, field, joined_sets, nullable, plain, put_field, shared_set


@compiled
def alt(pool: np.ndarray, items: np.ndarray, n: int, depth: int) -> int:
    """Strings of any of the first n items. Common heads are factored out, so a list of words becomes a trie."""
    members, n = members_of(pool, items, n, ALT)
    n = without(members, n, EMPTY)
    if n <= 1:
        return members[0] if n else EMPTY
    if holds(members, n, EVERYTHING):
        return EVERYTHING
    if depth > DEEPEST:
        return TOO_DEEP
    given = of_members(pool, LIST, members, n, NO_FLAGS)
    if given < 0:
        return given
    known = field(pool, given, C)
    if known >= 0:
        return known
    pool[WORK] += n
    found = _common_heads(pool, members, n, depth)
    if found == UNKNOWN:
        found = _factored_alt(pool, given, members, n, depth)
    if found >= 0:
        put_field(pool, given, C, found)
    return found


@compiled_within
def _common_heads(pool: np.ndarray, members: np.ndarray, n: int, depth: int) -> int:
    """The alternation, where all members begin with the same; else UNKNOWN. A loop, as they may be thousands."""
    heads = np.empty(16, np.int64)
    n_heads = 0
    while n > 1:
        if field(pool, members[0], KIND) != CAT:
            break
        head = field(pool, members[0], A)
        alike = True
        for i in range(1, n):
            if field(pool, members[i], KIND) != CAT or field(pool, members[i], A) != head:
                alike = False
                break
        if not alike:
            break
        if n_heads == heads.shape[0]:
            longer = np.empty(2 * n_heads, np.int64)
            longer[:n_heads] = heads
            heads = longer
        heads[n_heads] = head
        n_heads += 1
        for i in range(n):
            members[i] = field(pool, members[i], B)
        n = sorted_once(members, n)
    if n_heads == 0:
        return UNKNOWN
    result = alt(pool, members, n, depth + 1)
    for i in range(n_heads - 1, -1, -1):
        if result < 0:
            return result
        result = cat(pool, heads[i], result)
    return result


@compiled
def _by_first(first_: np.ndarray, second: np.ndarray, n: int) -> None:
    """Sort pairs by their first number; pairs with the same stay in order."""
    if n > FEW:
        order = np.argsort(first_[:n], kind="mergesort")
        a, b = first_[:n][order], second[:n][order]
        first_[:n] = a
        second[:n] = b
        return
    for i in range(1, n):
        a0, b0, at = first_[i], second[i], i
        while at > 0 and first_[at - 1] > a0:
            first_[at], second[at] = first_[at - 1], second[at - 1]
            at -= 1
        first_[at], second[at] = a0, b0


@compiled_within
def _factored(pool: np.ndarray, members: np.ndarray, n: int, depth: int) -> int:
    """Members with the same head become one, as do sets of bytes, and frames, with the same tail: in place.

    How many there are then, or why it could not be done.
    """
    heads, tails = np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        item = members[i]
        is_cat = field(pool, item, KIND) == CAT
        heads[i] = field(pool, item, A) if is_cat else item
        tails[i] = field(pool, item, B) if is_cat else EPSILON
    _by_first(heads, tails, n)
    result, n_joined, at = 0, 0, 0
    joined_heads, joined_tails = np.empty(n, np.int64), np.empty(n, np.int64)
    while at < n:
        end = at + 1
        while end < n and heads[end] == heads[at]:
            end += 1
        tail = tails[at] if end == at + 1 else alt(pool, tails[at:end].copy(), end - at, depth + 1)
        if tail < 0:
            return tail
        kind = field(pool, heads[at], KIND)
        if kind in (SET, FRAME):
            joined_heads[n_joined], joined_tails[n_joined] = heads[at], tail
            n_joined += 1
        else:
            found = concat(pool, heads[at], tail)
            if found < 0:
                return found
            members[result] = found
            result += 1
        at = end
    _by_first(joined_tails, joined_heads, n_joined)
    at = 0
    while at < n_joined:
        end = at + 1
        while end < n_joined and joined_tails[end] == joined_tails[at]:
            end += 1
        for kind in (SET, FRAME):
            head = _joined(pool, joined_heads[at:end], kind, depth)
            if head == EMPTY:
                continue
            found = head if head < 0 else concat(pool, head, joined_tails[at])
            if found < 0:
                return found
            members[result] = found
            result += 1
        at = end
    return sorted_once(members, result)


@compiled_within
def _joined(pool: np.ndarray, heads: np.ndarray, kind: int, depth: int) -> int:
    """Those of the heads that are of a kind, as one; EMPTY when none is."""
    inner = np.empty(max(heads.shape[0], 1), np.int64)
    n = np.int64(0)  # not a literal, for which `alt` would be compiled once more
    for i in range(heads.shape[0]):
        if field(pool, heads[i], KIND) == kind:
            inner[n] = field(pool, heads[i], A)
            n += 1
    if n == 0:
        return EMPTY
    if kind == FRAME:
        body = alt(pool, inner, n, depth + 1)
        return body if body < 0 else frame(pool, body)
    number = inner[0]
    for i in range(1, n):
        number = joined_sets(pool, number, inner[i])
        if number < 0:
            return number
    return of_set(pool, number)


@compiled_within
def _factored_alt(pool: np.ndarray, given: int, members: np.ndarray, n: int, depth: int) -> int:
    """The alternation of members that have no common head."""
    n = _factored(pool, members, n, depth)
    if n < 0:
        return n
    for i in range(n):
        if field(pool, members[i], KIND) == NOT and holds(members, n, field(pool, members[i], A)):
            return EVERYTHING
    for i in range(n):
        for j in range(i + 1, n):
            if field(pool, members[i], KIND) == CAPTURE and field(pool, members[j], KIND) == CAPTURE:
                if field(pool, members[i], C) == field(pool, members[j], C):
                    found = of_members(pool, LIST, members, n, NO_FLAGS)
                    return found if found < 0 else ask(pool, ASK_JOINED, given, found)
            elif field(pool, members[i], KIND) != CAPTURE:
                break
    n = absorbed(pool, members, n, depth)
    if n < 0:
        return n
    if n <= 1:
        return members[0] if n else EMPTY
    flags, every = NO_FLAGS, PLAIN
    for i in range(n):
        flags |= field(pool, members[i], FLAGS) & NULLABLE
        every &= field(pool, members[i], FLAGS)
    return of_members(pool, ALT, members, n, flags | every)


compile_now(alt, "int64(int64[::1], int64[::1], int64, int64)")


# -- intersections --------------------------------------------------------------------------------------------


@compiled
def _heads_differ(pool: np.ndarray, members: np.ndarray, n: int, depth: int) -> int:
    """1 where an intersection is seen to be empty by its first bytes. Leaves references alone."""
    number = EVERY_BYTE
    for i in range(n):
        if plain(pool, members[i]):
            other = first(pool, members[i], depth + 1)
            if other < 0:
                return other
            number = shared_set(pool, number, other)
            if number < 0:
                return number
    return 1 if number == NO_BYTES else 0


@compiled
def and_(pool: np.ndarray, items: np.ndarray, n: int, depth: int) -> int:
    """Strings of all of the first n items."""
    if depth > DEEPEST:
        return TOO_DEEP
    members, n = members_of(pool, items, n, AND)
    n = without(members, n, EVERYTHING)
    framed = False
    for i in range(n):
        if field(pool, members[i], KIND) == FRAME:
            framed = True
            members[i] = field(pool, members[i], A)
    if framed:
        inner = and_(pool, members, n, depth + 1)
        return inner if inner < 0 else frame(pool, inner)
    pool[WORK] += n
    negated, others = np.empty(n, np.int64), np.empty(n + 2, np.int64)
    n_negated, kept, n_sets, number = 0, 0, 0, EVERY_BYTE
    for i in range(n):
        item = members[i]
        kind = field(pool, item, KIND)
        if item == EMPTY:
            return EMPTY
        if kind == NOT:
            negated[n_negated] = field(pool, item, A)
            n_negated += 1
        elif kind == SET:
            n_sets += 1
            number = shared_set(pool, number, field(pool, item, A))
            if number < 0:
                return number
        else:
            others[kept] = item
            kept += 1
    for i in range(n):
        for j in range(n_negated):
            if members[i] == negated[j]:  # asked for and denied
                return EMPTY
    n = kept
    if n_sets:
        one = of_set(pool, number)
        if one < 0:
            return one
        others[n] = one
        n += 1
    if n_negated:
        either = alt(pool, negated, n_negated, depth + 1)
        none = negation(pool, either)
        if none < 0:
            return none
        others[n] = none
        n += 1
    n = sorted_once(others, n)
    all_nullable, has_epsilon = True, False
    for i in range(n):
        all_nullable = all_nullable and nullable(pool, others[i])
        has_epsilon = has_epsilon or others[i] == EPSILON
        if others[i] == EMPTY:
            return EMPTY
    if has_epsilon:
        return EPSILON if all_nullable else EMPTY
    if n <= 1:
        return others[0] if n else EVERYTHING
    if not all_nullable:
        differ = _heads_differ(pool, others, n, depth)
        if differ:
            return differ if differ < 0 else EMPTY
    return of_members(pool, AND, others, n, NULLABLE if all_nullable else NO_FLAGS)


compile_now(and_, "int64(int64[::1], int64[::1], int64, int64)")
