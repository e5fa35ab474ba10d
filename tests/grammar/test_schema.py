"""Each keyword by examples: what is accepted, what is not."""

import itertools
import json
from typing import Any

import pytest

from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.schema_compile import compile_json_object, compile_schema


def accepts(expression: int, text: str) -> bool:
    return POOL.fullmatch(expression, text.encode())


CASES: list[tuple[Any, list[str], list[str]]] = [
    (True, ["1", "null", '{"a":[{}]}', '"\\u00e9"', "-0.5e+3"], ["", "nul", "[1,]", "01", '"\n"', " 1", "{a:1}"]),
    ({"type": "string"}, ['""', '"a\\n"', '"\\/"'], ["1", '"', '"\\x"']),
    ({"type": ["integer", "null"]}, ["3", "-0", "null"], ["3.0", "3e1", "true"]),
    ({"type": "boolean"}, ["true", "false"], ["null", "0"]),
    ({"minLength": 2, "maxLength": 3}, ['"ab"', '"\\ud83d\\ude00a"', '"😀é"', "7", "[]"], ['"a"', '"abcd"', '"😀"']),
    ({"type": "string", "pattern": "b.$"}, ['"abc"', '"b\\u0063"', '"b\\""'], ['"b"', '"bcd"']),
    ({"type": "string", "pattern": "^a*$", "maxLength": 2}, ['""', '"aa"'], ['"aaa"', '"b"']),
    ({"type": "integer", "minimum": -1, "exclusiveMaximum": 11}, ["-1", "0", "10"], ["-2", "11", "010"]),
    ({"type": "number", "minimum": 0.25}, ["0.25", "0.250", "1", "100.5"], ["0.249999", "0", "-1", "1e3"]),
    ({"minimum": 5, "exclusiveMinimum": True}, ["5.1", '"a"'], ["5", "5.0"]),
    ({"type": "integer", "multipleOf": 7}, ["0", "7", "-14", "7007"], ["1", "8", "7.0"]),
    ({"type": "number", "multipleOf": 0.25}, ["0.5", "1.75", "3", "2.500"], ["0.3", "0.125"]),
    ({"enum": ["a", 1, None, [1, {"b": 2}]]}, ['"a"', "1", "null", '[1,{"b":2}]'], ['"b"', "true", "[1]"]),
    ({"const": 1.0}, ["1", "1.0"], ["2", "true", "1.00", "1e0"]),
    ({"enum": [-2.0, 3, [4.0]]}, ["-2", "-2.0", "3", "[4]", "[4.0]"], ["2", "3.0", "4", "[-4.0]"]),
    ({"type": "integer", "enum": [2.0, 2.5]}, ["2", "2.0"], ["2.5"]),
    ({"enum": ["a", "abc", 3], "minLength": 2}, ['"abc"', "3"], ['"a"']),
    ({"enum": [1, 2, 3], "const": 2}, ["2"], ["1", "3"]),
    ({"type": "array", "items": {"type": "integer"}}, ["[]", "[1]", "[1,2]"], ['["a"]', "[1,]", "[,1]"]),
    ({"type": "array", "items": True, "minItems": 1, "maxItems": 2}, ["[1]", "[1,[]]"], ["[]", "[1,2,3]"]),
    ({"prefixItems": [{"type": "null"}, True], "items": {"const": 1}}, ["[]", "[null,2,1,1]"], ["[1]", "[null,2,3]"]),
    ({"type": "array", "prefixItems": [True], "items": False, "minItems": 1}, ["[1]"], ["[]", "[1,2]"]),
    ({"items": [{"type": "null"}], "additionalItems": False}, ["[null]", "[]"], ["[1]", "[null,1]"]),
    ({"type": "array", "items": False}, ["[]"], ["[1]"]),
    ({"type": "object", "additionalProperties": False}, ["{}"], ['{"a":1}']),
    ({"type": "object", "required": ["a"]}, ['{"a":1}', '{"a":1,"b":2}'], ["{}", '{"b":2}']),
    ({"type": "object", "minProperties": 1}, ['{"x":1}'], ["{}"]),
    ({"type": "object", "maxProperties": 1}, ["{}", '{"x":1}'], ['{"x":1,"y":2}']),
    ({"type": "object", "propertyNames": {"maxLength": 1}}, ['{"x":1}'], ['{"xy":1}']),
    ({"anyOf": [{"type": "null"}, {"minimum": 3}], "type": ["null", "number"]}, ["null", "3"], ["2", '"a"']),
    ({"allOf": [{"minimum": 3}, {"maximum": 5}], "type": "integer"}, ["3", "5"], ["2", "6"]),
    ({"oneOf": [{"type": "null"}, {"type": "integer"}]}, ["null", "3"], ['"a"']),
    ({"type": "string", "nullable": True}, ['"a"'], ["null", "1"]),
    ({"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": {"type": "null"}}}, ["null"], ["1"]),
    ({"$ref": "#x", "$defs": {"a": {"$anchor": "x", "type": "null"}}}, ["null"], ["1"]),
    ({"$ref": "#/$defs/a", "minimum": 2, "$defs": {"a": {"type": "integer"}}}, ["2"], ["1", "2.5"]),
    ({"type": "object", "unevaluatedProperties": False, "properties": {"a": True}}, ['{"a":1}'], ['{"b":1}']),
    ({"type": "array", "uniqueItems": False}, ["[1,1]"], ["1"]),
]


