"""Which stretches of pages a step reads, and for whom: the work of kernels/tree_attention.py, found on the host.

Sequences that begin with the same pages read them together, on as many levels as they branch; each reads the rest by
itself. compose() finds that out from the block tables; it holds while the same sequences take the same number of tokens
and none outgrows its pages. What changes with every step (how many keys each has) is one column of the units.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .kernels.tree_attention import STRETCH_TOKENS, readers_of_unit

DEFAULT_PAGE_TOKENS = 16

# A prefix read together saves the reading of its tokens once for every further reader, and costs partial results to
# be merged. Below this many saved readings each sequence reads it by itself.
_WORTH_READINGS = 128


class Room(NamedTuple):
    """How large a step may be to run in one graph: its tokens, and the work that units and their lists may come to."""

    tokens: int
    wide: int
    narrow: int
    pages: int
    readers: int


def room_for(tokens: int, page_tokens: int, total_pages: int, context_tokens: int) -> Room:
    """The room of a graph. Each token gets eight stretches of its own, and as many readers of what is shared; and as
    many pages as can be listed: all there are, and again those that are shared but not worth reading together."""
    narrow, wide = max(64, 8 * tokens), max(64, 2 * tokens)
    longest = -(-context_tokens // page_tokens) + 1
    pages = min(tokens * longest, total_pages + tokens * -(-_WORTH_READINGS // page_tokens))
    return Room(tokens, wide, narrow, pages, narrow + wide * 16)


class Prefix(NamedTuple):
    """Pages start .. stop - 1 of some sequences, the same in all of them. sequences: (n,) int64."""

    start: int
    stop: int
    sequences: np.ndarray


class Shared(NamedTuple):
    """What sequences read together. prefixes: outer ones first.  alone_from: (n,) int64, the page from which on each
    reads by itself."""

    prefixes: list[Prefix]
    alone_from: np.ndarray


@dataclass(slots=True)
class Composition:
    """Arrays of kernels.tree_attention.Units, and what is needed to bring them up to date.

    units (u, 6), readers (r,), order (r,), starts (n,), stops (n,), pages (p,): int32.
    owners: (u,) the sequence of a unit that grows, -1 for units of prefixes. firsts: (u,) the sequence's first token
    that the unit may hold.  prefixes: those read together.  stretch: keys in one unit, at most.
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
    stretch: int

    def set_lengths(self, lengths: np.ndarray) -> None:
        """lengths: (sequences,) all keys each has now, its new tokens among them; writes the units' n_keys."""
        grows = self.owners >= 0
        left = lengths[self.owners[grows]] - self.firsts[grows]
        self.units[grows, 2] = np.clip(left, 0, self.stretch)


def compose(
    table: np.ndarray,
    n_pages: np.ndarray,
    token_starts: np.ndarray,
    token_counts: np.ndarray,
    n_rows: int,
    group: int,
    page_tokens: int,
    shared: Shared | None = None,
    room: Room | None = None,
) -> Composition:
    """The work of a step of n sequences; call set_lengths() before it is used.

    table: (n, longest) int32, the pages of each sequence, the first n_pages of its row, as many as it may fill.
    token_starts, token_counts: (n,) its query tokens, among the n_rows of the step; sequences that are attended
    otherwise have none.  group: query heads per KV head.  shared: of the sequences that have tokens, where it is known.
    room: what the units should fit in. Stretches are then as long as that takes; as without, where no length does.
    """
    reading = np.flatnonzero(token_counts)
    if shared is None:
        shared = find_shared(table, n_pages, reading, page_tokens)
    narrow_room, wide_room = (readers_of_unit(group, is_wide=is_wide) for is_wide in (False, True))
    tokens_of = [
        _ranges(token_starts[each.sequences], token_counts[each.sequences]).astype(np.int32) for each in shared.prefixes
    ]
    alone_from, last = shared.alone_from[reading], n_pages[reading]
    # Work comes in pieces: pages start .. stop - 1 of a list, with readers that stand in a row of another list.
    starts = np.concatenate([np.array([each.start for each in shared.prefixes], dtype=np.int64), alone_from])
    stops = np.concatenate([np.array([each.stop for each in shared.prefixes], dtype=np.int64), last])
    n_readers = np.concatenate([np.array([len(each) for each in tokens_of], dtype=np.int64), token_counts[reading]])
    owners = np.concatenate([np.full(len(shared.prefixes), -1, dtype=np.int64), reading])
    tables = np.concatenate([np.array([each.sequences[0] for each in shared.prefixes], dtype=np.int64), reading])
    tokens = np.concatenate([np.empty(0, np.int32), *tokens_of, _ranges(token_starts[reading], token_counts[reading])])
    lengths = stops - starts
    pieces = _Pieces(
        first_page=np.cumsum(lengths) - lengths,
        start=starts * page_tokens,
        n_keys=lengths * page_tokens,
        first_reader=np.cumsum(n_readers) - n_readers,
        n_readers=n_readers,
        owner=owners,
    )
    is_wide = n_readers > narrow_room
    stretch = STRETCH_TOKENS if room is None else _stretch_in(room, pieces, is_wide, wide_room)
    parts = [
        _cut(pieces.only(which), readers, stretch, page_tokens)
        for which, readers in ((is_wide, wide_room), (~is_wide, narrow_room))
    ]
    pages = table[np.repeat(tables, lengths), _ranges(starts, lengths)]
    return _assemble(parts, pages, tokens.astype(np.int32), shared.prefixes, n_rows, stretch)


class _Pieces(NamedTuple):
    """(n,) int64 each. start: the position of the first key.  owner: the sequence that alone reads it, -1: several."""

    first_page: np.ndarray
    start: np.ndarray
    n_keys: np.ndarray
    first_reader: np.ndarray
    n_readers: np.ndarray
    owner: np.ndarray

    def only(self, which: np.ndarray) -> _Pieces:
        return _Pieces(*(each[which] for each in self))


