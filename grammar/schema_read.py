"""One schema object's own keywords, read into the rules of a shape; not `allOf`, `$ref` and their like."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

from . import formats
from .errors import GrammarError
from .numbers import Interval, exact
from .regex import compile_pattern
from .schema_document import Json, child
from .schema_keywords import ANNOTATIONS, ENFORCED, EXTENSIONS, NEEDS, REFUSED, TYPES, is_free, likely_meant
from .schema_notes import Notes
from .schema_shapes import ArrayRule, Conj, Members, NumberRule, ObjectRule, Shape, StringRule, Verbatim, identity

_IN_PLACE = ("$ref", "allOf", "anyOf", "oneOf", "if", "not", "dependentSchemas", "dependencies")
"""Keywords that may evaluate members and elements of the same value."""

MAX_LEAST = 100_000
"""The most characters, elements or members that a schema may ask for at least."""


def read_shape(place: str, schema: dict[str, Json], notes: Notes) -> Shape:
    """The shape that the keywords of `schema` itself ask for; keywords that cannot be enforced go to the notes."""
    reader = _Reader(place, schema, notes)
    reader.sort_keywords()
    reader.check_extensions()
    types = reader.types()
    numeric = "number" in types or "integer" in types
    return Shape(
        null="null" in types,
        booleans=(True, False) if "boolean" in types else (),
        number=reader.number("number" not in types) if numeric else None,
        string=reader.string() if "string" in types else None,
        array=reader.array() if "array" in types else None,
        object=reader.object() if "object" in types else None,
        values=reader.values(),
    )


class _Reader:
    """Reads the keywords of one schema object, a group at a time."""

    def __init__(self, place: str, schema: dict[str, Json], notes: Notes) -> None:
        self.place = place
        self.schema = schema
        self.notes = notes

    def sort_keywords(self) -> None:
        """Note for every keyword what becomes of it; a later finding about its value replaces the note."""
        for keyword in self.schema:
            if keyword in ENFORCED:
                self.notes.enforce(self.place, keyword)
            elif keyword in REFUSED:
                self.notes.refuse(self.place, keyword, *REFUSED[keyword])
            elif keyword in NEEDS:
                self.notes.ignore(self.place, keyword, f"means nothing but beside {NEEDS[keyword]!r}")
            elif keyword in ANNOTATIONS:
                self.notes.ignore(self.place, keyword, ANNOTATIONS[keyword])
            else:
                self._unknown(keyword)

    def _unknown(self, keyword: str) -> None:
        self.notes.ignore(self.place, keyword, "is not a keyword of JSON Schema")
        meant = likely_meant(keyword)
        if meant and not keyword.startswith("x-"):
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
        if not isinstance(values, list) or not values:
            self._refuse("enum", "must be a list of at least one value", "list the values, or leave it out")
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
        return StringRule(low, high, patterns, formats, self._verbatim())

    def _pattern(self) -> str | None:
        pattern = self.schema.get("pattern")
        if "pattern" in self.schema and not isinstance(pattern, str):
            self._refuse("pattern", "must be a string", "give a regular expression")
            return None
        return pattern if pattern is not None and self._compiles(pattern, "pattern") else None

    def _compiles(self, pattern: str, keyword: str) -> bool:
        try:
            compile_pattern(pattern, mode="search", encoding="json")
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
        if self.schema.get("uniqueItems") and (high is None or high > 1):
            rewrite = "leave it out and drop duplicates after generation, or name each possible item as a property"
            self._refuse("uniqueItems", "remembering earlier elements is not supported yet", rewrite)
        if high is not None and low > high:
            return None
        prefix, items = self._elements()
        return ArrayRule(prefix, items, low, high)

    def _elements(self) -> tuple[tuple[Conj, ...], Conj]:
        """Schemas of the first elements and of the others; `items` may be a list, as it was up to draft 2019-09."""
        old = isinstance(self.schema.get("items"), list)
        if old and "prefixItems" in self.schema:
            self._refuse("items", "cannot be a list beside prefixItems", "give one schema for the other elements")
            old = False
        if not old:
            self._drop("additionalItems", "means nothing but beside a list of items")
        listed, others = ("items", "additionalItems") if old else ("prefixItems", "items")
        prefix = self.schema.get(listed, [])
        if not isinstance(prefix, list):
            self._refuse(listed, "must be a list of schemas", "put one schema for all elements under items")
            prefix = []
        if others not in self.schema:
            others = self._unevaluated("unevaluatedItems", has_equal=False) or others
        else:
            self._unevaluated("unevaluatedItems", has_equal=True)
        places = tuple(self._conj(listed, i) for i in range(len(prefix)))
        return places, self._conj(others) if others in self.schema else ()

    # -- objects ----------------------------------------------------------------------------------------------

    def object(self) -> ObjectRule | None:
        low, high = self._count("minProperties") or 0, self._count("maxProperties")
        required = self._required()
        if high is not None and max(low, len(required)) > high:
            return None
        additional = "additionalProperties"
        if additional in self.schema:
            self._unevaluated("unevaluatedProperties", has_equal=True)
        else:
            additional = self._unevaluated("unevaluatedProperties", has_equal=False) or additional
        properties = {name: self._conj("properties", name) for name in self._map("properties")}
        patterns = [p for p in self._map("patternProperties") if self._compiles(p, "patternProperties")]
        members = Members(
            properties=properties,
            patterns=tuple((pattern, self._conj("patternProperties", pattern)) for pattern in patterns),
            additional=self._conj(additional) if additional in self.schema else (),
        )
        names = self._conj("propertyNames") if "propertyNames" in self.schema else ()
        says_nothing = members == Members()
        any_order = self._extension("propertyOrder") == "any"
        return ObjectRule(() if says_nothing else (members,), required, names, low, high, any_order)

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

    def _unevaluated(self, keyword: str, *, has_equal: bool) -> str | None:
        """The keyword, where it means what `additionalProperties` or `items` would: nothing else evaluates members."""
        if keyword not in self.schema or is_free(self.schema[keyword]):
            return None
        if has_equal:
            self._drop(keyword, "everything is evaluated by the keywords beside it")
            return None
        if not any(other in self.schema for other in _IN_PLACE):
            return keyword
        rewrite = "list all members in one place and use additionalProperties, or items, there"
        self._refuse(keyword, "what other schemas have evaluated is not tracked yet", rewrite)
        return None

    # -- our own ----------------------------------------------------------------------------------------------

    def _extension(self, name: str) -> Json:
        """What `x-rootform` says under this name; None where it says nothing."""
        said = self.schema.get("x-rootform", {})
        return said.get(name) if isinstance(said, dict) else None

    def check_extensions(self) -> None:
        """Refuse what `x-rootform` says that we do not know: nothing in it is ignored."""
        said = self.schema.get("x-rootform", {})
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
        return () if is_free(value) else (child(self.place, *steps),)

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
