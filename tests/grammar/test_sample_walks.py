"""Samples of patterns, walked when nobody waits: they change no answer, and leave little to those who ask."""

from __future__ import annotations

import pytest

from rootform.grammar.automaton import Automaton
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.generations import Generations
from rootform.grammar.roots import Start
from rootform.grammar.vocab import Vocabulary

TOKENS = [bytes([byte]) for byte in range(256)] + [b"^[", b"a-", b"(?:", b")$", b"]+", b"\\\\", b'a"', b"{1,"]
SCHEMA = '{"type": "object", "properties": {"a": {"type": "string", "format": "regex"}}}'
TEXT = rb'{"a":"^[^a-z]+(b|\\d{1,2})(?:c)$"}'


def compiled(schema: str = SCHEMA, tokens: list[bytes] = TOKENS) -> tuple[Generations, Start]:
    generations = Generations(Vocabulary([*tokens, b""], [len(tokens)], len(tokens) + 1))
    root = generations.compile(JsonSchema(schema))
    return generations, generations.current.automaton.start(root.start)


def rows_along(automaton: Automaton, at: Start, text: bytes) -> list[list[int]]:
    rows = []
    for byte in text:
        row = automaton.row_at(*at)
        rows.append(automaton.rows[row].tolist())
        after = automaton.after(*at, byte)
        assert after is not None, bytes([byte])
        at = after
    return rows


def test_masks_are_the_same_and_fewer_states_are_met() -> None:
    asked, met = [], []
    for is_tidied in (False, True):
        generations, at = compiled()
        if is_tidied:
            generations.tidy()
        automaton = generations.current.automaton
        before = len(automaton._dfa)
        met.append(rows_along(automaton, at, TEXT))
        asked.append(len(automaton._dfa) - before)
    assert met[0] == met[1]
    assert asked[1] * 2 < asked[0]


def test_it_is_done_once_and_only_where_such_a_format_is() -> None:
    generations, _ = compiled('{"type": "string", "format": "date"}')
    automaton = generations.current.automaton
    before = automaton.n_states
    generations.tidy()
    assert automaton.n_states == before
    generations.compile(JsonSchema(SCHEMA))
    before = automaton.n_states
    generations.tidy()
    after = automaton.n_states
    assert after > before
    generations.tidy()
    assert automaton.n_states == after


@pytest.mark.parametrize("missing", [b'"', b"(", b"$"])
def test_samples_that_tokens_cannot_spell_are_left_out(missing: bytes) -> None:
    tokens = [token for token in TOKENS if missing not in token]
    generations, at = compiled('{"anyOf": [{"type": "null"}, {"type": "string", "format": "regex"}]}', tokens)
    generations.tidy()
    automaton = generations.current.automaton
    row = automaton.row_at(*at)
    assert automaton.rows[row].any()
