"""How long texts of an expression are at least, as far as its structure tells: without a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .least_units import LeastUnits
from .nodes import Kind
from .within import Within

if TYPE_CHECKING:
    from .expr import Exprs

NEVER = 1 << 60
"""The length of a shortest string that does not exist."""


class Bounds:
    """Remembers, for a pool, what was told of each expression asked about."""

    def __init__(self, exprs: Exprs) -> None:
        self._exprs = exprs
        self._known: dict[int, int] = {}
        self._within = Within(exprs)
        self._units: dict[int, LeastUnits] = {}

    def __len__(self) -> int:
        return len(self._known) + len(self._within) + sum(map(len, self._units.values()))

    def of(self, item: int) -> int:
        """Bytes a string of `item` has at least."""
        known = self._exprs.known_length(item)
        if known is None:
            known = self._known.get(item)
        if known is None:
            known = self._known[item] = self._find(item)
        return known

    def label_length(self, item: int) -> int:
        """Characters that the label in which texts of an expression are still needs at least; 0: they are in none."""
        node = self._exprs.node(item)
        head = self._exprs.node(node[1]) if node[0] == Kind.CAT else node
        return head[1].least(head[2]) if head[0] == Kind.MACHINE and head[1].is_made else 0

    def _find(self, item: int) -> int:
        exprs = self._exprs
        if exprs.plain(item):
            return self._exprs.shortest_length(item)
        total = 0
        while (node := exprs.node(item))[0] == Kind.CAT:
            total += self.of(node[1])
            item = node[2]
        kind = node[0]
        if kind == Kind.AND:
            rest = max(map(self.of, node[1]))
            if self._is_none(node[1]):
                return NEVER
        elif kind == Kind.ALT:
            rest = min(map(self.of, node[1]))
        elif kind in (Kind.REPEAT, Kind.COUNTED):
            rest = times(node[2], self.of(node[1]))
        elif kind == Kind.FRAME:
            rest = self.of(node[1])
        elif exprs.plain(item):
            rest = self._exprs.shortest_length(item)
        else:
            rest = 0 if exprs.nullable(item) else 1
        return min(total + rest, NEVER)

    def _is_none(self, members: tuple[int, ...]) -> bool:
        """Whether it is seen that no text is in all members of an intersection."""
        has_machine, has_complement, may_limit = False, False, []
        for member, node in zip(members, map(self._exprs.node, members), strict=True):
            if node[0] == Kind.COUNTED:
                may_limit.append(member)
            elif node[0] == Kind.CAT:
                may_limit.append(member)
                has_machine = has_machine or self._exprs.kind(node[1]) == Kind.MACHINE
            elif node[0] == Kind.NOT:
                has_complement = True
            elif node[0] == Kind.MACHINE:
                has_machine = True
        if has_machine and self._is_too_long(members):
            return True
        if any(self._is_over(limit, members) for limit in may_limit):
            return True
        return has_complement and self._within.is_none(members)

    def _is_too_long(self, members: tuple[int, ...]) -> bool:
        """Whether a name that a machine is about needs more characters than another member of an intersection has."""
        limits = [m[3] for m in map(self._exprs.node, members) if m[0] == Kind.COUNTED and m[3] is not None]
        if limits and min(limits) < max(map(self.label_length, members)):
            return True
        return max(map(self._characters, members)) > min(map(self._most_characters, members))

    def _is_over(self, limit: int, members: tuple[int, ...]) -> bool:
        """Whether a member, if it counts units, has fewer at most than another member of the same intersection has."""
        left, node = None, self._exprs.node(limit)
        if node[0] == Kind.CAT:
            left, node = node[1], self._exprs.node(node[2])
        if node[0] != Kind.COUNTED or node[3] is None or (left is not None and self._exprs.nullable(left)):
            return False
        _, unit, _, most = node
        if left is None:
            left = unit
        else:
            most += 1
        longer = [other for other in members if other != limit and self.of(other) > most]  # a unit has some bytes
        if not longer:
            return False
        if unit not in self._units:
            self._units[unit] = LeastUnits(self._exprs, unit)
        return any(self._units[unit].of(other, left) > most for other in longer)

    def _characters(self, item: int) -> int:
        """Characters that texts of an expression have at least, as far as it counts them."""
        node = self._exprs.node(item)
        while node[0] == Kind.CAT:
            node = self._exprs.node(node[2])
        return node[2] if node[0] == Kind.COUNTED and not self._exprs.nullable(node[1]) else 0

    def _most_characters(self, item: int) -> int:
        """Characters that texts of an expression have at most, if it is a machine that limits lengths."""
        node = self._exprs.node(item)
        return node[1].most(node[2]) if node[0] == Kind.MACHINE and node[1].is_limit else NEVER


def times(count: int, length: int) -> int:
    """Bytes of so many texts of a length."""
    if count == 0 or length == 0:
        return 0
    return NEVER if length >= NEVER else min(count * length, NEVER - 1)
