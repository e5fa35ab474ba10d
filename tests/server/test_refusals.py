"""Every bad request gets a 4xx that says where it is wrong; what changes nothing is taken."""

from __future__ import annotations

import gzip

import httpx
import pytest

CHAT = {"messages": [{"role": "user", "content": "x"}]}
TEXT = {"prompt": "x"}


def post(url, body, path="/v1/chat/completions", **kwargs):
    if isinstance(body, (bytes, str)):
        return httpx.post(url + path, content=body, timeout=120, **kwargs)
    return httpx.post(url + path, json=body, timeout=120, **kwargs)


def refusal(response, status=400):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    return body["error"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON: Expecting value at line 1, column 1"),
        (b'{"messages": [,]}', "the body is not JSON: Expecting value at line 1, column 15"),
        (b'{"n": 1,\n "seed" 2}', "the body is not JSON: Expecting ':' delimiter at line 2, column 9"),
        (b'{"user": "\xff"}', "the body is not UTF-8: invalid start byte at byte 10"),
        (b'{"user": "\\ud800"}', "the body is not JSON: a string holds half of a surrogate pair"),
        (b'{"audio": ' + b"[" * 80_000, "the body is JSON nested too deeply to be read"),
        (b"[]", "the body: expected `object`, got `array`"),
        (b"\xef\xbb\xbf{}", "the body is not JSON: it begins with a byte order mark; leave that out"),
    ],
)
def test_bodies_that_are_not_a_json_object(url, body, message):
    assert refusal(post(url, body))["message"] == message


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"messages": None}, "messages", "$.messages: expected `array`, got `null`"),
        ({"messages": []}, "messages", "messages: at least one is needed"),
        ({"nonsense": 1}, "nonsense", "$: unknown field `nonsense`; remove it"),
        ({"top_kk": 1}, "top_kk", "$: unknown field `top_kk`; did you mean `top_k`?"),
        ({"guided_regex": "a"}, "guided_regex", "$: unknown field `guided_regex`; send `regex`"),
        (
            {"response_format": {"type": "json_schema", "schema": {}}},
            "response_format.schema",
            "$.response_format: unknown field `schema`; send `response_format`: {type: json_schema, json_schema: "
            "{name, schema}}",
        ),
        ({"temperature": "hot"}, "temperature", "$.temperature: expected `float | null`, got `str`"),
        ({"temperature": -1}, "temperature", "$.temperature: expected `float` >= 0.0"),
        ({"n": 0}, "n", "$.n: expected `int` >= 1"),
        ({"n": 129}, "n", "$.n: expected `int` <= 128"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "$.top_logprobs: expected `int` <= 20"),
        ({"top_logprobs": 2}, "top_logprobs", "top_logprobs needs logprobs: true beside it"),
        ({"max_tokens": 0}, "max_tokens", "$.max_tokens: expected `int` >= 1"),
        (
            {"max_tokens": 1, "max_completion_tokens": 2},
            "max_completion_tokens",
            "max_tokens is 1 and max_completion_tokens 2; they mean the same, so send one",
        ),
        ({"stop": ["a", ""]}, "stop", "stop: an empty string would end every answer before it began"),
        ({"priority": "low"}, "priority", "$.priority: invalid enum value 'low'"),
        (
            {"priority": "online", "service_tier": "flex"},
            "service_tier",
            "service_tier flex is priority offline; give only one of them",
        ),
        ({"stream_options": {}}, "stream_options", "stream_options needs stream: true beside it"),
        (
            {"regex": "a", "choice": ["a"]},
            "choice",
            "regex and choice: one constraint at most; keep one of them",
        ),
        (
            {"regex": "a", "response_format": {"type": "json_object"}},
            "response_format",
            "regex and response_format: one constraint at most; keep one of them",
        ),
        (
            {"spacing": "compact"},
            "spacing",
            "spacing: only means something with a JSON response_format, a grammar or tools",
        ),
        (
            {"regex": "a", "lenient": True},
            "lenient",
            "lenient: only means something with a response_format of type json_schema",
        ),
        (
            {"response_format": {"type": "json_object"}, "property_order": "any"},
            "property_order",
            "property_order: only means something with a response_format of type json_schema",
        ),
        (
            {"response_format": {"type": "xml"}},
            "response_format.type",
            "$.response_format.type: invalid enum value 'xml'",
        ),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            'response_format.json_schema: missing; send {"name": ..., "schema": ...}',
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema",
            "$.response_format.json_schema: object missing required field `schema`",
        ),
        (
            {"response_format": {"type": "json_object", "json_schema": {"schema": {}}}},
            "response_format.json_schema",
            "response_format.json_schema: only goes with type json_schema, not json_object",
        ),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            "messages[0].tool_call_id",
            "messages[0].tool_call_id: a tool's turn, and no other, says which call it answers",
        ),
        (
            {"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": None}]},
            "messages[1].content",
            "messages[1].content: missing; send a string or a list of text parts",
        ),
        (
            {"messages": [{"role": "user", "content": "x", "extra": 1}]},
            "messages[0].extra",
            "$.messages[0]: unknown field `extra`; remove it",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0].type",
            "messages[0].content[0].type: 'image_url' is not supported; this server reads text",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages[0].content[0].text",
            "messages[0].content[0].text: a string is needed",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache": 1}]}]},
            "messages[0].content[0].cache",
            "messages[0].content[0]: unknown field `cache`",
        ),
        (
            {"continue_final_message": True},
            "continue_final_message",
            "continue_final_message: the last message is from the user; it must be the assistant's",
        ),
        (
            {"messages": [{"role": "user", "content": "x" * 401}]},
            "messages",
            "the prompt is 401 tokens, of 400 at most",
        ),
    ],
)
def test_chat_requests_that_are_wrong(url, change, param, message):
    error = refusal(post(url, CHAT | change))
    assert (error["message"], error["param"]) == (message, param)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"presence_penalty": -1}, "presence_penalty"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"store": True}, "store"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"messages": [{"role": "user", "content": "x", "name": "Ann"}]}, "messages[0].name"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
    ],
)
def test_unsupported_fields_are_refused_by_name(url, engine, change, param):
    error = refusal(post(url, CHAT | change))
    assert error["param"] == param
    assert error["message"].startswith(f"{param}: ")
    assert "is not supported; " in error["message"]
    assert engine.calls == []


