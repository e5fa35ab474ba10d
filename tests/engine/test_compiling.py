"""Compiling beside the engine: each constraint once, within a limit, and an error is its own requests' alone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from rootform.engine import compiling
from rootform.engine.api import Engine
from rootform.engine.compiling import Compilers, GrammarLimits
from rootform.engine.types import Regex, RootformError
from rootform.grammar import compile as grammar_compile
from rootform.grammar.generation_batch import GenerationBatch
from rootform.grammar.generations import Root
from rootform.grammar.vocab import Vocabulary
from rootform.grammar.work import tick

VOCABULARY = Vocabulary([bytes([byte]) for byte in range(256)] + [b""], [256], 257)
ENDLESS = "endless"


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Patterns that begin with `endless` take for ever, ticking as all work does; set once one has begun."""
    begun = threading.Event()
    compile_pattern = grammar_compile.compile_pattern

    def patched(pattern: str, **options) -> int:
        while pattern.startswith(ENDLESS):
            begun.set()
            tick()
        return compile_pattern(pattern, **options)

    monkeypatch.setattr(grammar_compile, "compile_pattern", patched)
    return begun


@pytest.fixture
def make():
    made = []

    def make_compilers(**limits) -> Compilers:
        made.append(Compilers(VOCABULARY, GrammarLimits(**limits).check()))
        return made[-1]

    yield make_compilers
    for compilers in made:
        compilers.close()


class Answer:
    """What `done` is called with, and how often."""

    def __init__(self, compilers: Compilers, pattern: str) -> None:
        self._first: Future[Root | RootformError] = Future()
        self.calls = 0
        self.compilation = compilers.compile(Regex(pattern), self._done)

    def _done(self, outcome: Root | RootformError) -> None:
        self.calls += 1
        self._first.set_result(outcome)

    def root(self) -> Root:
        outcome = self._first.result(120)
        assert isinstance(outcome, Root), outcome
        return outcome

    def error(self) -> RootformError:
        outcome = self._first.result(120)
        assert isinstance(outcome, RootformError)
        return outcome

    @property
    def has_come(self) -> bool:
        return self._first.done()


def test_too_much_work_is_refused_while_others_go_on(make, endless) -> None:
    compilers = make(compile_seconds=0.1)
    batch = GenerationBatch(compilers.generations)
    slot = batch.open(Answer(compilers, "a*b").root())
    bad = Answer(compilers, ENDLESS)
    assert endless.wait(120)
    good = Answer(compilers, "c+d")
    other = batch.open(good.root())
    while not bad.has_come:  # sequences step while it works
        assert batch.advance(np.array([slot, other]), np.array([ord("a"), ord("c")])).tolist() == [True, True]
        time.sleep(0.001)
    error = bad.error()
    assert (error.status, error.param) == (400, "constraint")
    assert "takes more than 0.1 s of work" in str(error)
    assert [bad.calls, good.calls] == [1, 1]


def test_requests_for_one_constraint_share_one_compilation(make, endless, monkeypatch) -> None:
    compilers = make(compile_seconds=30)
    first, second = Answer(compilers, ENDLESS), Answer(compilers, ENDLESS)
    assert first.compilation._work is second.compilation._work
    assert endless.wait(120)
    first.compilation.cancel()
    third = Answer(compilers, ENDLESS)
    assert third.compilation._work is second.compilation._work, "one still waits for it, so it goes on"
    monkeypatch.undo()  # a pattern begun before goes on endlessly
    second.compilation.cancel()
    third.compilation.cancel()
    again = Answer(compilers, ENDLESS)
    assert again.root().key == hash(Regex(ENDLESS))
    assert [first.calls, second.calls, third.calls] == [0, 0, 0]


def test_what_is_known_is_answered_at_once(make) -> None:
    compilers = make()
    root = Answer(compilers, "[xy]{3}").root()
    again = Answer(compilers, "[xy]{3}")
    assert again.has_come
    assert again.root() == root


def test_many_endless_ones_do_not_keep_others_out_for_ever(make, endless) -> None:
    compilers = make(compile_seconds=0.05)
    bad = [Answer(compilers, f"{ENDLESS} {n}") for n in range(6)]
    good = Answer(compilers, "ok")
    assert good.root().generation is compilers.generations.current
    assert all("more than 0.05 s" in str(each.error()) for each in bad)


def test_closing_gives_up_what_is_being_compiled(make, endless) -> None:
    compilers = make(compile_seconds=3600)
    answer = Answer(compilers, ENDLESS)
    assert endless.wait(120)
    compilers.close()
    compilers._threads.shutdown(wait=True)
    assert not answer.has_come


def test_rows_are_kept_in_the_folder_when_it_closes(make, tmp_path) -> None:
    walks = []
    for _ in range(2):
        compilers = make(cache_dir=tmp_path)
        compilers.wait_until_warm()  # which makes rows, too
        batch = GenerationBatch(compilers.generations)
        root = Answer(compilers, "[ab]{2,5}(cd)*").root()
        slots = np.array([batch.open(root)])
        for char in "abacd":
            batch.row_ids(slots)
            assert batch.advance(slots, np.array([ord(char)]))[0]
        compilers.close()
        compilers._threads.shutdown(wait=True)
        walks.append(compilers._rows.missed)
    assert len(list(tmp_path.glob("*.rows"))) == 1
    assert walks[1] == 0 < walks[0]


@pytest.mark.parametrize(("name", "value"), [("grammar_bytes", 1000), ("compile_seconds", 0), ("compile_seconds", -1)])
def test_limits_that_cannot_be_had(name: str, value: float) -> None:
    field = "max_bytes" if name == "grammar_bytes" else name
    with pytest.raises(RootformError, match=name):
        GrammarLimits(**{field: value}).check()


def test_an_engine_opens_when_the_grammar_is_warm(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    warmed = []

    def slowly(generations: object) -> None:
        time.sleep(0.3)
        warmed.append(generations)

    monkeypatch.setattr(compiling, "warm", slowly)
    with Engine(tiny_model, kv_bytes=2**24, threads=1):
        assert warmed
