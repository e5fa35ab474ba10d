"""How many characters texts have at least: never more than they have, and as many where limits are near."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from rootform.grammar.chars import JSON_CHAR, PLAIN_CHAR
from rootform.grammar.expr import EMPTY, EPSILON, POOL
from rootform.grammar.least_units import UNITS_NEVER, LeastUnits
from rootform.grammar.regex import compile_pattern

_A_OR_TWO = POOL.alt(POOL.byte_set(b"a"), POOL.literal(b'b"'), POOL.literal(b"b,"))
_LOOPING = POOL.concat(POOL.repeat(POOL.byte_set(b"a"), 0, None), POOL.byte_set(b'b,"'))
UNITS = (JSON_CHAR, POOL.byte_set(b'ab,"'), _A_OR_TWO, _LOOPING, POOL.literal(b"ab"))


def _count(unit: int, left: int, text: bytes) -> int | None:
    """Whole units in a text behind which none is open, the rest of one before them; None for other texts."""
    n = 0
    for byte in text:
        left = POOL.raw_derivative(left, byte)
        if left == EPSILON:
            n, left = n + 1, unit
    return n if left == unit else None


@pytest.mark.parametrize("unit", UNITS)
def test_no_text_has_fewer_units(unit: int, random_expression: Callable[..., tuple]) -> None:
    rng, n_told = random.Random(17), 0
    for _ in range(300):
        item, language = random_expression(rng)
        for left in {unit, POOL.raw_derivative(unit, ord("a")), POOL.raw_derivative(unit, ord("b"))} - {EMPTY, EPSILON}:
            counts = [n for text in sorted(language) if (n := _count(unit, left, text)) is not None]
            found = LeastUnits(POOL, unit).of(item, left)
            n_told += found > 0
            assert found <= min(counts, default=UNITS_NEVER)
            if counts and POOL.plain(item):
                assert found == min(counts)
    assert n_told > 100


@pytest.mark.parametrize("unit", [JSON_CHAR, PLAIN_CHAR])
def test_no_character_begins_another(unit: int) -> None:
    assert POOL.is_empty(POOL.and_(unit, POOL.concat(unit, POOL.repeat(POOL.byte_set(range(256)), 1, None))))


@pytest.mark.parametrize(("pattern", "least"), [
    ("arn:[a-z]*:x", 6), ("(foo|ba|\\n)x?", 1), ("aß{3,5}.", 5), ("(ab){2,}(cd|e)*", 4), ("\\u0041\\\\b?", 2),
    ("(?=.{9})[^a]{5}x*", 9), ("[^\\s]{20}(😀|a\"){30}", 50),
])  # fmt: skip
def test_characters_of_patterns_are_counted(pattern: str, least: int) -> None:
    body = compile_pattern(pattern, mode="fullmatch", encoding="json")
    assert LeastUnits(POOL, JSON_CHAR).of(body, JSON_CHAR) == least
    for most in (least - 1, least):
        limited = POOL.and_(body, POOL.counted(JSON_CHAR, 0, most))
        assert POOL.is_empty(limited) == (most < least)


def test_what_takes_too_long_to_find_out_is_not_told() -> None:
    units, body = LeastUnits(POOL, JSON_CHAR), compile_pattern("a\\p{L}{20}", mode="fullmatch", encoding="json")
    assert units.of(body, JSON_CHAR) == 1
    n_known = len(units)
    assert units.of(body, JSON_CHAR) == 1
    assert len(units) == n_known


def test_of_what_is_left_of_characters() -> None:
    units = LeastUnits(POOL, JSON_CHAR)
    body, text = compile_pattern("aß\\ud83d\\ude00", mode="fullmatch", encoding="json"), b"a\xc3"
    assert units.of(body, JSON_CHAR) == 3
    left = POOL.rest(JSON_CHAR, text[1:])
    assert units.of(POOL.rest(body, text), left) == 2
    assert units.of(POOL.rest(body, text), JSON_CHAR) == UNITS_NEVER
    assert units.of(EPSILON, JSON_CHAR) == 0
    assert units.of(EMPTY, JSON_CHAR) == UNITS_NEVER
    assert units.of(POOL.not_(body), JSON_CHAR) == 0


def test_a_rest_that_may_be_over_and_go_on_tells_nothing() -> None:
    units = LeastUnits(POOL, POOL.byte_set(b"a"))
    assert units.of(POOL.literal(b"aba"), POOL.alt(POOL.literal(b"a"), POOL.literal(b"ab"))) == 0


def test_long_texts_with_many_ends_are_counted() -> None:
    units, word = LeastUnits(POOL, JSON_CHAR), "".join(chr(0x61 + n % 26) for n in range(100))
    words = [POOL.literal(word[:n].encode() + b"!") for n in range(3, 100)]
    assert units.of(POOL.concat(POOL.alt(*words), POOL.literal(word.encode())), JSON_CHAR) == 104


@pytest.mark.parametrize(("text", "end"), [
    ("arn:aws-", "arn:aws-:x:1:y/a"), ("arn:aws:x:1:y\\u002", "arn:aws:x:1:y/a"),
    ("arn:aws:\\u0078:12:fs-", "arn:aws:x:12:fs-000"), ("arn:aws:x:2:y/\\ud83d", "arn:aws:x:2:y/?"),
])  # fmt: skip
def test_limits_near_what_a_pattern_needs_are_exact(text: str, end: str) -> None:
    """end: a shortest text of the pattern that begins so."""
    pattern = "arn:aws[-a-z]*:x:[0-9]{1,2}:(fs-[0-9a-f]{3,9}|y/.+)"
    body = POOL.rest(compile_pattern(pattern, mode="fullmatch", encoding="json"), text.encode())
    for most in range(30):
        limited = POOL.and_(body, POOL.rest(POOL.counted(JSON_CHAR, 0, most), text.encode()))
        shortest = POOL.shortest(limited)
        assert POOL.is_empty(limited) == (shortest is None) == (most < len(end))
