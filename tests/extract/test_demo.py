"""The demo over the packaged examples, with a client that knows the answers."""

import io
import json

import pytest
from rich.console import Console

from rootform.engine.types import RootformError
from rootform.extract.demo import EXAMPLES, KINDS, load_examples, run_demo
from rootform.extract.schema import refusals
from rootform.grammar.report import inspect_schema


def test_there_are_enough_examples_of_every_kind_and_ids_are_unique() -> None:
    examples = load_examples(EXAMPLES)
    assert len(examples) >= 60
    assert {example.kind for example in examples} == set(KINDS)
    assert len({example.row.id for example in examples}) == len(examples)


@pytest.mark.parametrize("name", KINDS.values())
def test_every_schema_can_be_enforced(name: str) -> None:
    report = inspect_schema((EXAMPLES / name).read_text("utf-8"))
    assert report.ok, refusals(report.refused)


def test_what_it_prints(scripted) -> None:
    known = {example.row.text: example.expected for example in load_examples(EXAMPLES)}

    def script(prompt: str) -> str:
        document = next(text for text in known if prompt.endswith(text))
        if document.startswith("LINDEN BAKERY"):
            return json.dumps(known[document] | {"total": "1.40"})
        if document.startswith("Samuel Okoro"):
            raise RootformError("out of luck", status=500)
        return json.dumps(known[document])

    stream = io.StringIO()
    failed = run_demo(scripted(script), Console(file=stream, width=120))
    shown = stream.getvalue()
    assert failed == 1
    assert "total  1.40  (expected 4.20 EUR)" in shown
    assert "Lena Hartwig" in shown
    assert '"contact-02" failed: line 2: out of luck' in shown
    assert "utterances" in shown
    assert "100.0%" in shown
    assert "40% of prompt tokens from the prefix cache" in shown
    assert "the answers were the same" in shown
    assert "rootform serve" in shown
    assert "client" in shown
