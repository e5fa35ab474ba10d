"""The constraint that a caller's keywords ask for; those that contradict each other, or mean nothing, are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypedDict, get_args

import msgspec

from ..grammar.constraints import (
    Backend,
    Choice,
    Constraint,
    Draft,
    Escapes,
    Grammar,
    JsonObject,
    JsonSchema,
    PropertyOrder,
    Regex,
    Spacing,
    StructuralTag,
)
from .types import RootformError

SchemaText = dict[str, Any] | bool | str
"""A JSON Schema as plain data, or as JSON text."""

NO_DOCUMENTS: Mapping[str, SchemaText] = MappingProxyType({})

_WORDS: dict[str, tuple[str, ...]] = {
    "spacing": get_args(Spacing),
    "escapes": get_args(Escapes),
    "property_order": get_args(PropertyOrder),
    "draft": get_args(Draft),
    "backend": get_args(Backend),
}

_OF_SCHEMAS = ("property_order", "draft", "documents", "lenient")


class JsonOptions(TypedDict, total=False):
    """How the constraint is to be read and its texts are to look, all optional; the defaults are `make_constraint`'s.

    backend: what compiles regex and choice. Beside schema alone: property_order, draft, lenient, document, and
    documents, other schemas by their URIs.
    """

    backend: Backend
    spacing: Spacing | None
    escapes: Escapes | None
    property_order: PropertyOrder
    draft: Draft | None
    documents: Mapping[str, SchemaText]
    lenient: bool
    document: str | None


class ConstraintOptions(JsonOptions, total=False):
    """The keywords of `make_constraint`, all optional; of the six constraints at most one.

    schema: a JSON Schema, as a dict or as JSON text. grammar: GBNF, EBNF or Lark. structural_tag: as a dict or as JSON
    text.
    """

    schema: SchemaText | None
    regex: str | None
    choice: Iterable[str] | None
    json_object: bool
    grammar: str | Grammar | None
    structural_tag: dict[str, Any] | str | None


def make_constraint(
    *,
    schema: SchemaText | None = None,
    regex: str | None = None,
    choice: Iterable[str] | None = None,
    json_object: bool = False,
    grammar: str | Grammar | None = None,
    structural_tag: dict[str, Any] | str | None = None,
    backend: Backend = "rootform",
    spacing: Spacing | None = None,
    escapes: Escapes | None = None,
    property_order: PropertyOrder = "schema",
    draft: Draft | None = None,
    documents: Mapping[str, SchemaText] = NO_DOCUMENTS,
    lenient: bool = False,
    document: str | None = None,
) -> Constraint | None:
    """The one constraint; None when none is given. Raises RootformError for several, and for options without theirs."""
    _check_words(spacing=spacing, escapes=escapes, property_order=property_order, draft=draft, backend=backend)
    others = tuple((uri, _json_text(text)) for uri, text in documents.items())
    written = spacing or "compact", escapes or "any"
    options = JsonSchema("", written[0], document, property_order, draft, others, lenient, written[1])
    constraints = {
        "schema": None if schema is None else msgspec.structs.replace(options, schema=_json_text(schema)),
        "regex": None if regex is None else Regex(regex, backend),
        "choice": None if choice is None else Choice(tuple(choice), backend),
        "json_object": JsonObject(*written) if json_object else None,
        "grammar": Grammar(grammar, spacing=options.spacing) if isinstance(grammar, str) else grammar,
        "structural_tag": None if structural_tag is None else _structural_tag(structural_tag, options.spacing),
    }
    given = [name for name, constraint in constraints.items() if constraint is not None]
    if len(given) > 1:
        raise RootformError(f"give only one of {' and '.join(given)}", param=given[1])
    kind = given[0] if given else None
    if spacing is not None and kind in (None, "regex", "choice"):
        raise RootformError("spacing is about JSON; give it together with a constraint that has some", param="spacing")
    if escapes is not None and kind not in ("schema", "json_object"):
        raise RootformError("escapes goes with schema or json_object", param="escapes")
    if spacing is not None and isinstance(grammar, Grammar) and grammar.spacing != spacing:
        raise RootformError("the Grammar has a spacing of its own; say it there alone", param="spacing")
    if backend != "rootform" and kind not in ("regex", "choice"):
        raise RootformError("backend goes with regex or choice", param="backend")
    if kind != "schema":
        _check_no_schema_options(options)
    return constraints[kind] if kind else None


def _check_words(**given: str | None) -> None:
    """Each is one of its words, or not given."""
    for name, value in given.items():
        if value is not None and value not in _WORDS[name]:
            raise RootformError(f"{name} is one of {', '.join(_WORDS[name])}; not {value!r}", param=name)


def _check_no_schema_options(options: JsonSchema) -> None:
    if options.document is not None:
        raise RootformError("document is for verbatim values; give it together with schema", param="document")
    for name in _OF_SCHEMAS:
        if getattr(options, name) != getattr(JsonSchema(""), name):
            raise RootformError(f"{name} is about a JSON Schema; give it together with schema", param=name)


def _structural_tag(tag: dict[str, Any] | str, spacing: Spacing) -> StructuralTag:
    return StructuralTag(_json_text(tag), spacing)


def _json_text(value: SchemaText) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
