"""A schema's text, read once: its values, its places by JSON pointer, and what references point at.

A place is a JSON pointer in fragment form, `#/properties/a` (RFC 6901). Numbers keep their exact decimal value.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin

from .errors import GrammarError

Json = Any
"""A JSON value: None, bool, int, Decimal, str, list or dict."""

MAX_DEPTH = 200
"""Levels of arrays and objects a schema may nest."""

MAX_EXPONENT = 400
"""Decimal places before or after the point that a number in a schema may need."""

SCHEMA_KEYWORDS = frozenset(
    {
        *("additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not"),
        *("propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"),
    }
)
"""Keywords whose value is a schema."""

LIST_KEYWORDS = frozenset({"allOf", "anyOf", "items", "oneOf", "prefixItems"})
"""Keywords whose value is a list of schemas."""

MAP_KEYWORDS = frozenset(
    {"$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"}
)
"""Keywords whose value is an object of schemas."""

_OLD_DRAFTS = ("draft-03", "draft-04", "draft-05", "draft-06", "draft-07")


def child(place: str, *steps: str | int) -> str:
    """The place inside `place` reached by these member names and positions."""
    return "/".join([place, *(str(step).replace("~", "~0").replace("/", "~1") for step in steps)])


class Resource(NamedTuple):
    """A part of the document with an identifier of its own."""

    place: str
    anchors: dict[str, str]


class Document:
    """A parsed schema document. Nothing in it changes.

    ref_stands_alone: the document says it is written for draft 7 or older, where keywords beside `$ref` mean nothing.
    """

    def __init__(self, text: str) -> None:
        """Raises GrammarError when the text is not JSON, or is no schema."""
        self.root = parse(text)
        if not isinstance(self.root, (dict, bool)):
            raise GrammarError("#", "", "a schema must be an object or a boolean", 'write {"type": ...}')
        self.dialect = self.root.get("$schema", "") if isinstance(self.root, dict) else ""
        self.ref_stands_alone = isinstance(self.dialect, str) and any(d in self.dialect for d in _OLD_DRAFTS)
        self._at: dict[str, Json] = {"#": self.root}
        self._resources: dict[str, Resource] = {"": Resource("#", {})}
        self._base: dict[str, str] = {"#": ""}
        self._identify()

    def at(self, place: str) -> Json:
        """The value at a place. Raises KeyError when there is none."""
        if place not in self._at:
            parent, _, step = place.rpartition("/")
            self._at[place] = _member(self.at(parent) if parent else None, step)
        return self._at[place]

    def resolve(self, ref: str, place: str) -> str:
        """The place that `$ref: ref` at `place` points at. Raises GrammarError for what is not in the document."""
        base = self._base_of(place)
        uri = base + ref if ref.startswith("#") else urljoin(base, ref)
        resource_uri, fragment = urldefrag(uri)
        resource = self._resources.get(resource_uri)
        if resource is None:
            reason = f"{ref!r} is outside this document"
            raise GrammarError(place, "$ref", reason, "copy the schema it names into $defs and point there")
        fragment = unquote(fragment)
        if fragment and not fragment.startswith("/"):
            target = resource.anchors.get(fragment)
        else:
            target = resource.place + fragment
        try:
            if target is None or not isinstance(self.at(target), (dict, bool)):
                raise KeyError(ref)
        except KeyError:
            reason = f"{ref!r} points at no schema in this document"
            raise GrammarError(place, "$ref", reason, "point at an entry of $defs, as in '#/$defs/name'") from None
        return target

    def _base_of(self, place: str) -> str:
        while place not in self._base:
            place = place.rpartition("/")[0]
        return self._base[place]

    def _identify(self) -> None:
        """Find every `$id` and `$anchor` in a place where a schema stands, and nowhere else."""
        todo: list[tuple[str, Json]] = [("#", self.root)]
        while todo:
            place, schema = todo.pop()
            if isinstance(schema, dict):
                self._name(place, schema)
                todo += subschemas(place, schema)

    def _name(self, place: str, schema: dict[str, Json]) -> None:
        base = self._base_of(place)
        own = schema.get("$id", schema.get("id") if "draft-04" in str(self.dialect) else None)
        if isinstance(own, str) and not (self.ref_stands_alone and "$ref" in schema):
            uri, fragment = urldefrag(urljoin(base, own))
            if fragment and own.startswith("#"):
                self._resources[base].anchors[fragment] = place
            else:
                known = self._resources[""] if place == "#" else Resource(place, {})
                self._resources[uri] = known
                self._base[place] = base = uri
        for keyword in ("$anchor", "$dynamicAnchor"):
            if isinstance(schema.get(keyword), str):
                self._resources[base].anchors[schema[keyword]] = place


def subschemas(place: str, schema: dict[str, Json]) -> list[tuple[str, Json]]:
    """The schemas directly inside a schema, each with its place."""
    found: list[tuple[str, Json]] = []
    for keyword, value in schema.items():
        if isinstance(value, list) and keyword in LIST_KEYWORDS:
            found += [(child(place, keyword, i), item) for i, item in enumerate(value)]
        elif isinstance(value, dict) and keyword in MAP_KEYWORDS:
            found += [(child(place, keyword, name), item) for name, item in value.items()]
        elif isinstance(value, (dict, bool)) and keyword in SCHEMA_KEYWORDS:
            found.append((child(place, keyword), value))
    return found


def _member(parent: Json, step: str) -> Json:
    step = step.replace("~1", "/").replace("~0", "~")
    if isinstance(parent, list) and step.isdecimal() and int(step) < len(parent):
        return parent[int(step)]
    if isinstance(parent, dict) and step in parent:
        return parent[step]
    raise KeyError(step)


# -- reading JSON -----------------------------------------------------------------------------------------------------


def parse(text: str) -> Json:
    """The value of a JSON text, with fractions as Decimal. Raises GrammarError."""
    try:
        value = json.loads(text, parse_float=_decimal, parse_constant=_no_constant, object_pairs_hook=_object)
    except RecursionError:
        raise _too_deep() from None
    except GrammarError:
        raise
    except ValueError as error:
        raise GrammarError("schema", "", f"not JSON: {error}", "give the schema as JSON text") from None
    _check_depth(value)
    _check_characters(value)
    return value


def _decimal(text: str) -> Decimal:
    value = Decimal(text)
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or abs(value.adjusted()) > MAX_EXPONENT or exponent < -MAX_EXPONENT:
        raise GrammarError(
            "schema", "", f"the number {text[:40]} has too many digits", "use numbers of the size in use"
        )
    return value


def _no_constant(name: str) -> Json:
    raise GrammarError("schema", "", f"{name} is not JSON", "leave the bound out")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise GrammarError("schema", twice, "is written twice in one object", "keep one of the two")
    return members


def _check_depth(value: Json) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for outer in level for item in _items(outer) if isinstance(item, (list, dict))]
        if not level:
            return
    raise _too_deep()


def _check_characters(value: Json) -> None:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str) and not item.isascii() and any("\ud800" <= char <= "\udfff" for char in item):
            reason = f"{item!r} has a lone surrogate, which is half of a character"
            raise GrammarError("schema", "", reason, "write the whole character, or remove it")
        todo += item if isinstance(item, list) else [*item, *item.values()] if isinstance(item, dict) else []


def _items(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _too_deep() -> GrammarError:
    reason = f"the schema nests more than {MAX_DEPTH} levels deep"
    return GrammarError("schema", "", reason, "name inner schemas in $defs and refer to them")
