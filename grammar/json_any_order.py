"""Objects whose members come in any order, written point by point as texts come to them.

There are 2 ** members sets of members that may be still to come, so each becomes an expression when it is first met,
never before; and as there is one for each member that may be next, the length of its shortest text is added up, not
searched for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from .counts import Left, Way
from .expr import EMPTY, POOL, Later
from .json_layout import Layout
from .json_objects import Member, Point, closed, in_order, point_after
from .pools import memo
from .tallied_lengths import Option, TalliedLengths
from .witness import NEVER


class Entry(msgspec.Struct, eq=False, gc=False):
    """A member, or a kind of them, as a pool has it: made once, so that names of many hold no more than which ones.

    No work for the garbage collector, like all that there is one of for each set of members that was met.
    """

    member: Member
    ways: tuple[Way, ...]
    known_lengths: tuple[int, ...] | None = None

    @property
    def lengths(self) -> tuple[int, ...]:
        """Bytes of the shortest text of each way. To be asked once all references inside are defined."""
        if self.known_lengths is None:
            self.known_lengths = tuple([POOL.shortest_length(way.value) for way in self.ways])
        return self.known_lengths

    @property
    def length(self) -> int:
        """Bytes of its shortest text."""
        return min(self.lengths, default=NEVER)

    def is_measured(self) -> bool:
        """Whether `lengths` is known, or can be without looking into anything."""
        return self.known_lengths is not None or all(POOL.known_length(way.value) is not None for way in self.ways)

    def options(self, comma: int, n_tallies: int) -> list[Option]:
        """What each way adds, behind a comma."""
        counted = [tuple(int(i in way.counts) for i in range(n_tallies)) for way in self.ways]
        pairs = zip(self.lengths, counted, strict=True)
        return [Option(comma + length, (1, *counts)) for length, counts in pairs if length < NEVER]


@memo
def _entries(_form: Layout) -> dict[Member, Entry]:
    """Those that a pool has."""
    return {}


def entries_of(form: Layout, members: Iterable[Member]) -> tuple[Entry, ...]:
    """The entries of some members; the texts of those that are new are made in one step."""
    members, known = tuple(members), _entries(form)
    new = [member for member in dict.fromkeys(members) if member not in known]
    texts = iter(POOL.each_around(form.colon, [(member.key, way.value) for member in new for way in member.ways]))
    for member in new:
        known.setdefault(member, Entry(member, tuple([Way(next(texts), way.counts) for way in member.ways])))
    return tuple([known[member] for member in members])


def entry_of(form: Layout, member: Member) -> Entry:
    """The entry of one member."""
    return entries_of(form, (member,))[0]


@memo
def _shortest(form: Layout) -> tuple[int, int]:
    """Bytes of what stands before another member, and at the end."""
    return POOL.shortest_length(form.comma), POOL.shortest_length(form.close_object)


def any_order(form: Layout, members: tuple[Member, ...], others: tuple[Member, ...], start: Point) -> int:
    """All behind the opening brace: `members` in any order, any number of `others` among them."""
    return _rest(form, others).whole(entries_of(form, members), start)


@memo
def _rest(form: Layout, others: tuple[Member, ...]) -> _Rest:
    return _Rest(form, entries_of(form, others))


class _Rest:
    """Writes what may follow in objects that have the same members besides those listed. There is one in a pool."""

    def __init__(self, form: Layout, others: tuple[Entry, ...]) -> None:
        self._form = form
        self._others = others
        self._listed: dict[tuple[Entry, ...], _Listed] = {}

    def _at(self, members: tuple[Entry, ...], point: Point) -> _At:
        """A place in an object that may yet have `members`, and has to write those of them that are required."""
        listed = self._listed.get(members)
        if listed is None:
            listed = self._listed[members] = _Listed(members)
        return _At(self, listed, point)

    def whole(self, members: tuple[Entry, ...], start: Point) -> int:
        """What may follow where nothing is written."""
        [found] = POOL.all_later([self._at(members, start)], [self._length(members, start)])
        return found

    def _length(self, members: tuple[Entry, ...], start: Point) -> int:
        """Bytes of the shortest text where nothing is written; -1: that is not known yet."""
        if start.still.may_stop() and not any(entry.member.required for entry in members):
            return POOL.shortest_length(self._form.close_empty_object)
        if not all(entry.is_measured() for entry in (*members, *self._others)):
            return -1
        least = _lengths_of(self._form, members, self._others, start.still).besides(None)(start.still)
        if not 0 <= least < NEVER:
            return least
        return least - POOL.shortest_length(self._form.comma) + POOL.shortest_length(self._form.first)

    def outline(self, members: tuple[Entry, ...], point: Point) -> int:
        """One of the shortest: the order does not matter to the length."""
        needed = [entry.member for entry in members if entry.member.required]
        enough = not point.still.tallies and point.still.total.low <= len(needed)
        wanted = needed if enough else [entry.member for entry in _useful(members, point.still)]
        return in_order(self._form, wanted, [other.member for other in self._others], point, briefly=True)

    def next(self, members: tuple[Entry, ...], point: Point) -> int:
        """One of the members, and what may follow it; or the end."""
        lengths = _lengths_of(self._form, members, self._others, point.still)
        behind: dict[frozenset[int], Point | None] = {}
        texts: list[int] = []
        places: list[_At] = []
        least: list[int] = []
        for i, entry in enumerate((*members, *self._others)):
            is_listed = i < len(members)
            rest = members[:i] + members[i + 1 :] if is_listed else members
            length = lengths.besides(i if is_listed else None)
            for way in entry.ways:
                if way.counts not in behind:
                    behind[way.counts] = point_after(point, way)
                then = behind[way.counts]
                if then is not None:
                    texts.append(way.value)
                    places.append(self._at(rest, then))
                    least.append(length(then.still))
        stop = any(entry.member.required for entry in members)
        comma = self._form.first if point.first else self._form.comma
        found = list(zip(texts, POOL.all_later(places, least), strict=True))
        return POOL.next_of(comma, found, EMPTY if stop else closed(self._form, point))


class _Listed(msgspec.Struct, eq=False, gc=False):
    """Members that may be still to come: one for each such set, so that places are looked up by which one it is."""

    members: tuple[Entry, ...]


class _At(Later, frozen=True, gc=False):
    """A place in an object, which names and writes what may follow there."""

    rest: _Rest
    listed: _Listed
    point: Point

    def __call__(self) -> int:
        return self.rest.next(self.listed.members, self.point)

    def outline(self) -> int:
        return self.rest.outline(self.listed.members, self.point)


def _useful(members: tuple[Entry, ...], still: Left) -> list[Entry]:
    """Those of which the shortest rest is made: of optional ones that count alike no more than could have to come.

    Which of them are shortest is seen where that is known already, for what is asked for here may rest on this object.
    """
    alike: dict[frozenset[int], list[tuple[int, int]]] = {}
    needless: set[int] = set()
    for i, entry in enumerate(members):
        helping = [way for way in entry.ways if way.counts or still.total.low]
        if entry.member.required or len({way.counts for way in helping}) > 1:
            continue
        if helping:
            lengths = [POOL.known_length(way.value) for way in helping]
            least = min((-1 if length is None else length) for length in lengths)
            alike.setdefault(helping[0].counts, []).append((least, i))
        else:
            needless.add(i)
    for counts, found in alike.items():
        most = max([still.total.low, *[still.tallies[i].low for i in counts]])
        unknown = sum(length < 0 for length, _ in found)
        needless.update(i for _, i in sorted(found)[unknown + most :])
    return [entry for i, entry in enumerate(members) if i not in needless]


def _lengths_of(
    form: Layout, members: tuple[Entry, ...], others: tuple[Entry, ...], still: Left
) -> _Lengths | _Tallied:
    return _Tallied(form, members, others, still) if still.tallies else _Lengths(form, members, others)


class _Lengths:
    """How many bytes the rest of an object has at least, when one member of some was just written."""

    def __init__(self, form: Layout, members: tuple[Entry, ...], others: tuple[Entry, ...]) -> None:
        self._comma, self._end = _shortest(form)
        required = [entry for entry in members if entry.member.required]
        self._count = len(required)
        self._impossible = sum(entry.length >= NEVER for entry in required)
        self._sum = sum(entry.length for entry in required if entry.length < NEVER)
        self._members = members
        self._others = others
        self._optional: list[int] | None = None

    def besides(self, index: int | None) -> Callable[[Left], int]:
        """That number by what is to come, one of the members being written; None: another one."""
        count, total, impossible = self._count, self._sum, self._impossible
        written = None if index is None else self._members[index]
        if written is not None and written.member.required:
            count -= 1
            impossible -= written.length >= NEVER
            total -= written.length if written.length < NEVER else 0

        def least(still: Left) -> int:
            low, high = still.total
            if impossible or (high is not None and count > high):
                return NEVER
            more = self._least(low - count, written) if low > count else 0
            return min(total + more + max(low, count) * self._comma + self._end, NEVER)

        return least

    def _least(self, wanted: int, written: Entry | None) -> int:
        """Of so many members that need not come, but for the one that was written."""
        if self._optional is None:
            self._optional = sorted(entry.length for entry in self._members if not entry.member.required)
        left = list(self._optional)
        if written is not None and not written.member.required:
            left.remove(written.length)
        other = min((other.length for other in self._others), default=NEVER)
        return sum(min(length, other) for length in left[:wanted]) + max(wanted - len(left), 0) * other


class _Tallied:
    """The same where members count towards tallies."""

    def __init__(self, form: Layout, members: tuple[Entry, ...], others: tuple[Entry, ...], still: Left) -> None:
        comma, self._end = _shortest(form)
        n_tallies = len(still.tallies)
        left_out = [Option(0, (0,) * (1 + n_tallies))]
        options = [entry.options(comma, n_tallies) + ([] if entry.member.required else left_out) for entry in members]
        self._tallied = TalliedLengths(options, [o for other in others for o in other.options(comma, n_tallies)], still)

    def besides(self, index: int | None) -> Callable[[Left], int]:
        """That number by what is to come; -1 where it takes too long to find."""
        if not self._tallied.is_known:
            return lambda _still: -1
        lengths = self._tallied.besides(index)
        return lambda still: min(self._tallied.least(lengths, still) + self._end, NEVER)
