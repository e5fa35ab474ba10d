"""A Call in text to a Request in token ids, or a RootformError that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Unpack, cast, get_args

import msgspec

from .options import ConstraintOptions, make_constraint
from .tokenizer import Tokenizer
from .types import (
    Call,
    Constraint,
    JsonSchema,
    LogprobsOver,
    Message,
    Priority,
    Request,
    RootformError,
    Sampling,
)


def accept_call(call: Call, request_id: int, tokenizer: Tokenizer, *, sequence_tokens: int, vocab_size: int) -> Request:
    """Tokenise and check. sequence_tokens: how long prompt and output may be together. vocab_size: the model's."""
    _check_sampling(call.sampling)
    _check_output(call)
    if call.priority not in get_args(Priority):
        raise RootformError(f"priority is online or offline; not {call.priority!r}", param="priority")
    prompt_ids = _prompt_ids(call, tokenizer, vocab_size)
    return Request(
        request_id=request_id,
        prompt_ids=prompt_ids,
        max_new_tokens=_max_new_tokens(call.max_tokens, len(prompt_ids), sequence_tokens),
        sampling=call.sampling,
        constraint=_with_document(call),
        stop=call.stop,
        ignore_eos=call.ignore_eos,
        top_logprobs=call.top_logprobs,
        logprobs_over=call.logprobs_over,
        namespace=call.namespace,
        priority=call.priority,
    )


def _with_document(call: Call) -> Constraint | None:
    """The constraint; a schema with the document that verbatim values stand in, which is the last user turn's text
    unless another is given, and no document where none can matter."""
    constraint = call.constraint
    if not isinstance(constraint, JsonSchema):
        return constraint
    document = None
    if constraint.may_be_verbatim:
        users = [message.content for message in call.messages or () if message.role == "user"]
        document = constraint.document if constraint.document is not None else users[-1] if users else None
    return msgspec.structs.replace(constraint, document=document) if document != constraint.document else constraint


def _prompt_ids(call: Call, tokenizer: Tokenizer, vocab_size: int) -> tuple[int, ...]:
    if (call.messages is None) == (call.prompt is None):
        raise RootformError("give exactly one of `messages` and `prompt`", param="prompt")
    if call.messages is not None:
        ids = tokenizer.encode_chat(call.messages, continue_final=call.continue_final, tools=call.tools)
    elif call.tools:
        raise RootformError("tools are shown by the chat template; give `messages`", param="tools")
    elif call.continue_final:
        raise RootformError(
            "continue_final is about `messages`; a `prompt` is always continued", param="continue_final"
        )
    else:
        assert call.prompt is not None
        ids = tokenizer.encode(call.prompt) if isinstance(call.prompt, str) else tuple(call.prompt)
    if not ids:
        raise RootformError("the prompt has no tokens; give at least one", param="prompt")
    wrong = next((each for each in ids if not 0 <= each < vocab_size), None)
    if wrong is not None:
        raise RootformError(
            f"token id {wrong} in the prompt is not one of the model's (0 to {vocab_size - 1})", param="prompt"
        )
    return ids


def _max_new_tokens(max_tokens: int | None, n_prompt: int, sequence_tokens: int) -> int:
    room = sequence_tokens - n_prompt
    if room < 1:
        raise RootformError(
            f"the prompt has {n_prompt} tokens, but prompt and output together may have {sequence_tokens}; "
            "shorten the prompt",
            param="prompt",
        )
    if max_tokens is None:
        return room
    if max_tokens < 1:
        raise RootformError(f"max_tokens is {max_tokens}; it must be 1 or more", param="max_tokens")
    if max_tokens > room:
        raise RootformError(
            f"the prompt has {n_prompt} tokens and max_tokens is {max_tokens}, together {n_prompt + max_tokens}, but "
            f"prompt and output together may have {sequence_tokens}; shorten the prompt or lower max_tokens",
            param="max_tokens",
        )
    return max_tokens


