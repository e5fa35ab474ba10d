"""Lenient schemas: what is left out is told, and each value is held against the whole schema."""

from __future__ import annotations

import gzip
import itertools
import json
import queue
import re
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rootform import assistant, gen, program, user
from rootform.engine import lenience
from rootform.engine.compiling import Compilers, GrammarLimits
from rootform.engine.lenience import dropped_from, judge
from rootform.engine.types import Lenience, RootformError
from rootform.extract.asking import Options
from rootform.extract.job import Settings, run_job
from rootform.extract.progress import NoProgress
from rootform.grammar.constraints import Draft, JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.vocab import Vocabulary
from rootform.grammar.work import Limit, within

TWICE = r"^(a|bb)-\1$"
SCHEMA = {
    "type": "object",
    "properties": {"x": {"type": "string", "pattern": TWICE, "maxLength": 4}},
    "required": ["x"],
    "additionalProperties": False,
}


VOCABULARY = Vocabulary([bytes([byte]) for byte in range(256)] + [b""], [256], 257)


def lenient(schema: Any, **options: Any) -> JsonSchema:
    return JsonSchema(json.dumps(schema), lenient=True, **options)


# -- judging ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "text", "reason"),
    [
        (SCHEMA, '{"x":"a-a"}', ""),
        (SCHEMA, '{"x":"a-bb"}', "/x is not as #/properties/x/pattern asks"),
        (SCHEMA, "{}", "the value is not as #/required asks"),
        (SCHEMA, '{"x":', "is not whole JSON"),
        ({"pattern": TWICE, "multipleOf": 0.1}, "0.3", ""),
        ({"pattern": TWICE, "multipleOf": 0.1}, "0.35", "the value is not as #/multipleOf asks"),
        ({"pattern": TWICE, "type": ["integer", "string"]}, "1.0", ""),
        ({"pattern": TWICE, "type": "string", "nullable": True}, "null", "the value is not as #/type asks"),
        ({"pattern": TWICE, "format": "date"}, '"a-a"', "the value is not as #/format asks"),
        (
            {"items": {"pattern": TWICE}, "contains": {"pattern": r"^\p{Lu}"}},
            '["É-É"]',
            "/0 is not as #/items/pattern asks",
        ),
        ({"patternProperties": {TWICE: False, r"\p{Lu}": True}, "additionalProperties": False}, '{"É":1}', ""),
        ({"patternProperties": {TWICE: False}}, '{"a-a":1}', "the value is not as #/patternProperties asks"),
        (
            {"pattern": TWICE, "minimum": 2, "exclusiveMinimum": True, "type": ["string", "number"]},
            "1.5",
            "exclusiveMinimum",
        ),
        (
            {"items": [{"pattern": TWICE}], "additionalItems": {"type": "null"}},
            '["a-a",1]',
            "/1 is not as #/items/type",
        ),
        ({"properties": {"a": {"pattern": TWICE}}, "dependencies": {"a": ["b"]}}, '{"a":1}', "#/dependencies asks"),
        ({"type": "string", "pattern": 3}, '"a"', "cannot be checked: TypeError"),
        ({"type": "string", "pattern": "("}, '"a"', "cannot be checked: the pattern '(' cannot be read"),
        ({"pattern": TWICE, "$ref": "#/nowhere"}, '"a-a"', "cannot be checked: "),
        ({"type": "string", "pattern": r"^(a|aa)+\1[!?]$"}, '"%s"' % ("a" * 60 + "b"), "takes too long"),
    ],
)
def test_values_are_held_against_the_whole_schema(schema: Any, text: str, reason: str) -> None:
    found = judge(lenient(schema), text)
    assert found.dropped
    assert found.valid == (reason == "")
    assert reason in found.reason


def test_what_is_left_out_is_told_with_its_place() -> None:
    (dropped,) = dropped_from(lenient(SCHEMA))
    assert (dropped.where, dropped.keyword) == ("#/properties/x", "pattern")
    assert "back-references are not regular" in dropped.reason
    assert judge(lenient({"type": "string"}), '"a"').dropped == ()
    with pytest.raises(GrammarError, match="nothing satisfies"):
        dropped_from(lenient({"allOf": [{"type": "string"}, {"type": "null"}]}))


