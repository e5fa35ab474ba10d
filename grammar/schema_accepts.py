"""Whether a value, in whatever way it may be written, is as a schema asks: for `enum`, `const` and names of members."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from .errors import GrammarError
from .expr import POOL
from .numbers import exact
from .schema_rules import ArrayRule, Conj, Members, NumberRule, ObjectRule, StringRule, Value, Values, identity
from .schema_shapes import Shape
from .schema_strings import inside_quotes, matches, plain_body, string_body
from .schema_text import Json
from .work import tick


class Judge:
    """Judges values. shape_of: the shape of a conjunction of schemas. source: what verbatim values stand in."""

    def __init__(self, shape_of: Callable[[Conj], Shape], source: str | None) -> None:
        self._shape_of = shape_of
        self._source = source
        self._together: dict[tuple[str, ...], bool] = {}

    def accepts(self, conj: Conj, value: Json) -> bool:
        """Whether a value satisfies all of `conj`."""
        return not conj or self._has_shape(value, self._shape_of(conj))

    def follows(self, rule: StringRule | ArrayRule | ObjectRule, value: Any) -> bool:
        """Whether a value of a rule's type is as the rule asks, whatever values it lists."""
        if isinstance(rule, StringRule):
            return self._string_fits(rule, value)
        return self._array_fits(rule, value) if isinstance(rule, ArrayRule) else self._object_fits(rule, value)

    def settled(self, shape: Shape) -> Shape:
        """The shape, of listed values only those that the rules beside them accept."""
        rules = (*shape.numbers, *shape.strings, *shape.arrays, *shape.objects)
        for rule in rules:
            if rule.values is not None:
                break
        else:
            return shape
        return Shape(
            null=shape.null,
            booleans=shape.booleans,
            numbers=tuple(rule for r in shape.numbers for rule in self._settled(r, number_fits)),
            strings=tuple(rule for r in shape.strings for rule in self._settled(r, self._string_fits)),
            arrays=tuple(rule for r in shape.arrays for rule in self._settled(r, self._array_fits)),
            objects=tuple(rule for r in shape.objects for rule in self._settled(r, self._object_fits)),
        )

    def _settled(self, rule: Any, fits: Callable[[Any, Any], bool]) -> tuple[Any, ...]:
        if rule.values is None or replace(rule, values=None) == type(rule)():
            return (rule,)
        values = []
        for value in rule.values:
            tick()
            if fits(rule, value.json):
                values.append(value)
        values = tuple(values)
        return (replace(rule, values=values),) if values else ()

    def member(self, rule: ObjectRule, name: str) -> Conj:
        """The schema of the member of this name."""
        return rule.schema_of(name, frozenset(p for p in rule.pattern_texts() if matches(p, name)))

    def _has_shape(self, value: Json, shape: Shape) -> bool:
        if value is None:
            return shape.null
        if isinstance(value, bool):
            return value in shape.booleans
        if isinstance(value, (int, Decimal)):
            return any(number_fits(rule, value) and is_listed(rule.values, value) for rule in shape.numbers)
        if isinstance(value, str):
            return any(self._string_fits(rule, value) and is_listed(rule.values, value) for rule in shape.strings)
        if isinstance(value, list):
            return any(self._array_fits(rule, value) and is_listed(rule.values, value) for rule in shape.arrays)
        return any(self._object_fits(rule, value) and is_listed(rule.values, value) for rule in shape.objects)

    def body(self, rule: StringRule) -> int:
        """What a rule on strings allows between the quotes, whatever values it lists."""
        bare = rule if rule.values is None else replace(rule, values=None)
        return string_body(bare, self._source if rule.verbatim else None)

    def plain_body(self, rule: StringRule) -> int:
        """The same, for questions: see `schema_strings`."""
        bare = rule if rule.values is None else replace(rule, values=None)
        return plain_body(bare, self._source if rule.verbatim else None)

    def _string_fits(self, rule: StringRule, value: str) -> bool:
        return POOL.fullmatch(self.plain_body(rule), inside_quotes(value))

    def has_string(self, rule: StringRule) -> bool:
        """Whether any string matches all patterns of a rule; taken for granted where that takes too long to find."""
        if len(rule.patterns) < 2 or rule.values is not None:
            return True
        known = self._together.get(rule.patterns)
        if known is None:
            try:
                known = not POOL.is_empty(plain_body(StringRule(patterns=rule.patterns)))
            except GrammarError:
                known = True
            self._together[rule.patterns] = known
        return known

    def _array_fits(self, rule: ArrayRule, value: list[Json]) -> bool:
        if len(value) < rule.min_items or (rule.max_items is not None and len(value) > rule.max_items):
            return False
        if not all(self.accepts(rule.elements.at(i), item) for i, item in enumerate(value)):
            return False
        for count in rule.counts:
            found = sum(self.accepts(count.conj, item) for item in value)
            if found < count.low or (count.high is not None and found > count.high):
                return False
        for part in rule.broken:
            if all(self.accepts(part.at(i), item) for i, item in enumerate(value)):
                return False
        are_unique = len({identity(item) for item in value}) == len(value)
        return not (rule.unique and not are_unique) and not (rule.repeated and are_unique) and is_left(rule, value)

    def _object_fits(self, rule: ObjectRule, value: dict[str, Json]) -> bool:
        if len(value) < rule.min_properties or (rule.max_properties is not None and len(value) > rule.max_properties):
            return False
        if any(name not in value for name in rule.required) or not is_left(rule, value):
            return False
        if not all(self._follows(part, value) for part in rule.members):
            return False
        if any(self._follows(part, value) for part in rule.broken):
            return False
        return all(any(self._object_fits(option, value) for option in choice) for choice in rule.choices)

    def _follows(self, part: Members, value: dict[str, Json]) -> bool:
        for name, item in value.items():
            matched = frozenset(pattern for pattern, _ in part.patterns if matches(pattern, name))
            if not self.accepts(part.names, name) or not self.accepts(part.schema_of(name, matched), item):
                return False
        return True


def is_listed(values: Values | None, value: Json) -> bool:
    """Whether a value is one of those listed, if any are."""
    return values is None or Value(value) in values


def is_left(rule: NumberRule | StringRule | ArrayRule | ObjectRule, value: Json) -> bool:
    """Whether a value is not excluded."""
    return not rule.excluded or not is_listed(rule.excluded, value)


def number_fits(rule: NumberRule, value: int | Decimal) -> bool:
    """Whether a number is as the rule asks, whatever values it lists."""
    number = exact(value)
    whole = not rule.integer or number.denominator == 1
    multiple = rule.multiple_of is None or (number / rule.multiple_of).denominator == 1
    apart = all((number / step).denominator != 1 for step in rule.not_multiples)
    return whole and multiple and apart and rule.interval.contains(number) and is_left(rule, value)
