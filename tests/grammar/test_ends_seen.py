"""What is seen of expressions without a search: texts they have, and what all of their texts are made of."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from rootform.grammar import formats
from rootform.grammar import made_of as made_of_module
from rootform.grammar.chars import JSON_CHAR, Encoding
from rootform.grammar.dfa import DEAD, Dfa
from rootform.grammar.expr import EMPTY, POOL, Exprs
from rootform.grammar.made_of import MadeOf
from rootform.grammar.name_ends import NameEnds
from rootform.grammar.nodes import Kind
from rootform.grammar.regex import compile_pattern

UNITS = (JSON_CHAR, POOL.byte_set(b'ab,"'), POOL.alt(POOL.byte_set(b"a"), POOL.literal(b'b"')))


def test_what_stands_behind_a_text_is_what_its_bytes_lead_to(random_expression: Callable[..., tuple]) -> None:
    rng = random.Random(3)
    for _ in range(200):
        item, _ = random_expression(rng)
        text = bytes(rng.choices(b'ab,"', k=rng.randint(0, 5)))
        one_by_one = item
        for byte in text:
            one_by_one = POOL.raw_derivative(one_by_one, byte)
        assert POOL.rest(item, text) == one_by_one


def test_a_way_out_is_a_text_of_the_expression(random_expression: Callable[..., tuple]) -> None:
    rng, n_seen = random.Random(5), 0
    for _ in range(300):
        item, _ = random_expression(rng, regular=True)
        found = POOL.way_out(item, rng.randint(0, 20), rng.randint(1, 6))
        if found is not None:
            n_seen += 1
            assert POOL.fullmatch(item, found)
    assert n_seen > 100


@pytest.mark.parametrize("unit", UNITS)
def test_what_is_made_of_characters_has_no_text_that_is_not(unit: int, random_expression: Callable[..., tuple]) -> None:
    rng, made_of = random.Random(7), MadeOf(POOL, unit)
    others = POOL.not_(POOL.repeat(unit, 0, None))
    for _ in range(150):
        item, _ = random_expression(rng, regular=True)
        if made_of.holds(item):
            assert POOL.is_empty(POOL.and_(item, others))


def test_host_names_and_patterns_are_seen_to_be_made_of_characters() -> None:
    made_of = MadeOf(POOL, JSON_CHAR)
    kind, members = POOL.node(formats.body("hostname"))
    assert kind == Kind.AND
    assert made_of.holds(POOL.and_(*[part for part in members if POOL.kind(part) != Kind.COUNTED]))
    assert made_of.holds(compile_pattern("(foo|b[aß]r|\\n)x?", mode="fullmatch", encoding="json"))


def test_half_of_a_character_and_counted_runs_are_no_whole_ones() -> None:
    made_of = MadeOf(POOL, JSON_CHAR)
    body = compile_pattern("(aß?)?ß", mode="fullmatch", encoding="json")
    assert made_of.holds(body)
    assert not made_of.holds(POOL.rest(body, "ß".encode()[:1]))
    assert made_of.holds(POOL.rest(body, "aß".encode()))
    assert not made_of.holds(POOL.counted(JSON_CHAR, 0, 5))
    assert made_of.holds(EMPTY)


def test_ends_of_states_are_ends() -> None:
    dfa, rng = Dfa(POOL), random.Random(2)
    texts = [compile_pattern(each, mode="fullmatch", encoding="json") for each in ("a+üb?", "中[x-z]{3}")]
    start = dfa.state(POOL.alt(*texts))
    states = [start]
    for _ in range(300):
        after = dfa.step(rng.choice(states), rng.choice("aübxyz中".encode()))
        states += [after] if after != DEAD else []
    for is_found in (False, True):
        ends = NameEnds(dfa)
        if is_found:
            ends.find(sorted(set(states)))
        for state in set(states):
            assert POOL.fullmatch(dfa.expression(state), ends[state])


@pytest.mark.parametrize("encoding", ["utf8", "json"])
def test_sets_of_bytes_are_those_of_all_parts(encoding: Encoding) -> None:
    texts = ("(foo|b[aß]r|\\n)x?", "a*(bc?|[d-f]+)*", "(a|b(c|d(e|f(g|h))))", "")
    for item in (compile_pattern(text, mode="fullmatch", encoding=encoding) for text in texts):
        parts = _parts_of(item)
        found = POOL.sets_in(item, 64)
        assert found is not None
        assert set(np.flatnonzero(found.is_part).tolist()) == parts
        masks = {POOL.node(part)[1] for part in parts if POOL.kind(part) == Kind.SET}
        assert sorted(map(POOL.mask_of, found.numbers)) == sorted(masks)
        assert POOL.sets_in(POOL.alt(item, POOL.not_(POOL.literal(b"q"))), 64) is None
        assert POOL.sets_in(POOL.concat(item, POOL.counted(POOL.byte_set(b"ab"), 2, 9)), 64) is None
    assert POOL.sets_in(POOL.literal(b"abc"), 3) is not None
    assert POOL.sets_in(POOL.literal(b"abc"), 2) is None


def _parts_of(item: int) -> set[int]:
    kind, *inside = POOL.node(item)
    below = {Kind.CAT: inside, Kind.ALT: inside[0] if inside else (), Kind.REPEAT: inside[:1]}.get(kind, ())
    return {item}.union(*map(_parts_of, below))


@pytest.mark.parametrize("unit", UNITS)
def test_many_parts_are_seen_as_few_are(
    unit: int, random_expression: Callable[..., tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether all bytes are looked at first, or each part by itself."""
    rng, n_seen = random.Random(11), 0
    for _ in range(300):
        item, _ = random_expression(rng, regular=True)
        answers = []
        for few in (1, 1 << 30):
            monkeypatch.setattr(made_of_module, "_FEW", few)
            made_of = MadeOf(POOL, unit)
            answers.append([made_of.holds(each) for each in (item, *[POOL.raw_derivative(item, b) for b in b'ab,"'])])
        assert answers[0] == answers[1]
        n_seen += sum(answers[0])
    assert n_seen > 20


def test_times_are_seen_to_be_made_of_characters_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have thousands of parts: leap seconds at all offsets."""
    looked_at: list[int] = []
    node = Exprs.node
    monkeypatch.setattr(Exprs, "node", lambda pool, each: looked_at.append(each) or node(pool, each))
    made_of = MadeOf(POOL, JSON_CHAR)
    assert made_of.holds(formats.body("time"))
    assert made_of.holds(POOL.rest(formats.body("date-time"), b"2024"))
    assert len(looked_at) < 1_000
