"""Bounds and multiples, digit by digit, against exact fractions."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.numbers import Interval, number, spelled_number

digits = st.integers(-3000, 3000)
decimals = st.builds(lambda n, places: Decimal(n).scaleb(-places), digits, st.integers(0, 4))
bounds = st.none() | decimals.map(Fraction)
intervals = st.builds(Interval, bounds, bounds, st.booleans(), st.booleans())
steps = st.none() | st.sampled_from(
    ["1", "2", "3", "7", "10", "20", "25", "30", "0.01", "0.5", "0.25", "2.5", "0.3"]
).map(Fraction)
texts = st.builds(
    lambda value, zeros: f"{value:f}" + (zeros if value.as_tuple().exponent else ""),
    decimals,
    st.sampled_from(["", "0", "00"]),
)


def accepts(expression: int, text: str) -> bool:
    return POOL.fullmatch(expression, text.encode())


@settings(max_examples=150, deadline=None)
@given(integer=st.booleans(), interval=intervals, step=steps, samples=st.lists(texts, max_size=5))
def test_agrees_with_exact_comparison(
    integer: bool, interval: Interval, step: Fraction | None, samples: list[str]
) -> None:
    expression = number(integer, interval, step)
    near = [
        bound + d
        for bound in (interval.low, interval.high)
        if bound is not None
        for d in (0, 1, -1, Fraction(1, 10**4))
    ]
    near_texts = [f"{Decimal(v.numerator) / Decimal(v.denominator):f}" for v in near]
    for text in [*samples, *near_texts, "0", "-0", "0.0", "-0.00", "10", "100"]:
        value = Fraction(text)
        is_multiple = step is None or (value / step).denominator == 1
        expected = interval.contains(value) and is_multiple and not (integer and "." in text)
        assert accepts(expression, text) == expected, text
    shortest = POOL.shortest(expression)
    if shortest is not None:
        assert interval.contains(Fraction(shortest.decode()))


@pytest.mark.parametrize("text", ["01", "-", "+1", "1.", ".5", "1.e3", "1e", "--1", "0x1", "1_0", "١", " 1", "1 ", ""])
def test_nothing_but_json_numbers(text: str) -> None:
    for integer in (False, True):
        for interval in (Interval(), Interval(low=Fraction(-5)), Interval(Fraction(-5), Fraction(50))):
            assert not accepts(number(integer, interval, None), text)


def test_exponents_only_where_nothing_is_compared() -> None:
    assert accepts(number(False, Interval(), None), "-1.5E+10")
    assert not accepts(number(True, Interval(), None), "1e3")
    assert not accepts(number(False, Interval(low=Fraction(0)), None), "1e3")


@pytest.mark.parametrize("step", [1000, 864, 86400, 360])
def test_large_steps(step: int) -> None:
    expression = number(True, Interval(low=Fraction(1)), Fraction(step))
    assert all(accepts(expression, str(step * n)) for n in (1, 2, 99, 123456789))
    assert not any(accepts(expression, str(step * n + d)) for n in (1, 99) for d in (1, -1, step // 2))
    assert not accepts(expression, "0")


@pytest.mark.parametrize("step", ["2003", "123456789", "0.123456789", "98249283749234923"])
def test_steps_of_any_size(step: str) -> None:
    value = Fraction(step)
    expression = number(False, Interval(), value)
    for n in (1, 17, 10**9 + 7):
        assert accepts(expression, f"{Decimal(step) * n:f}"), n
    assert not accepts(expression, "1")


@settings(max_examples=60, deadline=None)
@given(
    step=st.sampled_from(["1", "2", "3", "10", "0.5", "0.25", "2.5", "0.3", "7"]).map(Fraction), samples=st.lists(texts)
)
def test_what_is_no_multiple(step: Fraction, samples: list[str]) -> None:
    expression = number(False, Interval(), None, (step,))
    for text in [*samples, "0", "0.5", "0.50", "0.51", "3", "10", "10.0", "7.25"]:
        assert accepts(expression, text) == ((Fraction(text) / step).denominator != 1), text
    shortest = POOL.shortest(expression)
    assert shortest is not None
    assert (Fraction(shortest.decode()) / step).denominator != 1


def test_a_step_with_too_many_residues_beside_bounds_is_refused() -> None:
    with pytest.raises(GrammarError, match="multiples of 2003 beside bounds need more than 2000 states"):
        number(True, Interval(low=Fraction(1)), Fraction(2003))


def test_bounds_as_large_as_floats_get() -> None:
    most = Fraction(Decimal("1.7976931348623157e308"))
    expression = number(False, Interval(-most, most), None)
    assert accepts(expression, str(int(most)))
    assert accepts(expression, "-0.5")
    assert not accepts(expression, str(int(most) + 1))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (Decimal("3.0"), "3"),
        (Decimal("1.50"), "1.5"),
        (Decimal("1e22"), "1e+22"),
        (-0, "0"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_the_spelling_of_listed_numbers(value: int | Decimal, text: str) -> None:
    assert spelled_number(value) == text


def test_the_spelling_of_listed_numbers_never_rounds() -> None:
    assert spelled_number(Decimal("0.1000000000000000000001")) == "0.1000000000000000000001"
