"""What is told of captured texts by the values that may not be: against trying each."""

from __future__ import annotations

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.captures import has_others
from rootform.grammar.counts import Way, left
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.json_equal import values_equal
from rootform.grammar.json_layout import layout
from rootform.grammar.unique import Elements

COMPACT, FLEXIBLE = layout("compact"), layout("flexible")
WORDS = (b"a", b"ab", b"aab", b"abx", b"b", b"bu", b"bux", b"x")
TEXT_WORDS = [word.decode() for word in WORDS]


@settings(deadline=None, max_examples=60)
@given(taken=st.sets(st.sampled_from(TEXT_WORDS)), flexible=st.booleans(), cut=st.integers(0, 3))
def test_whether_a_text_can_still_become_another(taken: set[str], flexible: bool, cut: int) -> None:
    """Told by values alone, it is as if each had been tried."""
    form = FLEXIBLE if flexible else COMPACT
    body = POOL.alt(*[values_equal(form, word) for word in TEXT_WORDS])
    rule = rule_of(body, taken)
    for word in TEXT_WORDS:
        start = word[:cut]
        possible = any(other.startswith(start) for other in set(TEXT_WORDS) - taken)
        spellings = [start, "".join(f"\\u{ord(letter):04x}" for letter in start)]
        for spelled in spellings if flexible else [start]:
            text = b'"' + spelled.encode()
            assert has_others(rule, POOL.rest(body, text), text, None) is possible
            assert has_others(rule, POOL.rest(body, text), text, frozenset(TEXT_WORDS)) is possible
    assert has_others(rule, POOL.rest(body, b'"a"'), b'"a"', None) is None


LISTED = ("", "a", "/", "a/b", "\n", 'a"', "\\", "é", "éa", "ee", "\U0001f600", "\U0001f600b", "\U0001f601", "\ud7ff")


def spelled(word: str, rng: random.Random) -> bytes:
    """A text of a string in one of the ways that JSON allows."""
    out = []
    for letter in word:
        units = json.dumps(letter)[1:-1] if ord(letter) > 127 else f"\\u{ord(letter):04x}"
        plain = json.dumps(letter, ensure_ascii=False)[1:-1]
        out.append(
            rng.choice([plain, units, "\\u".join(units.upper().split("\\U")), "\\/" if letter == "/" else plain])
        )
    return '"{}"'.format("".join(out)).encode()


@settings(deadline=None, max_examples=150)
@given(data=st.data(), taken=st.sets(st.sampled_from(LISTED)), gone=st.sets(st.sampled_from(LISTED), max_size=2))
def test_what_is_told_of_listed_strings_is_what_is_left_of_them(data, taken: set[str], gone: set[str]) -> None:
    """Of any beginning of any spelling of any of them, escapes cut in the middle too."""
    form = layout("flexible", "minimal") if data.draw(st.booleans()) else FLEXIBLE
    body = POOL.alt(*[values_equal(form, word) for word in LISTED])
    text = spelled(data.draw(st.sampled_from(LISTED)), random.Random(data.draw(st.integers(0, 1 << 20))))
    text = text[: data.draw(st.integers(0, len(text) - 1))]
    rest = POOL.rest(body, text)
    if rest == EMPTY:
        return  # minimal escapes have no such text
    rule = rule_of(body, taken)
    told = has_others(rule, rest, text, frozenset(LISTED), frozenset(gone))
    others = [value for value in LISTED if value not in taken | gone]
    possible = any(not POOL.is_empty(POOL.and_(rest, POOL.rest(values_equal(form, each), text))) for each in others)
    is_split = b"\\" in text and text.decode(errors="replace").endswith("\ufffd")
    may_not_be_told = is_split or form is not FLEXIBLE
    assert told is possible or (may_not_be_told and told is None) or (not text and not gone and told), text


def rule_of(body: int, taken: set[str]) -> Elements:
    return Elements(FLEXIBLE, (), (Way(body),), left(0, None, ()), frozenset(taken))
