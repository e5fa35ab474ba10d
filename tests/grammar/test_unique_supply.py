"""Whether elements that must differ leave enough for those behind them: against writing each and looking."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar import capture_masks, unique_supply
from rootform.grammar.automaton import Automaton
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.counts import Tally, Way, left
from rootform.grammar.expr import POOL
from rootform.grammar.json_equal import read
from rootform.grammar.json_layout import layout
from rootform.grammar.json_values import ANY_TEXT, string
from rootform.grammar.pools import using
from rootform.grammar.schema_compile import compile_schema
from rootform.grammar.unique import Elements
from rootform.grammar.unique_supply import leaves_enough, spelled_once
from rootform.grammar.vocab import Vocabulary

COMPACT = layout("compact")
TEXTS = (b"1", b"2", b"33", b'"a"', b'"b"', b'"ab"', b'"\\u0061"')
ANY_STRING = string(ANY_TEXT)


def some_ways(rng: random.Random, n_tallies: int) -> tuple[Way, ...]:
    values = [POOL.literal(text) for text in rng.sample(TEXTS, rng.randint(0, 3))]
    if rng.random() < 0.5:
        values.append(ANY_STRING)
    return tuple(Way(value, frozenset(i for i in range(n_tallies) if rng.random() < 0.5)) for value in values)


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=150, deadline=None)
def test_what_leaves_enough_leads_to_no_dead_end(seed: int) -> None:
    rng = random.Random(seed)
    lows = [rng.randint(0, 2) for _ in range(rng.choice([0, 1, 1, 2]))]
    tallies = tuple(Tally(low, rng.choice([None, None, low + 1])) for low in lows)
    prefix = tuple(some_ways(rng, len(tallies)) for _ in range(rng.choice([0, 0, 1, 2, 3])))
    still = left(rng.choice([0, 0, 1, 3]), rng.choice([None, None, 4]), tallies)
    seen = frozenset(map(read, rng.sample(TEXTS, rng.randint(0, 4))))
    with using(POOL.fork()):
        rule = Elements(COMPACT, prefix, some_ways(rng, len(tallies)), still, seen)
        now = tuple(way for way, _ in rule._ways())
        if not leaves_enough(COMPACT, now, rule.prefix[1:], rule.items, still, seen, rule._wanted()):
            return
        texts = [text for text in (*TEXTS, b'"c"') if any(POOL.fullmatch(way.value, text) for way in now)]
        texts = [text for text in texts if read(text) not in seen]
        assert texts
        for text in texts:
            assert not POOL.is_empty(rule.after(text)), text
            if not POOL.is_empty(POOL.rest(rule.vaguely(text), b",")):
                assert not POOL.is_empty(POOL.rest(rule.after(text), b",")), text


STRINGS: Any = {"type": "string"}
UNIQUE: Any = {"type": "array", "uniqueItems": True, "items": STRINGS}


@pytest.mark.parametrize("spacing", ["compact", "flexible"])
@pytest.mark.parametrize(
    ("schema", "begun"),
    [
        ({**UNIQUE, "contains": {"const": "a"}}, b'["b",'),
        ({**UNIQUE, "contains": {"enum": ["a", "ab"]}, "minItems": 3}, b'["ab",'),
        ({**UNIQUE, "contains": {"enum": ["a", "ab", "b"]}, "minContains": 2}, b'["b","c",'),
        ({**UNIQUE, "prefixItems": [{"type": "integer", "minimum": 0, "maximum": 2}]}, b"[1,"),
        ({**UNIQUE, "prefixItems": [STRINGS, {"const": 0}], "items": {"enum": ["a", "b"]}}, b"["),
    ],
    ids=["const", "enum", "two", "behind few", "before few"],
)
def test_few_values_that_are_needed_have_few_tokens_followed(schema: Any, begun: bytes, spacing: Any) -> None:
    """Of all the strings that may come, only those that begin as what is needed does, or was there."""
    words = [b'"' + bytes([a, b, c]) for a in b"cdefgh" for b in b"abcdefgh" for c in b"abcdefgh"]
    spelled = [bytes([byte]) for byte in b'0123456789abcdefghu{}[]",:\\']
    eos = len(spelled) + len(words)
    automaton = Automaton(Vocabulary([*spelled, *words, b""], [eos], eos + 1))
    followed: list[int] = []
    may_come = capture_masks.CaptureMasks._may_come

    def noted(masks: Any, place: Any, reader: Any, token: int) -> bool:
        followed.append(token)
        return may_come(masks, place, reader, token)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capture_masks.CaptureMasks, "_may_come", noted)
        place = automaton.start(automaton.compile(JsonSchema(json.dumps(schema), spacing)))
        for byte in begun:
            after = automaton.after(*place, spelled.index(bytes([byte])))
            assert after is not None
            place = after
        row_id = automaton.row_at(*place)
        row = automaton.rows[row_id]
        tokens = range(len(spelled), eos)
        assert all(row[token >> 5] >> np.uint32(token & 31) & 1 for token in tokens)
        assert len(followed) < 20


def test_strings_that_count_are_spelled_as_they_count() -> None:
    few, many = Way(POOL.literal(b'"a"'), frozenset([0])), Way(POOL.alt(ANY_STRING, POOL.literal(b"1")))
    counted, others = spelled_once(COMPACT, (few, many))
    assert counted == few
    for text, remains in ((b'"a"', True), (b'"\\u0061"', False), (b'"\\u0061b"', True), (b'"b"', True), (b"1", True)):
        assert POOL.fullmatch(others.value, text) is remains


def test_no_more_values_are_looked_for_than_could_be_used_up() -> None:
    pairs = {"type": "array", "uniqueItems": True, "items": {"enum": ["a", "b c"]}, "maxItems": 1}
    with using(POOL.fork()), pytest.MonkeyPatch.context() as patch:
        wanted: list[int] = []
        known = unique_supply.values_behind
        patch.setattr(unique_supply, "values_behind", lambda *asked: wanted.append(asked[2]) or known(*asked))
        value = compile_schema(JsonSchema(json.dumps(pairs), "flexible"))
        rule = Elements(COMPACT, (), (Way(value),), left(0, None, ()), frozenset([read(b"[]"), read(b'["a"]')]))
        assert not rule.is_free(), "there is but one left, and behind it a comma could come"
        assert max(wanted) == 4
