"""How many elements or members are still to come: in all, and towards tallies such as `contains`.

What may still be written depends on the numbers left alone, never on those already written, so lists that have come to
the same point share their expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from .errors import GrammarError
from .expr import EMPTY, POOL

MAX_STATES = 100_000
"""Points (places in a list, times the counts there) that one list may come to where they are all written out."""


class Tally(NamedTuple):
    """Between low and high; high None: any number from low."""

    low: int
    high: int | None


class Way(msgspec.Struct, frozen=True, gc=False):  # there are very many: no work for the garbage collector
    """One way in which a value may be written, and the tallies (by index) it counts towards."""

    value: int
    counts: frozenset[int] = frozenset()

    def changed(self, change: Callable[[int], int]) -> Way:
        """The same of another expression."""
        return Way(change(self.value), self.counts)


class Left(NamedTuple):
    """What is still to come: in all, and towards each tally."""

    total: Tally
    tallies: tuple[Tally, ...] = ()

    def after(self, counts: frozenset[int]) -> Left | None:
        """What is left when one more is written, that counts towards `counts`; None: that would be too many."""
        total = _one_less(self.total)
        tallies = tuple(_one_less(tally) if i in counts else tally for i, tally in enumerate(self.tallies))
        return None if any(tally.high == -1 for tally in (total, *tallies)) else Left(total, tallies)

    def allows_all_of(self, other: Left) -> bool:
        """Whether whatever may come where `other` is left may come here, too."""
        pairs = zip((self.total, *self.tallies), (other.total, *other.tallies), strict=True)
        return all(a.low <= b.low and (a.high is None or (b.high is not None and a.high >= b.high)) for a, b in pairs)

    def least(self) -> tuple[int, ...]:
        """How many have to come at least: in all, which are no fewer than any tally needs, and towards each tally."""
        tallies = tuple([tally.low for tally in self.tallies])
        return (max(self.total.low, *tallies) if tallies else self.total.low, *tallies)

    def may_stop(self) -> bool:
        """Whether nothing more has to come."""
        return self.least()[0] == 0


def left(low: int, high: int | None, tallies: Sequence[Tally]) -> Left:
    """All of a list is still to come."""
    return Left(Tally(low, high), tuple(tallies))


def _one_less(tally: Tally) -> Tally:
    return Tally(max(tally.low - 1, 0), None if tally.high is None else tally.high - 1)


def check_states(count: int) -> None:
    """Refuse a list that comes to too many points."""
    if count > MAX_STATES:
        reason = f"counts too much at once: more than {MAX_STATES} combinations of place and counts"
        raise GrammarError("constraint", "", reason, "lower the bounds, or count fewer things")


# -- the same ways again and again ----------------------------------------------------------------------------


def repeated(comma: int, ways: Sequence[Way], close: int, still: Left) -> int:
    """Any number of `ways` that the counts allow, a comma before each, then `close`, which must not be nullable."""
    simple = _simplified(ways, still)
    if simple is None:
        return EMPTY
    ways, still = simple
    if not still.tallies:
        unit = POOL.concat(comma, POOL.alt(*[way.value for way in ways]))
        return POOL.concat(POOL.repeat(unit, *still.total), close)
    name = ("repeated", comma, ways, close, still)
    if not POOL.is_defined(name):
        outline = _one_tally(comma, ways, close, still) if len(still.tallies) == 1 else None
        if outline is None:
            check_states(_combinations(still))
        POOL.define(name, lambda: _next(comma, ways, close, still), outline)
    return POOL.ref(name)


def _next(comma: int, ways: tuple[Way, ...], close: int, still: Left) -> int:
    choices = [close if still.may_stop() else EMPTY]
    for way in ways:
        rest = still.after(way.counts)
        if rest is not None:
            choices.append(POOL.concat(comma, way.value, repeated(comma, ways, close, rest)))
    return POOL.alt(*choices)


def _simplified(ways: Iterable[Way], still: Left) -> tuple[tuple[Way, ...], Left] | None:
    """The same with tallies that matter alone, and one way for each set of them; None: it cannot be.

    A tally towards which each way counts is a bound on the total, one that may grow no more strikes ways out.
    """
    total, ways = still.total, [way for way in ways if way.value != EMPTY]
    open_tallies = dict(enumerate(still.tallies))
    settled = False
    while not settled:
        settled = True
        for i, tally in list(open_tallies.items()):
            counting = [way for way in ways if i in way.counts]
            if tally.high is not None and tally.low > tally.high:
                return None
            if ways and len(counting) == len(ways):
                highs = [high for high in (total.high, tally.high) if high is not None]
                total = Tally(max(total.low, tally.low), min(highs, default=None))
            elif tally.high == 0:
                ways = [way for way in ways if i not in way.counts]
            elif not counting and tally.low:
                return None
            elif counting and tally != (0, None):
                continue
            del open_tallies[i]
            settled = False
    if not ways:
        total = Tally(total.low, 0)
    if total.high is not None and total.low > total.high:
        return None
    merged: dict[frozenset[int], list[int]] = {}
    names = {old: new for new, old in enumerate(open_tallies)}
    for way in ways:
        merged.setdefault(frozenset(names[i] for i in way.counts if i in names), []).append(way.value)
    joined = tuple(Way(POOL.alt(*values), counts) for counts, values in merged.items())
    return tuple(sorted(joined, key=lambda way: (sorted(way.counts), way.value))), Left(
        total, tuple(open_tallies.values())
    )


def _one_tally(comma: int, ways: Sequence[Way], close: int, still: Left) -> int:
    """The shortest of `repeated` with one tally: as few as may be, and of those that count as few or as many.

    The length is linear in how many of them count, so one end of the range has a shortest.
    """
    (low, high), (tally,) = still.total, still.tallies
    counting = POOL.alt(*[POOL.concat(comma, way.value) for way in ways if way.counts])
    others = POOL.alt(*[POOL.concat(comma, way.value) for way in ways if not way.counts])
    choices = []
    if high is None or tally.low <= high:
        most = max(low, tally.low)
        for n in {tally.low, most if tally.high is None else min(most, tally.high)}:
            more = max(low - n, 0)
            choices.append(POOL.concat(POOL.repeat(counting, n, n), POOL.repeat(others, more, more), close))
    return POOL.alt(*choices)


def _combinations(still: Left) -> int:
    result = 1
    for tally in (still.total, *still.tallies):
        result *= (tally.low if tally.high is None else tally.high) + 1
    return result
