"""Machine code is made before it is needed. How it is kept: test_machine_code_kept.py."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
from numba.core.dispatcher import Dispatcher

from rootform import grammar
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import Choice, JsonSchema, Regex
from rootform.grammar.kept_rows import KeptRows
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
                    "host": {"type": "string", "format": "idn-hostname", "maxLength": 40, "pattern": "a"},
                    "word": {"type": "string", "pattern": "^(?=.*[A-Z])(?=.*\\d).{8,}$", "maxLength": 30},
                },
                "patternProperties": {"^x-": {"type": "integer"}},
            }
        ),
        property_order="any",
        document=_DOCUMENT,
    ),
)


_WHEN_WARM = f"""
import importlib, sys
from {Automaton.__module__} import Automaton
from {Vocabulary.__module__} import Vocabulary
Automaton(Vocabulary([b'"', b"a"], [2], 3)).warm()
for name in sys.argv[1:]:
    module, function = name.rsplit(".", 1)
    if not getattr(importlib.import_module(module), function).signatures:
        print(name)
"""


def _modules() -> list[ModuleType]:
    return [
        importlib.import_module(f"{grammar.__name__}.{each.name}") for each in pkgutil.iter_modules(grammar.__path__)
    ]


def _compiled() -> dict[str, int]:
    """Of each function of kernels that the host has called: for how many types of arguments it is compiled."""
    found = {}
    for module in _modules():
        for name, value in vars(module).items():
            if isinstance(value, Dispatcher):
                found[f"{module.__name__}.{name}"] = len(value.signatures)
    return found


def _named_by_host(module: ModuleType) -> Iterator[Dispatcher]:
    """The compiled functions that a module names outside of such functions."""
    names = vars(module)
    todo: list[ast.AST] = [ast.parse(inspect.getsource(module))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef) and isinstance(names.get(node.name), Dispatcher):
            continue
        value = None
        if isinstance(node, ast.Name):
            value = names.get(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            value = getattr(names.get(node.value.id), node.attr, None)
        if isinstance(value, Dispatcher):
            yield value
        todo += ast.iter_child_nodes(node)


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


def test_all_that_the_host_may_call_is_compiled_once_an_automaton_is_warm() -> None:
    named = {f"{each.__module__}.{each.__name__}" for module in _modules() for each in _named_by_host(module)}
    assert len(named) > 20
    found = subprocess.run([sys.executable, "-c", _WHEN_WARM, *sorted(named)], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, ""), found.stderr


def test_nothing_is_compiled_once_an_automaton_is_warm(tmp_path: Path) -> None:
    texts = [bytes([byte]) for byte in range(256)] + [b'": "', b'",', b"ab", b"tion", b"Ada", b" 1815", b"option 1"]
    vocabulary = Vocabulary([*texts, b""], [len(texts)], len(texts) + 1)
    automaton = Automaton(vocabulary, exprs=current().fork())
    automaton.warm()
    before, rng = _compiled(), np.random.default_rng(0)
    for constraint in _CONSTRAINTS:
        root = automaton.compile(constraint)
        for _ in range(6):
            _write_some(automaton, root, rng)
        automaton.forced(*automaton.start(root))
        automaton.completion(*automaton.start(root))
    for seed in (0, 0):  # rows are made and written; then read
        kept = KeptRows(tmp_path, vocabulary)
        automaton = Automaton(vocabulary, exprs=current().fork(), kept=kept)
        _write_some(automaton, automaton.compile(_CONSTRAINTS[0]), np.random.default_rng(seed))
        kept.save()
    assert kept.found
    assert {name: n for name, n in _compiled().items() if n != before[name]} == {}
