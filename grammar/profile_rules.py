"""Rules of hosted APIs that take more than a list of keywords. Each yields what breaks it: the fields of a Finding."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal

from .schema_document import Json
from .schema_walk import SchemaTree

Verdict = Literal["refused", "ignored", "undocumented"]
Broken = Iterator[tuple[str, str, Verdict, str, str]]
"""Place, keyword, verdict, reason, rewrite."""

MOST_PROPERTIES, MOST_LEVELS, MOST_ENUM_VALUES, MOST_CHARACTERS = 5000, 10, 1000, 120_000
LONG_ENUM, MOST_IN_LONG_ENUM = 250, 15_000
"""OpenAI: properties, levels of objects, values of all enums, characters of all names and values; an enum of more than
LONG_ENUM strings has MOST_IN_LONG_ENUM characters at most."""

MOST_OPTIONAL, MOST_UNIONS = 24, 16
"""Anthropic, in all schemas of a request: properties that are not required, properties that are a union."""

_LOOKAROUND = re.compile(r"\(\?<?[=!]")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def is_object(schema: dict[str, Json]) -> bool:
    """Whether a schema says its values are objects."""
    kinds = schema.get("type")
    return "properties" in schema or kinds == "object" or (isinstance(kinds, list) and "object" in kinds)


def _names(schema: dict[str, Json]) -> list[str]:
    properties = schema.get("properties")
    return list(properties) if isinstance(properties, dict) else []


def _required(schema: dict[str, Json]) -> list[Json]:
    required = schema.get("required")
    return required if isinstance(required, list) else []


# -- objects ----------------------------------------------------------------------------------------------------------


def root_is_object(tree: SchemaTree) -> Broken:
    """OpenAI: the outermost schema is an object and no anyOf."""
    root = tree.root if isinstance(tree.root, dict) else {}
    if "anyOf" in root:
        yield "#", "anyOf", "refused", "the outermost schema must not be a choice", "put it into a property"
    elif root.get("type") != "object":
        yield "#", "type", "refused", "the outermost schema must be of type object", "put it into a property"


def closed_objects(tree: SchemaTree) -> Broken:
    """OpenAI, Anthropic: `additionalProperties: false` on every object."""
    for place, schema in tree.schemas:
        if is_object(schema) and schema.get("additionalProperties") is not False:
            reason = "every object must say additionalProperties: false"
            yield place, "additionalProperties", "refused", reason, "set additionalProperties to false"


def strict_objects(tree: SchemaTree) -> Broken:
    """OpenAI: objects are closed, and all of their properties are required."""
    yield from closed_objects(tree)
    for place, schema in tree.schemas:
        missing = [name for name in _names(schema) if name not in _required(schema)]
        if missing:
            reason = f"every property must be required; {_few(missing)} not"
            yield place, "required", "refused", reason, "require it, with null as a further type"


def most_optional(tree: SchemaTree) -> Broken:
    """Anthropic: 24 properties that are not required, at most."""
    count = sum(name not in _required(schema) for _, schema in tree.schemas for name in _names(schema))
    if count > MOST_OPTIONAL:
        reason = f"{count} properties are not required; a request may have {MOST_OPTIONAL}"
        yield "#", "required", "refused", reason, "require more of them"


def most_unions(tree: SchemaTree) -> Broken:
    """Anthropic: 16 properties that are a union, at most."""
    inner = [value for _, schema in tree.schemas if _names(schema) for value in schema["properties"].values()]
    count = sum(isinstance(v, dict) and ("anyOf" in v or isinstance(v.get("type"), list)) for v in inner)
    if count > MOST_UNIONS:
        reason = f"{count} properties use anyOf or a list of types; a request may have {MOST_UNIONS}"
        yield "#", "anyOf", "refused", reason, "give more of them one type"


def openai_sizes(tree: SchemaTree) -> Broken:
    """OpenAI's limits on the whole schema. A level is an object with properties inside another one."""
    shorten = "shorten the schema, or split the request"
    properties = sum(len(_names(schema)) for _, schema in tree.schemas)
    if properties > MOST_PROPERTIES:
        yield "#", "properties", "refused", f"{properties} properties; {MOST_PROPERTIES} are allowed", shorten
    if (levels := tree.levels_of_objects()) > MOST_LEVELS:
        yield "#", "properties", "refused", f"objects nest {levels} deep; {MOST_LEVELS} are allowed", shorten
    enums = [(place, schema["enum"]) for place, schema in tree.schemas if isinstance(schema.get("enum"), list)]
    if (values := sum(len(enum) for _, enum in enums)) > MOST_ENUM_VALUES:
        yield "#", "enum", "refused", f"{values} values of enums; {MOST_ENUM_VALUES} are allowed", shorten
    for place, enum in enums:
        size = sum(len(value) for value in enum if isinstance(value, str))
        if len(enum) > LONG_ENUM and size > MOST_IN_LONG_ENUM:
            reason = f"{len(enum)} values have {size} characters; above {LONG_ENUM} values {MOST_IN_LONG_ENUM} may"
            yield place, "enum", "refused", reason, shorten
    if (size := sum(map(_characters, (schema for _, schema in tree.schemas)))) > MOST_CHARACTERS:
        yield "#", "", "refused", f"names and values have {size} characters; {MOST_CHARACTERS} are allowed", shorten


