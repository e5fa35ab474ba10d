"""The benchmark of the radix tree: the best order and the bound against all orders and choices, on small prompts."""

from __future__ import annotations

import json
from functools import cache
from itertools import permutations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rootform.benchmarks import radix
from rootform.benchmarks.cache_traces import TRACES, computed, fewest_in_order
from rootform.benchmarks.serving_workload import distinct_prefixes

prompts = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=5)


def pages_of(prompts: list[list[int]]) -> list[tuple[int, ...]]:
    return [tuple(prompt[:end]) for prompt in prompts for end in range(1, len(prompt) + 1)]


@settings(max_examples=100, deadline=None)
@given(prompts)
def test_sorted_prompts_compute_each_distinct_prefix_once_and_no_order_does_with_less(prompts):
    assume(len({tuple(each) for each in prompts}) == len(prompts))
    room = max(map(len, prompts))
    fewest = distinct_prefixes(prompts)
    assert fewest == len(set(pages_of(prompts)))
    assert computed(sorted(prompts), room) == fewest
    assert min(computed(order, room) for order in permutations(prompts)) >= fewest


@settings(max_examples=60, deadline=None)
@given(prompts, st.integers(1, 4))
def test_the_bound_is_what_the_best_choices_cost_for_single_tokens(prompts, room):
    row = pages_of(prompts)

    @cache
    def fewest(at: int, kept: frozenset) -> int:
        if at == len(row):
            return 0
        if row[at] in kept:
            return fewest(at + 1, kept)
        if len(kept) < room:
            return 1 + fewest(at + 1, kept | {row[at]})
        return 1 + min(fewest(at + 1, kept - {gone} | {row[at]}) for gone in kept)

    bound = fewest_in_order(prompts, room)
    assert bound == fewest(0, frozenset())
    if room >= max(map(len, prompts)):
        assert bound <= computed(prompts, room)
        assert bound <= computed(prompts, room, by_age=True)


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_comes_from_its_seed_and_shares_prefixes(name):
    trace = TRACES[name](3, 60)
    assert trace == TRACES[name](3, 60) != TRACES[name](4, 60)
    assert len(trace) == 60
    assert distinct_prefixes(trace) < sum(map(len, trace))


def test_what_is_too_long_for_memory_is_refused():
    with pytest.raises(ValueError, match="no room"):
        computed([[1, 2, 3]], 2)


def test_texts_read_once_go_first_and_that_pays():
    row = radix.measure_short("families", 300, 1)
    assert row.sorted == row.fewest <= row.bound <= row.computed < 0.85 * row.by_age


def test_the_tables_and_the_file(tmp_path, capsys):
    assert radix.main(["--sizes", "4000", "--requests", "40", "--json", str(tmp_path / "out.json")]) == 0
    written = json.loads((tmp_path / "out.json").read_text())
    assert [row["trace"] for row in written["short"]] == list(TRACES)
    (growth,) = written["growth"]
    assert 4000 <= growth["tokens"] <= 6000
    assert all(growth[name] > 0 for name in ("match", "peek", "miss", "insert", "lock", "evict"))
    shown = capsys.readouterr().out
    assert all(f"| {name} |" in shown for name in TRACES)
