"""What leaves KV memory and comes back changes no token: pages, the tree, and the step loop with a stand-in model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.geometry import LayerGeometry
from rootform.engine.memory_cpu import CpuMemory
from rootform.engine.prefixes import Prefixes
from rootform.radix.blocks import BlockNames
from rootform.radix.disk_tier import DiskTier
from rootform.radix.host_tier import HostTier
from rootform.radix.tiers import LoadRule, Tiers

DATA = 8


# -- pages out of memory and into it --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pages_come_back_bit_by_bit_wherever_they_go(dtype: torch.dtype) -> None:
    layers = [
        LayerGeometry(query_heads=4, kv_heads=2, key_dim=8, value_dim=6),
        LayerGeometry(query_heads=4, kv_heads=1, key_dim=4, value_dim=16),
    ]
    memory = CpuMemory(layers, 40, dtype)
    for pool in (*memory.keys, *memory.values):
        pool.copy_(torch.randn(pool.shape).to(dtype))
    pages = memory._allocator.take(30)
    assert pages is not None
    some = pages[[5, 3, 20, 21, 22, 8]]
    before = [pool[:, some.tolist()].clone() for pool in (*memory.keys, *memory.values)]
    data = memory.copy_out(some)
    assert data.shape == (6, memory.page_bytes)
    assert data.dtype == np.uint8
    memory.give_back(pages)
    other = CpuMemory(layers, 11, dtype)  # another process: other rows are free
    hole = other._allocator.take(4)
    assert hole is not None
    other.give_back(hole[1:2])
    back = other.copy_in([data[:2], data[2:2], data[2:]])
    assert back is not None
    assert other.free_pages == 11 - 3 - 6
    for pool, kept in zip((*other.keys, *other.values), before, strict=True):
        assert torch.equal(pool[:, back.tolist()], kept)
    assert other.copy_in([data]) is None
    assert other.free_pages == 2


# -- the step loop with little memory -------------------------------------------------------------------------


def make_tiers(page_tokens: int, host_blocks: int | None, folder: Path | None, block_tokens: int = DATA) -> Tiers:
    names = BlockNames(b"stand-in", block_tokens)
    data_bytes = 4 * block_tokens
    host = None if host_blocks is None else HostTier(host_blocks * data_bytes)
    disk = None
    if folder is not None:
        disk = DiskTier(folder, names.fingerprint, block_tokens, data_bytes, max_bytes=1 << 20)
    return Tiers(names, page_tokens, host, disk, LoadRule(1.0))


families = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 60), st.integers(1, 6), st.integers(0, 3)), min_size=1, max_size=14
)


@given(
    asked=families,
    page_tokens=st.sampled_from([1, 4]),
    host_blocks=st.sampled_from([None, 2, 1000]),
    on_disk=st.booleans(),
    total_tokens=st.sampled_from([80, 120, 400]),
)
@settings(max_examples=40, deadline=None)
def test_any_requests_get_the_same_tokens_with_tiers(
    standins,
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[tuple[int, int, int, int]],
    page_tokens: int,
    host_blocks: int | None,
    on_disk: bool,
    total_tokens: int,
) -> None:
    """The stand-in's KV is the tokens themselves: a wrong page, or one of another prefix, changes the answer."""
    folder = tmp_path_factory.mktemp("kv") if on_disk else None
    for _ in range(2):  # the second time as after a restart
        memory = standins.ListMemory(total_tokens // page_tokens, page_tokens)
        model = standins.StandIn(memory=memory)
        stand = standins.Stand(model=model, tiers=make_tiers(page_tokens, host_blocks, folder), max_batch=3)
        keys = {}
        for family, n_prompt, n_new, steps in asked:
            prompt = [1 + (family * 7 + n * (1 + family % 2)) % 49 for n in range(n_prompt)]
            keys[stand.add(prompt, n_new, namespace="ab"[family % 2])] = (prompt, n_new)
            for _ in range(steps):
                stand.step()
        stand.run()
        for key, (prompt, n_new) in keys.items():
            assert stand.ids(key) == stand.greedy(prompt, n_new)
        stand.check_nothing_is_held()
        stand.loop.prefixes.close(keep=True)
        assert memory.free_pages + stand.loop.prefixes.tree.cached_pages == memory.total_pages


TRUNK = [n * n % 7 for n in range(40)]


texts = st.builds(  # most share a beginning, in both namespaces
    lambda n, twig: [*TRUNK[:n], *twig], st.integers(1, 36), st.lists(st.integers(0, 1), min_size=1, max_size=12)
).map(lambda text: text[:40])


@given(
    calls=st.lists(
        st.tuples(st.sampled_from(["use", "use", "use", "forget", "restart"]), texts, st.sampled_from(["", "a"])),
        max_size=25,
    ),
    page_tokens=st.sampled_from([1, 4]),
    host_blocks=st.sampled_from([None, 1, 1000]),
    on_disk=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_tree_and_tiers_against_a_dict(
    standins,
    tmp_path_factory: pytest.TempPathFactory,
    calls: list[tuple[str, list[int], str]],
    page_tokens: int,
    host_blocks: int | None,
    on_disk: bool,
) -> None:
    """`plain` knows every prefix the tree ever held. No other is found; and none is lost, but for the end that fills no
    block, where a tier has room for all."""
    folder = tmp_path_factory.mktemp("kv") if on_disk else None
    loses_nothing = on_disk or host_blocks == 1000

    def make() -> Prefixes:
        memory = standins.ListMemory(120 // page_tokens, page_tokens)
        return Prefixes(memory, tiers=make_tiers(page_tokens, host_blocks, folder))

    plain: set[tuple] = set()
    prefixes = make()
    for verb, text, namespace in calls:
        ids = np.array(text, dtype=np.int32)
        if verb == "forget":
            prefixes.forget_all()
        elif verb == "restart":
            prefixes.close(keep=True)
            prefixes = make()
            plain = plain if on_disk else set()
        known = max((n for n in range(len(text)) if (namespace, *text[:n]) in plain), default=0)
        found = prefixes.n_cached(ids, namespace)
        assert found <= known
        assert found >= known // DATA * DATA or not loses_nothing
        room = prefixes.take(ids, namespace, len(ids))
        assert room is not None
        assert room.n_shared >= found  # nothing else runs, so there is room to read it back
        assert prefixes.memory.read(room.slot) == text[: room.n_shared]
        prefixes.memory.write(room.slot, text[room.n_shared :])
        prefixes.leave(room, ids)
        assert prefixes.memory.slots == {}
        assert prefixes.memory.free_pages + prefixes.tree.cached_pages == prefixes.memory.total_pages
        plain |= {(namespace, *text[:n]) for n in range(1, prefixes.tree.peek(ids, namespace) + 1)}
    prefixes.close(keep=False)


def test_what_was_evicted_is_not_computed_again(standins) -> None:
    stand = standins.Stand(model=standins.StandIn(memory=standins.ListMemory(150)), tiers=make_tiers(1, 1000, None))
    prompts = [[1 + (k + n * k) % 49 for n in range(65)] for k in (1, 2, 3)]
    for prompt in prompts:  # each needs most of the memory
        stand.add(prompt, 2)
        stand.run()
    assert stand.loop.counts.cached_tokens == 0
    stand.add(prompts[0], 2)
    stand.run()
    assert stand.loop.counts.cached_tokens == 64
    assert stand.loop.prefixes.tiers is not None
    assert 0 < stand.loop.prefixes.tiers.host_tokens <= 64


def test_namespaces_are_kept_apart(standins, tmp_path: Path) -> None:
    def cached(namespace: str) -> int:
        stand = standins.Stand(tiers=make_tiers(1, None, tmp_path))
        stand.add(list(range(1, 41)), 1, namespace=namespace)
        stand.run()
        stand.loop.prefixes.close(keep=True)
        return stand.loop.counts.cached_tokens

    assert [cached("a"), cached("b"), cached("a"), cached("")] == [0, 0, 32, 0]


def test_reading_that_does_not_pay_is_left(standins, tmp_path: Path) -> None:
    for _ in range(2):
        tiers = make_tiers(1, None, tmp_path)
        tiers._rule.compute_s = 0.0
        stand = standins.Stand(tiers=tiers)
        stand.add(list(range(1, 41)), 1)
        stand.run()
        stand.loop.prefixes.close(keep=True)
        assert stand.loop.counts.cached_tokens == 0
    assert list(tmp_path.rglob("*.kv"))


def test_the_planner_knows_what_the_tiers_hold(standins, tmp_path: Path) -> None:
    first = standins.Stand(tiers=make_tiers(1, None, tmp_path))
    prompt = list(range(1, 41))
    first.add(prompt, 1)
    first.run()
    first.loop.prefixes.close(keep=True)
    prefixes = standins.Stand(tiers=make_tiers(1, None, tmp_path)).loop.prefixes
    assert prefixes.n_cached(np.array(prompt, dtype=np.int32), "") == 32
    assert prefixes.n_cached(np.array(prompt[:32], dtype=np.int32), "") == 24  # never the last token
    prefixes.close(keep=False)


def test_what_several_requests_read_is_in_files_before_the_end(standins, tmp_path: Path) -> None:
    stand = standins.Stand(tiers=make_tiers(1, None, tmp_path))
    tiers = stand.loop.prefixes.tiers
    shared = list(range(1, 25))
    for last in (30, 31):
        assert not list(tmp_path.rglob("*.kv"))
        stand.add([*shared, last, 9, 9, 9, 9, 9, 9, 9, 9], 1)
        stand.run()
        tiers.disk.flush()
    assert len(list(tmp_path.rglob("*.kv"))) == len(shared) // DATA
    stand.loop.prefixes.close(keep=False)


def test_a_sequence_that_gets_more_room_is_no_second_reader(standins, tmp_path: Path) -> None:
    prefixes = Prefixes(standins.ListMemory(), tiers=make_tiers(1, None, tmp_path))
    ids = np.arange(1, 41, dtype=np.int32)
    for again, n_files in ((False, 0), (True, 0), (False, 4)):
        room = prefixes.take(ids, "", 60, again=again)
        assert room is not None
        prefixes.memory.write(room.slot, ids[room.n_shared :].tolist())
        prefixes.leave(room, ids)
        assert prefixes.tiers is not None
        assert prefixes.tiers.disk is not None
        prefixes.tiers.disk.flush()
        assert len(list(tmp_path.rglob("*.kv"))) == n_files
    prefixes.close(keep=False)
