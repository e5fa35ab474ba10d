"""Shortest texts of intersections that differ in what they count."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import pytest

from rootform.grammar.chars import JSON_CHAR
from rootform.grammar.expr import EMPTY, EPSILON, POOL, Exprs
from rootform.grammar.regex import compile_pattern

LETTER = POOL.byte_set(b'ab,"')


def test_shortest_texts_beside_counts(random_expression: Callable[..., tuple]) -> None:
    rng, n_empty = random.Random(3), 0
    for _ in range(150):
        (first, language), (second, other) = (random_expression(rng, regular=True) for _ in range(2))
        for lo, hi in ((0, 3), (0, 2), (1, 4), (2, 3), (4, 4), (0, 1)):
            before, rest = rng.choice([(LETTER, 1), (EPSILON, 0)])
            counted = POOL.concat(before, POOL.counted(LETTER, lo, hi - rest))
            item = POOL.and_(first, second, counted)
            wanted = {text for text in language & other if lo + rest <= len(text) <= hi}
            shortest = POOL.shortest(item)
            assert POOL.is_empty(item) == (not wanted)
            assert (shortest is None) == (not wanted)
            assert shortest is None or (shortest in wanted and len(shortest) == min(map(len, wanted)))
            n_empty += not wanted
    assert n_empty > 100


@pytest.mark.parametrize("limits", [((0, 40), (0, 3), (0, 2)), ((0, 2), (0, 3), (0, 40)), ((5, 6), (2, 4), (1, 3))])
def test_what_must_be_in_a_text_needs_room_for_each(limits: tuple[tuple[int, int], ...]) -> None:
    pattern = "^(?=.*[a-z])(?=.*[0-9])(?=.*[^\\w])[^x]*$"
    body = compile_pattern(pattern, mode="search", encoding="json")
    for lo, hi in limits:
        shortest = POOL.shortest(POOL.and_(body, POOL.counted(JSON_CHAR, lo, hi)))
        assert (shortest is None) == (hi < 3)
        assert shortest is None or len(shortest) == max(lo, 3)


class Closed(NamedTuple):
    """A rule of which it is not known whether each text may end; nothing follows."""

    def is_free(self) -> bool:
        return False

    def outline(self, body: int, text: bytes) -> int:
        return EMPTY


def test_ways_to_a_captured_text_are_not_counted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at each step to the same one, behind each of which there are two again."""
    item = POOL.capture(POOL.byte_set(b"x"), b"", cast(Any, Closed()))
    for step in range(16):
        name = POOL.literal(b"step%d" % step)
        item = POOL.alt(POOL.concat(name, POOL.literal(b"!y"), item), POOL.concat(name, POOL.literal(b"?n"), item))
    looked_at: list[int] = []
    node = Exprs.node
    monkeypatch.setattr(Exprs, "node", lambda pool, each: looked_at.append(each) or node(pool, each))
    assert POOL.is_empty(item)
    assert len(looked_at) < 5_000