@pytest.mark.parametrize(("schema", "good", "bad"), CASES, ids=[json.dumps(case[0]) for case in CASES])
def test_examples(schema: Any, good: list[str], bad: list[str]) -> None:
    expression = compile_schema(JsonSchema(json.dumps(schema)))
    assert [text for text in good if not accepts(expression, text)] == []
    assert [text for text in bad if accepts(expression, text)] == []


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array"}},
    "required": ["name", "id"],
    "additionalProperties": {"type": "boolean"},
}


def test_members_follow_the_schema_then_what_is_only_required_then_others() -> None:
    expression = compile_schema(JsonSchema(json.dumps(PERSON)))
    assert accepts(expression, '{"name":"x","id":true}')
    assert accepts(expression, '{"name":"x","age":3,"tags":[],"id":true,"more":false}')
    assert not accepts(expression, '{"age":3,"name":"x","id":true}')
    assert not accepts(expression, '{"name":"x","age":3}')
    assert not accepts(expression, '{"name":"x","id":1}')
    assert not accepts(expression, '{"name":"x","id":true,"more":1}')


@pytest.mark.parametrize("spelling", ['"name"', '"n\\u0061me"', '"\\u006E\\u0061\\u006d\\u0065"'])
def test_other_keys_are_not_listed_ones_in_any_spelling(spelling: str) -> None:
    expression = compile_schema(JsonSchema(json.dumps(PERSON)))
    assert not accepts(expression, '{"name":"x","id":true,' + spelling + ":true}")
    assert accepts(expression, '{"name":"x","id":true,' + spelling[:-1] + 's":true}')


def test_every_choice_of_optional_members_has_its_commas_right() -> None:
    names = "abcde"
    schema = {"properties": {n: {"type": "integer"} for n in names}, "required": ["c"], "additionalProperties": False}
    expression = compile_schema(JsonSchema(json.dumps(schema | {"type": "object"})))
    for size in range(6):
        for chosen in itertools.combinations(names, size):
            text = json.dumps(dict.fromkeys(chosen, 1), separators=(",", ":"))
            assert accepts(expression, text) == ("c" in chosen), text
    assert not accepts(expression, '{,"c":1}')
    assert not accepts(expression, '{"c":1,}')


def test_counts_of_members_of_a_closed_object() -> None:
    schema = {"type": "object", "properties": dict.fromkeys("abcd", True), "additionalProperties": False}
    expression = compile_schema(JsonSchema(json.dumps(schema | {"minProperties": 2, "maxProperties": 3})))
    for size in range(5):
        for chosen in itertools.combinations("abcd", size):
            text = json.dumps(dict.fromkeys(chosen, 1), separators=(",", ":"))
            assert accepts(expression, text) == (2 <= size <= 3), text


def test_names_matching_patterns_have_all_their_schemas() -> None:
    schema = {
        "type": "object",
        "properties": {"ab": {"minimum": 1}},
        "patternProperties": {"^a": {"type": "integer"}, "b$": {"maximum": 9}},
        "additionalProperties": False,
    }
    expression = compile_schema(JsonSchema(json.dumps(schema)))
    good = ['{"ab":5}', '{"ax":50}', '{"xb":"s"}', '{"axb":9}', '{"\\u0061x":1}', '{"ab":1,"ax":0}']
    bad = [
        '{"ab":0}',
        '{"ab":10}',
        '{"ab":1.5}',
        '{"ax":"s"}',
        '{"axb":10}',
        '{"x":1}',
        '{"xb":10}',
        '{"\\u0061x":"s"}',
    ]
    assert [text for text in good if not accepts(expression, text)] == []
    assert [text for text in bad if accepts(expression, text)] == []


def test_objects_of_all_of_meet_member_by_member() -> None:
    schema = {
        "allOf": [
            {"properties": {"a": {"type": "integer"}, "b": {"minimum": 2}}, "required": ["b"]},
            {"properties": {"b": {"type": "integer"}}, "additionalProperties": {"maximum": 10}},
        ],
        "type": "object",
    }
    expression = compile_schema(JsonSchema(json.dumps(schema)))
    good = ['{"b":2}', '{"a":10,"b":50}', '{"b":2,"c":10}', '{"b":2,"c":"x"}']
    bad = ['{"a":1}', '{"b":1}', '{"b":2.5}', '{"a":11,"b":2}', '{"b":2,"c":11}']
    assert [text for text in good if not accepts(expression, text)] == []
    assert [text for text in bad if accepts(expression, text)] == []


TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["value", "children"],
            "additionalProperties": False,
        }
    },
}


