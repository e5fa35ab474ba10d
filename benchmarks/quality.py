"""How right the extractions are: `python -m benchmarks.quality --snips dev.jsonl.gz`.

Everything goes through the real path: the extraction job, the engine, the grammar. Utterances are scored as the
field does it: intent accuracy, and precision, recall and F1 of slots over exact spans. Documents are generated from
seeds and values that no training run has seen, and asked for with the shipped schemas.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rootform.extract.job import Settings, run_job
from rootform.extract.progress import NoProgress
from rootform.extract.tally import Spent
from rootform.sprout.corpus import Row, read_rows
from rootform.sprout.documents import Document
from rootform.sprout.evaluate import unseen_documents
from rootform.sprout.score import SlotScore, field_share, percent, right_fields

if TYPE_CHECKING:
    from rootform.engine.api import Engine
    from rootform.programs.client import Client

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
UTTERANCE_SCHEMA = EXAMPLES / "snips.schema.json"


class Lent:
    """A client that outlives the jobs it is lent to: closing it does nothing."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.info, self.submit = engine.info, engine.submit

    def close(self) -> None: ...


def extract(
    connect: Callable[[], Client], texts: Sequence[str], schema: Path, concurrency: int
) -> tuple[list[Any], Spent]:
    """The job's result for each text, in order (None for a row that failed), and what the job spent."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
        with source.open("w") as file:
            for number, text in enumerate(texts):
                file.write(json.dumps({"id": number, "text": text}) + "\n")
        settings = Settings(input=str(source), schema=schema, output=output, concurrency=concurrency)
        result = run_job(settings, connect, NoProgress())
        rows = [json.loads(line) for line in output.read_text().splitlines()]
    return [row.get("result") for row in rows], result.spent


def score_utterances(given: Sequence[object], rows: Sequence[Row]) -> SlotScore:
    """The given answers against the rows."""
    score = SlotScore()
    for answer, row in zip(given, rows, strict=True):
        score.add(answer, row.intent, row.slots)
    return score


def measure_utterances(connect: Callable[[], Client], rows: Sequence[Row], concurrency: int) -> dict[str, float]:
    """Every figure of a SNIPS file. The first rows are extracted once before the clock runs."""
    texts = [row.text for row in rows]
    extract(connect, texts[:4], UTTERANCE_SCHEMA, concurrency)
    given, spent = extract(connect, texts, UTTERANCE_SCHEMA, concurrency)
    score = score_utterances(given, rows)
    return {
        "rows": score.rows,
        "intent accuracy %": score.intent_accuracy,
        "slot precision %": score.precision,
        "slot recall %": score.recall,
        "slot F1 %": score.f1,
        "exact rows %": score.exact_rows,
        **rates(spent),
    }


def measure_documents(
    connect: Callable[[], Client], documents: Sequence[Document], concurrency: int
) -> dict[str, float]:
    """Percent of fields right by kind and over all, and the rates over all."""
    figures: dict[str, float] = {"documents": len(documents)}
    pairs: list[tuple[object, dict[str, str | None]]] = []
    total = Spent()
    for kind in sorted({document.kind for document in documents}):
        mine = [document for document in documents if document.kind == kind]
        schema = EXAMPLES / f"{kind}.schema.json"
        given, spent = extract(connect, [document.text for document in mine], schema, concurrency)
        found = list(zip(given, (document.answer for document in mine), strict=True))
        figures[f"{kind}: fields right %"] = field_share(found)
        pairs += found
        add(total, spent)
    whole = sum(right_fields(given, wanted) == len(wanted) for given, wanted in pairs)
    figures["all: fields right %"] = field_share(pairs)
    figures["all: whole documents right %"] = percent(whole, len(pairs))
    return figures | rates(total)


def add(total: Spent, spent: Spent) -> None:
    """Count what another job spent into `total`."""
    total.documents += spent.documents
    total.completion_tokens += spent.completion_tokens
    total.forward_passes += spent.forward_passes
    total.seconds += spent.seconds


def rates(spent: Spent) -> dict[str, float]:
    """Speed, and the forward passes that an output token cost."""
    return {
        "rows/s": spent.documents / max(spent.seconds, 1e-9),
        "output tokens/s": spent.completion_tokens / max(spent.seconds, 1e-9),
        "forward passes per output token": spent.forward_passes / max(spent.completion_tokens, 1),
    }


def table(title: str, figures: Iterable[tuple[str, float]]) -> str:
    """The figures, one a line, under a title."""
    lines = [title]
    for name, value in figures:
        digits = 0 if name in ("rows", "documents") else 3 if "per output token" in name else 1
        lines.append(f"  {name:<34}{value:>10.{digits}f}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure, print a table for people and one JSON line for scripts; returns the same figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snips", type=Path, help="utterances with intents and slots, .jsonl or .jsonl.gz")
    parser.add_argument("--rows", type=int, help="only the first so many utterances")
    parser.add_argument("--documents", type=int, help="generated documents (default 300; 0 with --snips)")
    parser.add_argument("--model", default="sprout")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "int8"])
    parser.add_argument("--concurrency", type=int, default=64)
    given = parser.parse_args(arguments)
    documents = given.documents if given.documents is not None else (0 if given.snips else 300)

    from rootform import Engine

    engine = Engine(given.model, dtype=given.dtype)
    figures: dict[str, dict[str, float]] = {}
    machine = platform.processor() or platform.machine()
    print(f"model {given.model}, {given.dtype}, {machine}, concurrency {given.concurrency}")
    began = time.process_time()
    try:
        lent = Lent(engine)
        if given.snips:
            rows = read_rows(given.snips)[: given.rows]
            figures["utterances"] = measure_utterances(lambda: lent, rows, given.concurrency)
            print(table(f"utterances of {given.snips.name}", figures["utterances"].items()))
        if documents:
            unseen = unseen_documents(documents, as_shipped=True)
            figures["documents"] = measure_documents(lambda: lent, unseen, given.concurrency)
            print(table("generated documents, unseen values", figures["documents"].items()))
    finally:
        engine.close()
    cpu_s = time.process_time() - began
    print(f"processor time of all this, after loading: {cpu_s:.1f} s")
    print(json.dumps(figures))
    return figures


if __name__ == "__main__":
    main()