def test_verbatim_values_stand_in_the_document_or_are_left_out_without_one() -> None:
    schema = {"type": "string", "pattern": TWICE, "x-rootform": {"verbatim": True}}
    assert judge(lenient(schema, document="see a-a."), '"a-a"').valid
    assert not judge(lenient(schema, document="see nothing"), '"a-a"').valid
    assert [each.keyword for each in dropped_from(lenient(schema))] == ["pattern", "x-rootform"]


def test_drafts_and_given_documents_are_minded() -> None:
    schema = {"$ref": "urn:b", "maxLength": 1}
    documents = (("urn:b", json.dumps({"pattern": TWICE})),)
    assert judge(lenient(schema, draft="7", documents=documents), '"a-a"').valid
    assert not judge(lenient(schema, documents=documents), '"a-a"').valid
    other = (("urn:b", '{"$schema": "http://json-schema.org/draft-07/schema#"}'),)
    assert "several drafts" in judge(lenient({"$ref": "urn:b", "pattern": TWICE}, documents=other), '"a-a"').reason


def test_the_draft_of_a_schema_is_said_where_it_begins() -> None:
    inside = {"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": 1, "pattern": TWICE}
    assert judge(lenient({"items": inside}), "[2]").valid
    assert not judge(lenient({"items": inside}), "[1]").valid
    assert "several drafts" in judge(lenient({"items": inside | {"$id": "urn:c"}}), "[1]").reason


def exploding() -> JsonSchema:
    names = [f"d{i}" for i in range(24)]
    defs = {a: {"allOf": [{"$ref": f"#/$defs/{b}"}] * 2} for a, b in itertools.pairwise(names)}
    schema = {"$ref": "#/$defs/d0", "pattern": TWICE, "$defs": defs | {"d23": {"maxLength": 9}}}
    return lenient(schema)


def test_checking_keeps_to_its_limit() -> None:
    with within(Limit(0.3)), pytest.raises(GrammarError, match=r"more than 0\.3 s of work"):
        judge(exploding(), '"a-a"')


@pytest.mark.parametrize("closed", [False, True])
def test_a_check_that_takes_too_long_says_so_and_none_is_forgotten(closed: bool) -> None:
    compilers = Compilers(VOCABULARY, GrammarLimits(compile_seconds=0.3))
    dropped_from(exploding())
    answers: queue.Queue[Lenience | BaseException] = queue.Queue()
    if closed:
        compilers.close()
    compilers.judge(exploding(), '"a-a"', answers.put)
    answer = answers.get(timeout=60)
    compilers.close()
    if closed:
        assert isinstance(answer, CancelledError)
    else:
        assert isinstance(answer, Lenience)
        assert not answer.valid
        assert re.search(r"cannot be checked: .* more than 0\.3 s", answer.reason)


REAL = Path(__file__).parents[2] / "../shared/maskbench/public.jsonl.gz"


@pytest.mark.skipif(not REAL.exists(), reason="no copy of MaskBench's schemas beside the repository")
def test_real_values_are_judged_right() -> None:
    with gzip.open(REAL, "rt") as lines:
        for line in itertools.islice(lines, 0, 900, 10):
            case = json.loads(line)
            for test in case["tests"][:3]:
                why = lenience._why_wrong(lenient(case["schema"]), lenience._value(json.dumps(test["data"])), True)
                assert (why == "") == test["valid"], (case["name"], why)


SUITE = Path(__file__).parents[2] / "../shared/json-schema-test-suite.json.gz"
DRAFTS: dict[str, Draft] = {"draft2020-12": "2020-12", "draft7": "7"}
OF_OTHER_DRAFTS = "several drafts"


@pytest.mark.skipif(not SUITE.exists(), reason="no copy of the JSON-Schema-Test-Suite beside the repository")
@pytest.mark.parametrize("draft", sorted(DRAFTS))
def test_the_official_suite_is_judged_right(draft: str) -> None:
    files = json.loads(gzip.decompress(SUITE.read_bytes()))["files"]
    base = "http://localhost:1234/"
    remotes = tuple(
        (base + path.removeprefix("remotes/"), json.dumps(text))
        for path, text in files.items()
        if path.startswith(f"remotes/{draft}/") or path.count("/") == 1
    )
    wrong, judged, unjudged = [], 0, 0
    for path, groups in files.items():
        if path.rpartition("/")[0] != f"tests/{draft}" or path.endswith(("format.json", "content.json")):
            continue
        for group in groups[::3]:
            text = json.dumps(group["schema"])
            said = None if "$schema" in text else DRAFTS[draft]
            constraint = JsonSchema(text, draft=said, documents=remotes if base in text else (), lenient=True)
            for test in group["tests"]:
                try:
                    valid = not lenience._why_wrong(constraint, lenience._value(json.dumps(test["data"])), True)
                except (lenience._Unjudged, GrammarError):
                    unjudged += 1
                    continue
                judged += 1
                if valid != test["valid"]:
                    wrong.append((path, group["description"], test["description"]))
    assert wrong == []
    assert judged > 250
    assert unjudged < 0.03 * judged


