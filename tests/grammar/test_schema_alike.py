"""Schemas whose shape is plain to see have the shape that reading them keyword by keyword finds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.constraints import Draft
from rootform.grammar.schema_alike import Inner, plain_shape
from rootform.grammar.schema_document import Document
from rootform.grammar.schema_keywords import is_free
from rootform.grammar.schema_notes import Notes
from rootform.grammar.schema_read import Place, read_shape
from rootform.grammar.schema_rules import NEVER, Conj, Literal
from rootform.grammar.schema_text import Json

DRAFTS: tuple[Draft, ...] = get_args(Draft)
NAMES = st.sampled_from(["a", "b", "a/b", "c~d", ""])
ENDS = {"description": "d", "x-other": 1, "default": {}}

_LEAVES = st.one_of(
    st.booleans(),
    st.sampled_from([{}, {"type": "string"}, {"type": "integer", "title": "t"}, {"$ref": "#"}, {"minimum": 1}, 3]),
)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "properties": st.one_of(st.dictionaries(NAMES, _LEAVES, max_size=3), st.just([])),
    "required": st.one_of(st.lists(NAMES, max_size=3), st.just(True), st.just([1])),
    "additionalProperties": _LEAVES,
    "items": st.one_of(_LEAVES, st.just([True])),
    "minItems": st.sampled_from([0, 2, -1, True, "1", None, 1_000_000]),
    "maxItems": st.sampled_from([0, 2, 3, True, None]),
    "enum": st.lists(st.sampled_from(["x", "y", 1, None]), max_size=3),
    "minLength": st.sampled_from([0, 1, True, 1_000_000]),
    "maxLength": st.sampled_from([0, 3, None]),
    "format": st.sampled_from(["date", "unheard of", 1]),
    "minimum": st.sampled_from([0, -3, Decimal("1.5"), "1", None, True]),
    "maximum": st.sampled_from([0, 7, Decimal("1.5"), None]),
    "exclusiveMinimum": st.sampled_from([True, 1]),
    "nullable": st.booleans(),
    "const": st.just("x"),
    "x-rootform": st.just({"propertyOrder": "any"}),
    **{keyword: st.just(value) for keyword, value in ENDS.items()},
}
_KEYWORDS = {
    "object": ["properties", "required", "additionalProperties"],
    "array": ["items", "minItems", "maxItems"],
    "string": ["enum", "format", "minLength", "maxLength"],
    "integer": ["minimum", "maximum"],
}


@st.composite
def _schemas(draw: st.DrawFn) -> dict[str, Any]:
    """Mostly of one type with keywords that are about it, at times with others."""
    kind = draw(st.sampled_from([*_KEYWORDS, "number", "null", "any"]))
    own = _KEYWORDS.get(kind, [*ENDS])
    kind = draw(st.sampled_from([kind, kind, [kind, "null"], [kind]]))
    names = draw(st.lists(st.sampled_from([*own, *own, *ENDS, "x-rootform"]), max_size=4, unique=True))
    names += draw(st.one_of(st.just([]), st.just([]), st.just([]), st.lists(st.sampled_from([*_VALUES]), max_size=1)))
    said = {name: draw(_VALUES[name]) for name in names}
    return {"type": kind, **said} if draw(st.integers(0, 7)) else said


class _Itself:
    """Inner schemas that are each themselves, as readers have them that know none alike."""

    def of(self, place: str, schema: Json) -> Conj:
        if schema is False:
            return NEVER
        return () if is_free(schema) else (Literal(place),)


@settings(max_examples=600, deadline=None)
@given(_schemas(), st.sampled_from(DRAFTS))
def test_as_read_keyword_by_keyword(schema: dict[str, Any], draft: Draft) -> None:
    inner: Any = _Itself()
    plain = plain_shape("#/at", schema, inner)
    if plain is None:
        return
    notes = Notes(strict=True, has_document=False, served=True, listing=False)
    assert plain == read_shape(Place("#/at", schema, draft, ()), notes, tracked=False)
    assert not notes.refused
    assert not notes.warnings


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "b"]},
        {"type": "object", "additionalProperties": False, "description": "d", "x-other": 1},
        {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": 1},
        {"type": "array"},
        {"type": "string", "enum": ["b", "a", "b"]},
        {"type": "boolean", "title": "t"},
        {"type": "string", "format": "date", "minLength": 1, "maxLength": 20},
        {"type": "integer", "minimum": 0, "maximum": 9},
        {"type": ["string", "null"], "maxLength": 9},
        {"type": ["object", "null"], "required": ["a"]},
        {"enum": ["a", "b"], "title": "t"},
    ],
)
def test_common_ones_are_plain(schema: dict[str, Any]) -> None:
    assert plain_shape("#", schema, Inner(Document("{}"))) is not None


def test_those_that_ask_for_the_same_are_one() -> None:
    inner = Inner(Document("{}"))
    asks: list[dict[str, Any]] = [
        {"type": "string"},
        {"type": ["string", "null"]},
        {"type": ["string", "null"], "maxLength": 2},
        {"type": "string", "maxLength": 2},
        {"type": "string", "enum": ["a"]},
        {"type": ["string", "null"], "enum": ["a"]},
    ]
    first = [inner.of(f"#/first/{i}", schema) for i, schema in enumerate(asks)]
    again = [inner.of(f"#/again/{i}", {**schema, "title": "t"}) for i, schema in enumerate(asks)]
    assert first == again
    assert len(set(first)) == len(asks)
