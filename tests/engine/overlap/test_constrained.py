"""Grammars that advance on the device: the same texts as on the ordinary loop, whatever the tables there lack."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from rootform.engine.api import Engine
from rootform.engine.grammars import Grammars
from rootform.engine.model_paged import PagedModel
from rootform.engine.overlap import OverlappedLoop
from rootform.engine.places import Places
from rootform.engine.spelling import Speller
from rootform.engine.step import StepLoop
from rootform.engine.tokenizer import Tokenizer
from rootform.engine.types import Completion, Sampling
from rootform.grammar.automaton import Automaton
from rootform.grammar.constraints import Regex
from rootform.grammar.generation_batch import GenerationBatch
from rootform.grammar.generations import Generations
from rootform.grammar.vocab import Vocabulary
from tests.engine.overlap.conftest import EOS, SCHEMAS, TOKEN_BYTES, TRUNK, VOCAB, Run


def said(engine: Engine, schema: dict[str, Any], max_tokens: int) -> list[tuple[str, tuple[int, ...], str, bool]]:
    options: list[dict[str, Any]] = [
        *({"temperature": 0.0} for _ in range(2)),
        *({"temperature": 1.5, "seed": n} for n in range(4)),
    ]
    jobs = [engine.generate(f"document {n}", schema=schema, max_tokens=max_tokens, **options[n]) for n in (0, 5)]
    several = engine.generate([f"document {n}" for n in range(6)], schema=schema, max_tokens=max_tokens)
    drawn = engine.generate(["a", "b", "a b"], schema=schema, max_tokens=max_tokens, temperature=1.5, seed=4)
    assert isinstance(several, list)
    assert isinstance(drawn, list)
    found = [each for each in (*jobs, *several, *drawn) if isinstance(each, Completion)]
    return [(each.text, each.token_ids, each.finish_reason, each.closed_early) for each in found]


@pytest.mark.parametrize(("schema", "max_tokens"), [(SCHEMAS[0], 90), (SCHEMAS[0], 40), (SCHEMAS[1], 24)])
def test_constrained_texts_are_the_same(
    speaking: tuple[PagedModel, Tokenizer], schema: dict[str, Any], max_tokens: int
) -> None:
    model, tokenizer = speaking
    with Engine.from_parts(model, tokenizer, drafts=False, overlap=False) as engine:
        wanted = said(engine, schema, max_tokens)
    with Engine.from_parts(model, tokenizer, drafts=False, overlap=True) as engine:
        assert said(engine, schema, max_tokens) == wanted
        first = engine.stats()
        assert said(engine, schema, max_tokens) == wanted
        stats = engine.stats()
    for text, _, reason, closed_early in wanted:
        json.loads(text)
        assert (reason == "length") == closed_early
    assert first.grammar_misses > 0
    assert stats.grammar_misses - first.grammar_misses < first.grammar_misses / 2
    assert stats.overlapped_passes > 0
    # a token that the close-out rule refuses is chosen again by the host, and nothing else needs it
    assert (stats.lockstep_passes > 0) == any(closed_early for *_, closed_early in wanted)


def test_a_refused_first_token_after_a_prompt_that_the_tree_took_over(
    speaking: tuple[PagedModel, Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last token is in the tree's pages where its length is a multiple of theirs: it waits for a place again."""
    model, tokenizer = speaking
    prompts = [tuple(range(start, start + n)) for start in (40, 44, 51) for n in (15, 16)]

    def texts(*, overlap: bool) -> list[tuple[str, bool]]:
        with Engine.from_parts(model, tokenizer, drafts=False, overlap=overlap) as engine:
            done = engine.generate(prompts, regex="[a-c]|[d-z][0-9]{30}", max_tokens=2)
        assert isinstance(done, list)
        return [(each.text, each.closed_early) for each in done]

    put_back: list[int] = []
    original = Places.put_back
    monkeypatch.setattr(Places, "put_back", lambda self, key: (put_back.append(key), original(self, key))[1])
    wanted = texts(overlap=False)
    assert texts(overlap=True) == wanted
    assert any(closed_early for _, closed_early in wanted)
    assert put_back


