"""Parts of a schema: what tells them apart, and how long their shortest texts are, before any is written.

A part is a conjunction of schemas with all it rests on. Parts that are written alike are one part, in whatever schema
of the pool they stand, so their expressions are made once. Its arrays and objects are a reference, written when a text
first comes there, for most texts go through a small part of a large schema. What has to be known of a whole schema at
once is known from its plans: that nothing in it is refused, and of each part whether anything satisfies it, and how
long the shortest text is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import msgspec

from .choice_states import ChoiceLengths
from .counts import left
from .expr import POOL
from .json_layout import Layout
from .json_values import ANY_TEXT, dumped, dumped_length, key_besides
from .pools import current, memo
from .schema_names import Names
from .schema_plan import ArrayPlan, Besides, ObjectPlan, PlannedMember, PlannedWay
from .schema_rules import ArrayRule, Conj, NumberRule, ObjectRule, StringRule, Values
from .schema_shapes import ANYTHING, Shape
from .tallied_lengths import Option, least_length
from .witness import NEVER
from .work import tick

MAX_LATER = 300
"""How much (members, and listed values by the dozen) is written at once when a text first comes to a part."""

_VALUES_A_MEMBER = 12


class Planned(msgspec.Struct, frozen=True, gc=False):
    """A shape, and how its arrays and objects are written, rule by rule.

    inner: the schemas inside. can_wait: whether its arrays and objects compare nothing and count little, so that
    writing them can fail in no way. is_told_apart: whether others of its strings stand in the same place, see
    `schema_apart`.
    """

    shape: Shape
    arrays: tuple[ArrayPlan | None, ...] = ()
    objects: tuple[ObjectPlan | None, ...] = ()
    inner: tuple[Conj, ...] = ()
    can_wait: bool = True
    is_told_apart: bool = False

    def compares(self) -> bool:
        """Whether what its parts are written as matters to how it is written."""
        plans = (*self.arrays, *self.objects)
        return _excludes(self.shape) or any(plan is not None and plan.remembers for plan in plans)

    def tells_length(self) -> bool:
        """Whether how long its shortest arrays and objects are follows from what its parts are."""
        arrays = all(plan is None or plan.tells_length() for plan in self.arrays)
        return arrays and not _excludes(self.shape) and all(plan is None or plan.can_wait() for plan in self.objects)

    def weight(self) -> int:
        """How much there is to write, without what is in its parts."""
        total = values_in(self.shape) // _VALUES_A_MEMBER
        for array in self.arrays:
            total += len(array.prefix) if array is not None else 0
        for each in self.objects:
            total += len(each.members) if each is not None else 0
        return total


def with_plans(shape: Shape, arrays: tuple[ArrayPlan | None, ...], objects: tuple[ObjectPlan | None, ...]) -> Planned:
    """A shape with its plans."""
    inner: list[Conj] = []
    can_wait = not _excludes(shape)
    for plan in (*arrays, *objects):
        if plan is not None:
            inner += plan.conjs()
            can_wait = can_wait and plan.can_wait()
    return Planned(shape, arrays, objects, tuple(inner), can_wait)


def _excludes(shape: Shape) -> bool:
    """Whether some array or object has to be another than one that is given."""
    return any(rule.excluded and rule.values is None for rule in (*shape.arrays, *shape.objects))


def values_in(shape: Shape) -> int:
    """How many values a shape lists."""
    total = 0
    for rule in (*shape.numbers, *shape.strings, *shape.arrays, *shape.objects):
        if rule.values is not None:
            total += len(rule.values)
    return total


class Part(msgspec.Struct, eq=False, gc=False):
    """One of the parts that a pool has; each is made once, so that the same is equal, and nothing else.

    length: bytes of its shortest text; nested: of its shortest array or object; NEVER where there is none. value: its
    expression, once somebody asked for it.
    """

    length: int = NEVER
    nested: int = NEVER
    value: int | None = None


Writers = tuple[Callable[[NumberRule], int], Callable[[StringRule], int], Callable[[Values], int]]
"""What writes numbers, strings, which may be in their plain spelling alone, and listed values."""


class Parts:
    """The parts of one document.

    options: all that decides how a part is written besides its plan. name: what no other document is called. To be
    added parts before wholes, but where they are a circle; `settle` comes last.
    """

    def __init__(
        self,
        form: Layout,
        options: Hashable,
        name: Hashable,
        writers: Writers,
    ) -> None:
        self._form = form
        self._memos = current().memos
        self._kind = self._memos.setdefault((Part, options), object())  # which stands for them, and is quick to look up
        self._name = name
        self._number, self._string, self._these = writers
        self._parts: dict[Conj, Part] = {(): self._part(("anything",))}
        self._comma, self._colon, self._array, *ends = _lengths(form)
        self._array_end, self._empty_array_end, self._object, self._object_end, self._empty_object_end = ends
        self._parts[()].length = self._parts[()].nested = 1
        self._circles: list[tuple[Part, Planned]] = []

    def __getitem__(self, conj: Conj) -> Part:
        return self._parts[conj]

    def _part(self, content: Hashable) -> Part:
        key = (self._kind, content)
        part = self._memos.get(key)
        if part is None:
            part = self._memos[key] = Part()
        return part

    def add_written(self, conj: Conj, text: int) -> None:
        """A part that is written already."""
        part = self._parts[conj] = self._part((self._name, conj))
        part.length = part.nested = self._length_of(text)
        part.value = text

    def add(self, conj: Conj, planned: Planned) -> None:
        """A part that is not written yet."""
        tick()
        content = self._content(planned)
        part = self._parts[conj] = self._part((self._name, conj) if content is None else content)
        if content is None or self._circles:
            self._circles.append((part, planned))
        if part.length == NEVER:
            shape = planned.shape
            if shape is ANYTHING or shape.arrays or shape.objects:
                part.nested = self._nested(planned)
            part.length = min(part.nested, self._flat(shape))

    def settle(self) -> None:
        """Find the least lengths that are right, by rounds, where parts are a circle."""
        changed = bool(self._circles)
        while changed:
            changed = False
            for part, planned in self._circles:
                nested = self._nested(planned)
                if nested < part.nested:
                    part.nested, changed = nested, True
                    part.length = min(part.length, nested)

    # -- names ------------------------------------------------------------------------------------------------

    def _content(self, planned: Planned) -> Hashable | None:
        """What is written, as something that is equal where it is; None where that holds itself."""
        shape = planned.shape
        if shape is ANYTHING:
            return ("anything",)
        try:
            arrays = tuple(map(self._array_content, shape.arrays, planned.arrays)) if shape.arrays else ()
            objects = tuple(map(self._object_content, shape.objects, planned.objects)) if shape.objects else ()
        except KeyError:
            return None
        numbers, strings = shape.numbers, shape.strings
        if numbers:
            numbers = tuple([rule if rule.values is None else _listed(rule) for rule in numbers])
        if strings:
            strings = tuple([rule if rule.values is None else _listed(rule) for rule in strings])
        return shape.null, shape.booleans, numbers, strings, arrays, objects, planned.is_told_apart

    def _array_content(self, rule: ArrayRule, plan: ArrayPlan | None) -> Hashable:
        if plan is None:
            return _listed(rule)
        return (*map(self._ways, plan.prefix), self._ways(plan.items), plan.low, plan.high)

    def _object_content(self, rule: ObjectRule, plan: ObjectPlan | None) -> Hashable:
        if plan is None:
            return _listed(rule)
        if not plan.is_simple():
            members, others = tuple(map(self._counted, plan.members)), tuple(map(self._counted, plan.others))
            return rule.any_order, plan.low, plan.high, plan.tallies, plan.groups, members, others
        return (rule.any_order, *map(self._member, plan.members), None, *map(self._member, plan.others))

    def _ways(self, ways: tuple[PlannedWay, ...]) -> Part | None:
        return self._parts[ways[0].conj] if ways else None

    def _member(self, member: PlannedMember) -> Hashable:
        return member.key, member.required, self._ways(member.ways)

    def _counted(self, member: PlannedMember) -> Hashable:
        return member.key, member.required, tuple([(self._parts[way.conj], way.counts) for way in member.ways])

    def tails(self, plan: ObjectPlan) -> list[Part]:
        """Of a simple object the rests: for each member, what may follow a value where that is the next member."""
        form, length = self._form, self._object_end
        tail = self._part(("end", form.spacing, *map(self._member, plan.others)))
        kind, memos, found = self._kind, self._memos, []
        for member in reversed(plan.members):
            key = kind, "rest", member.key, member.required, self._ways(member.ways), tail
            rest = memos.get(key)
            if rest is None:
                rest = memos[key] = Part()
            if member.required:
                length += self._comma + self._member_length(member)
            rest.length = min(length, NEVER)
            found.append(rest)
            tail = rest
        return found[::-1]

    # -- lengths ----------------------------------------------------------------------------------------------

    def _length(self, ways: tuple[PlannedWay, ...]) -> int:
        if not ways:
            return NEVER
        part = self._parts.get(ways[0].conj)
        return NEVER if part is None else part.length

    def _flat(self, shape: Shape) -> int:
        """Of the shortest value that is no array or object."""
        if shape is ANYTHING:
            return 1
        length = 4 if shape.null else NEVER
        for value in shape.booleans:
            length = min(length, 4 if value else 5)
        for number in shape.numbers:
            length = min(length, self._number_length(number))
        for string in shape.strings:
            length = min(length, self._string_length(string))
        return length

    def _number_length(self, rule: NumberRule) -> int:
        if rule in (_ANY_NUMBER, _ANY_INTEGER) or (rule.is_bare() and rule.interval.has_digit()):
            return 1
        return self._length_of(self._number(rule))

    def _string_length(self, rule: StringRule) -> int:
        if rule.values is not None:
            return min((len(dumped(value.json)) for value in rule.values), default=NEVER)
        if rule == _ANY_STRING:
            return 2
        if rule == StringRule(rule.min_length, rule.max_length):
            return 2 + rule.min_length
        return self._length_of(self._string(rule))

    def _length_of(self, text: int) -> int:
        return NEVER if POOL.is_empty(text) else POOL.shortest_length(text)

    def _nested(self, planned: Planned) -> int:
        """Of the shortest array or object."""
        if planned.shape is ANYTHING:
            return 2
        arrays = zip(planned.shape.arrays, planned.arrays, strict=True)
        objects = zip(planned.shape.objects, planned.objects, strict=True)
        lengths = [self._array_length(plan) if plan else self._length_of_these(rule) for rule, plan in arrays]
        lengths += [self._object_length(plan) if plan else self._length_of_these(rule) for rule, plan in objects]
        return min(lengths, default=NEVER)

    def _length_of_these(self, rule: ArrayRule | ObjectRule) -> int:
        return NEVER if rule.values is None else self._length_of(self._these(rule.values))

    def _array_length(self, plan: ArrayPlan) -> int:
        if plan.low == 0:
            return self._array + self._empty_array_end
        first = [self._length(ways) for ways in plan.prefix[: plan.low]]
        more = plan.low - len(first)
        total = sum(first) + (more * self._length(plan.items) if more else 0)
        return min(self._array + total + (plan.low - 1) * self._comma + self._array_end, NEVER)

    def _object_length(self, plan: ObjectPlan) -> int:
        if plan.groups:
            return self._chosen_length(plan)
        if not plan.is_simple():
            return self._counted_length(plan)
        needed = [member for member in plan.members if member.required]
        if not needed:
            return self._object + self._empty_object_end
        total = sum(map(self._member_length, needed)) + (len(needed) - 1) * self._comma
        return min(self._object + total + self._object_end, NEVER)

    def _counted_length(self, plan: ObjectPlan) -> int:
        still = left(plan.low, plan.high, plan.tallies)
        if still.may_stop() and not any(member.required for member in plan.members):
            return self._object + self._empty_object_end
        n_tallies = len(plan.tallies)
        left_out = Option(0, (0,) * (1 + n_tallies))
        members = [self._options(each, n_tallies) + ([] if each.required else [left_out]) for each in plan.members]
        others = [option for other in plan.others for option in self._options(other, n_tallies)]
        total = least_length(members, others, still)
        return min(self._object + total - self._comma + self._object_end, NEVER)

    def _chosen_length(self, plan: ObjectPlan) -> int:
        """Where choices have to be made: of what each group asks for, and of the other members that are required."""
        before = [self._comma + self._key_length(each.key) + self._colon for each in plan.members]
        ways = [[way.counts for way in each.ways] for each in plan.members]
        lengths = [
            [more + self._length((way,)) for way in each.ways] for more, each in zip(before, plan.members, strict=True)
        ]
        required = frozenset(i for i, each in enumerate(plan.members) if each.required)
        found = ChoiceLengths(ways, lengths, required)
        free = required.difference(*[group.members for group in plan.groups])
        total = found.least(frozenset(), tuple(free)).length
        total += sum(found.least(group.choices, group.members).length for group in plan.groups)
        if not total:
            return self._object + self._empty_object_end
        return min(self._object + total - self._comma + self._object_end, NEVER)

    def _options(self, member: PlannedMember, n_tallies: int) -> list[Option]:
        """What each way to write a member adds, behind a comma."""
        before = self._comma + self._key_length(member.key) + self._colon
        found = []
        for way in member.ways:
            part = self._parts.get(way.conj)
            if part is not None and part.length < NEVER:
                counts = (1, *[int(i in way.counts) for i in range(n_tallies)])
                found.append(Option(before + part.length, counts))
        return found

    def _key_length(self, key: str | Besides | Names) -> int:
        if isinstance(key, str):
            return dumped_length(key)
        if isinstance(key, Names):
            return len(key.shortest) + 2
        return 2 if "" not in key.names else POOL.shortest_length(key_besides(ANY_TEXT, key.names))

    def _member_length(self, member: PlannedMember) -> int:
        assert isinstance(member.key, str)
        return dumped_length(member.key) + self._colon + self._length(member.ways)


@memo
def _lengths(form: Layout) -> tuple[int, ...]:
    """Of the shortest comma and colon; beginning, end, and end of an empty one, of arrays, and of objects."""
    tokens = form.comma, form.colon, form.open_array, form.close_array, form.close_empty_array
    return tuple(map(POOL.shortest_length, (*tokens, form.open_object, form.close_object, form.close_empty_object)))


_ANY_NUMBER, _ANY_INTEGER, _ANY_STRING = NumberRule(), NumberRule(integer=True), StringRule()


def _listed(rule: NumberRule | StringRule | ArrayRule | ObjectRule) -> Hashable:
    """Listed values, told apart by more than whether they are equal: 1 and 1.0 may be spelled differently."""
    return None if rule.values is None else tuple(repr(value.json) for value in rule.values)
