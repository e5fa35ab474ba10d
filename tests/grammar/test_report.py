"""The report says of every keyword what becomes of it."""

import json
from typing import Any

import jsonschema

from rootform.grammar.report import Report, inspect_schema


def report(schema: Any) -> Report:
    return inspect_schema(json.dumps(schema), "compact")


GOOD = {
    "title": "Person",
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 2}, "born": {"type": "string", "format": "date"}},
    "required": ["name", "born"],
}


def test_what_is_enforced_and_the_shortest() -> None:
    found = report(GOOD)
    assert found.ok
    assert {(e.where, e.keyword) for e in found.enforced} == {
        ("#", "type"), ("#", "properties"), ("#", "required"),
        ("#/properties/name", "type"), ("#/properties/name", "minLength"),
        ("#/properties/born", "type"), ("#/properties/born", "format"),
    }  # fmt: skip
    assert [(i.where, i.keyword) for i in found.ignored] == [("#", "title")]
    assert found.warnings == ()
    assert found.shortest is not None
    jsonschema.validate(json.loads(found.shortest), GOOD)


def test_all_refusals_at_once_with_reason_and_rewrite() -> None:
    found = report(
        {
            "properties": {"a": {"contains": 3}, "b": {"type": "strin", "pattern": "("}, "c": {"$ref": "#/nowhere"}},
            "items": {"uniqueItems": 1, "multipleOf": "3"},
            "oneOf": [],
        }
    )
    assert not found.ok
    assert found.shortest is None
    assert {(r.where, r.keyword) for r in found.refused} == {
        ("#", "oneOf"), ("#/items", "uniqueItems"), ("#/items", "multipleOf"), ("#/properties/a", "contains"),
        ("#/properties/b", "type"), ("#/properties/b", "pattern"), ("#/properties/c", "$ref"),
    }  # fmt: skip
    assert all(refusal.reason and refusal.rewrite for refusal in found.refused)
    said = {(e.where, e.keyword) for e in found.enforced}
    assert said.isdisjoint((r.where, r.keyword) for r in found.refused)


def test_every_keyword_is_accounted_for_once() -> None:
    schema = {
        "type": "string",
        "minLenght": 3,
        "x-mine": 1,
        "format": "nice",
        "default": "a",
        "not": False,
        "then": {},
    }
    found = report(schema)
    accounted = [f.keyword for group in (found.enforced, found.ignored, found.refused) for f in group]
    assert sorted(accounted) == sorted(schema)


def test_slips_of_the_pen_and_unknown_formats_are_warned_of() -> None:
    found = report({"type": "object", "requried": ["a"], "properties": {"a": {"format": "zip"}}, "x-kind": 1})
    assert found.ok
    assert found.warnings == (
        "#: 'requried' is not a keyword of JSON Schema; did you mean 'required'?",
        "#/properties/a: the format 'zip' is not known and is not checked",
    )


def test_a_dialect_inside_of_a_resource_is_warned_of() -> None:
    """2020-12 core, 8.1.1: `$schema` must not stand in a schema that is not the root of a resource."""
    older = {"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer", "minimum": 3}
    found = report(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "properties": {"a": older, "b": {"$id": "x", **older}, "c": {"$ref": "x"}},
        }
    )
    assert found.ok
    assert found.warnings == ("#/properties/a: '$schema' is not heeded in a schema without an '$id' of its own",)


def test_parts_that_nothing_satisfies_are_warned_of() -> None:
    found = report({"type": "object", "properties": {"a": {"enum": ["x"], "minLength": 2}}})
    assert found.ok
    assert found.warnings == ("#/properties/a: nothing satisfies this",)


def test_text_that_is_no_schema() -> None:
    assert [r.where for r in inspect_schema("{", "compact").refused] == ["schema"]
    assert [r.where for r in inspect_schema("3", "compact").refused] == ["#"]
    assert [r.reason for r in report(False).refused] == ["nothing satisfies this schema"]


def test_keywords_beside_a_reference_in_an_old_draft() -> None:
    found = report({"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/a",
                    "maximum": 3, "definitions": {"a": {}}})  # fmt: skip
    assert found.ok
    assert found.warnings == ("#: 'maximum' beside $ref means nothing in the draft that $schema names",)
