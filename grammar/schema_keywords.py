"""Every keyword of JSON Schema, by draft, and what becomes of it: enforced, an annotation, or refused."""

from __future__ import annotations

import difflib
from functools import lru_cache

from .constraints import Draft

DRAFTS: tuple[Draft, ...] = ("openapi-3.0", "4", "6", "7", "2019-09", "2020-12")
"""From the oldest."""

_DIALECTS: dict[str, Draft] = {
    "draft-03": "4",
    "draft-04": "4",
    "draft-05": "4",
    "draft-06": "6",
    "draft-07": "7",
    "2019-09": "2019-09",
    "2020-12": "2020-12",
    "json-schema.org/schema": "2020-12",
    "spec.openapis.org": "2020-12",
}


@lru_cache(256)
def draft_of(dialect: str) -> Draft | None:
    """The draft that a URI in `$schema` stands for; None when it is not known."""
    return next((draft for part, draft in _DIALECTS.items() if part in dialect), None)


TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")

ENFORCED = frozenset(
    {
        *("$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "const", "enum", "oneOf", "type"),
        *("dependencies", "dependentRequired", "dependentSchemas", "if", "not"),
        *("additionalItems", "contains", "items", "maxItems", "minItems", "prefixItems", "uniqueItems"),
        *("additionalProperties", "maxProperties", "minProperties", "patternProperties", "properties"),
        *("propertyNames", "required", "unevaluatedItems", "unevaluatedProperties"),
        *("format", "maxLength", "minLength", "pattern"),
        *("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"),
        "x-rootform",
    }
)
"""Keywords that are enforced, at least where their value can be."""

EXTENSIONS = {"propertyOrder": ("schema", "any"), "verbatim": (False, True, {"words": False}, {"words": True})}
"""What `x-rootform`, our own keyword, may say, and the values of each."""

_DESCRIBES = "describes, asserts nothing"
_NAMES = "names a schema, asserts nothing"

ANNOTATIONS = {
    **dict.fromkeys(("$comment", "default", "deprecated", "description", "examples", "title"), _DESCRIBES),
    **dict.fromkeys(("readOnly", "writeOnly", "example", "externalDocs", "xml", "discriminator"), _DESCRIBES),
    **dict.fromkeys(("contentEncoding", "contentMediaType", "contentSchema"), "an annotation since draft 2019-09"),
    **dict.fromkeys(("$anchor", "$dynamicAnchor", "$id", "$schema", "$vocabulary", "id"), _NAMES),
    **dict.fromkeys(("$defs", "definitions"), "holds schemas for references"),
    "$recursiveAnchor": "matters only to $recursiveRef",
}
"""Keywords that assert nothing, with the reason."""

REFUSED = {
    "disallow": ("is a keyword of draft 3", "use not"),
    "divisibleBy": ("is a keyword of draft 3", "use multipleOf"),
    "extends": ("is a keyword of draft 3", "use allOf"),
}
"""Keywords that assert something which is not enforced: the reason, and what to write in their place."""

NEEDS = {"else": "if", "maxContains": "contains", "minContains": "contains", "nullable": "type", "then": "if"}
"""Keywords that assert nothing without another one beside them, and share its fate with it."""

_SINCE: dict[str, Draft] = {
    **dict.fromkeys(("const", "contains", "propertyNames"), "6"),
    **dict.fromkeys(("if", "then", "else"), "7"),
    **dict.fromkeys(("dependentRequired", "dependentSchemas", "maxContains", "minContains"), "2019-09"),
    **dict.fromkeys(("unevaluatedItems", "unevaluatedProperties", "$recursiveRef"), "2019-09"),
    **dict.fromkeys(("prefixItems", "$dynamicRef"), "2020-12"),
}
_UNTIL: dict[str, Draft] = {"$recursiveRef": "2019-09", "nullable": "openapi-3.0"}

INSTEAD = {"nullable": '"null" among the types allows null, and so does this where the schema is read as openapi-3.0'}
"""Of keywords that assert nothing in most drafts, though many write them: what does."""

OF_SOME_DRAFTS = frozenset({*_SINCE, *_UNTIL})
"""Keywords that some drafts do not have."""

ASSERTING = ENFORCED | REFUSED.keys() | NEEDS.keys() | OF_SOME_DRAFTS
"""Keywords that may assert something, or of which something is noted; no other says anything about values."""

MAX_LEAST = 100_000
"""The most characters, elements or members that a schema may ask for at least."""


def is_of(keyword: str, draft: Draft) -> bool:
    """Whether a draft has a keyword. What later drafts only renamed is read in them too, as `dependencies` is."""
    age = DRAFTS.index(draft)
    since, until = _SINCE.get(keyword), _UNTIL.get(keyword)
    return (since is None or DRAFTS.index(since) <= age) and (until is None or age <= DRAFTS.index(until))


VOCABULARY_OF = {
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "if", "then", "else", "not", "dependentSchemas"), "applicator"),
    **dict.fromkeys(("prefixItems", "items", "contains", "additionalItems", "properties"), "applicator"),
    **dict.fromkeys(("patternProperties", "additionalProperties", "propertyNames"), "applicator"),
    **dict.fromkeys(("type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum"), "validation"),
    **dict.fromkeys(("minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern"), "validation"),
    **dict.fromkeys(("maxItems", "minItems", "uniqueItems", "maxContains", "minContains"), "validation"),
    **dict.fromkeys(("maxProperties", "minProperties", "required", "dependentRequired"), "validation"),
}
"""The vocabulary that a keyword is from, for metaschemas that leave one out."""


def is_free(schema: object) -> bool:
    """Whether a schema plainly says nothing about values."""
    return schema is True or (isinstance(schema, dict) and schema.keys() <= ANNOTATIONS.keys())


@lru_cache(1024)
def likely_meant(keyword: str) -> str | None:
    """The keyword of the standard that an unknown one looks like a slip of the pen for."""
    known = [*ENFORCED, *REFUSED, *NEEDS, *ANNOTATIONS]
    close = difflib.get_close_matches(keyword, known, n=1, cutoff=0.8)
    return close[0] if close else None
