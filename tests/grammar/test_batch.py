"""Sequences side by side: each as if alone, and back to where it was."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest

from rootform.grammar import follow_kernels, frame_kernels, kernels
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import JsonObject, JsonSchema, Regex
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL

CONSTRAINTS = [Regex('"[ab,]{0,6}"(,"a{1,3}")*'), Regex("(ab|ba|é)+,?"), Regex("a{2,9}b{0,7}")]


@pytest.fixture
def automaton(toy) -> Automaton:
    return Automaton(toy)


def random_token(automaton: Automaton, row: int, rng: np.random.Generator) -> int:
    return int(rng.choice(automaton.allowed(row)))


def test_a_batch_goes_as_each_sequence_alone(automaton: Automaton) -> None:
    rng = np.random.default_rng(0)
    batch, alone = StateBatch(automaton), StateBatch(automaton)
    roots = [automaton.compile(CONSTRAINTS[i % 3]) for i in range(200)]
    slots = np.array([batch.open(root) for root in roots], np.int32)
    others = [alone.open(root) for root in roots]
    for _ in range(8):
        rows = batch.row_ids(slots)
        assert [int(alone.row_ids([other])[0]) for other in others] == rows.tolist()
        tokens = np.array([random_token(automaton, row, rng) for row in rows.tolist()], np.int32)
        ok = batch.advance(slots, tokens)
        assert [bool(alone.advance([o], [t])[0]) for o, t in zip(others, tokens, strict=True)] == ok.tolist()
        assert [batch.save(s) for s in slots.tolist()] == [alone.save(o) for o in others]
        assert ok.tolist() == [t not in automaton.vocabulary.eos_ids for t in tokens.tolist()]


def test_restoring_is_replaying(automaton: Automaton) -> None:
    rng = np.random.default_rng(1)
    batch = StateBatch(automaton)
    root = automaton.compile(CONSTRAINTS[0])
    slot = batch.open(root)
    tokens: list[int] = []
    saved = [batch.save(slot)]
    for _ in range(10):
        token = random_token(automaton, int(batch.row_ids([slot])[0]), rng)
        if batch.advance([slot], [token])[0]:
            tokens.append(token)
            saved.append(batch.save(slot))
    assert len(tokens) > 4
    for n in rng.permutation(len(saved)).tolist():
        batch.restore(slot, saved[n])
        fresh = batch.open(root)
        assert all(batch.advance([fresh], [token])[0] for token in tokens[:n])
        assert batch.save(fresh) == batch.save(slot)
        assert batch.row_ids([fresh])[0] == batch.row_ids([slot])[0]
        batch.close(fresh)


def test_slots_are_used_again_and_grow(automaton: Automaton) -> None:
    batch, root = StateBatch(automaton), automaton.compile(CONSTRAINTS[1])
    slots = [batch.open(root) for _ in range(150)]
    assert len(set(slots)) == 150
    batch.advance(slots, np.full(150, 6))
    batch.close(slots[3])
    again = batch.open(root)
    assert again == slots[3]
    assert batch.save(again) == automaton.start(root)
    assert batch.save(slots[4]) != automaton.start(root)


def test_loops_say_the_same_compiled_or_not(toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batched look-ups, run once by numba and once by Python."""

    def run() -> list[object]:
        automaton = Automaton(toy)
        batch, rng = StateBatch(automaton), np.random.default_rng(2)
        slots = np.array([batch.open(automaton.compile(CONSTRAINTS[i % 3])) for i in range(12)], np.int32)
        seen: list[object] = []
        for _ in range(6):
            rows = batch.row_ids(slots)
            tokens = [random_token(automaton, row, rng) for row in rows.tolist()]
            seen += [automaton.rows[rows].tolist(), tokens, batch.advance(slots, tokens).tolist()]
        return seen

    compiled = run()
    for module in (kernels, frame_kernels, follow_kernels):
        for name, loop in vars(module).copy().items():
            if hasattr(loop, "py_func"):
                monkeypatch.setattr(module, name, loop.py_func)
    assert run() == compiled


