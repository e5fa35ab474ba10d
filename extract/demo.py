"""`rootform demo`: the packaged examples through the bundled model, and what came out right."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..engine.types import RootformError
from ..programs.client import Client
from .accuracy import count_right, leaves, same
from .asking import Asker, Options
from .flight import fly
from .outcome import Failure, Outcome, outcome_of
from .rows import Row
from .tally import Spent

# kind -> the schema of its examples
KINDS = {
    "contacts": "contacts.schema.json",
    "events": "events.schema.json",
    "orders": "orders.schema.json",
    "tickets": "tickets.schema.json",
    "receipts": "receipts.schema.json",
    "utterances": "snips.schema.json",
}
EXAMPLES = files("rootform") / "examples"
_CONCURRENCY = 128
_SHOWN_OF_A_KIND = 2
_NEXT = """\
next:  rootform run "Meet Ann Berg, ann@berg.example" --schema {schema}
       rootform extract docs.jsonl --schema schema.json --output out.jsonl
       rootform serve --port 8000
       curl http://127.0.0.1:8000/v1/models      (or the openai client, base_url="http://127.0.0.1:8000/v1")"""


@dataclass(frozen=True)
class Example:
    """A packaged document and what is to be found in it."""

    kind: str
    row: Row
    expected: Any


@dataclass(frozen=True)
class Judged:
    """An example with what came of it. given: the extracted value, None after a failure. right of `fields` fields."""

    example: Example
    given: Any
    outcome: Outcome
    right: int
    fields: int


def load_examples(folder: Traversable) -> list[Example]:
    """Every packaged document, kind by kind. Raises RootformError when one has no expected values."""
    return [example for kind in KINDS for example in _examples_of(folder, kind)]


def run_demo(client: Client, console: Console) -> int:
    """Extract every packaged document and print results, accuracy and speed. Returns how many failed."""
    examples = load_examples(EXAMPLES)
    console.print(f"{len(examples)} documents of {len(KINDS)} kinds, one batch, model {client.info.name}")
    judged, spent = extract_examples(client, EXAMPLES, examples)
    again, spent_again = extract_examples(client, EXAMPLES, examples)
    console.print(_results(judged))
    console.print(_accuracy(judged))
    console.print(f"first time:  {spent.describe()}", highlight=False, soft_wrap=True)
    console.print(f"once more:   {spent_again.describe()}", highlight=False, soft_wrap=True)
    same_answers = [each.given for each in judged] == [each.given for each in again]
    console.print("once more, the answers were the same" if same_answers else "once more, some answers were DIFFERENT")
    failures = [each.outcome for each in judged if isinstance(each.outcome, Failure)]
    for failure in failures:
        console.print(f"{failure.id} failed: {failure.reason}", markup=False, style="red")
    console.print(_NEXT.format(schema=EXAMPLES / KINDS["contacts"]), highlight=False, markup=False, soft_wrap=True)
    return len(failures)


def extract_examples(client: Client, folder: Traversable, examples: list[Example]) -> tuple[list[Judged], Spent]:
    """The examples with their outcomes, in the same order; all kinds, and so all schemas, run side by side."""
    askers = {
        kind: Asker.make(client.info, (folder / name).read_text("utf-8"), Options()) for kind, name in KINDS.items()
    }
    calls = [
        (each, askers[each.kind].call(askers[each.kind].prompt(each.row.text), document=each.row.text))
        for each in examples
    ]
    again = askers[examples[0].kind].again  # depends on the options only, and they are the same for all kinds
    outcomes: dict[str, Outcome] = {}
    spent = Spent()
    with closing(fly(client, calls, _CONCURRENCY, again)) as landings:
        for example, given in landings:
            outcomes[example.row.id] = outcome_of(example.row, given)
            spent.count(outcomes[example.row.id])
    spent.stop()
    return [_judge(each, outcomes[each.row.id]) for each in examples], spent


def _judge(example: Example, outcome: Outcome) -> Judged:
    given = None if isinstance(outcome, Failure) else json.loads(outcome.result)
    return Judged(example, given, outcome, *count_right(given, example.expected))


def _examples_of(folder: Traversable, kind: str) -> Iterator[Example]:
    expected = {line["id"]: line["expected"] for line in _lines(folder / f"{kind}.expected.jsonl")}
    for number, document in enumerate(_lines(folder / f"{kind}.jsonl")):
        name = document["id"]
        if name not in expected:
            raise RootformError(f"examples/{kind}.jsonl: {name!r} has no expected values in {kind}.expected.jsonl")
        yield Example(kind, Row(number, number + 1, json.dumps(name), document["text"], {}), expected[name])


def _lines(file: Traversable) -> list[Any]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]


# -- what is shown --------------------------------------------------------------------------------------------------


def _results(judged: Sequence[Judged]) -> Table:
    """A few of each kind: the document beside what was extracted."""
    table = Table(title="some of the results", show_lines=True, title_justify="left")
    table.add_column("document", ratio=1)
    table.add_column("extracted", ratio=1)
    for kind in KINDS:
        for each in [one for one in judged if one.example.kind == kind][:_SHOWN_OF_A_KIND]:
            document = Text(kind, style="dim").append(f"\n{each.example.row.text}", style="not dim")
            table.add_row(document, _fields(each))
    return table


def _fields(judged: Judged) -> Text:
    """One line per field that says something; a wrong one with what was expected."""
    text = Text()
    given, wanted = dict(leaves(judged.given)), dict(leaves(judged.example.expected))
    for path in dict.fromkeys([*given, *wanted]):
        found, right = given.get(path), wanted.get(path)
        if found is None and right is None:
            continue
        text.append(".".join(path) + "  ", style="cyan")
        good = same(found, right)
        text.append(_shown(found), style="" if good else "red")
        text.append("\n" if good else f"  (expected {_shown(right)})\n", style="dim")
    text.rstrip()
    return text


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _accuracy(judged: Sequence[Judged]) -> Table:
    table = Table(title="fields right", title_justify="left")
    for name in ("kind", "documents", "right", "fields", "share"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    for kind in KINDS:
        _add_share(table, kind, [each for each in judged if each.example.kind == kind])
    table.add_section()
    _add_share(table, "all", judged)
    return table


def _add_share(table: Table, name: str, judged: Sequence[Judged]) -> None:
    right, fields = sum(each.right for each in judged), sum(each.fields for each in judged)
    table.add_row(name, str(len(judged)), str(right), str(fields), f"{right / fields:.1%}" if fields else "-")
