"""Which document verbatim values stand in, and the offsets a completion tells; whatever the model prefers."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform import assistant, gen, program, user
from rootform.engine.types import RootformError
from rootform.extract.asking import Options
from rootform.extract.job import Settings, run_job
from rootform.extract.progress import NoProgress

ITEM = {"type": "string", "maxLength": 30, "x-rootform": {"verbatim": True}}
SCHEMA = {
    "type": "object",
    "properties": {"who": ITEM, "parts": {"type": "array", "items": ITEM, "maxItems": 3}},
    "required": ["who", "parts"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def engine(tiny_model, device):
    with device.engine(tiny_model) as engine:
        yield engine


@settings(deadline=None, max_examples=15)
@given(st.text('ab é"\\\n😀-', max_size=40), st.integers(0, 50))
def test_offsets_point_at_the_values(engine, document, seed):
    answer = engine.generate("anything", schema=SCHEMA, document=document, max_tokens=90, temperature=1.5, seed=seed)
    value = json.loads(answer.text)
    wanted = {"/who": value["who"]} | {f"/parts/{i}": part for i, part in enumerate(value["parts"])}
    assert {each.pointer: document[each.start : each.end] for each in answer.verbatim} == wanted


def test_the_document_of_a_chat_is_its_last_user_turn_unless_another_is_given(engine):
    chat = [
        {"role": "user", "content": "xyz"},
        {"role": "assistant", "content": "well"},
        {"role": "user", "content": "Ann"},
        {"role": "assistant", "content": "{"},
    ]
    schema = ITEM | {"minLength": 3}
    assert engine.generate(chat[:3], schema=schema, max_tokens=40).text == '"Ann"'
    assert engine.generate(chat[:3], schema=schema, document="xyz", max_tokens=40).text == '"xyz"'


def test_without_a_document_verbatim_is_refused_and_elsewhere_a_document_changes_nothing(engine):
    with pytest.raises(RootformError, match="need a document to stand in"):
        engine.generate("raw", schema=ITEM, max_tokens=40)
    with pytest.raises(RootformError, match="document is for verbatim values"):
        engine.generate("raw", regex="a", document="b", max_tokens=40)
    plain = engine.generate("raw", schema={"const": 1}, document="b", max_tokens=40)
    assert (plain.text, plain.verbatim) == ("1", ())


def test_a_document_that_satisfies_nothing_fails_its_request_alone(engine):
    with pytest.raises(RootformError, match="nothing satisfies"):
        engine.generate("raw", schema=ITEM | {"pattern": "z"}, document="abc", max_tokens=40)
    assert engine.generate("raw", schema=ITEM | {"pattern": "b"}, document="abc", max_tokens=40).verbatim


# -- through the other rooms ----------------------------------------------------------------------------------


@program
def ask(s, document):
    s += user("Ann")
    s += assistant(gen("who", schema=ITEM | {"minLength": 3}, document=document, max_tokens=40))


@pytest.mark.parametrize(("document", "said"), [(None, "Ann"), ("😀 Bo", "😀 Bo")])
def test_programs_and_the_server_tell_the_same(engine, over_http, document, said):
    for client in (engine, over_http):
        state = ask.run(client, document).state
        who = state["who"]
        (field,) = state.completion("who").verbatim
        assert who in said
        assert said[field.start : field.end] == who


def test_extraction_takes_the_row_as_the_document(engine, over_http, tmp_path):
    texts = ["Ann Berg", "nobody 😀", "x"]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "prompt.txt").write_text("Read: {document}")
    for name, client in (("here", engine), ("there", over_http)):
        lent = SimpleNamespace(info=client.info, submit=client.submit, close=lambda: None)
        output = tmp_path / f"{name}.jsonl"
        given = {"input": str(tmp_path / "in.jsonl"), "schema": tmp_path / "s.json", "output": output}
        given |= {"prompt": tmp_path / "prompt.txt", "options": Options(max_tokens=90)}
        run_job(Settings(**given, offsets=True), lambda lent=lent: lent, NoProgress())
        rows = [json.loads(line) for line in output.read_text().splitlines()]
        for text, row in zip(texts, rows, strict=True):
            values = {"/who": row["result"]["who"]}
            values |= {f"/parts/{i}": part for i, part in enumerate(row["result"]["parts"])}
            assert {pointer: text[start:end] for pointer, (start, end) in row["offsets"].items()} == values
