"""Prices of passes, learned from chosen times: found again exactly, under noise, and after the machine changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.costs import PassCosts, Prices, Work

TRUE = Prices(2e-3, 3e-4, 1e-7, 1e-4, 8e-7, 6e-8)


def seconds(prices: Prices, work: Work) -> float:
    named = [getattr(prices, name) for name in Prices.__struct_fields__]
    return float(np.dot(named, work.row()))


def passes(rng: np.random.Generator, n: int) -> list[Work]:
    """Half of them with a chunk of a prompt."""
    made = []
    for at in range(n):
        rows, chunk, context = rng.integers(1, 65), int(rng.integers(16, 512)) * (at % 2), int(rng.integers(0, 6000))
        pairs = chunk * (context + chunk / 2)
        made.append(Work(int(rows), int(rows) * int(rng.integers(100, 3000)), chunk, context if chunk else 0, pairs))
    return made


def test_nothing_is_known_at_first_and_then_everything_is_free():
    prices = PassCosts().prices
    assert prices == Prices()
    assert prices.affordable(0.01, 5000) == float("inf")


def test_prices_are_found_again():
    costs = PassCosts()
    for work in passes(np.random.default_rng(0), 200):
        costs.note(work, seconds(TRUE, work))
    for name in Prices.__struct_fields__:
        assert getattr(costs.prices, name) == pytest.approx(getattr(TRUE, name), rel=0.02), name


def test_passes_that_were_held_up_hardly_matter():
    rng, costs = np.random.default_rng(1), PassCosts()
    for n, work in enumerate(passes(rng, 400)):
        took = seconds(TRUE, work) * rng.lognormal(0, 0.1)
        costs.note(work, took * 20 if n % 25 == 0 else took)
    for work in passes(rng, 50):
        assert seconds(costs.prices, work) == pytest.approx(seconds(TRUE, work), rel=0.35)


def test_a_slower_machine_is_noticed():
    rng, costs = np.random.default_rng(2), PassCosts()
    slower = Prices(*(3 * getattr(TRUE, name) for name in Prices.__struct_fields__))
    for prices in (TRUE, slower):
        for work in passes(rng, 600):
            costs.note(work, seconds(prices, work))
    for work in passes(rng, 50):
        assert seconds(costs.prices, work) == pytest.approx(seconds(slower, work), rel=0.05)


def test_a_long_spell_without_prompts_forgets_nothing_about_them():
    rng, costs = np.random.default_rng(3), PassCosts()
    for work in passes(rng, 200):
        costs.note(work, seconds(TRUE, work))
    for _ in range(3000):
        costs.note(Work(8, 8000), seconds(TRUE, Work(8, 8000)))
    assert costs.prices.prefill(256, 3000) == pytest.approx(TRUE.prefill(256, 3000), rel=0.05)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 9000), st.floats(1e-5, 5)), min_size=1, max_size=40))
def test_no_price_is_ever_negative_whatever_the_times(given):
    costs = PassCosts()
    for tokens, context, took in given:
        costs.note(Work(1, context, tokens, context, tokens * (context + tokens / 2)), took)
    prices = costs.prices
    assert all(0 <= getattr(prices, name) < float("inf") for name in Prices.__struct_fields__)


@given(
    left=st.floats(0, 10),
    context=st.integers(0, 100_000),
    token=st.sampled_from([0.0, 1e-4, 1e-3]),
    pair=st.sampled_from([0.0, 1e-9, 1e-6]),
    read=st.sampled_from([0.0, 1e-7]),
)
def test_the_affordable_chunk_is_the_largest_that_fits(left, context, token, pair, read):
    prices = Prices(prefill_token=token, prefill_context=read, prefill_pair=pair)
    most = prices.affordable(left, context)
    if most == float("inf"):
        assert token == pair * context == 0
    elif most > 0:
        assert prices.prefill(int(most), context) <= left * (1 + 1e-9)
        assert prices.prefill(int(most) + 1, context) > left * (1 - 1e-9)
    else:
        assert prices.prefill_context * context >= left or left == 0
