"""Memory for small objects is asked for ahead of need, as much as was used and no more."""

from __future__ import annotations

import sys

import pytest

from rootform.grammar import spare_memory
from rootform.grammar.expr import Exprs

MIB = 1 << 20
A_STEP = MIB // spare_memory._BLOCK_BYTES


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Its only member is how many objects Python is to say that there are."""
    said = [1000]
    monkeypatch.setattr(sys, "getallocatedblocks", lambda: said[0])
    return said


def kept(spare: spare_memory._Spare) -> int:
    """Pieces of memory in which an object lives on."""
    return len(spare._kept)


def test_nothing_is_taken_before_it_began(blocks: list[int]) -> None:
    spare = spare_memory._Spare()
    blocks[0] += 100 * A_STEP
    spare.refill()
    assert kept(spare) == 0


def test_it_begins_once(blocks: list[int]) -> None:
    spare = spare_memory._Spare()
    spare.begin()
    before = kept(spare)
    assert before == spare_memory._AT_FIRST * MIB // spare_memory._ARENA_BYTES
    spare.begin()
    spare.refill()
    assert kept(spare) == before


def test_what_was_used_is_taken_again_and_no_more(blocks: list[int]) -> None:
    spare = spare_memory._Spare()
    spare.begin()
    before = kept(spare)
    blocks[0] += 5 * A_STEP
    for _ in range(20):
        spare.refill()
    assert 4 <= (kept(spare) - before) * spare_memory._ARENA_BYTES / MIB <= 5


def test_what_was_given_back_is_not_taken_again(blocks: list[int]) -> None:
    """Memory that was asked for once stays, so a second load that is no larger than the first asks for none."""
    spare = spare_memory._Spare()
    spare.begin()
    for _ in range(3):
        blocks[0] = 1000 + 5 * A_STEP
        for _ in range(20):
            spare.refill()
        blocks[0] = 1000
        spare.refill()
    assert kept(spare) <= (spare_memory._AT_FIRST + 5) * MIB // spare_memory._ARENA_BYTES


def test_objects_come_from_memory_that_stays() -> None:
    """As many MiB as are said: of objects of the size that Python keeps together, each so large that few fit in one."""
    spare = spare_memory._Spare()
    spare._take(1)
    assert {sys.getsizeof(each) for each in spare._kept} == {spare_memory._OBJECT_BYTES}


def test_touching_a_pool_changes_nothing() -> None:
    exprs = Exprs()
    word = exprs.concat(exprs.literal(b"ab"), exprs.repeat(exprs.literal(b"c"), 0, 3))
    before = exprs._store.words.copy()
    exprs.touch(1 << 12)
    assert (exprs._store.words == before).all()
    assert exprs.concat(exprs.literal(b"ab"), exprs.repeat(exprs.literal(b"c"), 0, 3)) == word
