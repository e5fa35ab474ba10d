"""The real openai package against the server, over loopback."""

import asyncio

import msgspec
import openai
import pytest

from rootform.engine.types import Choice, JsonObject, JsonSchema, Message, Regex, Sampling


def hello(**more):
    return {"model": "echo", "messages": [{"role": "user", "content": "wörds come back"}], **more}


def test_chat_whole(client, engine):
    answer = client.chat.completions.create(**hello(temperature=0))
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content) == ("assistant", "wörds come back")
    assert (choice.finish_reason, choice.index, answer.model) == ("stop", 0, "echo")
    assert choice.model_extra["rootform"] == {"closed_early": False, "forward_passes": 17, "matched_stop": None}
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (15, 16, 31)
    assert usage.prompt_tokens_details.cached_tokens == 0
    again = client.chat.completions.create(**hello())
    assert again.usage.prompt_tokens_details.cached_tokens == 3
    assert engine.calls[0].sampling == Sampling(temperature=0.0)
    assert engine.calls[1].sampling == Sampling(temperature=1.0)


@pytest.mark.parametrize(
    ("fields", "priority"),
    [
        ({}, "online"),
        ({"service_tier": "flex"}, "offline"),
        ({"service_tier": "default"}, "online"),
        ({"extra_body": {"priority": "offline"}}, "offline"),
        ({"extra_body": {"priority": "offline"}, "service_tier": "flex"}, "offline"),
    ],
)
def test_priority_and_openais_tier(client, engine, fields, priority):
    client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "a"}], **fields)
    client.completions.create(model="echo", prompt="a", **{k: v for k, v in fields.items() if k == "extra_body"})
    assert engine.calls[0].priority == priority
    assert engine.calls[1].priority == ("offline" if "extra_body" in fields else "online")


def test_every_field_reaches_the_engine(client, engine):
    client.chat.completions.create(
        model="echo",
        messages=[
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "c"},
        ],
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop=["\n", "##"],
        max_completion_tokens=5,
        logprobs=True,
        top_logprobs=2,
        extra_body={
            "top_k": 3,
            "min_p": 0.1,
            "regex": "[a-z]+",
            "cache_salt": "tenant",
            "continue_final_message": True,
            "ignore_eos": True,
        },
    )
    call = engine.calls[0]
    assert call.messages == (Message("system", "be brief"), Message("user", "ab"), Message("assistant", "c"))
    assert call.sampling == Sampling(temperature=0.5, top_k=3, top_p=0.9, min_p=0.1, seed=7)
    assert (call.max_tokens, call.stop, call.top_logprobs) == (5, ("\n", "##"), 2)
    assert (call.constraint, call.namespace, call.continue_final, call.ignore_eos) == (
        Regex("[a-z]+"),
        "tenant",
        True,
        True,
    )


@pytest.mark.parametrize(
    ("more", "constraint"),
    [
        ({}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, JsonObject()),
        ({"extra_body": {"choice": ["yes", "no"]}}, Choice(("yes", "no"))),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "strict": True, "schema": {"type": "object", "title": "ü"}},
                },
                "extra_body": {"spacing": "flexible"},
            },
            JsonSchema('{"type":"object","title":"ü"}', "flexible"),
        ),
        (
            {
                "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "urn:a"}}},
                "extra_body": {
                    "spacing": "canonical",
                    "property_order": "any",
                    "schema_draft": "7",
                    "schema_documents": {"urn:a": {"type": "null"}},
                },
            },
            JsonSchema(
                '{"$ref":"urn:a"}',
                "canonical",
                property_order="any",
                draft="7",
                documents=(("urn:a", '{"type":"null"}'),),
            ),
        ),
    ],
)
def test_constraints(client, engine, more, constraint):
    client.chat.completions.create(**hello(**more))
    assert engine.calls[0].constraint == constraint


def test_samples_have_seeds_of_their_own(client, engine):
    answer = client.chat.completions.create(**hello(n=3, seed=10))
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [call.sampling.seed for call in engine.calls] == [10, 11, 12]
    assert answer.usage.prompt_tokens == 15
    assert answer.usage.completion_tokens == 3 * 16
    assert answer.usage.prompt_tokens_details.cached_tokens == 0


def test_chat_stream(client):
    chunks = list(client.chat.completions.create(**hello(stream=True, stream_options={"include_usage": True})))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.content for chunk in chunks[1:-2]] == ["wörds ", "come ", "back"]
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None, None, None, None, "stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 16
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens == 0
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_stream_without_usage(client):
    chunks = list(client.chat.completions.create(**hello(stream=True)))
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_stream_of_samples(client):
    texts = ["", ""]
    for chunk in client.chat.completions.create(**hello(stream=True, n=2)):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == ["wörds come back"] * 2


def test_stream_helper(client):
    with client.chat.completions.stream(**hello()) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "wörds come back"


def test_chat_logprobs(client):
    whole = client.chat.completions.create(**hello(logprobs=True, top_logprobs=2)).choices[0].logprobs.content
    streamed = []
    for chunk in client.chat.completions.create(**hello(logprobs=True, top_logprobs=2, stream=True)):
        if chunk.choices[0].logprobs:
            streamed += chunk.choices[0].logprobs.content
    assert whole == streamed
    assert bytes(byte for one in whole for byte in one.bytes).decode() == "wörds come back"
    assert [whole[0].token, whole[0].logprob, whole[0].model_extra["token_id"]] == ["w", -0.5, ord("w")]
    assert whole[1].token == r"bytes:\xc3"
    assert [top.token for top in whole[0].top_logprobs] == ["w", "x"]
    plain = client.chat.completions.create(**hello(logprobs=True)).choices[0].logprobs.content
    assert [one.top_logprobs for one in plain] == [[]] * 16


