"""Objects in which no key that is not listed comes twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import NamedTuple

import msgspec

from .captures import Excluded, taken
from .chars import json_text
from .counts import Left
from .errors import GrammarError
from .expr import EMPTY, EPSILON, POOL
from .json_any_order import entry_of
from .json_equal import read
from .json_layout import QUOTE, Layout
from .json_objects import Member, Point, in_order
from .known_values import has_values, values_of
from .pools import memo
from .tallied_lengths import Option, TalliedLengths
from .witness import NEVER

_ROOMS = 64  # that are remembered
_MOST_NEEDED = 64  # members that are not listed, for the shortest of an object


def distinct_object(
    form: Layout, members: tuple[Member, ...], others: tuple[Member, ...], still: Left, *, any_order: bool
) -> int:
    """All of an object, given what is to come in it."""
    if _needed(still) > _MOST_NEEDED:
        reason = f"needs more than {_MOST_NEEDED} members, and those not listed must differ"
        raise GrammarError("constraint", "minProperties", reason, "lower it, or list the names")
    rule = Keys(form, members, others, any_order, still, frozenset())
    name = ("object of distinct keys", rule)
    if not POOL.is_defined(name):
        POOL.define(
            name,
            lambda: POOL.concat(form.open_object, rule.rest(first=True)),
            lambda: POOL.concat(form.open_object, rule.briefly(first=True)),
        )
    return POOL.ref(name)


class Keys(NamedTuple):
    """An object at the start of a member: what is to come, and the keys that were written without being listed.

    members: those of the listed ones that may come, in order unless any_order. are_sure: all members can be written.
    """

    form: Layout
    members: tuple[Member, ...]
    others: tuple[Member, ...]
    any_order: bool
    still: Left
    seen: frozenset[str]
    are_sure: bool = True

    def rest(self, *, first: bool) -> int:
        """The end of the object, if it may be here, or a key and what follows."""
        close = EMPTY
        if self.still.may_stop() and not any(member.required for member in self.members):
            close = self.form.close_empty_object if first else self.form.close_object
        keys, least = [], NEVER
        for key, length in self._next():
            keys.append(key)
            least = min(least, length)
        text = POOL.capture(POOL.alt(*keys), b"", self)
        if keys and least >= 0:
            POOL.know(text, least)
        return POOL.alt(close, POOL.concat(self.form.first if first else self.form.comma, text))

    def briefly(self, *, first: bool) -> int:
        """A shortest rest of the object."""
        members = [*self.members, *(member for _, _, member in self.extra(_needed(self.still)))]
        return in_order(self.form, members, (), Point(first, self.still), briefly=True)

    # -- as a Rule --------------------------------------------------------------------------------------------

    def after(self, text: bytes) -> int:
        """The member's value, and what follows it; EMPTY for a key that was there."""
        return self._behind(text, remember=True)

    def loosely(self, text: bytes) -> int:
        """`after`, this key not remembered."""
        return self._behind(text, remember=False)

    def vague(self) -> Keys:
        """The same: which members can be written depends on the keys before."""
        return self

    def vaguely(self, text: bytes) -> int:
        """`loosely`."""
        return self.loosely(text)

    def excluded(self) -> tuple[Excluded, ...]:
        """The keys before."""
        return (Excluded(_spellings, None, self.seen),) if self.seen else ()

    def values(self) -> frozenset[Hashable] | None:
        """The keys before."""
        return self.seen

    def hides(self) -> bool:
        """Never."""
        return False

    def follows(self) -> int:
        """A colon."""
        return self.form.colon

    def outline(self, body: int, text: bytes) -> int:
        """A shortest rest; where some of a key is written, one for each kind of key that it may be."""
        if not text:
            total = self.still.total
            some = self.still._replace(total=total._replace(low=max(total.low, 1)))
            rule = self._replace(form=self.form._replace(first=EPSILON), still=some)
            return rule.briefly(first=True)
        choices = []
        for index, member in self._in_turn():
            more = POOL.shortest(POOL.rest(member.key, text))
            if more is not None:
                choices.append(POOL.concat(POOL.literal(more), self._member(member, index, None)))
        rule = self.at_others()
        for other in self._others():
            more = POOL.shortest(POOL.and_(POOL.rest(other.key, text), POOL.not_(POOL.alt(*taken(self, text)))))
            if more is not None:
                choices.append(POOL.concat(POOL.literal(more), self._member(other, None, str(read(text + more)))))
        return POOL.alt(*choices)

    def is_free(self) -> bool:
        """Whether more keys are left than can be used up: of each kind, or of kinds that can always end the object."""
        if not self.are_sure and not _are_possible(self.members, self.others):
            return False
        others = self._others()
        many = [other for other in others if has_values(other.key, len(self.seen) + _needed(self.still) + 2)]
        return len(many) == len(others) or (bool(many) and self._end_always(many))

    def changed(self, change: Callable[[int], int]) -> Keys:
        """Objects of other members, some of which there may be no text of."""
        members = tuple(member.changed(change) for member in self.members)
        others = tuple(other.changed(change) for other in self.others)
        return self._replace(form=self.form.changed(change), members=members, others=others, are_sure=False)

    # -- inside -----------------------------------------------------------------------------------------------

    def _in_turn(self) -> Iterator[tuple[int, Member]]:
        """The listed members that may come next by their order."""
        for index, member in enumerate(self.members):
            yield index, member
            if member.required and not self.any_order:
                break

    def without(self, index: int) -> Keys:
        """What is to come behind a listed member."""
        return self._replace(members=(self.members[:index] if self.any_order else ()) + self.members[index + 1 :])

    def at_others(self) -> Keys:
        """What is to come behind a key that is not listed; in order these come when no listed member has to."""
        return self if self.any_order else self._replace(members=())

    def _others(self) -> tuple[Member, ...]:
        """The kinds of keys not listed that may come next by their order."""
        return () if not self.any_order and any(member.required for member in self.members) else self.others

    def _next(self) -> Iterator[tuple[int, int]]:
        """The keys that may come next, and bytes of a shortest object from there on; -1: not known."""
        room = _room(self)
        for index, member in self._in_turn():
            length = room.length(index, member)
            if length < NEVER:
                yield member.key, length
        for other in self._others():
            length = room.length_of_other(other)
            if length < NEVER:
                yield other.key, length

    def _end_always(self, many: list[Member]) -> bool:
        """Whether these kinds alone, of each of which there are keys enough, can bring all that is still needed."""
        if not self.still.tallies:
            return True
        if any(tally.high is not None for tally in (self.still.total, *self.still.tallies)):
            return False
        counted = frozenset[int]().union(*[way.counts for other in many for way in other.ways])
        return all(i in counted for i, tally in enumerate(self.still.tallies) if tally.low)

    def _behind(self, text: bytes, *, remember: bool) -> int:
        name = read(text)
        if not isinstance(name, str) or name in self.seen:
            return EMPTY
        for index, member in self._in_turn():
            if _name_of(member.key) == name and POOL.fullmatch(member.key, text):
                return self._member(member, index, None)
        kinds = [other for other in self._others() if POOL.fullmatch(other.key, text)]
        return POOL.alt(*[self._member(other, None, name, remember=remember) for other in kinds])

    def _member(self, member: Member, index: int | None, name: str | None, *, remember: bool = True) -> int:
        """Behind a key: the value, and the rest of the object. index: of a listed member. name: of another."""
        rule = self.at_others() if index is None else self.without(index)
        seen = self.seen if name is None or not remember else self.seen | {name}
        least = _room(self).behind(index, name if remember else None)
        choices = []
        for way in member.ways:
            still = self.still.after(way.counts)
            length = NEVER if still is None else least(still)
            if still is not None and length < NEVER:
                rest = _Rest(rule._replace(still=still, seen=seen))
                choices.append(POOL.concat(way.value, rest.ref(length)))
        return POOL.concat(self.form.colon, POOL.alt(*choices))

    def extra(self, wanted: int) -> list[tuple[Member, str, Member]]:
        """So many members of each kind that is not listed, of the shortest names that were not written yet.

        Each behind its kind and its name.
        """
        found = []
        for other in self.others if wanted else ():
            fresh = [each.text for each in values_of(other.key, wanted + len(self.seen)) if each.value not in self.seen]
            if len(fresh) < wanted:
                shortest = _shortest_keys(other.key, 1 << (wanted + len(self.seen) - 1).bit_length())
                fresh = [text for text in shortest if read(text) not in self.seen]
            named = [(str(read(text)), Member(POOL.literal(text), other.ways, False)) for text in fresh[:wanted]]
            found += [(other, name, member) for name, member in named]
        return found


