"""Whether elements that must differ leave those behind them what they need, whichever comes next.

Most kinds of elements have more values than an array could use up. Of those that have few, each value that is needed
is a demand; that all demands can be met by different values is a matching, which is looked for again without each value
that the next element may be.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from .counts import Left, Way
from .expr import POOL, Kind
from .json_equal import Number, values_equal
from .json_layout import Layout
from .known_values import all_values, has_values, values_behind
from .pools import memo

_MOST_DEMANDS = 16
_QUOTES = 1 << ord('"')

Ways = tuple[Way, ...]


class _Demand(NamedTuple):
    """An element that is needed: values that it may be; and the tally it is needed for."""

    values: frozenset[Hashable]
    tally: int | None


def leaves_enough(
    form: Layout, now: Ways, later: Sequence[Ways], items: Ways, still: Left, seen: frozenset[Hashable], wanted: int
) -> bool:
    """Whether behind any next element the array can be ended, and behind a comma gone on with; errs towards no.

    now: the ways of the next element. later: those of the places behind it, then come items. wanted: more values than
    could be used up.
    """
    if not _has_values_left(now, seen, wanted) or not _may_be_told(later, still):
        return False
    demands = _demands(later, items, still, seen, wanted)
    if demands is None or not _can_be_met([demand.values for demand in demands]):
        return False
    few = {value for demand in demands for value in demand.values}
    spent = ((value, way) for value in few for way in now if _may_be(form.inner, way.value, value))
    return all(
        any(
            _can_be_met([demand.values - {value} for demand in _less(demands, other.counts)])
            for other in now
            if other == way or _covers(form.inner, value, way.value, other.value)
        )
        for value, way in spent
    )


def spelled_once(form: Layout, ways: Ways) -> Ways:
    """Ways of which none has a string that another one has, counting towards more, but as that one spells it.

    Else one could be used up without being counted, by being spelled in another way.
    """
    found = list(ways)
    for way in ways:
        texts = POOL.alt(*[part for part in _choices(way.value) if POOL.first(part) == _QUOTES])
        strings = [each.value for each in all_values(texts, _MOST_DEMANDS) or ()]
        if strings:
            others = POOL.alt(*[values_equal(form.inner, value) for value in strings])
            besides = POOL.not_(POOL.and_(others, POOL.not_(way.value)))
            found = [_strings_as(other, besides) if other.counts < way.counts else other for other in found]
    return tuple(found)


def _strings_as(way: Way, condition: int) -> Way:
    parts = [POOL.and_(p, condition) if POOL.first(p) == _QUOTES else p for p in _choices(way.value)]
    return Way(POOL.alt(*parts), way.counts)


def _choices(expression: int) -> Sequence[int]:
    kind, *rest = POOL.node(expression)
    return rest[0] if kind == Kind.ALT else [expression]


def _has_values_left(ways: Ways, seen: frozenset[Hashable], wanted: int) -> bool:
    return _are_many(ways, wanted) or not _some_values(ways, wanted) <= seen


def _may_be_told(later: Sequence[Ways], still: Left) -> bool:
    """Whether no upper bound keeps demands from being met together."""
    if not still.tallies or (not later and len(still.tallies) == 1):
        return True
    return still.total.high is None and all(tally.high is None for tally in still.tallies)


def _demands(
    later: Sequence[Ways], items: Ways, still: Left, seen: frozenset[Hashable], wanted: int
) -> list[_Demand] | None:
    """The elements of few values that are needed behind the next one; None: too many."""
    count = max(still.total.low - 1, 1)  # one at least, so that a comma may come
    if not still.tallies:
        others, free = list(later[:count]), items
    else:  # what counts comes behind all places of their own, and does not fill the array up
        others, limited = list(later), any(tally.high is not None for tally in still.tallies)
        free = tuple(way for way in items if not (limited and way.counts))
    needed: list[tuple[Ways, int | None]] = [(ways, None) for ways in others]
    needed += [(free, None)] * min(count - len(others), _MOST_DEMANDS + 1)
    for i, tally in enumerate(still.tallies):
        needed += [(tuple(way for way in items if i in way.counts), i)] * min(tally.low, _MOST_DEMANDS + 1)
    demands: list[_Demand] = []
    for index, (ways, tally) in enumerate(needed):
        may_end = not items and tally is None and index >= still.total.low - 1
        if _are_many(ways, wanted) or (not ways and may_end):
            continue
        if len(demands) == _MOST_DEMANDS:
            return None
        demands.append(_Demand(_some_values(ways, wanted) - seen, tally))
    return demands


def _less(demands: list[_Demand], counts: frozenset[int]) -> Iterator[_Demand]:
    """The demands without one of each tally that an element counts towards."""
    left = set(counts)
    for demand in demands:
        if demand.tally in left:
            left.remove(demand.tally)
        else:
            yield demand


def _can_be_met(demands: list[frozenset[Hashable]]) -> bool:
    """Whether there is a value for each, all different."""
    met: dict[Hashable, int] = {}

    def meet(index: int, tried: set[Hashable]) -> bool:
        for value in demands[index] - tried:
            tried.add(value)
            if value not in met or meet(met[value], tried):
                met[value] = index
                return True
        return False

    return all(meet(index, set()) for index in range(len(demands)))


@memo
def _are_many(ways: Ways, wanted: int) -> bool:
    return any(has_values(way.value, wanted) for way in ways)


def _some_values(ways: Ways, wanted: int) -> frozenset[Hashable]:
    """Values that there are, as they were found when many were looked for; others there may be do no harm."""
    return frozenset(each.value for way in ways for each in values_behind(b"", way.value, wanted))


@memo
def _may_be(form: Layout, expression: int, value: Hashable) -> bool:
    """Whether a value can be written so; errs towards yes."""
    if isinstance(value, tuple) and not isinstance(value, Number):
        return True  # arrays and objects may hold what is not to be told beside other conditions
    return not POOL.is_empty(POOL.and_(expression, values_equal(form, value)))


@memo
def _covers(form: Layout, value: Hashable, expression: int, other: int) -> bool:
    """Whether a value that is written as `expression` has it is written as another one has it, too."""
    if isinstance(value, tuple):  # numbers have too many texts for it to be found out
        return False
    texts = POOL.and_(expression, values_equal(form, value))
    return POOL.is_empty(POOL.and_(texts, POOL.not_(other)))
