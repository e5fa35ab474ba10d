"""What drafts save: `python -m benchmarks.drafts --snips dev.jsonl.gz --documents 100`.

Each task is done with drafts off and on, alone and in batches, by a fresh engine each time that has seen four of its
texts before. The count of passes is the same on any machine; processor time is this one's, of one thread. The answers
must be the same tokens, and a difference is an error: exit code 1. With --branches: see benchmarks/branches.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rootform.grammar.collector import KEPT

from . import branches
from .drafts_tasks import WARM, Task, ask, tasks_of

if TYPE_CHECKING:
    from rootform.engine.api import Engine


class Run(NamedTuple):
    """What one engine did. passes: summed over requests. answers: by task and text."""

    tokens: int
    passes: int
    drafted: int
    accepted: int
    cpu_seconds: float
    answers: dict[tuple[str, int], tuple[int, ...]]

    @property
    def per_token(self) -> float:
        """Forward passes per output token."""
        return self.passes / max(self.tokens, 1)

    @property
    def speed(self) -> float:
        """Output tokens per second of processor time, prompts included."""
        return self.tokens / max(self.cpu_seconds, 1e-9)


def measure(engine: Engine, tasks: Sequence[Task]) -> Run:
    """Do all tasks, each text once."""
    for task in tasks:
        ask(engine, task, task.texts[:WARM])
    before, started = engine.stats(), time.process_time()
    done = [ask(engine, task, task.texts) for task in tasks]
    seconds, after = time.process_time() - started, engine.stats()
    completions = [completion for task in done for completion in task]
    return Run(
        tokens=sum(each.usage.completion_tokens for each in completions),
        passes=sum(each.usage.forward_passes for each in completions),
        drafted=after.drafted_tokens - before.drafted_tokens,
        accepted=after.accepted_tokens - before.accepted_tokens,
        cpu_seconds=seconds,
        answers={
            (task.name, n): completion.token_ids
            for task, answers in zip(tasks, done, strict=True)
            for n, completion in enumerate(answers)
        },
    )


def line(name: str, batch: int, off: Run, on: Run) -> str:
    """A row of the table."""
    share = on.accepted / max(on.drafted, 1)
    return (
        f"| {name}, batch {batch} | {off.per_token:.3f} | {on.per_token:.3f} | {on.per_token / off.per_token:.2f}x "
        f"| {off.speed:,.0f} | {on.speed:,.0f} | {on.speed / off.speed:.2f}x "
        f"| {on.drafted / max(on.tokens, 1):.2f} | {100 * share:.0f} |"
    )


HEADER = """\
| | passes/token off | on | on vs off | tokens/CPU-s off | on | on vs off | drafted/token | kept % |
|---|---|---|---|---|---|---|---|---|"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a Markdown table and one JSON line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snips", type=Path, help="utterances with intents and slots, .jsonl or .jsonl.gz")
    parser.add_argument("--rows", type=int, help="only the first so many utterances")
    parser.add_argument("--documents", type=int, default=100, help="generated documents (default: 100)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--model", default="sprout")
    parser.add_argument("--branches", action="store_true", help="count what a tree of candidates would save instead")
    parser.add_argument("--pass-rows", type=float, default=20.0, help="what a pass costs beside its rows, in rows (20)")
    given = parser.parse_args(arguments)

    from rootform import Engine

    groups = tasks_of(given.snips, given.rows, given.documents)
    if given.branches:
        print(branches.HEADER)
        for name, tasks in groups.items():
            with Engine(given.model, threads=1, drafts=False) as engine:
                known = measure(engine, tasks).answers
            alone = partial(Engine, given.model, threads=1, max_batch=1)
            for row in branches.table(name, alone, tasks, known, given.pass_rows):
                print(row, flush=True)
        return 0
    figures: dict[str, dict[str, float]] = {}
    n_different = 0
    print(HEADER)
    for name, tasks in groups.items():
        for batch in given.batch:
            runs = []
            for drafts in (False, True):
                engine = Engine(given.model, threads=1, max_batch=batch, drafts=drafts)
                KEPT.begin()  # as the command line does
                try:
                    runs.append(measure(engine, tasks))
                finally:
                    engine.close()
                    KEPT.end()
            off, on = runs
            n_different += sum(off.answers[key] != on.answers[key] for key in off.answers)
            figures[f"{name}, batch {batch}"] = {
                "passes/token off": off.per_token,
                "passes/token on": on.per_token,
                "tokens/CPU-s off": off.speed,
                "tokens/CPU-s on": on.speed,
            }
            print(line(name, batch, off, on), flush=True)
    print(json.dumps(figures))
    print(f"answers that differ: {n_different}", file=sys.stderr)
    return 1 if n_different else 0


if __name__ == "__main__":
    sys.exit(main())
