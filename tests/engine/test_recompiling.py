"""Constraints in use before a start are compiled again before they come, after all that is asked for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from rootform.engine import compiling, recompiling
from rootform.engine.api import Engine
from rootform.engine.compiling import Compilers, GrammarLimits
from rootform.engine.types import Choice, Constraint, Regex, RootformError
from rootform.grammar import compile as grammar_compile
from rootform.grammar.generations import Root
from rootform.grammar.kept_constraints import KeptConstraints
from rootform.grammar.kept_rows import fingerprint
from rootform.grammar.vocab import Vocabulary
from rootform.grammar.work import tick

VOCABULARY = Vocabulary([bytes([byte]) for byte in range(256)] + [b""], [256], 257)
SLOW = "slow"


class Gate:
    """Patterns that begin with `slow` are compiled only while it is open; counts how often one was begun."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = 0


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    compile_pattern = grammar_compile.compile_pattern

    def patched(pattern: str, **options) -> int:
        gate.begun += pattern.startswith(SLOW)
        while pattern.startswith(SLOW) and not gate.open.is_set():
            tick()
        return compile_pattern(pattern, **options)

    monkeypatch.setattr(grammar_compile, "compile_pattern", patched)
    return gate


class Starts:
    """Compilers of one folder, one start after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[Compilers] = []

    def were_in_use(self, *constraints: Constraint) -> None:
        """The first was used most."""
        kept = KeptConstraints(self.folder, fingerprint(VOCABULARY))
        for uses, constraint in enumerate(reversed(constraints), 1):
            for _ in range(uses):
                kept.note(constraint)
        kept.save()

    def kept(self) -> list[Constraint]:
        return KeptConstraints(self.folder, fingerprint(VOCABULARY)).by_use()

    def start(self, *, is_busy: Callable[[], bool] = lambda: False, **limits) -> Compilers:
        compilers = Compilers(VOCABULARY, GrammarLimits(cache_dir=self.folder, **limits).check())
        self.made.append(compilers)
        compilers.recompile(is_busy)
        return compilers


@pytest.fixture
def starts(tmp_path: Path) -> Iterator[Starts]:
    starts = Starts(tmp_path)
    yield starts
    for compilers in starts.made:
        compilers.close()
        compilers._threads.shutdown(wait=True)


def ask(compilers: Compilers, constraint: Constraint) -> Future[Root | RootformError]:
    answer: Future[Root | RootformError] = Future()
    compilers.compile(constraint, answer.set_result)
    return answer


def wait_for(is_so: Callable[[], bool]) -> None:
    for _ in range(60_000):
        if is_so():
            return
        time.sleep(0.002)
    raise AssertionError("it did not come to that in two minutes")


def test_what_was_in_use_is_known_before_it_is_asked_for(starts: Starts) -> None:
    first = starts.start()
    for constraint in (Regex("a+b"), Choice(("x", "y"))):
        assert isinstance(ask(first, constraint).result(120), Root)
    assert isinstance(ask(first, Regex("(")).result(120), RootformError)
    first.close()
    second = starts.start()
    wait_for(lambda: second.recompiled == 2)
    for constraint in (Regex("a+b"), Choice(("x", "y"))):
        assert second.generations.known(constraint) is not None
    assert ask(second, Regex("a+b")).done(), "no worker is needed for it"
    second.close()
    assert starts.kept() == [Regex("a+b"), Choice(("x", "y"))], "now used twice; what failed was never kept"


def test_a_request_goes_first_and_what_gave_way_is_done_later(starts: Starts, gate: Gate) -> None:
    starts.were_in_use(Regex(SLOW), Regex("a"))
    compilers = starts.start(compile_seconds=3600)
    wait_for(lambda: gate.begun == 1)
    other = ask(compilers, Regex(SLOW + "er"))  # is being compiled, and what was in use stands still
    wait_for(lambda: set(compilers._works) == {Regex(SLOW + "er")})
    assert isinstance(ask(compilers, Regex("b")).result(120), Root)
    assert compilers.recompiled == 0
    assert compilers.generations.known(Regex("a")) is None
    gate.open.set()
    assert isinstance(other.result(120), Root)
    wait_for(lambda: compilers.recompiled == 2)
    assert gate.begun == 3, "the one that gave way was begun again"
    assert set(starts.kept()) == {Regex(SLOW), Regex("a")}


def test_a_request_for_what_is_being_compiled_again_shares_it(starts: Starts, gate: Gate) -> None:
    starts.were_in_use(Regex(SLOW))
    compilers = starts.start(compile_seconds=3600)
    wait_for(lambda: gate.begun == 1)
    same = [ask(compilers, Regex(SLOW)) for _ in range(2)]
    other = ask(compilers, Regex("b"))
    assert isinstance(other.result(120), Root)
    gate.open.set()
    roots = [each.result(120) for each in same]
    assert roots[0] == roots[1] == compilers.generations.known(Regex(SLOW))
    assert gate.begun == 1, "a request waits for it, so it gave way to no other"


def test_what_cannot_be_compiled_any_more_is_dropped_and_said(starts: Starts, gate: Gate, caplog) -> None:
    starts.were_in_use(Regex(SLOW), Regex("("), Regex("a"))
    with caplog.at_level(logging.INFO):
        compilers = starts.start(compile_seconds=0.05)
        wait_for(lambda: compilers.recompiled == 1)
        wait_for(lambda: "1 of 3 constraints in use before" in caplog.text)
    compilers.close()
    dropped = [each.getMessage() for each in caplog.records if "not kept any more" in each.getMessage()]
    assert len(dropped) == 2
    assert "takes more than 0.05 s of work" in dropped[0]
    assert '{"type":"regex","pattern":"slow"' in dropped[0]
    assert '"pattern":"("' in dropped[1]
    assert starts.kept() == [Regex("a")]


def test_it_ends_where_memory_or_time_do_and_forgets_nothing(starts: Starts, caplog, monkeypatch) -> None:
    monkeypatch.setattr("rootform.engine.compiling.LEAST_BYTES", 0)
    in_use = [Regex(f"a{{{n}}}b*") for n in range(1, 5)]
    starts.were_in_use(*in_use)
    with caplog.at_level(logging.INFO):
        compilers = starts.start(max_bytes=8 << 20)  # a warm automaton takes more than a quarter
        wait_for(lambda: "4 constraints in use before are compiled when they come: memory" in caplog.text)
        compilers.close()
        monkeypatch.setattr(recompiling, "MOST_SECONDS", -1.0)
        compilers = starts.start()
        wait_for(lambda: "4 constraints in use before are compiled when they come: it took" in caplog.text)
        compilers.close()
    assert starts.kept() == in_use


def test_while_requests_run_it_rests_after_each(starts: Starts, monkeypatch) -> None:
    monkeypatch.setattr(recompiling, "_REST", 1e9)
    busy = [False, False, True]
    starts.were_in_use(*[Regex(f"a{n}") for n in range(5)])
    compilers = starts.start(is_busy=lambda: busy.pop(0))
    wait_for(lambda: not busy)
    assert compilers.recompiled == 3
    compilers.close()
    assert compilers.recompiled == 3


def test_closing_ends_it_at_once(starts: Starts, gate: Gate) -> None:
    starts.were_in_use(Regex(SLOW))
    compilers = starts.start(compile_seconds=3600)
    wait_for(lambda: gate.begun == 1)
    compilers.close()
    assert compilers.recompiler is not None
    assert not compilers.recompiler._thread.is_alive()
    assert starts.kept() == [Regex(SLOW)], "it is not dropped for that"


def test_nothing_is_dropped_where_the_grammar_cannot_be_warmed(starts: Starts, monkeypatch) -> None:
    def fail(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(compiling, "warm", fail)
    starts.were_in_use(Regex("a"))
    compilers = starts.start()
    with pytest.raises(MemoryError):
        compilers.wait_until_warm()
    compilers.close()
    assert (compilers.recompiled, starts.kept()) == (0, [Regex("a")])


def test_what_is_in_use_is_written_now_and_then(starts: Starts, monkeypatch) -> None:
    monkeypatch.setattr(recompiling, "SAVE_SECONDS", 0.01)
    compilers = starts.start()
    ask(compilers, Regex("a+")).result(120)
    wait_for(lambda: starts.kept() == [Regex("a+")])
    wait_for(lambda: len(list(starts.folder.glob("*.rows"))) == 1)


def test_what_the_first_requests_bring_is_not_of_those_before(tmp_path: Path) -> None:
    kept, again = KeptConstraints(tmp_path, fingerprint(VOCABULARY)), []
    recompiler = recompiling.Recompiler(kept, lambda each: bool(again.append(each)) or True, lambda: False, kept.save)
    kept.note(Regex("a"))
    recompiler.start(lambda: False)
    recompiler.wait_until_compiled()
    recompiler.close()
    assert (again, recompiler.compiled) == ([], 0)


def test_an_engine_begins_with_what_was_in_use(tiny_model: Path, tmp_path: Path) -> None:
    def run(engine: Engine) -> str:
        return engine.generate("x", regex="(yes|no)!{2}", max_tokens=20).text

    with Engine(tiny_model, kv_bytes=2**24, threads=1, cache_dir=tmp_path) as engine:
        text = run(engine)
        assert engine.stats().grammar_recompiled == 0
    with Engine(tiny_model, kv_bytes=2**24, threads=1, cache_dir=tmp_path) as engine:
        wait_for(lambda: engine.stats().grammar_recompiled == 1)
        assert run(engine) == text
