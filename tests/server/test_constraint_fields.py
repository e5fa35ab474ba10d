"""Every kind of constraint from a program's call over the wire into the server's call, and what contradicts itself."""

from __future__ import annotations

import json

import msgspec
import pytest

from rootform.engine.types import Call, RootformError
from rootform.grammar.constraints import (
    Choice,
    Constraint,
    Grammar,
    JsonObject,
    JsonSchema,
    Regex,
    StructuralTag,
)
from rootform.programs.http_wire import request_of
from rootform.programs.parts import gen
from rootform.server.openai_calls import constraint_field, read_constraint
from rootform.server.openai_types import CompletionRequest

TAG = '{"type":"structural_tag","format":{"type":"any_text","excludes":["x"]}}'
OLDER = (
    '{"type":"structural_tag","structures":[{"begin":"<a>","schema":{"type":"integer"},"end":"</a>"}],'
    '"triggers":["<a"]}'
)


def asked(**fields: object) -> CompletionRequest:
    return msgspec.json.decode(msgspec.json.encode({"prompt": "x", **fields}), type=CompletionRequest)


@pytest.mark.parametrize(
    ("constraint", "field"),
    [
        (Regex("a+"), "regex"),
        (Regex("a+", "outlines"), "regex"),
        (Choice(("a", "b"), "outlines"), "choice"),
        (JsonObject("flexible"), "response_format"),
        (JsonSchema('{"type":"integer"}'), "response_format"),
        (Grammar('root ::= "a"'), "grammar"),
        (Grammar('a: "a"', "lark", "a", "flexible"), "grammar"),
        (StructuralTag(TAG), "response_format"),
        (StructuralTag(OLDER, "flexible"), "response_format"),
    ],
)
def test_what_a_program_asks_is_what_the_server_reads(constraint: Constraint, field: str) -> None:
    path, body = request_of(Call(prompt="x", constraint=constraint), "m")
    request = msgspec.json.decode(body, type=CompletionRequest)
    assert path == "/v1/completions"
    assert read_constraint(request) == constraint
    assert constraint_field(request) == field


def test_a_structural_tag_need_not_say_its_type() -> None:
    _, body = request_of(Call(prompt="x", constraint=StructuralTag('{"format":{"type":"any_text"}}')), "m")
    read = read_constraint(msgspec.json.decode(body, type=CompletionRequest))
    assert isinstance(read, StructuralTag)
    assert json.loads(read.tag) == {"type": "structural_tag", "format": {"type": "any_text"}}
    with pytest.raises(RootformError, match="no JSON object"):
        request_of(Call(prompt="x", constraint=StructuralTag("[]")), "m")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"grammar": "x", "regex": "a"}, "grammar"),
        ({"backend": "outlines"}, "backend"),
        ({"backend": "outlines", "grammar": "x"}, "backend"),
        ({"grammar_syntax": "lark"}, "grammar_syntax"),
        ({"grammar_start": "x", "regex": "a"}, "grammar_start"),
        ({"spacing": "flexible", "regex": "a"}, "spacing"),
        ({"escapes": "minimal", "grammar": "x"}, "escapes"),
        ({"lenient": True, "response_format": {"type": "json_object"}}, "lenient"),
        ({"response_format": {"type": "json_object", "format": {}}}, "response_format.format"),
        ({"response_format": {"type": "structural_tag", "json_schema": {"schema": {}}}}, "response_format.json_schema"),
    ],
)
def test_fields_that_go_with_nothing_are_refused_by_name(fields: dict[str, object], param: str) -> None:
    with pytest.raises(RootformError) as caught:
        read_constraint(asked(**fields))
    assert caught.value.param == param


def test_gen_takes_grammars_and_tags() -> None:
    assert gen("x", grammar='root ::= "a"').constraint == Grammar('root ::= "a"')
    assert gen("x", grammar=Grammar("a", start="b")).constraint == Grammar("a", start="b")
    assert gen("x", structural_tag=json.loads(TAG)).constraint == StructuralTag(TAG)
    assert gen("x", choices=["a"], backend="outlines").constraint == Choice(("a",), "outlines")
    with pytest.raises(RootformError, match="give only one of regex and grammar"):
        gen("x", grammar="a", regex="b")
    with pytest.raises(RootformError, match="backend goes with"):
        gen("x", backend="outlines")
