"""Who waits, and in which order places are given: age, priority, cached prefixes, the walk of the tree."""

from __future__ import annotations

import random
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.book import Book
from rootform.engine.limits import derive_limits
from rootform.engine.running import Draws, Sequence
from rootform.engine.types import Request
from rootform.engine.waiting import Waiting

LIMITS = derive_limits(context_tokens=1000, page_tokens=1, total_pages=5000)
FEW = msgspec.structs.replace(LIMITS, overtaken=3, overtaken_offline=5)


def sequence(key, ids=(1,), priority="online", namespace=""):
    request = Request(request_id=key, prompt_ids=tuple(ids), max_new_tokens=4, priority=priority, namespace=namespace)
    return Sequence(request, Book(1), text=None, draws=Draws(1))


def order(waiting, cached=None):
    return [each.key for each, _ in waiting.in_order(lambda each: (cached or {}).get(each.key, 0))]


def test_online_ones_come_by_cached_prefix_then_by_age_and_before_offline_ones():
    waiting = Waiting(LIMITS)
    for key, priority in enumerate(["offline", "online", "online", "online", "online"]):
        waiting.add(sequence(key, priority=priority))
    assert order(waiting, {0: 900, 2: 10, 3: 40, 4: 10}) == [3, 2, 4, 1, 0]


def test_offline_ones_come_in_the_order_of_the_tree():
    rng = random.Random(5)
    prompts = [tuple(rng.choices(range(3), k=rng.randint(1, 9))) for _ in range(60)]
    waiting = Waiting(LIMITS)
    for key, prompt in enumerate(prompts):
        waiting.add(sequence(key, prompt, "offline", namespace=rng.choice(["", "x"])))
    inside = [(each.request.namespace, each.request.prompt_ids) for each, _ in waiting.in_order(lambda _: 0)]
    assert inside == sorted(inside)
    assert len(inside) == 60


def test_who_comes_too_late_for_the_walk_takes_part_in_the_next():
    waiting = Waiting(LIMITS)
    for key in (1, 5, 7):
        waiting.add(sequence(key, (key,), "offline"))
    assert order(waiting)[0] == 1
    waiting.pop(1)
    assert order(waiting)[0] == 5
    waiting.add(sequence(3, (3,), "offline"))
    waiting.add(sequence(6, (6,), "offline"))
    assert order(waiting) == [5, 6, 7, 3]
    for key in (5, 6, 7):
        waiting.pop(key)
    assert order(waiting) == [3]
    waiting.add(sequence(4, (4,), "offline"))
    assert order(waiting) == [3, 4]


def test_a_walk_ends_though_others_keep_coming(monkeypatch):
    monkeypatch.setattr("rootform.engine.waiting._MOST_IN_WALK", 10)
    waiting = Waiting(LIMITS)
    waiting.add(sequence(0, (9,), "offline"))
    key = 0
    while 0 in waiting:
        key += 1
        assert key < 40, "those that come later and sort before it never let it start"
        waiting.add(sequence(key, (5, key), "offline"))
        waiting.pop(order(waiting)[0])


def test_those_put_back_come_first_of_their_priority():
    waiting = Waiting(LIMITS)
    for key, priority in [(1, "offline"), (2, "online"), (3, "offline"), (4, "online")]:
        waiting.add(sequence(key, (key,), priority))
    for key, priority in [(12, "offline"), (11, "online"), (10, "offline")]:
        waiting.put_back(sequence(key, priority=priority))
    assert order(waiting, {4: 9}) == [11, 4, 2, 10, 12, 1, 3]
    assert {each.key for each in waiting.values()} == {1, 2, 3, 4, 10, 11, 12}
    assert waiting.pop(12).key == 12
    assert 12 not in waiting
    assert waiting.pop(12) is None


def test_an_online_one_passed_over_too_often_comes_first():
    waiting = Waiting(FEW)
    waiting.add(sequence(1))
    waiting.add(sequence(2))
    for key in range(3, 6):
        waiting.add(sequence(key))
        assert order(waiting, {key: 50})[0] == key
        waiting.pop(key)
    waiting.add(sequence(6))
    assert order(waiting, {6: 50}) == [1, 2, 6]


def test_those_in_front_of_it_are_not_counted():
    waiting = Waiting(FEW)
    for key in range(1, 11):
        waiting.add(sequence(key))
    for key in range(1, 9):
        assert order(waiting, {10: 50})[0] == 10  # 9 has let nobody pass who came after it
        waiting.pop(key)


def test_an_offline_one_that_online_ones_keep_passing_becomes_one_of_them():
    waiting = Waiting(FEW)
    old = sequence(1, priority="offline")
    waiting.add(old)
    for key in range(2, 7):
        waiting.add(sequence(key))
        assert order(waiting) == [key, 1]
        assert not old.online
        waiting.pop(key)
    waiting.add(sequence(7))
    assert order(waiting) == [1, 7]
    assert old.online


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_nobody_is_passed_over_for_ever_nobody_is_lost(seed):
    """Against a plain list: who is in line is yielded once, and the oldest online one is let through in time."""
    rng = random.Random(seed)
    waiting, there, passed = Waiting(FEW), {}, {}
    for key in range(rng.randint(1, 80)):
        there[key] = rng.choice(["online", "offline"])
        passed[key] = 0
        waiting.add(sequence(key, rng.choices(range(3), k=3), there[key]))
        while there and rng.random() < 0.5:
            cached = {each: rng.randint(0, 9) for each in there}
            found = order(waiting, cached)
            assert sorted(found) == sorted(there)
            first = found[0]
            assert waiting.pop(first).key == first
            kind = there.pop(first)
            for each in there:
                passed[each] += kind == "online" and (there[each] == "offline" or each < first)
        assert all(n <= FEW.overtaken for each, n in passed.items() if there.get(each) == "online")
        assert len(waiting) == len(there)
    ages = [passed[each] for each in there if there[each] == "online"]
    assert all(older >= younger for older, younger in pairwise(ages))
