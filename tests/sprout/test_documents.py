"""Generated documents: values verbatim, enough templates, pools that do not mix, examples in no training data."""

import json
import random
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.sprout import pools
from rootform.sprout.documents import PLACEHOLDER, compact, make_document, schema, tidy
from rootform.sprout.templates import KINDS
from rootform.sprout.values import Source, pseudo_word

EXAMPLES = Path(__file__).parents[2] / "examples"


@settings(deadline=None)
@given(st.integers(), st.booleans(), st.booleans())
def test_every_value_stands_in_its_text(seed: int, held_out: bool, as_shipped: bool):
    document = make_document(random.Random(seed), held_out, as_shipped)
    assert all(value is None or value in document.text for value in document.answer.values())
    assert json.loads(compact(document.answer)) == document.answer


@pytest.mark.parametrize("name", KINDS)
def test_thirty_templates_and_only_known_fields(name: str):
    kind = KINDS[name]
    assert len(set(kind.templates)) >= 30
    for template in kind.templates:
        found = PLACEHOLDER.findall(template)
        assert len(set(found)) == len(found) >= 2
        assert set(found) <= set(kind.fields)


@pytest.mark.parametrize("name", KINDS)
def test_every_field_has_a_maker_and_labels(name: str):
    kind = KINDS[name]
    assert kind.fields.keys() == kind.makers.keys() == kind.labels.keys()


def test_the_same_seed_gives_the_same_document():
    assert make_document(random.Random(7)) == make_document(random.Random(7))


def test_fields_are_dropped_shuffled_renamed_and_null():
    answers = [make_document(random.Random(seed)).answer for seed in range(200)]
    assert len({tuple(answer) for answer in answers}) > 150
    assert any(None in answer.values() for answer in answers)


def test_held_out_values_are_no_training_values():
    held, used = Source(random.Random(1), held_out=True), Source(random.Random(1))
    assert not {held.pick(pools.CITIES) for _ in range(300)} & {used.pick(pools.CITIES) for _ in range(300)}


@settings(deadline=None)
@given(st.integers())
def test_made_up_words_can_be_read(seed: int):
    word = pseudo_word(random.Random(seed))
    assert word.isalpha()
    assert word[0].isupper()
    assert len(word) > 2


def test_loose_punctuation_goes():
    assert tidy(" , Hello, . world. , ") == "Hello, world."


@pytest.mark.parametrize("name", KINDS)
def test_shipped_schemas_are_the_codes(name: str):
    assert json.loads((EXAMPLES / f"{name}.schema.json").read_text()) == schema(name)


def lines(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (EXAMPLES / name).read_text("utf-8").splitlines()]


@pytest.mark.parametrize("name", [*KINDS, "utterances"])
def test_examples_are_verbatim_and_obey_their_schema(name: str):
    documents, expected = lines(f"{name}.jsonl"), lines(f"{name}.expected.jsonl")
    schema_name = "snips" if name == "utterances" else name
    rules = json.loads((EXAMPLES / f"{schema_name}.schema.json").read_text())
    assert len(documents) >= 12
    assert [row["id"] for row in documents] == [row["id"] for row in expected]
    for document, row in zip(documents, expected, strict=True):
        jsonschema.validate(row["expected"], rules)
        assert all(value in str(document["text"]) for value in strings(row["expected"]))


def strings(value: object) -> list[str]:
    """Every value that was to be found in the text; an intent's name was not."""
    if isinstance(value, dict):
        return [text for key, part in value.items() if key != "intent" for text in strings(part)]
    if isinstance(value, list):
        return [text for part in value for text in strings(part)]
    return [value] if isinstance(value, str) else []


def test_no_example_is_a_training_utterance(snips: Path):
    from rootform.sprout.corpus import read_rows

    known = {row.text.lower() for row in read_rows(snips / "train.jsonl.gz")}
    assert not known & {str(row["text"]).lower() for row in lines("utterances.jsonl")}
