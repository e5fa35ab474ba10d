"""JSON Schema to expressions: the texts of the values a schema accepts.

Members stand in the order of `properties`, the schema's own first, then those of `$ref`, `allOf` and branches; names
that are only `required` follow, then any others; or in any order, where that is asked for. In flexible spacing a value
may be written in any way: keys and listed values with any escapes, numbers with zeros and exponents. Else listed keys
and values have one spelling each; other strings may have any escapes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import NamedTuple

import msgspec

from .constraints import Escapes, JsonSchema, Spacing
from .errors import GrammarError
from .expr import POOL
from .json_layout import WIDTHS, layout
from .json_values import any_object
from .schema import Schema
from .schema_emit import AtDepth, Emitter
from .schema_notes import Notes, Refusal


class Compiled(NamedTuple):
    """The texts a schema accepts; and, where `lenient` was asked for, what had to be left out of it."""

    expression: int
    widened: tuple[Refusal, ...]


def compile_schema(constraint: JsonSchema) -> int:
    """The expression of the JSON texts a schema accepts.

    Raises GrammarError for what cannot be enforced exactly; if lenient, only when it cannot be compiled at all.
    """
    return compile_with_refusals(constraint).expression


def compile_with_refusals(constraint: JsonSchema) -> Compiled:
    """`compile_schema`, with what was left out: values have to be checked against it after generation."""
    has_document = constraint.document is not None
    notes = Notes(strict=not constraint.lenient, has_document=has_document, served=True, listing=False)
    expression = compile_read(read_schema(constraint, notes), constraint, notes)
    return Compiled(expression, tuple(notes.refused.values()))


def compile_json_object(spacing: Spacing, escapes: Escapes = "any") -> int:
    """The expression of any JSON object."""
    return any_object(layout(spacing, escapes))


def read_schema(constraint: JsonSchema, notes: Notes) -> Schema:
    """The schema of a constraint, ready to be read. Raises GrammarError when it is no schema at all."""
    return Schema(constraint.schema, notes, constraint.draft, constraint.documents, constraint.document)


def read_all(schema: Schema, constraint: JsonSchema) -> None:
    """Read all schemas that take part, so that the notes hold all that is to be found."""
    emitter = Emitter(schema, constraint, None)
    emitter.in_order(schema.root)
    while others := schema.stood_for():
        for conj in others:
            emitter.in_order(conj)


def compile_read(schema: Schema, constraint: JsonSchema, notes: Notes) -> int:
    """`compile_schema`, for a schema that is being read."""
    lines = constraint.spacing if constraint.spacing in WIDTHS else None
    on_one_line = constraint if lines is None else msgspec.structs.replace(constraint, spacing="canonical")
    emitter = Emitter(schema, on_one_line, _name_of(on_one_line))
    result = emitter.emit(schema.root)
    if lines is None:
        schema.forget()  # what is yet to be written keeps the schema, not what it was read from
    elif not POOL.is_empty(result):
        result = AtDepth(emitter, layout(lines, constraint.escapes)).value(schema.root)
    if POOL.is_empty(result):
        found = next(iter(notes.warnings), "")
        reason = "nothing satisfies this schema" + (f" ({found})" if found else "")
        raise GrammarError("#", "", reason, "remove what contradicts, or give a recursive schema a way to end")
    return result


def _name_of(constraint: JsonSchema) -> Hashable:
    """What equal constraints are called, and no others."""
    digest = hashlib.blake2b(constraint.schema.encode("utf-8", "surrogatepass"))
    for text in (text for pair in constraint.documents for text in pair):
        digest.update(hashlib.blake2b(text.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest(), msgspec.structs.replace(constraint, schema="", documents=())
