"""Context-free rules to byte expressions, whatever notation they were written in.

Rules that cannot come back to themselves are put in place. The others become references of the pool, which must be
neither nullable nor left-recursive; so the empty text is split off (`split_start`), and rules that begin with
themselves, directly, through others or behind nullable symbols, are solved as linear equations by Gauss and Arden:
`A = A R | B` is `B R*`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .errors import GrammarError
from .expr import EMPTY, EPSILON, POOL, Kind

T = TypeVar("T", bound=Hashable)

_COUNT_FROM = 4  # repetitions of one character with such a bound are counted in the register


@dataclass(frozen=True)
class Terminal:
    """Texts given by an expression without references to rules."""

    expression: int


@dataclass(frozen=True)
class Name:
    """A rule, by name. where: place in the grammar, for messages."""

    name: str
    where: str


@dataclass(frozen=True)
class Series:
    """The items one after the other."""

    items: tuple[Body, ...]


@dataclass(frozen=True)
class Either:
    """Any one of the items."""

    items: tuple[Body, ...]


@dataclass(frozen=True)
class Times:
    """Between lo and hi times the item; hi None: any number."""

    item: Body
    lo: int
    hi: int | None


Body = Terminal | Name | Series | Either | Times


@dataclass(frozen=True)
class Rule:
    """A named rule. where: place of its name in the grammar."""

    body: Body
    where: str


def expression_of_rules(rules: Mapping[str, Rule], start: str, key: Hashable) -> int:
    """What `start` stands for. key: names this grammar, so that its references are its own.

    Rules that `start` does not need are not looked at, apart from the names they mention. Raises GrammarError for
    undefined rules and for rules that no text can satisfy.
    """
    for rule in rules.values():
        for name in _names(rule.body):
            if name.name not in rules:
                raise GrammarError(name.where, name.name, "there is no rule of this name", _nearest(name.name, rules))
    compiler = _Compiler(rules, key)
    for group in _components(start, lambda name: [n.name for n in _names(rules[name].body)]):
        compiler.add(group)
    return compiler.known[start]


def repeated(item: int, lo: int, hi: int | None) -> int:
    """`item` between lo and hi times, counted in the register where it is one character, or spelled like one."""
    if max(lo, hi or 0) >= _COUNT_FROM and POOL.plain(item) and not POOL.nullable(item) and _is_prefix_free(item):
        return POOL.counted(item, lo, hi)
    return POOL.repeat(item, lo, hi)


def split_start(item: int, targets: Iterable[int] = ()) -> tuple[dict[int, int], int]:
    """The texts of `item` but the empty one: those that begin with a target, as target to rest, and all others.

    targets: references. The result is `target rest | ... | others`.
    """
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


class _Compiler:
    def __init__(self, rules: Mapping[str, Rule], key: Hashable) -> None:
        self._rules = rules
        self._key = key
        self.known: dict[str, int] = {}

    def add(self, group: Sequence[str]) -> None:
        """Rules that need each other, or a single one; what else they need is known."""
        if len(group) == 1 and group[0] not in {n.name for n in _names(self._rules[group[0]].body)}:
            body = self._of(self._rules[group[0]].body)
            if body == EMPTY:
                raise GrammarError(self._rules[group[0]].where, group[0], "no text can satisfy this rule")
            self.known[group[0]] = body
            return
        self._check_ends(group)
        nullable = self._nullable(group)
        refs = {name: POOL.ref((self._key, name)) for name in group}
        self.known |= {name: POOL.alt(EPSILON, refs[name]) if name in nullable else refs[name] for name in group}
        bodies = {refs[name]: self._of(self._rules[name].body) for name in group}
        for ref, meaning in without_left_recursion(bodies).items():
            POOL.define(POOL.node(ref)[1], meaning)

    def _of(self, body: Body) -> int:
        if isinstance(body, Terminal):
            return body.expression
        if isinstance(body, Name):
            return self.known[body.name]
        if isinstance(body, Series):
            return POOL.concat(*map(self._of, body.items))
        if isinstance(body, Either):
            return POOL.alt(*map(self._of, body.items))
        return repeated(self._of(body.item), body.lo, body.hi)

    def _nullable(self, group: Sequence[str]) -> set[str]:
        """Rules of the group that the empty text satisfies."""
        return self._least(group, POOL.nullable)

    def _check_ends(self, group: Sequence[str]) -> None:
        """Every rule must have a text; one whose every alternative needs a rule without end has none."""
        ending = self._least(group, lambda item: not POOL.is_empty(item))
        for name in group:
            if name not in ending:
                reason = "no text can satisfy this rule: every alternative needs the rule again"
                raise GrammarError(self._rules[name].where, name, reason, "add an alternative without it")

    def _least(self, group: Sequence[str], holds: Callable[[int], bool]) -> set[str]:
        """Rules of which `holds` is true: of a sequence when of all items, of a choice when of one; the fewest."""
        found: set[str] = set()

        def check(body: Body) -> bool:
            if isinstance(body, Terminal):
                return holds(body.expression)
            if isinstance(body, Name):
                return body.name in found if body.name in group else holds(self.known[body.name])
            if isinstance(body, Series):
                return all(map(check, body.items))
            if isinstance(body, Either):
                return any(map(check, body.items))
            return body.lo == 0 or check(body.item)

        while more := {name for name in group if name not in found and check(self._rules[name].body)}:
            found |= more
        return found


def without_left_recursion(bodies: Mapping[int, int]) -> dict[int, int]:
    """What each reference stands for, without the empty text, so that none begins with itself.

    bodies: reference to its body, in which others of them stand (a nullable one as an alternation with EPSILON).
    """
    splits = {ref: split_start(body, bodies) for ref, body in bodies.items()}
    result: dict[int, int] = {}
    begins: dict[int, dict[int, int]] = {ref: rests for ref, (rests, _) in splits.items()}
    for first in bodies:
        for group in _components(first, lambda ref: begins[ref]):
            if group[0] not in result:
                result |= _solved({ref: splits[ref] for ref in group})
    return {ref: _without_own_tails(ref, meaning) for ref, meaning in result.items()}


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
        star = POOL.repeat(inside[ref].pop(ref, EMPTY), 0, None)
        inside[ref] = {other: POOL.concat(rest, star) for other, rest in inside[ref].items()}
        others[ref] = POOL.concat(others[ref], star)
        if ref == pivot:
            break
        for user, rests in inside.items():
            rest = rests.pop(ref, EMPTY) if user != ref else EMPTY
            if rest != EMPTY:
                for other, behind in inside[ref].items():
                    rests[other] = POOL.alt(rests.get(other, EMPTY), POOL.concat(behind, rest))
                others[user] = POOL.alt(others[user], POOL.concat(others[ref], rest))
    return {
        ref: POOL.alt(*[POOL.concat(other, rest) for other, rest in inside[ref].items()], others[ref])
        for ref in equations
    }


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
    heads: list[int] = []
    while (node := POOL.node(item))[0] == Kind.CAT:
        heads.append(node[1])
        item = node[2]
    if item == old:
        item = new
    elif node[0] == Kind.ALT:
        item = POOL.alt(*[_with_tail(member, old, new) for member in node[1]])
    return POOL.concat(*heads, item)


def _is_prefix_free(item: int) -> bool:
    """Whether no text of a plain expression begins another of its texts."""
    try:
        return POOL.is_empty(POOL.and_(item, POOL.concat(item, _some_bytes())))
    except GrammarError:  # too large to decide: then it is not counted but repeated, which is the same language
        return False


def _names(body: Body) -> list[Name]:
    """The rules a body mentions, from left to right."""
    found: list[Name] = []
    todo: list[Body] = [body]
    while todo:
        part = todo.pop()
        if isinstance(part, Name):
            found.append(part)
        elif isinstance(part, Series | Either):
            todo += reversed(part.items)
        elif isinstance(part, Times):
            todo.append(part.item)
    return found


def _nearest(name: str, rules: Mapping[str, Rule]) -> str:
    close = difflib.get_close_matches(name, rules, 1)
    return f"did you mean {close[0]!r}?" if close else "add it, or quote it if it is text"


def _components(start: T, after: Callable[[T], Iterable[T]]) -> list[list[T]]:
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