class _Rest(msgspec.Struct, frozen=True, gc=False):
    """Names and writes what may follow a member."""

    rule: Keys

    def __call__(self) -> int:
        return self.rule.rest(first=False)

    def ref(self, length: int) -> int:
        """What may follow, written when a text comes there. length: of its shortest text; -1: not known."""
        if length >= 0:
            return POOL.later(self, self, _Outline(self.rule), length)
        if not POOL.is_defined(self):
            POOL.define(self, self, _Outline(self.rule))
        return POOL.ref(self)


class _Outline(msgspec.Struct, frozen=True, gc=False):
    """Writes a shortest of what may follow a member."""

    rule: Keys

    def __call__(self) -> int:
        return self.rule.briefly(first=False)


class _Room:
    """How many bytes the rest of an object has at least, by the member that comes next; -1: that takes too long."""

    def __init__(self, rule: Keys) -> None:
        self._rule, form, members = rule, rule.form, rule.members
        extra = rule.extra(_needed(rule.still) + 1)  # one that counts nothing, and those that are needed then
        comma, self._end = POOL.shortest_length(form.comma), POOL.shortest_length(form.close_object)
        counts = len(rule.still.tallies)
        left_out = [Option(0, (0,) * (1 + counts))]
        options = [
            entry_of(form, member).options(comma, counts) + ([] if member.required else left_out)
            for member in (*members, *(member for _, _, member in extra))
        ]
        listed = len(members) if rule.any_order else 0
        self._all = TalliedLengths(options, (), rule.still)
        self._free = self._all if rule.any_order else TalliedLengths(options[len(members) :], (), rule.still)
        self._is_known = self._all.is_known and self._free.is_known
        self._extra = [(i, *each) for i, each in enumerate(extra, listed)]

    def behind(self, index: int | None, name: str | None) -> Callable[[Left], int]:
        """By what is to come then. index: of a listed member; name: of another, if it is not to come again."""
        if not self._is_known:
            rule = self._rule.at_others() if index is None else self._rule.without(index)
            return lambda still: -1 if _is_possible(rule._replace(still=still)) else NEVER
        tallied = self._free if index is None else self._all
        if index is None:
            lengths = tallied.besides(next((i for i, _, fresh, _ in self._extra if fresh == name), None))
        else:
            lengths = tallied.besides(index) if self._rule.any_order else tallied.behind(index)
        return lambda still: min(tallied.least(lengths, still) + self._end, NEVER)

    def length(self, index: int, member: Member) -> int:
        """With a listed member; NEVER: it may not come."""
        return self._with(member, self.behind(index, None))

    def length_of_other(self, other: Member) -> int:
        """With one of a kind of those that are not listed."""
        if not self._is_known:
            return self._with(other, self.behind(None, None))
        fresh = [(name, member) for _, kind, name, member in self._extra if kind == other]
        return min((self._with(member, self.behind(None, name)) for name, member in fresh), default=NEVER)

    def _with(self, member: Member, least: Callable[[Left], int]) -> int:
        entry, found = entry_of(self._rule.form, member), NEVER
        for way, length in zip(entry.ways, entry.lengths, strict=True):
            still = self._rule.still.after(way.counts)
            rest = NEVER if still is None or length >= NEVER else least(still)
            if rest < 0:
                return -1
            found = min(found, length + rest)
        return found


