"""POST /v1/completions: how its answers are written."""

from __future__ import annotations

import codecs
import time
import uuid
from collections.abc import Sequence

from msgspec import UNSET

from ..engine.types import Completion, Delta, ModelInfo, TokenLogprob
from .openai_calls import constraint_field
from .openai_reply import content_logprobs, extras, json_logprob, piece_extras, says_something, token_text, usage_body
from .openai_types import CompletionChoice, CompletionLogprobs, CompletionRequest, Reply, UsageBody


class TextOffsets:
    """Where in a choice's text its tokens begin, in characters, followed token by token."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._characters = 0

    def take(self, tokens: Sequence[TokenLogprob]) -> tuple[int, ...]:
        """The offsets of the next tokens."""
        offsets = []
        for token in tokens:
            offsets.append(self._characters)
            self._characters += len(self._decoder.decode(token.text))
        return tuple(offsets)


def completion_logprobs(tokens: Sequence[TokenLogprob], offsets: tuple[int, ...]) -> CompletionLogprobs:
    """The older endpoint's columns."""
    return CompletionLogprobs(
        tokens=tuple(token_text(one.text) for one in tokens),
        token_logprobs=tuple(json_logprob(one.logprob) for one in tokens),
        top_logprobs=tuple({token_text(text): json_logprob(p) for _, text, p in one.top} for one in tokens),
        text_offset=offsets,
        content=content_logprobs(tokens),
    )


class CompletionWriter:
    """Writes the answer to one completion request; a `Writer`. choices: how many, prompts times samples."""

    def __init__(self, asked: CompletionRequest, info: ModelInfo, choices: int) -> None:
        self.id = f"cmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.model = info.name
        self.samples = asked.n or 1
        self.stream = bool(asked.stream)
        self.with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
        self.with_ids = bool(asked.return_token_ids)
        self.with_logprobs = asked.logprobs is not None
        self.params = {"constraint": constraint_field(asked), "top_logprobs": "logprobs"}
        self.offsets = [TextOffsets() for _ in range(choices)]

    def whole(self, completions: Sequence[Completion]) -> Reply:
        """The response to a request that does not stream."""
        choices = tuple(
            CompletionChoice(
                index=index,
                text=one.text,
                logprobs=self._logprobs(index, one.logprobs),
                finish_reason=one.finish_reason,
                rootform=extras(one, self.with_ids),
            )
            for index, one in enumerate(completions)
        )
        return self._reply(choices, usage_body(completions, self.samples))

    def opening(self) -> list[Reply]:
        """Nothing: there are no roles here."""
        return []

    def piece(self, index: int, delta: Delta) -> Reply | None:
        """New text of one choice; None when there is nothing to tell."""
        if not says_something(delta, self.with_ids):
            return None
        choice = CompletionChoice(
            index=index,
            text=delta.text,
            logprobs=self._logprobs(index, delta.logprobs),
            rootform=piece_extras(delta, self.with_ids) or UNSET,
        )
        return self._reply((choice,), None)

    def closing(self, index: int, completion: Completion) -> Reply:
        """The end of one choice. Its token ids have been sent piece by piece."""
        end = CompletionChoice(
            index=index,
            text="",
            finish_reason=completion.finish_reason,
            rootform=extras(completion, with_ids=False),
        )
        return self._reply((end,), None)

    def ending(self, completions: Sequence[Completion]) -> list[Reply]:
        """The last chunk, with the usage, where it was asked for."""
        return [self._reply((), usage_body(completions, self.samples))] if self.with_usage else []

    def _logprobs(self, index: int, tokens: Sequence[TokenLogprob]) -> CompletionLogprobs | None:
        return completion_logprobs(tokens, self.offsets[index].take(tokens)) if self.with_logprobs else None

    def _reply(self, choices: tuple[CompletionChoice, ...], usage: UsageBody | None) -> Reply:
        shown = usage if usage is not None or self.with_usage else UNSET
        return Reply(
            id=self.id, object="text_completion", created=self.created, model=self.model, choices=choices, usage=shown
        )
