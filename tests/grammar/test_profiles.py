"""What hosted APIs would refuse, rule by rule: a schema that keeps all rules of a profile, and one broken at a time."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from rootform.grammar.errors import GrammarError
from rootform.grammar.profiles import PROFILES, Finding, ProfileName, hosted_findings
from rootform.grammar.schema_walk import SchemaTree

CLOSED = {
    "type": "object",
    "title": "a schema that all three take",
    "properties": {
        "name": {"type": "string", "description": "of the person"},
        "born": {"type": "string", "format": "date"},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "home": {"$ref": "#/$defs/place"},
    },
    "required": ["name", "born", "kind", "either", "home"],
    "additionalProperties": False,
    "$defs": {
        "place": {
            "type": "object",
            "properties": {"tags": {"type": "array", "items": {"type": "string"}, "minItems": 1}},
            "required": ["tags"],
            "additionalProperties": False,
        }
    },
}


def found(schema: Any, name: ProfileName) -> list[Finding]:
    return list(hosted_findings(json.dumps(schema), name))


def told(schema: Any, name: ProfileName) -> list[tuple[str, str, str]]:
    return [(each.where, each.keyword, each.verdict) for each in found(schema, name)]


@pytest.mark.parametrize("name", PROFILES)
def test_a_schema_within_all_subsets_is_taken(name: ProfileName) -> None:
    assert found(CLOSED, name) == []


def changed(**properties: Any) -> dict[str, Any]:
    schema = deepcopy(CLOSED)
    schema["properties"] |= properties
    schema["required"] = list(schema["properties"])
    return schema


AT = "#/properties/x"
ONE = [
    ("openai", {"type": "string", "format": "uri"}, ("format", "undocumented")),
    ("openai", {"type": "string", "minLength": 2}, ("minLength", "undocumented")),
    ("openai", {"allOf": [{"type": "string"}]}, ("allOf", "refused")),
    ("openai", {"type": "string", "not": {"const": "a"}}, ("not", "refused")),
    ("openai", {"oneOf": [{"type": "string"}]}, ("oneOf", "undocumented")),
    ("openai", {"type": "object"}, ("additionalProperties", "refused")),
    ("openai", {"type": ["object", "null"], "additionalProperties": True}, ("additionalProperties", "refused")),
    ("gemini", {"type": "string", "maxLength": 2}, ("maxLength", "ignored")),
    ("gemini", {"type": "string", "format": "email"}, ("format", "undocumented")),
    ("gemini", {"oneOf": [{"type": "string"}]}, ("oneOf", "ignored")),
    ("gemini", {"enum": [None, "a"]}, ("enum", "undocumented")),
    ("gemini", {"$ref": "#/$defs/place", "title": "t"}, ("$ref", "refused")),
    ("gemini", {"type": "array", "items": {"$ref": "#"}}, None),
    ("anthropic", {"type": "integer", "minimum": 3}, ("minimum", "refused")),
    ("anthropic", {"type": "string", "maxLength": 3}, ("maxLength", "refused")),
    ("anthropic", {"type": "array", "minItems": 2}, ("minItems", "refused")),
    ("anthropic", {"type": "array", "maxItems": 2}, ("maxItems", "refused")),
    ("anthropic", {"type": "string", "format": "iri"}, ("format", "undocumented")),
    ("anthropic", {"type": "string", "pattern": r"^(?!a)"}, ("pattern", "refused")),
    ("anthropic", {"type": "string", "pattern": r"(a)\1"}, ("pattern", "refused")),
    ("anthropic", {"enum": [{"a": 1}]}, ("enum", "refused")),
    ("anthropic", {"$ref": "other.json"}, ("$ref", "refused")),
    ("anthropic", {"type": "string", "propertyNames": True}, ("propertyNames", "undocumented")),
]


@pytest.mark.parametrize(("name", "schema", "expected"), ONE)
def test_one_rule_broken(name: ProfileName, schema: Any, expected: tuple[str, str] | None) -> None:
    if expected is None:
        assert told(changed(x=schema), name) == [(f"{AT}/items", "$ref", "refused")]
    else:
        assert told(changed(x=schema), name) == [(AT, *expected)]
        assert all(each.reason for each in found(changed(x=schema), name))


def test_patterns_with_escaped_signs_are_plain() -> None:
    assert found(changed(x={"type": "string", "pattern": r"^\(\?=\\b\d"}), "anthropic") == []


def test_allof_may_not_hold_references_with_anthropic() -> None:
    schema = changed(x={"allOf": [{"$ref": "#/$defs/place"}]}, y={"allOf": [{"type": "string"}]})
    assert told(schema, "anthropic") == [(f"{AT}/allOf/0", "$ref", "refused")]


def test_recursion() -> None:
    schema = changed(kids={"type": "array", "items": {"$ref": "#"}})
    assert found(schema, "openai") == []
    assert told(schema, "anthropic") == [("#/properties/kids/items", "$ref", "refused")]
    schema["required"].remove("kids")
    assert told(schema, "gemini") == [("#/properties/kids/items", "$ref", "ignored")]


def test_the_root_is_an_object_with_openai() -> None:
    assert told({"type": "array", "items": {"type": "string"}}, "openai") == [("#", "type", "refused")]
    assert told({"anyOf": [CLOSED]}, "openai") == [("#", "anyOf", "refused")]


def test_every_property_is_required_with_openai() -> None:
    schema = deepcopy(CLOSED)
    schema["required"] = ["name"]
    (only,) = found(schema, "openai")
    assert (only.where, only.keyword) == ("#", "required")
    assert "'born', 'kind', 'either' and 1 more are not" in only.reason
    assert found(schema, "anthropic") == []


def closed(properties: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    names = list(properties) if required else []
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def nested(levels: int) -> dict[str, Any]:
    schema = closed({"a": {"type": "string"}})
    for _ in range(levels - 1):
        schema = closed({"a": {"type": "array", "items": schema}})
    return schema


LIMITS = [
    ("openai", nested(10), nested(11), "objects nest 11 deep"),
    (
        "openai",
        closed({f"p{i}": {"type": "null"} for i in range(5000)}),
        closed({f"p{i}": {"type": "null"} for i in range(5001)}),
        "5001 properties",
    ),
    (
        "openai",
        closed({"a": {"enum": [f"{i}" for i in range(1000)]}}),
        closed({"a": {"enum": [f"{i}" for i in range(1001)]}}),
        "1001 values of enums",
    ),
    (
        "openai",
        closed({"a": {"enum": [f"{i:060}" for i in range(250)]}}),
        closed({"a": {"enum": [f"{i:060}" for i in range(251)]}}),
        "251 values have 15060 characters",
    ),
    ("openai", closed({"a": {"const": "x" * 119_999}}), closed({"a": {"const": "x" * 120_000}}), "120001 characters"),
    (
        "anthropic",
        closed({f"p{i}": {"type": "null"} for i in range(24)}, required=False),
        closed({f"p{i}": {"type": "null"} for i in range(25)}, required=False),
        "25 properties are not required",
    ),
    (
        "anthropic",
        closed({f"p{i}": {"type": ["null", "string"]} for i in range(16)}),
        closed({f"p{i}": {"type": ["null", "string"]} for i in range(17)}),
        "17 properties use anyOf or a list of types",
    ),
]


@pytest.mark.parametrize(("name", "within", "beyond", "reason"), LIMITS, ids=[limit[3] for limit in LIMITS])
def test_limits(name: ProfileName, within: Any, beyond: Any, reason: str) -> None:
    assert found(within, name) == []
    (only,) = found(beyond, name)
    assert only.verdict == "refused"
    assert reason in only.reason


def test_levels_go_through_references_and_count_a_schema_that_holds_itself_once() -> None:
    node = closed({"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}})
    tree = SchemaTree(closed({"list": {"$ref": "#/$defs/node"}}) | {"$defs": {"node": node, "unused": nested(9)}})
    assert tree.levels_of_objects() == 2
    assert tree.recursive == ["#/$defs/node/properties/next/anyOf/0"]


def test_a_long_chain_of_references_is_followed() -> None:
    links = {f"d{i}": closed({"x": {"$ref": f"#/$defs/d{i + 1}"}}) for i in range(3000)}
    assert SchemaTree({"$ref": "#/$defs/d0", "$defs": links}).levels_of_objects() == 3000


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(GrammarError, match="not JSON"):
        hosted_findings("{", "openai")
    assert hosted_findings("true", "anthropic") == ()
