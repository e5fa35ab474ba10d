"""POST /v1/chat/completions: how its answers are written."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from msgspec import UNSET

from ..engine.types import Completion, Delta, ModelInfo
from .openai_calls import constraint_field
from .openai_reply import content_logprobs, extras, piece_extras, says_something, usage_body
from .openai_tools import AnswerCalls, asks_for_tools
from .openai_types import (
    AssistantMessage,
    ChatChoice,
    ChatChunkChoice,
    ChatDelta,
    ChatLogprobs,
    ChatRequest,
    Reply,
    UsageBody,
)


class ChatWriter:
    """Writes the answer to one chat request; a `Writer`."""

    def __init__(self, asked: ChatRequest, info: ModelInfo) -> None:
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.model = info.name
        self.samples = asked.n or 1
        self.stream = bool(asked.stream)
        self.with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
        self.with_ids = bool(asked.return_token_ids)
        self.with_logprobs = bool(asked.logprobs)
        self.tools = AnswerCalls(asked, info) if asks_for_tools(asked) else None
        self.params = {"constraint": constraint_field(asked), "prompt": "messages"}

    def whole(self, completions: Sequence[Completion]) -> Reply:
        """The response to a request that does not stream."""
        choices = tuple(
            ChatChoice(
                index=index,
                message=message,
                logprobs=ChatLogprobs(content_logprobs(one.logprobs)) if self.with_logprobs else None,
                finish_reason=reason,
                rootform=extras(one, self.with_ids),
            )
            for index, one in enumerate(completions)
            for message, reason in (self._message(one),)
        )
        return self._reply("chat.completion", choices, usage_body(completions, self.samples))

    def _message(self, completion: Completion) -> tuple[AssistantMessage, str]:
        """What is answered, and why it ends."""
        if self.tools is None:
            return AssistantMessage(completion.text), completion.finish_reason
        return self.tools.message(completion)

    def opening(self) -> list[Reply]:
        """One chunk for each choice that says who speaks."""
        start = ChatDelta(role="assistant", content="")
        return [self._chunk(ChatChunkChoice(index=index, delta=start)) for index in range(self.samples)]

    def piece(self, index: int, delta: Delta) -> Reply | None:
        """New text of one choice; None when there is nothing to tell."""
        if not says_something(delta, self.with_ids):
            return None
        said = ChatDelta(content=delta.text) if self.tools is None else self.tools.piece(index, delta.text)
        if said == ChatDelta() and not (self.with_ids or self.with_logprobs):
            return None
        return self._chunk(
            ChatChunkChoice(
                index=index,
                delta=said,
                logprobs=ChatLogprobs(content_logprobs(delta.logprobs)) if self.with_logprobs else None,
                rootform=piece_extras(delta, self.with_ids) or UNSET,
            )
        )

    def closing(self, index: int, completion: Completion) -> Reply:
        """The end of one choice. Its token ids have been sent piece by piece."""
        delta, reason = ChatDelta(), completion.finish_reason
        if self.tools is not None:
            delta, reason = self.tools.closing(index, completion)
        return self._chunk(
            ChatChunkChoice(
                index=index,
                delta=delta,
                finish_reason=reason,
                rootform=extras(completion, with_ids=False),
            )
        )

    def ending(self, completions: Sequence[Completion]) -> list[Reply]:
        """The last chunk, with the usage, where it was asked for."""
        if not self.with_usage:
            return []
        return [self._reply("chat.completion.chunk", (), usage_body(completions, self.samples))]

    def _chunk(self, choice: ChatChunkChoice) -> Reply:
        return self._reply("chat.completion.chunk", (choice,), None)

    def _reply(
        self, kind: str, choices: tuple[ChatChoice, ...] | tuple[ChatChunkChoice, ...], usage: UsageBody | None
    ) -> Reply:
        shown = usage if usage is not None or self.with_usage else UNSET
        return Reply(id=self.id, object=kind, created=self.created, model=self.model, choices=choices, usage=shown)
