"""What a caller may ask of the output: plain frozen data, hashable, one type per kind of constraint."""

from __future__ import annotations

import sys
from typing import Literal

import msgspec

Syntax = Literal["auto", "gbnf", "ebnf", "lark"]
"""Notations of grammars. gbnf and ebnf are two names of one notation."""

Spacing = Literal["compact", "canonical", "flexible", "indent", "indent4"]
"""How JSON text looks. compact: no whitespace outside strings. canonical: one space after each comma and colon.
flexible: bounded whitespace where JSON allows it, and any spelling of numbers, keys and listed values. indent, indent4:
each element and member on a line of its own, as `json.dumps` with `indent=2` or `indent=4` has it."""

Escapes = Literal["any", "minimal"]
"""How strings are spelled. any: with every escape that JSON allows. minimal: each in one way, as `json.dumps` with
`ensure_ascii=False` writes it: nothing is escaped but quotes, backslashes and control characters, these briefly."""

PropertyOrder = Literal["schema", "any"]
"""Where members of an object may stand."""

Draft = Literal["openapi-3.0", "4", "6", "7", "2019-09", "2020-12"]
"""Versions of JSON Schema, and OpenAPI 3.0's own, which no `$schema` names: much as draft 4, with `nullable`."""


Backend = Literal["rootform", "outlines"]
"""What compiles a regex or a choice: this package, or outlines-core (docs/grammars.md tells how they differ)."""


class Regex(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="regex"):
    """The whole output matches `pattern` (as `re.fullmatch` would)."""

    pattern: str
    backend: Backend = "rootform"


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="choice"):
    """The whole output is one of `options`, character for character."""

    options: tuple[str, ...]
    backend: Backend = "rootform"


class JsonSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="json_schema"):
    """The output is JSON text whose value the schema accepts.

    schema: the schema as JSON text (text, so that the constraint is hashable and the order of properties is kept).
    document: the text in which the values of verbatim fields stand (docs/verbatim.md); for schemas that have some.
    property_order: schema: members stand as in `properties`; any: in any order, but as `x-rootform` says where it does.
    draft: what the schema is read as; None: as its `$schema` says, else 2020-12. documents: other schemas that it
    refers to, each its URI and its JSON text. lenient: what cannot be enforced is left out and listed
    (`schema_compile.compile_with_refusals`), so that values have to be checked after generation.
    """

    schema: str
    spacing: Spacing = "compact"
    document: str | None = None
    property_order: PropertyOrder = "schema"
    draft: Draft | None = None
    documents: tuple[tuple[str, str], ...] = ()
    lenient: bool = False
    escapes: Escapes = "any"

    @property
    def may_be_verbatim(self) -> bool:
        """Whether a document could matter: the schema has the word, or escapes that may spell it."""
        texts = [self.schema, *(text for _, text in self.documents)]
        return any("verbatim" in text or "\\u" in text for text in texts)


class JsonObject(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="json_object"):
    """The output is any JSON object."""

    spacing: Spacing = "compact"
    escapes: Escapes = "any"


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


def bytes_of_constraint(constraint: Constraint) -> int:
    """Memory of a constraint's own texts."""
    todo = [msgspec.structs.astuple(constraint)]
    total = 0
    while todo:
        item = todo.pop()
        total += sum(map(sys.getsizeof, item))
        todo += [inner for inner in item if type(inner) is tuple]
    return total


class VerbatimField(msgspec.Struct, frozen=True):
    """A value and its first occurrence: `document[start:end]` is the value.

    pointer: JSON pointer of the value in the output (RFC 6901). start, end: code points of the document.
    """

    pointer: str
    start: int
    end: int
