"""Going back, and going on from one place in two ways, are as if nothing else had ever been written."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import Saved, StateBatch
from rootform.grammar.compile import expression_of
from rootform.grammar.constraints import Constraint, Grammar, JsonSchema, Regex, Spacing
from rootform.grammar.expr import POOL
from rootform.grammar.vocab import Vocabulary

STRINGS = '{"type":"array","items":{"type":"string","maxLength":3},"uniqueItems":true}'
CONSTRAINTS: dict[str, Constraint] = {
    "any value": JsonSchema("{}"),
    "lines": JsonSchema('{"type":"array","items":{"type":"array"}}', "indent"),
    "counts": JsonSchema('{"type":"array","contains":{"type":"string"},"minContains":2,"maxItems":4}'),
    "elements that differ": JsonSchema(STRINGS),
    "elements that are equal": JsonSchema('{"type":"array","items":{"type":"integer"},"not":{"uniqueItems":true}}'),
    "names that differ": JsonSchema('{"type":"object","minProperties":2,"additionalProperties":{"type":"null"}}'),
    "length and pattern": JsonSchema('{"type":"string","maxLength":9,"pattern":"a.*1"}'),
    "grammar": Grammar('root ::= "[" (root ("," root)*)? "]" | [0-9]{1,3}'),
    "regex": Regex(r"(?:ab|a1)*\bnull\b"),
}
PIECES = [
    b'","',
    b'["',
    b'"]',
    b"],[",
    b"null",
    b"ab",
    b"a1",
    b'":',
    b"1,1",
    b"[[",
    b"]]",
    b",\n  ",
    b'"a',
    b"11",
    b"{}",
]
BYTES = [bytes([byte]) for byte in (*range(0x20, 0x7F), 0x0A)]


@pytest.fixture(scope="module")
def automata() -> dict[str, tuple[Automaton, int]]:
    tokens = [*BYTES, *PIECES, b""]
    automaton = Automaton(Vocabulary(tokens, [len(tokens) - 1], len(tokens)))
    return {name: (automaton, automaton.root_of(expression_of(one))) for name, one in CONSTRAINTS.items()}


def check_walk(automaton: Automaton, root: int, rng: random.Random, tokens_of) -> None:
    """A tree of texts, grown at random places by slots that are restored there; each told again from the start."""
    batch = StateBatch(automaton)
    eos = automaton.vocabulary.eos_ids
    slots = [batch.open(root) for _ in range(2)]
    tree: list[tuple[tuple[int, ...], Saved]] = [((), batch.save(slots[0]))]
    for _ in range(12):
        tokens, saved = rng.choice(tree)
        slot = rng.choice(slots)
        batch.restore(slot, saved)
        row = int(batch.row_ids(np.array([slot]))[0])
        allowed = sorted(tokens_of(automaton.rows[row]) - set(eos))
        if allowed:
            token = rng.choice(allowed)
            assert batch.advance(np.array([slot]), np.array([token]))[0]
            tree.append(((*tokens, token), batch.save(slot)))
    for tokens, saved in tree:
        fresh, slot = batch.open(root), slots[0]
        for token in tokens:
            assert batch.advance(np.array([fresh]), np.array([token]))[0]
        batch.restore(slot, saved)
        both = np.array([fresh, slot])
        rows = batch.row_ids(both)
        assert (automaton.rows[rows[0]] == automaton.rows[rows[1]]).all()
        assert len(set(batch.accepting(both).tolist())) == 1
        assert batch.forced(fresh) == batch.forced(slot)
        assert batch.closing(fresh) == batch.closing(slot)
        batch.close(fresh)
    assert not batch.errors


@pytest.mark.parametrize("name", CONSTRAINTS)
@given(seed=st.integers(0, 1 << 32))
@example(seed=707844)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_restoring_and_forking_is_replaying(name: str, seed: int, automata, tokens_of) -> None:
    check_walk(*automata[name], random.Random(seed), tokens_of)


@given(rng=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_also_of_random_expressions(rng: random.Random, toy: Vocabulary, random_expression, tokens_of) -> None:
    expression, _ = random_expression(rng)
    if not POOL.is_empty(expression):
        automaton = Automaton(toy)
        check_walk(automaton, automaton.root_of(expression), rng, tokens_of)


@pytest.mark.parametrize("spacing", ["compact", "flexible", "indent"])
def test_a_text_that_is_gone_back_on_is_forgotten(spacing: Spacing, tokens_of) -> None:
    """An element that was taken back may be written again."""
    tokens = [*BYTES, *PIECES, b""]
    automaton = Automaton(Vocabulary(tokens, [len(tokens) - 1], len(tokens)))
    batch, root = StateBatch(automaton), automaton.root_of(expression_of(JsonSchema(STRINGS, spacing)))
    slot = batch.open(root)
    start = b'[\n  "ab"' if spacing == "indent" else b'["ab"'
    between = b",\n  " if spacing == "indent" else b","

    def write(text: bytes) -> bool:
        return all(batch.advance(np.array([slot]), np.array([tokens.index(bytes([byte]))]))[0] for byte in text)

    assert write(start)
    first = batch.save(slot)
    assert write(between + b'"a"' + between)
    second = batch.save(slot)
    assert not write(b'"a"')
    batch.restore(slot, first)
    assert write(between + b'"b"' + between + b'"a"')
    batch.restore(slot, second)
    assert not write(b'"ab"')
