"""What a program appends to its state: text, generations and turns. Plain frozen data with `+` to join them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Unpack

from ..engine.options import JsonOptions, make_constraint
from ..engine.types import (
    Constraint,
    Grammar,
    LogprobsOver,
    Priority,
    RootformError,
    Sampling,
)
from .typed import Typed, typed_json

Role = Literal["system", "user", "assistant"]


class Joinable:
    """Parts join by `+` with text and with each other, in the order they are written."""

    def __add__(self, other: str | Joinable) -> Parts:
        return Parts((*as_parts(self).items, *as_parts(other).items))

    def __radd__(self, other: str) -> Parts:
        return Parts((*as_parts(other).items, *as_parts(self).items))


@dataclass(frozen=True)
class Text(Joinable):
    """Fixed text."""

    text: str


@dataclass(frozen=True)
class Gen(Joinable):
    """Text the model writes, kept under `name`. `typed` turns it into the value that `state[name]` gives."""

    name: str
    constraint: Constraint | None
    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...]
    top_logprobs: int | None
    logprobs_over: LogprobsOver
    priority: Priority
    typed: Typed | None


@dataclass(frozen=True)
class Parts(Joinable):
    """Texts and generations in order."""

    items: tuple[Text | Gen, ...]


@dataclass(frozen=True)
class Turn:
    """One whole turn of a chat."""

    role: Role
    parts: Parts


def as_parts(value: str | Joinable) -> Parts:
    """The parts of a text, a generation, or a joined sequence of both."""
    if isinstance(value, str):
        return Parts((Text(value),))
    if isinstance(value, Parts):
        return value
    if isinstance(value, Text | Gen):
        return Parts((value,))
    raise TypeError(f"a program can append text, gen(), select() and turns, not {type(value).__name__}")


def system(content: str | Joinable) -> Turn:
    """A system turn."""
    return Turn("system", as_parts(content))


def user(content: str | Joinable) -> Turn:
    """A user turn."""
    return Turn("user", as_parts(content))


def assistant(content: str | Joinable) -> Turn:
    """An assistant turn: usually the one that holds gen() or select()."""
    return Turn("assistant", as_parts(content))


def gen(
    name: str,
    *,
    schema: Any = None,
    regex: str | None = None,
    choices: Sequence[str] | None = None,
    json_object: bool = False,
    grammar: str | Grammar | None = None,
    structural_tag: str | dict[str, Any] | None = None,
    max_tokens: int | None = None,
    stop: str | Sequence[str] = (),
    temperature: float = 0.0,
    top_p: float = 1.0,
    top_k: int = 0,
    min_p: float = 0.0,
    seed: int | None = None,
    top_logprobs: int | None = None,
    logprobs_over: LogprobsOver = "allowed",
    priority: Priority = "online",
    **options: Unpack[JsonOptions],
) -> Gen:
    """Let the model write here; `state[name]` is the text, or for `schema` the decoded value.

    schema: a JSON Schema (dict or JSON text: the value is plain Python data), or a type that has one (msgspec Struct,
    dataclass, TypedDict, Enum, Literal, Pydantic model, list[...]: the value is of that type).
    grammar: GBNF, EBNF or Lark; structural_tag: free text with tags in it (docs/grammars.md). options: document, the
    text its verbatim values stand in; None: the last user turn (docs/verbatim.md). spacing, escapes, property_order,
    draft, documents (other schemas by their URIs), lenient (what cannot be enforced is left out; the value is of its
    type only if `state.completion(name).lenience` says it is valid): docs/json-schema.md. backend: what compiles regex
    and choices. At most one of schema, regex, choices, json_object, grammar and structural_tag; none of them
    means free text. top_logprobs, logprobs_over: docs/logprobs.md. priority: offline gets what online calls leave
    (docs/scheduling.md).
    """
    if unknown := sorted(options.keys() - JsonOptions.__annotations__.keys()):
        raise TypeError(f"gen() got an unexpected keyword argument {unknown[0]!r}")
    typed = typed_json(schema) if schema is not None else None
    if json_object:
        typed = typed_json({"type": "object"})
    try:
        constraint = make_constraint(
            schema=None if schema is None or typed is None else typed.schema,
            regex=regex,
            choice=choices,
            json_object=json_object,
            grammar=grammar,
            structural_tag=structural_tag,
            **options,
        )
    except RootformError as error:
        raise RootformError(f"gen({name!r}): {error}", param=error.param) from None
    return Gen(
        name=name,
        constraint=constraint,
        sampling=Sampling(temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p, seed=seed),
        max_tokens=max_tokens,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        top_logprobs=top_logprobs,
        logprobs_over=logprobs_over,
        priority=priority,
        typed=typed,
    )


def select(name: str, choices: Sequence[str]) -> Gen:
    """One of `choices`: token by token the likeliest continuation that is still one of them (greedy selection).

    `state.completion(name).logprobs` tells how sure the model was at each token, over the tokens that were allowed.
    """
    return gen(name, choices=choices, top_logprobs=0)
