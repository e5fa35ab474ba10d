"""Drafts change how many passes an output takes and nothing else: tokens, text, end and logprobs stay the same."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine import payoff
from rootform.engine.drafts import without_space
from rootform.engine.grammars import Grammars
from rootform.engine.types import Cancelled, Delta, Finished, Sampling
from rootform.grammar.constraints import Regex
from rootform.grammar.generation_batch import GenerationBatch
from rootform.grammar.generations import Generations
from rootform.grammar.vocab import Vocabulary

EOS = 0
TOKENS = [b"", *(bytes([letter]) for letter in b'abcdef"{}:,'), b"ab", b"cd", b'":', b'","', b"abc"]
GENERATIONS = Generations(Vocabulary(TOKENS, (EOS,), len(TOKENS)), max_bytes=1 << 28)
PATTERNS = [
    '\\{"a":"[a-f]{1,9}","b":"[a-f]{2,6}"(,"c":"[a-f]*")?\\}',
    "[a-f]{4,30}",
    '("[a-d]+",){1,3}"e*"',
    "abcdabcd(ab|cd)*f",
]
ROOTS = [GENERATIONS.compile(Regex(pattern)) for pattern in PATTERNS]


def copying(ids):
    """Goes on as the text went on after its last two tokens stood there before; now and then it does something else."""
    if len(ids) * 7 % 11 == 3:
        return 1 + sum(ids) % 6
    for at in range(len(ids) - 2, 1, -1):
        if ids[at - 2 : at] == ids[-2:]:
            return ids[at]
    return 1 + sum(ids) % 6


def make(standins, *, drafts, grammar=True, total_pages=600, page_tokens=1, likes=copying, growth=None, **limits):
    model = standins.StandIn(len(TOKENS), standins.ListMemory(total_pages // page_tokens, page_tokens))
    model.likes = likes
    grammars = Grammars(GenerationBatch(GENERATIONS)) if grammar else None
    stand = standins.Stand(model=model, grammars=grammars, token_bytes=TOKENS, drafts=drafts, **limits)
    if growth is not None:
        fields = {name: getattr(stand.limits, name) for name in stand.limits.__struct_fields__}
        stand.loop.limits = type(stand.limits)(**{**fields, "growth_tokens": growth})
    return stand


def said(stand, key):
    """All that a request's caller sees, save what it cost."""
    deltas = [event for event in stand.events[key] if isinstance(event, Delta)]
    end = stand.end(key)
    assert isinstance(end, Finished)
    logprobs = [each for delta in deltas for each in delta.logprobs]
    return (
        stand.ids(key),
        stand.text(key),
        (end.reason, end.closed_early, end.matched_stop, end.usage.completion_tokens),
        [(each.token_id, round(each.logprob, 4), [top[0] for top in each.top]) for each in logprobs],
    )


def some_requests(rng, n):
    """Arguments of Stand.add()."""
    for _ in range(n):
        root = rng.choice([None, *ROOTS])
        yield {
            "prompt": [rng.randint(1, 6) for _ in range(rng.randint(1, 9))] * rng.randint(1, 3),
            "max_new_tokens": rng.randint(24, 40),
            "root": root,
            "sampling": Sampling(temperature=rng.choice([0.0, 0.0, 0.7]), seed=rng.randint(0, 99)),
            "top_logprobs": rng.choice([None, 0, 2]),
            "stop": rng.choice([(), ("ef",), ("fa", "dd")]),
            "namespace": rng.choice(["", "", "x"]),
            "ignore_eos": root is None and rng.random() < 0.5,
        }


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    page_tokens=st.sampled_from([1, 3]),
    total_pages=st.sampled_from([90, 600]),
    growth=st.sampled_from([None, 3]),
    prefix_cache=st.booleans(),
)
def test_any_schedule_says_what_each_request_says_alone_without_drafts(
    standins, seed, page_tokens, total_pages, growth, prefix_cache
):
    rng = random.Random(seed)
    shape = {"page_tokens": page_tokens, "total_pages": total_pages, "growth": growth, "prefix_cache": prefix_cache}
    stand = make(standins, drafts=True, max_batch=rng.randint(1, 6), prefill_tokens=rng.randint(3, 30), **shape)
    requests = list(some_requests(rng, 8))
    asked = {}
    for request in requests:
        asked[stand.add(**request)] = request
        for _ in range(rng.randint(0, 6)):
            stand.step()
        if rng.random() < 0.2:
            stand.cancel(rng.choice(list(asked)))
    stand.run()
    for key, request in asked.items():
        if not isinstance(stand.end(key), Cancelled):
            alone = make(standins, drafts=False)
            same = alone.add(**request)
            alone.run()
            assert said(stand, key) == said(alone, same)
    stand.check_nothing_is_held()


