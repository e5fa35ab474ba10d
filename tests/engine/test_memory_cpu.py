"""Rooms, pages and their accounting; and that what a sequence reads is what was written for it."""

from __future__ import annotations

import mmap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.attention import StepAttention
from rootform.engine.cascade import Kind, compose, groups_of, plan_step
from rootform.engine.crossover import TYPICAL, Costs
from rootform.engine.geometry import LayerGeometry, kv_tokens, token_bytes
from rootform.engine.memory_cpu import CpuMemory
from rootform.engine.slabs import Slabs, size_class
from rootform.radix.pages import PageAllocator

LAYER = LayerGeometry(query_heads=2, kv_heads=1, key_dim=4, value_dim=4)
NO_PAGES = np.empty(0, dtype=np.int32)
COSTS = [TYPICAL, Costs(1.0, 0.0, 0.0, 0.0), Costs(0.0, 1.0, 1.0, 1.0)]  # as measured; all together; each by itself


def memory_of(total_tokens: int) -> CpuMemory:
    return CpuMemory([LAYER, LAYER], total_tokens, torch.float32)


def write(memory: CpuMemory, slot: int, n_tokens: int, stamp: float) -> None:
    """Give the sequence n_tokens more tokens, whose keys and values are stamp + position."""
    state = memory[slot]
    start = state.n_tokens
    memory.check_room(np.array([slot]), np.array([start]), np.array([n_tokens]))
    rows = torch.from_numpy(state.slab.rows[start - state.base : start - state.base + n_tokens])
    stamps = (stamp + torch.arange(start, start + n_tokens, dtype=torch.float32))[:, None]
    for pool in (*memory.keys, *memory.values):
        pool[:, rows] = stamps
    memory.wrote(np.array([slot]), np.array([n_tokens]))


def from_pages(memory: CpuMemory, slot: int) -> list[float]:
    """The stamps of the sequence's first n_known tokens, as the tree's pages hold them (the last layer's values)."""
    rows = [row + at for row, n in memory[slot].extents for at in range(n)]
    return memory.values[1][0, rows, 0].tolist()


def from_slab(memory: CpuMemory, slot: int) -> list[float]:
    state = memory[slot]
    return memory.keys[0][0, state.slab.rows[: state.n_tokens - state.base], 3].tolist()


def numbers(start: int, stop: int) -> list[float]:
    return [float(n) for n in range(start, stop)]


# -- accounting -----------------------------------------------------------------------------------------------


