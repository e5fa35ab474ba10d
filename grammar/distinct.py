"""Objects in which no key that is not listed comes twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from .captures import Excluded, derived, has_values, taken
from .chars import json_text
from .counts import Left
from .errors import GrammarError
from .expr import EMPTY, POOL
from .json_equal import read
from .json_layout import QUOTE, Layout
from .json_objects import Member, Point, in_order
from .pools import memo

_MOST_NEEDED = 64  # members that are not listed, for the shortest of an object


def distinct_object(
    form: Layout, members: tuple[Member, ...], others: tuple[Member, ...], still: Left, *, any_order: bool
) -> int:
    """All of an object, given what is to come in it."""
    if max(tally.low for tally in (still.total, *still.tallies)) > _MOST_NEEDED:
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
        keys = [member.key for member, _ in self._listed()] + [other.key for other in self._others()]
        return POOL.alt(
            close, POOL.concat(self.form.first if first else self.form.comma, POOL.capture(POOL.alt(*keys), b"", self))
        )

    def briefly(self, *, first: bool) -> int:
        """A shortest rest of the object."""
        wanted = max(tally.low for tally in (self.still.total, *self.still.tallies))
        extra = [
            Member(POOL.literal(text), other.ways, False)
            for other in self.others
            for text in self._fresh(other, wanted)
        ]
        return in_order(self.form, [*self.members, *extra], (), Point(first, self.still), briefly=True)

    # -- as a Rule --------------------------------------------------------------------------------------------

    def after(self, text: bytes) -> int:
        """The member's value, and what follows it; EMPTY for a key that was there."""
        return self._behind(text, remember=True)

    def loosely(self, text: bytes) -> int:
        """`after`, this key not remembered."""
        return self._behind(text, remember=False)

    def excluded(self) -> tuple[Excluded, ...]:
        """The keys before."""
        return (Excluded(_spellings, None, self.seen),) if self.seen else ()

    def values(self) -> frozenset[Hashable] | None:
        """The keys before, where it does not matter how a member counts."""
        return None if self.still.tallies else self.seen

    def hides(self) -> bool:
        """Never."""
        return False

    def follows(self) -> int:
        """A colon."""
        return self.form.colon

    def outline(self, body: int, text: bytes) -> int:
        """For each kind of key a shortest one that is left, and a shortest rest."""
        choices = []
        for member, next_rule in self._kinds():
            rest = derived(member.key, text)
            if member in self.others:
                rest = POOL.and_(rest, POOL.not_(POOL.alt(*taken(self, text))))
            more = POOL.shortest(rest)
            if more is not None:
                seen: set[str] = {str(read(text + more))} if member in self.others else set()
                choices.append(POOL.concat(POOL.literal(more), next_rule._value(member, seen, briefly=True)))
        return POOL.alt(*choices)

    def is_free(self) -> bool:
        """Whether more keys are left than can be used up: of each kind, or of kinds that can always end the object."""
        if not self.are_sure and not _are_possible(self.members, self.others):
            return False
        needed = max(tally.low for tally in (self.still.total, *self.still.tallies))
        others = self._others()
        many = [other for other in others if has_values(other.key, len(self.seen) + needed + 2)]
        return len(many) == len(others) or (bool(many) and self._end_always(many))

    def changed(self, change: Callable[[int], int]) -> Keys:
        """Objects of other members, some of which there may be no text of."""
        members = tuple(member.changed(change) for member in self.members)
        others = tuple(other.changed(change) for other in self.others)
        return self._replace(form=self.form.changed(change), members=members, others=others, are_sure=False)

    # -- inside -----------------------------------------------------------------------------------------------

    def _listed(self) -> list[tuple[Member, Keys]]:
        """The listed members that may come next, and what is to come behind each."""
        found = []
        for i, member in enumerate(self.members):
            before = self.members[:i] if self.any_order else ()
            rule = self._replace(members=before + self.members[i + 1 :])
            if rule._may_follow(member):
                found.append((member, rule))
            if member.required and not self.any_order:
                break
        return found

    def _others(self) -> list[Member]:
        """The kinds of keys not listed that may come next; in order they come when no listed member has to."""
        rule = self if self.any_order else self._replace(members=())
        if not self.any_order and any(member.required for member in self.members):
            return []
        return [other for other in self.others if rule._may_follow(other)]

    def _kinds(self) -> list[tuple[Member, Keys]]:
        rule = self if self.any_order else self._replace(members=())
        return self._listed() + [(other, rule) for other in self._others()]

    def _may_follow(self, member: Member) -> bool:
        """Whether the object can still be ended when a member was written, and this is what is to come."""
        return any(self._can_end(still) for way in member.ways if (still := self.still.after(way.counts)))

    def _can_end(self, still: Left) -> bool:
        if still.tallies:
            return _is_possible(self._replace(still=still))
        required = sum(member.required for member in self.members)
        return still.total.high is None or still.total.high >= required

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
        listed = _by_name(self.members).get(name)
        for member, rule in self._listed():
            if listed is not None and member.key == listed and POOL.fullmatch(listed, text):
                return rule._value(member, set(), briefly=False)
        rule = self if self.any_order else self._replace(members=())
        kinds = [other for other in self._others() if POOL.fullmatch(other.key, text)]
        return POOL.alt(*[rule._value(other, {name} if remember else set(), briefly=False) for other in kinds])

    def _value(self, member: Member, seen: set[str], *, briefly: bool) -> int:
        """Behind a key: the value, and the rest of the object, of which this is what is to come."""
        choices = []
        for way in member.ways:
            still = self.still.after(way.counts)
            if still is not None:
                rule = self._replace(still=still, seen=self.seen | seen)
                rest = rule.briefly(first=False) if briefly else rule.rest(first=False)
                choices.append(POOL.concat(way.value, rest))
        return POOL.concat(self.form.colon, POOL.alt(*choices))

    def _fresh(self, other: Member, wanted: int) -> list[bytes]:
        """Shortest keys of a kind, none of them written yet."""
        if not wanted:
            return []
        shortest = _shortest_keys(other.key, 1 << (wanted + len(self.seen) - 1).bit_length())
        return [text for text in shortest if read(text) not in self.seen][:wanted]


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
def _by_name(members: tuple[Member, ...]) -> dict[Hashable, int]:
    """The keys of listed members, each of which spells one name."""
    return {read(POOL.shortest(member.key) or b"null"): member.key for member in members}
