"""What branches would save is counted of real passes, and a line counts what the engine itself does."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from rootform.benchmarks import branches, drafts
from rootform.benchmarks.drafts_tasks import WARM, Task, ask
from rootform.engine.api import Engine

TASK = Task("words", '{"type": "string", "pattern": "^[ab]{16}$"}', ["a b c", "b c d", "c d e", "d e f", "e f g"])
LINE, MANY = branches.RULES[0], branches.RULES[-1]


@pytest.fixture
def known(tiny_model: Path) -> branches.Known:
    with Engine(tiny_model, kv_bytes=2**22, threads=1, drafts=False) as engine:
        return drafts.measure(engine, [TASK]).answers


@pytest.fixture
def make(tiny_model: Path) -> partial[Engine]:
    return partial(Engine, tiny_model, kv_bytes=2**22, threads=1)


def test_a_line_counts_what_the_engine_does(make: partial[Engine], known: branches.Known) -> None:
    line = branches.count(make, [TASK], known, LINE)
    with make() as engine:
        ask(engine, TASK, TASK.texts[:WARM])
        before = engine.stats()
        usages = [ask(engine, TASK, [text])[0].usage for text in TASK.texts]
        after = engine.stats()
    assert line.tokens == sum(each.completion_tokens for each in usages)
    assert line.passes == sum(each.forward_passes for each in usages)
    n_wrong = (after.drafted_tokens - before.drafted_tokens) - (after.accepted_tokens - before.accepted_tokens)
    assert line.wasted >= n_wrong  # forced tokens between wrong guesses are wasted too
    assert (line.branches, line.kept) == (0, 0)


def test_a_branch_that_is_kept_saves_passes_and_one_that_is_not_wastes_rows(
    make: partial[Engine], known: branches.Known
) -> None:
    line, many = (branches.count(make, [TASK], known, rule) for rule in (LINE, MANY))
    assert many.tokens == line.tokens
    assert 0 < many.kept <= many.branches
    assert many.passes < line.passes


def test_costs_are_rows_and_passes_against_a_line() -> None:
    line = branches.Count(tokens=100, passes=20, wasted=50)
    found = branches.Count(tokens=100, passes=18, wasted=60, branches=10, kept=2)
    assert line.cost(20.0) == 100 + 50 + 20 * 20
    assert branches.row("words", found, line, 20.0) == "| words | 0.1800 | 0.1000 | 20 | 0.60 | 0.945x |"


def test_an_answer_that_comes_out_different_is_an_error(make: partial[Engine], known: branches.Known) -> None:
    changed = {key: answer[::-1] for key, answer in known.items()}
    with pytest.raises(ValueError, match="words 0 is answered differently"):
        branches.count(make, [TASK], changed, MANY)
