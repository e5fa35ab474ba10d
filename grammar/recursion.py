"""Rules that come back to themselves, written so that no reference begins with itself and loops are loops.

Left recursion, direct, through others or behind nullable symbols, is solved as linear equations by Gauss and Arden:
`A = A R | B` is `B R*`; so is right recursion, `A = X A | B` is `X* B`, for then it needs no stack.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from .errors import GrammarError
from .expr import EMPTY, EPSILON, POOL, Kind
from .work import tick

T = TypeVar("T", bound=Hashable)

_COUNT_FROM = 4  # repetitions of one character with such a bound are counted in the register


def repeated(item: int, lo: int, hi: int | None) -> int:
    """`item` between lo and hi times, counted in the register where it is one character, or spelled like one."""
    if lo == 0 and hi is None:
        return POOL.repeat(_in_a_loop(item), 0, None)
    if max(lo, hi or 0) >= _COUNT_FROM and POOL.plain(item) and not POOL.nullable(item) and _is_prefix_free(item):
        return POOL.counted(item, lo, hi)
    return POOL.repeat(item, lo, hi)


def _in_a_loop(item: int) -> int:
    """What repeats to the same as `item` and is simpler: of nullable parts one after the other, any one of them."""
    tick()
    node = POOL.node(item)
    if node[0] == Kind.ALT:
        return POOL.alt(*map(_in_a_loop, node[1]))
    parts, rest = [], item
    while (node := POOL.node(rest))[0] == Kind.CAT and POOL.nullable(node[1]):
        parts.append(node[1])
        rest = node[2]
    return POOL.alt(*parts, rest) if parts and POOL.nullable(rest) else item


def _is_prefix_free(item: int) -> bool:
    """Whether no text of a plain expression begins another of its texts."""
    try:
        return POOL.is_empty(POOL.and_(item, POOL.concat(item, _some_bytes())))
    except GrammarError:  # too large to decide: then it is not counted but repeated, which is the same language
        return False


def split_start(item: int, targets: Iterable[int] = ()) -> tuple[dict[int, int], int]:
    """The texts of `item` but the empty one: those that begin with a target, as target to rest, and all others.

    targets: references. The result is `target rest | ... | others`.
    """
    tick()
    rests: dict[int, int] = {}
    others: list[int] = []
    wanted = frozenset(targets)
    while True:
        node = POOL.node(item)
        head, tail = (node[1], node[2]) if node[0] == Kind.CAT else (item, EPSILON)
        begun, rest = _split_part(head, wanted)
        for target, behind in begun.items():
            rests[target] = POOL.alt(rests.get(target, EMPTY), POOL.concat(behind, tail))
        others.append(POOL.concat(rest, tail))
        if tail == EPSILON or not POOL.nullable(head):
            return rests, POOL.alt(*others)
        item = tail


def _split_part(item: int, targets: frozenset[int]) -> tuple[dict[int, int], int]:
    """`split_start` of an expression that is no concatenation."""
    tick()
    node = POOL.node(item)
    kind = node[0]
    if item in targets:
        return {item: EPSILON}, EMPTY
    if item == EPSILON or kind in (Kind.SET, Kind.REF) or (POOL.plain(item) and not POOL.nullable(item)):
        return {}, EMPTY if item == EPSILON else item
    if kind == Kind.ALT:
        rests: dict[int, int] = {}
        parts = [split_start(member, targets) for member in node[1]]
        for begun, _ in parts:
            for target, behind in begun.items():
                rests[target] = POOL.alt(rests.get(target, EMPTY), behind)
        return rests, POOL.alt(*[other for _, other in parts])
    if kind in (Kind.REPEAT, Kind.COUNTED):
        make = POOL.repeat if kind == Kind.REPEAT else POOL.counted
        rest = make(node[1], max(node[2] - 1, 0), None if node[3] is None else node[3] - 1)
        begun, other = split_start(node[1], targets)
        return {t: POOL.concat(behind, rest) for t, behind in begun.items()}, POOL.concat(other, rest)
    if kind == Kind.FRAME:
        begun, other = split_start(node[1], targets)
        return begun, POOL.frame(other)
    return {}, POOL.and_(item, _some_bytes()) if POOL.nullable(item) else item


def _some_bytes() -> int:
    return POOL.repeat(POOL.any_byte, 1, None)


def without_left_recursion(bodies: Mapping[int, int]) -> dict[int, int]:
    """What each reference stands for, without the empty text, so that none begins with itself.

    bodies: reference to its body, in which others of them stand (a nullable one as an alternation with EPSILON).
    """
    splits = {ref: split_start(body, bodies) for ref, body in bodies.items()}
    result: dict[int, int] = {}
    begins: dict[int, dict[int, int]] = {ref: rests for ref, (rests, _) in splits.items()}
    for first in bodies:
        for group in components(first, lambda ref: begins[ref]):
            if group[0] not in result:
                result |= _solved({ref: splits[ref] for ref in group})
    return {ref: _without_own_tails(ref, _without_right_recursion(ref, meaning)) for ref, meaning in result.items()}


def _solved(equations: dict[int, tuple[dict[int, int], int]]) -> dict[int, int]:
    """Solve `A = B1 R1 | B2 R2 | ... | others` for references that begin with each other."""
    inside = {
        ref: {other: rest for other, rest in rests.items() if other in equations}
        for ref, (rests, _) in equations.items()
    }
    others = {
        ref: POOL.alt(other, *[POOL.concat(r, rest) for r, rest in rests.items() if r not in equations])
        for ref, (rests, other) in equations.items()
    }
    pivot = max(equations, key=lambda ref: sum(ref in rests for rests in inside.values()))
    for ref in [*(r for r in equations if r != pivot), pivot]:
        star = repeated(inside[ref].pop(ref, EMPTY), 0, None)
        inside[ref] = {other: POOL.concat(rest, star) for other, rest in inside[ref].items()}
        others[ref] = POOL.concat(others[ref], star)
        if ref == pivot:
            break
        for user, rests in inside.items():
            tick()
            rest = rests.pop(ref, EMPTY) if user != ref else EMPTY
            if rest != EMPTY:
                for other, behind in inside[ref].items():
                    rests[other] = POOL.alt(rests.get(other, EMPTY), POOL.concat(behind, rest))
                others[user] = POOL.alt(others[user], POOL.concat(others[ref], rest))
    return {
        ref: POOL.alt(*[POOL.concat(other, rest) for other, rest in inside[ref].items()], others[ref])
        for ref in equations
    }


def _without_right_recursion(ref: int, meaning: int) -> int:
    """`A = X A | B` is `X* B`, which needs no stack; left alone where A stands inside X too."""
    before, others = _split_end(meaning, ref)
    if before == EMPTY or _mentions(before, ref):
        return meaning
    return POOL.concat(repeated(before, 0, None), others)


def _split_end(item: int, target: int) -> tuple[int, int]:
    """`before target | others`, which is `item`, whose texts that end in the target are all in `before`."""
    tick()
    heads: list[int] = []
    rest = item
    while (node := POOL.node(rest))[0] == Kind.CAT:
        heads.append(node[1])
        rest = node[2]
    if rest == target:
        return POOL.concat(*heads), EMPTY
    if node[0] == Kind.ALT:
        parts = [_split_end(POOL.concat(*heads, member), target) for member in node[1]]
        if any(before != EMPTY for before, _ in parts):
            return POOL.alt(*[before for before, _ in parts]), POOL.alt(*[other for _, other in parts])
    return EMPTY, item


def _mentions(item: int, ref: int) -> bool:
    """Whether a reference stands in an expression, as itself."""
    seen, todo = set(), [item]
    while todo:
        part = todo.pop()
        if part == ref:
            return True
        if part not in seen:
            seen.add(part)
            node = POOL.node(part)
            if node[0] in (Kind.ALT, Kind.AND):
                todo += node[1]
            elif node[0] == Kind.CAT:
                todo += node[1:]
            elif node[0] in (Kind.NOT, Kind.REPEAT, Kind.COUNTED, Kind.FRAME):
                todo.append(node[1])
    return False


def _without_own_tails(ref: int, meaning: int) -> int:
    """`A = B (op A | call)*`, B perhaps `- A`, reads a text in many ways; `A = B' (op B' | call)*` in one.

    B' is B with itself in place of the A at its end: what A may go on with behind its last part, the loop takes.
    """
    heads: list[int] = []
    rest = meaning
    while (node := POOL.node(rest))[0] == Kind.CAT:
        heads.append(node[1])
        rest = node[2]
    if node[0] != Kind.REPEAT or node[2:] != (0, None) or not heads:
        return meaning
    start = POOL.concat(*heads)
    base = POOL.ref((POOL.node(ref)[1], "without what follows"))
    if POOL.nullable(start) or (_with_tail(start, ref, base), _with_tail(node[1], ref, base)) == (start, node[1]):
        return meaning
    POOL.define(POOL.node(base)[1], _with_tail(start, ref, base))
    return POOL.concat(base, POOL.repeat(_with_tail(node[1], ref, base), 0, None))


def _with_tail(item: int, old: int, new: int) -> int:
    """`item` with the reference `new` for `old` where it ends a text."""
    tick()
    heads: list[int] = []
    while (node := POOL.node(item))[0] == Kind.CAT:
        heads.append(node[1])
        item = node[2]
    if item == old:
        item = new
    elif node[0] == Kind.ALT:
        item = POOL.alt(*[_with_tail(member, old, new) for member in node[1]])
    return POOL.concat(*heads, item)


def components(start: T, after: Callable[[T], Iterable[T]]) -> list[list[T]]:
    """Strongly connected parts of what can be reached from `start`, those that others need first (Tarjan 1972)."""
    number: dict[T, int] = {start: 0}
    lowest: dict[T, int] = {start: 0}
    open_: dict[T, None] = {start: None}
    result: list[list[T]] = []
    path: list[tuple[T, Iterator[T]]] = [(start, iter(list(after(start))))]
    while path:
        at, rest = path[-1]
        child = next(rest, None)
        if child is not None and child not in number:
            number[child] = lowest[child] = len(number)
            open_[child] = None
            path.append((child, iter(list(after(child)))))
        elif child is not None:
            if child in open_:
                lowest[at] = min(lowest[at], number[child])
        else:
            path.pop()
            if path:
                lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[at])
            if lowest[at] == number[at]:
                group: list[T] = []
                while not group or group[-1] != at:
                    group.append(open_.popitem()[0])
                result.append(group[::-1])
    return result
