"""The grammar benchmark counts what it should, on a few schemas and the bundled model's tokenizer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from rootform.benchmarks.grammar_order import InOrder
from rootform.benchmarks.grammar_tables import asked_again
from rootform.benchmarks.grammar_worker import Measured

ROOT = Path(__file__).parents[2]
CASES = [
    {"schema": {"type": "integer"}, "tests": [(True, 3), (False, "x"), (False, None)]},
    {
        "schema": {"properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"], "type": "object"},
        "tests": [(True, {"a": "x"}), (True, {"a": "y", "b": [1]}), (False, {"a": "z"}), (False, {})],
    },
    {"schema": {"type": "string", "pattern": "("}, "tests": [(True, "(")]},
]


def test_figures_of_three_cases(tmp_path: Path) -> None:
    lines = [
        {"name": f"case {i}", "schema": case["schema"], "tests": [{"valid": v, "data": d} for v, d in case["tests"]]}
        for i, case in enumerate(CASES)
    ]
    source, output = tmp_path / "cases.jsonl", tmp_path / "out.json"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = [sys.executable, "-m", "benchmarks.grammar", "--cases", source, "--engines", "rootform", "--batch", "2"]
    command += ["--tokenizer", ROOT / "sprout" / "model", "--json", output]
    printed = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(output.read_text())
    figures = found["cases"]["figures"]["rootform"]
    assert figures["schemas"] == 3
    assert (figures["compiled"], figures["refused"], figures["failed"]) == (2, 1, 0)
    assert (figures["tests"], figures["valid rejected"], figures["invalid accepted"]) == (7, 0, 0)
    assert [wrong["name"] for wrong in found["cases"]["wrong"]["rootform"]] == ["case 2"]
    assert figures["masks"] >= 7
    assert figures["first mask ms p50"] > 0
    assert figures["peak MiB"] > 1
    assert 0 < figures["mask ms max again"] <= figures["mask ms max"]
    assert found["batch"]["rootform"]["batch warm 2 us p50"] > 0
    assert "valid instances rejected" in printed.stdout


def test_members_are_put_in_the_order_of_the_schema() -> None:
    schema = {
        "$ref": "#/$defs/base",
        "properties": {"b": {}, "a": {"items": {"properties": {"y": {}, "x": {}}}}},
        "anyOf": [{"properties": {"e": {"type": "string"}}}, {"properties": {"d": {}, "e": {}}}],
        "required": ["f"],
        "additionalProperties": {"properties": {"q": {}, "p": {}}},
        "$defs": {"base": {"properties": {"c": {}, "b": {}}}},
    }
    instance = {"z": {"p": 1, "q": 2}, "f": 0, "e": 1, "d": 2, "c": 3, "a": [{"x": 0, "w": 1, "y": 2}], "b": 4}
    found = InOrder(schema).of(instance)
    assert found == instance
    assert list(found) == ["b", "a", "c", "d", "e", "f", "z"]
    assert list(found["a"][0]) == ["y", "x", "w"]
    assert list(found["z"]) == ["q", "p"]


def test_orders_of_schemas_that_do_not_end() -> None:
    schema = {"properties": {"b": {"$ref": "#"}, "a": {}}, "allOf": [{"$ref": "#"}, {"$ref": "http://elsewhere/"}]}
    found = InOrder(schema).of({"a": 1, "b": {"a": 1, "b": 2}})
    assert json.dumps(found) == '{"b": {"b": 2, "a": 1}, "a": 1}'


def took(*ms: float) -> Measured:
    return Measured("ok", "", 0.0, 0.0, np.array(ms) * 1000, np.zeros(0), [])


def test_of_masks_that_took_too_long_the_least_of_each_counts() -> None:
    found = [took(1, 2), took(50, 3, 4), took(), took(11, 12), took(9)]
    figures = asked_again(found, [[took(2, 8, 4), took(1, 11)], [took(7), took(30, 10.5)]])
    assert figures == {"over": 2, "mask ms max again": 10.5}, "a run that came to other masks does not count"
    assert asked_again(found[:1], []) == {"over": 0, "mask ms max again": 2}
    assert asked_again(found[:2], []) == {"over": 1, "mask ms max again": 50}
