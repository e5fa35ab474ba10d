"""What a planner remembers from step to step is what one that remembers nothing finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.geometry import LayerGeometry
from rootform.engine.memory_paged import PagedMemory
from rootform.engine.paged_plan import Room
from rootform.engine.paged_step import MOST_TREE_TOKENS, HostArrays, Planner
from rootform.engine.ports import ForwardBatch

PAGE = 16
LAYER = LayerGeometry(query_heads=4, kv_heads=2, key_dim=2, value_dim=2)
ROOMS = [None, Room(64, 64, 64, 999, 999), Room(64, 1, 8, 999, 999)]
NO_PAGES = np.empty(0, dtype=np.int32)


class Life:
    """Sequences that all begin with the same text, a tree of it, and a planner that has seen every step so far."""

    def __init__(self) -> None:
        self.memory = PagedMemory([LAYER], 400, PAGE, torch.float32, "cpu")
        self.planner = Planner(self.memory)
        self.trunk = NO_PAGES  # the tree's
        self.slots: list[int] = []
        self.rooms: dict[int, int] = {}

    def open(self, n_pages: int, room: int) -> None:
        n = min(n_pages, len(self.trunk))
        slot = self.memory.open(self.trunk[:n], n * PAGE, n * PAGE + room)
        assert slot is not None
        self.slots.append(slot)
        self.rooms[slot] = n * PAGE + room

    def publish(self, slot: int) -> None:
        """Its whole pages go to the tree, as far as it has not got them; and it reads the tree's from now on."""
        whole = self.memory[slot].n_tokens // PAGE
        if whole > len(self.trunk) and self.memory[slot].is_own[len(self.trunk) : whole].all():
            pages = self.memory.share(slot, len(self.trunk) * PAGE, whole * PAGE)
            assert pages is not None
            self.trunk = np.concatenate([self.trunk, pages])
        n = min(whole, len(self.trunk))
        held = int((~self.memory[slot].is_own).sum())
        if n >= held:
            self.memory.adopt(slot, self.trunk[:n], n * PAGE)

    def step(self, slots: list[int], lengths: list[int], room: Room | None) -> tuple[HostArrays, HostArrays]:
        """A step as this planner has it, and a new one."""
        starts = np.array([self.memory[slot].n_tokens for slot in slots], dtype=np.int32)
        n = np.array(lengths, dtype=np.int32)
        batch = ForwardBatch(
            token_ids=np.zeros(n.sum(), dtype=np.int64),
            positions=np.concatenate([np.arange(a, a + b) for a, b in zip(starts, n, strict=True)]),
            slots=np.array(slots, dtype=np.int32),
            starts=starts,
            lengths=n,
            logit_rows=np.cumsum(n) - 1,
        )
        self.memory.check_room(batch.slots, batch.starts, batch.lengths)
        made = self.planner.plan(batch, room=room), Planner(self.memory).plan(batch, room=room)
        self.memory.wrote(batch.slots, batch.lengths)
        return made


def assert_same(one: HostArrays, other: HostArrays) -> None:
    assert np.array_equal(one.rows, other.rows)
    assert (one.composition is None) == (other.composition is None)
    if one.composition is None or other.composition is None:
        return
    for name in ("units", "n_wide", "pages", "readers", "starts", "stops", "order", "stretch"):
        assert np.array_equal(getattr(one.composition, name), getattr(other.composition, name)), name


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_it_is_the_same_at_every_step_of_any_life(seed: int) -> None:
    random = np.random.default_rng(seed)
    life = Life()
    life.open(0, 300)
    for _ in range(40):
        act = random.random()
        slot = int(random.choice(life.slots))
        if act < 0.15 and len(life.slots) < 8:
            life.open(int(random.integers(0, 20)), int(random.integers(1, 200)))
        elif act < 0.25:
            life.publish(slot)
        elif act < 0.3:
            room = life.rooms[slot] + int(random.integers(0, 3 * PAGE))
            if life.memory.grow(slot, room):
                life.rooms[slot] = room
        elif act < 0.35:
            n_fixed = int((~life.memory[slot].is_own).sum()) * PAGE
            life.memory.truncate(slot, max(n_fixed, life.memory[slot].n_tokens - 2))
        elif act < 0.38 and len(life.slots) > 1:
            life.memory.close(slot)
            life.slots.remove(slot)
        else:
            same = random.random() < 0.8
            some = life.slots if same else [each for each in life.slots if random.random() < 0.7]
            left = {each: len(life.memory[each].pages) * PAGE - life.memory[each].n_tokens for each in some}
            some = [each for each in some if left[each]]
            few = int(random.integers(1, 3 if random.random() < 0.7 else 2 * MOST_TREE_TOKENS))
            lengths = [min(left[each], few if n % 3 else 1) for n, each in enumerate(some)]
            if some:
                assert_same(*life.step(some, lengths, ROOMS[int(random.integers(len(ROOMS)))]))


@pytest.mark.parametrize("n", [1, 5])
def test_a_prefix_is_read_together_as_soon_as_its_pages_are_the_same(n: int) -> None:
    """Sequences that computed the same text, each by itself: once the tree's pages stand for all of them, in the next
    step; and those that outgrow their pages read the new ones."""
    life = Life()
    for _ in range(n + 1):
        life.open(0, 20 * PAGE)
    life.step(life.slots, [16 * PAGE] * (n + 1), None)
    alone, _ = life.step(life.slots, [1] * (n + 1), None)
    assert alone.composition is not None
    assert not alone.composition.prefixes
    for slot in life.slots:
        life.publish(slot)
    together, _ = life.step(life.slots, [1] * (n + 1), None)
    assert together.composition is not None
    (prefix,) = together.composition.prefixes
    assert (prefix.start, prefix.stop, len(prefix.sequences)) == (0, 16, n + 1)
    n_before = int(together.composition.units[:, 2].sum())
    for slot in life.slots:
        life.step([slot], [life.rooms[slot] - life.memory[slot].n_tokens], None)
        assert life.memory.grow(slot, life.rooms[slot] + PAGE)
    grown, fresh = life.step(life.slots, [1] * (n + 1), None)
    assert_same(grown, fresh)
    assert grown.composition is not None
    assert int(grown.composition.units[:, 2].sum()) == n_before + (n + 1) * (20 * PAGE + 1 - (16 * PAGE + 2))
