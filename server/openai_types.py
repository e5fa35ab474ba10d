"""OpenAI's wire format as frozen structs: what may be asked, and what is answered.

Fields of OpenAI's API that this server has no use for are still listed, typed `object`: their neutral values are
accepted and every other value is refused by name (`openai_calls.NEUTRAL`). A field listed nowhere is refused.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..engine.types import Lenience, LogprobsOver, Priority
from ..grammar.constraints import Backend, Draft, Escapes, PropertyOrder, Spacing, Syntax, VerbatimField
from ..grammar.tool_calls import ToolFormat

MAX_LOGPROBS = 20
MAX_SAMPLES = 128

Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Seed = Annotated[int, Meta(ge=0, le=2**62)]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
TopLogprobs = Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)]


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """include_usage: send one last chunk with the usage of the whole request."""

    include_usage: bool | None = None
    include_obfuscation: object = None


class SchemaFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `json_schema` of a response_format. name and description are labels; the schema is always enforced."""

    schema: msgspec.Raw
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OpenAI's way to ask for JSON, and XGrammar's structural tags in it (docs/grammars.md)."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: SchemaFormat | None = None
    format: msgspec.Raw = msgspec.Raw()
    structures: msgspec.Raw = msgspec.Raw()
    triggers: msgspec.Raw = msgspec.Raw()


class _Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What both endpoints take."""

    model: str | None = None  # None: the served model
    max_tokens: Count | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_SAMPLES)] | None = None
    seed: Seed | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None  # None: 1.0, as at OpenAI
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None

    # Ours, sent with the openai package's extra_body.
    top_k: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    min_p: Unit | None = None
    regex: str | None = None
    choice: list[str] | None = None
    backend: Backend | None = None  # of regex and choice
    grammar: str | None = None
    grammar_syntax: Syntax | None = None
    grammar_start: str | None = None
    response_format: ResponseFormat | None = None
    spacing: Spacing | None = None
    escapes: Escapes | None = None  # in strings
    property_order: PropertyOrder | None = None
    schema_draft: Draft | None = None
    document: str | None = None  # what verbatim values stand in; None: the last user message
    schema_documents: dict[str, msgspec.Raw] | None = None  # by URI: schemas that the one asked for refers to
    lenient: bool | None = None  # what of the schema cannot be enforced is left out and listed
    ignore_eos: bool | None = None
    cache_salt: str | None = None
    priority: Priority | None = None
    logprobs_over: LogprobsOver | None = None
    return_token_ids: bool | None = None

    # Labels, which change nothing.
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None  # says which machine to ask, of many; every prefix is cached here anyway

    # Accepted only where neutral.
    frequency_penalty: object = None
    presence_penalty: object = None
    logit_bias: object = None
    service_tier: object = None
    store: object = None
    prompt_cache_retention: object = None


class FunctionSaid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The function of a call. arguments: JSON text."""

    name: str
    arguments: str


class CallSaid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call of a tool, in a turn that is sent back and in answers."""

    id: str
    function: FunctionSaid
    type: Literal["function"] = "function"


class FunctionAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A function that may be called. strict: false: its arguments may be any object."""

    name: str
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw()
    strict: bool | None = None


class ToolAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool; functions are the only ones."""

    type: Literal["function"]
    function: FunctionAsked


class FunctionName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which function."""

    name: str


class ToolNamed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool_choice that names a function, which must be called."""

    type: Literal["function"]
    function: FunctionName


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One turn. Besides role and content, what OpenAI's own answers carry, so that they can be sent back."""

    role: str
    content: str | list[dict[str, object]] | None = None
    name: object = None
    refusal: object = None
    annotations: object = None
    audio: object = None
    function_call: object = None
    tool_calls: list[CallSaid] | None = None
    tool_call_id: str | None = None


