"""Bounds and multiples, digit by digit, against exact fractions."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
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


exponents = st.integers(-4, 6) | st.sampled_from([-325, -324, -323, 0, 23, 24, 25, 307, 308, 309])
powers = st.builds(lambda n, x: n * Fraction(10) ** x, st.sampled_from([-12, -1, 0, 1, 2, 12, 999]), st.integers(-4, 7))
wide = st.none() | powers | st.sampled_from(["5e-324", "1e308", "1.7976931348623157e308", "1e309"]).map(Fraction)
mantissas = st.sampled_from(["0", "0.0", "1", "1.0", "1.2", "9.99", "4", "5", "1.7976931348623157", "1." + "0" * 25])


@settings(max_examples=150, deadline=None)
@given(
    integer=st.booleans(),
    interval=st.builds(Interval, wide, wide, st.booleans(), st.booleans()),
    step=st.none() | st.sampled_from(["1", "2", "3", "20", "0.01"]).map(Fraction),
    samples=st.lists(st.tuples(st.sampled_from(["", "-"]), mantissas, exponents), min_size=5, max_size=20),
)
def test_with_exponents(
    integer: bool, interval: Interval, step: Fraction | None, samples: list[tuple[str, str, int]]
) -> None:
    """Zeros, and floats; multiples are recognised where their exponent says it, with few digits behind the point."""
    assume(integer or step is not None or not interval.is_unbounded())  # else any is right
    expression = number(integer, interval, step, any_spelling=True)
    expected_step = (step or Fraction(1)) if integer else step
    if integer and step is not None:
        expected_step = Fraction(step.numerator)
    for sign, mantissa, exponent in samples:
        value = Fraction(f"{sign}{mantissa}e{exponent}")
        expected = interval.contains(value)
        if value:
            places = len(mantissa.partition(".")[2])
            expected &= Fraction("5e-324") <= abs(value) <= Fraction("1.7976931348623157e308")
            if expected_step is not None:
                expected &= places <= 24 and (Fraction(10) ** (exponent - places) / expected_step).denominator == 1
        for text in (f"{sign}{mantissa}e{exponent}", f"{sign}{mantissa}E{exponent:+04}"):
            assert accepts(expression, text) == expected, text


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