def test_drafts_save_passes_and_the_counters_say_so(standins):
    used = {}
    for drafts in (True, False):
        stand = make(standins, drafts=drafts)
        for n in range(6):
            stand.add([1, 2, 3, 4, 5, 6, 1 + n, 2, 2, 3], 60, ignore_eos=True)
            stand.run()
        used[drafts] = stand.loop.counts
    on, off = used[True], used[False]
    assert on.output_tokens == off.output_tokens == 6 * 60
    assert off.sequence_passes == off.output_tokens
    assert (off.drafted_tokens, off.accepted_tokens) == (0, 0)
    assert on.sequence_passes + on.accepted_tokens == on.output_tokens
    assert on.sequence_passes < 0.5 * on.output_tokens
    assert on.accepted_tokens <= on.drafted_tokens


def test_a_crowd_drafts_less_than_one_alone(standins):
    """A row costs the same in both, and a pass saved is shared by the crowd."""
    drafted = {}
    for n_together in (1, 48):
        rng = random.Random(4)
        stand = make(standins, drafts=True, max_batch=n_together, total_pages=20_000)
        for _ in range(48):
            stand.add([rng.randint(1, 6) for _ in range(9)], 40, ignore_eos=True)
        stand.run()
        drafted[n_together] = stand.loop.counts.drafted_tokens
    assert drafted[48] < drafted[1]


def test_an_unpredictable_output_is_soon_left_alone(standins):
    model = standins.StandIn(200, standins.ListMemory(600))
    model.likes = lambda ids: 1 + hash(tuple(ids)) % 199
    stand = standins.Stand(model=model, token_bytes=[b"x"] * 200)
    for n in range(20):
        stand.add([n, *range(100, 130)], 30, ignore_eos=True)
        stand.run()
    counts = stand.loop.counts
    assert counts.drafted_tokens < 0.1 * counts.output_tokens


def test_drafts_rest_where_they_do_not_pay_and_come_back_when_they_do(standins, monkeypatch):
    for name, tokens in (("_TRIAL_TOKENS", 128), ("_FIRST_REST", 256), ("_LONGEST_REST", 256)):
        monkeypatch.setattr(payoff, name, tokens)
    model = standins.StandIn(200, standins.ListMemory(600))
    stand = standins.Stand(model=model, token_bytes=[b"x"] * 200)
    drafted = []
    for likes in (lambda ids: 1 + hash(tuple(ids)) % 199, lambda ids: 1 + (ids[-1] + 1) % 5):
        model.likes = likes
        for n in range(30):
            prompt = [n, *range(1, 6)]
            key = stand.add(prompt, 30, ignore_eos=True)
            stand.run()
            assert stand.ids(key) == stand.greedy(prompt, 30)
            drafted.append(stand.loop.counts.drafted_tokens)
    assert drafted[29] - drafted[9] < 30  # of 600 tokens of noise
    assert drafted[59] - drafted[39] > 200  # of 600 that can be told


