"""Who runs next, as plain lists: budgets, order, waiting for a shared prefix, age."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rootform.engine.limits import derive_limits
from rootform.engine.plan import Candidate, InFlight, choose


def limits(max_batch=8, prefill_tokens=100):
    return derive_limits(
        context_tokens=1000, page_tokens=1, total_pages=5000, max_batch=max_batch, prefill_tokens=prefill_tokens
    )


def ids(*parts):
    """ids("a", 30, "b", 5): thirty tokens that depend on "a", then five that depend on "b"."""
    runs = [np.full(n, ord(letter), dtype=np.int32) for letter, n in zip(parts[::2], parts[1::2], strict=True)]
    return np.concatenate(runs)


def candidate(key, *parts, cached=0, age=0, namespace=""):
    return Candidate(key, ids(*parts), namespace, cached, age)


def running(key, *parts, computed, prefilling=False, namespace=""):
    return InFlight(key, ids(*parts), namespace, computed, prefilling)


def test_decoding_sequences_always_run_and_take_nothing_from_the_prefill_budget():
    plan = choose(
        [candidate(9, "z", 100)],
        [running(1, "a", 50, computed=49), running(2, "b", 50, computed=40)],
        limits(prefill_tokens=60),
    )
    assert plan.tokens == {1: 1, 2: 10, 9: 60}
    assert plan.joins == (9,)


def test_prompts_begun_come_before_new_ones():
    plan = choose(
        [candidate(3, "c", 50)],
        [running(1, "a", 80, computed=20, prefilling=True), running(2, "b", 80, computed=0, prefilling=True)],
        limits(prefill_tokens=100),
    )
    assert plan.tokens == {1: 60, 2: 40}
    assert plan.joins == ()


def test_rows_are_bounded():
    plan = choose([candidate(n, chr(n), 5) for n in range(65, 75)], [running(1, "z", 5, computed=4)], limits(4))
    assert plan.joins == (65, 66, 67)


def test_longest_cached_prefix_first_but_not_before_the_overtaken():
    waiting = [
        candidate(1, "a", 50, age=64),
        candidate(2, "b", 50, cached=10),
        candidate(3, "c", 50, cached=40),
        candidate(4, "d", 50, cached=10),
    ]
    assert choose(waiting, [], limits(prefill_tokens=1000)).joins == (1, 3, 2, 4)


def test_a_prefix_being_computed_is_waited_for():
    waiting = [
        candidate(2, "a", 40, "b", 9),
        candidate(3, "a", 10, "c", 9),
        candidate(4, "a", 40, "d", 9, cached=30),
        candidate(5, "a", 40, "b", 9, namespace="other"),
    ]
    plan = choose(waiting, [running(1, "a", 45, computed=20, prefilling=True)], limits())
    assert plan.waits == {2: 1}  # 3 shares too little, 4 has nearly all of it already, 5 may not know
    assert set(plan.joins) == {3, 4, 5}


def test_among_those_who_join_together_one_computes_for_all():
    plan = choose([candidate(n, "a", 40, chr(n), 3) for n in range(65, 70)], [], limits())
    assert plan.joins == (65,)
    assert plan.waits == dict.fromkeys(range(66, 70), 65)


def test_nobody_waits_for_a_sequence_that_only_decodes():
    plan = choose([candidate(2, "a", 40)], [running(1, "a", 40, computed=39)], limits())
    assert plan.waits == {}


short_rows = st.lists(st.integers(0, 1), min_size=1, max_size=40).map(lambda row: np.array(row, dtype=np.int32))


@given(
    waiting=st.lists(st.tuples(short_rows, st.integers(0, 90)), max_size=12),
    prefilling=st.lists(short_rows, max_size=4),
    rows=st.integers(4, 8),
    budget=st.integers(1, 60),
)
def test_every_plan_keeps_to_the_limits(waiting, prefilling, rows, budget):
    candidates = [Candidate(n, row, "", 0, age) for n, (row, age) in enumerate(waiting)]
    begun = [InFlight(100 + n, row, "", 0, True) for n, row in enumerate(prefilling)]
    plan = choose(candidates, begun, limits(rows, budget))
    wanted = {each.key: len(each.ids) for each in [*candidates, *begun]}
    assert sum(plan.tokens.values()) <= budget
    assert len(begun) + len(plan.joins) <= rows
    assert all(1 <= n <= wanted[key] for key, n in plan.tokens.items())
    assert set(plan.joins) <= plan.tokens.keys()
    assert not plan.waits.keys() & plan.tokens.keys()
    assert all(owner in plan.joins or owner >= 100 for owner in plan.waits.values())
    if candidates or begun:
        assert plan.tokens, "something always runs"
