"""Machine code: made before it is needed, and never that of older sources."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from rootform import grammar
from rootform.grammar import machine_code
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


@pytest.mark.parametrize("changed", ["node_layout.py", "walk_kernels.py"])
def test_machine_code_of_other_sources_is_forgotten(tmp_path: Path, changed: str) -> None:
    room = tmp_path / "room"
    (room / "__pycache__").mkdir(parents=True)
    source = Path(machine_code.__file__)
    (room / "machine_code.py").write_text(source.read_text())
    for name in ("kernels.py", "node_layout.py", "walk_kernels.py"):
        (room / name).write_text("1")
    ours, others = room / "__pycache__" / "walk_kernels.walk-1.py311.nbi", room / "__pycache__" / "other.f-1.py311.nbi"

    def run() -> None:
        subprocess.run([sys.executable, "-c", "import machine_code"], cwd=room, check=True)

    run()
    ours.touch()
    others.touch()
    run()
    assert ours.exists()
    (room / changed).write_text("2")
    run()
    assert not ours.exists()
    assert others.exists()


def test_machine_code_is_to_be_made_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_code, "_FOLDER", tmp_path)
    assert not machine_code.is_to_be_made()  # there is no place for it: nobody can tell
    (tmp_path / "__pycache__").mkdir()
    assert machine_code.is_to_be_made()
    (tmp_path / "__pycache__" / "derivative_kernels.derive-55.py311.nbi").touch()
    assert not machine_code.is_to_be_made()
