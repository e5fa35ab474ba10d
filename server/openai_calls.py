"""From OpenAI's requests to the engine's Calls. Pure: structs in, Calls out, or RootformError with the field's name."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Literal, cast

import msgspec

from ..engine.types import Call, Message, ModelInfo, Priority, RootformError, Sampling
from ..grammar.constraints import Choice, Constraint, Grammar, JsonObject, JsonSchema, Regex, StructuralTag
from .openai_tools import asks_for_tools, read_calls_said, read_tools
from .openai_types import ChatMessage, ChatRequest, CompletionRequest, ResponseFormat

Asked = ChatRequest | CompletionRequest

NO_FUNCTIONS = "functions are called tools now; send tools and tool_choice"
NO_PENALTY = "this server has no penalties; leave it out or send 0"
NEUTRAL: dict[str, tuple[Callable[[object], bool], str]] = {
    "annotations": (lambda value: not value, "an annotated message cannot be used; leave it out"),
    "audio": (lambda value: value is None, "this server reads and writes text only"),
    "best_of": (lambda value: value == 1, "ask for n samples and choose among them by their logprobs"),
    "echo": (lambda value: value is False, "the prompt is not repeated; put it before the answer yourself"),
    "frequency_penalty": (lambda value: value == 0, NO_PENALTY),
    "function_call": (lambda value: value in ("none", "auto"), NO_FUNCTIONS),
    "functions": (lambda value: value == [], NO_FUNCTIONS),
    "include_obfuscation": (lambda value: value is False, "chunks are not padded"),
    "logit_bias": (lambda value: value == {}, "use regex, choice or a schema to rule out text"),
    "modalities": (lambda value: value == ["text"], "this server writes text only"),
    "name": (lambda value: False, "names of speakers are not put to the model; write the name into the content"),
    "prediction": (lambda value: False, "leave it out; spans copied from the prompt are predicted anyway"),
    "presence_penalty": (lambda value: value == 0, NO_PENALTY),
    "prompt_cache_retention": (lambda value: value == "in_memory", "prefixes are kept while there is room"),
    "reasoning_effort": (lambda value: value == "none", "this server does not steer reasoning; leave it out"),
    "refusal": (lambda value: False, "a refusal cannot be put to the model; write it as content"),
    "service_tier": (lambda value: value in ("auto", "default", "flex"), "send flex for offline, or leave it out"),
    "store": (lambda value: value is False, "answers are not stored; leave it out"),
    "suffix": (lambda value: False, "text is only continued; put the suffix into the prompt"),
    "verbosity": (lambda value: value == "medium", "ask for it in the prompt, or set max_tokens"),
    "web_search_options": (lambda value: False, "this server does not search"),
}
"""Fields we have no use for: the values that change nothing (null always does), and what to do instead."""


def chat_calls(asked: ChatRequest, info: ModelInfo) -> list[Call]:
    """One Call for each of the n samples."""
    check_shared(asked, info)
    if asked.top_logprobs and not asked.logprobs:
        raise RootformError("top_logprobs needs logprobs: true beside it", param="top_logprobs")
    constraint, tools = read_constraint(asked), read_tools(asked, info)
    if tools is not None:
        if constraint is not None:
            message = "tools: no other constraint goes with them; send tool_choice none, or leave one of the two out"
            raise RootformError(message, param="tools")
        constraint = tools.constraint
    call = Call(
        messages=read_messages(asked.messages, bool(asked.continue_final_message)),
        tools="" if tools is None else tools.shown,
        continue_final=bool(asked.continue_final_message),
        max_tokens=chat_limit(asked),
        constraint=constraint,
        stop=read_stop(asked),
        ignore_eos=bool(asked.ignore_eos),
        top_logprobs=(asked.top_logprobs or 0) if asked.logprobs else None,
        logprobs_over=asked.logprobs_over or "allowed",
        namespace=asked.cache_salt or "",
        priority=read_priority(asked),
    )
    return list(samples(call, asked))


def completion_calls(asked: CompletionRequest, info: ModelInfo) -> list[Call]:
    """n Calls for each prompt, prompt by prompt, in the order of OpenAI's choice indices."""
    check_shared(asked, info)
    constraint, stop = read_constraint(asked), read_stop(asked)
    calls = []
    for prompt in read_prompts(asked.prompt):
        call = Call(
            prompt=prompt,
            max_tokens=asked.max_tokens,
            constraint=constraint,
            stop=stop,
            ignore_eos=bool(asked.ignore_eos),
            top_logprobs=asked.logprobs,
            logprobs_over=asked.logprobs_over or "allowed",
            namespace=asked.cache_salt or "",
            priority=read_priority(asked),
        )
        calls += samples(call, asked)
    return calls


