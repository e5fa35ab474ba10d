"""What a caller may ask of the output: plain frozen data, hashable, one type per kind of constraint."""

from __future__ import annotations

from typing import Literal

import msgspec

Syntax = Literal["auto", "gbnf", "ebnf", "lark"]
"""Notations of grammars. gbnf and ebnf are two names of one notation."""

Spacing = Literal["compact", "flexible"]
"""compact: no whitespace outside strings. flexible: bounded whitespace where JSON allows it."""


class Regex(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="regex"):
    """The whole output matches `pattern` (as `re.fullmatch` would)."""

    pattern: str


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="choice"):
    """The whole output is one of `options`, character for character."""

    options: tuple[str, ...]


class JsonSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="json_schema"):
    """The output is JSON text whose value the schema accepts.

    schema: the schema as JSON text (text, so that the constraint is hashable and the order of properties is kept).
    document: the text in which the values of verbatim fields stand (docs/verbatim.md); for schemas that have some.
    """

    schema: str
    spacing: Spacing = "compact"
    document: str | None = None

    @property
    def may_be_verbatim(self) -> bool:
        """Whether a document could matter: the schema has the word, or escapes that may spell it."""
        return "verbatim" in self.schema or "\\u" in self.schema


class JsonObject(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="json_object"):
    """The output is any JSON object."""

    spacing: Spacing = "compact"


class Grammar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="grammar"):
    """The output is a text of a context-free grammar (docs/grammars.md).

    text: the grammar, in the notation `syntax` names (auto: GBNF where a rule is written `name ::=`, else Lark).
    start: the rule to begin with; "": `root` in GBNF, `start` in Lark. spacing: of schemas inside.
    """

    text: str
    syntax: Syntax = "auto"
    start: str = ""
    spacing: Spacing = "compact"


class StructuralTag(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="structural_tag"):
    """The output is free text with tags in it, or whatever else a tree of formats says (docs/grammars.md).

    tag: `{"type": "structural_tag", "format": {...}}` as JSON text. spacing: of schemas inside.
    """

    tag: str
    spacing: Spacing = "compact"


Constraint = Regex | Choice | JsonSchema | JsonObject | Grammar | StructuralTag
