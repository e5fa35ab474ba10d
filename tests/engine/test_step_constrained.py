"""The step loop with grammars: every output matches, whatever is cancelled, sampled, short of memory or of tokens."""

from __future__ import annotations

import itertools
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.grammars import Grammars
from rootform.engine.types import Cancelled, Finished, RootformError, Sampling
from rootform.grammar.constraints import Regex
from rootform.grammar.errors import GrammarError
from rootform.grammar.generation_batch import GenerationBatch
from rootform.grammar.generations import Generations, Root
from rootform.grammar.vocab import Vocabulary

EOS = 0
TOKENS = [b"", b"a", b"b", b"c", b"ab", b"bc", b"aaa", b"cab"]
PATTERNS = ["a{3,9}", "(ab|bc)*c", "abcab", "[abc]{2}(cab)?", "a*b*c*", "(a|bb|ccc){2,}a"]


class CountedStates(GenerationBatch):
    """Knows which slots are open."""

    def __init__(self, generations: Generations) -> None:
        super().__init__(generations)
        self.open_slots: set[int] = set()

    def open(self, root: Root) -> int:
        slot = super().open(root)
        self.open_slots.add(slot)
        return slot

    def close(self, slot: int) -> None:
        self.open_slots.remove(slot)
        super().close(slot)


GENERATIONS = Generations(Vocabulary(TOKENS, (EOS,), len(TOKENS)))
ROOTS = {pattern: GENERATIONS.compile(Regex(pattern)) for pattern in PATTERNS}


@pytest.fixture(scope="module")
def make(standins, device):
    """A step loop with grammars over TOKENS, in which the model's tokens are TOKENS."""

    def make_stand(total_pages=300, **limits):
        states = CountedStates(GENERATIONS)
        model = standins.StandIn(len(TOKENS), standins.ListMemory(total_pages), there=device.there)
        stand = standins.Stand(model=model, grammars=Grammars(states), token_bytes=TOKENS, **limits)
        return stand, states

    return make_stand


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), total_pages=st.sampled_from([40, 300]))
def test_any_schedule_gives_matching_output_and_closes_every_state(make, seed, total_pages):
    rng = random.Random(seed)
    stand, states = make(total_pages, max_batch=rng.randint(1, 6))
    asked = {}
    for _ in range(rng.randint(1, 50)):
        act = rng.random()
        if act < 0.4:
            pattern = rng.choice(PATTERNS)
            sampling = Sampling(temperature=rng.choice([0.0, 1.0]), seed=rng.randint(0, 9))
            prompt = [rng.randint(1, 3) for _ in range(rng.randint(1, 20))]
            n_top = rng.choice([None, 0, 1]) if rng.random() < 0.2 else None
            key = stand.add(prompt, rng.randint(9, 16), ROOTS[pattern], sampling=sampling, top_logprobs=n_top)
            asked[key] = pattern
        elif act < 0.5 and asked:
            stand.cancel(rng.choice(list(asked)))
        elif stand.loop.busy:
            stand.step()
    stand.run()
    for key, pattern in asked.items():
        end = stand.end(key)
        if isinstance(end, Finished):
            assert re.fullmatch(pattern, stand.text(key)), (pattern, stand.text(key))
            assert b"".join(TOKENS[i] for i in stand.ids(key)).decode() == stand.text(key)
        else:
            assert isinstance(end, Cancelled)
    assert states.open_slots == set()
    stand.check_nothing_is_held()


def ways_to_write(pattern):
    """All sequences of at most four tokens whose text matches."""
    for n in range(5):
        for tokens in itertools.product(TOKENS[1:], repeat=n):
            if re.fullmatch(pattern, b"".join(tokens).decode()):
                yield tokens


@pytest.mark.parametrize("pattern", PATTERNS)
def test_at_every_limit_the_output_is_valid_and_within_it(make, pattern):
    stand, _ = make()
    stand.model.likes = lambda ids: 1  # "a" for ever, and never the end
    ways = list(ways_to_write(pattern))
    for limit in range(1, min(len(way) for way in ways)):
        with pytest.raises(RootformError, match=rf"shortest value takes \d tokens, but max_tokens is {limit}"):
            stand.add([1, 2], limit, ROOTS[pattern])
    for limit in range(max(1, min(len(b"".join(way)) for way in ways)), 14):
        key = stand.add([1, 2], limit, ROOTS[pattern])
        stand.run()
        assert re.fullmatch(pattern, stand.text(key))
        assert len(stand.ids(key)) <= limit
        assert (stand.end(key).reason == "length") >= stand.end(key).closed_early


def test_greedy_takes_the_likeliest_allowed_token_at_each_step(make):
    stand, _ = make()
    key = stand.add([1, 2], 6, ROOTS["[abc]{2}(cab)?"])
    stand.run()
    ids, text = [1, 2], b""
    for token in stand.ids(key):
        logits = stand.model.logits_after(ids)
        allowed = [
            n for n, each in enumerate(TOKENS) if each and re.match(rb"[abc]{0,2}$|[abc]{2}(c|ca|cab)$", text + each)
        ]
        assert token == max(allowed, key=lambda n: logits[n])
        ids.append(token)
        text += TOKENS[token]


def test_an_undecidable_state_fails_its_request_alone(make, monkeypatch):
    stand, states = make()
    bad = stand.add([1, 2], 9, ROOTS["a{3,9}"])
    good = stand.add([3, 3], 9, ROOTS["a*b*c*"])
    slot = stand.loop.places.waiting[bad].grammar.slot
    states._open[0].batch.errors[slot] = GrammarError("#/a", "", "too large to decide")
    stand.run()
    assert (stand.end(bad).status, stand.end(bad).error) == (400, "#/a: too large to decide")
    assert re.fullmatch("a*b*c*", stand.text(good))
    assert states.open_slots == set()
