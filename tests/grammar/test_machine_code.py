"""Machine code is made before it is needed. How it is kept: test_machine_code_kept.py."""

from __future__ import annotations

import importlib
import json
import pkgutil

import numpy as np
from numba.core.dispatcher import Dispatcher

from rootform import grammar
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import Choice, JsonSchema, Regex
from rootform.grammar.pools import current
from rootform.grammar.vocab import Vocabulary

_DOCUMENT = "Ada Lovelace, born 1815 in London."
_CONSTRAINTS = (
    Regex(r"(?i)[a-f]{3,40}\d*(x|yz)"),
    Choice(tuple(f"option {i}" for i in range(300))),
    JsonSchema(
        json.dumps(
            {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "x-rootform": {"verbatim": True}},
                    "born": {"type": "integer", "minimum": 1000},
                    "mail": {"type": "string", "format": "email", "maxLength": 20},
                    "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "uniqueItems": True},
                    "not": {"not": {"enum": ["a", "b", 3]}},
                    "step": {"type": "number", "multipleOf": 0.25},
                },
                "patternProperties": {"^x-": {"type": "integer"}},
            }
        ),
        property_order="any",
        document=_DOCUMENT,
    ),
)


def _compiled() -> dict[str, int]:
    """Of each function of kernels that the host has called: for how many types of arguments it is compiled."""
    found = {}
    for module in pkgutil.iter_modules(grammar.__path__):
        for name, value in vars(importlib.import_module(f"{grammar.__name__}.{module.name}")).items():
            if isinstance(value, Dispatcher):
                found[f"{module.name}.{name}"] = len(value.signatures)
    return found


def _write_some(automaton: Automaton, root: int, rng: np.random.Generator) -> None:
    batch = StateBatch(automaton)
    slot = batch.open(root)
    for _ in range(60):
        row = batch.row_ids(np.array([slot]))[0]
        bits = np.unpackbits(automaton.rows[row].view(np.uint8), bitorder="little")
        tokens = np.flatnonzero(bits)
        token = int(rng.choice(tokens))
        if token in automaton.vocabulary.eos_ids:
            break
        assert batch.advance(np.array([slot]), np.array([token]))[0]
    batch.close(slot)


def test_nothing_is_compiled_once_an_automaton_is_warm() -> None:
    texts = [bytes([byte]) for byte in range(256)] + [b'": "', b'",', b"ab", b"tion", b"Ada", b" 1815", b"option 1"]
    automaton = Automaton(Vocabulary([*texts, b""], [len(texts)], len(texts) + 1), exprs=current().fork())
    automaton.warm()
    before, rng = _compiled(), np.random.default_rng(0)
    for constraint in _CONSTRAINTS:
        root = automaton.compile(constraint)
        for _ in range(6):
            _write_some(automaton, root, rng)
        automaton.forced(*automaton.start(root))
        automaton.completion(*automaton.start(root))
    assert {name: n for name, n in _compiled().items() if n != before[name]} == {}
