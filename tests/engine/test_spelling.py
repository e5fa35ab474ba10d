"""Forced text in the tokenizer's own tokens, and only those that what follows cannot change."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from rootform.engine.spelling import Speller

# The letters a, b and c, and merges in this order: ab, bc, abc, ca.
MERGES = [("a", "b"), ("b", "c"), ("ab", "c"), ("c", "a")]
WORDS = ["a", "b", "c", "ab", "bc", "abc", "ca"]
TOKENIZER = Tokenizer(models.BPE({word: i for i, word in enumerate(WORDS)}, MERGES))
TOKENS = [word.encode() for word in WORDS]


def encode(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False).ids


def allowed(text: bytes) -> np.ndarray:
    """The tokens that a mask allows where `text` must come and then anything may."""
    return np.array([i for i, token in enumerate(TOKENS) if text.startswith(token) or token.startswith(text)])


@settings(deadline=None, max_examples=300)
@given(st.text("abc", min_size=1, max_size=12))
def test_whatever_follows_the_tokenizer_begins_with_the_settled_tokens(forced: str) -> None:
    settled = Speller(TOKENS, encode).settled(forced.encode(), allowed(forced.encode()))
    for length in range(4):
        for following in itertools.product("abc", repeat=length):
            assert tuple(encode(forced + "".join(following)))[: len(settled)] == settled


def test_the_last_token_stays_open_where_a_longer_one_could_come() -> None:
    speller = Speller(TOKENS, encode)
    assert speller.settled(b"abcc", allowed(b"abcc")) == (WORDS.index("abc"),)  # "c" may become "ca"
    assert speller.settled(b"abcb", allowed(b"abcb")) == (WORDS.index("abc"),)  # "b" may become "bc"


def test_nothing_is_settled_where_the_mask_allows_a_token_that_goes_past() -> None:
    speller = Speller(TOKENS, encode)
    assert speller.settled(b"b", np.array([WORDS.index("b"), WORDS.index("bc")])) == ()
    assert speller.settled(b"b", np.array([WORDS.index("b")])) == (WORDS.index("b"),)


def test_a_tokenizer_that_adds_a_space_settles_nothing() -> None:
    assert Speller(TOKENS, lambda text: encode("a" + text)).settled(b"cc", allowed(b"cc")) == ()


def test_half_a_character_waits_for_its_other_half() -> None:
    speller = Speller([b"x", b"\xc3", b"\xa9", "é".encode()], lambda text: [{"x": 0, "é": 3}[c] for c in text])
    assert speller.settled(b"x\xc3", np.array([0])) == (0,)


FACTS = {"population": 2140000, "share": 0.007, "when": "2031-05-17T08:00Z", "city": "Łódź, 東京 🙂", "id": "007"}


def test_forced_numbers_dates_and_letters_beyond_ascii_come_out_whole(tiny_model: Path, device: Any) -> None:
    with device.engine(tiny_model) as engine:
        done = engine.generate("x", schema={"const": FACTS}, max_tokens=200)
    assert json.loads(done.text) == FACTS
    assert done.usage.forward_passes < done.usage.completion_tokens / 4
