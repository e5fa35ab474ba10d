"""The tokenizer: lossless on any text, and a value is spelled alike in a document and in its JSON."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from rootform.sprout.batches import Encoder
from rootform.sprout.documents import make_document
from rootform.sprout.tokenizer import END, PAD, SPECIALS, VOCABULARY, structure, token_id

# Not what could grow together with its surroundings: combining marks, and the marks that JSON is made of.
VALUE_CHARACTERS = st.characters(codec="utf-8", exclude_categories=["M", "Cn"], exclude_characters='"<:[{},]')


@settings(deadline=None)
@given(text=st.text())
def test_any_text_comes_back(tokenizer: Tokenizer, text: str):
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_size_and_special_tokens(tokenizer: Tokenizer):
    assert tokenizer.get_vocab_size() == VOCABULARY
    assert [tokenizer.token_to_id(name) for name in SPECIALS] == [0, 1, 2, 3]


def test_structure_tokens_are_ordinary_text(tokenizer: Tokenizer):
    for text in structure():
        (number,) = tokenizer.encode(text).ids
        assert tokenizer.decode([number], skip_special_tokens=True) == text


@settings(deadline=None)
@given(value=st.text(VALUE_CHARACTERS, min_size=1))
def test_a_value_is_spelled_alike_everywhere(tokenizer: Tokenizer, value: str):
    alone = tokenizer.encode(value).ids
    for before, after in ((" ", "."), ("(", " "), ('"', '"'), ("1", "-")):
        around = tokenizer.encode(before + value + after).ids
        assert around[1:-1] == alone


def test_every_digit_and_space_is_a_token(tokenizer: Tokenizer):
    assert tokenizer.encode("a  10").tokens == ["a", "Ġ", "Ġ", "1", "0"]


def test_examples_weigh_what_the_model_decides(tokenizer: Tokenizer):
    example = Encoder(tokenizer).document_example(random.Random(4))
    answer = make_document(random.Random(4)).answer
    values = [value for value in answer.values() if value is not None]
    weighed = [number for number, weight in zip(example.ids, example.weights, strict=True) if weight == 1.0]
    text = tokenizer.decode(weighed, skip_special_tokens=True)
    assert text == "".join("null" if value is None else f'"{value}"' for value in answer.values())
    assert values
    assert weighed[-1] == token_id(tokenizer, END)
    assert token_id(tokenizer, PAD) not in example.ids
