"""Drafts, references of every form, given documents, and schemas compiled leniently."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.constraints import Draft, JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.pools import using
from rootform.grammar.report import inspect_schema
from rootform.grammar.schema_compile import compile_schema, compile_with_refusals


def accepts(schema: Any, value: Any, draft: Draft | None = None, documents: tuple[tuple[str, str], ...] = ()) -> bool:
    constraint = JsonSchema(json.dumps(schema), "flexible", property_order="any", draft=draft, documents=documents)
    with using(POOL.fork()):
        return POOL.fullmatch(compile_schema(constraint), json.dumps(value).encode())


AGE: dict[str, tuple[Any, Any]] = {
    "4": ({"exclusiveMinimum": True, "minimum": 1}, 1),
    "6": ({"const": 1}, 2),
    "7": ({"if": {"const": 1}, "then": {"type": "string"}}, 1),
    "2019-09": ({"dependentRequired": {"a": ["b"]}}, {"a": 1}),
    "2020-12": ({"prefixItems": [{"type": "string"}]}, [1]),
}
URIS: dict[Draft, str] = {
    "4": "http://json-schema.org/draft-04/schema#",
    "6": "http://json-schema.org/draft-06/schema",
    "7": "http://json-schema.org/draft-07/schema#",
    "2019-09": "https://json-schema.org/draft/2019-09/schema",
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
}


@pytest.mark.parametrize("since", AGE)
@pytest.mark.parametrize("draft", URIS)
def test_a_keyword_asserts_nothing_in_drafts_before_its_own(draft: Draft, since: str) -> None:
    schema, bad = AGE[since]
    is_known = list(URIS).index(draft) >= list(AGE).index(since)
    assert accepts(schema, bad, draft) != is_known
    assert accepts({"$schema": URIS[draft], **schema}, bad) != is_known


@pytest.mark.parametrize("draft", URIS)
def test_a_schema_may_refer_to_the_metaschema_of_its_draft(draft: Draft) -> None:
    schema = {"$schema": URIS[draft], "$ref": URIS[draft]}
    assert accepts(schema, {"type": "object", "properties": {"a": {"minLength": 2}}})
    assert not accepts(schema, {"type": "object", "properties": {"a": {"minLength": -2}}})


def test_recursive_references_of_2019_09() -> None:
    tree = {
        "$schema": URIS["2019-09"],
        "$id": "https://example.com/tree",
        "$recursiveAnchor": True,
        "type": "object",
        "properties": {"value": True, "nodes": {"type": "array", "items": {"$recursiveRef": "#"}}},
    }
    strict = {
        "$schema": URIS["2019-09"],
        "$id": "https://example.com/strict",
        "$recursiveAnchor": True,
        "$ref": "tree",
        "unevaluatedProperties": False,
    }
    documents = (("https://example.com/tree", json.dumps(tree)),)
    typo = {"nodes": [{"valu": 1}]}
    assert accepts(tree, typo)
    assert not accepts(strict, typo, documents=documents)
    assert accepts(strict, {"nodes": [{"value": 1, "nodes": []}]}, documents=documents)


def test_what_is_not_given_is_not_fetched() -> None:
    schema = {"$ref": "https://example.com/other.json#/$defs/a~1b%25"}
    with pytest.raises(GrammarError, match="nothing is fetched"):
        compile_schema(JsonSchema(json.dumps(schema)))
    other = json.dumps({"$defs": {"a/b%": {"$ref": "#/$defs/c"}, "c": {"const": 5}}})
    assert accepts(schema, 5, documents=(("https://example.com/other.json", other),))
    assert not accepts(schema, 6, documents=(("https://example.com/other.json", other),))


def test_a_document_that_is_broken_is_refused() -> None:
    with pytest.raises(GrammarError, match="not JSON"):
        compile_schema(JsonSchema("{}", documents=(("a.json", "{"),)))


def test_lenient_leaves_out_what_it_refuses_and_lists_it() -> None:
    either = [{"type": ["integer", "object"], "minProperties": n, "pattern": 3} for n in (1, 2)]
    schema = {"type": "array", "prefixItems": either, "not": {"uniqueItems": True}, "maxItems": 2}
    with pytest.raises(GrammarError, match="must be a string"):
        compile_schema(JsonSchema(json.dumps({"type": "string", "pattern": 3})))
    compiled = compile_with_refusals(JsonSchema(json.dumps(schema), lenient=True))
    assert [(refusal.where, refusal.keyword) for refusal in compiled.widened] == [("#", "uniqueItems")]
    assert POOL.fullmatch(compiled.expression, b"[1,1]")
    assert POOL.fullmatch(compiled.expression, b"[1,2]")
    assert not POOL.fullmatch(compiled.expression, b"[1,1,1]")


def test_lenient_widens_what_is_negated_too() -> None:
    schema = {"type": "string", "not": {"pattern": "(", "maxLength": 3}}
    compiled = compile_with_refusals(JsonSchema(json.dumps(schema), lenient=True))
    assert compiled.widened
    assert POOL.fullmatch(compiled.expression, b'"a"')


WAYS = {"1": 1, "1.0": 1, "10e-1": 1, "1.5": 1.5, "0": 0, "-0.0": 0, "1e2": 100, "1.00E+2": 100, "2.5e-1": 0.25}


@settings(deadline=None, max_examples=60)
@given(
    low=st.none() | st.integers(-2, 2),
    high=st.none() | st.sampled_from([0, 0.25, 1, 50, 100, 101]),
    step=st.sampled_from([None, 1, 2, 0.5, 3]),
    besides=st.sampled_from([None, {"type": "integer"}, {"multipleOf": 2}, {"const": 1}, {"enum": [0, 100, "a"]}]),
)
def test_what_is_accepted_of_a_number_is_a_matter_of_its_value(low: Any, high: Any, step: Any, besides: Any) -> None:
    schema = {"type": "number", "minimum": low, "maximum": high, "multipleOf": step, "not": besides}
    schema = {keyword: value for keyword, value in schema.items() if value is not None}
    with using(POOL.fork()):
        expression = compile_schema(JsonSchema(json.dumps({"anyOf": [schema, {"type": "null"}]}), "flexible"))
        for text, value in WAYS.items():
            valid = (low is None or value >= low) and (high is None or value <= high)
            valid = valid and (step is None or value % step == 0) and not (besides and is_valid(besides, value))
            accepted = POOL.fullmatch(expression, text.encode())
            assert not accepted or valid, text
            assert accepted or not valid or "e" in text.lower(), text


def is_valid(schema: dict[str, Any], value: float) -> bool:
    if "multipleOf" in schema:
        return value % schema["multipleOf"] == 0
    return value % 1 == 0 if "type" in schema else value in schema.get("enum", [schema.get("const")])


@pytest.mark.parametrize(
    ("schema", "value", "is_valid"),
    [
        ({"type": "string", "nullable": True}, None, True),
        ({"type": "string", "nullable": True}, "a", True),
        ({"type": "string", "nullable": False}, None, False),
        ({"type": "string", "nullable": True, "enum": ["a"]}, None, False),
        ({"type": "string", "nullable": True, "enum": ["a", None]}, None, True),
        ({"nullable": True, "minimum": 3}, 1, False),
        ({"nullable": True, "anyOf": [{"type": "integer"}]}, None, False),
        ({"allOf": [{"type": "string", "nullable": True}], "type": "string"}, None, False),
        ({"not": {"type": "string", "nullable": True}}, None, False),
        ({"$ref": "#/a", "nullable": True, "type": "string", "a": {"type": "integer"}}, None, False),
        ({"minimum": 3, "exclusiveMinimum": True}, 3, False),
    ],
)
def test_openapi_is_a_draft_of_its_own(schema: dict[str, Any], value: Any, is_valid: bool) -> None:
    """`nullable` adds null to `type` beside it and does nothing else (OpenAPI 3.0.3, clarified there)."""
    assert accepts(schema, value, "openapi-3.0") == is_valid


def test_elsewhere_nullable_asserts_nothing_and_a_warning_says_what_to_write() -> None:
    schema = {"type": "string", "nullable": True}
    for draft in URIS:
        assert not accepts(schema, None, draft)
        assert not accepts({"$schema": URIS[draft], **schema}, None)
    (warning,) = inspect_schema(json.dumps(schema)).warnings
    assert "'nullable' is not a keyword of 2020-12" in warning
    assert '"null" among the types' in warning


def test_a_nullable_that_is_no_boolean_is_refused() -> None:
    with pytest.raises(GrammarError, match="nullable"):
        accepts({"type": "string", "nullable": "yes"}, None, "openapi-3.0")
