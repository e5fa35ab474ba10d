"""Paged memory: any life of sequences keeps their values and gives all room back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.geometry import LayerGeometry
from rootform.engine.memory_paged import PagedMemory

NO_PAGES = np.empty(0, dtype=np.int32)
LAYER = LayerGeometry(query_heads=2, kv_heads=1, key_dim=4, value_dim=3)


def memory_of(pages: int, page_tokens: int) -> PagedMemory:
    return PagedMemory([LAYER, LAYER], pages, page_tokens, torch.float32, "cpu")


def write(memory: PagedMemory, slot: int, n_tokens: int) -> None:
    """Give the sequence n_tokens more tokens, whose keys and values are their positions."""
    start, slots = memory[slot].n_tokens, np.array([slot])
    lengths, positions = np.array([n_tokens]), np.arange(start, start + n_tokens)
    memory.check_room(slots, np.array([start]), lengths)
    rows = memory.rows(slots, lengths, positions)
    for pool in (*memory.keys, *memory.values):
        pool[rows // memory.page_tokens, rows % memory.page_tokens] = torch.from_numpy(positions).float()[:, None, None]
    memory.wrote(slots, lengths)


def read(memory: PagedMemory, pages: np.ndarray, n_tokens: int) -> list[float]:
    return memory.values[1][pages.astype(np.int64)].flatten(0, 1)[:n_tokens, 0, 2].tolist()


@given(
    calls=st.lists(
        st.tuples(
            st.sampled_from(["open", "write", "grow", "publish", "share", "truncate", "close", "forget"]),
            st.integers(0, 99),
            st.integers(0, 99),
        ),
        max_size=60,
    ),
    size=st.sampled_from([1, 4, 16]),
)
@settings(max_examples=60, deadline=None)
def test_any_life_keeps_values_and_gives_all_room_back(calls: list[tuple[str, int, int]], size: int) -> None:
    """A toy tree of one trunk: tokens are numbered, and every sequence writes the same numbers."""
    memory = memory_of(60, size)
    trunk = NO_PAGES
    slots: list[int] = []
    locked: dict[int, int] = {}  # slot -> pages of the trunk it reads
    for verb, a, b in calls:
        slot = slots[a % len(slots)] if slots else None
        if verb == "open":
            n = b % (len(trunk) + 1)
            before = memory.free_pages
            opened = memory.open(trunk[:n], n * size, n * size + a + 1)
            assert (opened is None) == (before < -(-(a + 1) // size))
            if opened is not None:
                slots.append(opened)
                locked[opened] = n
        elif verb == "forget":
            kept = max(locked.values(), default=0)
            memory.give_back(trunk[kept:])
            trunk = trunk[:kept]
        elif slot is None:
            continue
        elif verb == "write":
            room = len(memory[slot].pages) * size - memory[slot].n_tokens
            if room:
                write(memory, slot, min(b + 1, room))
        elif verb == "grow":
            before, room = memory.free_pages, len(memory[slot].pages)
            grew = memory.grow(slot, room * size + b)
            assert grew == (before >= -(-b // size))
            assert len(memory[slot].pages) - room == before - memory.free_pages == (-(-b // size) if grew else 0)
        elif verb in ("publish", "share") and memory[slot].n_tokens // size > len(trunk):
            before = memory.free_pages
            pages = memory.share(slot, len(trunk) * size, memory[slot].n_tokens // size * size)
            assert pages is not None
            assert memory.free_pages == before  # nothing is copied
            trunk = np.concatenate([trunk, pages])
            memory.adopt(slot, trunk, len(trunk) * size)
            locked[slot] = len(trunk)
        elif verb == "publish" and (n := min(len(trunk), memory[slot].n_tokens // size)) > locked[slot]:
            memory.adopt(slot, trunk[:n], n * size)  # somebody else's pages for the same tokens
            locked[slot] = n
        elif verb == "truncate":
            memory.truncate(slot, max(locked[slot] * size, memory[slot].n_tokens - b))
        elif verb == "close":
            memory.close(slot)
            slots.remove(slot)
            del locked[slot]
        for each in slots:
            n_tokens = memory[each].n_tokens
            assert read(memory, memory[each].pages, n_tokens) == list(range(n_tokens))
        assert read(memory, trunk, len(trunk) * size) == list(range(len(trunk) * size))
        held = {int(page) for each in slots for page in memory[each].pages} | set(trunk.tolist())
        assert memory.free_pages == 60 - len(held)
    for slot in slots:
        memory.close(slot)
    memory.give_back(trunk)
    assert memory.free_pages == 60


def test_what_goes_out_comes_back_the_same() -> None:
    memory = memory_of(12, 4)
    slot = memory.open(NO_PAGES, 0, 20)
    assert slot is not None
    write(memory, slot, 18)
    bytes_out = memory.copy_out(memory[slot].pages[:3])
    assert bytes_out.shape == (3, memory.page_bytes)
    pages = memory.copy_in([bytes_out[:1], bytes_out[1:]])
    assert pages is not None
    assert set(pages.tolist()).isdisjoint(memory[slot].pages.tolist())
    assert read(memory, pages, 12) == list(range(12))
    assert memory.copy_in([np.zeros((9, memory.page_bytes), np.uint8)]) is None


def test_mistakes_are_refused_and_change_nothing() -> None:
    memory = memory_of(12, 4)
    slot = memory.open(NO_PAGES, 0, 20)
    assert slot is not None
    write(memory, slot, 10)
    shared = memory.share(slot, 0, 4)
    assert shared is not None
    state = memory.free_pages, memory[slot].n_tokens, memory[slot].pages.tolist()
    one = np.array([slot])
    for mistake in (
        lambda: memory.open(NO_PAGES, 4, 20),
        lambda: memory.open(shared, 4, 3),
        lambda: memory.share(slot, 0, 4),  # gone already
        lambda: memory.share(slot, 4, 6),
        lambda: memory.share(slot, 4, 12),
        lambda: memory.adopt(slot, np.array([11], np.int32), 4),  # another page of the tree's
        lambda: memory.adopt(slot, memory[slot].pages[:2], 8),  # the second is its own
        lambda: memory.truncate(slot, 3),
        lambda: memory.truncate(slot, 11),
        lambda: memory.close(slot + 1),
        lambda: memory.check_room(one, np.array([9]), np.array([1])),
        lambda: memory.check_room(one, np.array([10]), np.array([11])),
        lambda: memory.check_room(np.array([slot, slot]), np.array([10, 10]), np.array([1, 1])),
        lambda: memory_of(4, 0),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            mistake()
    assert (memory.free_pages, memory[slot].n_tokens, memory[slot].pages.tolist()) == state
