"""Objects as expressions: their members in the order of the schema, or in any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from .counts import Left, Tally, Way, check_states, left, repeated
from .expr import EMPTY, POOL
from .json_layout import Layout


class Member(msgspec.Struct, frozen=True, gc=False):
    """One member of an object, or one kind of them: the text of its key, and the ways to write its value."""

    key: int
    ways: tuple[Way, ...]
    required: bool

    def changed(self, change: Callable[[int], int]) -> Member:
        """The same of other expressions."""
        return Member(change(self.key), tuple(way.changed(change) for way in self.ways), self.required)

    def is_possible(self) -> bool:
        """Whether it can be written."""
        return not POOL.is_empty(self.key) and any(not POOL.is_empty(way.value) for way in self.ways)


UNCOUNTED = left(0, None, ())
"""Anything may be to come, and nothing has to."""


class Point(NamedTuple):
    """A point in an object in schema order: what is still to come, and whether nothing was written yet."""

    first: bool
    still: Left


def object_(
    form: Layout,
    members: Sequence[Member],
    others: Sequence[Member],
    low: int = 0,
    high: int | None = None,
    tallies: Sequence[Tally] = (),
    any_order: bool = False,
    distinct: bool = False,
) -> int:
    """Objects with `members`, those not required perhaps left out, and any number of `others`; low to high in all.

    members come in this order, then the others; or, any_order, all of them mixed freely. tallies: how many of the
    members, others included, are written in ways that count towards each. distinct: no key of the others comes twice.
    Raises GrammarError for counts too large to be combined.
    """
    if distinct and others:
        from .distinct import distinct_object  # which is made of these

        still = left(low, high, tallies)
        return distinct_object(form, tuple(members), tuple(others), still, any_order=any_order)
    start = Point(True, left(low, high, tallies))
    if any_order:
        from .json_any_order import any_order as in_any_order  # which is made of these

        rest = in_any_order(form, tuple(members), tuple(others), start)
    else:
        rest = in_order(form, members, others, start)
    return POOL.frame(POOL.concat(form.open_object, rest))


def written_ways(form: Layout, member: Member) -> tuple[Way, ...]:
    """The ways to write a member: its key in front of each."""
    return tuple(Way(POOL.concat(member.key, form.colon, way.value), way.counts) for way in member.ways)


def joined(comma: int, ways: Sequence[tuple[int, int]]) -> list[int]:
    """Each text, a comma before it and its rest behind it; texts with the same rest together."""
    texts: dict[int, list[int]] = {}
    for text, rest in ways:
        texts.setdefault(rest, []).append(text)
    return [POOL.concat(comma, POOL.alt(*found), rest) for rest, found in texts.items()]


def closed(form: Layout, point: Point) -> int:
    """The end of the object, where it may be here."""
    if not point.still.may_stop():
        return EMPTY
    return form.close_empty_object if point.first else form.close_object


def point_after(point: Point, way: Way) -> Point | None:
    """The point behind a member written in a way; None: it may not be written so."""
    return _point_after(point, way.counts)


@lru_cache(1 << 14)  # equal points are one, as very many expressions are named by them
def _point_after(point: Point, counts: frozenset[int]) -> Point | None:
    still = point.still.after(counts)
    return None if still is None else Point(False, still)


# -- in the order of the schema -------------------------------------------------------------------------------


def in_order(
    form: Layout, members: Sequence[Member], others: Sequence[Member], start: Point, *, briefly: bool = False
) -> int:
    """All behind the opening brace. Built from the right, for the points that can be come to at each member.

    briefly: without what may be left out once nothing more has to come; a shortest string is kept.
    """
    if start.still == UNCOUNTED and not briefly and all(len(member.ways) == 1 for member in members):
        return _in_order_uncounted(form, members, [way for other in others for way in written_ways(form, other)], start)
    last = max((i for i, member in enumerate(members) if member.required), default=-1)
    written = [written_ways(form, member) for member in members]
    points: list[set[Point]] = [{start}]
    for i, (member, ways) in enumerate(zip(members, written, strict=True)):
        here = {p for p in points[-1] if not (briefly and i > last and p.still.may_stop())}
        after = {point_after(point, way) for point in here for way in ways}
        points.append({point for point in after if point} | (set() if member.required else points[-1]))
    check_states(sum(map(len, points)))
    other_ways = tuple(way for other in others for way in written_ways(form, other))
    tails = {point: _others(form, other_ways, point) for point in points[-1]}
    for i, member, ways in reversed(list(zip(range(len(members)), members, written, strict=True))):
        brief = briefly and i > last
        tails = {
            point: closed(form, point)
            if brief and point.still.may_stop()
            else _member(form, member, ways, tails, point)
            for point in points[i]
        }
    return tails[start]


def _in_order_uncounted(form: Layout, members: Sequence[Member], others: Sequence[Way], start: Point) -> int:
    """`in_order` where nothing is counted: what is to come depends on whether a member was written, and nothing else.

    behind: what follows where one was; first: where none was, made for as long as none needs to have been.
    """
    other = POOL.alt(*[way.value for way in others])
    behind = POOL.concat(POOL.repeat(POOL.concat(form.comma, other), 0, None), form.close_object)
    first = EMPTY
    free = next((i for i, member in enumerate(members) if member.required), len(members)) if start.first else -1
    if free == len(members):
        first = POOL.alt(form.close_empty_object, POOL.concat(form.first, other, behind))
    for i in reversed(range(len(members))):
        member = members[i]
        written = POOL.concat(member.key, form.colon, member.ways[0].value, behind)
        if i <= free:
            first = POOL.alt(POOL.concat(form.first, written), EMPTY if member.required else first)
        with_comma = POOL.concat(form.comma, written)
        behind = with_comma if member.required else POOL.alt(with_comma, behind)
    return first if start.first else behind


def _member(form: Layout, member: Member, ways: Sequence[Way], tails: dict[Point, int], point: Point) -> int:
    """This member and what follows it; or, if it is not required, what follows without it."""
    comma = form.first if point.first else form.comma
    found = [(way.value, tails[after]) for way in ways if (after := point_after(point, way))]
    return POOL.alt(*joined(comma, found), EMPTY if member.required else tails[point])


def _others(form: Layout, ways: tuple[Way, ...], point: Point) -> int:
    """Any number of members that are not listed, and the end of the object."""
    if not point.first:
        return repeated(form.comma, ways, form.close_object, point.still)
    found = [
        (way.value, repeated(form.comma, ways, form.close_object, after.still))
        for way in ways
        if (after := point_after(point, way))
    ]
    return POOL.alt(closed(form, point), *joined(form.first, found))