@st.composite
def life(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    verbs = st.sampled_from(["open", "write", "share", "adopt", "truncate", "close", "forget"])
    return draw(st.lists(st.tuples(verbs, st.integers(0, 99), st.integers(0, 99)), max_size=60))


@given(calls=life(), total=st.sampled_from([40, 300, 4000]))
@settings(max_examples=60, deadline=None)
def test_any_life_keeps_values_and_gives_all_room_back(calls: list[tuple[str, int, int]], total: int) -> None:
    """A toy tree of one trunk: tokens are numbered, and every sequence writes the same stamps at the same positions."""
    memory = memory_of(total)
    slots: list[int] = []
    trunk = NO_PAGES  # the pages of the first len(trunk) tokens
    readers: dict[int, int] = {}  # slot -> tokens it reads from the trunk
    for verb, a, b in calls:
        slot = slots[a % len(slots)] if slots else None
        if verb == "open":
            n_cached = b % (len(trunk) + 1)
            needed, free = a + 1, memory.free_pages
            opened = memory.open(trunk[:n_cached], n_cached, n_cached + needed)
            if opened is None:
                assert free < needed
                assert memory.free_pages == free
            else:
                slots.append(opened)
                readers[opened] = n_cached
        elif verb == "forget" and len(trunk):
            kept = max(readers.values(), default=0)
            memory.give_back(trunk[kept:])
            trunk = trunk[:kept]
        elif slot is None:
            continue
        elif verb == "write":
            room = memory[slot].capacity - memory[slot].n_tokens
            if room:
                write(memory, slot, min(b + 1, room), 0.0)
        elif verb == "share" and memory[slot].n_tokens > len(trunk) >= memory[slot].base:
            pages = memory.share(slot, len(trunk), memory[slot].n_tokens)
            if pages is not None:
                trunk = np.concatenate([trunk, pages])
        elif verb == "adopt" and memory[slot].base <= (n := min(len(trunk), memory[slot].n_tokens)):
            memory.adopt(slot, trunk[:n], n)
            readers[slot] = n
        elif verb == "truncate":
            memory.truncate(slot, max(memory[slot].base, memory[slot].n_tokens - b))
            readers[slot] = min(readers[slot], memory[slot].n_known)
        elif verb == "close":
            memory.close(slot)
            slots.remove(slot)
            del readers[slot]
        for each in slots:
            assert from_pages(memory, each) == numbers(0, memory[each].n_known)
            assert from_slab(memory, each) == numbers(memory[each].base, memory[each].n_tokens)
    for slot in slots:
        memory.close(slot)
    memory.give_back(trunk)
    assert memory.free_pages == total


def test_open_refuses_only_for_want_of_rows_even_when_none_are_neighbours() -> None:
    memory = memory_of(64)
    first = memory.open(NO_PAGES, 0, 32)
    assert first is not None
    write(memory, first, 32, 0.0)
    pages = memory.share(first, 0, 32)
    assert pages is not None
    memory.close(first)
    memory.give_back(pages[::2])
    assert memory.free_pages == 48
    assert memory.open(NO_PAGES, 0, 49) is None
    slot = memory.open(NO_PAGES, 0, 48)
    assert slot is not None
    assert memory[slot].slab.arena is None
    assert memory.free_pages == 0
    write(memory, slot, 48, 100.0)
    assert from_slab(memory, slot) == numbers(100, 148)
    assert memory.values[0][0, pages[1::2], 0].tolist() == numbers(0, 32)[1::2]


def test_a_short_last_run_of_the_prefix_is_copied_and_a_long_one_is_not() -> None:
    memory = memory_of(1000)
    writer = memory.open(NO_PAGES, 0, 200)
    assert writer is not None
    write(memory, writer, 150, 0.0)
    trunk = memory.share(writer, 0, 100)
    gap = memory.share(writer, 0, 1)
    twig = memory.share(writer, 100, 120)
    assert trunk is not None
    assert gap is not None
    assert twig is not None
    reader = memory.open(np.concatenate([trunk, twig]), 120, 200)
    assert reader is not None
    assert memory[reader].base == 100
    assert from_slab(memory, reader) == numbers(100, 120)
    assert memory.open(trunk, 100, 200) is not None
    assert memory[memory.open(trunk, 100, 200) or 0].base == 100


def test_mistakes_are_refused_and_change_nothing() -> None:
    memory = memory_of(100)
    slot = memory.open(NO_PAGES, 0, 20)
    assert slot is not None
    write(memory, slot, 10, 0.0)
    free, version = memory.free_pages, memory.version
    for mistake in (
        lambda: memory.open(NO_PAGES, 3, 20),
        lambda: memory.open(np.arange(3, dtype=np.int32), 3, 2),
        lambda: memory.share(slot, 5, 11),
        lambda: memory.share(slot, 6, 5),
        lambda: memory.adopt(slot, np.arange(11, dtype=np.int32), 11),
        lambda: memory.truncate(slot, 11),
        lambda: memory.close(slot + 1),
        lambda: memory.give_back(np.array([99], dtype=np.int32)),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            mistake()
    assert (memory.free_pages, memory.version, memory[slot].n_tokens) == (free, version, 10)
    memory.close(slot)
    with pytest.raises(ValueError, match="slot 0 is not open"):
        memory.close(slot)


@given(st.integers(0, 10_000))
def test_size_classes_hold_what_they_are_for_and_little_more(n_tokens: int) -> None:
    size = size_class(n_tokens)
    assert n_tokens <= size <= max(16, n_tokens * 3 / 2)
    assert size % 8 == 0


def test_slabs_of_a_class_stand_side_by_side_and_use_the_gaps_of_larger_ones() -> None:
    allocator = PageAllocator(8 * 128 * 4)
    slabs = Slabs(allocator)
    same = [slabs.take(100) for _ in range(4)]
    firsts = [int(slab.rows[0]) for slab in same if slab is not None]
    assert np.diff(firsts).tolist() == [128, 128, 128]
    rest = allocator.take(allocator.free)
    assert rest is not None
    assert slabs.take(100) is None
    slabs.give(same[1])  # type: ignore[arg-type]
    small = slabs.take(20)
    assert small is not None
    assert int(small.rows[0]) == firsts[1]
    for slab in (same[0], small, *same[2:]):
        slabs.give(slab)  # type: ignore[arg-type]
    allocator.give(rest)
    assert allocator.free == allocator.total


# -- what attention reads -------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), window=st.sampled_from([None, 3, 40]), groups=st.sampled_from([1, 3]))
@settings(max_examples=15, deadline=None)
def test_attention_equals_attending_each_sequence_by_itself(seed: int, window: int | None, groups: int) -> None:
    """Sequences that share pages in many ways, in one step of mixed widths, against a softmax over written-out keys."""
    random = np.random.default_rng(seed)
    geometry = LayerGeometry(query_heads=2 * groups, kv_heads=2, key_dim=8, value_dim=8, window=window)
    memory = CpuMemory([geometry], 4000, torch.float32)
    torch.manual_seed(int(random.integers(1000)))
    memory.keys[0].normal_()
    memory.values[0].normal_()
    trunk = np.arange(2000, 2000 + int(random.integers(1, 200)))
    slots, histories = [], []
    for _ in range(int(random.integers(1, 9))):
        known = trunk[: int(random.integers(0, len(trunk) + 1))]
        twig = random.permutation(np.arange(3000, 4000))[: int(random.choice([0, 0, 5, 50]))]
        pages = np.concatenate([known, twig]).astype(np.int32)
        slot = memory.open(pages, len(pages), len(pages) + 80)
        assert slot is not None
        past = int(random.choice([0, 0, 1, 20, 40]))
        memory.wrote(np.array([slot]), np.array([past]))
        state = memory[slot]
        rows = np.concatenate([pages, state.slab.rows[len(pages) - state.base :][:past]])
        if past and random.random() < 0.5:  # as if shared: the same values in pages elsewhere
            copies = memory.share(slot, len(pages), len(pages) + past)
            assert copies is not None
            memory.adopt(slot, np.concatenate([pages, copies]), len(pages) + past)
        slots.append(slot)
        histories.append(rows)
    lengths = random.choice([1, 1, 1, 3, 12, 30], len(slots))
    starts = np.array([len(rows) for rows in histories])
    positions = np.concatenate([np.arange(a, a + n) for a, n in zip(starts, lengths, strict=True)])
    kind = Kind(window, groups)
    plan = plan_step(compose([memory[slot] for slot in slots], lengths, COSTS[random.integers(3)]), positions, [window])
    total = int(lengths.sum())
    query, key, value = torch.randn(1, 2 * groups, total, 8), torch.randn(1, 2, total, 8), torch.randn(1, 2, total, 8)
    sinks = torch.randn(2 * groups)
    out = StepAttention(memory, plan, [kind])(
        0, query, key, value, attention_mask=None, scaling=0.4, sliding_window=window, softcap=None, sinks=sinks
    )
    at = 0
    for rows, length in zip(histories, lengths.tolist(), strict=True):
        new = slice(at, at + length)
        keys = torch.cat([memory.keys[0][:, rows], key[0, :, new]], 1).repeat_interleave(groups, 0)
        values = torch.cat([memory.values[0][:, rows], value[0, :, new]], 1).repeat_interleave(groups, 0)
        scores = query[0, :, new] @ keys.transpose(1, 2) * 0.4
        distance = torch.arange(len(rows), len(rows) + length)[:, None] - torch.arange(keys.shape[1])
        scores[:, (distance < 0) | (distance >= (window or 10**6))] = -torch.inf
        with_sinks = torch.cat([scores, sinks[:, None, None].expand(-1, length, 1)], -1)
        wanted = torch.softmax(with_sinks, -1)[..., :-1] @ values
        torch.testing.assert_close(out[0, new].transpose(0, 1), wanted, rtol=1e-4, atol=1e-5)
        at += length


def test_a_prefix_many_read_is_read_once() -> None:
    memory = memory_of(2000)
    writer = memory.open(NO_PAGES, 0, 300)
    assert writer is not None
    write(memory, writer, 250, 0.0)
    pages = memory.share(writer, 0, 250)
    assert pages is not None
    memory.adopt(writer, pages, 250)
    slots = [writer, *(memory.open(pages, 250, 300) for _ in range(7))]
    composition = compose([memory[slot] for slot in slots if slot is not None], np.ones(8, dtype=np.int64))
    (prefix,) = composition.products
    assert prefix.rows == slice(int(pages[0]), int(pages[0]) + 250)
    assert prefix.tokens is None  # all of the step
    assert composition.near is not None
    assert composition.near.segments[:, 0].tolist() == [250] * 8
    alone = compose([memory[writer]], np.ones(1, dtype=np.int64))
    assert alone.products == []  # by itself, the writer reads its own slab
    assert alone.near is not None
    row = int(memory[writer].slab.rows[0])
    assert alone.near.segments.tolist() == [[0, len(memory[writer].slab.rows), row]]


def test_composing_takes_no_more_memory_for_longer_texts() -> None:
    def most_bytes(n: int) -> int:
        memory = memory_of(4 * n)
        shared = np.arange(3 * n, 4 * n, dtype=np.int32)
        slots = [memory[slot] for slot in (memory.open(shared, n, n + 8) for _ in range(4)) if slot is not None]
        groups, lengths = groups_of(slots), np.ones(4, dtype=np.int64)
        tracemalloc.start()
        composition = compose(slots, lengths, COSTS[1], groups)
        plan = plan_step(composition, np.full(4, n), [None, 100])
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [sight.low.tolist() for _, sight in plan.products[0].sights[100]] == [[n - 99] * 4]
        return most

    assert most_bytes(40_000) <= most_bytes(400) + 4096  # a tenth of a byte for each token


def test_each_level_of_the_tree_is_read_together_where_that_pays() -> None:
    """Eight sequences: all share 200 tokens, each half 100 more, each pair 4 more."""
    memory = memory_of(4000)

    def pages(n: int) -> np.ndarray:
        writer = memory.open(NO_PAGES, 0, n)
        assert writer is not None
        write(memory, writer, n, 0.0)
        shared = memory.share(writer, 0, n)
        assert shared is not None
        memory.close(writer)
        return shared

    trunk, halves, pairs = pages(200), [pages(100) for _ in range(2)], [pages(40) for _ in range(4)]
    slots = []
    for n in range(8):
        known = np.concatenate([trunk, halves[n // 4], pairs[n // 2]])
        slot = memory.open(known, len(known), 400)
        assert slot is not None
        slots.append(memory[slot])

    def read_together(costs: Costs) -> list[tuple[int, int]]:
        composition = compose(slots, np.ones(8, dtype=np.int64), costs)
        return sorted((len(part.numbers), int(part.runs[:, 1].sum())) for part in composition.products)

    free = Costs(near=1.0, call=0.0, key=0.0, pair=0.0)
    assert read_together(free) == [(2, 40)] * 4 + [(4, 100)] * 2 + [(8, 200)]
    assert read_together(free._replace(call=2 * 40)) == [(4, 100)] * 2 + [(8, 200)]
    assert read_together(free._replace(call=4 * 100)) == [(8, 200)]
    assert read_together(free._replace(pair=1.0)) == []


# -- how much memory ------------------------------------------------------------------------------------------


def test_the_budget_counts_keys_and_values_of_all_layers() -> None:
    wide = LayerGeometry(query_heads=8, kv_heads=2, key_dim=24, value_dim=16)
    assert token_bytes([LAYER, wide], item_bytes=4) == 4 * (8 + 80)
    assert kv_tokens(352, context_tokens=100, kv_bytes=352 * 7 + 3) == 7
    assert 0 < kv_tokens(352, context_tokens=100, kv_bytes=None) <= 6400


def test_the_pool_takes_memory_as_it_is_written_a_small_page_at_a_time() -> None:
    """Large pages would be cleared whole, for each head of each layer, by the first token that is written there."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not tell what memory is resident")

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

    layer = LayerGeometry(query_heads=16, kv_heads=16, key_dim=64, value_dim=64)
    memory = CpuMemory([layer] * 2, 40_000, torch.float32)
    before = resident()
    for pool in (*memory.keys, *memory.values):
        pool[:, 20_000] = 1.0
    assert resident() - before < 16 * 4 * (1 << 20) / 4
