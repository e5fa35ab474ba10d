"""Grammars advanced by the kernel and by its twin: apart from gpu_cases.py, for a grammar needs the whole room."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch

from rootform.engine import lanes
from rootform.engine.kernels import grammar, sampling
from rootform.engine.tables_there import TablesThere
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.vocab import Vocabulary

from .gpu_twins import assert_close, moved


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


@dataclass(frozen=True)
class Chain:
    """Passes over lanes, one after the other, each going on from what the last one left on the device: choice of tokens
    and advance of grammars by kernels, and by their twins. Some sequences have no grammar, some are sent elsewhere by
    the host now and then, and tables grow old and are brought up."""

    passes: int = 8

    def run(self, device: str) -> None:
        ours, wanted = self.results(device, with_kernels=True), self.results("cpu", with_kernels=False)
        met: set[int] = set()
        for got, expected in zip(ours, wanted, strict=True):
            assert got[:3].tolist() == expected[:3].tolist()
            assert_close(got[3].view(torch.float32), expected[3].view(torch.float32), torch.float32)
            met |= set(expected[1].tolist())
        assert {grammar.ADVANCED, grammar.NO_TRANSITION} <= met, f"the passes met only {met}"

    def results(self, device: str, *, with_kernels: bool) -> list[torch.Tensor]:
        """Of every pass, on the CPU."""
        torch.manual_seed(0)
        batch, steps = Advance().walk()
        automaton, slots = batch._automaton, steps[0][1][steps[0][1] >= 0]
        n, size = len(slots), automaton.vocabulary.size
        there = TablesThere(automaton, torch.device(device))
        made = lanes.Lanes(torch.zeros(16, dtype=torch.int32, device=device))
        masked = (np.arange(n) % 3 > 0).astype(np.int32)
        chosen = {"sample": sampling.sample_triton, "advance": grammar.advance_triton} if with_kernels else {}
        found = []
        for at in range(self.passes):
            fresh = np.full(n, at == 0) | (np.arange(n) % 4 == at % 4)
            there.note_missed(at % 3)
            rows = batch.row_ids(slots)
            there.bring_up()
            way = lanes.Way(
                masked=masked,
                top_k=np.full(n, at, dtype=np.int32),
                temperature=np.array([0.0, 1.0, 0.7] * n)[:n],
                top_p=np.linspace(0.5, 1.0, n),
                min_p=np.zeros(n),
            )
            asked = lanes.Asked(
                lanes=np.arange(n, dtype=np.int32)[::-1].copy(),
                way=way,
                fresh=fresh.astype(np.int32),
                places=np.array([batch.save(int(slot)) for slot in slots], dtype=np.int32),
                row_ids=np.where(masked, rows, -1).astype(np.int32),
                uniform=np.linspace(0.05, 0.9, n),
            )
            logits = torch.randn(n, size).to(device)
            with ExitStack() as stack:
                for name, kernel in chosen.items():
                    stack.enter_context(mock.patch.object(lanes, name, kernel))
                found.append(made.take_on(logits, asked, there).cpu())
            batch.advance(slots, found[-1][0].numpy())
        return found


CASES: dict[str, Any] = {"advance": Advance(), "chain of passes": Chain()}
