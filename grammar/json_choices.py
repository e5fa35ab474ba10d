"""Objects of which choices ask for something: written point by point as texts come to them.

What may follow at a point depends on which members are still to come and on what the choices still ask for, see
`choice_states`. Choices that speak of different members are independent: what is left of each is a state of its own,
and they are never multiplied.
"""

from __future__ import annotations

from typing import NamedTuple

from .choice_states import ChoiceLengths, Choices, Group, Shortest, after
from .counts import Way
from .expr import EMPTY, POOL, Later
from .json_layout import Layout
from .json_objects import UNCOUNTED, Member, Point, in_order, written_ways
from .pools import memo
from .witness import NEVER


class _Objects(NamedTuple):
    """One kind of objects, see `object_with_choices`."""

    form: Layout
    members: tuple[Member, ...]
    others: tuple[Member, ...]
    groups: tuple[Group, ...]
    any_order: bool
    is_measured: bool


class _At(NamedTuple):
    """A point: whether nothing was written yet, the members that may still come, and what each group asks for."""

    first: bool
    members: tuple[int, ...]
    choices: tuple[Choices, ...]


class _Way(NamedTuple):
    """The text of a member, the point behind it, and bytes of the shortest text from there; -1: not known yet."""

    text: int
    behind: _At
    length: int


def object_with_choices(
    form: Layout,
    members: tuple[Member, ...],
    others: tuple[Member, ...],
    groups: tuple[Group, ...],
    *,
    any_order: bool,
    is_measured: bool,
) -> int:
    """Objects with `members`, any number of `others`, and what the choices of all groups ask for; in order, or in any.

    The ways of members count events; of each member they exclude each other. is_measured: whether the lengths of all
    values can be known already; else what can be written is searched for.
    """
    rest = _rest(_Objects(form, members, others, groups, any_order, is_measured))
    return POOL.frame(POOL.concat(form.open_object, rest.whole()))


def brief_object(form: Layout, members: tuple[Member, ...], groups: tuple[Group, ...]) -> int:
    """A shortest of these objects; the order does not matter to the length."""
    rest = _rest(_Objects(form, members, (), groups, any_order=False, is_measured=True))
    return POOL.frame(POOL.concat(form.open_object, rest.outline(rest.start)))


@memo
def _rest(objects: _Objects) -> _Rest:
    return _Rest(objects)


