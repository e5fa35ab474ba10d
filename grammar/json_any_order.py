"""Objects whose members come in any order, written point by point as texts come to them.

There are 2 ** members sets of members that may be still to come, so each becomes an expression when it is first met,
never before; and as there is one for each member that may be next, the length of its shortest text is added up, not
searched for.
"""

from __future__ import annotations

from .counts import Left, Way
from .expr import EMPTY, POOL
from .json_layout import Layout
from .json_objects import Member, Point, closed, in_order, joined, point_after, written_ways
from .pools import memo
from .witness import NEVER

_Shortest = tuple[int, int, int, int]
"""Bytes of what stands before the first member, before another, at the end of an empty object, and of any other."""


class _Entry:
    """A member, or a kind of them, as a pool has it: made once, so that names of many hold no more than which ones."""

    __slots__ = ("_length", "member", "ways")

    def __init__(self, form: Layout, member: Member) -> None:
        self.member = member
        self.ways: tuple[Way, ...] = written_ways(form, member)
        self._length = -1

    @property
    def length(self) -> int:
        """Bytes of its shortest text. To be asked once all references inside are defined."""
        if self._length < 0:
            self._length = min((POOL.shortest_length(way.value) for way in self.ways), default=NEVER)
        return self._length


@memo
def _entry(form: Layout, member: Member) -> _Entry:
    return _Entry(form, member)


@memo
def _shortest(form: Layout) -> _Shortest:
    length = POOL.shortest_length
    return length(form.first), length(form.comma), length(form.close_empty_object), length(form.close_object)


def any_order(form: Layout, members: tuple[Member, ...], others: tuple[Member, ...], start: Point) -> int:
    """All behind the opening brace: `members` in any order, any number of `others` among them."""
    entries = tuple(_entry(form, member) for member in members)
    return _Rest(form, tuple(_entry(form, other) for other in others)).ref(entries, start)


class _Rest:
    """Writes what may follow in one object, or in others with the same members."""

    def __init__(self, form: Layout, others: tuple[_Entry, ...]) -> None:
        self._form = form
        self._others = others

    def ref(self, members: tuple[_Entry, ...], point: Point, length: int = -1) -> int:
        """What may follow: the rest of an object that has yet to write those of `members` that are required.

        length: of its shortest text, if known.
        """
        name = ("members", self._form, members, self._others, point)
        if not POOL.is_defined(name):
            POOL.define(name, lambda: self._next(members, point), lambda: self._outline(members, point))
        found = POOL.ref(name)
        if length >= 0:
            POOL.know(found, length)
        return found

    def _outline(self, members: tuple[_Entry, ...], point: Point) -> int:
        """One of the shortest: the order does not matter to the length."""
        needed = [entry.member for entry in members if entry.member.required]
        enough = not point.still.tallies and point.still.total.low <= len(needed)
        wanted = needed if enough else [entry.member for entry in members]
        return in_order(self._form, wanted, [other.member for other in self._others], point, briefly=True)

    def _next(self, members: tuple[_Entry, ...], point: Point) -> int:
        lengths = _Lengths(_shortest(self._form), members, self._others)
        found: list[tuple[int, int]] = []
        for i, entry in enumerate(members):
            rest = members[:i] + members[i + 1 :]
            for way in entry.ways:
                then = point_after(point, way)
                if then is not None:
                    found.append((way.value, self.ref(rest, then, lengths.without(entry, then.still))))
        for other in self._others:
            for way in other.ways:
                then = point_after(point, way)
                if then is not None:
                    found.append((way.value, self.ref(members, then, lengths.without(None, then.still))))
        stop = any(entry.member.required for entry in members)
        comma = self._form.first if point.first else self._form.comma
        return POOL.alt(EMPTY if stop else closed(self._form, point), *joined(comma, found))


class _Lengths:
    """How many bytes the rest of an object has at least, when one member of some was just written."""

    def __init__(self, shortest: _Shortest, members: tuple[_Entry, ...], others: tuple[_Entry, ...]) -> None:
        _, self._comma, _, self._end = shortest
        required = [entry for entry in members if entry.member.required]
        self._count = len(required)
        self._impossible = sum(entry.length >= NEVER for entry in required)
        self._sum = sum(entry.length for entry in required if entry.length < NEVER)
        self._members = members
        self._others = others
        self._optional: list[int] | None = None

    def without(self, written: _Entry | None, still: Left) -> int:
        """That number, one of the members being written; -1 where it is not known. written: None for another one."""
        if still.tallies:
            return -1
        count, total, impossible = self._count, self._sum, self._impossible
        if written is not None and written.member.required:
            count -= 1
            impossible -= written.length >= NEVER
            total -= written.length if written.length < NEVER else 0
        low, high = still.total
        if impossible or (high is not None and count > high):
            return NEVER
        if low > count:
            more = self._least(low - count, written)
            total, count = total + more, low
        return min(total + count * self._comma + self._end, NEVER)

    def _least(self, wanted: int, written: _Entry | None) -> int:
        """Of so many members that need not come, but for the one that was written."""
        if self._optional is None:
            self._optional = sorted(entry.length for entry in self._members if not entry.member.required)
        left = list(self._optional)
        if written is not None and not written.member.required:
            left.remove(written.length)
        other = min((other.length for other in self._others), default=NEVER)
        return sum(min(length, other) for length in left[:wanted]) + max(wanted - len(left), 0) * other
