"""Python's garbage collector: off while anything is compiled, as it was before afterwards."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from rootform.grammar import collector
from rootform.grammar.automaton import Automaton
from rootform.grammar.collector import PAUSED
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.vocab import Vocabulary


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.enable()
    yield
    (gc.enable if was_on else gc.disable)()


def test_off_inside_and_on_again_behind() -> None:
    with PAUSED:
        assert not gc.isenabled()
        with PAUSED:
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_stays_off_where_it_was_off() -> None:
    gc.disable()
    with PAUSED:
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_on_again_only_when_the_last_thread_is_done() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def compile_slowly() -> None:
        with PAUSED:
            entered.set()
            assert go_on.wait(10)

    thread = threading.Thread(target=compile_slowly)
    with PAUSED:
        thread.start()
        assert entered.wait(10)
    assert not gc.isenabled()
    go_on.set()
    thread.join(10)
    assert gc.isenabled()


def test_threads_that_always_compile_do_not_put_it_off_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Circle:
        def __init__(self, gone: list[int]) -> None:
            self.me, self.gone = self, gone

        def __del__(self) -> None:
            self.gone.append(1)

    monkeypatch.setattr(collector, "_MOST", 1000)
    gone: list[int] = []
    with PAUSED:
        for _ in range(2000):
            Circle(gone)
        assert not gone
        with PAUSED:
            pass
        assert len(gone) == 2000


def test_on_again_after_an_error() -> None:
    automaton = Automaton(Vocabulary([bytes([byte]) for byte in range(256)], (256,), 257))
    with pytest.raises(GrammarError):
        automaton.compile(JsonSchema('{"type": 1}'))
    assert gc.isenabled()
    automaton.compile(JsonSchema('{"type": "null"}'))
    assert gc.isenabled()
