"""What the benchmarks of drafts put to a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rootform.sprout.corpus import read_rows
from rootform.sprout.evaluate import unseen_documents

from .quality import EXAMPLES, UTTERANCE_SCHEMA

if TYPE_CHECKING:
    from rootform.engine.api import Engine
    from rootform.engine.types import Completion

WARM = 4
"""So many texts of each task an engine sees beforehand."""


class Task(NamedTuple):
    """Texts put to the model with one schema (JSON text)."""

    name: str
    schema: str
    texts: list[str]


def tasks_of(snips: Path | None, rows: int | None, documents: int) -> dict[str, list[Task]]:
    """The tasks of each line of the table."""
    groups: dict[str, list[Task]] = {}
    if snips is not None:
        texts = [row.text for row in read_rows(snips)[:rows]]
        groups["utterances"] = [Task("utterances", UTTERANCE_SCHEMA.read_text(), texts)]
    if documents:
        unseen = unseen_documents(documents, as_shipped=True)
        groups["documents"] = [
            Task(
                kind,
                (EXAMPLES / f"{kind}.schema.json").read_text(),
                [each.text for each in unseen if each.kind == kind],
            )
            for kind in sorted({each.kind for each in unseen})
        ]
    return groups


def ask(engine: Engine, task: Task, texts: Sequence[str]) -> list[Completion]:
    """Put these texts to the model, all at once, with the task's schema."""
    chats = [[{"role": "user", "content": text}] for text in texts]
    answers = engine.generate(chats, schema=task.schema)
    assert isinstance(answers, list)
    return answers
