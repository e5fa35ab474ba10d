"""Plain data between the engine and everyone who talks to it. No torch here, nothing that changes."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..grammar.constraints import (
    Choice,
    Constraint,
    Grammar,
    JsonObject,
    JsonSchema,
    Regex,
    StructuralTag,
    VerbatimField,
)
from ..grammar.schema_notes import Refusal
from ..grammar.tool_calls import ToolCall, ToolFormat

__all__ = [
    "Call",
    "Cancelled",
    "Choice",
    "Completion",
    "Constraint",
    "Delta",
    "Event",
    "Failed",
    "Finished",
    "Grammar",
    "JsonObject",
    "JsonSchema",
    "Lenience",
    "LogprobsOver",
    "Message",
    "ModelInfo",
    "Priority",
    "Refusal",
    "Regex",
    "Request",
    "RootformError",
    "Sampling",
    "StructuralTag",
    "TokenLogprob",
    "ToolCall",
    "Usage",
    "VerbatimField",
]

FinishReason = Literal["stop", "length"]
Priority = Literal["online", "offline"]
"""Offline calls get what online ones leave: rows of the batch, memory and time (docs/scheduling.md)."""
LogprobsOver = Literal["allowed", "vocabulary"]
"""What probabilities add up to one over: the tokens that the constraint allows, or all (docs/logprobs.md)."""


class RootformError(Exception):
    """Something asked for cannot be done; the message says what, where and what to do.

    status: the HTTP status this becomes (400 bad request, 404 no such model, 413 too long, 429 busy, 500 ours).
    param: the field of the request at fault, where one is.
    """

    def __init__(self, message: str, *, status: int = 400, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One turn of a chat. tool_calls: of an assistant's turn. tool_call_id: which of them a tool's turn answers."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one token is drawn; temperature 0 is greedy. Filters in order: temperature, top_k, top_p, min_p."""

    temperature: float = 0.0
    top_k: int = 0  # 0: all tokens
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None  # None: a fresh random seed for each request


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sequence for the engine's step loop, in token ids. Never changes once accepted."""

    request_id: int
    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    sampling: Sampling = Sampling()
    constraint: Constraint | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    top_logprobs: int | None = None  # None: no logprobs; k: the chosen token's and the k likeliest
    logprobs_over: LogprobsOver = "allowed"
    namespace: str = ""  # prefixes are shared only inside one namespace
    priority: Priority = "online"


class TokenLogprob(msgspec.Struct, frozen=True):
    """One emitted token and how likely it was, in natural log, over the tokens the constraint allowed."""

    token_id: int
    text: bytes
    logprob: float
    top: tuple[tuple[int, bytes, float], ...] = ()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a request cost. forward_passes: the steps of the model in which this request had a row."""

    prompt_tokens: int
    cached_tokens: int  # of prompt_tokens, those whose KV was found in the tree
    completion_tokens: int
    forward_passes: int


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """New text of a request; never half a character. Joined deltas equal the completion's text."""

    request_id: int
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The request ended well. closed_early: the token limit was near and the grammar was steered to close."""

    request_id: int
    reason: FinishReason
    usage: Usage
    closed_early: bool = False
    matched_stop: str | None = None


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """The request was cancelled by its caller."""

    request_id: int
    usage: Usage


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """The request failed, alone."""

    request_id: int
    error: str
    status: int = 500


Event = Delta | Finished | Cancelled | Failed
"""Every accepted request sends any number of Deltas, then exactly one of the other three."""


class Call(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One completion asked for in text: what programs, extract and server hand to a client.

    Exactly one of `messages` and `prompt` is given; `prompt` goes to the tokenizer as it is (or is token ids).
    continue_final: the last message is an unfinished assistant turn, to be continued rather than answered.
    max_tokens None: as many as the model's context leaves. tools: OpenAI's list of tools as JSON text, for the chat
    template to show; "": none.
    """

    messages: tuple[Message, ...] | None = None
    tools: str = ""
    prompt: str | tuple[int, ...] | None = None
    continue_final: bool = False
    max_tokens: int | None = None
    sampling: Sampling = Sampling()
    constraint: Constraint | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    top_logprobs: int | None = None
    logprobs_over: LogprobsOver = "allowed"
    namespace: str = ""
    priority: Priority = "online"


class Lenience(msgspec.Struct, frozen=True):
    """What came of a schema that was lenient. dropped: what of it was left out, since it cannot be enforced.

    valid: whether the text is a value of the whole schema all the same. reason: why not, "" when it is.
    """

    dropped: tuple[Refusal, ...]
    valid: bool
    reason: str = ""


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer to a Call. verbatim: where in the document each verbatim value stands, in the text's order.

    lenience: what a lenient schema left out, and whether the text is right all the same; None for other constraints.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    usage: Usage
    logprobs: tuple[TokenLogprob, ...] = ()
    closed_early: bool = False
    matched_stop: str | None = None
    verbatim: tuple[VerbatimField, ...] = ()
    lenience: Lenience | None = None


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may know of the model it talks to.

    extract_prompt: how this model wants a document put to it, a template with `{document}` and optionally
    `{schema}`, rendered as one user message; None: the general extraction prompt is used. tool_format: how its chat
    template shows calls of tools; None: in no way that is known.
    """

    name: str
    context_tokens: int
    has_chat_template: bool
    extract_prompt: str | None = None
    tool_format: ToolFormat | None = None
