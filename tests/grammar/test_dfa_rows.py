"""Transitions that are written for many bytes at once, or for one by itself: each leads where the derivative says."""

from __future__ import annotations

import random

import hypothesis.strategies as st
from hypothesis import given, settings

from rootform.grammar.dfa import DEAD, UNKNOWN, Dfa
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.pools import current, using

randoms = st.randoms(use_true_random=False)


def after(item: int, byte: int) -> int:
    return POOL.pruned(POOL.raw_derivative(item, byte))


@settings(max_examples=100, deadline=None)
@given(rng=randoms, is_body_known=st.booleans())
def test_every_transition_is_the_derivative(rng: random.Random, is_body_known: bool, random_expression) -> None:
    """Of alternatives, and of texts without some others: these take over what is known of the texts."""
    pool = current().fork()
    with using(pool):
        body, without = (random_expression(rng, regular=True)[0] for _ in range(2))
        wide = POOL.repeat(POOL.byte_set(range(rng.randint(60, 100), 126)), 0, None)
        for item in (POOL.alt(body, without), POOL.and_(body, POOL.not_(without)), POOL.and_(wide, POOL.not_(body))):
            if POOL.is_empty(item):
                continue
            dfa = Dfa(pool)
            for each in (body, wide) if is_body_known else ():
                if not POOL.is_empty(each):
                    dfa.complete(dfa.state(each))
            state = dfa.state(item)
            if dfa.halts(state):
                continue
            order = list(range(256))
            rng.shuffle(order)
            for byte in order[: rng.choice([1, 5, 256])]:
                assert dfa.expression(dfa.step(state, byte)) == after(item, byte)
            dfa.find_edges([(state, byte) for byte in order[5:10]])
            assert UNKNOWN not in dfa.transitions[state, order[5:10]]
            for byte, found in enumerate(dfa.transitions[state].tolist()):
                if found != UNKNOWN:
                    assert (EMPTY if found == DEAD else dfa.expression(found)) == after(item, byte)


def test_a_reference_that_was_opened_is_not_asked_for_again_nor_in_a_copy() -> None:
    pool, calls = current().fork(), []

    def meaning() -> int:
        calls.append(1)
        return pool.literal(b"ab")

    with using(pool):
        pool.define("opened", meaning)
        item = pool.ref("opened")
        assert pool.first(item) == 1 << ord("a")
        copy = pool.fork()
    with using(copy):
        assert copy.fullmatch(item, b"ab")
        assert not copy.fullmatch(item, b"a")
    assert calls == [1]


def test_what_is_seen_to_begin_with_a_byte() -> None:
    pool = current().fork()
    with using(pool):
        pool.define("later", lambda: pool.literal(b"x"))
        later, text = pool.ref("later"), pool.literal(b"ab")
        assert all(map(pool.begins_with_byte, (text, pool.frame(text), pool.alt(text, pool.literal(b"c")))))
        either = pool.alt(text, later)
        for item in (later, either, pool.concat(pool.repeat(text, 0, 1), later), pool.alt(text, pool.frame(either))):
            assert not pool.begins_with_byte(item)
