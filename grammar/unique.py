"""Arrays in which no two elements are equal."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from .captures import Excluded, taken
from .counts import Left, Way
from .errors import GrammarError
from .expr import EMPTY, POOL
from .json_equal import read, values_equal
from .json_layout import Layout
from .known_values import has_values, values_behind, values_of
from .pools import memo
from .unique_supply import leaves_enough

_MOST_TO_MATCH = 5  # elements still needed where those of different kinds must differ


def unique_array(form: Layout, prefix: tuple[tuple[Way, ...], ...], items: tuple[Way, ...], still: Left) -> int:
    """All of an array, given what is to come in it."""
    rule = Elements(form, prefix, items, still, frozenset())
    name = ("unique array", rule)
    if not POOL.is_defined(name):
        POOL.define(
            name,
            lambda: POOL.concat(form.open_array, rule.rest(first=True)),
            lambda: POOL.concat(form.open_array, rule.rest(first=True, briefly=True)),
        )
    return POOL.ref(name)


class Elements(NamedTuple):
    """An array at the start of an element: what is to come, and the `canonical` values of the elements before."""

    form: Layout
    prefix: tuple[tuple[Way, ...], ...]
    items: tuple[Way, ...]
    still: Left
    seen: frozenset[Hashable]

    def rest(self, *, first: bool, briefly: bool = False) -> int:
        """The end of the array, if it may be here, or an element and what follows; briefly: the end, if it may be."""
        close = EMPTY
        if self.still.may_stop():
            close = self.form.close_empty_array if first else self.form.close_array
            if briefly:
                return close
        element = POOL.capture(POOL.alt(*[way.value for way, _ in self._ways()]), b"", self)
        return POOL.alt(close, POOL.concat(self.form.first if first else self.form.comma, element))

    # -- as a Rule --------------------------------------------------------------------------------------------

    def after(self, text: bytes) -> int:
        """The rest of the array behind an element; EMPTY for one that was there."""
        value = read(text)
        if value in self.seen:
            return EMPTY
        return POOL.alt(*[self.next(still, value).rest(first=False) for still in self._counted(text)])

    def loosely(self, text: bytes) -> int:
        """The rest of the array behind an element, this one not remembered."""
        if self.seen and read(text) in self.seen:
            return EMPTY
        alike = self._counted(text)
        return _rest_behind(self, alike.pop()) if len(alike) == 1 else POOL.alt(*[_rest_behind(self, s) for s in alike])

    def vague(self) -> Elements:
        """The same, none before."""
        return self._replace(seen=frozenset()) if self.seen else self

    def vaguely(self, text: bytes) -> int:
        """The rest of the array behind an element, no element remembered."""
        return EMPTY if self.seen and read(text) in self.seen else self.vague().loosely(text)

    def excluded(self) -> tuple[Excluded, ...]:
        """The elements before."""
        return (Excluded(_texts_of, self.form.inner, self.seen),) if self.seen else ()

    def values(self) -> frozenset[Hashable] | None:
        """Those before, where it does not matter how an element counts."""
        return None if self.still.tallies else self.seen

    def hides(self) -> bool:
        """Objects that write a name twice."""
        return any(isinstance(value, tuple) and value[0] in ("object", "array") for value in self.seen)

    def follows(self) -> int:
        """A comma or a bracket."""
        return POOL.alt(self.form.comma, self.form.close_array)

    def outline(self, body: int, text: bytes) -> int:
        """A shortest element of those left, and so on until the array may end."""
        may_stop = all(still.may_stop() for _, still in self._ways())
        if may_stop and not self.seen:
            return POOL.concat(body, self.form.close_array)
        if may_stop and (more := self._another(body, text)) is not None:
            return POOL.concat(POOL.literal(more), self.form.close_array)
        fresh = POOL.and_(body, POOL.not_(POOL.alt(*taken(self, text))))
        if may_stop:
            return POOL.concat(fresh, self.form.close_array)
        choices = []
        is_all = body == POOL.rest(POOL.alt(*[way.value for way, _ in self._ways()]), text)
        groups: dict[Left, list[int]] = {}  # equal values may count differently, as 1 and 1.0 written in two ways
        for way, still in self._ways():
            groups.setdefault(still, []).append(way.value)
        for still, values in groups.items():
            if not text and not self.prefix and still.least() == self.still.least():
                continue  # an array that is as short as can be does without it; were it here, others would follow
            kind = POOL.rest(POOL.alt(*values), text)
            if is_all and self.seen and not POOL.plain(kind) and (found := self._found_choices(kind, text, still)):
                choices += found
                continue
            if is_all:  # then all of this kind are there, and an intersection with the others is not needed
                left = POOL.and_(kind, POOL.not_(POOL.alt(*taken(self, text))))
            else:
                left = fresh if len(groups) == 1 else POOL.and_(fresh, kind)
            choices += self._shortest_choices(left, text, still)
        return POOL.alt(*choices)

    def is_free(self) -> bool:
        """Whether each kind of element has more values than could be used up, or enough for all that is needed."""
        if self._has_many():
            return True
        now = tuple(way for way, _ in self._ways())
        return leaves_enough(self.form, now, self.prefix[1:], self.items, self.still, self.seen, self._wanted())

    def changed(self, change: Callable[[int], int]) -> Elements:
        """Arrays of other elements."""
        prefix = tuple(tuple(way.changed(change) for way in ways) for ways in self.prefix)
        items = tuple(way.changed(change) for way in self.items)
        return self._replace(form=self.form.changed(change), prefix=prefix, items=items)

    # -- inside -----------------------------------------------------------------------------------------------

    def _ways(self) -> list[tuple[Way, Left]]:
        """The ways to write the next element, and what is to come then."""
        ways = self.prefix[0] if self.prefix else self.items
        found = [(way, after) for way in ways if (after := self.still.after(way.counts))]
        if self.still.tallies:
            found = [(way, after) for way, after in found if self._can_end(after)]
        return found

    def _can_end(self, still: Left) -> bool:
        """Whether the counts can be met, were elements allowed to be equal."""
        return not POOL.is_empty(_any_rest(self.form, self.prefix[1:], self.items, still))

    def _counted(self, text: bytes) -> set[Left]:
        """What may come behind this element, by the ways in which it may have been written."""
        ways = self._ways()
        alike = {still for _, still in ways}
        if len(alike) > 1:
            alike = {still for way, still in ways if POOL.fullmatch(way.value, text)}
        return {still for still in alike if not any(other.allows_all_of(still) for other in alike - {still})}

    def next(self, still: Left, *values: Hashable) -> Elements:
        """The array at its next element, values that were written added."""
        return self._replace(prefix=self.prefix[1:], still=still, seen=self.seen.union(values))

    def _shortest_choices(self, fresh: int, text: bytes, still: Left) -> list[int]:
        """Some shortest elements of different values that leave `still`, with what follows each."""
        choices = []
        for _ in range(self._choices()):
            more = POOL.shortest(fresh)
            if more is None:
                break
            value = read(text + more)
            choices.append(POOL.concat(POOL.literal(more), self.next(still, value).rest(first=False, briefly=True)))
            fresh = POOL.and_(fresh, POOL.not_(POOL.rest(values_equal(self.form.inner, value), text)))
        return choices

    def _found_choices(self, kind: int, text: bytes, still: Left) -> list[int]:
        """`_shortest_choices` of elements such as may hold unique ones, as far as all are found by values."""
        wanted = self._choices()
        some = values_behind(text, kind, len(self.seen) + wanted)
        fresh = [each for each in some if each.value not in self.seen][:wanted]
        if len(fresh) < wanted:
            return []
        rests = [self.next(still, each.value).rest(first=False, briefly=True) for each in fresh]
        return [
            POOL.concat(POOL.literal(each.text[len(text) :]), rest) for each, rest in zip(fresh, rests, strict=True)
        ]

    def _another(self, body: int, text: bytes) -> bytes | None:
        """What makes `text` a shortest element that was not there, if that is found without search."""
        if text:
            more = POOL.shortest(body)
            if more is None or read(text + more) not in self.seen:
                return more
            if POOL.plain(body):
                return None
        if POOL.plain(body):
            some = values_of(body, len(self.seen) + 1)
        else:  # such arrays may be inside: a search beside what is taken would meet each in all its spellings
            some = values_behind(text, body, len(self.seen) + 1 if not text else len(taken(self, text)) + 1)
        return next((each.text[len(text) :] for each in some if each.value not in self.seen), None)

    def _choices(self) -> int:
        """How many values of this element are to be tried, so that one of them leaves the others what they need."""
        if (not self.prefix and not self.still.tallies) or self._has_many():
            return 1
        if max(self.still.least()) > _MOST_TO_MATCH:
            reason = f"more than {_MOST_TO_MATCH} elements of different kinds are needed, and must differ"
            raise GrammarError("constraint", "uniqueItems", reason, "lower minItems or minContains")
        return self._needed() + 1

    def _has_many(self) -> bool:
        """Whether each kind of element still to come has more values than could be used up."""
        wanted = self._wanted()
        return all(has_values(way.value, wanted) for ways in (*self.prefix, self.items) for way in ways)

    def _wanted(self) -> int:
        """More values than could be used up."""
        return len(self.seen) + len(self.prefix) + self._needed() + 2

    def _needed(self) -> int:
        """How many elements are to come at most, where none comes that the array would do without."""
        total, tallied = self.still.total.low, sum(tally.low for tally in self.still.tallies)
        return max(total, len(self.prefix) + tallied) if tallied else total


@memo
def _rest_behind(rule: Elements, still: Left) -> int:
    return rule.next(still).rest(first=False)


@memo
def _texts_of(form: Layout, value: Hashable) -> int:
    return values_equal(form, value)


@memo
def _any_rest(form: Layout, prefix: tuple[tuple[Way, ...], ...], items: tuple[Way, ...], still: Left) -> int:
    from .json_arrays import array  # which may ask for unique ones

    return array(form, prefix, items, *still.total, still.tallies)
