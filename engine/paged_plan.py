"""Which stretches of pages a step reads, and for whom: the work of kernels/tree_attention.py, found on the host.

Sequences that begin with the same pages read them together, on as many levels as they branch; each reads the rest by
itself. compose() finds that out from the block tables; it holds while the same sequences take the same number of tokens
and none outgrows its pages. What changes with every step (how many keys each has) is one column of the units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .kernels.tree_attention import STRETCH_TOKENS, readers_of_unit

DEFAULT_PAGE_TOKENS = 16

# A prefix read together saves the reading of its tokens once for every further reader, and costs partial results to
# be merged. Below this many saved readings each sequence reads it by itself.
_WORTH_READINGS = 128


class Prefix(NamedTuple):
    """Pages start .. stop - 1 of the tables of some sequences, the same in all of them."""

    start: int
    stop: int
    sequences: tuple[int, ...]


@dataclass(slots=True)
class Composition:
    """Arrays of kernels.tree_attention.Units, and what is needed to bring them up to date.

    units (u, 6), readers (r,), order (r,), starts (n,), stops (n,), pages (p,): int32.
    owners: (u,) the sequence of a unit that grows, -1 for units of prefixes. firsts: (u,) the sequence's first token
    that the unit may hold.  prefixes: those read together.
    """

    units: np.ndarray
    n_wide: int
    pages: np.ndarray
    readers: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    order: np.ndarray
    owners: np.ndarray
    firsts: np.ndarray
    prefixes: list[Prefix]

    def set_lengths(self, lengths: np.ndarray) -> None:
        """lengths: (sequences,) all keys each has now, its new tokens among them; writes the units' n_keys."""
        grows = self.owners >= 0
        left = lengths[self.owners[grows]] - self.firsts[grows]
        self.units[grows, 2] = np.clip(left, 0, STRETCH_TOKENS)


def compose(
    tables: Sequence[np.ndarray],
    token_starts: np.ndarray,
    token_counts: np.ndarray,
    n_rows: int,
    group: int,
    page_tokens: int,
) -> Composition:
    """The work of a step of n sequences; call set_lengths() before it is used.

    tables: the pages of each sequence, int32, as many as it may fill.  token_starts, token_counts: (n,) its query
    tokens, among the n_rows of the step; sequences that are attended otherwise have none.  group: query heads per
    KV head.
    """
    reading = np.flatnonzero(token_counts)
    prefixes, alone_from = _shared([tables[i] for i in reading.tolist()], page_tokens)
    prefixes = [each._replace(sequences=tuple(reading[list(each.sequences)].tolist())) for each in prefixes]
    rows = [np.arange(start, start + count) for start, count in zip(token_starts, token_counts, strict=True)]

    pages: list[np.ndarray] = []
    n_pages = 0
    wide: list[_Unit] = []
    narrow: list[_Unit] = []
    narrow_room = readers_of_unit(group, is_wide=False)

    def add(first_page: int, start: int, stop: int, readers: np.ndarray, owner: int) -> None:
        """Units for pages start .. stop - 1 of a sequence, found at first_page of the list."""
        is_wide = len(readers) > narrow_room
        (wide if is_wide else narrow).extend(
            _cut(first_page, start * page_tokens, stop * page_tokens, readers, owner, group, page_tokens, is_wide)
        )

    for each in prefixes:
        add(n_pages, each.start, each.stop, np.concatenate([rows[i] for i in each.sequences]), -1)
        pages.append(tables[each.sequences[0]][each.start : each.stop])
        n_pages += each.stop - each.start
    for i, start in zip(reading.tolist(), alone_from, strict=True):
        if start < len(tables[i]):
            add(n_pages, start, len(tables[i]), rows[i], i)
            pages.append(tables[i][start:])
            n_pages += len(tables[i]) - start
    return _assemble([*wide, *narrow], len(wide), pages, prefixes, n_rows)


class _Unit(NamedTuple):
    first_page: int
    offset: int
    position: int
    n_keys: int
    readers: np.ndarray
    owner: int


def _cut(
    first_page: int,
    position: int,
    stop: int,
    readers: np.ndarray,
    owner: int,
    group: int,
    page_tokens: int,
    is_wide: bool,
) -> Iterator[_Unit]:
    """Units for keys at positions position .. stop - 1, whose first stands at the beginning of first_page."""
    room = readers_of_unit(group, is_wide=is_wide)
    for at in range(0, stop - position, STRETCH_TOKENS):
        n_keys = min(STRETCH_TOKENS, stop - position - at)
        for first in range(0, len(readers), room):
            some = readers[first : first + room]
            yield _Unit(first_page + at // page_tokens, at % page_tokens, position + at, n_keys, some, owner)


def _assemble(
    units: list[_Unit], n_wide: int, pages: list[np.ndarray], prefixes: list[Prefix], n_rows: int
) -> Composition:
    counts = np.array([len(each.readers) for each in units], dtype=np.int32)
    first_readers = np.cumsum(counts) - counts
    table = np.array([(u.first_page, u.offset, u.n_keys, u.position) for u in units], dtype=np.int32).reshape(-1, 4)
    readers = np.concatenate([np.empty(0, np.int32), *(each.readers for each in units)]).astype(np.int32)
    per_token = np.bincount(readers, minlength=n_rows)
    stops = np.cumsum(per_token)
    return Composition(
        units=np.concatenate([table, first_readers[:, None], counts[:, None]], axis=1).astype(np.int32),
        n_wide=n_wide,
        pages=np.concatenate([np.empty(0, np.int32), *pages]).astype(np.int32),
        readers=readers,
        starts=(stops - per_token).astype(np.int32),
        stops=stops.astype(np.int32),
        order=np.argsort(readers, kind="stable").astype(np.int32),
        owners=np.array([each.owner for each in units], dtype=np.int64),
        firsts=np.array([each.position for each in units], dtype=np.int64),
        prefixes=prefixes,
    )


# -- finding what is shared ---------------------------------------------------------------------------------------


def _shared(tables: Sequence[np.ndarray], page_tokens: int) -> tuple[list[Prefix], list[int]]:
    """Prefixes that are worth reading together, outer ones first, and from which page on each table is read alone.

    A page that stands in two tables stands at the same place in both, with the same pages before it.
    """
    alone_from = [0] * len(tables)
    prefixes: list[Prefix] = []
    # Each level: sequences that have the same pages up to `agreed`, of which those before `start` are dealt with.
    todo = [(tuple(range(len(tables))), 0, 0)]
    while todo:
        members, start, agreed = todo.pop(0)
        common = _common(tables, members, agreed)
        if (common - start) * page_tokens * (len(members) - 1) >= _WORTH_READINGS:
            prefixes.append(Prefix(start, common, members))
            start = common
        branches: dict[int, list[int]] = {}
        for member in members:
            if common < len(tables[member]):
                branches.setdefault(int(tables[member][common]), []).append(member)
            alone_from[member] = start
        todo += [(tuple(each), start, common) for each in branches.values() if len(each) > 1]
    return prefixes, alone_from


def _common(tables: Sequence[np.ndarray], members: tuple[int, ...], agreed: int) -> int:
    """How many pages all members have in common; they agree on the first `agreed`."""
    if len(members) < 2:
        return agreed
    shortest = min(len(tables[each]) for each in members)
    first = tables[members[0]][agreed:shortest]
    common = len(first)
    for each in members[1:]:
        differs = np.flatnonzero(first[:common] != tables[each][agreed : agreed + common])
        common = int(differs[0]) if len(differs) else common
    return agreed + common
