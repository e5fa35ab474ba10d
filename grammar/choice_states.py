"""What choices of an object still ask for while its members are written, and how little may satisfy them.

A choice is a list of options of which one has to hold; an option asks that members are there, are not, or have some
property if they are. Each member that is written, or is seen to be left out, settles what was asked of it: options
that it breaks are gone, and a choice with an option that asks for nothing more is made. What may follow depends on what
is left, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .witness import NEVER
from .work import tick

PRESENT, ABSENT = -1, -2
"""What may be asked of a member besides an event, which is 0 or more: that it is written; that it is not."""

Ask = tuple[int, int]
"""A member by its index, and what is asked of it: an event that its way of being written counts, if it is written."""

Option = frozenset[Ask]
Choice = frozenset[Option]
Choices = frozenset[Choice]
"""All choices that are still to be made; none: nothing is asked for any more."""

Counts = frozenset[int]
"""Events that a way to write a member counts."""

MOST_STATES = 3_000
"""What may be left to be chosen, at all members, of choices that speak of the same members."""

MOST_MEMBERS = 200
"""Members that choices may speak of that hang together."""


class Group(NamedTuple):
    """Members by index, in order, and the choices that speak of them and of no others."""

    members: tuple[int, ...]
    choices: Choices


def chosen(options: Iterable[Option]) -> Choice | None:
    """The choice between options, without those that ask for all that another does; None: it is made."""
    kept: list[Option] = []
    for option in sorted(set(options), key=len):
        if not option:
            return None
        if not any(other <= option for other in kept):
            kept.append(option)
    return frozenset(kept)


def after(choices: Choices, member: int, counts: Counts | None) -> Choices | None:
    """What is left once a member was written in a way that counts these, or left out (None); None: too little is."""
    left: set[Choice] = set()
    for choice in choices:
        if not any(asked == member for option in choice for asked, _ in option):
            left.add(choice)
            continue
        rest = chosen(_without(option, member) for option in choice if _holds(option, member, counts))
        if rest is not None:
            if not rest:
                return None
            left.add(rest)
    return frozenset(left)


def _holds(option: Option, member: int, counts: Counts | None) -> bool:
    """Whether a member is as the option asks."""
    for asked, event in option:
        if asked == member:
            if counts is None and event == PRESENT:
                return False
            if counts is not None and event != PRESENT and event not in counts:
                return False
    return True


def _without(option: Option, member: int) -> Option:
    return frozenset(ask for ask in option if ask[0] != member)


def grouped(choices: Iterable[Choice]) -> tuple[Group, ...]:
    """The choices, those together that speak of the same members, or of those that others of them speak of."""
    groups: list[tuple[set[int], set[Choice]]] = []
    for choice in choices:
        members, together = {member for option in choice for member, _ in option}, {choice}
        apart = []
        for group in groups:
            if members.isdisjoint(group[0]):
                apart.append(group)
            else:
                members |= group[0]
                together |= group[1]
        groups = [*apart, (members, together)]
    return tuple(sorted(Group(tuple(sorted(members)), frozenset(together)) for members, together in groups))


def is_small(group: Group, ways: Sequence[Sequence[Counts]]) -> bool:
    """Whether what may be left to be chosen is not too much. ways: of each member."""
    if len(group.members) > MOST_MEMBERS:
        return False
    states, total = {group.choices}, 0
    for member in group.members:
        tick()
        found = {after(choices, member, counts) for choices in states for counts in (None, *ways[member])}
        states = {choices for choices in found if choices is not None}
        total += len(states)
        if total > MOST_STATES:
            return False
    return True


class Shortest(NamedTuple):
    """How long members are that satisfy choices, a comma with each; and which, each with the index of its way."""

    length: int
    written: tuple[tuple[int, int], ...] = ()


_IMPOSSIBLE = Shortest(NEVER)


class ChoiceLengths:
    """The shortest ways to satisfy choices.

    ways: of each member what each way counts; lengths: how long each is, a comma with it; required: members that
    cannot be left out.
    """

    def __init__(
        self, ways: Sequence[Sequence[Counts]], lengths: Sequence[Sequence[int]], required: frozenset[int]
    ) -> None:
        self._ways = [list(zip(counts, of, strict=True)) for counts, of in zip(ways, lengths, strict=True)]
        self._required = required
        self._known: dict[tuple[Choices, tuple[int, ...]], Shortest] = {}

    def least(self, choices: Choices, members: tuple[int, ...]) -> Shortest:
        """With members that may still be written, in this order."""
        if not choices:
            members = tuple([member for member in members if member in self._required])
        if not members:
            return _IMPOSSIBLE if choices else Shortest(0)
        known = self._known.get((choices, members))
        if known is None:
            known = self._known[choices, members] = self._find(choices, members)
        return known

    def _find(self, choices: Choices, members: tuple[int, ...]) -> Shortest:
        member, rest = members[0], members[1:]
        best = _IMPOSSIBLE
        if member not in self._required:
            left = after(choices, member, None)
            best = best if left is None else self.least(left, rest)
        for i, (counts, length) in enumerate(self._ways[member]):
            left = after(choices, member, counts) if length < best.length else None
            if left is not None:
                more = self.least(left, rest)
                if length + more.length < best.length:
                    best = Shortest(length + more.length, ((member, i), *more.written))
        return best
