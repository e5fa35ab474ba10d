"""One schema object's own keywords, read into the rules of a shape; not `allOf`, `$ref` and their like."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from . import formats
from .errors import GrammarError
from .numbers import Interval, exact
from .regex import compile_pattern
from .schema_alike import OF_TYPE, Inner, plain_shape
from .schema_document import Scope, child, pointer_step
from .schema_keywords import (
    ANNOTATIONS,
    ASSERTING,
    ENFORCED,
    EXTENSIONS,
    MAX_LEAST,
    NEEDS,
    NEWER,
    REFUSED,
    TYPES,
    Draft,
    is_free,
    is_of,
    likely_meant,
)
from .schema_notes import Notes
from .schema_rules import (
    EVERY_ELEMENT,
    NEVER,
    NO_ELEMENT,
    NO_MEMBER,
    ArrayRule,
    Conj,
    Count,
    Elements,
    Literal,
    Members,
    NumberRule,
    ObjectRule,
    SeenElements,
    SeenMembers,
    StringRule,
    Value,
    Verbatim,
    identity,
)
from .schema_shapes import ANYTHING, NOTHING, Shape
from .schema_text import Json


class Place(NamedTuple):
    """A schema object with all that tells how it is read. scope: the dynamic scope inside it.

    inner: what inner schemas are; None: each is itself.
    """

    name: str
    schema: dict[str, Json]
    draft: Draft
    scope: Scope
    unread: frozenset[str] = frozenset()
    inner: Inner | None = None


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


_APPLYING = frozenset({"$ref", "allOf", "anyOf", "dependencies", "not", "nullable", "oneOf"})
_TO_BE_NOTED = NEEDS.keys() | REFUSED.keys()
_ASSERTING = ASSERTING - _APPLYING
"""Keywords that something has to be done about here."""

R = TypeVar("R", NumberRule, StringRule, ArrayRule, ObjectRule)


def _listed(rule: R | None, values: tuple[Json, ...] | None, is_of_type: Callable[[Json], bool]) -> tuple[R, ...]:
    """The rule, with those of the listed values that are of its type."""
    if rule is None or values is None:
        return () if rule is None else (rule,)
    own = tuple(dict.fromkeys(Value(value) for value in values if is_of_type(value)))
    return (replace(rule, values=own),) if own else ()


class _Reader:
    """Reads the keywords of one schema object, a group at a time."""

    def __init__(self, place: Place, notes: Notes, *, tracked: bool) -> None:
        self.place = place.name
        self.schema = place.schema
        self.notes = notes
        self._scope = place.scope
        self._draft = place.draft
        self._tracked = tracked
        self._inner = place.inner if not place.unread and not place.scope else None
        if not place.unread and self.schema.keys().isdisjoint(NEWER):
            return
        out = [keyword for keyword in self.schema if keyword in place.unread or not is_of(keyword, place.draft)]
        if out:
            self.schema = {keyword: value for keyword, value in self.schema.items() if keyword not in out}
            self._leave_out(out)

    def _leave_out(self, keywords: list[str]) -> None:
        for keyword in keywords:
            self.notes.ignore(self.place, keyword, f"is not a keyword of draft {self._draft}, which $schema names")
            self.notes.warn(f"{self.place}: {keyword!r} is not a keyword of draft {self._draft}; it asserts nothing")

    def sort_keywords(self) -> None:
        """Note for every keyword what becomes of it; a later finding about its value replaces the note."""
        if not self.notes.listing and self.schema.keys().isdisjoint(_TO_BE_NOTED):
            return
        for keyword in self.schema:
            if keyword in NEEDS:
                needed = NEEDS[keyword]
                if needed in self.schema:
                    self.notes.enforce(self.place, keyword)
                else:
                    self.notes.ignore(self.place, keyword, f"means nothing but beside {needed!r}")
            elif keyword in ENFORCED:
                self.notes.enforce(self.place, keyword)
            elif keyword in REFUSED:
                self.notes.refuse(self.place, keyword, *REFUSED[keyword])
            elif keyword in ANNOTATIONS:
                self.notes.ignore(self.place, keyword, ANNOTATIONS[keyword])
                if keyword == "$schema" and not self._is_resource():
                    self.notes.warn(f"{self.place}: '$schema' is not heeded in a schema without an '$id' of its own")
            else:
                self._unknown(keyword)

    def _is_resource(self) -> bool:
        """Whether the schema is the root of a resource: there alone a `$schema` may stand (2020-12 core, 8.1.1)."""
        own = self.schema.get("$id", self.schema.get("id") if self._draft == "4" else None)
        return self.place.endswith("#") or (isinstance(own, str) and not own.startswith("#"))

    def _unknown(self, keyword: str) -> None:
        if not self.notes.listing:
            return
        self.notes.ignore(self.place, keyword, "is not a keyword of JSON Schema")
        meant = None if keyword.startswith("x-") else likely_meant(keyword)
        if meant:
            self.notes.warn(f"{self.place}: {keyword!r} is not a keyword of JSON Schema; did you mean {meant!r}?")

    # -- types and values -------------------------------------------------------------------------------------

    def types(self) -> tuple[str, ...]:
        if "type" not in self.schema:
            return TYPES
        named = self.schema["type"]
        named = [named] if isinstance(named, str) else named
        if not isinstance(named, list) or not named:
            self._refuse("type", "must be the name of a type, or a list of names", f"use one of {', '.join(TYPES)}")
            return TYPES
        unknown = [name for name in named if name not in TYPES]
        if unknown:
            self._refuse("type", f"{unknown[0]!r} is not a type of JSON", f"use one of {', '.join(TYPES)}")
            return TYPES
        return tuple(named)

    def values(self) -> tuple[Json, ...] | None:
        if "const" in self.schema:
            const = (self.schema["const"],)
            return const if "enum" not in self.schema else self._both(const)
        return self._enum()

    def _enum(self) -> tuple[Json, ...] | None:
        if "enum" not in self.schema:
            return None
        values = self.schema["enum"]
        if not isinstance(values, list):
            self._refuse("enum", "must be a list of values", "list the values, or leave it out")
            return None
        return tuple(values)

    def _both(self, const: tuple[Json, ...]) -> tuple[Json, ...]:
        enum = self._enum()
        return const if enum is None or identity(const[0]) in map(identity, enum) else ()

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

    def _number(self, keyword: str) -> Fraction | None:
        value = self.schema.get(keyword)
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            return exact(value)
        if keyword in self.schema:
            self._refuse(keyword, "must be a number", "give a number without quotes")
        return None

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

    def _compiles(self, pattern: str, keyword: str) -> bool:
        try:
            compile_pattern(pattern, mode="search", encoding="plain")
        except GrammarError as error:
            self.notes.refuse_error(error, self.place, keyword)
            return False
        return True

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

    def _at(self, place: str, schema: Json) -> Conj:
        """The schema at a place, or one like it."""
        if self._inner is not None:
            return self._inner.of(place, schema)
        if schema is False:
            return NEVER
        return () if is_free(schema) else (Literal(place, False, self._scope),)

    def _required(self) -> tuple[str, ...]:
        names = self.schema.get("required", [])
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(dict.fromkeys(names))
        self._refuse("required", "must be a list of names", "list the required names in the object that holds them")
        return ()

    def _map(self, keyword: str) -> dict[str, Json]:
        value = self.schema.get(keyword, {})
        if isinstance(value, dict):
            return value
        self._refuse(keyword, "must be an object of schemas", "give a schema for each name")
        return {}

    # -- our own ----------------------------------------------------------------------------------------------

    def _extension(self, name: str) -> Json:
        """What `x-rootform` says under this name; None where it says nothing."""
        said = self.schema.get("x-rootform", {})
        return said.get(name) if isinstance(said, dict) else None

    def check_extensions(self) -> None:
        """Refuse what `x-rootform` says that we do not know: nothing in it is ignored."""
        said = self.schema.get("x-rootform")
        if said is None and "x-rootform" not in self.schema:
            return
        if not isinstance(said, dict):
            self._refuse("x-rootform", "must be an object of options", f"use one of {', '.join(EXTENSIONS)}")
            return
        for name, value in said.items():
            if name not in EXTENSIONS:
                self._refuse("x-rootform", f"has no option {name!r}", f"use one of {', '.join(EXTENSIONS)}")
            elif not any(identity(value) == identity(known) for known in EXTENSIONS[name]):
                known = " or ".join(json.dumps(known) for known in EXTENSIONS[name])
                self._refuse("x-rootform", f"{name} cannot be {value!r}", f"say {known}")
            elif name == "verbatim" and "string" not in self.types():
                self._refuse("x-rootform", "verbatim is about strings", 'add "string" to the type, or leave it out')

    # -- common -----------------------------------------------------------------------------------------------

    def _conj(self, *steps: str | int) -> Conj:
        value: Any = self.schema
        for step in steps:
            value = value[step]
        return self._at(child(self.place, *steps), value)

    def _count(self, keyword: str) -> int | None:
        if keyword not in self.schema:
            return None
        value = self.schema[keyword]
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or value < 0 or value != int(value):
            self._refuse(keyword, "must be a whole number, 0 or greater", "give a number without quotes")
            return None
        if value > MAX_LEAST and keyword.startswith("min"):
            self._refuse(keyword, f"asks for more than {MAX_LEAST}", "lower it")
            return None
        return int(value)

    def _drop(self, keyword: str, reason: str) -> None:
        if keyword in self.schema:
            self.notes.enforced.pop((self.place, keyword), None)
            self.notes.ignore(self.place, keyword, reason)

    def _refuse(self, keyword: str, reason: str, rewrite: str) -> None:
        self.notes.refuse(self.place, keyword, reason, rewrite)


def _side(bound: Fraction, is_open: bool, is_low: bool) -> Interval:
    """All numbers on one side of a bound."""
    return Interval(low=bound, low_open=is_open) if is_low else Interval(high=bound, high_open=is_open)
