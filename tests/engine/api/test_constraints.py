"""Calls with constraints, by a stand-in model and the real grammars."""

from __future__ import annotations

import json
import re
import threading

import pytest

from rootform.engine.accept import make_call
from rootform.engine.types import Call, Regex, RootformError, Sampling
from rootform.grammar import compile as grammar_compile
from rootform.grammar.work import tick
from tests.engine.api.conftest import SCHEMA, likes_text, token


def test_output_is_valid_at_every_limit_even_if_the_model_never_ends(make):
    engine = make(likes=lambda ids: token("1") if ids[-1] in (token("["), token("1")) else token("x"))
    shortest = len('{"name":"","tags":[]}')
    for max_tokens in range(shortest, shortest + 12):
        completion = engine.generate("x", schema=SCHEMA, max_tokens=max_tokens, top_logprobs=max_tokens % 2)
        value = json.loads(completion.text)
        assert value.keys() == {"name", "tags"}
        assert (completion.finish_reason, completion.closed_early) == ("length", True)
        assert len(completion.token_ids) <= max_tokens
        assert len(completion.logprobs) == len(completion.token_ids)
        assert value["name"] == "x" * (max_tokens - shortest)


def test_sampled_output_is_valid_and_the_same_in_any_company(make):
    engine = make()
    options = {"schema": SCHEMA, "temperature": 1.5, "max_tokens": 60}
    alone = [engine.generate("x", seed=seed, **options).text for seed in range(6)]
    jobs = [
        engine.submit(call)
        for seed in range(6)
        for call in (
            Call(prompt="stranger", max_tokens=30, sampling=Sampling(temperature=1.0, seed=seed)),
            Call(
                prompt="x",
                max_tokens=60,
                sampling=Sampling(temperature=1.5, seed=seed),
                constraint=make_call("x", schema=SCHEMA).constraint,
            ),
        )
    ]
    assert [job.result().text for job in jobs[1::2]] == alone
    assert len(set(alone)) == 6
    for text in alone:
        assert json.loads(text).keys() == {"name", "tags"}


def test_forced_tokens_cost_no_passes(make):
    engine = make(likes=likes_text("l"))
    decided = engine.generate("x", choice=["only this"], top_logprobs=0)
    assert (decided.text, decided.finish_reason, decided.usage.forward_passes) == ("only this", "stop", 0)
    assert [each.logprob for each in decided.logprobs] == [0.0] * 9
    halves = engine.generate("x", choice=["start left now", "start right now"])
    in_vain = engine.stats().void_rows
    assert (halves.text, halves.usage.forward_passes - in_vain) == ("start left now", 1)


def test_a_complete_value_ends_without_another_pass_and_a_number_may_go_on(make):
    engine = make(likes=likes_text("777"), drafts=False)
    done = engine.generate("x", regex="[0-9]{2}")
    in_vain = engine.stats().void_rows  # of passes that were queued before it was known
    assert done.usage.forward_passes - in_vain == 2
    number = engine.generate("x", schema={"type": "integer"})
    in_vain = engine.stats().void_rows - in_vain
    assert (number.text, number.usage.forward_passes - in_vain) == ("777", 4)  # the last pass chose to end


def test_stop_strings_cut_constrained_output_too(make):
    engine = make(likes=likes_text("abcabc"))
    completion = engine.generate("x", regex="[a-c]{1,20}", stop="ca")
    assert (completion.text, completion.matched_stop, completion.finish_reason) == ("ab", "ca", "stop")


def test_a_refused_constraint_fails_alone_and_says_why(make):
    engine = make(likes=likes_text("ok"))
    bad = engine.submit(Call(prompt="x", constraint=Regex("(a)\\1")))
    good = engine.submit(Call(prompt="x"))
    assert good.result().text == "ok"
    with pytest.raises(RootformError, match="back-references") as caught:
        bad.result()
    assert (caught.value.status, caught.value.param) == (400, "constraint")
    with pytest.raises(RootformError, match="shortest value takes 4 tokens, but max_tokens is 3"):
        engine.generate("x", regex="a{4}", max_tokens=3)
    assert engine.stats().requests_failed == 2


def test_a_hostile_constraint_fails_alone_while_others_are_served(make, monkeypatch):
    """What takes too long to compile fails its own request, and one that came later is done before."""
    begun, go_on = threading.Event(), threading.Event()
    compile_pattern = grammar_compile.compile_pattern

    def endless(pattern, **options):
        while pattern == "hostile":
            begun.set()
            if go_on.wait(0.01):
                tick()
        return compile_pattern(pattern, **options)

    monkeypatch.setattr(grammar_compile, "compile_pattern", endless)
    engine = make(likes=likes_text("777"), compile_seconds=0.1)
    bad = engine.submit(Call(prompt="x", constraint=Regex("hostile")))
    assert begun.wait(120)
    assert engine.generate("y", regex="[67]{3}").text == "777"
    assert not bad.future.done()
    go_on.set()
    with pytest.raises(RootformError, match=r"takes more than 0\.1 s of work") as caught:
        bad.result(120)
    assert (caught.value.status, caught.value.param) == (400, "constraint")
    assert engine.generate("z", regex="[67]{2}").text == "77"
    stats = engine.stats()
    assert (stats.requests_failed, stats.grammar_generations) == (1, 1)
    assert stats.grammar_bytes > 0


def test_many_constraints_take_no_more_memory_than_they_may(make, monkeypatch):
    """Generations come and go under running requests; every output is what its own constraint asks for."""
    monkeypatch.setattr("rootform.engine.compiling.LEAST_BYTES", 0)
    engine = make(likes=likes_text("7" * 200), grammar_bytes=8 << 20)
    texts = [f"{n}7+" for n in range(120)]
    serials = set()
    for start in range(0, len(texts), 8):
        batch = texts[start : start + 8]
        jobs = [engine.submit(make_call("x", regex=text + "z?", max_tokens=12)) for text in batch]
        jobs.append(engine.submit(make_call("y", schema={**SCHEMA, "title": f"{start:0300000}"}, max_tokens=60)))
        for text, job in zip(batch, jobs, strict=False):
            assert re.fullmatch(text + "z?", job.result(60).text)
        assert json.loads(jobs[-1].result(60).text).keys() == {"name", "tags"}
        stats = engine.stats()
        assert stats.grammar_generations <= 3
        assert stats.grammar_bytes < 16 << 20
        serials.add(engine._generations.current.serial)
    assert len(serials) > 2, "the bound was never met"