def test_what_cannot_be_decided_ends_one_sequence_alone(automaton: Automaton, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = StateBatch(automaton)
    good = batch.open(automaton.compile(CONSTRAINTS[0]))
    letters = POOL.repeat(POOL.byte_set(b"ab"), 41, 43)
    both = POOL.and_(POOL.repeat(POOL.literal(b"ab"), 3, None), letters)
    bad = batch.open(automaton.root_of(POOL.concat(POOL.literal(b","), both)))
    monkeypatch.setattr("rootform.grammar.witness.SEARCH_BUDGET", 5)
    rows = batch.row_ids([good, bad])
    assert isinstance(batch.errors[bad], GrammarError)
    assert good not in batch.errors
    assert automaton.allowed(int(rows[1])).tolist() == [25]
    assert batch.advance([good, bad], [3, 2]).tolist() == [True, False]
    batch.close(bad)
    assert not batch.errors


def test_constraints_compile_while_sequences_run(toy_bytes) -> None:
    """A worker thread compiles as the engine's thread steps; both end with what they would have had alone."""
    automaton = Automaton(toy_bytes)
    patterns = [f"(ab|c{i % 7}){{1,{i}}}[a-z]{{2,{i + 4}}}é?" for i in range(1, 40)]
    roots: list[int] = []
    worker = threading.Thread(target=lambda: roots.extend(automaton.compile(Regex(p)) for p in patterns))
    batch = StateBatch(automaton)
    slot = batch.open(automaton.compile(JsonObject()))
    text = b'{"a":[1,2.5,{"b":"c\\n"}],"d":null}'
    worker.start()
    for _ in range(20):
        batch.restore(slot, automaton.start(automaton.compile(JsonObject())))
        for byte in text:
            batch.row_ids([slot])
            assert batch.advance([slot], [byte])[0]
        assert batch.finished([slot])[0]
    worker.join()
    assert roots == [automaton.compile(Regex(p)) for p in patterns]
    for root, pattern in zip(roots, patterns, strict=True):
        text_of = b"".join(toy_bytes.tokens[t] for t in batch.closing(batch.open(root)))
        assert re.fullmatch(pattern, text_of.decode())


def test_forced_bytes_and_closing_of_a_schema(toy_bytes) -> None:
    automaton = Automaton(toy_bytes)
    schema = '{"type":"object","properties":{"name":{"type":"string","minLength":2},"ok":{"type":"boolean"}},'
    root = automaton.compile(JsonSchema(schema + '"required":["name","ok"],"additionalProperties":false}'))
    batch = StateBatch(automaton)
    slot = batch.open(root)
    assert batch.forced(slot) == b'{"name":"'
    for byte in b'{"name":"x':
        assert batch.advance([slot], [byte])[0]
    assert b"".join(toy_bytes.tokens[t] for t in batch.closing(slot)) == b'a","ok":true}'
    for token in batch.closing(slot):
        assert not batch.finished([slot])[0]
        assert batch.advance([slot], [token])[0]
    assert batch.finished([slot])[0]
    assert batch.closing(slot) == ()


def test_nesting_is_followed_to_any_depth(toy_bytes) -> None:
    automaton = Automaton(toy_bytes)
    batch = StateBatch(automaton)
    slot = batch.open(automaton.compile(JsonObject()))
    text = b'{"a":' * 30 + b"[[{}]]" + b"}" * 30
    for i, byte in enumerate(text):
        assert not batch.accepting([slot])[0], text[:i]
        assert batch.advance([slot], [byte])[0], text[:i]
    assert batch.finished([slot])[0]
    states = automaton.n_states
    batch.restore(slot, automaton.start(automaton.compile(JsonObject())))
    for byte in b'{"a":' * 60 + b"{}" + b"}" * 60:
        assert batch.advance([slot], [byte])[0]
    assert automaton.n_states <= states + 4, "depth must cost stacks, not states"


def test_warming_leaves_little_to_find(toy_bytes) -> None:
    automaton = Automaton(toy_bytes)
    automaton.warm()
    walks = automaton.walker.walks
    batch = StateBatch(automaton)
    slot = batch.open(automaton.compile(JsonSchema('{"type":"string","maxLength":300}')))
    batch.advance([slot], [ord('"')])
    batch.row_ids([slot])
    assert automaton.walker.walks - walks <= 2
