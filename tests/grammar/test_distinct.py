"""Keys that are not listed come once: texts against a plain predicate."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.counts import Way
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.json_layout import layout
from rootform.grammar.json_objects import Member, object_
from rootform.grammar.json_values import ANY_TEXT, key, key_besides, string

COMPACT, FLEXIBLE = layout("compact"), layout("flexible")
ONE = (Way(POOL.literal(b"1")),)


def literals(*texts: bytes) -> list[Way]:
    return [Way(POOL.literal(text)) for text in texts]


def within(count: int, low: int, high: int | None) -> bool:
    return low <= count and (high is None or count <= high)


@given(rng=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_keys_that_are_not_listed_come_once(rng: random.Random) -> None:
    low, high = rng.choice([0, 1, 2, 3]), rng.choice([None, None, 2, 3])
    any_order, required = rng.random() < 0.5, rng.random() < 0.5
    one = (Way(POOL.literal(b"1")),)
    others = (
        key_besides(ANY_TEXT, ["a", "b"]) if rng.random() < 0.5 else string(POOL.alt(*map(POOL.literal, (b"x", b"y"))))
    )
    members = [Member(key("a"), one, False), Member(key("b"), one, required)]
    made = object_(COMPACT, members, [Member(others, one, False)], low, high, any_order=any_order, distinct=True)
    keys = ["a", "b", "x", "y", "\\u0078"]
    found = False
    for n in range(5):
        for names in itertools.permutations(keys, n):
            listed = [name for name in names if name in ("a", "b")]
            ordered = any_order or list(names) == sorted(listed) + [name for name in names if name not in listed]
            spelled = "\\u0078" not in names or (POOL.fullmatch(others, b'"\\u0078"') and "x" not in names)
            fits = ordered and spelled and within(n, low, high) and ("b" in names or not required)
            text = "{" + ",".join(f'"{name}":1' for name in names) + "}"
            assert POOL.fullmatch(made, text.encode()) == fits, text
            found |= fits
    assert POOL.is_empty(made) == (not found)
    shortest = POOL.shortest(made)
    assert shortest is None or POOL.fullmatch(made, shortest)


def test_names_that_cannot_be_counted_are_refused() -> None:
    others = [Member(string(ANY_TEXT), ONE, False)]
    with pytest.raises(GrammarError, match="more than 64 members"):
        object_(COMPACT, [], others, 65, distinct=True)
