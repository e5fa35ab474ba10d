"""One schema object's own keywords, read into the rules of a shape; not `allOf`, `$ref` and their like."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

from msgspec.structs import replace

from . import formats
from .numbers import Interval
from .schema_alike import OF_TYPE, plain_shape
from .schema_document import pointer_step
from .schema_keywords import (
    ASSERTING,
)
from .schema_notes import Notes
from .schema_place import Keywords, Place
from .schema_rules import (
    EVERY_ELEMENT,
    NO_ELEMENT,
    NO_MEMBER,
    ArrayRule,
    Conj,
    Count,
    Elements,
    Members,
    NumberRule,
    ObjectRule,
    SeenElements,
    SeenMembers,
    StringRule,
    Value,
    Verbatim,
)
from .schema_shapes import ANYTHING, NOTHING, Shape
from .schema_text import Json


def read_shape(place: Place, notes: Notes, *, tracked: bool) -> Shape:
    """The shape that the keywords of `schema` itself ask for; keywords that cannot be enforced go to the notes.

    tracked: the rules tell which elements and members the keywords have evaluated.
    """
    if not notes.listing and not place.unread:
        if place.schema.keys().isdisjoint(_ASSERTING):
            return ANYTHING
        if place.inner is not None and not place.scope and not tracked:
            plain = plain_shape(place.name, place.schema, place.inner)
            if plain is not None:
                return plain
    reader = _Reader(place, notes, tracked=tracked)
    reader.sort_keywords()
    reader.check_extensions()
    types = reader.types()
    values = reader.values()
    if values is None and len(types) == 1:
        return _of_type(reader, types[0])
    numeric = "number" in types or "integer" in types
    return Shape(
        null="null" in types and (values is None or None in values),
        booleans=_booleans(values) if "boolean" in types else (),
        numbers=_listed(reader.number("number" not in types), values, _is_number) if numeric else (),
        strings=_listed(reader.string(), values, lambda value: isinstance(value, str)) if "string" in types else (),
        arrays=_listed(reader.array(), values, lambda value: isinstance(value, list)) if "array" in types else (),
        objects=_listed(reader.object(), values, lambda value: isinstance(value, dict)) if "object" in types else (),
    )


def _of_type(reader: _Reader, name: str) -> Shape:
    """The shape of a schema that names one type, and no values."""
    if name == "object":
        rule = reader.object()
        return Shape(objects=(rule,)) if rule is not None else NOTHING
    if name == "array":
        rule = reader.array()
        return Shape(arrays=(rule,)) if rule is not None else NOTHING
    if name == "string":
        rule = reader.string()
        return Shape(strings=(rule,)) if rule is not None else NOTHING
    if name in ("null", "boolean"):
        return OF_TYPE[name]
    rule = reader.number(name == "integer")
    return Shape(numbers=(rule,)) if rule is not None else NOTHING


def _booleans(values: tuple[Json, ...] | None) -> tuple[bool, ...]:
    return tuple(b for b in (True, False) if values is None or any(value is b for value in values))


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


_APPLYING = frozenset({"$ref", "allOf", "anyOf", "dependencies", "not", "oneOf"})
_ASSERTING = ASSERTING - _APPLYING
"""Keywords that something has to be done about here."""

R = TypeVar("R", NumberRule, StringRule, ArrayRule, ObjectRule)


def _listed(rule: R | None, values: tuple[Json, ...] | None, is_of_type: Callable[[Json], bool]) -> tuple[R, ...]:
    """The rule, with those of the listed values that are of its type."""
    if rule is None or values is None:
        return () if rule is None else (rule,)
    own = tuple(dict.fromkeys(Value(value) for value in values if is_of_type(value)))
    return (replace(rule, values=own),) if own else ()


class _Reader(Keywords):
    """Reads the keywords of one schema object, a group at a time."""

    # -- numbers ----------------------------------------------------------------------------------------------

    def number(self, integer: bool) -> NumberRule | None:
        interval = self._bounds()
        step = self._number("multipleOf")
        if step is not None and step <= 0:
            self._refuse("multipleOf", "must be greater than 0", "give a positive number")
            step = None
        return None if interval.is_empty() else NumberRule(integer, interval, step)

    def _bounds(self) -> Interval:
        interval = Interval()
        for keyword, exclusive, is_low in (
            ("minimum", "exclusiveMinimum", True),
            ("maximum", "exclusiveMaximum", False),
        ):
            open_here = self.schema.get(exclusive)  # a boolean in draft 4 and OpenAPI 3.0
            bound = self._number(keyword)
            if bound is not None:
                interval = interval.meet(_side(bound, open_here is True, is_low))
            if not isinstance(open_here, bool):
                bound = self._number(exclusive)
                if bound is not None:
                    interval = interval.meet(_side(bound, True, is_low))
        return interval

    # -- strings ----------------------------------------------------------------------------------------------

    def string(self) -> StringRule | None:
        low, high = self._count("minLength") or 0, self._count("maxLength")
        patterns = tuple(p for p in [self._pattern()] if p is not None)
        if high is not None and low > high:
            return None
        formats = tuple(f for f in [self._format()] if f is not None)
        return StringRule(low, high, patterns, formats, verbatim=self._verbatim())

    def _pattern(self) -> str | None:
        pattern = self.schema.get("pattern")
        if "pattern" in self.schema and not isinstance(pattern, str):
            self._refuse("pattern", "must be a string", "give a regular expression")
            return None
        return pattern if pattern is not None and self._compiles(pattern, "pattern") else None

    def _format(self) -> str | None:
        name = self.schema.get("format")
        if "format" in self.schema and not isinstance(name, str):
            self._refuse("format", "must be a string", f"use one of {', '.join(formats.NAMES)}")
            return None
        if name is None or formats.is_known(name):
            return name
        self.notes.ignore(self.place, "format", f"the format {name!r} is not known, so it asserts nothing")
        self.notes.enforced.pop((self.place, "format"), None)
        if name not in formats.OF_NUMBERS:
            self.notes.warn(f"{self.place}: the format {name!r} is not known and is not checked")
        return None

    def _verbatim(self) -> Verbatim | None:
        asked = self._extension("verbatim")
        if asked is None or asked is False:
            return None
        self.notes.need_document(self.place, "x-rootform")
        return "words" if asked == {"words": True} else "characters"

    # -- arrays -----------------------------------------------------------------------------------------------

    def array(self) -> ArrayRule | None:
        low, high = self._count("minItems") or 0, self._count("maxItems")
        if high is not None and low > high:
            return None
        elements, seen = self._elements()
        contains = self._contains()
        if self._tracked and contains is not None and self._draft == "2020-12":
            seen = replace(seen, where=(contains.conj,))
        unique = self.schema.get("uniqueItems", False)
        if not isinstance(unique, bool):
            self._refuse("uniqueItems", "must be true or false", "write true or false without quotes")
        return ArrayRule(
            elements=elements,
            min_items=low,
            max_items=high,
            counts=() if contains is None or (contains.low == 0 and contains.high is None) else (contains,),
            unique=unique is True and (high is None or high > 1),
            seen=seen,
        )

    def _contains(self) -> Count | None:
        if "contains" not in self.schema:
            return None
        low, high = self._count("minContains"), self._count("maxContains")
        return Count(self._conj("contains"), 1 if low is None else low, high)

    def _elements(self) -> tuple[Elements, SeenElements]:
        """Schemas of the first elements and of the others; `items` may be a list, as it was up to draft 2019-09."""
        old = isinstance(self.schema.get("items"), list)
        if old and "prefixItems" in self.schema:
            self._refuse("items", "cannot be a list beside prefixItems", "give one schema for the other elements")
            old = False
        if not old and "additionalItems" in self.schema:
            self._drop("additionalItems", "means nothing but beside a list of items")
        listed, others = ("items", "additionalItems") if old else ("prefixItems", "items")
        prefix = self.schema.get(listed, [])
        if not isinstance(prefix, list):
            self._refuse(listed, "must be a list of schemas", "put one schema for all elements under items")
            prefix = []
        places = tuple(self._conj(listed, i) for i in range(len(prefix)))
        seen = SeenElements(EVERY_ELEMENT if others in self.schema else len(prefix)) if self._tracked else NO_ELEMENT
        return Elements(places, self._conj(others) if others in self.schema else ()), seen

    # -- objects ----------------------------------------------------------------------------------------------

    def object(self) -> ObjectRule | None:
        low, high = self._count("minProperties") or 0, self._count("maxProperties")
        required = self._required()
        if high is not None and max(low, len(required)) > high:
            return None
        properties = self._properties()
        patterns = [p for p in self._map("patternProperties") if self._compiles(p, "patternProperties")]
        closed = "additionalProperties" in self.schema
        members = Members(
            properties=properties,
            patterns=tuple((pattern, self._conj("patternProperties", pattern)) for pattern in patterns),
            additional=self._conj("additionalProperties") if closed else (),
            names=self._conj("propertyNames") if "propertyNames" in self.schema else (),
        )
        order = self._extension("propertyOrder")
        says_nothing = not (properties or patterns or members.additional or members.names)
        return ObjectRule(
            members=() if says_nothing else (members,),
            required=required,
            min_properties=low,
            max_properties=high,
            any_order=None if order is None else order == "any",
            seen=SeenMembers(tuple(properties), tuple(patterns), closed) if self._tracked else NO_MEMBER,
        )

    def _properties(self) -> dict[str, Conj]:
        inside, found = self.place + "/properties/", dict[str, Conj]()
        for name, value in self._map("properties").items():
            found[name] = self._at(inside + pointer_step(name), value)
        return found


def _side(bound: Fraction, is_open: bool, is_low: bool) -> Interval:
    """All numbers on one side of a bound."""
    return Interval(low=bound, low_open=is_open) if is_low else Interval(high=bound, high_open=is_open)
