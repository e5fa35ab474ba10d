"""Encoded labels of host names: against the codec of the standard library and the `idna` package, and never stuck."""

from __future__ import annotations

import json
import unicodedata

import idna as package
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar import formats, idna, punycode
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.chars import JSON_CHAR
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.expr import POOL
from rootform.grammar.pools import current, using
from rootform.grammar.regex import compile_pattern
from rootform.grammar.vocab import Vocabulary

LETTERS = "aelk0-ßéπλά·ͅ͵бאב׳٠۰بي\u200cक्\u200dखア・ァ中文한국𐐷"
labels = st.text(st.sampled_from(LETTERS), min_size=1, max_size=12).filter(lambda text: not text.isascii())
TOKENS = ["x", "n", "-", "xn", "n--", "--", *"zcabdk95", "zca", "9db", ".", "a.", ".x", "-ab", "ca.b", '"', 'a"', '."']
texts = st.text(st.sampled_from("ab09z-"), max_size=54) | st.text(st.sampled_from("--a"), max_size=54)


def is_encoded(text: str) -> bool:
    """Of a text in lower case behind the prefix, as the package has it."""
    try:
        return package.ulabel(idna.PREFIX + text) != ""
    except (package.IDNAError, UnicodeError):
        return False


@settings(deadline=None, max_examples=300)
@given(labels)
def test_labels_are_those_of_the_package(label: str) -> None:
    text = label.encode("punycode").decode()
    reading = punycode.read(text)
    assert reading is None or reading.label == label
    assert punycode.is_encoded(text) == is_encoded(text)


@settings(deadline=None, max_examples=150)
@given(texts)
def test_every_text_with_room_has_an_end_and_its_beginnings_a_way_to_it(text: str) -> None:
    if text.startswith(punycode.NEVER):
        return
    ending = punycode.shortest_ending(text)
    assert len(ending) <= punycode.ALWAYS_ENDS
    assert is_encoded(text + ending)
    for at in range(len(ending)):
        assert punycode.can_end(text + ending[:at], len(ending) - at)


@settings(deadline=None, max_examples=25)
@given(st.text(st.sampled_from("ab9k-"), max_size=6))
def test_whether_a_text_can_end_in_two_characters_is_found_by_trying_all(text: str) -> None:
    if text.startswith(punycode.NEVER):
        return
    chars = "abcdefghijklmnopqrstuvwxyz0123456789-"
    endings = ["", *chars, *(a + b for a in chars for b in chars)]
    lengths = [len(each) for each in endings if punycode.is_encoded(text + each)]
    for room in range(3):
        assert punycode.can_end(text, room) == any(length <= room for length in lengths)


def test_characters_are_those_of_the_package() -> None:
    for code in range(0x80, idna.LAST, 17):
        char = chr(code)
        if unicodedata.category(char) != "Cn":
            classes = package.idnadata.codepoint_classes
            found = package.intranges.intranges_contain(code, classes["PVALID"])
            in_context = any(
                package.intranges.intranges_contain(code, classes[kind]) for kind in ("CONTEXTJ", "CONTEXTO")
            )
            assert (idna.next_allowed(code) == code) == (found or in_context), hex(code)


def test_names_keep_their_limits() -> None:
    body = formats.body("hostname")
    assert POOL.fullmatch(body, b"XN--ZCA.de")
    assert POOL.fullmatch(body, ".".join(["xn--zca"] * 31).encode())
    assert not POOL.fullmatch(body, ".".join(["xn--zca"] * 32).encode())
    longest = idna.PREFIX + ("a" * 55 + "\xdf").encode("punycode").decode()
    assert len(longest) == idna.LONGEST
    assert POOL.fullmatch(body, longest.encode())
    longer = idna.PREFIX + ("a" * 56 + "\xdf").encode("punycode").decode()
    assert not POOL.fullmatch(body, longer.encode())


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ('"maxLength": 10', ['"', "xn", "--", "9db", ".", "a"]),
        ('"maxLength": 12', ['"', "xn", "--", "-ab", "-"]),
        ('"minLength": 5', ['"', "xn", "--", "9db", ".", "a"]),
        ('"minLength": 12', ['"', "x", "n--", "zca", ".", "a"]),
        ('"minLength": 6, "maxLength": 11', ['"', "x", "n--", "zca", ".", "a"]),
        ('"pattern": "^[^@]+$"', ['"', "xn", "--", "9db", ".x", "n--", "9db"]),
        ('"pattern": "^[^@]*$", "minLength": 9, "maxLength": 80', ['"', "x", "n--", "zca", "."]),
        ('"pattern": "^[^.]+$", "minLength": 9', ['"', "x", "n--", "zca"]),
    ],
)
def test_masks_are_those_of_trying_each_token(more: str, path: list[str]) -> None:
    """Beside limits and patterns, down to the end: what is allowed can be ended, and nothing else is left out."""
    vocabulary = Vocabulary([token.encode() for token in TOKENS] + [b""], [len(TOKENS)], len(TOKENS) + 1)
    with using(current().fork()):
        automaton = Automaton(vocabulary, exprs=current())
        batch = StateBatch(automaton)
        slot = batch.open(automaton.compile(JsonSchema(f'{{"type": "string", "format": "hostname", {more}}}')))
        whole = POOL.and_(formats.body("hostname"), *_conditions(more))
        whole = POOL.concat(POOL.literal(b'"'), whole, POOL.literal(b'"'))
        written = ""
        for token in path:
            row_id = int(batch.row_ids(np.array([slot]))[0])
            row = automaton.rows[row_id]
            assert not batch.errors
            allowed = {each for i, each in enumerate(TOKENS) if row[i >> 5] >> (i & 31) & 1}
            rest = _after(whole, written)
            assert allowed == {each for each in TOKENS if not POOL.is_empty(_after(rest, each))}
            assert batch.advance(np.array([slot]), np.array([TOKENS.index(token)]))[0]
            written += token


def _conditions(more: str) -> list[int]:
    found = []
    for keyword, value in json.loads("{" + more + "}").items():
        if keyword == "pattern":
            found.append(compile_pattern(value, mode="search", encoding="json"))
        else:
            low, high = (0, value) if keyword == "maxLength" else (value, None)
            found.append(POOL.counted(JSON_CHAR, low, high))
    return found


def _after(expression: int, text: str) -> int:
    for byte in text.encode():
        expression = POOL.derivative(expression, byte)
    return expression
