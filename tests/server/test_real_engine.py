"""The server over the real engine with a small random model: a mixed load, and HTTP against the engine itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import openai
import pytest

from rootform.engine.api import Engine
from rootform.engine.types import Call, JsonSchema, Message, Regex, Sampling
from rootform.programs.http_client import HttpClient
from rootform.server.mixed_run import Person, keeps_to, mixed_run, plan


@pytest.fixture(scope="module")
def real(tiny_model: Path, serving):
    with Engine(tiny_model, kv_bytes=16 * 2**20, threads=1) as engine, serving(engine) as url:
        yield engine, url


def test_a_mixed_run(real):
    engine, url = real
    report = asyncio.run(mixed_run(url, requests=200, seed=1, concurrency=12))
    assert report.wrong == ()
    kinds = {ask.kind for ask in plan(200, 1, engine.info.context_tokens)}
    assert report.right.keys() == kinds == {
        "free text", "regex", "choice", "Person", "Invoice", "Ticket", "left", "bad request"
    }  # fmt: skip
    assert sum(report.right.values()) == 200
    stats = engine.stats()
    assert stats.pages_locked == 0
    assert stats.pages_free + stats.pages_cached == stats.pages_total
    assert stats.cached_tokens > 0


def test_a_mixed_run_finds_an_engine_that_keeps_to_nothing(url, engine):
    report = asyncio.run(mixed_run(url, requests=40, concurrency=4))
    faults = {line.split(":")[0] for line in report.wrong}
    assert {"regex", "choice", "Person", "Invoice", "Ticket"} <= faults
    assert report.right["free text"]


CALLS = {
    "text, sampled": Call(prompt="Once", max_tokens=20, sampling=Sampling(temperature=0.8, seed=5), top_logprobs=3),
    "regex": Call(prompt="Once", max_tokens=20, constraint=Regex("[a-f]{4,9}"), top_logprobs=2),
    "over the vocabulary": Call(
        prompt="Once", max_tokens=20, constraint=Regex("forced: [a-f]{2}"), top_logprobs=2, logprobs_over="vocabulary"
    ),
    "chat, schema": Call(
        messages=(Message("user", "Who?"),),
        max_tokens=120,
        constraint=JsonSchema('{"type":"object","properties":{"a":{"enum":["é","\U0001f600"]}},"required":["a"]}'),
    ),
    "stop": Call(prompt="Once", max_tokens=40, sampling=Sampling(temperature=1.5, seed=1), stop=("a", "e", "t")),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_http_gives_what_the_engine_gives(real, call):
    engine, url = real
    here = engine.submit(call).result(60)
    with HttpClient(url) as client:
        assert client.info == engine.info
        job = client.submit(call)
        there = job.result(60)
        assert "".join(delta.text for delta in job) == there.text
    assert (there.text, there.token_ids, there.finish_reason) == (here.text, here.token_ids, here.finish_reason)
    assert (there.closed_early, there.matched_stop) == (here.closed_early, here.matched_stop)
    assert there.usage.completion_tokens == here.usage.completion_tokens
    assert there.usage.prompt_tokens == here.usage.prompt_tokens
    assert [(one.token_id, one.text) for one in there.logprobs] == [(one.token_id, one.text) for one in here.logprobs]
    assert [one.logprob for one in there.logprobs] == pytest.approx([one.logprob for one in here.logprobs], abs=1e-4)
    assert [len(one.top) for one in there.logprobs] == [len(one.top) for one in here.logprobs]


def test_cached_tokens_are_told(real):
    with openai.OpenAI(base_url=f"{real[1]}/v1", api_key="none", max_retries=0) as client:
        prompt = "a prompt that is asked twice, word for word, by one who likes to ask"
        usages = [client.completions.create(model=client.models.list().data[0].id, prompt=prompt, max_tokens=2).usage]
        usages.append(
            client.completions.create(model=client.models.list().data[0].id, prompt=prompt, max_tokens=2).usage
        )
    cached = [usage.prompt_tokens_details.cached_tokens for usage in usages]
    assert cached[0] < cached[1] <= usages[1].prompt_tokens


def test_json_through_the_package(real):
    schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer"}}}
    schema |= {"required": ["name", "age"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "p", "schema": schema, "strict": True}}
    schema["properties"]["age"] |= {"minimum": 0, "maximum": 130}
    schema["properties"]["name"]["minLength"] = 1
    with openai.OpenAI(base_url=f"{real[1]}/v1", api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(
            model=client.models.list().data[0].id,
            messages=[{"role": "user", "content": "Ada is 36."}],
            response_format=form,
            max_tokens=80,
            n=3,
            seed=1,
        )
    for choice in answer.choices:
        assert keeps_to(Person)(choice.message.content) == ""


def test_health_says_when_the_engine_is_closed(tiny_model: Path, serving):
    engine = Engine(tiny_model, kv_bytes=2**20)
    with serving(engine) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        health = client.with_options().get("/../health", cast_to=dict)
        assert health == {"status": "ok"}
        engine.close()
        with pytest.raises(openai.InternalServerError, match="closed") as gone:
            client.completions.create(model=engine.info.name, prompt="x")
        assert gone.value.status_code == 503
        with pytest.raises(openai.InternalServerError):
            client.get("/../health", cast_to=dict)
