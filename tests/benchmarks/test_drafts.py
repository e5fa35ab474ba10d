"""The benchmark of drafts counts what engines did, and sees answers that differ."""

from __future__ import annotations

from pathlib import Path

from rootform.benchmarks import drafts
from rootform.engine.api import Engine

TASK = drafts.Task(
    "fruit", '{"type": "string", "pattern": "^[ab]{16}$"}', ["a b c", "b c d", "c d e", "d e f", "e f g"]
)


def test_both_ways_give_the_same_answers_and_the_counts_add_up(tiny_model: Path) -> None:
    runs = []
    for with_drafts in (False, True):
        with Engine(tiny_model, kv_bytes=2**22, threads=1, drafts=with_drafts) as engine:
            runs.append(drafts.measure(engine, [TASK]))
    off, on = runs
    assert off.answers == on.answers
    assert set(off.answers) == {("fruit", n) for n in range(5)}
    assert off.tokens == on.tokens == sum(map(len, off.answers.values()))
    assert (off.drafted, off.accepted) == (0, 0)
    assert 0 < on.accepted <= on.drafted  # four of the five texts have been answered before
    assert on.passes < off.passes
    assert f"| {off.per_token:.3f} | {on.per_token:.3f} |" in drafts.line("fruit", 64, off, on)


def test_tasks_are_the_documents_of_each_kind() -> None:
    (tasks,) = drafts.tasks_of(None, None, 12).values()
    assert sum(len(task.texts) for task in tasks) == 12
    assert {task.name for task in tasks} <= {"contacts", "events", "orders", "receipts", "tickets"}