def test_recursion_has_no_limit() -> None:
    expression = compile_schema(JsonSchema(json.dumps(TREE)))
    deep = '{"value":1,"children":[' * 40 + "]}" * 40
    assert accepts(expression, deep)
    assert not accepts(expression, deep.replace("1", '"a"', 1))
    assert not accepts(expression, deep[:-2])
    assert POOL.shortest(expression) == b'{"value":0,"children":[]}'
    for byte in deep.encode():
        expression = POOL.derivative(expression, byte)  # leaves out what it takes to be empty
    assert POOL.nullable(expression)


def test_two_recursive_schemas_at_once() -> None:
    schema = {
        "allOf": [{"$ref": "#/$defs/numbers"}, {"$ref": "#/$defs/short"}],
        "$defs": {
            "numbers": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#/$defs/numbers"}}]},
            "short": {"maxItems": 2, "maximum": 5, "items": {"$ref": "#/$defs/short"}},
        },
    }
    expression = compile_schema(JsonSchema(json.dumps(schema)))
    good, bad = ["5", "[]", "[[1,2],[[5]]]"], ["6", "[1,2,3]", "[[[6]]]", '["a"]', "[[1,2,3]]"]
    assert [text for text in good if not accepts(expression, text)] == []
    assert [text for text in bad if accepts(expression, text)] == []


SPACED = {"type": "object", "properties": {"a": {"type": "array"}, "b": {"type": "object"}}}
VALUE = {"a": [1, {}, [], [2]], "b": {"c": None, "d": {"e": []}}}


@pytest.mark.parametrize("indent", [None, 1, 2, 4, "\t"])
def test_flexible_spacing_takes_what_json_dumps_writes(indent: int | str | None) -> None:
    flexible, compact = (compile_schema(JsonSchema(json.dumps(SPACED), spacing)) for spacing in ("flexible", "compact"))
    text = json.dumps(VALUE, indent=indent)
    assert accepts(flexible, text)
    assert accepts(flexible, text.replace("\n", "\r\n"))
    assert not accepts(compact, text)
    assert not accepts(flexible, " " + text)
    assert not accepts(flexible, text + "\n")


def test_flexible_spacing_is_bounded_and_outside_strings_and_numbers() -> None:
    expression = compile_schema(JsonSchema(json.dumps(SPACED), "flexible"))
    assert accepts(expression, '{ "a" : [ 1 , 2 ] , "b" : { } }')
    assert accepts(expression, "{\n" + " " * 64 + '"a":[]}')
    assert not accepts(expression, "{\n" + " " * 65 + '"a":[]}')
    assert not accepts(expression, '{\n\n"a":[]}')
    assert not accepts(expression, '{"a ":1}'[:3] + '\n":[]}')
    assert not accepts(expression, '{"a":[1 2]}')


def test_any_object() -> None:
    expression = compile_json_object("compact")
    assert accepts(expression, '{"a":{"b":[1,"x",null]}}')
    assert not accepts(expression, "[]")
    assert accepts(compile_json_object("flexible"), json.dumps({"a": {"b": [1]}}, indent=2))


def test_equal_parts_of_different_schemas_are_the_same_expression() -> None:
    item = {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": False}
    alone = compile_schema(JsonSchema(json.dumps(item)))
    titled = compile_schema(JsonSchema(json.dumps({"title": "other", **item})))
    assert alone == titled


def test_old_drafts_ignore_what_stands_beside_a_reference() -> None:
    schema = {"properties": {"a": {"$ref": "#/definitions/i", "maximum": 1}}, "definitions": {"i": {"type": "integer"}}}
    draft7 = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", **schema}
    assert accepts(compile_schema(JsonSchema(json.dumps(draft7))), '{"a":2}')
    assert not accepts(compile_schema(JsonSchema(json.dumps({"type": "object", **schema}))), '{"a":2}')


def test_identified_schemas_are_found_by_their_names() -> None:
    schema = {
        "$id": "https://example.com/root.json",
        "type": "array",
        "prefixItems": [{"$ref": "item.json"}, {"$ref": "item.json#/$defs/deep"}, {"$ref": "root.json#/$defs/outer"}],
        "$defs": {
            "outer": {"type": "null"},
            "inner": {"$id": "item.json", "type": "integer", "$defs": {"deep": {"type": "string"}}},
        },
    }
    expression = compile_schema(JsonSchema(json.dumps(schema)))
    assert accepts(expression, '[1,"a",null]')
    assert not accepts(expression, '["a",1,null]')


def test_hundreds_of_optional_members() -> None:
    names = [f"member_{i}" for i in range(300)]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    expression = compile_schema(JsonSchema(json.dumps(schema)))
    assert accepts(expression, '{"member_3":"","member_299":"x","else":1}')
    assert not accepts(expression, '{"member_299":"","member_3":"x"}')


def test_no_finite_value_is_refused() -> None:
    endless = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    with pytest.raises(GrammarError, match="nothing satisfies this schema"):
        compile_schema(JsonSchema(json.dumps(endless)))
