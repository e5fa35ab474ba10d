"""Tokens that are said to leave a sequence where it is do so, and nothing is said where the stack may take them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import JsonSchema, Regex
from rootform.grammar.vocab import Vocabulary

LETTERS = b"abcdefghxyz"
TWO = [bytes([a, b]) for a in LETTERS + b'"\\,1 :' for b in LETTERS + b'"n],}{']
THREE = [bytes([a, b, c]) for a in LETTERS for b in LETTERS for c in b'ab",']
WORDS = [bytes([i]) for i in range(256)] + TWO + THREE + [b'":"', b'","', "é".encode(), "é".encode()[:1]]
TEXT = {"type": "string"}
CONSTRAINTS: list[Any] = [
    {"type": "object", "properties": {"a": TEXT, "b": {"type": "array", "items": TEXT}, "c": TEXT}},
    {"type": "object", "additionalProperties": TEXT},
    {"type": "array", "items": {"anyOf": [TEXT, {"type": "integer"}]}, "uniqueItems": True},
    {"type": "string", "pattern": "^a*b?a*$"},
    '[a-h]*[a-b]?,[^"]*',
]
SAID = {0, 1, 4}


@pytest.mark.parametrize("number", range(len(CONSTRAINTS)))
def test_all_tokens_of_a_row_go_nowhere(number: int) -> None:
    random = np.random.default_rng(number)
    automaton = Automaton(Vocabulary(WORDS, [len(WORDS)], len(WORDS) + 1))
    constraint = CONSTRAINTS[number]
    made = Regex(constraint) if isinstance(constraint, str) else JsonSchema(json.dumps(constraint))
    batch, root = StateBatch(automaton), automaton.compile(made)
    at = np.array([batch.open(root)], dtype=np.int32)
    n_said = 0
    for _ in range(60):
        state, register, stack = batch.save(int(at[0]))
        row = batch.row_ids(at)[0]
        allowed = np.flatnonzero(np.unpackbits(automaton.rows[row].view(np.uint8), bitorder="little"))
        staying = automaton.staying_tokens(state, stack)
        if staying is not None:
            for token in random.permutation(np.flatnonzero(staying))[:60].tolist():
                assert token in allowed
                assert automaton.after(state, register, stack, token) == (state, register, stack)
                n_said += 1
        if not batch.advance(at, np.array([random.choice(allowed)], dtype=np.int32))[0]:
            batch.close(int(at[0]))
            at[0] = batch.open(root)
    assert (n_said > 0) == (number in SAID)
