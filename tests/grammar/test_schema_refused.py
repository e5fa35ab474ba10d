"""What is refused, with the place and the keyword; and input that was made to do harm."""

import json
from typing import Any

import pytest

from rootform.grammar import schema_keywords
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.schema_compile import compile_schema

REFUSED: list[tuple[Any, str, str]] = [
    ({"properties": {"a": {"not": {"uniqueItems": 1}}}}, "#/properties/a/not", "uniqueItems"),
    ({"properties": {"a": {"uniqueItems": 1}}}, "#/properties/a", "uniqueItems"),
    ({"items": {"properties": {"a/b": {"$dynamicRef": "#x"}}}}, "#/items/properties/a~1b", "$dynamicRef"),
    ({"dependentRequired": {"a": "b"}}, "#", "dependentRequired"),
    ({"dependentSchemas": {"a": ["b"]}}, "#", "dependentSchemas"),
    ({"if": 3, "then": {}}, "#", "if"),
    ({"not": []}, "#", "not"),
    ({"patternProperties": {c: {"maxLength": i} for i, c in enumerate("abcdefg")}}, "#", "patternProperties"),
    ({"$ref": "https://example.com/schema.json"}, "#", "$ref"),
    ({"$ref": "#/$defs/missing"}, "#", "$ref"),
    ({"$ref": "#"}, "#", "$ref"),
    ({"$ref": 5}, "#", "$ref"),
    ({"type": "strin"}, "#", "type"),
    ({"type": []}, "#", "type"),
    ({"enum": []}, "#", ""),
    ({"enum": "a"}, "#", "enum"),
    ({"minimum": "3"}, "#", "minimum"),
    ({"exclusiveMinimum": "3"}, "#", "exclusiveMinimum"),
    ({"multipleOf": 0}, "#", "multipleOf"),
    ({"minLength": -1}, "#", "minLength"),
    ({"maxItems": 1.5}, "#", "maxItems"),
    ({"minLength": 10**9}, "#", "minLength"),
    ({"pattern": "("}, "#", "pattern"),
    ({"pattern": 3}, "#", "pattern"),
    ({"patternProperties": {"(": {}}}, "#", "patternProperties"),
    ({"format": 3}, "#", "format"),
    ({"required": True}, "#", "required"),
    ({"properties": []}, "#", "properties"),
    ({"properties": {"a": 3}}, "#/properties", "a"),
    ({"prefixItems": {}}, "#", "prefixItems"),
    ({"prefixItems": [], "items": []}, "#", "items"),
    ({"allOf": []}, "#", "allOf"),
    ({"anyOf": {}}, "#", "anyOf"),
    ({"type": "string", "minLength": 3, "maxLength": 2}, "#", ""),
    ({"enum": ["a"], "minLength": 3}, "#", ""),
    ({"type": "object", "required": ["a"], "additionalProperties": False}, "#", ""),
    ({"type": "string", "pattern": "^abc$", "maxLength": 2}, "#", ""),
    ({"type": "integer", "minimum": 8, "maximum": 13, "multipleOf": 7}, "", "no error"),
    ({"type": "integer", "minimum": 8, "maximum": 12, "multipleOf": 7}, "#", ""),
    (False, "#", ""),
    ([], "#", ""),
    ("a", "#", ""),
]


@pytest.mark.parametrize(("schema", "where", "keyword"), REFUSED, ids=[json.dumps(case[0])[:60] for case in REFUSED])
def test_refused_by_place_and_keyword(schema: Any, where: str, keyword: str) -> None:
    if keyword == "no error":
        schema["maximum"] = 14
        compile_schema(JsonSchema(json.dumps(schema)))
        return
    with pytest.raises(GrammarError) as refused:
        compile_schema(JsonSchema(json.dumps(schema)))
    assert (refused.value.where, refused.value.keyword) == (where, keyword)
    assert refused.value.reason
    assert refused.value.rewrite


STANDARD = """
$anchor $comment $defs $dynamicAnchor $dynamicRef $id $recursiveAnchor $recursiveRef $ref $schema $vocabulary
additionalItems additionalProperties allOf anyOf const contains contentEncoding contentMediaType contentSchema default
definitions dependencies dependentRequired dependentSchemas deprecated description else enum examples exclusiveMaximum
exclusiveMinimum format if items maxContains maximum maxItems maxLength maxProperties minContains minimum minItems
minLength minProperties multipleOf not oneOf pattern patternProperties prefixItems properties propertyNames readOnly
required then title type unevaluatedItems unevaluatedProperties uniqueItems writeOnly
"""


@pytest.mark.parametrize("keyword", STANDARD.split())
def test_every_keyword_of_the_standard_has_exactly_one_fate(keyword: str) -> None:
    tables = (
        schema_keywords.ENFORCED,
        schema_keywords.REFUSED,
        schema_keywords.ANNOTATIONS,
        schema_keywords.NEEDS,
    )
    assert [keyword in table for table in tables].count(True) == 1


@pytest.mark.parametrize("keyword", sorted(schema_keywords.REFUSED))
def test_a_keyword_that_is_not_supported_is_refused_wherever_it_stands(keyword: str) -> None:
    schema = {"type": "array", "items": {"anyOf": [{"type": "null"}, {keyword: {}}]}}
    with pytest.raises(GrammarError) as refused:
        compile_schema(JsonSchema(json.dumps(schema)))
    assert (refused.value.where, refused.value.keyword) == ("#/items/anyOf/1", keyword)


def test_what_no_reference_reaches_is_not_read() -> None:
    compile_schema(JsonSchema(json.dumps({"type": "null", "$defs": {"a": {"extends": {}}}})))


BROKEN = {
    "not JSON": "{",
    "two values": "{} {}",
    "NaN": '{"minimum": NaN}',
    "a name twice": '{"type": "null", "type": "string"}',
    "half a character": '{"const": "\\ud800"}',
    "a huge number": '{"minimum": 1e999999999}',
    "a tiny number": '{"minimum": 1e-999999999}',
    "too many digits": '{"minimum": ' + "9" * 5000 + "}",
    "deep": '{"items":' * 150_000 + "{}" + "}" * 150_000,
    "rather deep": '{"items":' * 300 + "{}" + "}" * 300,
    "deep in an enum": '{"enum":[' + "[" * 300 + "]" * 300 + "]}",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_broken_text_is_refused(text: str) -> None:
    with pytest.raises(GrammarError):
        compile_schema(JsonSchema(text))


def test_a_long_chain_of_references_is_refused() -> None:
    defs = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(3000)} | {"d3000": {}}
    with pytest.raises(GrammarError, match="lead from one to the next"):
        compile_schema(JsonSchema(json.dumps({"$ref": "#/$defs/d0", "$defs": defs})))


def test_a_loop_of_references_is_refused() -> None:
    defs = {"a": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/b"}]}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}
    with pytest.raises(GrammarError, match="refers to itself"):
        compile_schema(JsonSchema(json.dumps({"$ref": "#/$defs/a", "$defs": defs})))


def test_too_many_combinations_are_refused() -> None:
    choices = [{"anyOf": [{"additionalProperties": {"minimum": i}}, {"required": [f"b{i}"]}]} for i in range(12)]
    with pytest.raises(GrammarError, match="combinations"):
        compile_schema(JsonSchema(json.dumps({"allOf": choices})))


def test_nesting_below_the_limit_compiles() -> None:
    text = '{"type":"array","items":' * 90 + "true" + "}" * 90
    compile_schema(JsonSchema(text))
    compile_schema(JsonSchema('{"const":' + "[" * 150 + "]" * 150 + "}"))
