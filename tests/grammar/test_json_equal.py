"""All texts of a value: those that parse to it, and no others."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.expr import EPSILON, POOL
from rootform.grammar.json_equal import values_equal
from rootform.grammar.json_layout import layout

VALUES = [0, 1, -1, 10, 100, 12, -120, 5, Decimal("0.5"), Decimal("-0.05"), Decimal("1.25"), Decimal("1.5e3"), 1500]
COMPACT = layout("compact")


def read(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def spelled(rng: random.Random) -> str:
    """A number in some spelling, near those of VALUES."""
    whole = rng.choice(["0", "1", "5", "10", "12", "15", "100", "120", "125", "1500", "150000"])
    fraction = rng.choice(["", "", ".0", ".5", ".50", ".05", ".25", ".000", ".0125", ".0015"])
    exponent = rng.choice(["", "", "e0", "E+0", "e-1", "e1", "E+02", "e-002", "e3", "e-4"])
    return rng.choice(["", "", "-"]) + whole + fraction + exponent


@given(rng=st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_numbers_are_equal_by_value(rng: random.Random) -> None:
    for value in VALUES:
        expression = values_equal(COMPACT, value)
        for text in (spelled(rng) for _ in range(8)):
            assert POOL.fullmatch(expression, text.encode()) == (Decimal(text) == Decimal(value)), (text, value)


@pytest.mark.parametrize("value", VALUES)
def test_the_shortest_spelling_of_a_number_parses_to_it(value: int | Decimal) -> None:
    text = POOL.shortest(values_equal(COMPACT, value))
    assert text is not None
    assert Decimal(text.decode()) == Decimal(value)


def test_huge_exponents_are_not_written_out() -> None:
    expression = values_equal(COMPACT, Decimal("1e999999"))
    assert POOL.fullmatch(expression, b"10.0E999998")
    assert not POOL.fullmatch(expression, b"10.0E999999")
    assert len(POOL.shortest(expression) or b"") == len("1e999999")


@pytest.mark.parametrize("value", [1, 10, -120, Decimal("0.05"), Decimal("1e300"), Decimal("5e-324")])
def test_whether_a_value_has_a_spelling_of_some_kind_is_told_with_few_states(
    value: int | Decimal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also behind digits that only an exponent could make right, where none may stand."""
    monkeypatch.setattr("rootform.grammar.witness.SEARCH_BUDGET", 700)
    digits = POOL.concat(POOL.alt(EPSILON, POOL.literal(b"-")), POOL.repeat(POOL.byte_set(b"0123456789"), 1, None))
    expression, exact = values_equal(COMPACT, value), Decimal(value)
    whole = exact == exact.to_integral_value()
    assert POOL.is_empty(POOL.and_(digits, expression)) == (not whole)
    assert POOL.is_empty(POOL.and_(digits, values_equal(COMPACT, exact / 10), expression))
    text = format(exact, "f").encode()
    begun = POOL.and_(POOL.rest(digits, text + b"0"), POOL.rest(expression, text + b"0"))
    assert POOL.is_empty(begun)


@pytest.mark.parametrize(
    ("value", "equal", "other"),
    [
        ("aé", ['"aé"', '"\\u0061é"', '"a\\u00E9"'], ['"ae"', '"aé "', "aé"]),
        ("/😀", ['"/😀"', '"\\/\\ud83d\\uDE00"'], ['"/"', '"/\\ud83d"']),
        ([1, [True, None]], ["[1,[true,null]]", "[1.0,[true,null]]"], ["[1]", "[[true,null],1]", "[1,[true,null],1]"]),
        ({"a": 1, "b": [2]}, ['{"b":[2],"a":1}', '{"\\u0061":10e-1,"b":[2.0]}'], ['{"a":1}', '{"a":1,"b":[2],"c":0}']),
        ({}, ["{}"], ["[]", '{"":0}']),
        (True, ["true"], ["1", "false", '"true"']),
        (None, ["null"], ["0", ""]),
    ],
)
def test_texts_of_values(value: Any, equal: list[str], other: list[str]) -> None:
    expression = values_equal(COMPACT, value)
    for text in equal:
        assert POOL.fullmatch(expression, text.encode()), text
        assert read(text) == value
    for text in other:
        assert not POOL.fullmatch(expression, text.encode()), text
    assert POOL.fullmatch(values_equal(layout("flexible"), value), json.dumps(value, indent=2).encode())


def test_what_is_not_equal_can_be_asked_for() -> None:
    digits = POOL.concat(POOL.byte_set(b"12"), POOL.alt(POOL.literal(b""), POOL.literal(b".0")))
    rest = POOL.and_(digits, POOL.not_(values_equal(COMPACT, 1)))
    assert [text for text in (b"1", b"1.0", b"2", b"2.0") if POOL.fullmatch(rest, text)] == [b"2", b"2.0"]
    assert POOL.is_empty(POOL.and_(rest, POOL.not_(values_equal(COMPACT, Decimal("2.0")))))
