"""Arrays as expressions."""

from __future__ import annotations

from collections.abc import Sequence

from .counts import Left, Tally, Way, check_states, left, repeated
from .expr import EMPTY, EPSILON, POOL
from .json_layout import Layout
from .pools import memo


def array(
    form: Layout,
    prefix: Sequence[Sequence[Way]],
    items: Sequence[Way],
    low: int = 0,
    high: int | None = None,
    tallies: Sequence[Tally] = (),
    unique: bool = False,
) -> int:
    """Arrays of low to high elements: the first as `prefix` has them in turn, then any number of `items`.

    tallies: how many of the elements are written in ways that count towards each. unique: no two elements are equal as
    JSON values. Raises GrammarError for counts too large to be combined.
    """
    if not prefix and len(items) == 1 and low == 0 and high is None and not (tallies or unique):
        return _any_number(form, items[0].value)
    start = left(low, high, tallies)
    if unique:
        from .unique import unique_array  # which compares arrays, too

        return unique_array(form, tuple(map(tuple, prefix)), tuple(items), start)
    rest = _rest(form, [tuple(ways) for ways in prefix], tuple(items), start, first=True)
    return POOL.frame(POOL.concat(form.open_array, rest))


def _any_number(form: Layout, item: int) -> int:
    """Arrays of any number of elements, which are the most: as `_rest` has them, in fewer steps."""
    rest = POOL.many_before(form.comma, item, form.close_array)
    first = item if form.first == EPSILON else POOL.concat(form.first, item)
    return POOL.frame_of(form.open_array, [(b"", form.close_empty_array, EPSILON), (b"", first, rest)])


@memo
def rest_behind(form: Layout, prefix: tuple[tuple[Way, ...], ...], items: tuple[Way, ...], still: Left) -> int:
    """All behind an element, given what is to come then."""
    return _rest(form, prefix, items, still, first=False)


def _rest(form: Layout, prefix: Sequence[tuple[Way, ...]], items: tuple[Way, ...], start: Left, *, first: bool) -> int:
    """All that is to come. Built from the right, for the counts that can be met at each place.

    first: behind the opening bracket, not behind an element.
    """
    places: list[set[Left]] = [{start}]
    elements = [*prefix] or [items]
    for ways in elements:
        after = (still.after(way.counts) for still in places[-1] for way in ways)
        places.append({still for still in after if still is not None})
    check_states(sum(map(len, places)))
    tails = {still: repeated(form.comma, items, form.close_array, still) for still in places[-1]}
    for index in reversed(range(len(elements))):
        at_start = first and index == 0
        comma = form.first if at_start else form.comma
        close = form.close_empty_array if at_start else form.close_array
        tails = {still: _element(comma, elements[index], close, tails, still) for still in places[index]}
    return tails[start]


def _element(comma: int, ways: Sequence[Way], close: int, tails: dict[Left, int], still: Left) -> int:
    """The end of the array, if it may be here, or one more element and what follows it."""
    values: dict[int, list[int]] = {}
    for way in ways:
        rest = still.after(way.counts)
        if rest is not None:
            values.setdefault(tails[rest], []).append(way.value)
    more = [POOL.concat(comma, POOL.alt(*found), rest) for rest, found in values.items()]
    return POOL.alt(close if still.may_stop() else EMPTY, *more)
