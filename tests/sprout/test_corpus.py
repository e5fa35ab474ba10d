"""Utterances: alignment, variation, answers and their schema."""

import json
import random
from pathlib import Path

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.sprout.batches import Utterances
from rootform.sprout.corpus import (
    SLOTS,
    Piece,
    Row,
    align,
    answer,
    join,
    read_rows,
    schema,
    vary,
)

ROW = Row(
    "add Get Happy to cherry's Las Canciones",
    "AddToPlaylist",
    {"playlist": ["Las Canciones"], "entity_name": ["Get Happy"], "playlist_owner": ["cherry's"]},
)
VALIDATOR = jsonschema.Draft202012Validator(schema())


def test_an_answer_is_compact_json_in_the_order_of_the_text():
    pieces = align(ROW)
    assert pieces is not None
    assert answer(join(ROW.intent, pieces)) == (
        '{"intent":"AddToPlaylist","slots":{"entity_name":["Get Happy"],"playlist_owner":["cherry\'s"],'
        '"playlist":["Las Canciones"]}}'
    )


def test_pieces_spell_the_row():
    pieces = align(ROW)
    assert pieces is not None
    assert [piece.slot for piece in pieces if piece.slot] == ["entity_name", "playlist_owner", "playlist"]
    assert join(ROW.intent, pieces) == Row(ROW.text, ROW.intent, ROW.slots)


def test_values_that_overlap_cannot_be_laid_out():
    assert align(Row("play jazz", "PlayMusic", {"genre": ["jazz"], "track": ["jazz"]})) is None


def test_a_value_is_found_as_whole_words_only():
    pieces = align(Row("this is hi to hi", "PlayMusic", {"track": ["hi"]}))
    assert pieces is not None
    assert pieces[0] == Piece("this is ", None)


@settings(deadline=None, max_examples=60)
@given(st.integers())
def test_every_variation_keeps_its_values_verbatim(seed: int):
    rng, utterances = random.Random(seed), Utterances.of([ROW])
    pieces = utterances.pieces[0]
    assert pieces is not None
    varied = vary(ROW, pieces, {"entity_name": ["A b C"], "playlist": ["Été 95"], "playlist_owner": ["my"]}, rng)
    assert VALIDATOR.is_valid(json.loads(answer(varied)))
    assert all(value in varied.text for values in varied.slots.values() for value in values)


def test_the_shipped_schema_is_the_codes():
    path = Path(__file__).parents[2] / "examples" / "snips.schema.json"
    assert json.loads(path.read_text()) == schema()


def test_every_real_row_is_read_aligned_and_obeys_the_schema(snips: Path):
    rows = read_rows(snips / "dev.jsonl.gz")
    assert len(rows) == 700
    for row in rows:
        assert set(row.slots) <= set(SLOTS[row.intent])
        assert VALIDATOR.is_valid(json.loads(answer(row)))
        pieces = align(row)
        assert pieces is not None
        assert join(row.intent, pieces).text == row.text
