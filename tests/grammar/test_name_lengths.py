"""International names are as long as they may be once encoded: against the codec of Python, and token by token."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rootform.grammar import formats, idna
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.expr import POOL
from rootform.grammar.idna import LONGEST
from rootform.grammar.label_kernels import first_that_fits, octets
from rootform.grammar.name_lengths import NAME_LENGTHS, Name, after_all
from rootform.grammar.vocab import Vocabulary

GREEK = "παράδειγμα" * 5 + "πα"  # 52 characters, 61 octets
LETTERS = "aaßüбвπあ中\U00010340\U00020000"
PIECES = ["ab", "aaaaaaaa", "-a", "a-", ".com", "..", ".a", "xn--", "πα", "παράδ", "ρά", "üü", "ß", "中文", "中", "・"]
PIECES += ["・ア", "ア", "\U00020000", "\\u03c0", "\\u03b", "\\ud8", "・・", "παράδειγμα"]
PIECES += ['bbbbb"', 'ρρρρ"', "。a-", "a。", '\\u002e9"']


def encoded(label: str) -> int:
    """Its octets once encoded."""
    return len(label) if label.isascii() else len(idna.PREFIX) + len(label.encode("punycode"))


def near(letters: str, less: int = 0) -> str:
    """Some letters as often as they fit, less the last ones."""
    label = ""
    while encoded(label + letters[len(label) % len(letters)]) <= LONGEST:
        label += letters[len(label) % len(letters)]
    return label[: len(label) - less]


def codes(label: str, more: int = 0) -> np.ndarray:
    return np.array([*map(ord, label), *[0] * more], np.int64)


@settings(deadline=None)
@given(st.text(st.sampled_from(LETTERS), min_size=1, max_size=45), st.integers(1, 90))
def test_octets_are_those_of_the_codec(label: str, most: int) -> None:
    found = int(octets(codes(label), len(label), most))
    assert (found == encoded(label)) if encoded(label) <= most else found < 0


@settings(deadline=None, max_examples=60)
@given(
    st.text(st.sampled_from(LETTERS), max_size=30), st.integers(0x80, 0x2FFF), st.integers(0, 300), st.integers(-1, 4)
)
def test_the_first_character_that_fits_is_the_first(label: str, low: int, size: int, spare: int) -> None:
    most = encoded(label) + spare
    found = first_that_fits(codes(label, 1), len(label), np.array([(low, low + size)]), 0, idna.LAST, most)
    fit = [code for code in range(low, low + size + 1) if encoded(label + chr(code)) <= most]
    assert found == (fit[0] if fit else -1)


@settings(deadline=None, max_examples=100)
@given(st.text(st.sampled_from("aaßüб"), min_size=1, max_size=60), st.booleans())
def test_labels_are_let_through_as_far_as_they_fit(label: str, is_escaped: bool) -> None:
    text = "".join(f"\\u{ord(char):04X}" for char in label) if is_escaped else label
    fits = all(encoded(label[:size]) <= LONGEST for size in range(1, len(label) + 1))
    assert POOL.fullmatch(formats.body("idn-hostname"), text.encode()) == fits


def test_names_of_any_number_of_labels_have_253_octets_at_most() -> None:
    body = formats.body("idn-hostname")
    for name in (GREEK, GREEK + ".com", GREEK + "\u3002com", "www.почта.пример.рф", f"{GREEK}.{GREEK}.{GREEK}.{GREEK}"):
        assert POOL.fullmatch(body, name.encode()), name
        assert POOL.fullmatch(formats.body("idn-email"), f"a@{name}".encode()), name
    start = f"{GREEK}.{GREEK}.{GREEK}."  # 186 octets
    assert POOL.fullmatch(body, (start + "a" * 63 + ".abc").encode()) is True
    assert POOL.fullmatch(body, (start + "a" * 63 + ".abcd").encode()) is False
    assert not POOL.fullmatch(body, ("παράδειγμα" * 6).encode())


@settings(deadline=None, max_examples=100)
@example(217, "ß.𐍀.ßß・𐍀".encode()[:-2])  # what may come first lacks a letter still, another is one
@example(0, b"\\u30f")
@given(st.integers(180, 252), st.text(st.sampled_from(LETTERS + "・ア."), max_size=25).map(str.encode))
def test_from_every_state_there_is_a_way_to_an_end(used: int, text: bytes) -> None:
    state: Name | None = Name(used, "")
    for byte in text:
        after = NAME_LENGTHS.after(state, byte)
        assert after is None or NAME_LENGTHS.first(state) >> byte & 1
        if after is None:
            break
        state = after
    length = NAME_LENGTHS.length(state)
    for left in range(length, 0, -1):
        assert NAME_LENGTHS.length(state) == left
        _, state = NAME_LENGTHS.nearer(state)
    assert NAME_LENGTHS.accepts(state)


def test_half_of_a_character_that_cannot_fit_is_too_much() -> None:
    full = Name(0, "a" * 58)
    assert after_all(full, "ß".encode()[:1]) is None
    assert after_all(full, b"a") is not None
    assert after_all(full, b"\\u0") is not None
    assert after_all(full, b"\\u4") is None


WIDE = [bytes([byte]) for byte in range(256)] + [piece.encode() for piece in PIECES]


@pytest.mark.parametrize(
    ("schema", "texts"),
    [
        (
            {},
            [
                GREEK[:40],
                GREEK[:51],
                GREEK,
                "a" * 54 + "ß",
                "a" * 60,
                near("ü"),
                near("ü", 8) + "-",
                near("中文", 1),
                near("ü", 16) + "・",
                near("אב", 1),
            ],
        ),
        (
            {},
            [
                f"{GREEK}.{GREEK}.{GREEK}.",
                f"{GREEK}.{GREEK}.{GREEK}." + "a" * 60,
                "xn--9db",
                f"{'a' * 60}." * 4 + "xn--9d",
                "xn-",
                "l·",
                "aa-",
            ],
        ),
        ({"maxLength": 54}, [GREEK[:48], GREEK, GREEK[:49] + "-"]),
        ({"pattern": "[.]com$"}, [GREEK[:50], GREEK[:51] + "."]),
    ],
)
def test_masks_are_those_of_trying_each_token(schema: dict, texts: list[str]) -> None:
    automaton = Automaton(Vocabulary([*WIDE, b""], [len(WIDE)], len(WIDE) + 1))
    batch = StateBatch(automaton)
    root = automaton.compile(JsonSchema(json.dumps({"type": "string", "format": "idn-hostname", **schema})))
    for text in texts:
        slot = batch.open(root)
        for byte in b'"' + text.encode():
            assert batch.advance(np.array([slot]), np.array([byte]))[0], (text, byte)
        number = int(batch.row_ids(np.array([slot]))[0])
        row = automaton.rows[number]
        assert not batch.errors
        allowed = {token for token in range(len(WIDE)) if row[token >> 5] >> (token & 31) & 1}
        place = batch.save(slot)
        tried = {token for token in range(len(WIDE)) if automaton.after(*place, token) is not None}
        assert allowed == tried, (text, [WIDE[token] for token in allowed ^ tried])
        batch.close(slot)


def close_to_the_limit(draw: random.Random) -> str:
    """A beginning of a name that has nearly as many octets as names may have."""
    labels, room = [], draw.randint(190, 253)
    while room > 2:
        letters = draw.choice(["a", "a", "παράδειγμα", "aü", "中文", "abüπ"])
        label, most = "", min(room, LONGEST, draw.randint(1, 2 * LONGEST))
        while encoded(label + letters[len(label) % len(letters)]) <= most:
            label += letters[len(label) % len(letters)]
        labels.append(label or "a")
        room -= encoded(labels[-1]) + 1
    return ".".join(labels)


@pytest.mark.parametrize(
    ("schema", "seed"),
    [({"minLength": 200}, 4), ({"pattern": "[.]com$"}, 11), ({"pattern": "[.](com|рф)$", "minLength": 150}, 5)],
)
def test_what_is_offered_near_the_limits_is_taken_and_comes_to_an_end(schema: dict, seed: int) -> None:
    automaton, draw = Automaton(Vocabulary([*WIDE, b""], [len(WIDE)], len(WIDE) + 1)), random.Random(seed)
    root = automaton.compile(JsonSchema(json.dumps({"type": "string", "format": "idn-hostname", **schema})))
    for _ in range(3):
        place, text = automaton.start(root), close_to_the_limit(draw)
        for byte in b'"' + text.encode():
            after = automaton.after(*place, byte)
            if after is None:
                break
            place = after
        number = automaton.row_at(*place)
        row = automaton.rows[number]
        for token in [*draw.sample(range(256), 30), *range(256, len(WIDE))]:
            after = automaton.after(*place, token)
            assert bool(row[token >> 5] >> (token & 31) & 1) == (after is not None), (text, WIDE[token])
            if after is not None:
                for byte in automaton.completion(*after):
                    after = automaton.after(*after, byte)
                    assert after is not None, (text, WIDE[token])


@pytest.mark.parametrize(
    ("schema", "most"),
    [({}, 1000), ({"maxLength": 58}, 1000), ({"minLength": 50}, 1000), ({"pattern": "[.](com|рф)$"}, 100)],
)
def test_texts_made_of_masks_come_to_an_end_within_the_limits(schema: dict, most: int) -> None:
    automaton = Automaton(Vocabulary([*WIDE, b""], [len(WIDE)], len(WIDE) + 1))
    batch, draw = StateBatch(automaton), random.Random(json.dumps(schema))
    root = automaton.compile(JsonSchema(json.dumps({"type": "string", "format": "idn-hostname", **schema})))
    pieces = [token for token, piece in enumerate(WIDE) if len(piece) > 1 and piece.decode().isalpha()]
    for _ in range(2):
        slot, text = batch.open(root), b""
        few = draw.sample(pieces, min(4, len(pieces)))
        while not batch.finished(np.array([slot]))[0] and len(text) < most:
            number = int(batch.row_ids(np.array([slot]))[0])
            row = automaton.rows[number]  # which may have grown
            allowed = [token for token in range(len(WIDE) + 1) if row[token >> 5] >> (token & 31) & 1]
            assert allowed, text
            longer = [token for token in allowed if token in few]
            short = [token for token in allowed if token < len(WIDE) and WIDE[token] in (b"a", b"-", b"\\", b'"')]
            token = draw.choice(longer if longer and draw.random() < 0.7 else short if short else allowed)
            assert batch.advance(np.array([slot]), np.array([token]))[0], text
            text += WIDE[token] if token < len(WIDE) else b""
        assert not batch.errors
        if batch.finished(np.array([slot]))[0]:
            labels = re.split("[.\u3002\uff0e\uff61]", json.loads(text))
            sizes = [encoded(label) for label in labels]
            assert max(sizes) <= LONGEST, text
            assert sum(sizes) + len(sizes) - 1 <= 253, text
        batch.close(slot)
