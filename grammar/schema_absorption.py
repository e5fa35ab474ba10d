"""Fewer rules for the same values: of two where one asks for all that the other does and more, the other is enough."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from .schema_rules import ArrayRule, Elements, NumberRule, ObjectRule, StringRule, Value
from .work import tick

R = TypeVar("R", NumberRule, StringRule, ArrayRule, ObjectRule)

FEW = 4
"""Up to so many rules are left as they are."""

MANY = 4_000
"""More are not compared with each other."""

Asks = tuple[frozenset[object], int, int | None, frozenset[Value] | None, object]
"""What a rule asks: conditions, least and most, the only values, and what has to be the same to compare at all."""


def absorbed(rules: Iterable[R]) -> tuple[R, ...]:
    """The rules, each once, without those that another one makes needless."""
    unique = list(dict.fromkeys(rules))
    if not FEW < len(unique) <= MANY or isinstance(unique[0], NumberRule):
        return tuple(unique)
    kept: list[tuple[Asks, R]] = []
    asked = [(_asks(rule), rule) for rule in unique]
    for asks, rule in sorted(asked, key=lambda pair: len(pair[0][0])):
        tick()
        if not any(_covers(other, asks) for other, _ in kept):
            kept.append((asks, rule))
    left = {id(rule) for _, rule in kept}
    return tuple(rule for rule in unique if id(rule) in left)


def _covers(wide: Asks, narrow: Asks) -> bool:
    """Whether all that `narrow` lets through, `wide` does too. Errs towards False."""
    if not wide[0] <= narrow[0] or wide[1] > narrow[1] or wide[4] != narrow[4]:
        return False
    if wide[2] is not None and (narrow[2] is None or narrow[2] > wide[2]):
        return False
    return wide[3] is None or (narrow[3] is not None and narrow[3] <= wide[3])


def _asks(rule: NumberRule | StringRule | ArrayRule | ObjectRule) -> Asks:
    values = None if rule.values is None else frozenset(rule.values)
    conditions: set[object] = {("excluded", value) for value in rule.excluded}
    if isinstance(rule, StringRule):
        for name in ("patterns", "formats", "not_patterns", "not_formats"):
            conditions |= {(name, text) for text in getattr(rule, name)}
        conditions |= {("choice", choice) for choice in rule.choices}
        return frozenset(conditions), rule.min_length, rule.max_length, values, rule.verbatim
    if isinstance(rule, ArrayRule):
        conditions |= {("count", count) for count in rule.counts} | {("broken", part) for part in rule.broken}
        conditions |= {rule.elements} if rule.elements != Elements() else set()
        conditions |= {name for name in ("unique", "repeated") if getattr(rule, name)}
        return frozenset(conditions), rule.min_items, rule.max_items, values, rule.seen
    assert isinstance(rule, ObjectRule)
    conditions |= {("member", part) for part in rule.members} | {("broken", part) for part in rule.broken}
    conditions |= {("required", name) for name in rule.required} | {("choice", choice) for choice in rule.choices}
    same = rule.any_order, rule.seen
    return frozenset(conditions), rule.min_properties, rule.max_properties, values, same