def test_one_refused_token_takes_one_pass_of_the_host(model: PagedModel) -> None:
    """And none when its sequence goes away first."""
    lockstep: list[int] = []
    for n in range(6):
        generations = Generations(Vocabulary(TOKEN_BYTES, tuple(EOS), VOCAB))
        run = Run(model, grammars=Grammars(GenerationBatch(generations)))
        root = generations.compile(Regex("([a-c]|[d-zA-Z][0-9]{30})[a-z]{12}"))
        key = run.add([n, 5], 14, root)
        run.finish()
        assert len(run.texts[key]) == 13
        lockstep.append(run.loop.counts.lockstep_passes)
        if lockstep[-1]:
            key = run.add([n, 5], 14, root)
            while not run.loop._needs_host:  # type: ignore[attr-defined]
                run.step()
            run.cancel(key)
            assert not run.loop._needs_host  # type: ignore[attr-defined]
            run.finish()
    assert set(lockstep) <= {0, 1}
    assert 1 in lockstep


def test_forced_text_that_ends_under_the_mask_it_began_with_is_seen(model: PagedModel) -> None:
    """The device goes on by one token, the host by many, and both stand before the same choice of tokens."""
    tokens = [*TOKEN_BYTES[:-3], b"aa", b"aaaa", b""]
    encode = tokens.index

    def spelled(text: str) -> list[int]:
        fours, ones = divmod(len(text), 4) if text == "a" * len(text) else (0, 0)
        return [encode(b"aaaa")] * fours + [encode(b"a")] * ones

    said: dict[type, Any] = {}
    for kind in (StepLoop, OverlappedLoop):
        generations = Generations(Vocabulary(tokens, tuple(EOS), VOCAB))
        run = Run(model, kind, tokens=tokens, grammars=Grammars(GenerationBatch(generations), Speller(tokens, spelled)))
        root = generations.compile(Regex("[xyz](a{30}[0-9]){2}"))
        for n in range(9):  # the first of them teach the device's tables
            run.add([*TRUNK[:9], n], 60, root, sampling=Sampling(temperature=1.0, seed=n))
            for _ in range(40):
                run.step()
        run.finish()
        said[kind] = run.outcomes()
        assert run.loop.counts.sequence_passes < 9 * 30  # much of it was forced
    assert said[StepLoop] == said[OverlappedLoop]
    assert {len(text) for text, _, _ in said[StepLoop]} == {63}


def test_sequences_of_two_generations_are_served_side_by_side_and_one_after_the_other(model: PagedModel) -> None:
    """Tables of one generation mean nothing to the other."""
    said: dict[type, Any] = {}
    for kind in (StepLoop, OverlappedLoop):
        generations = Generations(Vocabulary(TOKEN_BYTES, tuple(EOS), VOCAB))
        run = Run(model, kind, grammars=Grammars(GenerationBatch(generations)))
        roots = [generations.compile(Regex("[xyz]{9}"))]
        generations.max_bytes, generations._room_for = 0, 0  # the next constraint begins another generation
        roots.append(generations.compile(Regex("([a-c]{2}[0-9]){3}")))
        assert roots[0].generation is not roots[1].generation
        for some in ([0], [1], [0], [0, 1], [1, 1]):
            for n in some:
                run.add([*TRUNK[:9], n], 20, roots[n], sampling=Sampling(temperature=1.0, seed=n))
            while run.loop.busy:
                run.step()
        run.finish()
        said[kind] = run.outcomes()
        counts = run.loop.counts
    assert said[OverlappedLoop] == said[StepLoop]
    assert {len(text) for text, _, _ in said[StepLoop]} == {9}
    assert min(counts.overlapped_passes, counts.lockstep_passes) > 0  # alone, and side by side


def test_a_guess_that_is_wrong_on_another_stack_is_found_out(
    speaking: tuple[PagedModel, Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tokens are said to stay where they were missed: texts are the same, with more rows in vain."""
    model, tokenizer = speaking
    options: dict[str, Any] = {"schema": SCHEMAS[0], "max_tokens": 60}
    with Engine.from_parts(model, tokenizer, drafts=False, overlap=False) as engine:
        wanted = engine.generate(["a", "b"], **options)
    monkeypatch.setattr(Automaton, "staying_tokens", lambda self, *_: np.ones(self.vocabulary.size, bool))
    with Engine.from_parts(model, tokenizer, drafts=False, overlap=True) as engine:
        got = engine.generate(["a", "b"], **options)
        stats = engine.stats()
    assert isinstance(wanted, list)
    assert isinstance(got, list)
    assert [each.text for each in got] == [each.text for each in wanted]
    assert stats.void_rows > 0
