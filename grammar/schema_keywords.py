"""Every keyword of JSON Schema, and what becomes of it: enforced, an annotation, or refused."""

from __future__ import annotations

import difflib

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")

ENFORCED = frozenset(
    {
        *("$ref", "allOf", "anyOf", "const", "enum", "nullable", "oneOf", "type"),
        *("additionalItems", "items", "maxItems", "minItems", "prefixItems", "uniqueItems"),
        *("additionalProperties", "maxProperties", "minProperties", "patternProperties", "properties"),
        *("propertyNames", "required", "unevaluatedItems", "unevaluatedProperties"),
        *("format", "maxLength", "minLength", "pattern"),
        *("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"),
        "x-rootform",
    }
)
"""Keywords that are enforced, at least where their value can be: `oneOf`, `uniqueItems` and a few more not always."""

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

_SPLIT = "write the cases out as branches of anyOf"
_REPEAT = "leave it out and check it after generation"

REFUSED = {
    "$dynamicRef": ("references that depend on the way taken are not supported", "use $ref"),
    "$recursiveRef": ("references that depend on the way taken are not supported", 'use "$ref": "#"'),
    "contains": ("counting the elements that match is not supported yet", "use prefixItems, or items"),
    "dependencies": ("conditions between properties are not supported yet", _SPLIT),
    "dependentRequired": ("conditions between properties are not supported yet", _SPLIT),
    "dependentSchemas": ("conditions between properties are not supported yet", _SPLIT),
    "if": ("conditions are not supported yet", _SPLIT),
    "not": ("negation is not supported yet", "say what is allowed: a type, an enum, or a pattern"),
    "disallow": ("is a keyword of draft 3", "use not"),
    "divisibleBy": ("is a keyword of draft 3", "use multipleOf"),
    "extends": ("is a keyword of draft 3", "use allOf"),
}
"""Keywords that assert something which is not enforced: the reason, and what to write in their place."""

NEEDS = {"else": "if", "maxContains": "contains", "minContains": "contains", "then": "if"}
"""Keywords that assert nothing without another one beside them, and share its fate with it."""


def is_free(schema: object) -> bool:
    """Whether a schema plainly says nothing about values."""
    return schema is True or (isinstance(schema, dict) and all(keyword in ANNOTATIONS for keyword in schema))


def likely_meant(keyword: str) -> str | None:
    """The keyword of the standard that an unknown one looks like a slip of the pen for."""
    known = [*ENFORCED, *REFUSED, *ANNOTATIONS]
    close = difflib.get_close_matches(keyword, known, n=1, cutoff=0.8)
    return close[0] if close else None