def _room(rule: Keys) -> _Room:
    """Remembered for the objects that are being written."""
    known: dict[Keys, _Room] = POOL.memos.setdefault(_Room, {})
    if rule not in known:
        if len(known) >= _ROOMS:
            known.clear()
        known[rule] = _Room(rule)
    return known[rule]


def _needed(still: Left) -> int:
    """How many members have to come at most, each of which may count towards no more than one tally."""
    return max(still.total.low, sum(tally.low for tally in still.tallies))


@memo
def _are_possible(members: tuple[Member, ...], others: tuple[Member, ...]) -> bool:
    """Whether each that has to come can be written, and all that come with it."""
    return all(member.is_possible() for member in (*members, *others))


@memo
def _is_possible(rule: Keys) -> bool:
    return not POOL.is_empty(rule.briefly(first=False))


@memo
def _shortest_keys(expression: int, count: int) -> list[bytes]:
    """So many shortest keys, each of another name, or all there are."""
    found: list[bytes] = []
    while len(found) < count and (text := POOL.shortest(expression)) is not None:
        found.append(text)
        expression = POOL.and_(expression, POOL.not_(_spellings(None, str(read(text)))))
    return found


@memo
def _spellings(_: None, name: str) -> int:
    return POOL.concat(QUOTE, POOL.frame(json_text(name)), QUOTE)


@memo
def _name_of(key: int) -> Hashable:
    """What the key of a listed member spells."""
    return read(POOL.shortest(key) or b"null")
