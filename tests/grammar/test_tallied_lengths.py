"""Least lengths of members that are counted, against all ways to write them."""

from __future__ import annotations

from itertools import combinations_with_replacement, product
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from rootform.grammar.counts import Left, Tally
from rootform.grammar.tallied_lengths import Counts, Option, TalliedLengths, least_length
from rootform.grammar.witness import NEVER

_MOST_OTHERS = 6  # as many as could have to come
_N_TALLIES = 2

tallies = st.builds(Tally, st.integers(0, 2), st.none() | st.integers(0, 2))
lefts = st.builds(Left, tallies, st.tuples(*[tallies] * _N_TALLIES))
options = st.builds(Option, st.integers(0, 9), st.tuples(*[st.integers(0, 1)] * (1 + _N_TALLIES)))
members = st.lists(st.lists(options, min_size=1, max_size=3), max_size=3)
others = st.lists(options, max_size=2)


def less(left: Left, counts: frozenset[int]) -> Left:
    return left.after(counts) or left


def fits(counts: Counts, left: Left) -> bool:
    bounds = (left.total, *left.tallies)
    return all(low <= n and (high is None or n <= high) for n, (low, high) in zip(counts, bounds, strict=True))


def plainly(given: list[list[Option]], others: list[Option], most: Left, left: Left) -> int:
    """most: what was still to come before, beyond which nothing counts."""
    upper = Left(*(Tally(0, most.total.high), tuple(Tally(0, each.high) for each in most.tallies)))
    found = NEVER
    for n in range(_MOST_OTHERS + 1):
        for more in combinations_with_replacement(others, n):
            for chosen in product(*given):
                written = [*chosen, *more]
                counts = tuple(sum(each.counts[i] for each in written) for i in range(1 + _N_TALLIES))
                if fits(counts, upper) and fits(counts, left):
                    found = min(found, sum(each.length for each in written))
    return found


@settings(max_examples=120, deadline=None)
@given(members, others, lefts, st.frozensets(st.integers(0, _N_TALLIES - 1)), st.data())
def test_lengths_are_the_least_of_all_ways(
    members: list[list[Option]], others: list[Option], left: Left, counts: frozenset[int], data: Any
) -> None:
    assert least_length(members, others, left) == plainly(members, others, left, left)
    lengths = TalliedLengths(members, others, left)
    assert lengths.is_known
    index = data.draw(st.none() | st.sampled_from(range(len(members)))) if members else None
    rest = members if index is None else members[:index] + members[index + 1 :]
    then = less(left, counts)
    assert lengths.least(lengths.besides(index), then) == plainly(rest, others, left, then)


def test_bounds_may_be_large_and_not_met() -> None:
    once = [Option(3, (1, 1, 0))]
    left = Left(Tally(0, None), (Tally(10**12, None), Tally(0, 1)))
    assert least_length([once], [], left) == NEVER
    assert least_length([once], [], left._replace(tallies=(Tally(1, 10**12), Tally(0, 1)))) == 3
    assert least_length([once], [], left._replace(tallies=(Tally(5, 1), Tally(0, 1)))) == NEVER
