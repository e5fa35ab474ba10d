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
        self._next: dict[int, int] = {}
        self._tails = parts.tails(plan)

    def whole(self) -> int:
        """The object."""
        form, last = self._form, self._needed(0)
        choices = [self._text(i) for i in range(min(last + 1, len(self._plan.members)))]
        if last == len(self._plan.members):
            choices.append((b"", form.close_empty_object, EPSILON))
            if self._plan.others:
                choices.append((b"", self._other, self._end))
        return POOL.frame_of(form.open_object, choices)

    def write_all(self) -> None:
        """Write all that is shared, so that no text has to wait for long."""
        for i in reversed(range(0, len(self._plan.members), _STRIDE)):
            self.behind(i)

    @cached_property
    def _other(self) -> int:
        """A member that is not listed."""
        others = [self._write(other) for other in self._plan.others]
        return POOL.alt(*[POOL.concat(other.key, self._form.colon, other.ways[0].value) for other in others])

    @cached_property
    def _end(self) -> int:
        """What may follow the last of the listed members."""
        if not self._plan.others:
            return self._form.close_object
        more = POOL.repeat(POOL.concat(self._form.comma, self._other), 0, None)
        return POOL.concat(more, self._form.close_object)

    def _needed(self, first: int) -> int:
        """The first member from there on that is required; if none is, how many members there are."""
        members = self._plan.members
        return next((i for i in range(first, len(members)) if members[i].required), len(members))

    def _text(self, index: int) -> tuple[bytes, int, int]:
        """A member: how it begins, its value (where the beginning is no text: all of it), and all that follows."""
        if self._separators is None:
            member = self._member(index)
            return b"", POOL.concat(member.key, self._form.colon, member.ways[0].value), self._rest(index + 1)
        planned = self._plan.members[index]
        assert isinstance(planned.key, str)
        return dumped(planned.key) + self._separators[1], self._value(planned.ways[0].conj), self._rest(index + 1)

    def _next_text(self, index: int) -> int:
        """A member behind another, and all that follows it."""
        known = self._next.get(index)
        if known is None:
            text, value, rest = self._text(index)
            if self._separators is None:
                known = POOL.concat(self._form.comma, value, rest)
            else:
                known = POOL.prefixed(self._separators[0] + text, value, rest)
            self._next[index] = known
        return known

    def _member(self, index: int) -> Member:
        known = self._members.get(index)
        if known is None:
            known = self._members[index] = self._write(self._plan.members[index])
        return known

    def _rest(self, first: int) -> int:
        """What may follow a value, the members from `first` on being still to come."""
        if first == len(self._plan.members):
            return self._end
        tail = self._tails[first]
        if tail.value is None:
            tail.value = POOL.later(tail, _Behind(self, first), _Outline(self, first), tail.length)
        return tail.value

    def behind(self, first: int) -> int:
        """What may follow a value, written: one of the members up to the first that is required, or the end."""
        last = self._needed(first)
        found = self._end if last == len(self._plan.members) else EMPTY
        stop = min(last + 1, len(self._plan.members))
        starts = [first, *range((first // _STRIDE + 1) * _STRIDE, stop, _STRIDE)]
        for start, end in reversed(list(zip(starts, [*starts[1:], stop], strict=True))):
            known = self._choices.get(start)
            if known is None:
                known = self._choices[start] = POOL.alt(*map(self._next_text, range(start, end)), found)
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
        return self.members.behind(self.first)


class _Outline(msgspec.Struct, frozen=True, gc=False):
    """Writes a shortest of what may follow a value."""

    members: InOrder
    first: int

    def __call__(self) -> int:
        return self.members.outline(self.first)
