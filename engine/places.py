"""Who has a place in memory and who waits for one. A place is taken, outgrown, given up for others, and left.

Who gives way to whom is one order, so that no two take turns at it: online before offline, older before younger.
Nothing is lost by it: tokens are kept, and their KV goes to the tree, from there to the tiers when memory is needed,
and is read back, or computed again, when the sequence has a place again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from .book import Book
from .counts import Counts
from .limits import Limits
from .prefixes import Prefixes
from .running import Running, Sequence
from .waiting import Waiting


class Places:
    """Owned by the step loop. seats: (n,) int64, of those that run, in their order; replaced, never changed."""

    def __init__(
        self, book: Book, prefixes: Prefixes, limits: Limits, counts: Counts, clock: Callable[[], float]
    ) -> None:
        self.prefixes = prefixes
        self.limits = limits
        self.waiting = Waiting(limits)
        self.running: dict[int, Running] = {}  # in the order in which they took their places
        self.seats = np.empty(0, dtype=np.int64)
        self._book = book
        self._counts = counts
        self._clock = clock

    def add(self, sequence: Sequence) -> None:
        """A new request; it waits."""
        sequence.arrived_s = self._clock()
        self.waiting.add(sequence)

    def get(self, key: int) -> Sequence | None:
        """A request that waits or runs."""
        running = self.running.get(key)
        return running.sequence if running else self.waiting.get(key)

    def leave(self, sequence: Sequence, *, remember: bool) -> None:
        """The end of a request. remember: its KV is sound and may go to the tree."""
        self.waiting.pop(sequence.key)
        running = self.running.get(sequence.key)
        try:
            if running is not None:
                self._forget(running)
                self.prefixes.leave(running.room, running.computed_ids if remember else running.computed_ids[:0])
        finally:
            self._book.close(sequence)

    def start(self, keys: Iterable[int]) -> None:
        """Give waiting sequences their places, in order, as far as memory goes.

        Online ones get the memory of offline ones where they need it.
        """
        for key in keys:
            sequence = self.waiting[key]
            while not self._take(sequence):
                last = max(self.running.values(), key=_rank, default=None)
                if not sequence.online or last is None or last.sequence.online:
                    return
                self.give_way([last.key])

    def give_way(self, keys: Iterable[int]) -> None:
        """Put offline sequences back, for online ones to run."""
        for key in keys:
            self._put_back(self.running[key])
            self._counts.gave_way += 1

    def put_back(self, key: int) -> None:
        """Have a sequence wait for a place again."""
        self._put_back(self.running[key])

    def make_room_for_output(self) -> None:
        """Give sequences that have outgrown their place a larger one; the last in order give way."""
        outgrown = self._book.n_tokens[self.seats] > self._book.capacity[self.seats]
        if not outgrown.any():
            return
        for running in [each for each, is_out in zip(self.running.values(), outgrown, strict=True) if is_out]:
            if self.running.get(running.key) is not running:
                continue
            self._put_back(running)
            while not self._take(running.sequence):
                last = max(self.running.values(), key=_rank, default=running)
                self._counts.put_back += 1
                if _rank(last) <= _rank(running):
                    break
                self._put_back(last)

    def _take(self, sequence: Sequence) -> bool:
        """Give a waiting sequence its place; False when there is no room now."""
        capacity = len(sequence.ids) + self._growth(sequence)
        begun = sequence.n_cached is not None
        room = self.prefixes.take(sequence.ids.view, sequence.request.namespace, capacity, again=begun)
        if room is None:
            return False
        self.waiting.pop(sequence.key)
        self._seat(Running(sequence, room))
        if not begun:
            sequence.n_cached = min(room.n_shared, sequence.n_prompt)
            self._counts.cached_tokens += sequence.n_cached
            self._counts.waits[sequence.request.priority].note(self._clock() - sequence.arrived_s)
        return True

    def _growth(self, sequence: Sequence) -> int:
        """The room for output it gets now.

        Growing means that the tree takes a copy of the sequence's KV, which is read back; what the tree has no room for
        is computed again. So there is more room the more of that there may be, as in an array that grows by half.
        """
        rest = sequence.remaining
        if not self.prefixes.enabled:
            return rest
        ids = sequence.ids.view
        n_own = len(ids) - self.prefixes.n_cached(ids, sequence.request.namespace)
        return min(rest, max(self.limits.growth_tokens, n_own // 2))

    def _put_back(self, running: Running) -> None:
        """Take a sequence's place away; it waits, with its tokens, before others."""
        self._forget(running)
        running.sequence.ids.unload()
        self.waiting.put_back(running.sequence)
        self.prefixes.leave(running.room, running.computed_ids)

    def _seat(self, running: Running) -> None:
        """It is the last of those that run."""
        sequence, room, book = running.sequence, running.room, self._book
        seat = sequence.seat
        book.n_computed[seat], book.n_joined[seat] = room.n_shared, len(sequence.ids)
        book.slot[seat], book.capacity[seat] = room.slot, room.capacity
        book.idle[seat] = book.given[seat] = 0
        sequence.ids.load()
        self.running[sequence.key] = running
        self.seats = np.append(self.seats, seat)

    def _forget(self, running: Running) -> None:
        """It is none of those that run."""
        del self.running[running.key]
        self.seats = self.seats[self.seats != running.seat]


def _rank(running: Running) -> tuple[bool, int]:
    """Who is last in this order gives way first."""
    return not running.sequence.online, running.key
