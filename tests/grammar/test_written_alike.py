"""Schemas that are written alike are one, wherever that is all there is to what they mean."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from rootform.grammar.constraints import JsonSchema
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.report import inspect_schema
from rootform.grammar.schema_alike import Written
from rootform.grammar.schema_compile import compile_schema
from rootform.grammar.schema_document import Document
from rootform.grammar.schema_rules import Either, Literal, Same, Value


def written(properties: dict[str, Any], **more: Any) -> Written:
    return Written(Document(json.dumps({"properties": properties, **more})))


def at(name: str, *, negated: bool = False) -> Literal:
    return Literal(f"#/properties/{name}", negated)


def test_the_first_of_those_written_alike_stands_for_all() -> None:
    inner = {"type": "object", "properties": {"x": {}, "y": {}}}
    other = {"type": "object", "properties": {"y": {}, "x": {}}}
    alike = written({"a": inner, "b": inner, "c": other, "d": {"const": 1}, "e": {"const": 1.0}}).alike
    assert alike((at("a"), at("b"), at("c"))) == (at("a"), at("a"), at("c")), "members are written in their order"
    assert alike((at("b", negated=True),)) == (at("a", negated=True),)
    assert alike((Either(((at("b"),), (at("c"), Same(Value(1))))),)) == (
        Either(((at("a"),), (at("c"), Same(Value(1))))),
    )
    assert alike((at("d"), at("e"))) == (at("d"), at("e"))
    assert alike(()) == ()


@pytest.mark.parametrize("more", [{"$defs": {"f": {"$id": "https://a.example/f"}}}, {"$dynamicAnchor": "here"}])
def test_where_a_name_means_something_else_elsewhere_nothing_is_one(more: dict[str, Any]) -> None:
    inner = {"$ref": "#"}
    conj = (at("a"), at("b"))
    assert written({"a": inner, "b": inner}).alike(conj) == (at("a"), at("a"))
    assert written({"a": inner, "b": inner}, **more).alike(conj) == conj


def test_schemas_reached_in_a_scope_are_themselves() -> None:
    conj = (Literal("#/properties/a"), Literal("#/properties/b", scope=("#",)))
    assert written({"a": {}, "b": {}}).alike(conj) == conj


def test_many_counts_of_what_is_written_alike() -> None:
    """An element counts towards all of them or towards none: two kinds of elements, not two to the tenth."""
    element = {"type": "object", "properties": {"v": {"type": "integer"}}, "required": ["v"]}
    schema = {"type": "array", "allOf": [{"contains": element, "minContains": n % 3} for n in range(10)]}
    compiled = compile_schema(JsonSchema(json.dumps(schema), "canonical"))
    assert inspect_schema(json.dumps(schema)).ok
    validator = Draft202012Validator(schema)
    for length in range(5):
        for picked in itertools.product([{"v": 1}, {"v": "x"}, 2], repeat=length):
            instance = list(picked)
            assert POOL.fullmatch(compiled, json.dumps(instance).encode()) == validator.is_valid(instance), instance


def test_what_is_looked_at_and_what_is_compiled_are_of_one_opinion() -> None:
    """Patterns of one schema are one kind of names when a schema is inspected, too, and each is told of."""
    patterns = {f"n{i}": {"type": "string", "minLength": 1} for i in range(7)}
    schema = json.dumps({"type": "object", "patternProperties": patterns, "additionalProperties": False})
    assert compile_schema(JsonSchema(schema)) != EMPTY
    report = inspect_schema(schema)
    assert report.ok
    assert {each.where for each in report.enforced} >= {f"#/patternProperties/n{i}" for i in range(7)}
