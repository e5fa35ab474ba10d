"""Objects with their members in order, written member by member as texts come to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import msgspec

from .expr import EMPTY, EPSILON, POOL
from .json_layout import SEPARATORS, Layout
from .json_objects import UNCOUNTED, Member, Point, in_order
from .json_values import dumped
from .schema_parts import Parts
from .schema_plan import ObjectPlan, PlannedMember
from .schema_rules import Conj

_STRIDE = 16
"""What may follow is shared by so many members, so that what follows the next costs no more than these few."""

_AHEAD, _FEW = 3, 2
"""Where so few members may follow, what follows those is written with them, so many members further: texts that have
come so far will hardly end before, and to come back for each costs more than it does to write it."""


class InOrder:
    """The members of one object, of which nothing is counted. write: the text of the key and the value of one; value:
    of a schema.

    Behind each value stands a reference to what may follow it. For an object of n members there are n of these, each
    of up to n choices; but a text that has come to a member needs what follows that one, and nothing else.
    """

    def __init__(
        self,
        form: Layout,
        plan: ObjectPlan,
        parts: Parts,
        write: Callable[[PlannedMember], Member],
        value: Callable[[Conj], int],
    ) -> None:
        self._form = form
        self._separators = SEPARATORS.get(form.spacing)
        self._value = value
        self._plan = plan
        self._write = write
        self._members: dict[int, Member] = {}
        self._choices: dict[int, int] = {}
        self._texts: dict[int, tuple[bytes, int, int]] = {}
        self._tails = parts.tails(plan)

    def whole(self) -> int:
        """The object."""
        form, last = self._form, self._needed(0)
        choices = [self._first(i) for i in range(min(last + 1, len(self._plan.members)))]
        if last == len(self._plan.members):
            choices.append((b"", form.close_empty_object, EPSILON))
            if self._plan.others:
                choices.append((b"", self._other, self._end))
        return POOL.frame_of(form.open_object, choices)

    def write_all(self) -> None:
        """Write all that is shared, so that no text has to wait for long."""
        for i in reversed(range(0, len(self._plan.members), _STRIDE)):
            self.behind(i, 0)

    @cached_property
    def _other(self) -> int:
        """A member that is not listed."""
        others = [self._write(other) for other in self._plan.others]
        return POOL.alt(*[POOL.concat(other.key, self._form.colon, other.ways[0].value) for other in others])

    @cached_property
    def _end(self) -> int:
        """What may follow the last of the listed members."""
        form = self._form
        return POOL.many_before(form.comma, self._other, form.close_object) if self._plan.others else form.close_object

    def _needed(self, first: int) -> int:
        """The first member from there on that is required; if none is, how many members there are."""
        members = self._plan.members
        while first < len(members) and not members[first].required:
            first += 1
        return first

    def _first(self, index: int) -> tuple[bytes, int, int]:
        """A member that is the first: its text, its value (where there is no text: all of it), and what follows."""
        if self._separators is None:
            return b"", self._pair(index), self._rest(index + 1)
        text, value, rest = self._next(index, 0)
        return text[len(self._separators[0]) :], value, rest

    def _next(self, index: int, ahead: int) -> tuple[bytes, int, int]:
        """The same of a member behind another, with what stands between them. ahead: see `_rest`."""
        known = self._texts.get(index)
        if known is not None:
            return known
        if self._separators is None:
            known = b"", POOL.concat(self._form.comma, self._pair(index)), self._rest(index + 1, ahead)
        else:
            member, (comma, colon) = self._plan.members[index], self._separators
            assert isinstance(member.key, str)
            known = comma + dumped(member.key) + colon, self._value(member.ways[0].conj), self._rest(index + 1, ahead)
        self._texts[index] = known
        return known

    def _pair(self, index: int) -> int:
        """A key and its value."""
        member = self._member(index)
        return POOL.concat(member.key, self._form.colon, member.ways[0].value)

    def _member(self, index: int) -> Member:
        known = self._members.get(index)
        if known is None:
            known = self._members[index] = self._write(self._plan.members[index])
        return known

    def _rest(self, first: int, ahead: int = 0) -> int:
        """What may follow a value, the members from `first` on being still to come.

        ahead: how many members further that is written at once.
        """
        if first == len(self._plan.members):
            return self._end
        tail = self._tails[first]
        if tail.value is None:
            if ahead and self._needed(first) < first + _FEW:
                tail.value = self.behind(first, ahead - 1)
                POOL.know(tail.value, tail.length)
            else:
                tail.value = POOL.later(tail, _Behind(self, first), _Outline(self, first), tail.length)
        return tail.value

    def behind(self, first: int, ahead: int) -> int:
        """What may follow a value, written: one of the members up to the first that is required, or the end.

        ahead: see `_rest`.
        """
        last = self._needed(first)
        found = self._end if last == len(self._plan.members) else EMPTY
        stop = min(last + 1, len(self._plan.members))
        for start in reversed([first, *range((first // _STRIDE + 1) * _STRIDE, stop, _STRIDE)]):
            known = self._choices.get(start)
            if known is None:
                end = min((start // _STRIDE + 1) * _STRIDE, stop)
                choices = [*[self._next(i, ahead) for i in range(start, end)], (b"", found, EPSILON)]
                known = self._choices[start] = POOL.any_of(choices)
            found = known
        return found

    def outline(self, first: int) -> int:
        """A shortest of what may follow a value."""
        needed = [self._member(i) for i, member in enumerate(self._plan.members) if i >= first and member.required]
        return in_order(self._form, needed, (), Point(False, UNCOUNTED))


class _Behind(msgspec.Struct, frozen=True, gc=False):
    """Writes what may follow a value: a closure that is no work for the garbage collector."""

    members: InOrder
    first: int

    def __call__(self) -> int:
        return self.members.behind(self.first, _AHEAD)


class _Outline(msgspec.Struct, frozen=True, gc=False):
    """Writes a shortest of what may follow a value."""

    members: InOrder
    first: int

    def __call__(self) -> int:
        return self.members.outline(self.first)
