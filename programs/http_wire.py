"""Calls as requests to a rootform server, and its event stream as Deltas and a Completion. No network here."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from ..engine.types import (
    Call,
    Completion,
    Delta,
    FinishReason,
    Lenience,
    Message,
    ModelInfo,
    RootformError,
    TokenLogprob,
    Usage,
)
from ..grammar.constraints import (
    Backend,
    Choice,
    Constraint,
    Grammar,
    JsonObject,
    JsonSchema,
    Regex,
    StructuralTag,
    VerbatimField,
)

LEAST_LOGPROB = -9999.0  # minus infinity, on the wire
DONE = b"[DONE]"


class _TopLogprob(msgspec.Struct):
    token_id: int
    bytes: tuple[int, ...]
    logprob: float


class _Logprob(_TopLogprob):
    top_logprobs: tuple[_TopLogprob, ...] = ()


class _Logprobs(msgspec.Struct):
    content: tuple[_Logprob, ...]


class _Extras(msgspec.Struct):
    token_ids: tuple[int, ...] = ()
    closed_early: bool = False
    forward_passes: int = 0
    matched_stop: str | None = None
    verbatim: tuple[VerbatimField, ...] = ()
    lenience: Lenience | None = None


class _ChatDelta(msgspec.Struct):
    content: str = ""


class _Choice(msgspec.Struct):
    text: str = ""
    delta: _ChatDelta = msgspec.field(default_factory=_ChatDelta)
    logprobs: _Logprobs | None = None
    finish_reason: FinishReason | None = None
    rootform: _Extras = msgspec.field(default_factory=_Extras)


class _Cached(msgspec.Struct):
    cached_tokens: int


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _Cached


class _Error(msgspec.Struct):
    message: str
    type: str = ""
    param: str | None = None


class _Chunk(msgspec.Struct):
    """One event of a stream: of a chat, of a completion, or an error."""

    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: _Error | None = None


class _Card(msgspec.Struct):
    id: str
    rootform: dict[str, Any] | None = None


class _Cards(msgspec.Struct):
    data: list[_Card]


def request_of(call: Call, model: str) -> tuple[str, bytes]:
    """The path and JSON body that ask for a call, as a stream that ends with its usage."""
    body: dict[str, object] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_token_ids": True,
        "temperature": call.sampling.temperature,
        "top_k": call.sampling.top_k,
        "top_p": call.sampling.top_p,
        "min_p": call.sampling.min_p,
        "seed": call.sampling.seed,
        "max_tokens": call.max_tokens,
        "stop": call.stop or None,
        "ignore_eos": call.ignore_eos,
        "cache_salt": call.namespace or None,
        "logprobs_over": None if call.logprobs_over == "allowed" else call.logprobs_over,
        "priority": None if call.priority == "online" else call.priority,
        **_constraint_fields(call.constraint),
    }
    if (call.messages is None) == (call.prompt is None):
        raise RootformError("a call has either messages or a prompt", param="messages")
    if call.messages is not None:
        if call.tools:
            reason = "tools are not sent by this client; send the request to /v1/chat/completions by yourself"
            raise RootformError(reason, param="tools")
        body |= {"messages": [_turn(each) for each in call.messages], "continue_final_message": call.continue_final}
        if call.top_logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": call.top_logprobs}
        return "/v1/chat/completions", msgspec.json.encode(body)
    if call.continue_final:
        raise RootformError("continue_final goes with messages; a prompt is always continued", param="continue_final")
    body |= {"prompt": call.prompt, "logprobs": call.top_logprobs}
    return "/v1/completions", msgspec.json.encode(body)


def _turn(message: Message) -> dict[str, object]:
    turn: dict[str, object] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _constraint_fields(constraint: Constraint | None) -> dict[str, object]:
    """The fields of a request that carry a constraint."""
    match constraint:
        case None:
            return {}
        case Regex(pattern, backend):
            return {"regex": pattern, **_backend_field(backend)}
        case Choice(options, backend):
            return {"choice": options, **_backend_field(backend)}
        case Grammar(text, syntax, start, spacing):
            return {"grammar": text, "grammar_syntax": syntax, "grammar_start": start or None, "spacing": spacing}
        case StructuralTag(tag, spacing):
            return {"response_format": {"type": "structural_tag", **_members(tag)}, "spacing": spacing}
        case JsonObject(spacing, escapes):
            form: dict[str, object] = {"response_format": {"type": "json_object"}, "spacing": spacing}
            return form if escapes == "any" else form | {"escapes": escapes}
        case JsonSchema():
            return _schema_fields(constraint)


def _schema_fields(constraint: JsonSchema) -> dict[str, object]:
    form = {"name": "answer", "schema": _as_json(constraint.schema)}
    fields = {"response_format": {"type": "json_schema", "json_schema": form}, "spacing": constraint.spacing}
    if constraint.property_order != "schema":
        fields |= {"property_order": constraint.property_order}
    if constraint.document is not None:
        fields |= {"document": constraint.document}
    if constraint.draft is not None:
        fields |= {"schema_draft": constraint.draft}
    if constraint.lenient:
        fields |= {"lenient": True}
    if constraint.escapes != "any":
        fields |= {"escapes": constraint.escapes}
    if constraint.documents:
        fields |= {"schema_documents": {uri: _as_json(text) for uri, text in constraint.documents}}
    return fields


def _backend_field(backend: Backend) -> dict[str, object]:
    return {} if backend == "rootform" else {"backend": backend}


def _members(tag: str) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, as they are written."""
    try:
        return msgspec.json.decode(tag, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise RootformError(f"the structural tag is no JSON object: {error}", param="constraint.tag") from None


def _as_json(schema: str) -> msgspec.Raw:
    """The schema's own text, so that the order of its properties is kept."""
    try:
        return msgspec.json.decode(schema, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        raise RootformError(f"the schema is not JSON: {error}", param="constraint.schema") from None


class Assembly:
    """Puts one call's answer together from its events. Owned by the call's task."""

    def __init__(self, request_id: int) -> None:
        self.request_id = request_id
        self._deltas: list[Delta] = []
        self._end: _Choice | None = None
        self._usage: _Usage | None = None

    def take(self, data: bytes) -> Delta | None:
        """The new text in one event, if there is any. Raises RootformError for an error event or an unreadable one."""
        try:
            chunk = msgspec.json.decode(data, type=_Chunk)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RootformError(f"the server sent an event that cannot be read: {error}", status=502) from None
        if chunk.error is not None:
            status = 400 if chunk.error.type == "invalid_request_error" else 500
            raise RootformError(chunk.error.message, status=status, param=chunk.error.param)
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices:  # one at most, since one sample was asked for
            if choice.finish_reason is not None:
                self._end = choice
            return self._new(choice)
        return None

    def _new(self, choice: _Choice) -> Delta | None:
        text = choice.text or choice.delta.content
        logprobs = _read_logprobs(choice.logprobs)
        if not (text or logprobs or choice.rootform.token_ids):
            return None
        delta = Delta(request_id=self.request_id, text=text, token_ids=choice.rootform.token_ids, logprobs=logprobs)
        self._deltas.append(delta)
        return delta

    def completion(self) -> Completion:
        """The whole answer. Raises RootformError when its end never came."""
        if self._end is None or self._end.finish_reason is None or self._usage is None:
            raise RootformError("the server's answer broke off before its end", status=502)
        said = self._end.rootform
        return Completion(
            text="".join(delta.text for delta in self._deltas),
            token_ids=tuple(token for delta in self._deltas for token in delta.token_ids),
            finish_reason=self._end.finish_reason,
            usage=Usage(
                prompt_tokens=self._usage.prompt_tokens,
                cached_tokens=self._usage.prompt_tokens_details.cached_tokens,
                completion_tokens=self._usage.completion_tokens,
                forward_passes=said.forward_passes,
            ),
            logprobs=tuple(one for delta in self._deltas for one in delta.logprobs),
            closed_early=said.closed_early,
            matched_stop=said.matched_stop,
            verbatim=said.verbatim,
            lenience=said.lenience,
        )


def _read_logprobs(logprobs: _Logprobs | None) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(
            one.token_id,
            bytes(one.bytes),
            _read_logprob(one.logprob),
            tuple((top.token_id, bytes(top.bytes), _read_logprob(top.logprob)) for top in one.top_logprobs),
        )
        for one in (logprobs.content if logprobs else ())
    )


def _read_logprob(logprob: float) -> float:
    return logprob if logprob > LEAST_LOGPROB else -math.inf


def refusal(status: int, body: bytes) -> RootformError:
    """The error of a response whose status is not 200."""
    try:
        error = msgspec.json.decode(body, type=_Chunk).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = None
    if error is None:  # a proxy, or something else altogether
        shown = " ".join(body[:500].decode(errors="replace").split())[:100]
        return RootformError(f"status {status} came, and not as from a rootform server: {shown!r}", status=status)
    return RootformError(error.message, status=status, param=error.param)


def model_info(body: bytes, model: str | None, base_url: str) -> ModelInfo:
    """The model asked for (None: the first), from the body of GET /v1/models."""
    try:
        cards = msgspec.json.decode(body, type=_Cards).data
        card = next((one for one in cards if model in (None, one.id)), None)
        if card is not None:
            return msgspec.convert({"name": card.id, **(card.rootform or {})}, ModelInfo)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        message = f"{base_url} does not answer as a rootform server does; is something else at this address?"
        raise RootformError(message, status=502) from None
    names = ", ".join(repr(one.id) for one in cards) or "none"
    raise RootformError(f"there is no model {model!r} at {base_url}; it has {names}", status=404, param="model")
