"""Plans of arrays and objects: in which ways each element and member is written, and what has to be counted.

A rule may say how many elements satisfy a schema, or that some member breaks one. Then there are several ways to write
a value: as one that counts, or as one that does not. Each way is a conjunction of schemas of its own.
"""

from __future__ import annotations

import msgspec

from .choice_states import Group
from .counts import Tally
from .schema_names import Names
from .schema_rules import Conj

_FEW_COUNTS, _FEW_POINTS = 16, 1000
"""What may have been counted at a point in an object, and such at all points, that are written when a text comes."""


class PlannedWay(msgspec.Struct, frozen=True, gc=False):
    """One way to write a value: the schemas it satisfies, and the tallies it counts towards."""

    conj: Conj
    counts: frozenset[int]


class ArrayPlan(msgspec.Struct, frozen=True, gc=False):
    """Arrays to be written.

    unique: no two elements are equal; repeated: some two are. shared: then, of each two ways that have values in
    common, their schemas and that of these values.
    """

    prefix: tuple[tuple[PlannedWay, ...], ...]
    items: tuple[PlannedWay, ...]
    low: int
    high: int | None
    tallies: tuple[Tally, ...]
    unique: bool
    repeated: bool = False
    shared: tuple[tuple[Conj, Conj, Conj], ...] = ()

    @property
    def remembers(self) -> bool:
        """Whether what may follow depends on the elements that were written."""
        return self.unique or self.repeated

    def can_wait(self) -> bool:
        """Whether nothing is counted or compared, but the elements, so that writing it can fail in no way."""
        return not self.tallies and not self.remembers

    def tells_length(self) -> bool:
        """Whether a shortest one has nothing that is counted or compared."""
        return self.can_wait() or not (self.tallies or self.repeated or self.low > 1)

    def conjs(self) -> list[Conj]:
        """The schemas of all ways."""
        return [way.conj for ways in (*self.prefix, self.items) for way in ways] + [both for _, _, both in self.shared]


class Besides(msgspec.Struct, frozen=True, gc=False):
    """Any name but these."""

    names: tuple[str, ...]


class PlannedMember(msgspec.Struct, frozen=True, gc=False):
    """A member, or a kind of them. key: its name, or those that a kind may have."""

    key: str | Besides | Names
    ways: tuple[PlannedWay, ...]
    required: bool


class ObjectPlan(msgspec.Struct, frozen=True, gc=False):
    """Objects to be written.

    distinct: names that are not listed must not come twice. groups: choices that have to be made, what they ask for
    being counted by the ways of members; then nothing else is counted.
    """

    members: tuple[PlannedMember, ...]
    others: tuple[PlannedMember, ...]
    low: int = 0
    high: int | None = None
    tallies: tuple[Tally, ...] = ()
    distinct: bool = False
    groups: tuple[Group, ...] = ()

    @property
    def remembers(self) -> bool:
        """Whether what may follow depends on the names that were written."""
        return self.distinct

    def is_simple(self) -> bool:
        """Whether nothing is counted, compared or chosen."""
        return self.low == 0 and self.high is None and not (self.tallies or self.remembers or self.groups)

    def can_wait(self) -> bool:
        """Whether writing it can fail in no way, and take no long: nothing is compared, and few things are counted."""
        if self.groups:
            return True
        if self.is_simple() or self.remembers:
            return not self.remembers
        counts = 1
        for tally in (Tally(self.low, self.high), *self.tallies):
            counts *= 1 + (tally.low if tally.high is None else tally.high)
        return counts <= _FEW_COUNTS and counts * (1 + len(self.members)) <= _FEW_POINTS

    def conjs(self) -> list[Conj]:
        """The schemas of all ways."""
        return [way.conj for member in (*self.members, *self.others) for way in member.ways]
