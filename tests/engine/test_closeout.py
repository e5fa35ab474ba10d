"""The close-out rule: near the token limit the model chooses among the tokens that leave room to finish."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.grammars import Grammars
from rootform.engine.ports import Few
from rootform.engine.sample import Scores
from rootform.engine.types import RootformError, Sampling
from rootform.grammar.constraints import JsonSchema, Regex
from rootform.grammar.generation_batch import GenerationBatch
from rootform.grammar.generations import Generations
from rootform.grammar.vocab import Vocabulary

EOS = 0
TOKENS = [
    b"",
    *(bytes([c]) for c in b'abc"{}[]:,1\\'),
    b"ab",
    b"bc",
    b"aaa",
    b"cab",
    b'","',
    b'"}',
    b'{"',
    b'":"',
    b"aa",
]
SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": "string", "pattern": "^[abc]*$"},
        "b": {"type": "array", "items": {"enum": ["a", "cab", 11, [1, 1]]}, "minItems": 1},
        "c": {"type": "string", "minLength": 2, "maxLength": 9, "pattern": "^[abc,]*$"},
    },
    "required": ["b"],
    "additionalProperties": False,
}
CONSTRAINTS = {
    **{p: Regex(p) for p in ["a{3,9}", "(ab|bc)*c", "abcab", "[abc]{2}(cab)?", "a*b*c*", "(a|bb|ccc){2,}a", "a*|b{9}"]},
    "schema": JsonSchema(json.dumps(SCHEMA)),
}
DISLIKED = np.array([5.0 * (token == b"" or token[-1:] in b'"]}') for token in TOKENS], np.float32)  # it would go on
GENERATIONS = Generations(Vocabulary(TOKENS, (EOS,), len(TOKENS)))
ROOTS = {name: GENERATIONS.compile(constraint) for name, constraint in CONSTRAINTS.items()}


@pytest.fixture(scope="module")
def make(standins, device):
    def make_stand():
        model = standins.StandIn(len(TOKENS), standins.ListMemory(300), there=device.there)
        plain = model.logits_after
        model.logits_after = lambda ids: plain(ids) - DISLIKED
        return standins.Stand(model=model, grammars=Grammars(GenerationBatch(GENERATIONS)), token_bytes=TOKENS)

    return make_stand


def is_valid(name: str, text: str) -> bool:
    if name != "schema":
        return re.fullmatch(name, text) is not None
    value = json.loads(text)
    fits = set(value) <= {"a", "b", "c"} and len(value["b"]) >= 1
    fits &= all(item in ["a", "cab", 11, [1, 1]] for item in value["b"])
    return fits and re.fullmatch("[abc,]{2,9}", value.get("c", "aa")) is not None


def run(make, name: str, limit: int, seed: int, sampling: Sampling) -> tuple[object, tuple[int, ...], str]:
    stand = make()
    key = stand.add([1 + seed % 9, 1 + seed // 9], limit, ROOTS[name], sampling=sampling)
    stand.run()
    return stand.end(key), stand.ids(key), stand.text(key)


prompts = st.integers(0, 80)
samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 2.0]),
    top_k=st.sampled_from([0, 3]),
    top_p=st.sampled_from([1.0, 0.8]),
    seed=st.integers(0, 5),
)


@settings(deadline=None, max_examples=70)
@given(st.sampled_from(list(CONSTRAINTS)), st.integers(1, 30), prompts, samplings)
def test_whatever_the_model_prefers_the_output_is_valid_and_within_the_limit(make, name, limit, seed, sampling):
    try:
        end, ids, text = run(make, name, limit, seed, sampling)
    except RootformError as error:
        least = re.search(r"takes (\d+) tokens", str(error))
        assert least is not None
        assert limit < int(least[1])
        return
    assert is_valid(name, text)
    assert len(ids) <= limit
    assert (end.reason == "length") >= end.closed_early


def slow_greedy(likes, name: str, limit: int) -> list[int]:
    """Greedy decoding under the rule as a mask: each allowed token is tried, and asked how many more it needs."""
    states = GenerationBatch(GENERATIONS)
    slot = states.open(ROOTS[name])
    slots, ids = np.array([slot]), []
    while len(ids) < limit:
        before, room = states.save(slot), limit - len(ids) - 1
        good = [EOS] if states.accepting(slots)[0] else []
        for token in range(1, len(TOKENS)):
            states.restore(slot, before)
            if states.advance(slots, np.array([token]))[0] and len(states.closing(slot)) <= room:
                good.append(token)
        states.restore(slot, before)
        assert good, "no token leaves room, although one did before"
        token = max(good, key=lambda each: likes(ids)[each])
        if token == EOS:
            break
        assert states.advance(slots, np.array([token]))[0]
        ids.append(token)
    return ids


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(list(CONSTRAINTS)), st.integers(9, 22), prompts)
def test_the_model_takes_its_favourite_among_the_tokens_that_leave_room(make, name, limit, seed):
    stand = make()
    prompt = [1 + seed % 9, 1 + seed // 9]
    key = stand.add(prompt, limit, ROOTS[name])
    stand.run()
    wanted = slow_greedy(lambda ids: stand.model.logits_after(prompt + ids), name, limit)
    assert b"".join(TOKENS[i] for i in stand.ids(key)) == b"".join(TOKENS[i] for i in wanted)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(list(CONSTRAINTS)), st.integers(12, 25), prompts, samplings)
def test_far_from_the_limit_nothing_changes(make, name, limit, seed, sampling):
    whole, ids, _ = run(make, name, 150, seed, sampling)
    end, near, _ = run(make, name, limit, seed, sampling)
    if not end.closed_early and not whole.closed_early:
        assert near == ids[:limit]
    same = next((n for n, pair in enumerate(zip(ids, near, strict=False)) if pair[0] != pair[1]), len(near))
    text = b"".join(TOKENS[i] for i in ids[: same + 1])
    states = GenerationBatch(GENERATIONS)
    slot = states.open(ROOTS[name])
    for token in ids[: same + 1]:
        assert states.advance(np.array([slot]), np.array([token]))[0], text
    if same < len(near):  # the outputs part only where the limit forbids the token that was taken without it
        assert same + 1 + len(states.closing(slot)) > limit


@pytest.mark.parametrize("few", [True, False])
def test_the_first_allowed_of_the_preferred_tokens_is_drawn_as_from_a_masked_row(few):
    logits = torch.tensor([[0.5, -1.0, 2.0, 0.0, 1.5, -torch.inf]])
    allowed = np.array([0, 1, 2, 3, 4])
    scores = Scores(logits, Few.of([allowed if few else None]))
    sampling, good = Sampling(temperature=1.3), [1, 3, 4]
    counts = np.zeros(6)
    for seed in range(1000):
        order = scores.preferred(0, sampling, np.random.default_rng(seed)).tolist()
        assert sorted(order) == allowed.tolist()
        counts[next(token for token in order if token in good)] += 1
    chances = torch.softmax(logits[0, good] / 1.3, 0).numpy()
    assert np.abs(counts[good] / 1000 - chances).max() < 0.05
    assert scores.preferred(0, Sampling(), np.random.default_rng(0)).tolist() == [2, 4, 0, 3, 1]
    filtered = scores.preferred(0, Sampling(temperature=1.0, top_k=2), np.random.default_rng(3)).tolist()
    assert set(filtered[:2]) == {2, 4}
