"""Grammars advanced by the kernel and by its twin: apart from gpu_cases.py, for a grammar needs the whole room."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rootform.engine.kernels import grammar
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.vocab import Vocabulary

from .gpu_cases import moved


@dataclass(frozen=True)
class Advance:
    """Sequences all over a grammar with nesting, counts and strings, and tokens that are allowed, forbidden or none.

    known: the share of the transitions met that are in the tables; the rest are misses.
    """

    known: float = 0.6

    def run(self, device: str) -> None:
        batch, steps = self.walk()
        automaton = batch._automaton
        widest = automaton.vocabulary.max_token_bytes
        tables = grammar.tables_of(automaton)
        met: set[int] = set()
        for places, slots, tokens in steps:
            ours, theirs = (moved(torch.from_numpy(places.copy()), where) for where in (device, "cpu"))
            inputs = torch.from_numpy(slots), torch.from_numpy(tokens)
            expected = grammar.advance_plain(theirs, *inputs, tables, widest)
            there = moved(tables, device)
            got = grammar.advance_triton(ours, *(moved(each, device) for each in inputs), there, widest)
            assert torch.equal(ours.cpu(), theirs)
            assert [each.tolist() for each in got] == [each.tolist() for each in expected]
            met |= set(expected[1].tolist())
        wanted = {grammar.ADVANCED, grammar.NOT_ALLOWED, grammar.NO_TRANSITION, grammar.NO_ROW}
        assert met == wanted, f"the walk met only {met}"

    def walk(self) -> tuple[StateBatch, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
        """A batch, and steps of (sequences before, slots, tokens), some of which its tables do not know."""
        random = np.random.default_rng(0)
        schema = {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 5},
                "list": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}},
                "kind": {"enum": ["left", "right"]},
            },
            "required": ["list", "name"],
        }
        words = [bytes([i]) for i in range(256)] + [b'":', b'",', b"[[", b"]]", b'{"', b"na", b'st":', b"],[", b"12"]
        automaton = Automaton(Vocabulary(words, [len(words)], len(words) + 1), use_compiled=False)
        batch = StateBatch(automaton)
        root = automaton.compile(JsonSchema(json.dumps(schema)))
        slots = np.array([batch.open(root) for _ in range(8)], dtype=np.int32)
        steps = []
        for _ in range(14):
            rows = batch.row_ids(slots)
            tokens = np.array([self.token(automaton.rows[row], random) for row in rows.tolist()], dtype=np.int32)
            tokens[random.random(len(slots)) < 0.15] = random.integers(-1, len(words) + 2)
            some = slots.copy()
            some[random.random(len(slots)) < 0.1] = -1
            steps.append((batch._sequences.copy(), some, tokens))
            if random.random() < self.known:
                batch.advance(slots, tokens)
        return batch, steps

    def token(self, row: np.ndarray, random: np.random.Generator) -> int:
        """One of those that a row allows."""
        allowed = np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little"))
        return int(random.choice(allowed)) if len(allowed) else 0


CASES: dict[str, Any] = {"advance": Advance()}