@pytest.mark.parametrize("namespace", ["", "other"])
def test_namespaces_learn_nothing_of_each_other(standins, namespace):
    stand = make(standins, drafts=True, prefix_cache=False, likes=lambda ids: 1 + (len(ids) * len(ids)) % 13)
    stand.add([14, 15], 50, ignore_eos=True)
    stand.run()
    stand.loop.counts.accepted_tokens = 0
    stand.add([14, 15], 50, ignore_eos=True, namespace=namespace)
    stand.run()
    fresh = make(standins, drafts=True, likes=stand.model.likes)
    fresh.add([14, 15], 50, ignore_eos=True)
    fresh.run()
    learned = stand.loop.counts.accepted_tokens > fresh.loop.counts.accepted_tokens
    assert learned == (namespace == "")


# -- sampling -------------------------------------------------------------------------------------------------------


def chances(logits, sampling):
    """What the sampler draws from: temperature, then top_k; of all other filters this test uses none."""
    hot = np.asarray(logits, dtype=np.float64) / sampling.temperature
    weights = np.exp(hot - hot.max())
    weights[np.argsort(-hot, kind="stable")[sampling.top_k or len(hot) :]] = 0
    return weights / weights.sum()


@pytest.mark.parametrize("top_k", [0, 3])
def test_sampled_outputs_have_the_models_distribution(standins, top_k):
    """All outputs of three tokens, seen in 1,000 requests, against their exact chances: chi-square, p > 0.001."""
    n_seen = 1000
    table = np.random.default_rng(5).normal(size=(6, 6)).astype(np.float32) * 1.2
    model = standins.StandIn(6, standins.ListMemory(2000))
    model.logits_after = lambda ids: table[ids[-1]]
    stand = standins.Stand(model=model, token_bytes=[bytes([97 + n]) for n in range(6)])
    first = 4
    for seed in range(n_seen):
        sampling = Sampling(temperature=0.8, top_k=top_k, seed=seed)
        stand.add([2, 3, 1, first], 3, sampling=sampling, ignore_eos=True)
        if seed % 2:  # two at a time: in a crowd, guesses this uncertain would not be made
            stand.run()
    counts = stand.loop.counts
    assert counts.accepted_tokens > n_seen / 10  # or nothing was tested
    assert counts.drafted_tokens > counts.accepted_tokens
    seen = Counter(stand.ids(key) for key in stand.events)
    rows = [chances(row, Sampling(temperature=0.8, top_k=top_k)) for row in table]
    statistic, cells, rest_seen, rest_expected = 0.0, 0, 0, 0.0
    for output in itertools.product(range(6), repeat=3):
        expected = n_seen * np.prod([rows[a][b] for a, b in itertools.pairwise((first, *output))])
        if expected < 5:
            rest_seen, rest_expected = rest_seen + seen[output], rest_expected + expected
        else:
            statistic, cells = statistic + (seen[output] - expected) ** 2 / expected, cells + 1
    if rest_expected:
        statistic, cells = statistic + (rest_seen - rest_expected) ** 2 / rest_expected, cells + 1
    # Wilson and Hilferty's limit for cells - 1 degrees of freedom
    freedom = cells - 1
    assert freedom > 10
    assert statistic < freedom * (1 - 2 / (9 * freedom) + 3.09 * (2 / (9 * freedom)) ** 0.5) ** 3


def test_a_seed_gives_the_same_tokens_with_and_without_drafts(standins):
    got = []
    for drafts in (True, False):
        stand = make(standins, drafts=drafts)
        keys = [
            stand.add([1, 2, 3, 1, 2, 3], 30, ROOTS[n % 2], sampling=Sampling(temperature=1.1, top_p=0.95, seed=n))
            for n in range(12)
        ]
        stand.run()
        got.append([stand.ids(key) for key in keys])
    assert got[0] == got[1]


# -- the token a value begins with ------------------------------------------------------------------------------------


def test_a_first_token_is_compared_without_its_space():
    token_bytes = [b"", b"New", b" New", b" ", b"  ", b" York", b" New"]
    assert without_space(token_bytes, 9).tolist() == [0, 1, 1, 3, 3, 5, 1, 7, 8]