class _Cut(NamedTuple):
    """Units of pieces. table: (u, 4) first_page, offset, n_keys, position.  first_token, n_tokens: (u,) readers, where
    those of all pieces stand.  owner: (u,)."""

    table: np.ndarray
    first_token: np.ndarray
    n_tokens: np.ndarray
    owner: np.ndarray


def _stretch_in(room: Room, pieces: _Pieces, is_wide: np.ndarray, wide_room: int) -> int:
    """The shortest stretch, a multiple of STRETCH_TOKENS, whose units and readers are in the room; STRETCH_TOKENS where
    none is, as the step then runs without a graph."""
    n_tiles = np.where(is_wide, -(-pieces.n_readers // wide_room), 1)

    def is_in(times: int) -> bool:
        stretches = -(-pieces.n_keys // (times * STRETCH_TOKENS))
        wide, narrow = (int((stretches * n_tiles)[which].sum()) for which in (is_wide, ~is_wide))
        return wide <= room.wide and narrow <= room.narrow and int(stretches @ pieces.n_readers) <= room.readers

    most = max(1, -(-int(pieces.n_keys.max(initial=0)) // STRETCH_TOKENS))
    times = bisect_left(range(most + 1), True, lo=1, key=is_in)  # longer ones are never more
    return STRETCH_TOKENS * (times if times <= most else 1)


def _cut(pieces: _Pieces, room: int, stretch_tokens: int, page_tokens: int) -> _Cut:
    """Pieces as units of up to stretch_tokens keys and `room` readers."""
    n_tiles = -(-pieces.n_readers // room)
    n_units = -(-pieces.n_keys // stretch_tokens) * n_tiles
    piece = np.repeat(np.arange(len(n_units)), n_units)
    stretch, tile = np.divmod(_ranges(np.zeros_like(n_units), n_units), np.maximum(n_tiles, 1)[piece])
    at = stretch * stretch_tokens
    table = np.stack(
        [
            pieces.first_page[piece] + at // page_tokens,
            at % page_tokens,
            np.minimum(stretch_tokens, pieces.n_keys[piece] - at),
            pieces.start[piece] + at,
        ],
        axis=1,
    )
    n_tokens = np.minimum(room, pieces.n_readers[piece] - tile * room)
    return _Cut(table, pieces.first_reader[piece] + tile * room, n_tokens, pieces.owner[piece])


def _assemble(
    parts: list[_Cut], pages: np.ndarray, tokens: np.ndarray, prefixes: list[Prefix], n_rows: int, stretch: int
) -> Composition:
    """parts: wide units, then narrow ones."""
    table, first_token, counts, owners = (np.concatenate(each) for each in zip(*parts, strict=True))
    readers = tokens[_ranges(first_token, counts)]
    per_token = np.bincount(readers, minlength=n_rows)
    stops = np.cumsum(per_token)
    return Composition(
        units=np.column_stack([table, np.cumsum(counts) - counts, counts]).astype(np.int32),
        n_wide=len(parts[0].table),
        pages=pages.astype(np.int32),
        readers=readers,
        starts=(stops - per_token).astype(np.int32),
        stops=stops.astype(np.int32),
        order=np.argsort(readers, kind="stable").astype(np.int32),
        owners=owners,
        firsts=table[:, 3],
        prefixes=prefixes,
        stretch=stretch,
    )


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """starts[0] .. starts[0] + counts[0] - 1, then the same of 1, and so on; int64."""
    total = int(counts.sum())
    return np.arange(total) + np.repeat(starts - (np.cumsum(counts) - counts), counts)


# -- finding what is shared ---------------------------------------------------------------------------------------


def find_shared(table: np.ndarray, n_pages: np.ndarray, which: np.ndarray, page_tokens: int) -> Shared:
    """Prefixes that are worth reading together, of those sequences. It stays so while they get more pages of their own.

    A page that stands in two tables stands at the same place in both, with the same pages before it.
    """
    alone_from = np.zeros(len(n_pages), dtype=np.int64)
    prefixes: list[Prefix] = []
    # Each level: sequences that have the same pages up to `agreed`, of which those before `start` are dealt with.
    todo = [(which, 0, 0)] if len(which) > 1 else []
    while todo:
        members, start, agreed = todo.pop(0)
        common = _common(table, n_pages, members, agreed)
        if (common - start) * page_tokens * (len(members) - 1) >= _WORTH_READINGS:
            prefixes.append(Prefix(start, common, members))
            start = common
        alone_from[members] = start
        todo += [(branch, start, common) for branch in _branches(table, members[common < n_pages[members]], common)]
    return Shared(prefixes, alone_from)


def _branches(table: np.ndarray, members: np.ndarray, page: int) -> list[np.ndarray]:
    """The members that have this page in common, by twos or more."""
    if len(members) < 2:
        return []
    order = np.argsort(table[members, page], kind="stable")
    ordered = table[members[order], page]
    cuts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    return [members[each] for each in np.split(order, cuts) if len(each) > 1]


def _common(table: np.ndarray, n_pages: np.ndarray, members: np.ndarray, agreed: int) -> int:
    """How many pages all members have in common; they agree on the first `agreed`."""
    shortest = int(n_pages[members].min())
    width = 8  # looked at, twice as many each time
    while agreed < shortest:
        stop = min(agreed + width, shortest)
        is_same = (table[members, agreed:stop] == table[members[0], agreed:stop]).all(axis=0)
        if not is_same.all():
            return agreed + int(is_same.argmin())
        agreed, width = stop, 2 * width
    return agreed