class ChatRequest(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /v1/chat/completions."""

    messages: list[ChatMessage]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None
    continue_final_message: bool | None = None
    tools: list[ToolAsked] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolNamed | None = None
    parallel_tool_calls: bool | None = None
    tool_format: ToolFormat | None = None  # ours; None: as the model's chat template shows it

    audio: object = None
    function_call: object = None
    functions: object = None
    modalities: object = None
    prediction: object = None
    reasoning_effort: object = None
    verbosity: object = None
    web_search_options: object = None


class CompletionRequest(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /v1/completions. prompt: text, token ids, or a list of either."""

    prompt: str | list[str | int | list[int]]
    logprobs: TopLogprobs | None = None

    best_of: object = None
    echo: object = None
    suffix: object = None


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """cached_tokens: of the prompt, those whose keys and values were already in the prefix tree."""

    cached_tokens: int


class UsageBody(msgspec.Struct, frozen=True):
    """What the request cost, in tokens. A prompt with n samples is counted once."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class ChoiceExtras(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What this server says of a choice beyond OpenAI's fields.

    closed_early: the token limit was near and the constraint was steered to a valid end.
    forward_passes: steps of the model this choice took part in. matched_stop: the stop string that ended it.
    token_ids: only with `return_token_ids`; in a stream, the ids of this chunk. verbatim: where in the document each
    verbatim value stands, where the schema has some (docs/verbatim.md). lenience: only with `lenient`: what was left
    out of the schema, and whether the value is right all the same.
    """

    closed_early: bool | UnsetType = UNSET
    forward_passes: int | UnsetType = UNSET
    matched_stop: str | UnsetType | None = UNSET
    token_ids: tuple[int, ...] | UnsetType = UNSET
    verbatim: tuple[VerbatimField, ...] | UnsetType = UNSET
    lenience: Lenience | UnsetType = UNSET


class TopLogprob(msgspec.Struct, frozen=True):
    """A token that could have stood here. `bytes` is exact; `token` shows bytes that are not UTF-8 escaped."""

    token: str
    bytes: tuple[int, ...]
    logprob: float
    token_id: int


class ContentLogprob(msgspec.Struct, frozen=True):
    """An emitted token, with the likeliest ones at its place. Natural log, over what the constraint allowed."""

    token: str
    bytes: tuple[int, ...]
    logprob: float
    token_id: int
    top_logprobs: tuple[TopLogprob, ...] = ()


class ChatLogprobs(msgspec.Struct, frozen=True):
    """Logprobs of a chat choice."""

    content: tuple[ContentLogprob, ...]
    refusal: None = None


class CompletionLogprobs(msgspec.Struct, frozen=True, kw_only=True):
    """Logprobs in the older endpoint's columns. `content` has the same again in the chat endpoint's shape."""

    tokens: tuple[str, ...]
    token_logprobs: tuple[float, ...]
    top_logprobs: tuple[dict[str, float], ...] | None
    text_offset: tuple[int, ...]
    content: tuple[ContentLogprob, ...]


class AssistantMessage(msgspec.Struct, frozen=True):
    """The answer of one chat choice. content: null where nothing is said beside calls."""

    content: str | None
    role: str = "assistant"
    refusal: None = None
    tool_calls: tuple[CallSaid, ...] | UnsetType = UNSET


class ChatChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One sample of a chat."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: str
    rootform: ChoiceExtras


class CallChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A whole call in a stream. index: which of the answer's calls it is."""

    index: int
    id: str
    function: FunctionSaid
    type: str = "function"


class ChatDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """The new part of an answer."""

    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    tool_calls: tuple[CallChunk, ...] | UnsetType = UNSET


class ChatChunkChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The new part of one sample."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None
    rootform: ChoiceExtras | UnsetType = UNSET


class CompletionChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One sample of a prompt, or in a stream its new part."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: str | None = None
    rootform: ChoiceExtras | UnsetType = UNSET


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole response, or one chunk of a stream: the outside is the same."""

    id: str
    object: str
    created: int  # seconds since 1970
    model: str
    choices: tuple[ChatChoice, ...] | tuple[ChatChunkChoice, ...] | tuple[CompletionChoice, ...]
    usage: UsageBody | UnsetType | None = UNSET


class ModelExtras(msgspec.Struct, frozen=True, kw_only=True):
    """What this server says of its model beyond OpenAI's fields."""

    context_tokens: int
    has_chat_template: bool
    extract_prompt: str | None


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One model in GET /v1/models."""

    id: str
    created: int
    rootform: ModelExtras
    object: str = "model"
    owned_by: str = "rootform"


class ModelList(msgspec.Struct, frozen=True):
    """GET /v1/models."""

    data: tuple[ModelCard, ...]
    object: str = "list"
