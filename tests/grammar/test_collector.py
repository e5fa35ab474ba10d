"""Python's garbage collector: off while anything is compiled, as it was before afterwards."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from rootform.grammar import collector
from rootform.grammar.automaton import Automaton
from rootform.grammar.collector import KEPT, PAUSED
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.generations import Generations
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


class _Knot:
    """Garbage that only a search finds, once nothing else names it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def _nothing_kept() -> Iterator[None]:
    yield
    KEPT.end()


def _make_many() -> list[list[int]]:
    """So many objects that they are worth keeping."""
    gc.collect()
    return [[i] for i in range(30_000)]


@pytest.mark.usefixtures("_nothing_kept")
def test_what_constraints_leave_is_kept_where_that_was_said() -> None:
    KEPT.begin()
    kept, many = gc.get_freeze_count(), _make_many()
    KEPT.settle()
    assert gc.get_freeze_count() > kept + len(many) // 2
    kept = gc.get_freeze_count()
    KEPT.settle()
    assert gc.get_freeze_count() <= kept + 100, "there was hardly anything new"


def test_nothing_is_kept_where_nobody_asked_for_it() -> None:
    kept, many = gc.get_freeze_count(), _make_many()
    KEPT.doubt()
    KEPT.settle()
    assert many
    assert gc.get_freeze_count() == kept
    KEPT.end()


@pytest.mark.usefixtures("_nothing_kept")
def test_garbage_among_what_was_kept_is_found_when_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    knot = _Knot()
    gone = weakref.ref(knot)
    KEPT.begin()
    del knot
    gc.collect()
    assert gone() is not None
    KEPT.settle()
    monkeypatch.setattr(collector, "_SELDOM", 0.0)
    KEPT.settle()
    assert gone() is not None, "nobody was in doubt"
    KEPT.doubt()
    KEPT.settle()
    assert gone() is None


@pytest.mark.usefixtures("_nothing_kept")
def test_all_is_looked_at_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(collector.time, "monotonic", lambda: now[0])
    looked: list[float] = []
    monkeypatch.setattr(collector.gc, "unfreeze", lambda: looked.append(now[0]))
    KEPT.begin()
    for _ in range(130):
        now[0] += 10
        KEPT.doubt()
        KEPT.settle()
    assert looked == [1600, 2200], "ten minutes apart, the beginning included"


@pytest.mark.usefixtures("_nothing_kept")
@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ('{"items": {"const": NUMBER}, "uniqueItems": true, "contains": {"minimum": NUMBER}}', "[NUMBER"),
        ('{"type": "string", "format": "idn-email", "maxLength": NUMBER}', '"a@a'),
        ('{"type": "string", "format": "idn-hostname", "pattern": "NUMBER"}', '"a.NUMBER'),
        ('{"type": "object", "patternProperties": {"^aNUMBER": false}, "required": ["NUMBER"]}', '{"NUMBER'),
        ('{"type": "string", "format": "regex", "pattern": "NUMBER"}', '"(NUMBER'),
    ],
    ids=["unique", "names of mail", "names of hosts", "keys", "patterns"],
)
def test_generations_that_were_given_back_go_without_being_looked_for(
    toy_bytes: Vocabulary, schema: str, text: str
) -> None:
    generations = Generations(toy_bytes, max_bytes=12 << 20)
    KEPT.begin()
    automaton, number = generations.current.automaton, 100
    gone = [weakref.ref(each) for each in (automaton, automaton.exprs, automaton.walker, automaton.row_table)]
    while generations.current.automaton is automaton:
        start = generations.compile(JsonSchema(schema.replace("NUMBER", str(number)))).start
        _ask(generations.current.automaton, start, text.replace("NUMBER", str(number)).encode())
        generations.tidy()
        number += 1
    del automaton
    gc.disable()
    for _ in range(number):
        generations.tidy()
    assert [each() for each in gone] == [None] * len(gone)


def _ask(automaton: Automaton, start: int, text: bytes) -> None:
    """For the masks behind each byte of a text."""
    at = automaton.start(start)
    for byte in text:
        automaton.row_at(*at)
        after = automaton.after(*at, byte)
        assert after is not None, byte
        at = after
    automaton.row_at(*at)