def test_neutral_values_and_labels_are_accepted(url):
    neutral = {
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "logit_bias": {},
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "functions": [],
        "store": False,
        "service_tier": "auto",
        "modalities": ["text"],
        "reasoning_effort": None,
        "verbosity": "medium",
        "audio": None,
        "user": "me",
        "metadata": {"a": "b"},
        "safety_identifier": "x",
        "prompt_cache_key": "k",
        "model": None,
    }
    said = {"role": "assistant", "content": "y", "refusal": None, "annotations": [], "tool_calls": None}
    answer = post(url, {"messages": [said, *CHAT["messages"]], **neutral})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": []}, "prompt: at least one is needed"),
        ({"prompt": [1, "a"]}, "prompt: token ids beside other prompts; send a list of lists"),
        ({"prompt": [[1], ["a"]]}, "$.prompt[1][0]: expected `int`, got `str`"),
        ({"prompt": 3}, "$.prompt: expected `str | array`, got `int`"),
        ({"echo": True}, "echo: true is not supported; the prompt is not repeated; put it before the answer yourself"),
        ({"suffix": "s"}, 'suffix: "s" is not supported; text is only continued; put the suffix into the prompt'),
        ({"best_of": 2}, "best_of: 2 is not supported; ask for n samples and choose among them by their logprobs"),
        ({"logprobs": True}, "$.logprobs: expected `int | null`, got `bool`"),
        ({"messages": []}, "$: unknown field `messages`; remove it"),
        ({"prompt": ["x"] * 201}, "201 completions in one request; this server queues 200 at most: send fewer"),
    ],
)
def test_completion_requests_that_are_wrong(url, change, message):
    assert refusal(post(url, TEXT | change, "/v1/completions"))["message"] == message


def test_missing_fields(url):
    assert refusal(post(url, {}))["param"] == "messages"
    assert refusal(post(url, {}, "/v1/completions"))["message"] == "$: the field `prompt` is missing"


def test_wrong_paths_and_methods(url):
    nowhere = refusal(httpx.get(url + "/v2/chat", timeout=120), 404)
    assert nowhere["message"].startswith("GET /v2/chat: there is nothing at this path")
    assert refusal(httpx.get(url + "/v1/models/", timeout=120), 404)["message"]
    wrong = httpx.get(url + "/v1/completions", timeout=120)
    assert refusal(wrong, 405)["message"] == "GET /v1/completions: this path takes POST"
    assert wrong.headers["allow"] == "POST"
    assert refusal(httpx.post(url + "/health", timeout=120), 405)["message"].startswith("POST /health: this path takes")


def test_a_packed_body_is_refused_as_such(url):
    packed = httpx.post(
        url + "/v1/completions",
        content=gzip.compress(b'{"prompt": "x"}'),
        headers={"Content-Encoding": "gzip"},
        timeout=120,
    )
    assert refusal(packed, 415)["message"] == "Content-Encoding: a body in gzip is not read; send it plain"


def test_a_body_over_the_limit(url):
    long = b'{"user": "' + b"x" * 100_000 + b'"}'
    assert refusal(post(url, long), 413)["code"] == "request_too_large"

    def pieces():
        yield from (b"x" * 10_000 for _ in range(11))

    announced_nowhere = httpx.post(url + "/v1/completions", content=pieces(), timeout=120)
    assert "limit of 100000 bytes" in refusal(announced_nowhere, 413)["message"]
