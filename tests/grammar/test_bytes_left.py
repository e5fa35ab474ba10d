"""What is left of all sequences at once is what is left of each."""

from __future__ import annotations

import numpy as np
import pytest

from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.bytes_left import UNKNOWN
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.vocab import Vocabulary

WORDS = [bytes([i]) for i in range(256)] + [b'":', b'",', b"[[", b"]]", b'{"', b"aa", b'"]', b"],[", b"ab"]
SCHEMAS = [
    '{"type": "array", "items": {"type": "array", "items": {"type": "string", "minLength": 3}, "minItems": 2}}',
    '{"type": "object", "properties": {"a": {"pattern": "^(ab|a{4,9})$"}, "b": {"type": "object"}}, "required": ["a"]}',
    '{"type": "array", "items": {"type": "string", "maxLength": 4}, "uniqueItems": true, "minItems": 2}',
]


@pytest.mark.parametrize("seed", range(4))
def test_all_at_once_as_one_by_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    automaton = Automaton(Vocabulary(WORDS, [len(WORDS)], len(WORDS) + 1))
    roots = [automaton.compile(JsonSchema(schema)) for schema in SCHEMAS]
    batch = StateBatch(automaton)
    slots = np.array([batch.open(roots[n % 3]) for n in range(9)], dtype=np.int32)
    n_known = n_unknown = 0
    for _ in range(30):
        found = batch.all_bytes_left(slots).tolist()
        for slot, left in zip(slots.tolist(), found, strict=True):
            if left == UNKNOWN:
                assert automaton.is_captured(batch.save(slot)[0])
                n_unknown += 1
            else:
                assert left == batch.bytes_left(slot)
                n_known += 1
        assert batch.where(slots).tolist() == [list(batch.save(slot)) for slot in slots.tolist()]
        rows = batch.row_ids(slots)
        bits = np.unpackbits(automaton.rows[rows].view(np.uint8), axis=1, bitorder="little")
        tokens = np.array([random.choice(np.flatnonzero(each)) for each in bits], dtype=np.int32)
        batch.advance(slots, tokens)
    assert n_known > 100
    assert n_unknown > 0