def read_priority(asked: Asked) -> Priority:
    """The call's priority; OpenAI's tier for work that may take its time is our offline."""
    if asked.service_tier == "flex":
        if asked.priority == "online":
            raise RootformError("service_tier flex is priority offline; give only one of them", param="service_tier")
        return "offline"
    return asked.priority or "online"


def check_shared(asked: Asked, info: ModelInfo) -> None:
    """What can be refused without looking at the prompt: the model's name, and fields that must be neutral."""
    if asked.model not in (None, info.name):
        raise no_such_model(asked.model or "", info)
    check_neutral(asked, "")
    if asked.stream_options is not None:
        if not asked.stream:
            raise RootformError("stream_options needs stream: true beside it", param="stream_options")
        check_neutral(asked.stream_options, "stream_options.")


def no_such_model(name: str, info: ModelInfo) -> RootformError:
    """404, naming the model that is there."""
    return RootformError(f"there is no model {name!r} here; this server has {info.name!r}", status=404, param="model")


def check_neutral(part: msgspec.Struct, where: str) -> None:
    """Refuse the first field whose value would have to change something and cannot. where: prefix for its name."""
    for field in part.__struct_fields__:
        value = getattr(part, field)
        if value is None or field not in NEUTRAL:
            continue
        is_neutral, advice = NEUTRAL[field]
        if not is_neutral(value):
            shown = msgspec.json.encode(value).decode()
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            raise RootformError(f"{where}{field}: {shown} is not supported; {advice}", param=where + field)


def samples(call: Call, asked: Asked) -> Iterator[Call]:
    """The call n times; with a seed, sample i is drawn with seed + i, so that samples differ and come again."""
    for i in range(asked.n or 1):
        seed = None if asked.seed is None else asked.seed + i
        yield msgspec.structs.replace(call, sampling=read_sampling(asked, seed))


def read_sampling(asked: Asked, seed: int | None) -> Sampling:
    """How tokens are drawn. The default temperature is OpenAI's, 1.0."""
    return Sampling(
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_k=asked.top_k or 0,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        min_p=asked.min_p or 0.0,
        seed=seed,
    )


def read_stop(asked: Asked) -> tuple[str, ...]:
    """Stop strings; an empty one would stop before the first token."""
    stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
    if "" in stop:
        raise RootformError("stop: an empty string would end every answer before it began", param="stop")
    return stop


def read_constraint(asked: Asked) -> Constraint | None:
    """The one constraint asked for, whichever field it came in."""
    given: dict[str, Constraint] = {}
    if asked.regex is not None:
        given["regex"] = Regex(asked.regex, asked.backend or "rootform")
    if asked.choice is not None:
        given["choice"] = Choice(tuple(asked.choice), asked.backend or "rootform")
    if asked.grammar is not None:
        syntax, start, spacing = asked.grammar_syntax or "auto", asked.grammar_start or "", asked.spacing or "compact"
        given["grammar"] = Grammar(asked.grammar, syntax, start, spacing)
    if asked.response_format is not None:
        of_format = read_response_format(asked.response_format, asked)
        if of_format is not None:
            given["response_format"] = of_format
    if len(given) > 1:
        fields = " and ".join(given)
        raise RootformError(f"{fields}: one constraint at most; keep one of them", param=list(given)[1])
    check_goes_with(asked, given)
    about_schema = ("property_order", "schema_draft", "schema_documents", "document", "lenient")
    if asked.escapes is not None and not isinstance(given.get("response_format"), JsonSchema | JsonObject):
        message = "escapes: only means something with a response_format of type json_schema or json_object"
        raise RootformError(message, param="escapes")
    if not isinstance(given.get("response_format"), JsonSchema):
        for field in about_schema:
            if getattr(asked, field) is not None:
                message = f"{field}: only means something with a response_format of type json_schema"
                raise RootformError(message, param=field)
    return next(iter(given.values()), None)


def check_goes_with(asked: Asked, given: Container[str]) -> None:
    """Refuse a field that says how to read a constraint which is not there."""
    tools = isinstance(asked, ChatRequest) and asks_for_tools(asked)
    if asked.spacing is not None and "response_format" not in given and "grammar" not in given and not tools:
        message = "spacing: only means something with a JSON response_format, a grammar or tools"
        raise RootformError(message, param="spacing")
    if asked.backend is not None and "regex" not in given and "choice" not in given:
        raise RootformError("backend: only means something with a regex or a choice", param="backend")
    for field in ("grammar_syntax", "grammar_start"):
        if getattr(asked, field) is not None and "grammar" not in given:
            raise RootformError(f"{field}: only means something with a grammar", param=field)


