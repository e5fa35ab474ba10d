"""How lists of rules meet: each rule of one with each of the other, but strings, whose rules keep lists of choices."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

from msgspec.structs import replace

from .schema_absorption import FEW, absorbed
from .schema_rules import ArrayRule, NumberRule, ObjectRule, StringRule, Values
from .work import tick

MAX_ALTERNATIVES = 512
"""Rules for one type that one schema may come to."""

R = TypeVar("R", NumberRule, StringRule, ArrayRule, ObjectRule)


class TooMany(Exception):
    """A schema comes to too many alternatives."""


def each_with_each(first: tuple[R, ...], second: tuple[R, ...], meet: Callable[[R, R], R | None]) -> tuple[R, ...]:
    """The rules that values follow that follow a rule of each list. Raises TooMany."""
    if len(first) * len(second) > MAX_ALTERNATIVES * 64:
        raise TooMany
    tick()
    rules = (rule for a in first for b in second if (rule := meet(a, b)) is not None)
    met = tuple(dict.fromkeys(rules)) if len(first) == 1 or len(second) == 1 else absorbed(rules)
    if len(met) > MAX_ALTERNATIVES:
        raise TooMany
    return met


# -- what rules of several types say ------------------------------------------------------------------------------


def meet_values(first: Values | None, second: Values | None) -> Values | None:
    """The values that both list; None: any."""
    if first is None or second is None:
        return second if first is None else first
    wanted = set(second)
    return tuple(value for value in first if value in wanted)


def left(values: Values | None, excluded: Values) -> tuple[Values | None, Values]:
    """The values without those that are excluded, and what has still to be excluded."""
    if values is None or not excluded:
        return values, excluded
    unwanted = set(excluded)
    return tuple(value for value in values if value not in unwanted), ()


def both(first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
    """The items of both, each once."""
    return tuple(dict.fromkeys(first + second)) if first and second else first or second


def meet_counts(low: int, high: int | None, other_low: int, other_high: int | None) -> tuple[int, int | None]:
    """The numbers within both limits."""
    limits = [limit for limit in (high, other_high) if limit is not None]
    return max(low, other_low), min(limits) if limits else None


# -- strings ------------------------------------------------------------------------------------------------------


def meet_strings(first: tuple[StringRule, ...], second: tuple[StringRule, ...]) -> tuple[StringRule, ...]:
    """The rules that strings follow that follow a rule of each list. Raises TooMany.

    What is said of a string is of one text, and an automaton goes through it once, whatever it consists of. So lists of
    several need not be multiplied: both stay what they are, as choices. Lengths are counted, which a choice cannot be
    of: rules of different lengths are different kinds; and so are listed values, which are looked at one by one.
    """
    if _are_few(first, second):
        return each_with_each(first, second, _meet_two)
    kinds, others = _kinds(first), _kinds(second)
    met = absorbed(rule for a in kinds for b in others for rule in _meet_kinds(a, b))
    if len(met) > MAX_ALTERNATIVES:
        raise TooMany
    return met


def _are_few(first: tuple[StringRule, ...], second: tuple[StringRule, ...]) -> bool:
    if len(first) == 1 and len(second) == 1:
        return True
    few = min(len(first), len(second)) == 1 or len(first) * len(second) <= FEW
    return few and not any(rule.choices for rule in (*first, *second))


def _kinds(rules: Iterable[StringRule]) -> list[tuple[StringRule, ...]]:
    found: dict[Hashable, list[StringRule]] = {}
    for rule in rules:
        alone = rule.values is not None or rule.verbatim is not None
        found.setdefault(rule if alone else (rule.min_length, rule.max_length), []).append(rule)
    return [tuple(kind) for kind in found.values()]


def _meet_kinds(first: tuple[StringRule, ...], second: tuple[StringRule, ...]) -> tuple[StringRule, ...]:
    if _are_few(first, second):
        return each_with_each(first, second, _meet_two)
    met = _meet_two(_as_choice(first), _as_choice(second))
    return () if met is None else (met,)


def _as_choice(rules: tuple[StringRule, ...]) -> StringRule:
    """The rule that is followed where one of these rules of a kind is."""
    if len(rules) == 1:
        return rules[0]
    options = tuple(replace(rule, min_length=0, max_length=None) for rule in rules)
    return StringRule(rules[0].min_length, rules[0].max_length, choices=() if StringRule() in options else (options,))


def _meet_two(first: StringRule, second: StringRule) -> StringRule | None:
    low, high = meet_counts(first.min_length, first.max_length, second.min_length, second.max_length)
    patterns, formats = both(first.patterns, second.patterns), both(first.formats, second.formats)
    not_patterns = both(first.not_patterns, second.not_patterns)
    not_formats = both(first.not_formats, second.not_formats)
    values = meet_values(first.values, second.values)
    values, excluded = left(values, both(first.excluded, second.excluded))
    contradicts = not set(patterns).isdisjoint(not_patterns) or not set(formats).isdisjoint(not_formats)
    if contradicts or values == () or (high is not None and low > high):
        return None
    verbatim = first.verbatim if first.verbatim == "words" else second.verbatim or first.verbatim
    rule = StringRule(low, high, patterns, formats, not_patterns, not_formats, values, excluded, verbatim)
    return _with_choices(rule, both(first.choices, second.choices))


def _with_choices(rule: StringRule, choices: tuple[tuple[StringRule, ...], ...]) -> StringRule | None:
    """The rule and a rule of each of the choices, of which those are left that do not plainly contradict."""
    kept: list[tuple[StringRule, ...]] = []
    for choice in choices:
        met = [_meet_two(rule, option) for option in choice]
        options = tuple(option for option, both_said in zip(choice, met, strict=True) if both_said is not None)
        if not options:
            return None
        if len(options) == 1:
            (only,) = filter(None, met)
            kept += only.choices
            rule = replace(only, choices=())
        elif rule not in met:
            kept.append(options)
    return replace(rule, choices=tuple(dict.fromkeys(kept))) if kept else rule
