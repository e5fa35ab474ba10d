"""Tools in chat completions, asked for and answered with the real openai package."""

from __future__ import annotations

import json
from pathlib import Path

import openai
import pytest

from rootform.engine.api import Engine
from rootform.engine.types import Message, ToolCall
from rootform.grammar.tool_calls import Tool, tool_tag

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Now", "parameters": PARAMETERS}}
NOW = {"type": "function", "function": {"name": "now"}}
TOOLS = [WEATHER, NOW]
AS_TOOLS = [
    Tool("get_weather", json.dumps(PARAMETERS, separators=(",", ":"))),
    Tool("now", '{"type":"object","properties":{},"additionalProperties":false}'),
]
OSLO = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
NOW_TOO = '\n<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
HERMES = {"tool_format": "hermes"}


def asked(content: str, **more) -> dict:
    """The scripted engine says the content back, as if the model had written it."""
    return {"model": "echo", "messages": [{"role": "user", "content": content}], "tools": TOOLS, **more}


def test_calls_are_answered_as_calls(client, engine):
    answer = client.chat.completions.create(**asked("I look." + OSLO + NOW_TOO), extra_body=HERMES)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "I look.\n"
    assert [(c.type, c.function.name, c.function.arguments) for c in choice.message.tool_calls] == [
        ("function", "get_weather", '{"city": "Oslo"}'),
        ("function", "now", "{}"),
    ]
    assert len({call.id for call in choice.message.tool_calls}) == 2
    assert engine.calls[0].constraint == tool_tag(AS_TOOLS, "hermes")
    shown = json.loads(engine.calls[0].tools)
    assert shown[0] == WEATHER
    assert [tool["function"]["name"] for tool in shown] == ["get_weather", "now"]


def test_text_without_calls_is_text(client):
    (choice,) = client.chat.completions.create(**asked("No need."), extra_body=HERMES).choices
    assert (choice.finish_reason, choice.message.content, choice.message.tool_calls) == ("stop", "No need.", None)


@pytest.mark.parametrize(
    ("fields", "choice", "parallel"),
    [
        ({"tool_choice": "auto"}, "auto", True),
        ({"tool_choice": "required"}, "required", True),
        ({"tool_choice": "required", "parallel_tool_calls": False}, "required", False),
        ({"tool_choice": {"type": "function", "function": {"name": "now"}}}, AS_TOOLS[1], True),
    ],
)
def test_choices_reach_the_engine(client, engine, fields, choice, parallel):
    answer = client.chat.completions.create(**asked(OSLO, **fields), extra_body=HERMES)
    assert engine.calls[0].constraint == tool_tag(AS_TOOLS, "hermes", choice, parallel=parallel)
    named = isinstance(choice, Tool)
    assert answer.choices[0].finish_reason == ("stop" if named else "tool_calls")
    assert answer.choices[0].message.content is None


def test_none_is_plain_text_of_a_model_that_is_told_of_no_tools(client, engine):
    answer = client.chat.completions.create(**asked(OSLO, tool_choice="none", response_format={"type": "json_object"}))
    assert answer.choices[0].message.content == OSLO
    assert engine.calls[0].tools == ""


def test_a_stream_tells_text_as_it_comes_and_calls_when_they_are_complete(client):
    stream = client.chat.completions.create(
        **asked("I look now." + OSLO + NOW_TOO + " a <b"), extra_body=HERMES, stream=True
    )
    said, calls, reason = "", [], None
    for chunk in stream:
        (choice,) = chunk.choices
        said += choice.delta.content or ""
        calls += choice.delta.tool_calls or []
        reason = choice.finish_reason or reason
    assert said == "I look now.\n a <b"
    assert [(call.index, call.function.name, call.function.arguments) for call in calls] == [
        (0, "get_weather", '{"city": "Oslo"}'),
        (1, "now", "{}"),
    ]
    assert reason == "tool_calls"


@pytest.mark.parametrize(
    ("text", "content"),
    [(OSLO + NOW_TOO + "\n", None), ("\n", "\n"), ("\n" + OSLO + " so", "\n so"), (" I look." + OSLO, " I look.")],
)
def test_white_space_beside_calls_is_no_content_whole_or_streamed(client, text, content):
    whole = client.chat.completions.create(**asked(text), extra_body=HERMES).choices[0].message
    chunks = client.chat.completions.create(**asked(text), extra_body=HERMES, stream=True)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert (whole.content, said) == (content, content or "")


def test_the_openai_package_puts_a_stream_together(client):
    with client.chat.completions.stream(**asked(OSLO), extra_body=HERMES) as stream:
        message = stream.get_final_completion().choices[0].message
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Oslo"}


def test_turns_with_calls_are_sent_back(client, engine):
    first = client.chat.completions.create(**asked(OSLO), extra_body=HERMES).choices[0].message
    call = first.tool_calls[0]
    turns = [
        {"role": "user", "content": "Weather?"},
        first.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    client.chat.completions.create(model="echo", messages=turns)
    assert engine.calls[1].messages == (
        Message("user", "Weather?"),
        Message("assistant", "", (ToolCall("get_weather", '{"city": "Oslo"}', call.id),)),
        Message("tool", "rain", (), call.id),
    )


@pytest.mark.parametrize(
    ("change", "param", "says"),
    [
        ({"extra_body": {}}, "tools", "say which in tool_format"),
        ({"tool_choice": {"type": "function", "function": {"name": "no"}}}, "tool_choice", "there is no tool 'no'"),
        ({"tools": [], "tool_choice": "required", "extra_body": {}}, "tool_choice", "no tools to choose from"),
        ({"tools": [NOW, NOW]}, "tools", "stands there twice"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools", "is no name for a tool"),
        ({"response_format": {"type": "json_object"}}, "tools", "no other constraint"),
        ({"tool_choice": "none"}, "tool_format", "only means something with tools"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}]}]},
            "messages[0].tool_calls[0].function.arguments", "no JSON",
        ),
        (
            {"messages": [{"role": "user", "content": "x", "tool_call_id": "1"}]},
            "messages[0].tool_call_id", "a tool's turn, and no other",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_field(client, change, param, says):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**{"extra_body": HERMES, **asked("x"), **change})
    assert refused.value.param == param
    assert says in str(refused.value)


def test_a_real_engine_calls_the_tool_that_it_must(tiny_model: Path, serving):
    with (
        Engine(tiny_model, kv_bytes=8 * 2**20, threads=1) as engine,
        serving(engine) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60) as client,
    ):
        given = {"model": engine.info.name, "messages": [{"role": "user", "content": "Weather?"}], "tools": TOOLS}
        answer = client.chat.completions.create(
            **given, tool_choice="required", max_tokens=200, seed=1, parallel_tool_calls=False, extra_body=HERMES
        ).choices[0]
    (call,) = answer.message.tool_calls
    assert answer.message.content is None
    assert call.function.name in ("get_weather", "now")
    values = {"get_weather": ({"city": "Oslo"}, {"city": "Rome"}), "now": ({},)}
    assert json.loads(call.function.arguments) in values[call.function.name]
