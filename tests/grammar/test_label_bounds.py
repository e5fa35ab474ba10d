"""International labels are let through as far as they are short enough once encoded: against the codec of Python."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar import formats, idna
from rootform.grammar.expr import POOL
from rootform.grammar.label_bounds import fits, least_numbers, most_digits
from rootform.grammar.punycode import BASE, threshold

RANGES = {
    "Latin": (0x80, 0x24F, "\xdf\xe0\xff\u0101\u0180\u0233\u0249"),
    "Cyrillic": (0x370, 0x4FF, "\u0371\u03c9\u0430\u044f\u04cf\u04ff"),
    "Indic": (0x900, 0xE7F, "\u0905\u0915\u0b95\u0e01\u0e2d"),
    "kana": (0x3040, 0x30FF, "\u3042\u3093\u30a2\u30f3"),
    "all": (0x80, idna.LAST, "\xdf\u044f\u3042\u9fa5\U00010340\U00020000\U0002a6d6"),
}


def encoded(label: str) -> int:
    """Its octets once encoded."""
    return len(idna.PREFIX) + len(label.encode("punycode"))


def digits(number: int, bias: int) -> int:
    """Of a number, as RFC 3492 writes it."""
    place = 1
    while number >= (least := threshold(bias, place)):
        number = (number - least) // (BASE - least)
        place += 1
    return place


@pytest.mark.parametrize("name", RANGES)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_no_label_takes_more_digits_than_its_bound(name: str, data: st.DataObject) -> None:
    low, high, letters = RANGES[name]
    chars = [*letters, chr(low), chr(low + 1), chr(high), chr(high - 1), chr((low + high) // 2)]
    others = data.draw(st.lists(st.sampled_from(chars), min_size=1, max_size=20))
    plain = data.draw(st.integers(0, 58))
    label = "".join(data.draw(st.permutations([*others, *"a" * plain])))
    counted = encoded(label) - len(idna.PREFIX) - plain - (plain > 0)
    assert counted <= most_digits(plain, len(others), low, high)


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(1, 24).flatmap(lambda bits: st.integers(0, (1 << bits) - 1)))
def test_no_number_is_longer_than_the_least_of_its_length_allows(bias: int, number: int) -> None:
    assert digits(number, bias) <= 1 + sum(number >= least for least in least_numbers())


def test_the_least_numbers_are_as_long_with_some_bias() -> None:
    for size, least in enumerate(least_numbers(), 2):
        assert max(digits(least, bias) for bias in range(400)) == size


@pytest.mark.parametrize("name", RANGES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_what_is_let_through_is_short_enough(name: str, data: st.DataObject) -> None:
    """Near the limit: labels of right letters are let through where their counts fit, and none that is too long."""
    low, high, letters = RANGES[name]
    others = data.draw(st.integers(1, 20))
    most = next((plain for plain in range(58, -1, -1) if fits(plain, others, low, high)), 0)
    plain = data.draw(st.integers(most, min(58, most + 9)))
    chars = [data.draw(st.sampled_from(letters)) for _ in range(others)] + ["a"] * plain
    label = "".join(data.draw(st.permutations(chars)))
    accepted = POOL.fullmatch(formats.body("idn-hostname"), label.encode())
    assert not accepted or encoded(label) <= idna.LONGEST
    assert accepted or not fits(plain, others, low, high)


def test_labels_of_one_script() -> None:
    body = formats.body("idn-hostname")
    for name in (
        "правительство.рф",
        "παράδειγμα.δοκιμή",
        "उदाहरण.परीक्षा",
        "ایرانیکامسایت",
        "インターネットエクスプローラ",
    ):
        assert POOL.fullmatch(body, name.encode()), name
    for label in ("a" * 57 + "ß", "a" * 56 + "ß", "a" * 57 + "\U00020000"):
        assert encoded(label) > idna.LONGEST
        assert not POOL.fullmatch(body, label.encode()), label