def constraint_field(asked: Asked) -> str:
    """The field of the request that its constraint came in."""
    if isinstance(asked, ChatRequest) and asks_for_tools(asked):
        return "tools"
    fields = ("regex", "choice", "grammar")
    return next((field for field in fields if getattr(asked, field) is not None), "response_format")


def read_response_format(form: ResponseFormat, asked: Asked) -> Constraint | None:
    """None for plain text."""
    spacing = asked.spacing or "compact"
    if form.type == "json_schema":
        if form.json_schema is None:
            where = "response_format.json_schema"
            raise RootformError(f'{where}: missing; send {{"name": ..., "schema": ...}}', param=where)
        documents = (asked.schema_documents or {}).items()
        return JsonSchema(
            bytes(form.json_schema.schema).decode(),
            spacing,
            property_order=asked.property_order or "schema",
            draft=asked.schema_draft,
            document=asked.document,
            documents=tuple((uri, bytes(text).decode()) for uri, text in documents),
            lenient=bool(asked.lenient),
            escapes=asked.escapes or "any",
        )
    if form.json_schema is not None:
        where = "response_format.json_schema"
        raise RootformError(f"{where}: only goes with type json_schema, not {form.type}", param=where)
    tag = {field: raw for field in ("format", "structures", "triggers") if bytes(raw := getattr(form, field))}
    if form.type == "structural_tag":
        return StructuralTag(msgspec.json.encode({"type": form.type, **tag}).decode(), spacing)
    for field in tag:
        where = f"response_format.{field}"
        raise RootformError(f"{where}: only goes with type structural_tag, not {form.type}", param=where)
    return JsonObject(spacing, asked.escapes or "any") if form.type == "json_object" else None


def read_messages(messages: Sequence[ChatMessage], continue_final: bool) -> tuple[Message, ...]:
    """The turns of the chat. A developer's turn is a system turn."""
    if not messages:
        raise RootformError("messages: at least one is needed", param="messages")
    read = tuple(read_message(message, f"messages[{i}]") for i, message in enumerate(messages))
    if continue_final and read[-1].role != "assistant":
        raise RootformError(
            f"continue_final_message: the last message is from the {read[-1].role}; it must be the assistant's",
            param="continue_final_message",
        )
    return read


def read_message(message: ChatMessage, where: str) -> Message:
    """One turn."""
    check_neutral(message, where + ".")
    role = "system" if message.role == "developer" else message.role
    if role not in ("system", "user", "assistant", "tool"):
        advice = NO_FUNCTIONS if role == "function" else "use system, developer, user, assistant or tool"
        raise RootformError(f"{where}.role: {role!r} is not supported; {advice}", param=f"{where}.role")
    role = cast(Literal["system", "user", "assistant", "tool"], role)
    calls = read_calls_said(message, where)
    content = "" if calls and message.content is None else read_content(message.content, f"{where}.content")
    return Message(role, content, calls, message.tool_call_id)


def read_content(content: str | list[dict[str, object]] | None, where: str) -> str:
    """The text of a turn; text parts are put one after another with nothing between."""
    if content is None:
        raise RootformError(f"{where}: missing; send a string or a list of text parts", param=where)
    if isinstance(content, str):
        return content
    return "".join(read_part(part, f"{where}[{i}]") for i, part in enumerate(content))


def read_part(part: dict[str, object], where: str) -> str:
    """The text of one part."""
    kind, text = part.get("type"), part.get("text")
    if kind != "text":
        raise RootformError(f"{where}.type: {kind!r} is not supported; this server reads text", param=f"{where}.type")
    if not isinstance(text, str):
        raise RootformError(f"{where}.text: a string is needed", param=f"{where}.text")
    if unknown := sorted(part.keys() - {"type", "text"}):
        raise RootformError(f"{where}: unknown field `{unknown[0]}`", param=f"{where}.{unknown[0]}")
    return text


def chat_limit(asked: ChatRequest) -> int | None:
    """max_completion_tokens, or max_tokens as it was once called."""
    old, new = asked.max_tokens, asked.max_completion_tokens
    if old is not None and new is not None and old != new:
        message = f"max_tokens is {old} and max_completion_tokens {new}; they mean the same, so send one"
        raise RootformError(message, param="max_completion_tokens")
    return old if new is None else new


def read_prompts(prompt: str | list[str | int | list[int]]) -> list[str | tuple[int, ...]]:
    """The prompts, in the four forms OpenAI allows: text, token ids, or a list of texts or of lists of ids."""
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise RootformError("prompt: at least one is needed", param="prompt")
    if all(isinstance(item, int) for item in prompt):
        return [tuple(cast(list[int], prompt))]
    if any(isinstance(item, int) for item in prompt):
        raise RootformError("prompt: token ids beside other prompts; send a list of lists", param="prompt")
    return [tuple(item) if isinstance(item, list) else str(item) for item in prompt]
