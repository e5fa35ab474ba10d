"""Calls with a stand-in model, from threads and asyncio: what comes back, and what is refused at once."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from rootform.engine.api import Engine
from rootform.engine.types import Call, Message, RootformError
from tests.engine.api.conftest import N_TOKENS, TOKENIZER, likes_text

# -- generating -----------------------------------------------------------------------------------------------


def test_text_ids_chats_and_lists_of_them(make):
    engine = make(likes=likes_text("héllo"))
    text = engine.generate("u:hi\n")
    assert (text.text, text.finish_reason, len(text.token_ids)) == ("héllo", "stop", 6)
    assert engine.generate(list(TOKENIZER.encode("u:hi\n"))).text == "héllo"
    assert engine.generate([Message("user", "hi")]).text == "héllo"
    assert engine.generate([{"role": "user", "content": "hi"}]).text == "héllo"
    assert [each.text for each in engine.generate(["u:hi\n", "u:hi\n"], max_tokens=2)] == ["hé"[:1] + "\ufffd"] * 2
    assert engine.generate([]) == []


def test_deltas_joined_are_the_completion(make):
    engine = make(likes=likes_text("a é 👍 z"))
    job = engine.submit(Call(prompt="x", top_logprobs=0))
    deltas = list(job)
    completion = job.result()
    assert "".join(delta.text for delta in deltas) == completion.text == "a é 👍 z"
    assert [delta.text for delta in deltas] == list("a é 👍 z")
    assert tuple(i for delta in deltas for i in delta.token_ids) == completion.token_ids
    assert b"".join(each.text for each in completion.logprobs) == completion.text.encode()


def test_asyncio_generates_and_streams(make):
    engine = make(likes=likes_text("hello"))

    async def main():
        both = await engine.agenerate(["x", "y"], max_tokens=3)
        streamed = [delta.text async for delta in engine.submit(Call(prompt="x"))]
        return [each.text for each in both], "".join(streamed)

    assert asyncio.run(main()) == (["hel", "hel"], "hello")


def test_many_threads_submit_at_once(make):
    engine = make(max_batch=7)
    prompts = [f"document {n}" for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda prompt: engine.generate(prompt, max_tokens=6, ignore_eos=True), prompts))
    assert [each.text for each in together] == [
        engine.generate(prompt, max_tokens=6, ignore_eos=True).text for prompt in prompts
    ]
    assert engine.stats().requests_finished == 80


def test_stats_and_snapshot_tell_what_happened(make):
    engine = make()
    engine.generate("abcdefgh", max_tokens=5, ignore_eos=True)
    engine.generate("abcdefgh", max_tokens=5, ignore_eos=True)
    snapshot = engine.cache_snapshot()  # waits for the thread, so the statistics are those of the end
    stats = engine.stats()
    assert (stats.prefill_tokens, stats.cached_tokens, stats.output_tokens) == (8 + 1, 7, 10)
    assert (stats.running, stats.waiting, stats.requests_finished) == (0, 0, 2)
    assert snapshot.cached_pages == stats.pages_cached == 12
    assert stats.pages_free + stats.pages_cached == stats.pages_total
    engine.clear_cache()
    assert engine.cache_snapshot().nodes == ()


def test_ids_beyond_the_tokenizer_show_nothing_and_are_never_allowed(standins, device):
    model = standins.StandIn(N_TOKENS + 40, there=device.there)
    model.likes = lambda ids: N_TOKENS + 5
    with Engine.from_parts(model, TOKENIZER, **device.ways) as engine:
        assert engine.generate("x", max_tokens=3).text == ""
        assert set(engine.generate("x", regex="[ab]{5}").text) <= set("ab")


# -- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("x" * 2000, {}, "the prompt has 2000 tokens, but prompt and output together may have 1000"),
        ("x" * 990, {"max_tokens": 11}, "990 tokens and max_tokens is 11, together 1001"),
        ("", {}, "the prompt has no tokens"),
        ([5, 99999], {}, "token id 99999 in the prompt"),
        ("x", {"max_tokens": 0}, "max_tokens is 0; it must be 1 or more"),
        ("x", {"temperature": -1.0}, "temperature is -1.0"),
        ("x", {"temperature": float("nan")}, "temperature is nan"),
        ("x", {"top_p": 0.0}, "top_p is 0.0; it must be above 0"),
        ("x", {"top_k": -1}, "top_k is -1"),
        ("x", {"min_p": 1.5}, "min_p is 1.5"),
        ("x", {"seed": -1}, "seed is -1"),
        ("x", {"stop": [""]}, "a stop string is empty"),
        ("x", {"top_logprobs": -1}, "top_logprobs is -1"),
        ("x", {"regex": "a", "choice": ["a"]}, "give only one of regex and choice"),
        ("x", {"regex": "a", "ignore_eos": True}, "ignore_eos cannot be had with a constraint"),
        ("x", {"regex": "a", "spacing": "flexible"}, "spacing is about JSON"),
        ("x", {"continue_final": True}, "continue_final is about `messages`"),
        ([{"role": "user"}], {}, "missing required field `content`"),
    ],
)
def test_bad_calls_are_refused_at_once(make, prompt, options, message):
    with pytest.raises(RootformError, match=re.escape(message)) as caught:
        make().generate(prompt, **options)
    assert caught.value.status == 400


def test_options_there_are_not_are_refused(make):
    with pytest.raises(TypeError, match="max_token"):
        make().generate("x", max_token=3)


def test_limits_say_what_they_are_and_refuse_what_cannot_be(make):
    engine = make(max_batch=3, max_context=100)
    assert engine.info.context_tokens == 100
    assert engine.limits.describe().startswith("batch: up to 3 sequences and 1024 prompt tokens in one pass\n")
    with pytest.raises(RootformError, match="max_batch is 0"):
        make(max_batch=0)
    with pytest.raises(RootformError, match="the model was made for 1000"):
        make(max_context=2000)