class _Rest:
    """Writes what may follow at each point of one kind of objects. There is one in a pool."""

    def __init__(self, objects: _Objects) -> None:
        form, members, self._others, groups, self._any_order, self.is_measured = objects
        self._form, self._members, self._groups = form, members, groups
        self._group_of = {member: i for i, group in enumerate(groups) for member in group.members}
        self._ways = [written_ways(form, member) for member in members]
        self._required = frozenset(i for i, member in enumerate(members) if member.required)
        self._free = self._required.difference(self._group_of)
        self._known_lengths: ChoiceLengths | None = None
        self.start = _At(True, tuple(range(len(members))), tuple(group.choices for group in groups))

    def whole(self) -> int:
        """What stands behind the opening brace."""
        [found] = POOL.all_later([_Next(self, self.start)], [-1])
        return found

    @property
    def _lengths(self) -> ChoiceLengths:
        """To be asked once the references in all values are defined."""
        if self._known_lengths is None:
            comma = POOL.shortest_length(self._form.comma)
            lengths = [[comma + self._length_of(way) for way in ways] for ways in self._ways]
            counts = [[way.counts for way in ways] for ways in self._ways]
            self._known_lengths = ChoiceLengths(counts, lengths, self._required)
        return self._known_lengths

    def _length_of(self, way: Way) -> int:
        """Bytes of its shortest text; any number, where that cannot be asked for yet."""
        if self.is_measured:
            return POOL.shortest_length(way.value)
        return NEVER if way.value == EMPTY else 1

    def _least(self, group: int, choices: Choices, left: frozenset[int], written: int = -1) -> Shortest:
        """The members of a group that are at least to come, when one was just written."""
        to_come = tuple([member for member in self._groups[group].members if member in left and member != written])
        return self._lengths.least(choices, to_come)

    def _least_free(self, left: tuple[int, ...]) -> Shortest:
        """The same of members that no choice speaks of."""
        return self._lengths.least(frozenset(), tuple([member for member in left if member in self._free]))

    def outline(self, at: _At) -> int:
        """A shortest of what may follow at a point."""
        left = frozenset(at.members)
        parts = [self._least(i, choices, left) for i, choices in enumerate(at.choices)]
        parts.append(self._least_free(at.members))
        if any(part.length >= NEVER for part in parts):
            return EMPTY
        chosen = []
        for member, way in sorted(each for part in parts for each in part.written):
            one = self._members[member]
            chosen.append(Member(one.key, (Way(one.ways[way].value),), True))
        return in_order(self._form, chosen, (), Point(at.first, UNCOUNTED))

    def next(self, at: _At) -> int:
        """One of the members, and what may follow it; or the end."""
        found = self._in_any_order(at) if self._any_order else self._in_order(at)
        places = [_Next(self, way.behind) for way in found]
        rests = POOL.all_later(places, [way.length if self.is_measured else -1 for way in found])
        comma = self._form.first if at.first else self._form.comma
        return POOL.next_of(comma, list(zip([way.text for way in found], rests, strict=True)), self._end(at))

    def _in_order(self, at: _At) -> list[_Way]:
        """Each member that may be next, those before it being left out."""
        found: list[_Way] = []
        choices = list(at.choices)
        left = frozenset(at.members)
        least = [self._least(i, each, left).length for i, each in enumerate(choices)]
        for place, member in enumerate(at.members):
            behind = at.members[place + 1 :]
            left -= {member}
            found += self._written(member, behind, left, choices, least)
            if member in self._required:
                break
            group = self._group_of.get(member)
            if group is not None:
                skipped = after(choices[group], member, None)
                if skipped is None:
                    break
                choices[group] = skipped
                least[group] = self._least(group, skipped, left).length
                if least[group] >= NEVER:
                    break
        return found

    def _in_any_order(self, at: _At) -> list[_Way]:
        """Each of the members, and any other."""
        found: list[_Way] = []
        left = frozenset(at.members)
        least = [self._least(i, each, left).length for i, each in enumerate(at.choices)]
        for place, member in enumerate(at.members):
            behind = at.members[:place] + at.members[place + 1 :]
            found += self._written(member, behind, left, list(at.choices), least)
        length = self._length(at.members, least)
        ways = [way for each in self._others for way in written_ways(self._form, each)]
        return found + [_Way(way.value, at._replace(first=False), length) for way in ways]

    def _written(
        self,
        member: int,
        behind: tuple[int, ...],
        left: frozenset[int],
        choices: list[Choices],
        least: list[int],
    ) -> list[_Way]:
        """A member in each way, and what follows it. left: all that are behind, and the member perhaps; least: bytes
        of what each group asks for at least.
        """
        found: list[_Way] = []
        group = self._group_of.get(member)
        for way in self._ways[member]:
            now, lengths = choices, least
            if group is not None:
                chosen = after(choices[group], member, way.counts)
                if chosen is None:
                    continue
                now, lengths = [*choices], [*least]
                now[group], lengths[group] = chosen, self._least(group, chosen, left, member).length
            length = self._length(behind, lengths)
            if length < NEVER:
                found.append(_Way(way.value, _At(False, behind, tuple(now)), length))
        return found

    def _length(self, left: tuple[int, ...], least: list[int]) -> int:
        """Bytes of the shortest rest behind a member."""
        total = self._least_free(left).length + sum(least)
        return min(total + POOL.shortest_length(self._form.close_object), NEVER)

    def _end(self, at: _At) -> int:
        """The end of the object, and before it, in order, any number of other members; where it may be here."""
        if not self._required.isdisjoint(at.members):
            return EMPTY
        left: Choices | None
        for group, left in zip(self._groups, at.choices, strict=True):
            for member in group.members:
                if left and member in at.members:
                    left = after(left, member, None)
            if left is None or left:
                return EMPTY
        return in_order(self._form, (), () if self._any_order else self._others, Point(at.first, UNCOUNTED))


class _Next(Later, frozen=True, gc=False):
    """A point in an object, which names and writes what may follow there."""

    rest: _Rest
    at: _At

    def __call__(self) -> int:
        return self.rest.next(self.at)

    def outline(self) -> int:
        return self.rest.outline(self.at) if self.rest.is_measured else self.rest.next(self.at)
