"""Context-free rules to byte expressions, whatever notation they were written in.

Rules that cannot come back to themselves are put in place. The others become references of the pool, which must be
neither nullable nor left-recursive: `recursion.py` sees to that.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from .errors import GrammarError
from .expr import EMPTY, EPSILON, POOL
from .recursion import components, repeated, without_left_recursion


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
    for group in components(start, lambda name: [n.name for n in _names(rules[name].body)]):
        compiler.add(group)
    return compiler.known[start]


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
