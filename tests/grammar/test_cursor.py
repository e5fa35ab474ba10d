"""A cursor says what a batch of one says."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.benchmarks import cursor as cursor_module
from rootform.benchmarks.cursor import Steps
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.expr import POOL


@settings(max_examples=40, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_walks_of_a_cursor_are_those_of_a_batch(rng, toy, random_expression) -> None:
    expression, _ = random_expression(rng)
    if POOL.is_empty(expression):
        return
    automaton = Automaton(toy)
    root, batch, steps = automaton.root_of(expression), StateBatch(automaton), Steps(automaton)
    for _ in range(6):
        slot, cursor = np.array([batch.open(root)], np.int32), steps.open(root)
        for _ in range(8):
            assert cursor.row() == batch.row_ids(slot)[0]
            assert cursor.accepting() == batch.accepting(slot)[0]
            token = rng.randrange(toy.size)
            fork = cursor.copy()
            went = cursor.take(token)
            assert went == batch.advance(slot, np.array([token], np.int32))[0]
            assert fork.take(token) == went
            assert fork.row() == cursor.row()


def test_places_met_are_bounded_and_cursors_outlive_them(toy, monkeypatch) -> None:
    monkeypatch.setattr(cursor_module, "_MOST_PLACES", 3)
    automaton = Automaton(toy)
    steps = Steps(automaton)
    root = automaton.root_of(POOL.literal(b"ab,ab,ab,ab"))
    early, late = steps.open(root), steps.open(root)
    for token in (0, 1, 2, 0, 1, 2):
        assert late.take(token)
    assert len(steps._places) <= 3
    assert early.take(6)
    assert early.take(2)