def _check_sampling(sampling: Sampling) -> None:
    def refuse(name: str, value: float, allowed: str) -> RootformError:
        return RootformError(f"{name} is {value}; it must be {allowed}", param=name)

    if not 0 <= sampling.temperature < float("inf"):
        raise refuse("temperature", sampling.temperature, "0 (greedy) or more")
    if sampling.top_k < 0:
        raise refuse("top_k", sampling.top_k, "0 (all tokens) or more")
    if not 0 < sampling.top_p <= 1:
        raise refuse("top_p", sampling.top_p, "above 0 and at most 1")
    if not 0 <= sampling.min_p <= 1:
        raise refuse("min_p", sampling.min_p, "0 to 1")
    if sampling.seed is not None and not 0 <= sampling.seed < 2**64:
        raise refuse("seed", sampling.seed, "0 to 2**64 - 1")


def _check_output(call: Call) -> None:
    if "" in call.stop:
        raise RootformError("a stop string is empty; leave it out", param="stop")
    if call.top_logprobs is not None and call.top_logprobs < 0:
        raise RootformError(f"top_logprobs is {call.top_logprobs}; it must be 0 or more", param="top_logprobs")
    if call.logprobs_over not in get_args(LogprobsOver):
        reason = f"logprobs_over is allowed or vocabulary; not {call.logprobs_over!r}"
        raise RootformError(reason, param="logprobs_over")
    if call.logprobs_over != "allowed" and call.top_logprobs is None:
        raise RootformError("logprobs_over needs logprobs beside it: top_logprobs, 0 or more", param="logprobs_over")
    if call.ignore_eos and call.constraint is not None:
        raise RootformError(
            "ignore_eos cannot be had with a constraint, whose end is the end of the output; leave one out",
            param="ignore_eos",
        )


Prompt = str | Sequence[int] | Sequence[Message] | Sequence[dict[str, str]]
"""Text, token ids, or a chat."""


class CallOptions(ConstraintOptions, total=False):
    """The keywords of Engine.generate, all optional: see ConstraintOptions, Call and Sampling."""

    max_tokens: int | None
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    seed: int | None
    stop: str | Iterable[str]
    ignore_eos: bool
    top_logprobs: int | None
    logprobs_over: LogprobsOver
    continue_final: bool
    namespace: str
    priority: Priority


def make_call(
    prompt: Prompt,
    *,
    max_tokens: int | None = None,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    seed: int | None = None,
    stop: str | Iterable[str] = (),
    ignore_eos: bool = False,
    top_logprobs: int | None = None,
    logprobs_over: LogprobsOver = "allowed",
    continue_final: bool = False,
    namespace: str = "",
    priority: Priority = "online",
    **constraint: Unpack[ConstraintOptions],
) -> Call:
    """A Call from keywords (see CallOptions). Raises RootformError when they contradict each other."""
    text, messages = _split_prompt(prompt)
    return Call(
        prompt=text,
        messages=messages,
        continue_final=continue_final,
        max_tokens=max_tokens,
        sampling=Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed),
        constraint=make_constraint(**constraint),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        ignore_eos=ignore_eos,
        top_logprobs=top_logprobs,
        logprobs_over=logprobs_over,
        namespace=namespace,
        priority=priority,
    )


def _split_prompt(prompt: Prompt) -> tuple[str | tuple[int, ...] | None, tuple[Message, ...] | None]:
    """(prompt, None) or (None, messages), as Call takes them."""
    if isinstance(prompt, str):
        return prompt, None
    if prompt and all(isinstance(each, int) for each in prompt):
        return tuple(each for each in prompt if isinstance(each, int)), None
    try:
        turns = (each if isinstance(each, Message) else msgspec.convert(each, Message) for each in prompt)
        return None, tuple(turns)
    except msgspec.ValidationError as error:
        raise RootformError(
            f"a prompt is text, token ids or messages with role and content: {error}", param="prompt"
        ) from error


def is_one_prompt(prompt: Prompt | Sequence[Prompt]) -> bool:
    """True for one prompt, False for a list of prompts: a list of texts or of lists is the latter."""
    return isinstance(prompt, str) or (len(prompt) > 0 and not isinstance(prompt[0], str | list | tuple))


def split_prompts(prompt: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """One prompt as a list of one, or the list of prompts."""
    return [cast(Prompt, prompt)] if is_one_prompt(prompt) else list(cast(Sequence[Prompt], prompt))
