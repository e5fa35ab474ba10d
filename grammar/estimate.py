"""What a constraint costs, found by compiling it afresh and following an example through it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from .batch import StateBatch
from .constraints import JsonSchema
from .errors import GrammarError
from .example import BYTES, example_of
from .generations import Generations
from .vocab import Vocabulary
from .work import Limit, within


class Tokens(NamedTuple):
    """A tokenizer as far as costs go. encode: its ids of a text, nothing added."""

    name: str
    vocabulary: Vocabulary
    encode: Callable[[str], Sequence[int]]


class TokenCost(msgspec.Struct, frozen=True):
    """What the example takes with one tokenizer.

    tokens, forced: of the example, and those of them whose bytes all had to come. states, rows: of the automaton, and
    different mask rows met on the way. row_bytes: memory of these rows.
    """

    tokenizer: str
    tokens: int
    forced: int
    states: int
    rows: int
    row_bytes: int


class Estimate(msgspec.Struct, frozen=True):
    """An example and what it took.

    example: a plausible text. bytes, forced_bytes: of it, and those no choice was about. states: of the automaton over
    single bytes, met along the example. compile_ms: processor time from the schema to its automaton, from nothing.
    """

    example: str
    bytes: int
    forced_bytes: int
    states: int
    compile_ms: float
    tokens: TokenCost | None


def estimate(constraint: JsonSchema, tokens: Tokens | None = None, limit: Limit | None = None) -> Estimate:
    """Raises GrammarError when the schema is refused, or cannot be followed within the limit."""
    began = time.thread_time()
    root = Generations(BYTES).compile(constraint, limit)
    taken = time.thread_time() - began
    with within(limit):
        example = example_of(root.generation.automaton, root.start, constraint.schema)
        cost = None
        if tokens is not None:
            cost = _token_cost(constraint, tokens, example.text, frozenset(example.forced))
    return Estimate(
        example=example.text,
        bytes=len(example.text.encode()),
        forced_bytes=len(example.forced),
        states=example.states,
        compile_ms=round(taken * 1000, 3),
        tokens=cost,
    )


def _token_cost(constraint: JsonSchema, tokens: Tokens, text: str, forced: frozenset[int]) -> TokenCost:
    root = Generations(tokens.vocabulary).compile(constraint)
    automaton = root.generation.automaton
    states = StateBatch(automaton)
    slot = states.open(root.start)
    slots = np.array([slot], np.int32)
    rows, met = set(states.row_ids(slots).tolist()), {states.save(slot)[0]}
    ids = _ids_of(tokens, text)
    n_forced = at = 0
    for token in ids:
        end = at + len(tokens.vocabulary.tokens[token])
        n_forced += forced.issuperset(range(at, end))
        at = end
        if not states.advance(slots, np.array([token], np.int32))[0]:
            raise GrammarError("#", "", f"the example {text!r} cannot be followed with the tokenizer {tokens.name}")
        met.add(states.save(slot)[0])
        rows.update(states.row_ids(slots).tolist())
    return TokenCost(
        tokenizer=tokens.name,
        tokens=len(ids),
        forced=n_forced,
        states=len(met),
        rows=len(rows),
        row_bytes=len(rows) * automaton.rows[0].nbytes,
    )


def _ids_of(tokens: Tokens, text: str) -> Sequence[int]:
    """The tokenizer's own ids, unless it adds to the text, as one that marks spaces does; then the fewest."""
    ids, table = tokens.encode(text), tokens.vocabulary.tokens
    if all(token < len(table) for token in ids) and b"".join(table[token] for token in ids) == text.encode():
        return ids
    return tokens.vocabulary.spell(text.encode())
