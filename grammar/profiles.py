"""What hosted APIs would make of a schema: their documented subsets of JSON Schema, as data, and a check against them.

Only what the documentation says is held against a schema. `docs/check.md` names each page and its date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import msgspec

from .profile_rules import (
    Verdict,
    closed_objects,
    external_references,
    gemini_enums,
    gemini_recursion,
    in_allof_references,
    lone_references,
    most_optional,
    most_unions,
    no_recursion,
    only_formats,
    openai_sizes,
    plain_enums,
    plain_patterns,
    root_is_object,
    short_minimum,
    strict_objects,
)
from .schema_document import parse
from .schema_keywords import ANNOTATIONS
from .schema_walk import SchemaTree

ProfileName = Literal["openai", "gemini", "anthropic"]


class Finding(msgspec.Struct, frozen=True):
    """A keyword that a hosted API does not take as it is meant.

    verdict: "refused": its documentation says so. "ignored": it is taken and means nothing there. "undocumented": the
    documentation lists it neither as supported nor as refused. Fields else as in Refusal.
    """

    where: str
    keyword: str
    verdict: Verdict
    reason: str
    rewrite: str


class Profile(NamedTuple):
    """supported, refused: keywords with the reason. unlisted: what becomes of all others but annotations."""

    source: str
    supported: frozenset[str]
    refused: dict[str, tuple[str, str]]
    unlisted: Verdict
    unlisted_reason: str
    rules: tuple[Callable[[SchemaTree], Iterator[tuple[str, str, Verdict, str, str]]], ...]


_VALIDATE = "leave it out, say it in the description, and check the value yourself"
_BRANCHES = "write the cases out as branches of anyOf"
_SPAN = ("numerical constraints are not supported", _VALIDATE)
_LENGTH = ("string constraints are not supported", _VALIDATE)
_ITEMS = ("of the constraints on arrays only a minItems of 0 or 1 is supported", _VALIDATE)
_REWRITES = {"oneOf": "use anyOf", "const": "use an enum of one value"}
_COMPOSITION = ("is named as not supported", _BRANCHES)
_BASICS = ("$ref", "additionalProperties", "anyOf", "enum", "format", "items", "properties", "required", "type")

PROFILES: dict[str, Profile] = {
    "openai": Profile(
        source="OpenAI, Structured model outputs, section Supported schemas; as copied 2026-08-03",
        supported=frozenset(
            {*_BASICS, "const", "exclusiveMaximum", "exclusiveMinimum", "maxItems", "maximum", "minItems", "minimum"}
            | {"multipleOf", "pattern"}
        ),
        refused={
            "allOf": ("is named as not supported", "merge the schemas into one"),
            **dict.fromkeys(("not", "dependentRequired", "dependentSchemas", "if", "then", "else"), _COMPOSITION),
        },
        unlisted="undocumented",
        unlisted_reason="is not among the supported keywords",
        rules=(
            root_is_object,
            strict_objects,
            openai_sizes,
            only_formats("date-time time date duration email hostname ipv4 ipv6 uuid"),
        ),
    ),
    "gemini": Profile(
        source="Gemini API, Structured outputs, last updated 2026-02-26, and GenerationConfig of its reference",
        supported=frozenset(
            {*_BASICS, "oneOf", "prefixItems", "maxItems", "maximum", "minItems", "minimum", "propertyOrdering"}
        ),
        refused={},
        unlisted="ignored",
        unlisted_reason="is not among the supported keywords, and unsupported ones are ignored",
        rules=(gemini_enums, lone_references, gemini_recursion, only_formats("date-time date time")),
    ),
    "anthropic": Profile(
        source="Claude, Structured outputs, sections JSON Schema limitations and Schema complexity limits; as copied "
        "2026-09-20",
        supported=frozenset({*_BASICS, "allOf", "const", "minItems", "pattern"}),
        refused={
            **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), _SPAN),
            **dict.fromkeys(("minLength", "maxLength"), _LENGTH),
            **dict.fromkeys(("maxItems", "uniqueItems", "contains", "minContains", "maxContains"), _ITEMS),
        },
        unlisted="undocumented",
        unlisted_reason="is not among the supported keywords",
        rules=(
            closed_objects,
            short_minimum,
            no_recursion,
            external_references,
            in_allof_references,
            plain_enums,
            plain_patterns,
            most_optional,
            most_unions,
            only_formats("date-time time date duration email hostname uri ipv4 ipv6 uuid"),
        ),
    ),
}


def hosted_findings(schema_text: str, name: ProfileName) -> tuple[Finding, ...]:
    """What the hosted API of this name would not take as it is meant. Raises GrammarError when the text is no JSON."""
    profile = PROFILES[name]
    tree = SchemaTree(parse(schema_text))
    found = [Finding(*each) for rule in profile.rules for each in rule(tree)]
    for place, schema in tree.schemas:
        found += [finding for keyword in schema if (finding := _of_keyword(profile, place, keyword))]
    return tuple(sorted(found, key=lambda finding: (tree.position(finding.where), finding.keyword)))


def _of_keyword(profile: Profile, place: str, keyword: str) -> Finding | None:
    if keyword in profile.refused:
        return Finding(place, keyword, "refused", *profile.refused[keyword])
    if keyword in profile.supported or keyword in ANNOTATIONS:
        return None
    return Finding(place, keyword, profile.unlisted, profile.unlisted_reason, _REWRITES.get(keyword, _VALIDATE))
