"""Text as it comes: never half a character, never a piece of a stop string."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rootform.engine.detokenise import Detokeniser
from rootform.engine.stops import StopMatcher


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(bounds)]


@given(text=st.text(), cuts=st.lists(st.integers(0, 1000)))
def test_text_cut_anywhere_comes_out_whole_and_in_characters(text, cuts):
    tokens = pieces_of(text.encode(), cuts)
    detokeniser = Detokeniser(tokens)
    shown = ""
    for n, token in enumerate(tokens):
        shown += detokeniser.push(n)
        assert text.startswith(shown)
        assert len(shown.encode()) > len(b"".join(tokens[: n + 1])) - 4, f"{token!r} was held back needlessly"
    assert shown + detokeniser.finish() == text


@given(data=st.binary(), cuts=st.lists(st.integers(0, 1000)))
def test_broken_utf8_becomes_what_python_makes_of_it(data, cuts):
    tokens = pieces_of(data, cuts)
    detokeniser = Detokeniser(tokens)
    shown = "".join(detokeniser.push(n) for n in range(len(tokens)))
    assert shown + detokeniser.finish() == data.decode("utf-8", errors="replace")


def test_ids_without_bytes_show_nothing():
    detokeniser = Detokeniser([b"", b"a"])
    assert [detokeniser.push(token) for token in (0, 99, 1)] == ["", "", "a"]


def plain_stop(text, stops):
    """One character at a time: the first stop string that is complete, the longest when several are at once."""
    for end in range(len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            stop = max(complete, key=len)
            return text[: end - len(stop)], stop
    return text, None


@given(
    text=st.text("ab\n", max_size=30),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 30)),
)
def test_stops_agree_with_reading_one_character_at_a_time(text, stops, cuts):
    want, matched = plain_stop(text, stops)
    matcher, shown = StopMatcher(stops), ""
    for piece in pieces_of(text.encode(), cuts):
        shown += matcher.push(piece.decode())
        assert want.startswith(shown), "a part of the stop string was shown"
    assert (shown + matcher.flush(), matcher.matched) == (want, matched)


def test_text_that_cannot_begin_a_stop_is_shown_at_once():
    matcher = StopMatcher(["END", "\n\n"])
    assert [matcher.push(piece) for piece in ("ab", "c\n", "d", "E", "N", "x")] == ["ab", "c", "\nd", "", "", "ENx"]
