"""Memory that is asked for before it is needed: it is there then, and nothing that was written is lost."""

from __future__ import annotations

import mmap
import resource
import sys

import numpy as np
import pytest

from rootform.grammar import ahead
from rootform.grammar.ahead import populate
from rootform.grammar.automaton import Automaton
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.generations import Generations
from rootform.grammar.vocab import Vocabulary

PAGE = resource.getpagesize()


def is_given() -> bool:
    """Whether this system knows the call."""
    page = np.zeros(2 * PAGE, np.uint8)
    begin = page.ctypes.data + -page.ctypes.data % PAGE
    return ahead._madvise is not None and ahead._madvise(begin, PAGE, ahead._POPULATE_WRITE) == 0


needs_the_call = pytest.mark.skipif(not is_given(), reason="this system gives memory at the first write only")


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def fresh(n_pages: int) -> np.ndarray:
    """Pages that nobody has written to: (pages, page bytes). Too few for large pages, and not out of used memory."""
    return np.frombuffer(mmap.mmap(-1, n_pages * PAGE), np.uint8).reshape(n_pages, PAGE)


@needs_the_call
def test_what_is_populated_is_given_at_once() -> None:
    array = fresh(512)
    populate(array, 0, 512)
    before = faults()
    array[8:500, 0] = 1
    populated = faults() - before
    other = fresh(512)
    before = faults()
    other[8:500, 0] = 1
    assert faults() - before > 300 > 30 > populated


def test_what_rows_hold_stays() -> None:
    array = fresh(64)
    array[:, 7] = np.arange(64)
    populate(array, 0, 64)
    populate(array, 60, 1000)  # more than there are
    populate(array, 64, 1)
    populate(array, 0, 0)
    assert (array[:, 7] == np.arange(64)).all()
    assert array.sum() == np.arange(64).sum()


@pytest.mark.parametrize("shape", [(1,), (3, 1), (1000, 7), (5000,)])
def test_arrays_of_any_size(shape: tuple[int, ...]) -> None:
    array = np.full(shape, 3, np.int32)
    populate(array, 0, len(array))
    populate(array, len(array) // 2, len(array))
    assert (array == 3).all()


def test_systems_without_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert ahead._find_madvise() is None
    monkeypatch.setattr(ahead, "_madvise", None)
    array = np.ones(3 * PAGE, np.uint8)
    populate(array, 0, len(array))
    assert array.all()


def vocabulary() -> Vocabulary:
    return Vocabulary([bytes([byte]) for byte in range(256)] + [b"ab", b'"a"'], [258], 259)


SCHEMA = JsonSchema('{"type": "object", "properties": {"a": {"enum": ["ab", "b"]}}, "required": ["a"]}')


def test_an_automaton_answers_the_same_with_memory_at_hand() -> None:
    """Populated between all steps, in the middle of what it holds."""
    rows = []
    for n_bytes in (0, 1 << 20):
        generations = Generations(vocabulary())
        root = generations.compile(SCHEMA)
        automaton = root.generation.automaton
        at = automaton.start(root.start)
        met = []
        for byte in b'{"a":"ab"}':
            automaton.touch(n_bytes)
            row = automaton.row_at(*at)
            met.append(automaton.rows[row].tolist())
            after = automaton.after(*at, byte)
            assert after is not None
            at = after
        rows.append(met)
    assert rows[0] == rows[1]


def test_tidying_has_memory_at_hand_for_the_current_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Automaton, int]] = []
    monkeypatch.setattr(Automaton, "touch", lambda self, n_bytes: asked.append((self, n_bytes)))
    generations = Generations(vocabulary(), max_bytes=64 << 20)
    generations.compile(SCHEMA)
    for _ in range(9):
        generations.tidy()
    assert {automaton for automaton, _ in asked} == {generations.current.automaton}
    assert [n_bytes >> 20 for _, n_bytes in asked] == [*range(1, 9), 8], "bit by bit, up to a quarter of its share"
