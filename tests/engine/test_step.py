"""The step loop with a stand-in model: same tokens whatever the company, shared prompts once, nothing left behind."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.types import Cancelled, Delta, Failed, Finished, RootformError, Sampling

PROMPTS = [[5, 6, 7], [5, 6, 7, 8, 9, 10, 11, 12, 13, 14], [20] * 30, [3], [5, 6, 7]]


@pytest.mark.parametrize("prefix_cache", [True, False])
@pytest.mark.parametrize("page_tokens", [1, 4])
def test_greedy_equals_plain_decoding_alone_and_in_a_batch(standins, prefix_cache, page_tokens):
    model = standins.StandIn(memory=standins.ListMemory(400, page_tokens))
    stand = standins.Stand(model=model, prefix_cache=prefix_cache, prefill_tokens=7)
    keys = [stand.add(prompt, 12) for prompt in PROMPTS]
    stand.run()
    for key, prompt in zip(keys, PROMPTS, strict=True):
        assert stand.ids(key) == stand.greedy(prompt, 12)
    stand.check_nothing_is_held()


def test_usage_and_reasons(standins):
    stand = standins.Stand()
    stand.model.likes = lambda ids: standins.EOS if len(ids) == 5 else 7
    ends = stand.add([1, 2, 3], 10)
    runs_out = stand.add([1, 2, 3, 4, 5, 6], 4)
    goes_on = stand.add([1, 2, 3], 4, ignore_eos=True)
    stand.run()
    assert stand.ids(ends) == (7, 7)
    assert stand.end(ends).reason == "stop"
    assert stand.end(ends).usage.completion_tokens == 2
    assert stand.end(ends).usage.forward_passes == 3
    assert (stand.end(runs_out).reason, stand.ids(runs_out)) == ("length", (7, 7, 7, 7))
    assert stand.ids(goes_on) == (7, 7, standins.EOS, 7)
    assert stand.end(goes_on).reason == "length"


def test_cold_twins_compute_their_prompt_once(standins):
    stand = standins.Stand(prefill_tokens=10)
    prompt = list(range(1, 41))
    keys = [stand.add(prompt, 3) for _ in range(8)]
    stand.run()
    assert stand.loop.counts.prefill_tokens == 40 + 7  # each twin computes only the last token, for its logits
    assert [stand.end(key).usage.cached_tokens for key in keys] == [0] + [39] * 7
    assert len({stand.ids(key) for key in keys}) == 1


def test_a_shared_prefix_is_waited_for(standins):
    stand = standins.Stand(prefill_tokens=50)
    shared = list(range(1, 31))
    long = stand.add([*shared, *([40] * 30)], 2)
    short = stand.add([*shared, 41], 2)
    stand.run()
    assert stand.loop.counts.prefill_tokens == 30 + 30 + 1
    assert stand.end(short).usage.cached_tokens == 30
    assert stand.ids(long) == stand.greedy([*shared, *([40] * 30)], 2)


def test_strangers_do_not_wait_for_each_other(standins):
    stand = standins.Stand()
    for first in range(1, 6):
        stand.add([30, first, *range(10)], 1)
    stand.step()
    assert len(stand.model.batches[0].slots) == 5


def test_a_later_call_reuses_prompt_and_output(standins):
    stand = standins.Stand()
    first = stand.add([1, 2, 3, 4], 6, ignore_eos=True)
    stand.run()
    turn = [1, 2, 3, 4, *stand.ids(first), 9]
    second = stand.add(turn, 2)
    stand.run()
    assert stand.end(second).usage.cached_tokens == 4 + 5  # the last token of the output was never fed back


def test_namespaces_share_nothing(standins):
    stand = standins.Stand()
    prompt = list(range(1, 30))
    stand.add(prompt, 1, namespace="a")
    stand.run()
    other = stand.add(prompt, 1, namespace="b")
    again = stand.add(prompt, 1, namespace="a")
    stand.run()
    assert stand.end(other).usage.cached_tokens == 0
    assert stand.end(again).usage.cached_tokens == 28


@pytest.mark.parametrize("strangers", [0, 5])
def test_seeded_sampling_does_not_depend_on_the_batch(standins, strangers):
    stand = standins.Stand()
    sampling = Sampling(temperature=1.3, top_p=0.9, top_k=20, min_p=0.01, seed=11)
    for n in range(strangers):
        stand.add([n + 30, 2], 20, sampling=Sampling(temperature=1.0, seed=n))
    key = stand.add([1, 2, 3], 20, sampling=sampling, ignore_eos=True)
    stand.run()
    alone = standins.Stand()
    same = alone.add([1, 2, 3], 20, sampling=sampling, ignore_eos=True)
    other = alone.add([1, 2, 3], 20, sampling=Sampling(temperature=1.3, seed=12), ignore_eos=True)
    alone.run()
    assert stand.ids(key) == alone.ids(same) != alone.ids(other)


def test_small_memory_delays_but_changes_nothing(standins):
    prompts = [[n, n + 1, *range(10)] for n in range(1, 9)]
    for page_tokens in (1, 4):
        model = standins.StandIn(memory=standins.ListMemory(48 // page_tokens, page_tokens))
        stand = standins.Stand(model=model)
        keys = [stand.add(prompt, 20, ignore_eos=True) for prompt in prompts]
        stand.run()
        roomy = standins.Stand()
        want = [roomy.add(prompt, 20, ignore_eos=True) for prompt in prompts]
        roomy.run()
        assert [stand.ids(key) for key in keys] == [roomy.ids(key) for key in want]
        stand.check_nothing_is_held()


def test_sequences_that_outgrow_their_place_move_or_are_put_back(standins, monkeypatch):
    model = standins.StandIn(memory=standins.ListMemory(60))
    stand = standins.Stand(model=model)
    stand.limit(growth_tokens=4)
    prompts = [[n, n + 1, 3, 4, 5, 6] for n in range(1, 7)]
    keys = [
        stand.add(prompt, 40, ignore_eos=True, sampling=Sampling(temperature=1.0, seed=n))
        for n, prompt in enumerate(prompts)
    ]
    stand.run()
    assert stand.loop.counts.put_back > 0
    roomy = standins.Stand(model=standins.StandIn(memory=standins.ListMemory(2000)))
    want = [
        roomy.add(prompt, 40, ignore_eos=True, sampling=Sampling(temperature=1.0, seed=n))
        for n, prompt in enumerate(prompts)
    ]
    roomy.run()
    assert [stand.ids(key) for key in keys] == [roomy.ids(key) for key in want]
    assert all(len(stand.ids(key)) == 40 for key in keys)
    stand.check_nothing_is_held()


def test_a_request_too_big_for_memory_is_refused_and_the_biggest_that_fits_is_served(standins):
    stand = standins.Stand(model=standins.StandIn(memory=standins.ListMemory(32)))
    with pytest.raises(RootformError, match=r"prompt has 30 tokens and max_tokens is 3, together 33, .* room for 32"):
        stand.add([1] * 30, 3)
    stand.add([2] * 10, 3)
    stand.run()
    key = stand.add([1] * 29, 3)
    stand.run()
    assert isinstance(stand.end(key), Finished)


def test_a_failing_step_fails_its_requests_and_the_loop_goes_on(standins):
    stand = standins.Stand(prefill_tokens=4)
    stand.model.fail_on = 13
    healthy = stand.add([1, 2], 20, ignore_eos=True)
    stand.step()
    bad = stand.add([13, 13], 5)
    stand.run()
    assert isinstance(stand.end(bad), Failed)
    assert "RuntimeError: the stand-in was told to fail" in stand.end(bad).error
    assert isinstance(stand.end(healthy), Failed)  # it was in the same pass
    later = stand.add([1, 2], 3)
    stand.run()
    assert stand.ids(later) == stand.greedy([1, 2], 3)
    stand.check_nothing_is_held()


def test_logprobs_are_the_models_own(standins):
    stand = standins.Stand()
    key = stand.add([1, 2, 3], 3, top_logprobs=2, ignore_eos=True, sampling=Sampling(temperature=0.5, seed=1))
    stand.run()
    got = [each for event in stand.events[key] if isinstance(event, Delta) for each in event.logprobs]
    ids = [1, 2, 3]
    for each, token in zip(got, stand.ids(key), strict=True):
        logits = stand.model.logits_after(ids).astype(np.float64)
        want = logits - np.log(np.exp(logits).sum())
        assert each.token_id == token
        assert each.logprob == pytest.approx(want[token], abs=1e-5)
        assert [top[0] for top in each.top] == np.argsort(-want)[:2].tolist()
        assert each.text == stand.token_bytes[token]
        ids.append(token)


def test_stop_strings_end_the_text_before_them(standins):
    stand = standins.Stand()
    stand.model.likes = lambda ids: len(ids)  # after n tokens: token n, the (n)th letter
    key = stand.add([1], 20, stop=("fgh", "zz"))
    stand.run()
    assert stand.text(key) == "abcde"
    assert stand.end(key).matched_stop == "fgh"
    assert stand.end(key).reason == "stop"
    assert [event.text for event in stand.events[key][:-1]] == ["a", "b", "c", "d", "e", ""]
    assert stand.ids(key) == (1, 2, 3, 4, 5, 6, 7, 8)


def test_old_requests_are_not_overtaken_for_ever(standins):
    stand = standins.Stand(max_batch=1)
    hot = list(range(1, 40))
    stand.add(hot, 1)
    stand.run()
    old = stand.add([41, 42], 1)
    steps = 0
    while not stand.events[old]:
        stand.add(hot, 1)
        stand.add(hot, 1)
        stand.step()
        steps += 1
    assert steps <= stand.limits.overtaken + 2


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), page_tokens=st.sampled_from([1, 3]), total=st.sampled_from([24, 60, 300]))
def test_any_schedule_ends_every_request_once_and_holds_nothing(standins, seed, page_tokens, total):
    rng = random.Random(seed)
    model = standins.StandIn(vocab_size=6, memory=standins.ListMemory(total // page_tokens, page_tokens))
    stand = standins.Stand(model=model, max_batch=rng.randint(1, 5), prefill_tokens=rng.randint(1, 12))
    prompts, cancelled = {}, set()
    for _ in range(rng.randint(1, 60)):
        act = rng.random()
        if act < 0.4:
            prompt = [rng.randint(1, 3) for _ in range(rng.randint(1, 12))] * rng.randint(1, 2)
            if len(prompt) + 8 <= stand.limits.sequence_tokens:
                prompts[stand.add(prompt, rng.randint(1, 8), namespace=rng.choice(["", "x"]))] = prompt
        elif act < 0.5 and prompts:
            key = rng.choice(list(prompts))
            stand.cancel(key)
            cancelled.add(key)
        elif stand.loop.busy:
            model.fail_on = 3 if rng.random() < 0.03 else None
            stand.step()
            model.fail_on = None
    stand.run()
    for key, prompt in prompts.items():
        end = stand.end(key)
        if isinstance(end, Finished):
            assert stand.ids(key) == stand.greedy(prompt, len(stand.ids(key)))
        elif isinstance(end, Cancelled):
            assert key in cancelled
        else:
            assert "told to fail" in end.error
    stand.check_nothing_is_held()
