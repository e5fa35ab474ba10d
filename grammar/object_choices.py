"""Lists of rules on objects that meet without being multiplied: what each list asks for stays a choice of its own.

Where clauses of a schema speak of members of their own (`allOf` of many `if`, `dependencies`, `anyOf` of names), each
rule of one list with each of the other would be rules without number. So once they are many, and each list adds to
them by a factor, what all rules of a list have in common is said once, and the rest of each is one option of a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce

from msgspec.structs import replace

from .choice_states import ABSENT, PRESENT, Choice, chosen
from .schema_meeting import TooMany, each_with_each
from .schema_rules import NEVER, NO_MEMBER, Conj, Members, ObjectRule, having, opposite

MANY = 16
"""More rules than this stay choices, where lists of them multiply."""

MeetTwo = Callable[[ObjectRule, ObjectRule], ObjectRule | None]
_Rules = tuple[ObjectRule, ...]


class Product(_Rules):
    """Rules that came of lists that met, each rule of one with each of the others; and these lists."""

    factors: tuple[_Rules, ...]


def meet_object_lists(first: _Rules, second: _Rules, meet_two: MeetTwo) -> _Rules:
    """The rules that objects follow that follow a rule of each list. Raises TooMany."""
    factors = *_factors(first), *_factors(second)
    if (_is_chosen(first) and len(second) > 1) or (_is_chosen(second) and len(first) > 1):
        chosen = _chosen(factors, meet_two)
        if chosen is not None:
            return chosen
    try:
        met = each_with_each(first, second, meet_two)
    except TooMany:
        chosen = _chosen(factors, meet_two)
        if chosen is None:
            raise
        return chosen
    is_multiplied = 2 * len(met) >= 3 * max(len(first), len(second))
    if len(met) > MANY and is_multiplied:
        chosen = _chosen(factors, meet_two)
        if chosen is not None:
            return chosen
    if len(met) > 1 and (is_multiplied or len(first) == 1 or len(second) == 1):
        met = Product(met)
        met.factors = factors
    return met


def _factors(rules: _Rules) -> tuple[_Rules, ...]:
    return rules.factors if isinstance(rules, Product) else (rules,)


def _is_chosen(rules: _Rules) -> bool:
    return len(rules) == 1 and bool(rules[0].choices)


def _chosen(factors: Iterable[_Rules], meet_two: MeetTwo) -> _Rules | None:
    """One rule, of which each list with more than one is a choice; None where some list cannot be one."""
    rule, choices = ObjectRule(), []
    for rules in dict.fromkeys(map(tuple, factors)):
        common = rules[0] if len(rules) == 1 else _common(rules)
        options = None if common is None or len(rules) == 1 else _options(rules, common)
        if common is None or (len(rules) > 1 and options is None):
            return None
        met = meet_two(rule, common)
        if met is None:
            return ()
        rule = met
        if options:
            choices.append(options)
    for options in choices:
        met = _with_choice(rule, options, meet_two)
        if met is None:
            return ()
        rule = met
    return (rule,)


def _with_choice(rule: ObjectRule, options: _Rules, meet_two: MeetTwo) -> ObjectRule | None:
    """The rule and one of the options, of which those are left that do not plainly contradict it."""
    met = [(option, both) for option in options if (both := meet_two(rule, option)) is not None]
    if any(both == rule for _, both in met):
        return rule
    left = tuple(dict.fromkeys(option for option, _ in met))
    if len(left) > 1:
        return replace(rule, choices=tuple(dict.fromkeys((*rule.choices, left))))
    return met[0][1] if left else None


def _common(rules: _Rules) -> ObjectRule | None:
    """What all of some rules ask for; None where they differ in what no option can say."""
    first = rules[0]
    for rule in rules:
        if rule.values is not None or rule.seen != NO_MEMBER or rule.any_order != first.any_order:
            return None
        if (rule.min_properties, rule.max_properties) != (first.min_properties, first.max_properties):
            return None
    fields = ("members", "required", "broken", "excluded", "choices")
    shared = {name: set(getattr(first, name)).intersection(*[getattr(r, name) for r in rules]) for name in fields}
    return replace(first, **{name: tuple(x for x in getattr(first, name) if x in shared[name]) for name in fields})


def _options(rules: _Rules, common: ObjectRule) -> _Rules | None:
    """What each of some rules asks for besides what all do; None where it is more than of members by their names."""
    found = []
    for rule in rules:
        rest = ObjectRule(
            members=tuple(part for part in rule.members if part not in common.members),
            required=tuple(name for name in rule.required if name not in common.required),
        )
        fields = ("broken", "excluded", "choices")
        if any(set(getattr(rule, name)) != set(getattr(common, name)) for name in fields):
            return None
        if not all(map(is_by_names, rest.members)):
            return None
        found.append(rest)
    return tuple(found)


def is_by_names(part: Members) -> bool:
    """Whether a part speaks of the members that it names, and of no others."""
    return not (part.additional or part.patterns or part.names)


def can_be_chosen(rule: ObjectRule) -> bool:
    """Whether the choices of a rule, and what is to be broken, can be followed while an object is written."""
    if rule.max_properties is not None or rule.min_properties > len(rule.required):
        return False
    return all(map(is_by_names, rule.broken))


def multiplied(rule: ObjectRule, meet_two: MeetTwo) -> _Rules:
    """The rules without choices that objects follow that follow a rule with choices. Raises TooMany."""
    bare: _Rules = (replace(rule, choices=()),)
    return reduce(lambda rules, options: each_with_each(rules, options, meet_two), rule.choices, bare)


class AskedByName:
    """What the choices of a rule, and what is to be broken of it, ask of members.

    names: all that are listed. events: of each name, the schemas that are asked for where it is written, by number.
    """

    def __init__(self, rule: ObjectRule) -> None:
        self.names = rule.listed()
        self.events: dict[str, dict[Conj, int]] = {}
        count = 0
        self._options: list[list[dict[str, list[int]]]] = []
        for options in (*map(_breaking, rule.broken), *rule.choices):
            found = []
            for option in options:
                asks: dict[str, list[int]] = {name: [PRESENT] for name in option.required}
                for part in option.members:
                    for name, conj in part.properties.items():
                        if conj == NEVER:
                            asks.setdefault(name, []).append(ABSENT)
                        elif conj:
                            known = self.events.setdefault(name, {})
                            event = known.setdefault(conj, count)
                            count = max(count, event + 1)
                            asks.setdefault(name, []).append(event)
                found.append(asks)
            self._options.append(found)

    def choices(self, names: list[str]) -> list[Choice] | None:
        """The choices, members being numbered as these names, which are all there can be; None: one has no option."""
        index = {name: i for i, name in enumerate(names)}
        found = []
        for options in self._options:
            kept = []
            for asks in options:
                if all(name in index or PRESENT not in events for name, events in asks.items()):
                    pairs = [(index[name], event) for name, events in asks.items() if name in index for event in events]
                    if not any((member, PRESENT) in pairs and event == ABSENT for member, event in pairs):
                        kept.append(frozenset(pairs))
            choice = chosen(kept)
            if choice is not None:
                if not choice:
                    return None
                found.append(choice)
        return found


def _breaking(part: Members) -> _Rules:
    """What breaks a part that speaks of members by their names."""
    told = [(name, conj) for name, conj in part.properties.items() if conj]
    return tuple(having(name, opposite(conj)) for name, conj in told)
