"""The array of a pool: it grows, forgets and is copied without anybody noticing; kernels give way to the clock."""

from __future__ import annotations

import random
import threading

import pytest

from rootform.grammar import node_layout as nl
from rootform.grammar import node_store
from rootform.grammar import pool_kernels as pk
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import EMPTY, EPSILON, Exprs
from rootform.grammar.nodes import Kind
from rootform.grammar.work import Limit, within


@pytest.fixture(autouse=True)
def small_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays that have to grow soon."""
    small = {nl.MAX_SETS: 300, nl.MAX_PARTITIONS: 4}  # every pool begins with 259 sets
    sections = tuple(
        (used, room, place, size, 1 << (small.get(room, 512) - 1).bit_length())
        for used, room, place, size, _ in node_store._SECTIONS
    )
    monkeypatch.setattr(node_store, "_SECTIONS", sections)
    monkeypatch.setattr(node_store, "_FIRST_FACTS", 512)


def _some_word(rng: random.Random) -> bytes:
    return bytes(rng.choice(b"abc") for _ in range(rng.randint(1, 12)))


def test_what_was_made_is_found_again_however_much_the_array_grows() -> None:
    pool, rng = Exprs(), random.Random(0)
    words = [_some_word(rng) for _ in range(3000)]
    ids = [pool.literal(word) for word in words]
    either = pool.alt(*ids)
    rooms = pool.array[nl.MAX_NODES], pool.array[nl.MAX_MEMBERS], pool.array[nl.MAX_FACTS]
    for word in words:
        assert pool.fullmatch(either, word)
        assert not pool.fullmatch(either, word + b"d")
    for i in range(40_000):
        pool.counted(pool.any_byte, i, 2 * i + 1)
    assert pool.array[nl.MAX_NODES] > rooms[0]
    assert pool.array[nl.MAX_FACTS] > rooms[2]
    assert [pool.literal(word) for word in words] == ids
    assert pool.alt(*reversed(ids)) == either


def test_facts_outlive_those_that_come_after_them_for_a_while() -> None:
    pool = Exprs()
    room = int(pool.array[nl.MAX_FACTS])
    for i in range(room // 2 - int(pool.array[nl.N_FACTS])):
        assert pk.remember(pool.array, pk.pair_key(nl.COVERED_BY, 1, i), i) == i
    assert pk.remember(pool.array, pk.pair_key(nl.COVERED_BY, 2, 0), 7) == nl.NEED_ROOM
    assert pool.run(pk.remember, pk.pair_key(nl.COVERED_BY, 2, 0), 7) == 7
    assert pool.run(pk.remember, pk.pair_key(nl.COVERED_BY, 1, 3), 8) == 8
    assert pool.array[nl.MAX_FACTS] == 2 * room
    assert [pk.fact(pool.array, pk.pair_key(nl.COVERED_BY, 1, i)) for i in (0, 3, 9)] == [0, 8, 9]
    assert pk.fact(pool.array, pk.pair_key(nl.COVERED_BY, 2, 0)) == 7
    assert pk.fact(pool.array, pk.pair_key(nl.COVERED_BY, 3, 0)) == nl.UNKNOWN


def test_nodes_say_what_they_were_made_of() -> None:
    pool = Exprs()
    a, b, word = pool.literal(b"a"), pool.literal(b"b"), pool.literal(b"ab")
    assert pool.node(a) == (Kind.SET, 1 << ord("a"))
    assert pool.node(word) == (Kind.CAT, a, b)
    assert pool.node(pool.alt(word, pool.not_(a))) == (Kind.ALT, tuple(sorted((word, pool.not_(a)))))
    assert pool.node(pool.repeat(word, 2, None)) == (Kind.REPEAT, word, 2, None)
    assert pool.node(pool.counted(a, 0, 7)) == (Kind.COUNTED, a, 0, 7)
    assert pool.node(pool.frame(word)) == (Kind.FRAME, word)
    assert pool.node(pool.ref("name")) == (Kind.REF, "name")
    assert pool.node(EMPTY) == (Kind.EMPTY,)
    assert pool.node(EPSILON) == (Kind.EPSILON,)
    assert pool.byte_mask((1 << 255) | 1) == pool.byte_set([0, 255])


def test_forgotten_derivatives_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rootform.grammar.node_store._MOST_FACTS", 1 << 11)
    pool, other, rng = Exprs(), Exprs(), random.Random(1)
    for _ in range(300):
        parts = [_some_word(rng) for _ in range(rng.randint(1, 6))]
        text = b"".join(rng.choice(parts) for _ in range(rng.randint(0, 4)))
        denied = _some_word(rng)
        for each in (pool, other):
            either = each.repeat(each.alt(*map(each.literal, parts)), 0, None)
            but = each.and_(either, each.not_(each.concat(each.literal(denied), each.everything)))
            assert each.fullmatch(but, text) == (each.fullmatch(either, text) and not text.startswith(denied))
    assert pool.array[nl.MAX_FACTS] == pool.array[nl.OLD_ROOM] == 1 << 11


def test_a_copy_knows_all_and_goes_its_own_way() -> None:
    pool = Exprs()
    pool.define("late", lambda: pool.literal(b"x"))
    held = pool.concat(pool.literal(b"a"), pool.ref("late"))
    fork = pool.fork()
    assert fork.concat(fork.literal(b"a"), fork.ref("late")) == held
    mine, theirs = pool.literal(b"only here"), fork.literal(b"only there")
    assert pool.node(mine) != fork.node(theirs)
    assert fork.fullmatch(theirs, b"only there")
    assert not fork.fullmatch(theirs, b"only here")


def test_nesting_too_deep_is_an_error_and_no_crash() -> None:
    pool = Exprs()
    item = pool.literal(b"a")
    for i in range(20_000):
        item = pool.repeat(pool.alt(item, pool.literal(b"b" * (i % 7 + 1))), 0, 3)
    with pytest.raises(RecursionError):
        pool.derivative(item, ord("a"))
    assert pool.fullmatch(pool.literal(b"ok"), b"ok")


def test_a_kernel_that_works_long_looks_at_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rootform.grammar.arithmetic._WORK", 200)
    pool, rng = Exprs(), random.Random(2)
    wide = pool.and_(
        *[
            pool.not_(pool.concat(pool.repeat(pool.any_byte, 0, None), pool.literal(_some_word(rng)), pool.everything))
            for _ in range(40)
        ]
    )
    limit = Limit(60)
    looks: list[int] = []
    monkeypatch.setattr(limit, "look", lambda: looks.append(1))
    with within(limit):
        for byte in b"abcabcab" * 4:
            wide = pool.raw_derivative(wide, byte)
    assert looks


def test_work_without_time_left_is_stopped() -> None:
    pool = Exprs()

    def build() -> None:
        for i in range(10_000):
            pool.literal(str(i).encode())

    with within(Limit(0.0)), pytest.raises(GrammarError, match="of work"):
        build()


def test_threads_build_in_one_pool_at_once() -> None:
    pool = Exprs()
    found: list[list[int]] = []

    def build(seed: int) -> None:
        rng = random.Random(seed)
        words = [_some_word(random.Random(i)) for i in range(2000)]
        rng.shuffle(words)
        made = {word: pool.literal(word) for word in words}
        found.append([made[word] for word in sorted(made)])

    threads = [threading.Thread(target=build, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(each == found[0] for each in found)
