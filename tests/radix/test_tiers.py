"""Blocks outside of the page pool: host memory, files, and all of it against a plain dict."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.radix.block_files import BlockFiles, WrongFile
from rootform.radix.blocks import Block, BlockNames
from rootform.radix.disk_tier import DiskTier
from rootform.radix.host_tier import HostTier
from rootform.radix.tiers import LoadRule, Tiers

TOKENS = 4  # of one block
PAGE_BYTES = 6
DATA_BYTES = TOKENS * PAGE_BYTES
NAMES = BlockNames(b"model", TOKENS)


def content(ids, namespace: str, start: int, stop: int) -> np.ndarray:
    """Bytes that depend on the whole prefix of each token, as KV does: (tokens, PAGE_BYTES)."""
    rows = []
    for end in range(start + 1, stop + 1):
        rng = np.random.default_rng([len(namespace), *np.asarray(ids[:end]).tolist()])
        rows.append(rng.integers(0, 256, PAGE_BYTES, dtype=np.uint8))
    return np.stack(rows)


def block_of(ids, depth: int = 0, namespace: str = "") -> Block:
    ids = np.asarray(ids, dtype=np.int32)
    start, stop = depth * TOKENS, (depth + 1) * TOKENS
    return Block(NAMES.keys(ids, namespace)[depth], depth, ids[start:stop], content(ids, namespace, start, stop))


def disk_in(folder: Path, max_bytes: int = 1 << 20, fingerprint: bytes = NAMES.fingerprint) -> DiskTier:
    return DiskTier(folder, fingerprint, TOKENS, DATA_BYTES, max_bytes=max_bytes)


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.kv"))


# -- names ----------------------------------------------------------------------------------------------------


def test_a_key_names_the_whole_prefix_its_namespace_and_what_computed_it() -> None:
    ids = np.arange(11, dtype=np.int32)
    keys = NAMES.keys(ids, "")
    assert len(keys) == 2
    assert NAMES.keys(ids[:9], "") == keys
    other_first = ids.copy()
    other_first[0] = 5
    assert not set(NAMES.keys(other_first, "")) & set(keys)
    assert not set(NAMES.keys(ids, "tenant")) & set(keys)
    assert not set(BlockNames(b"another", TOKENS).keys(ids, "")) & set(keys)
    assert not set(BlockNames(b"model", 2).keys(ids, "")) & set(keys)


# -- host memory ----------------------------------------------------------------------------------------------


def test_host_memory_keeps_what_was_used_last() -> None:
    host = HostTier(3 * DATA_BYTES)
    blocks = [block_of([n] * TOKENS) for n in range(4)]
    assert [host.put(block) for block in blocks[:3]] == [[], [], []]
    host.touch([blocks[0].key])
    assert [gone.key for gone in host.put(blocks[3])] == [blocks[1].key]
    assert host.nbytes == 3 * DATA_BYTES
    assert host.get(blocks[1].key) is None
    assert [each.key for each in host.take_all()] == [blocks[n].key for n in (2, 0, 3)]
    assert host.nbytes == 0


def test_host_memory_of_no_bytes_hands_everything_on() -> None:
    assert [each.key for each in HostTier(0).put(block_of([1] * TOKENS))] == [block_of([1] * TOKENS).key]


# -- files ----------------------------------------------------------------------------------------------------


def test_a_block_comes_back_bit_by_bit_in_another_process_life(tmp_path: Path) -> None:
    block = block_of([1, 2, 3, 4])
    first = disk_in(tmp_path)
    assert first.put(block, read_again=True)
    assert first.read(block.key, block.ids).tobytes() == block.data.tobytes()  # whether written yet or not
    first.close()
    second = disk_in(tmp_path)
    assert block.key in second
    assert second.read(block.key, block.ids).tobytes() == block.data.tobytes()
    second.close()


DAMAGES = {
    "a bit in the data": lambda raw: raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:],
    "a bit in the checksum": lambda raw: raw[:-1] + bytes([raw[-1] ^ 128]),
    "a bit in the ids": lambda raw: raw[:62] + bytes([raw[62] ^ 1]) + raw[63:],
    "cut short": lambda raw: raw[:-1],
    "cut to its head": lambda raw: raw[:70],
    "empty": lambda raw: b"",
    "longer": lambda raw: raw + b"x",
    "text": lambda raw: b"something else entirely " * 20,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_once_and_never_read(tmp_path: Path, caplog, damage: str) -> None:
    block = block_of([1, 2, 3, 4])
    disk = disk_in(tmp_path)
    disk.put(block, read_again=True)
    disk.flush()
    [file] = files_in(tmp_path)
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert disk.read(block.key, block.ids) is None
        assert disk.read(block.key, block.ids) is None
    assert len(caplog.records) == 1
    assert str(file) in caplog.text
    assert block.key not in disk
    is_foreign = damage == "text"
    assert file.exists() == is_foreign  # what was not ours is left
    assert disk.put(block, read_again=True) != is_foreign
    disk.close()
    assert (file.read_bytes().startswith(b"something")) == is_foreign


def test_a_file_under_the_name_of_another_is_refused(tmp_path: Path, caplog) -> None:
    one, two = block_of([1, 2, 3, 4]), block_of([4, 3, 2, 1])
    disk = disk_in(tmp_path)
    for block in (one, two):
        disk.put(block, read_again=True)
    disk.close()
    files = BlockFiles(tmp_path, NAMES.fingerprint, TOKENS, DATA_BYTES)
    files.path(one.key).write_bytes(files.path(two.key).read_bytes())
    disk = disk_in(tmp_path)
    assert disk.read(one.key, one.ids) is None
    assert "another" in caplog.text
    assert disk.read(two.key, two.ids) is not None
    with pytest.raises(WrongFile, match="another text"):  # as if two prompts had one name
        files.read(two.key, one.ids)
    disk.close()


def test_a_file_of_another_model_is_refused(tmp_path: Path, caplog) -> None:
    block = block_of([1, 2, 3, 4])
    other = disk_in(tmp_path, fingerprint=b"o" * 16)
    other.put(block, read_again=True)
    other.close()
    [file] = files_in(tmp_path)
    here = BlockFiles(tmp_path, NAMES.fingerprint, TOKENS, DATA_BYTES).path(block.key)
    here.parent.mkdir(parents=True)
    os.rename(file, here)
    disk = disk_in(tmp_path)
    assert disk.read(block.key, block.ids) is None
    assert str(here) in caplog.text
    disk.close()


def test_strange_names_are_left_alone_and_named_at_the_start(tmp_path: Path, caplog) -> None:
    disk = disk_in(tmp_path)
    disk.close()
    folder = tmp_path / NAMES.fingerprint.hex()
    part = folder / "ab"
    part.mkdir()
    strangers = [folder / "notes.txt", part / "x.kv", part / f"{'cd' * 16}.kv"]
    for stranger in strangers:
        stranger.write_text("hello")
    (part / f"{'ab' * 16}.kv").mkdir()  # a folder by the name of a block
    old, new = part / "tmpold.part", part / "tmpnew.part"
    for unfinished in (old, new):
        unfinished.write_text("half")
    os.utime(old, (1, 1))
    disk = disk_in(tmp_path)
    assert disk.read(b"\xab" * 16, np.zeros(TOKENS, np.int32)) is None
    disk.close()
    assert all(stranger.read_text() == "hello" for stranger in strangers)
    assert "notes.txt" in caplog.text
    assert "x.kv" in caplog.text
    assert new.exists()
    assert not old.exists()


def test_the_limit_is_kept_and_those_used_last_stay(tmp_path: Path) -> None:
    one = disk_in(tmp_path).block_bytes
    disk = disk_in(tmp_path, max_bytes=10 * one)
    blocks = [block_of([n] * TOKENS) for n in range(30)]
    for block in blocks[:9]:
        disk.put(block, read_again=True)
    disk.flush()
    disk.touch([blocks[0].key])
    for block in blocks[9:]:
        disk.put(block, read_again=True)
        disk.flush()
        disk.touch([blocks[0].key])
        assert len(files_in(tmp_path)) <= 10
    assert blocks[0].key in disk
    assert blocks[-1].key in disk
    assert blocks[1].key not in disk
    assert len(disk) == len(files_in(tmp_path))
    disk.close()


def test_what_was_read_once_goes_before_what_was_read_again(tmp_path: Path) -> None:
    one = disk_in(tmp_path).block_bytes
    disk = disk_in(tmp_path, max_bytes=10 * one)
    again = [block_of([n] * TOKENS) for n in range(4)]
    for block in again:
        disk.put(block, read_again=True)
    for n in range(100, 150):
        disk.put(block_of([n] * TOKENS), read_again=False)
    disk.flush()
    assert all(block.key in disk for block in again)
    disk.close()


def test_the_end_of_a_prefix_goes_before_its_beginning(tmp_path: Path) -> None:
    one = disk_in(tmp_path).block_bytes
    disk = disk_in(tmp_path, max_bytes=10 * one)
    prefix = list(range(8 * TOKENS))
    keys = NAMES.keys(np.array(prefix, dtype=np.int32), "")
    for depth in range(8):
        disk.put(block_of(prefix, depth), read_again=True)
    disk.flush()
    disk.touch(keys)
    for n in range(3):
        disk.put(block_of([n] * TOKENS), read_again=True)
    disk.flush()
    kept = [key in disk for key in keys]
    assert kept == sorted(kept, reverse=True)
    assert not all(kept)
    disk.close()


def test_older_models_make_room_for_the_new_one(tmp_path: Path) -> None:
    one = disk_in(tmp_path).block_bytes
    old = disk_in(tmp_path, fingerprint=b"o" * 16, max_bytes=20 * one)
    for n in range(8):
        old.put(block_of([n] * TOKENS), read_again=True)
    old.close()
    new = disk_in(tmp_path, max_bytes=10 * one)
    for n in range(8):
        new.put(block_of([n] * TOKENS), read_again=True)
    new.close()
    assert len(files_in(tmp_path)) <= 10
    assert len(new) == 8


def test_two_tiers_in_one_folder_take_from_each_other_without_harm(tmp_path: Path, caplog) -> None:
    one = disk_in(tmp_path).block_bytes
    tiers = [disk_in(tmp_path, max_bytes=8 * one) for _ in range(2)]
    blocks = [block_of([n] * TOKENS) for n in range(40)]
    for n, block in enumerate(blocks):
        tiers[n % 2].put(block, read_again=True)
        tiers[1 - n % 2].put(block, read_again=True)
        for tier in tiers:
            data = tier.read(blocks[n // 2].key, blocks[n // 2].ids)
            assert data is None or data.tobytes() == blocks[n // 2].data.tobytes()
    for tier in tiers:
        tier.close()
    assert not caplog.records
    fresh = disk_in(tmp_path, max_bytes=8 * one)
    found = [fresh.read(block.key, block.ids) for block in blocks]
    assert 0 < sum(data is not None for data in found) <= 8
    fresh.close()


def test_a_full_disk_is_one_warning(tmp_path: Path, caplog, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = disk_in(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rootform.radix.block_files.os.replace", full)
    blocks = [block_of([n] * TOKENS) for n in range(5)]
    for block in blocks:
        disk.put(block, read_again=True)
        disk.flush()
    disk.close()
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text
    assert not any(block.key in disk for block in blocks)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_clear_removes_the_files(tmp_path: Path) -> None:
    disk = disk_in(tmp_path)
    disk.put(block_of([1] * TOKENS), read_again=True)
    disk.clear()
    assert not files_in(tmp_path)
    assert len(disk) == 0
    disk.close()


# -- the rule -------------------------------------------------------------------------------------------------


def test_files_are_read_where_that_is_measured_to_be_cheaper() -> None:
    now = 0.0
    rule = LoadRule(compute_s=1e-3, clock=lambda: now)
    assert rule.pays(100, 50_000_000)  # 0.1 s to compute, 0.05 s to read
    assert not rule.pays(100, 200_000_000)
    for _ in range(20):
        rule.note(1_000_000, 1.0)  # a slow disk
    assert not rule.pays(100, 50_000_000)
    assert rule.pays(100, 0)  # host memory
    for minutes in range(60):  # it is tried again some day
        now = 60.0 * minutes
        if rule.pays(100, 50_000_000):
            break
    assert 5 <= minutes < 20
    assert not rule.pays(100, 200_000_000)


# -- all together, against a dict -----------------------------------------------------------------------------

prefixes = st.lists(st.integers(0, 1), min_size=1, max_size=18)
namespaces = st.sampled_from(["", "tenant"])
calls = st.lists(
    st.tuples(st.sampled_from(["evict", "again", "fill", "read", "restart", "damage", "clear"]), prefixes, namespaces),
    max_size=40,
)


@given(calls=calls, host_blocks=st.sampled_from([None, 0, 1, 3, 100]), has_disk=st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_life_gives_back_what_was_put_in(
    tmp_path_factory: pytest.TempPathFactory, calls, host_blocks: int | None, has_disk: bool
) -> None:
    """`plain` knows each prefix that was ever kept; nothing else may be found, and all of it where limits allow."""
    logging.getLogger("rootform.radix.disk_tier").setLevel(logging.ERROR)
    folder = tmp_path_factory.mktemp("tiers")
    plain: set[tuple] = set()
    may_lose = False

    def make() -> Tiers:
        host = None if host_blocks is None else HostTier(host_blocks * DATA_BYTES)
        return Tiers(NAMES, 1, host, disk_in(folder) if has_disk else None, LoadRule(1.0))

    tiers = make()
    for verb, prefix, namespace in calls:
        ids = np.array(prefix, dtype=np.int32)
        n_blocks = len(ids) // TOKENS

        def copy(start: int, stop: int, ids=ids, namespace=namespace) -> np.ndarray:
            return content(ids, namespace, start, stop)

        if verb == "evict":
            first = len(ids) // 2
            tiers.evicted(ids, namespace, first, copy)
            plain |= {(namespace, *prefix[: (k + 1) * TOKENS]) for k in range(first // TOKENS, n_blocks)}
        elif verb in ("again", "fill"):
            if verb == "again":
                tiers.read_again(ids, namespace, copy)
            else:
                tiers.fill(ids, namespace, copy)
            if has_disk:
                plain |= {(namespace, *prefix[: (k + 1) * TOKENS]) for k in range(n_blocks)}
        elif verb == "restart":
            tiers.close()
            tiers = make()
            if not has_disk:
                plain.clear()
        elif verb == "clear":
            tiers.clear()
            plain.clear()
        elif verb == "damage" and files_in(folder):
            assert tiers.disk is not None
            tiers.disk.flush()
            file = files_in(folder)[len(prefix) % len(files_in(folder))]
            raw = bytearray(file.read_bytes())
            raw[len(prefix) * 7 % len(raw)] ^= 1 << len(prefix) % 8
            file.write_bytes(raw)
            may_lose = True
        n_known = len(prefix) // 3
        got = b"".join(piece.tobytes() for piece in tiers.read(ids, namespace, n_known, len(ids)))
        wanted, end = b"", n_known
        for k in range(n_known // TOKENS, n_blocks):
            if (namespace, *prefix[: (k + 1) * TOKENS]) not in plain:
                break
            wanted += content(ids, namespace, end, (k + 1) * TOKENS).tobytes()
            end = (k + 1) * TOKENS
        assert wanted.startswith(got)
        if not may_lose and (has_disk or host_blocks == 100):
            assert got == wanted
            assert tiers.reach(ids, namespace, n_known) == end
    tiers.close()


def test_blocks_are_whole_pages() -> None:
    with pytest.raises(ValueError, match="pages of 3"):
        Tiers(NAMES, 3, None, None, LoadRule(1.0))


def test_the_writer_ends_with_the_tier(tmp_path: Path) -> None:
    disk = disk_in(tmp_path)
    disk.close()
    assert not disk._writer.is_alive()
    disk.close()
    assert not disk.put(block_of([1] * TOKENS), read_again=True)