def _characters(schema: dict[str, Json]) -> int:
    """Characters of the names, values of enum and const that stand in one schema."""
    names = [name for key in ("properties", "$defs", "definitions") for name in _mapping(schema.get(key))]
    enum = schema.get("enum")
    values = [*(enum if isinstance(enum, list) else []), schema.get("const")]
    return sum(map(len, names)) + sum(len(value) for value in values if isinstance(value, str))


def _mapping(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


# -- references -------------------------------------------------------------------------------------------------------


def external_references(tree: SchemaTree) -> Broken:
    """Anthropic: no references to other documents."""
    for place, schema in tree.schemas:
        ref = schema.get("$ref")
        if isinstance(ref, str) and not ref.startswith("#"):
            yield place, "$ref", "refused", "references to other documents are not supported", "copy it into $defs"


def no_recursion(tree: SchemaTree) -> Broken:
    """Anthropic: no schema that holds itself."""
    for place in tree.recursive:
        yield place, "$ref", "refused", "recursive schemas are not supported", "write the levels out, to a fixed depth"


def in_allof_references(tree: SchemaTree) -> Broken:
    """Anthropic: no `$ref` as a branch of allOf."""
    for place, schema in tree.schemas:
        if "$ref" in schema and "allOf" in place.split("/")[-2:-1]:
            yield place, "$ref", "refused", "allOf with $ref is not supported", "copy the schema there"


def lone_references(tree: SchemaTree) -> Broken:
    """Gemini: beside `$ref` only what begins with a dollar."""
    for place, schema in tree.schemas:
        beside = [key for key in schema if not key.startswith("$")]
        if "$ref" in schema and beside:
            reason = f"beside $ref nothing else may stand; {_few(beside)} there"
            yield place, "$ref", "refused", reason.replace("are there", "do").replace("is there", "does"), "remove it"


def gemini_recursion(tree: SchemaTree) -> Broken:
    """Gemini: recursion only below a property that is not required; it is unrolled to a limited degree."""
    for place in tree.recursive:
        if _is_required(tree, place):
            reason = "cyclic references may only be used within properties that are not required"
            yield place, "$ref", "refused", reason, "take the property out of required"
        else:
            yield place, "$ref", "ignored", "cyclic references are unrolled to a limited degree only", ""


def _is_required(tree: SchemaTree, place: str) -> bool:
    """Whether all properties on the way to a place are required, as far as they stand in one piece of the document."""
    schemas = dict(tree.schemas)
    steps = place.split("/")
    for at in range(len(steps) - 2, 0, -1):
        owner = "/".join(steps[:at])
        if steps[at] == "properties" and owner in schemas:
            name = steps[at + 1].replace("~1", "/").replace("~0", "~")
            if name not in _required(schemas[owner]):
                return False
    return True


# -- values -----------------------------------------------------------------------------------------------------------


def only_formats(known: str) -> Callable[[SchemaTree], Broken]:
    """The rule that `format` is one of these, apart by spaces."""

    def check(tree: SchemaTree) -> Broken:
        for place, schema in tree.schemas:
            given = schema.get("format")
            if isinstance(given, str) and given not in known.split():
                yield place, "format", "undocumented", f"{given!r} is not among the supported formats", "use a pattern"

    return check


def short_minimum(tree: SchemaTree) -> Broken:
    """Anthropic: minItems is 0 or 1."""
    for place, schema in tree.schemas:
        if schema.get("minItems", 0) not in (0, 1):
            yield place, "minItems", "refused", "only 0 and 1 are supported", "set it to 1, and check the rest yourself"


def plain_enums(tree: SchemaTree) -> Broken:
    """Anthropic: values of enum are no lists and no objects."""
    for place, schema in tree.schemas:
        if any(isinstance(value, list | dict) for value in _list(schema.get("enum"))):
            yield place, "enum", "refused", "lists and objects in enum are not supported", "write them as schemas"


def gemini_enums(tree: SchemaTree) -> Broken:
    """Gemini: values of enum are strings and numbers; oneOf is read as anyOf."""
    for place, schema in tree.schemas:
        if any(value is None or isinstance(value, bool | list | dict) for value in _list(schema.get("enum"))):
            reason = "only strings and numbers are documented as values"
            yield place, "enum", "undocumented", reason, "give other values by their type"
        if "oneOf" in schema:
            yield place, "oneOf", "ignored", "is read as anyOf, so that several branches may hold", "use anyOf"


def plain_patterns(tree: SchemaTree) -> Broken:
    """Anthropic: patterns without back-references, look-around and word boundaries."""
    for place, schema in tree.schemas:
        pattern = schema.get("pattern")
        if not isinstance(pattern, str):
            continue
        escapes = {found[1] for found in _ESCAPE.finditer(pattern)}
        bare = _ESCAPE.sub("", pattern)
        if escapes & set("123456789kbB") or _LOOKAROUND.search(bare):
            reason = "back-references, look-around and word boundaries are not supported"
            yield place, "pattern", "refused", reason, "use groups, classes and simple repeats"


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _few(names: list[str]) -> str:
    """The first names, with the verb that goes with them."""
    shown = ", ".join(repr(name) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{shown}{more} {'is' if len(names) == 1 else 'are'}"
