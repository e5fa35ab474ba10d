"""Parts of OpenAI's answers that both endpoints share: usage, logprobs, extras."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import UNSET

from ..engine.types import Completion, Delta, TokenLogprob
from .openai_types import (
    ChoiceExtras,
    ContentLogprob,
    PromptTokensDetails,
    TopLogprob,
    UsageBody,
)

LEAST_LOGPROB = -9999.0  # what OpenAI writes for minus infinity, which JSON cannot


def usage_body(completions: Sequence[Completion], samples: int) -> UsageBody:
    """The cost of a request. completions: `samples` in a row for each prompt.

    A prompt is counted once for its samples. Its cached tokens are those found before the request came: the least
    of its samples', since later samples find what the first has computed.
    """
    prompts = [completions[i : i + samples] for i in range(0, len(completions), samples)]
    prompt = sum(group[0].usage.prompt_tokens for group in prompts)
    cached = sum(min(one.usage.cached_tokens for one in group) for group in prompts)
    written = sum(one.usage.completion_tokens for one in completions)
    return UsageBody(prompt, written, prompt + written, PromptTokensDetails(cached))


def extras(completion: Completion, with_ids: bool) -> ChoiceExtras:
    """What is ours to say of a finished choice."""
    return ChoiceExtras(
        closed_early=completion.closed_early,
        forward_passes=completion.usage.forward_passes,
        matched_stop=completion.matched_stop,
        token_ids=completion.token_ids if with_ids else UNSET,
        verbatim=completion.verbatim or UNSET,
        lenience=completion.lenience or UNSET,
    )


def piece_extras(delta: Delta, with_ids: bool) -> ChoiceExtras | None:
    """What is ours to say of a chunk."""
    return ChoiceExtras(token_ids=delta.token_ids) if with_ids else None


def says_something(delta: Delta, with_ids: bool) -> bool:
    """Whether a delta holds anything the caller asked to see."""
    return bool(delta.text or delta.logprobs or (with_ids and delta.token_ids))


def content_logprobs(logprobs: Sequence[TokenLogprob]) -> tuple[ContentLogprob, ...]:
    """The chat endpoint's shape of logprobs."""
    return tuple(
        ContentLogprob(
            token_text(one.text),
            tuple(one.text),
            json_logprob(one.logprob),
            one.token_id,
            tuple(TopLogprob(token_text(text), tuple(text), json_logprob(p), i) for i, text, p in one.top),
        )
        for one in logprobs
    )


def json_logprob(logprob: float) -> float:
    """A finite number for JSON."""
    return logprob if math.isfinite(logprob) else LEAST_LOGPROB


def token_text(token: bytes) -> str:
    r"""A token as text; one that is not UTF-8 by itself as OpenAI writes it, `bytes:\xe2\x80`."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)