# -- through the rooms ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(tiny_model, device):
    with device.engine(tiny_model) as engine:
        yield engine


def test_generate_refuses_unless_it_is_lenient(engine) -> None:
    with pytest.raises(RootformError, match="back-references"):
        engine.generate("x", schema=SCHEMA, max_tokens=40)
    answer = engine.generate("x", schema=SCHEMA, lenient=True, max_tokens=40)
    assert answer.lenience is not None
    assert [(each.where, each.keyword) for each in answer.lenience.dropped] == [("#/properties/x", "pattern")]
    assert answer.lenience.valid == (json.loads(answer.text)["x"] in ("a-a", "bb-bb"))
    assert engine.generate("x", schema={"const": 1}, max_tokens=40).lenience is None
    certain = engine.generate("x", schema={"const": "a-a", "pattern": TWICE}, lenient=True, max_tokens=40)
    assert certain.lenience.valid


OPTIONS = {"escapes": "minimal", "draft": "7", "property_order": "any", "spacing": "canonical", "lenient": True}
OPTIONS |= {"documents": {"urn:b": {"enum": ["a-a", "no"], "pattern": TWICE}}}


@program
def ask(s):
    s += user("Say")
    s += assistant(gen("it", schema={"$ref": "urn:b", "type": "null"}, max_tokens=40, **OPTIONS))


def test_programs_and_the_server_tell_the_same(engine, over_http) -> None:
    chat = [{"role": "user", "content": "Say"}]
    straight = engine.generate(chat, schema={"$ref": "urn:b", "type": "null"}, max_tokens=40, **OPTIONS)
    for client in (engine, over_http):
        state = ask.run(client).state
        assert state["it"] == json.loads(straight.text)
        assert state.completion("it").lenience == straight.lenience
    assert straight.lenience.valid == (straight.text == '"a-a"')


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regex": "a", "lenient": True}, "lenient is about a JSON Schema"),
        ({"json_object": True, "draft": "7"}, "draft is about a JSON Schema"),
        ({"grammar": 'root ::= "a"', "documents": {"a": True}}, "documents is about a JSON Schema"),
        ({"property_order": "any"}, "property_order is about a JSON Schema"),
        ({"grammar": 'root ::= "a"', "escapes": "any"}, "escapes goes with schema or json_object"),
        ({"regex": "a", "spacing": "compact"}, "spacing is about JSON"),
    ],
)
def test_options_that_mean_nothing_are_refused_everywhere(engine, options, message) -> None:
    with pytest.raises(RootformError, match=message):
        engine.generate("x", **options)
    with pytest.raises(RootformError, match=message):
        gen("x", **options)


def test_rows_that_are_not_valid_are_errors_that_keep_their_text(engine, over_http, tmp_path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "prompt.txt").write_text("Read: {document}")
    for name, client in (("here", engine), ("there", over_http)):
        lent = SimpleNamespace(info=client.info, submit=client.submit, close=lambda: None)
        for word in ("a-a", "b-a"):
            (tmp_path / "s.json").write_text(json.dumps({"const": word, "$ref": "urn:b"}))
            output = tmp_path / f"{name}-{word}.jsonl"
            given = {"input": str(tmp_path / "in.jsonl"), "schema": tmp_path / "s.json", "output": output}
            documents = (("urn:b", json.dumps({"pattern": TWICE})),)
            options = Options(max_tokens=40, documents=documents, lenient=True)
            settings = Settings(**given, prompt=tmp_path / "prompt.txt", options=options)
            run_job(settings, lambda lent=lent: lent, NoProgress())
            for row in map(json.loads, output.read_text().splitlines()):
                assert [each["keyword"] for each in row["lenience"]["dropped"]] == ["pattern"]
                assert row["lenience"]["valid"] == (word == "a-a")
                if word == "a-a":
                    assert row["result"] == word
                else:
                    assert row["error"]["kind"] == "answer is not valid"
                    assert row["error"]["text"] == '"b-a"'
                    assert "the value is not as #/pattern asks" in row["error"]["reason"]