def test_completions_take_four_kinds_of_prompt(client, engine):
    ids = list(b"ids")
    for prompt, texts in [
        ("one", ["one"]),
        (["one", "two"], ["one", "two"]),
        (ids, ["ids"]),
        ([ids, ids], ["ids"] * 2),
    ]:
        answer = client.completions.create(model="echo", prompt=prompt)
        assert [choice.text for choice in answer.choices] == texts
    assert engine.calls[-1].prompt == tuple(ids)
    assert engine.calls[-1].messages is None


def test_completion_samples_prompt_by_prompt(client):
    answer = client.completions.create(model="echo", prompt=["a b", "cc"], n=2, max_tokens=1)
    assert [choice.text for choice in answer.choices] == ["a ", "a ", "cc", "cc"]
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    assert answer.usage.prompt_tokens == 5
    assert answer.choices[0].model_extra["rootform"]["closed_early"] is True


def test_completion_logprobs_and_ids(client):
    asked = {"model": "echo", "prompt": "né o", "logprobs": 2, "extra_body": {"return_token_ids": True}}
    choice = client.completions.create(**asked).choices[0]
    assert choice.logprobs.tokens == ["n", r"bytes:\xc3", r"bytes:\xa9", " ", "o"]
    assert choice.logprobs.text_offset == [0, 1, 1, 2, 3]
    assert choice.logprobs.top_logprobs[0] == {"n": -0.5, "o": -1.5}
    assert choice.model_extra["rootform"]["token_ids"] == list("né o".encode())
    ids, offsets = [], []
    for chunk in client.completions.create(**asked, stream=True):
        part = chunk.choices[0]
        if part.finish_reason is None:
            ids += part.model_extra["rootform"]["token_ids"]
            offsets += part.logprobs.text_offset
    assert ids == list("né o".encode())
    assert offsets == [0, 1, 1, 2, 3]


def test_completion_stream_usage(client):
    asked = {"model": "echo", "prompt": ["a b", "c"], "stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.completions.create(**asked))
    assert chunks[-1].usage.prompt_tokens == 4
    texts = ["", ""]
    for chunk in chunks[:-1]:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == ["a b", "c"]


def test_models(client):
    assert [model.id for model in client.models.list()] == ["echo"]
    card = client.models.retrieve("echo")
    assert card.model_extra["rootform"] == {
        "context_tokens": 512,
        "has_chat_template": True,
        "extract_prompt": "Do {document}",
    }
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-4' here; this server has 'echo'"):
        client.models.retrieve("gpt-4")


def test_errors_are_the_packages_own(client):
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "x"}])
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError, match="unknown field `topk`; did you mean `top_k`") as unknown:
        client.chat.completions.create(**hello(extra_body={"topk": 3}))
    assert (unknown.value.param, unknown.value.type) == ("topk", "invalid_request_error")


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_grammar_is_a_400_also_when_streaming(client, stream):
    with pytest.raises(openai.BadRequestError, match="column 1: unclosed group") as refused:
        client.chat.completions.create(**hello(stream=stream, extra_body={"regex": "("}))
    assert refused.value.param == "regex"


@pytest.mark.parametrize("stream", [False, True])
def test_an_early_failure_has_its_status(client, stream):
    with pytest.raises(openai.InternalServerError, match="no room"):
        client.completions.create(model="echo", prompt="early failure", stream=stream)


def test_a_late_failure_is_an_error_event(client):
    stream = client.completions.create(model="echo", prompt="late failure", stream=True)
    assert [next(stream).choices[0].text for _ in range(2)] == ["late ", "failure"]
    with pytest.raises(openai.APIError, match="a fuse blew"):
        next(stream)


def test_leaving_a_stream_cancels_the_call(client, engine):
    with client.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": "endless"}], stream=True
    ) as stream:
        next(iter(stream))
    assert engine.cancelled.wait(120)


def test_async_client(url, engine):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            answers = await asyncio.gather(*(client.chat.completions.create(**hello(seed=i)) for i in range(8)))
            texts = []
            async for chunk in await client.chat.completions.create(**hello(stream=True)):
                texts.append(chunk.choices[0].delta.content or "")
            return answers, "".join(texts)

    answers, streamed = asyncio.run(ask())
    assert {answer.choices[0].message.content for answer in answers} == {"wörds come back"}
    assert streamed == "wörds come back"
    assert sorted(call.sampling.seed for call in engine.calls[:8]) == list(range(8))


def test_async_cancel_of_a_waiting_request_cancels_the_call(url, engine):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            asking = asyncio.create_task(client.completions.create(model="echo", prompt="endless"))
            while not engine.calls:
                await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(ask())
    assert engine.cancelled.wait(120)


def test_structured_output_helper(client, engine):
    class Person(msgspec.Struct):
        name: str

    schema = msgspec.json.schema(Person)
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    answer = client.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": '{"name":"Ada"}'}], response_format=form
    )
    assert msgspec.json.decode(answer.choices[0].message.content, type=Person) == Person("Ada")
    assert msgspec.json.decode(engine.calls[0].constraint.schema) == schema
