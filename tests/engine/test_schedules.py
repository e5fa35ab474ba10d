"""Random schedules over a tiny memory: every request ends once, as it would alone, and no page is lost.

The stand-in's KV is the token ids themselves, so a page in the wrong hands, or a token computed twice, shows.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.types import Cancelled, Finished, Sampling
from rootform.radix.blocks import BlockNames
from rootform.radix.host_tier import HostTier
from rootform.radix.tiers import LoadRule, Tiers


def add_some(stand, rng, prompts, n):
    for _ in range(n):
        prompt = [rng.randint(1, 3) for _ in range(rng.randint(1, 12))] * rng.randint(1, 2)
        n_new = rng.randint(1, 16)
        if len(prompt) + n_new > stand.limits.sequence_tokens:
            continue
        key = stand.add(
            prompt,
            n_new,
            namespace=rng.choice(["", "x"]),
            priority=rng.choice(["online", "offline"]),
            sampling=Sampling(temperature=rng.choice([0.0, 1.0]), seed=rng.randint(0, 9)),
            ignore_eos=rng.random() < 0.5,
        )
        prompts[key] = prompt


def host_tier(page_tokens):
    return Tiers(BlockNames(b"stand-in", 2 * page_tokens), page_tokens, HostTier(600), None, LoadRule(1.0))


def alone(standins, stand, key, prompt):
    """The same request in an engine that has nothing else to do and remembers nothing."""
    request = stand.requests[key]
    other = standins.Stand(model=standins.StandIn(vocab_size=6), prefix_cache=False, drafts=False)
    again = other.add(prompt, request.max_new_tokens, sampling=request.sampling, ignore_eos=request.ignore_eos)
    other.run()
    return other.ids(again)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    page_tokens=st.sampled_from([1, 3]),
    total=st.sampled_from([40, 66, 300]),
    tiered=st.booleans(),
    itl_ms=st.sampled_from([None, 0.5, 5.0]),
)
def test_any_schedule_gives_what_each_gives_alone(standins, device, seed, page_tokens, total, tiered, itl_ms):
    rng = random.Random(seed)
    memory = standins.ListMemory(total // page_tokens, page_tokens)
    stand = standins.Stand(
        model=standins.StandIn(vocab_size=6, memory=memory, there=device.there),
        prefix_cache=rng.random() < 0.9,
        drafts=rng.random() < 0.5,
        tiers=host_tier(page_tokens) if tiered else None,
        clock=standins.priced_clock(rng),
        max_batch=rng.randint(1, 5),
        prefill_tokens=rng.randint(1, 12),
        itl_ms=itl_ms,
    )
    stand.limit(growth_tokens=rng.randint(1, 8), overtaken=rng.randint(1, 5), overtaken_offline=rng.randint(1, 9))
    prompts, cancelled = {}, set()
    for _ in range(rng.randint(1, 40)):
        act = rng.random()
        if act < 0.4:
            add_some(stand, rng, prompts, rng.randint(1, 3))
        elif act < 0.45 and prompts:
            key = rng.choice(list(prompts))
            stand.cancel(key)
            cancelled.add(key)
        elif stand.loop.busy:
            stand.step()
    stand.run()
    for key, prompt in prompts.items():
        end = stand.end(key)
        assert isinstance(end, Finished) or (isinstance(end, Cancelled) and key in cancelled), end
        whole = alone(standins, stand, key, prompt)
        assert stand.ids(key) == whole[: len(stand.ids(key))]
        if isinstance(end, Finished):
            assert len(stand.ids(key)) == len(whole)
    stand.check_nothing_is_held()


def test_an_online_request_takes_place_and_memory_of_offline_ones(standins, device):
    stand = standins.Stand(model=standins.StandIn(memory=standins.ListMemory(64), there=device.there), max_batch=4)
    offline = [stand.add([n, n, n], 12, ignore_eos=True, priority="offline") for n in range(1, 5)]
    for _ in range(3):
        stand.step()
    assert len(stand.loop.places.running) == 4
    online = stand.add([9] * 30, 10, ignore_eos=True)
    stand.step()
    assert online in stand.loop.places.running
    assert stand.loop.counts.gave_way >= 1
    stand.run()
    assert [len(stand.ids(key)) for key in [*offline, online]] == [12] * 4 + [10]
    waits = stand.loop.counts.waits
    assert [sum(waits[kind].counts) for kind in ("online", "offline")] == [1, 4]
    stand.check_nothing_is_held()


def test_online_requests_never_wait_for_slow_offline_prompts(standins, device):
    """An offline prompt whose prefix an online one waits for is as urgent as that."""
    stand = standins.Stand(prefill_tokens=10, there=device.there)
    shared = list(range(1, 41))
    slow = stand.add([*shared, 5], 2, priority="offline")
    stand.step()
    fast = stand.add([*shared, 6], 2)
    others = [stand.add([40 + n] * 60, 2) for n in range(3)]
    while not stand.events[fast]:
        stand.step()
    assert stand.loop.places.get(slow) is None or stand.loop.places.get(slow).online
    assert not any(stand.events[key] for key in others[1:])
    stand.run()


@pytest.mark.parametrize("priority", ["online", "offline"])
def test_neither_kind_starves_the_other(standins, device, priority):
    """With a stream of the one kind that never ends, a request of the other is answered in bounded time."""
    stand = standins.Stand(max_batch=2, there=device.there)
    stand.limit(overtaken=4, overtaken_offline=6)
    other = "offline" if priority == "online" else "online"
    old = stand.add([41, 42], 3, priority=priority, ignore_eos=True)
    n_steps = 0
    while not any(not hasattr(event, "token_ids") for event in stand.events[old]):
        for n in range(3):
            stand.add([n + 1, n + 2, n + 3], 2, priority=other, ignore_eos=True)
        stand.step()
        n_steps += 1
        assert n_steps < 60
    assert stand.end(old).reason == "length"


@pytest.mark.parametrize("priority", ["online", "offline"])
@pytest.mark.parametrize("others", ["online", "offline"])
def test_a_long_prompt_gets_on_beside_a_stream_of_short_ones(standins, device, priority, others):
    """It needs most of the memory, which others hold, and more of them come all the time: it is answered nevertheless,
    computed once though its output outgrows the room it could have at first, and the others are answered too."""
    rng = random.Random(5)
    memory = standins.ListMemory(600)
    stand = standins.Stand(model=standins.StandIn(memory=memory, context_tokens=600, there=device.there), max_batch=6)
    stand.limit(growth_tokens=16, overtaken=8, overtaken_offline=12)
    short = [stand.add(random_ids(rng, 30), 40, ignore_eos=True, priority=others) for _ in range(6)]
    for _ in range(3):
        stand.step()
    long = stand.add(random_ids(rng, 500), 80, ignore_eos=True, priority=priority)
    for n_steps in range(900):
        if has_ended(stand, long):
            break
        if n_steps % 4 == 0:
            short.append(stand.add(random_ids(rng, 30), 40, ignore_eos=True, priority=others))
        stand.step()
    assert len(stand.ids(long)) == 80
    assert stand.end(long).usage.forward_passes <= 80 + 500 // 4  # a prompt gets 4 tokens of a pass, whatever the time
    assert stand.loop.counts.prefill_tokens <= 580 + sum(60 for key in short if has_ended(stand, key)) + 6 * 60
    stand.run()
    assert all(len(stand.ids(key)) == 40 for key in short)
    stand.check_nothing_is_held()


def random_ids(rng, n):
    return [rng.randint(1, 49) for _ in range(n)]


def has_ended(stand, key):
    return bool(stand.events[key]) and not hasattr(stand.events[key][-1], "token_ids")


def test_a_request_that_waits_for_a_large_room_makes_nothing_forgotten(standins, device):
    stand = standins.Stand(model=standins.StandIn(memory=standins.ListMemory(200), there=device.there))
    shared = [7] * 40
    stand.add([*shared, 8], 1)
    stand.run()
    stand.add([9] * 20, 60, ignore_eos=True)
    large = stand.add([10] * 140, 10, ignore_eos=True)
    for _ in range(5):
        stand.step()
        assert large in stand.loop.places.waiting
        assert stand.loop.prefixes.n_cached(np.array([*shared, 1]), "") == 40
    stand.run()
    assert len(stand.ids(large)) == 10
    assert stand.loop.prefixes.n_cached(np.array([*shared, 1]), "") < 40  # now there was a use for it
    stand.check_nothing_is_held()


def test_what_gives_way_leaves_more_than_was_planned_with(standins, device):
    """The tokens of an offline sequence go to the tree when an online one takes its place, after the pass was planned:
    the online one, whose prompt they are, has fewer to compute than it was given."""
    stand = standins.Stand(max_batch=1, there=device.there)
    prompt = list(range(1, 21))
    slow = stand.add(prompt, 30, ignore_eos=True, priority="offline")
    while len(stand.ids(slow)) < 10:
        stand.step()
    told = [*prompt, *stand.ids(slow), 5]
    fast = stand.add(told, 4, ignore_eos=True)
    stand.run()
    assert stand.loop.counts.gave_way == 1
    assert stand.end(fast).usage.cached_tokens > len(prompt)
    roomy = standins.Stand()
    again = [roomy.add(prompt, 30, ignore_eos=True), roomy.add(told, 4, ignore_eos=True)]
    roomy.run()
    assert [stand.ids(slow), stand.ids(fast)] == [roomy.ids(key) for key in again]
    stand.check_nothing_is_held()
