"""Tools of OpenAI's chat completions: what a request asks of them, and the calls in an answer."""

from __future__ import annotations

import json
import uuid
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from ..engine.types import Completion, ModelInfo, RootformError
from ..grammar.constraints import StructuralTag
from ..grammar.errors import GrammarError
from ..grammar.tool_calls import CallReader, Tool, ToolCall, ToolFormat, tool_tag
from .openai_types import (
    AssistantMessage,
    CallChunk,
    CallSaid,
    ChatDelta,
    ChatMessage,
    ChatRequest,
    FunctionSaid,
    ToolAsked,
    ToolNamed,
)

NO_PARAMETERS = '{"type":"object","properties":{},"additionalProperties":false}'


class Tools(NamedTuple):
    """What a request with tools comes to. shown: the tools as JSON text, for the chat template."""

    constraint: StructuralTag
    shown: str


def asks_for_tools(asked: ChatRequest) -> bool:
    """Whether the model may call tools."""
    return bool(asked.tools) and asked.tool_choice != "none"


def read_tools(asked: ChatRequest, info: ModelInfo) -> Tools | None:
    """The tools that may be called; None where none may."""
    if not asked.tools and asked.tool_choice not in (None, "none", "auto"):
        raise RootformError("tool_choice: there are no tools to choose from; send tools", param="tool_choice")
    if not asks_for_tools(asked):
        if asked.tool_format is not None:
            raise RootformError("tool_format: only means something with tools", param="tool_format")
        return None
    offered = asked.tools or []
    names = [tool.function.name for tool in offered]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RootformError(f"tools: {twice!r} stands there twice; give each its own name", param="tools")
    tools = [Tool(tool.function.name, parameters_of(tool)) for tool in offered]
    choice, spacing = asked.tool_choice or "auto", asked.spacing or "canonical"
    if isinstance(choice, ToolNamed):
        wanted = choice.function.name
        if wanted not in names:
            raise RootformError(f"tool_choice: there is no tool {wanted!r}", param="tool_choice")
        choice = tools[names.index(wanted)]
    try:
        parallel = asked.parallel_tool_calls is not False
        tag = tool_tag(tools, format_of(asked, info), choice, parallel=parallel, spacing=spacing)
    except GrammarError as error:
        raise RootformError(str(error), param="tools") from error
    return Tools(tag, msgspec.json.encode([_shown(tool) for tool in offered]).decode())


def parameters_of(tool: ToolAsked) -> str:
    """The schema of a tool's arguments; of one that is not strict any object, of one without parameters none."""
    if tool.function.strict is False:
        return '{"type":"object"}'
    return bytes(tool.function.parameters).decode() or NO_PARAMETERS


def _shown(tool: ToolAsked) -> dict[str, object]:
    function: dict[str, object] = {"name": tool.function.name}
    if tool.function.description is not None:
        function["description"] = tool.function.description
    function["parameters"] = msgspec.Raw(bytes(tool.function.parameters) or NO_PARAMETERS.encode())
    return {"type": "function", "function": function}


def format_of(asked: ChatRequest, info: ModelInfo) -> ToolFormat:
    """How the model writes calls."""
    form = info.tool_format if asked.tool_format is None else asked.tool_format
    if form is None:
        message = "tools: the model's chat template shows no way to call them that is known; say which in tool_format"
        raise RootformError(message, param="tools")
    return form


def read_calls_said(message: ChatMessage, where: str) -> tuple[ToolCall, ...]:
    """The calls in a turn that is sent back; and whether it may have any, or be the answer to one."""
    if (message.role == "tool") != (message.tool_call_id is not None):
        reason = "a tool's turn, and no other, says which call it answers"
        raise RootformError(f"{where}.tool_call_id: {reason}", param=f"{where}.tool_call_id")
    calls = message.tool_calls or []
    if calls and message.role != "assistant":
        raise RootformError(
            f"{where}.tool_calls: only the assistant calls tools, not the {message.role}", param=f"{where}.tool_calls"
        )
    for i, call in enumerate(calls):
        at = f"{where}.tool_calls[{i}].function.arguments"
        try:
            json.loads(call.function.arguments)
        except ValueError as error:
            raise RootformError(f"{at}: no JSON: {error}", param=at) from None
    return tuple(ToolCall(call.function.name, call.function.arguments, call.id) for call in calls)


class Spoken:
    """Text and calls of one answer, as they come. calls: how many there were.

    White space before all other text is held back: beside calls it is no content, neither whole nor in a stream.
    """

    def __init__(self, form: ToolFormat) -> None:
        self.calls = 0
        self._reader = CallReader(form)
        self._blank = ""
        self._has_text = False

    def take(self, text: str) -> tuple[str, tuple[CallSaid, ...]]:
        """The text that may be told, and the calls that are complete, with another piece of the answer."""
        said, calls = self._reader.take(text)
        self.calls += len(calls)
        return self._told(said), tuple(CallSaid(_new_id(), FunctionSaid(one.name, one.arguments)) for one in calls)

    def rest(self) -> str:
        """The text that is left when the answer has ended."""
        said = self._told(self._reader.rest())
        return said if self.calls else said + self._blank

    def _told(self, said: str) -> str:
        if self._has_text:
            return said
        self._blank += said
        if not self._blank.strip():
            return ""
        self._has_text, said, self._blank = True, self._blank, ""
        return said


class AnswerCalls:
    """Takes the calls out of the answers to one request. Indices count its samples."""

    def __init__(self, asked: ChatRequest, info: ModelInfo) -> None:
        self._form: ToolFormat = format_of(asked, info)
        self._is_named = isinstance(asked.tool_choice, ToolNamed)
        self._spoken: dict[int, Spoken] = {}  # of answers that stream

    def message(self, completion: Completion) -> tuple[AssistantMessage, str]:
        """A whole answer, and why it ends."""
        spoken = Spoken(self._form)
        said, calls = spoken.take(completion.text)
        said += spoken.rest()
        content = said or (None if calls else "")
        return AssistantMessage(content, tool_calls=calls or UNSET), self._reason(spoken, completion)

    def piece(self, index: int, text: str) -> ChatDelta:
        """What is new with another piece of an answer's text; calls are told when they are complete."""
        spoken = self._spoken.setdefault(index, Spoken(self._form))
        first = spoken.calls
        said, calls = spoken.take(text)
        chunks = tuple(CallChunk(index=first + i, id=one.id, function=one.function) for i, one in enumerate(calls))
        return ChatDelta(content=said or UNSET, tool_calls=chunks or UNSET)

    def closing(self, index: int, completion: Completion) -> tuple[ChatDelta, str]:
        """What is left of an answer that streams, and why it ends."""
        spoken = self._spoken.pop(index, None) or Spoken(self._form)
        return ChatDelta(content=spoken.rest() or UNSET), self._reason(spoken, completion)

    def _reason(self, spoken: Spoken, completion: Completion) -> str:
        """As at OpenAI: a tool that was named is called and that is the end, as with any text."""
        called = spoken.calls and completion.finish_reason == "stop" and not self._is_named
        return "tool_calls" if called else completion.finish_reason


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"
