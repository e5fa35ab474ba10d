"""Arrays in which some two elements are equal: what breaks `uniqueItems`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import combinations
from typing import NamedTuple

from .captures import Excluded
from .counts import Left, Way
from .expr import EMPTY, POOL
from .json_arrays import array, rest_behind
from .json_equal import read, values_equal
from .json_layout import Layout
from .known_values import Value
from .pools import memo

Ways = tuple[Way, ...]

Shared = tuple[tuple[int, int, int], ...]
"""Two expressions of elements, and the texts of the values that both have."""


def repeated_array(
    form: Layout, prefix: tuple[Ways, ...], items: Ways, still: Left, shared: Shared = (), *, nested: bool = False
) -> int:
    """All of an array, given what is to come in it.

    shared: of each two ways that differ what they have in common, spelled as in both; others have nothing in common.
    nested: what may follow within an element may depend on what was written in it.
    """
    rule = Repeats(form, prefix, items, still, shared, frozenset(), nested)
    name = ("repeated array", rule)
    if not POOL.is_defined(name):
        POOL.define(name, lambda: POOL.concat(form.open_array, rule.rest(first=True)), rule.outlines)
    return POOL.ref(name)


class Repeats(NamedTuple):
    """An array at the start of an element, all before which differ.

    shared: see `repeated_array`. seen: the elements before, their texts only if nested: then an element that has to
    come again is written as it was before.
    """

    form: Layout
    prefix: tuple[Ways, ...]
    items: Ways
    still: Left
    shared: Shared
    seen: frozenset[Value]
    nested: bool

    def rest(self, *, first: bool) -> int:
        """An element, and what follows: only such elements as can be gone on with."""
        bodies = [self._body(way, still) for way, still in self._ways()]
        element = POOL.capture(POOL.alt(*bodies), b"", self)
        return POOL.concat(self.form.first if first else self.form.comma, element)

    def outlines(self) -> int:
        """All of the array, shortest ones at least: one for each two places that may have the same value.

        Asks for no shortest text of anything, as elements may be such arrays. That of an expression is always the same.
        """
        return POOL.alt(*[self._array(pair) for pair in self._pairs()])

    # -- as a Rule --------------------------------------------------------------------------------------------

    def after(self, text: bytes) -> int:
        """Behind an element that was there, any rest of the array; else one in which something comes twice."""
        value, known = read(text), self._counted(text)
        if self._has_seen(value):
            return POOL.alt(*[self._any_rest(still) for still in known])
        seen = self.seen | {Value(text if self.nested else b"", value)}
        rules = [self._replace(prefix=self.prefix[1:], still=still, seen=seen) for still in known]
        return POOL.alt(*[rule.rest(first=False) for rule in rules])

    def loosely(self, text: bytes) -> int:
        """The same, this element not remembered, so that any may be equal to it."""
        if self.seen and self._has_seen(read(text)):
            return self.after(text)
        return POOL.alt(*[_any_element(self, still) for still in self._counted(text)])

    def vague(self) -> Repeats:
        """The same."""
        return self

    def vaguely(self, text: bytes) -> int:
        """`loosely`."""
        return self.loosely(text)

    def excluded(self) -> tuple[Excluded, ...]:
        """None."""
        return ()

    def values(self) -> frozenset[Hashable] | None:
        """Not told by values alone."""

    def hides(self) -> bool:
        """Never."""
        return False

    def follows(self) -> int:
        """A comma or a bracket."""
        return POOL.alt(self.form.comma, self.form.close_array)

    def outline(self, body: int, text: bytes) -> int:
        """A shortest element and what follows it; or a shortest of those that were there."""
        found = (POOL.shortest(body), POOL.shortest(self._again(body, text)))
        rests_of = [(more, self.after(text + more)) for more in found if more is not None]
        return POOL.alt(*[POOL.concat(POOL.literal(more), rest) for more, rest in rests_of])

    def is_free(self) -> bool:
        """Always: elements that cannot be gone on with are left out."""
        return True

    def changed(self, change: Callable[[int], int]) -> Repeats:
        """Arrays of other elements."""
        prefix = tuple(tuple(way.changed(change) for way in ways) for ways in self.prefix)
        items = tuple(way.changed(change) for way in self.items)
        shared = tuple((change(one), change(other), change(both)) for one, other, both in self.shared)
        return self._replace(form=self.form.changed(change), prefix=prefix, items=items, shared=shared)

    # -- inside -----------------------------------------------------------------------------------------------

    def _ways(self) -> list[tuple[Way, Left]]:
        """The ways to write the next element, and what is to come then."""
        ways = self.prefix[0] if self.prefix else self.items
        return [(way, after) for way in ways if (after := self.still.after(way.counts))]

    def _counted(self, text: bytes) -> set[Left]:
        """What is to come behind this element, for each of the ways in which it may have been written."""
        ways = self._ways()
        alike = {still for _, still in ways}
        if len(alike) > 1:
            alike = {still for way, still in ways if POOL.fullmatch(way.value, text)}
        return alike

    def _has_seen(self, value: Hashable) -> bool:
        return any(value == each.value for each in self.seen) if self.nested else Value(b"", value) in self.seen

    def _again(self, body: int, begun: bytes = b"") -> int:
        """Of what may follow the beginning of an element that which makes it equal to one before."""
        if not self.nested:
            seen = Excluded(values_equal, self.form.inner, frozenset(each.value for each in self.seen))
            return POOL.and_(body, POOL.alt(*seen.rests(begun)))
        texts = [each.text[len(begun) :] for each in self.seen if each.text.startswith(begun)]
        return POOL.texts([text for text in texts if POOL.fullmatch(body, text)])

    def _any_rest(self, still: Left) -> int:
        return rest_behind(self.form, self.prefix[1:], self.items, still)

    def _body(self, way: Way, still: Left) -> int:
        """Of the values of a way those behind which something can come twice."""
        later = self._replace(prefix=self.prefix[1:], still=still)
        if _is_open(later._replace(seen=frozenset()), way.value):
            return way.value
        again = ((at, Way(self._again(other.value), other.counts)) for at, other in later._places())
        if any(later._can_be({at: other}) for at, other in again):
            return way.value
        found = [later._shared_with(way.value, other) for at, other in later._places() if later._can_be({at: other})]
        if later._can_be({}):
            found.append(self._again(way.value))
        return POOL.alt(*found)

    def _places(self) -> Iterator[tuple[int, Way]]:
        """Each place from here on, and each way to write an element there; of those behind `prefix` the first two."""
        for at, ways in enumerate((*self.prefix, self.items, self.items)):
            yield from ((at, way) for way in ways)

    def _pairs(self) -> Iterator[dict[int, Way]]:
        """Each two places that may have the same value, with the texts of such values."""
        for (at, way), (later, other) in combinations(self._places(), 2):
            both = self._shared_with(way.value, other)
            if later > at and both != EMPTY:
                yield {at: Way(both, way.counts), later: Way(both, other.counts)}

    def _shared_with(self, value: int, other: Way) -> int:
        if value == other.value:
            return value
        pairs = {frozenset(pair): both for *pair, both in self.shared}
        return pairs.get(frozenset((value, other.value)), EMPTY)

    def _array(self, given: dict[int, Way]) -> int:
        """All arrays, nothing asked of them but to be written in the ways given at some places."""
        length = max([len(self.prefix), *[at + 1 for at in given]])
        ways = [*self.prefix, *[self.items] * (length - len(self.prefix))]
        prefix = [(given[at],) if at in given else each for at, each in enumerate(ways)]
        (low, high), tallies = self.still
        low = max([low, *[at + 1 for at in given]])
        if high is not None and low > high:
            return EMPTY
        return array(self.form, prefix, self.items, low, high, tallies)

    def _can_be(self, given: dict[int, Way]) -> bool:
        return not POOL.is_empty(self._array(given))


@memo
def _is_open(rest: Repeats, value: int) -> bool:
    """Whether something can come twice behind an element of any value of an expression."""
    if any(rest._shared_with(value, way) == value and rest._can_be({at: way}) for at, way in rest._places()):
        return True
    return any(map(rest._can_be, rest._pairs()))


@memo
def _any_element(rule: Repeats, still: Left) -> int:
    """Behind an element that is not remembered: more of them, and any rest of the array."""
    later = rule._replace(prefix=rule.prefix[1:], still=still)
    values = POOL.alt(*[way.value for way, _ in later._ways()])
    return POOL.concat(rule.form.comma, POOL.capture(values, b"", _Forgetful(later)))


class _Forgetful(NamedTuple):
    """A `Repeats` at an element that may be equal to one that is not remembered."""

    rule: Repeats

    def after(self, text: bytes) -> int:
        """Any rest of the array."""
        return POOL.alt(*[self.rule._any_rest(still) for still in self.rule._counted(text)])

    def loosely(self, text: bytes) -> int:
        """The same."""
        return self.after(text)

    def vague(self) -> _Forgetful:
        """The same."""
        return self

    def vaguely(self, text: bytes) -> int:
        """`loosely`."""
        return self.loosely(text)

    def excluded(self) -> tuple[Excluded, ...]:
        """None."""
        return ()

    def values(self) -> frozenset[Hashable] | None:
        """Not told by values alone."""

    def hides(self) -> bool:
        """Never."""
        return False

    def follows(self) -> int:
        """A comma or a bracket."""
        return self.rule.follows()

    def outline(self, body: int, text: bytes) -> int:
        """A shortest element of each kind that counts otherwise, and the rest: a shortest of all may leave none."""
        groups: dict[Left, list[int]] = {}
        for way, still in self.rule._ways():
            groups.setdefault(still, []).append(way.value)
        is_all = body == POOL.rest(POOL.alt(*[value for values in groups.values() for value in values]), text)
        choices: list[int] = []
        for still, values in groups.items():
            kind = POOL.rest(POOL.alt(*values), text)
            more = POOL.shortest(kind if is_all else POOL.and_(body, kind))
            if more is not None:
                choices.append(POOL.concat(POOL.literal(more), self.rule._any_rest(still)))
        return POOL.alt(*choices)

    def is_free(self) -> bool:
        """Never: what is let through here has to be looked at again, with all remembered."""
        return False

    def changed(self, change: Callable[[int], int]) -> _Forgetful:
        """Arrays of other elements."""
        return _Forgetful(self.rule.changed(change))
