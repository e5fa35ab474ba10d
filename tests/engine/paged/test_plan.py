"""Which pages a step reads together: each token reads each of its keys once, within a graph's room."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.paged_plan import Composition, Room, compose, room_for


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 4, 16]), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_every_token_reads_each_of_its_keys_once(seed: int, size: int, group: int) -> None:
    random = np.random.default_rng(seed)
    ids = iter(random.permutation(20_000).astype(np.int32).tolist())
    nodes: list[list[int]] = [[]]
    for _ in range(int(random.integers(0, 6))):
        above = nodes[int(random.integers(len(nodes)))]
        nodes.append([*above, *(next(ids) for _ in range(int(random.integers(1, 60))))])
    tables, lengths = [], []
    for _ in range(int(random.integers(1, 40))):
        above = nodes[int(random.integers(len(nodes)))]
        own = [next(ids) for _ in range(int(random.integers(1, 30)))]
        tables.append(np.array([*above, *own], dtype=np.int32))
        lengths.append(len(above) * size + int(random.integers(1, len(own) * size + 1)))
    counts = random.integers(0, 4, len(tables))
    starts = np.cumsum(counts) - counts
    n_rows = int(counts.sum())
    n_pages = np.array([len(table) for table in tables])
    padded = np.full((len(tables), n_pages.max()), -1, dtype=np.int32)
    for padded_row, table in zip(padded, tables, strict=True):
        padded_row[: len(table)] = table
    plain = compose(padded, n_pages, starts, counts, n_rows, group, size)
    room = Room(n_rows, *(int(most * random.random()) + 1 for most in (plain.n_wide, len(plain.units), 9**9, 300)))
    made = compose(padded, n_pages, starts, counts, n_rows, group, size, room=room)
    check_reading(plain, tables, lengths, counts, group, size)
    check_reading(made, tables, lengths, counts, group, size)
    assert plain.stretch == 256
    assert made.stretch % 256 == 0
    assert made.stretch == 256 or is_in(made, room)
    pages = room_for(n_rows, size, next(ids), 10**6).pages
    assert len(made.pages) <= pages  # however the tree is


def is_in(made: Composition, room: Room) -> bool:
    sizes = made.n_wide, len(made.units) - made.n_wide, len(made.pages), len(made.readers)
    return all(size <= most for size, most in zip(sizes, room[1:], strict=True))


def check_reading(
    made: Composition, tables: list[np.ndarray], lengths: list[int], counts: np.ndarray, group: int, size: int
) -> None:
    """Every token reads each of its keys once, at its place."""
    n_rows = int(counts.sum())
    made.set_lengths(np.array(lengths))
    assert len(made.starts) == len(made.stops) == n_rows
    keys_of: list[list[tuple[int, int]]] = [[] for _ in range(n_rows)]
    for number, (first_page, offset, n_keys, position, first_reader, n_readers) in enumerate(made.units.tolist()):
        assert 0 <= n_keys <= made.stretch
        assert 1 <= n_readers <= max(1, (64 if number < made.n_wide else 16) // group)
        for reader in made.readers[first_reader : first_reader + n_readers].tolist():
            for key in range(n_keys):
                page = made.pages[first_page + (offset + key) // size]
                keys_of[reader].append((position + key, int(page) * size + (offset + key) % size))
    owners = np.repeat(np.arange(len(tables)), counts)
    for row, owner in enumerate(owners.tolist()):
        table = tables[owner].tolist()
        assert sorted(keys_of[row]) == [(at, table[at // size] * size + at % size) for at in range(lengths[owner])]
        listed = made.order[made.starts[row] : made.stops[row]]
        assert (made.readers[listed] == row).all()
    assert len(set(made.order.tolist())) == len(made.readers)


@pytest.mark.parametrize("context", [1, 300, 1024, 4096, 8192, 131_072])
@pytest.mark.parametrize("batch", [1, 16, 64, 256])
@pytest.mark.parametrize("page_tokens", [1, 16, 128])
def test_steps_of_any_context_have_room_in_a_graph(batch: int, context: int, page_tokens: int) -> None:
    """Sequences that share nothing: their stretches are longer the longer they are, so that units are few enough."""
    most = -(-(context + 40) // page_tokens)  # pages of each, output among them
    if batch * most > 2**20:
        pytest.skip("more than a card has")
    table = np.arange(batch * most, dtype=np.int32).reshape(batch, most)
    n_pages, rows = np.full(batch, most), np.arange(batch)
    room = room_for(batch, page_tokens, batch * most, context + 40)
    made = compose(table, n_pages, rows, np.ones(batch, dtype=np.int64), batch, 4, page_tokens, room=room)
    assert is_in(made, room)
    assert made.stretch <= 256 * (1 + most * page_tokens // 2048)
    made.set_lengths(np.full(batch, context))
    assert made.units[:, 2].max() == min(context, made.stretch)
    assert made.units[:, 2].sum() == batch * context


def test_a_stretch_is_no_longer_than_the_room_asks_for() -> None:
    table = np.arange(4 * 100, dtype=np.int32).reshape(4, 100)  # four sequences of 1,600 tokens: 7 stretches each
    rows, ones = np.arange(4), np.ones(4, dtype=np.int64)

    def stretch(**asked: int) -> int:
        room = Room(4, 99, 99, 999, 99)._replace(**asked)
        return compose(table, np.full(4, 100), rows, ones, 4, 4, 16, room=room).stretch

    # 7, 4, 3, 2, 2, 2, 1 stretches each
    assert [stretch(narrow=n) for n in (28, 27, 16, 15, 12, 11, 8, 7, 4, 3)] == [
        256 * times for times in (1, 2, 2, 3, 3, 4, 4, 7, 7, 1)
    ]
    assert [stretch(readers=n) for n in (28, 27, 3)] == [256, 512, 256]
    assert stretch(wide=0) == stretch(pages=0) == 256  # there are none; longer ones would be as many


def test_what_many_read_together_is_cut_to_the_room_of_wide_units() -> None:
    table = np.tile(np.arange(100, dtype=np.int32), (40, 1))  # 1,600 tokens, read by 40: 3 tiles of up to 16
    rows, ones = np.arange(40), np.ones(40, dtype=np.int64)
    room = Room(40, 21, 99, 999, 999)
    for wide, times in ((21, 1), (20, 2), (12, 2), (11, 3), (3, 7), (2, 1)):
        made = compose(table, np.full(40, 100), rows, ones, 40, 4, 16, room=room._replace(wide=wide))
        assert made.stretch == 256 * times
        assert is_in(made, room._replace(wide=wide)) == (wide > 2)
