"""Whether all texts of an expression are seen to be texts of another: by structure, without a search.

`yes` is sure; where it is not seen, it may be so nevertheless. What it is for: names that contain one word beside names
that do not contain another, where the other has come already. All names contain it then, and a search for one that does
not would go through all that may come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .nodes import EMPTY, EPSILON, Kind

if TYPE_CHECKING:
    from .expr import Exprs

_MOST = 300  # pairs that are looked at for one question
_REPEATED = (Kind.REPEAT, Kind.COUNTED)


class Within:
    """Sees, for a pool, what is contained in what."""

    def __init__(self, exprs: Exprs) -> None:
        self._exprs = exprs
        self._known: dict[tuple[int, int], bool] = {}
        self._left = 0  # pairs that may still be looked at

    def __len__(self) -> int:
        return len(self._known)

    def is_none(self, members: tuple[int, ...]) -> bool:
        """Whether an intersection is seen to be empty: one of its members is within what another excludes."""
        nodes = [self._exprs.node(member) for member in members]
        excluded = [node[1] for node in nodes if node[0] == Kind.NOT]
        asked = [member for member, node in zip(members, nodes, strict=True) if node[0] != Kind.NOT]
        return any(self.yes(member, other) for other in excluded for member in asked)

    def yes(self, item: int, other: int) -> bool:
        """Whether each text of `item` is seen to be one of `other`, too."""
        self._left = _MOST
        return self._is_within(item, other)

    def _is_within(self, item: int, other: int) -> bool:
        exprs = self._exprs
        item, other = exprs.unframed(item), exprs.unframed(other)
        if item in (EMPTY, other) or other == exprs.everything:
            return True
        if item == EPSILON or other in (EPSILON, EMPTY):
            return item == EPSILON and exprs.nullable(other)
        known = self._known.get((item, other))
        if known is None:
            self._left -= 1
            if self._left < 0:
                return False
            known = exprs.nullable(item) <= exprs.nullable(other) and not exprs.first(item) & ~exprs.first(other)
            known = known and (self._by_parts(item, other) or self._by_bytes(item, other))
            if known or self._left >= 0:
                self._known[item, other] = known
        return known

    def _by_parts(self, item: int, other: int) -> bool:
        """What parts of one or the other say by themselves."""
        kind, *parts = self._exprs.node(item)
        outer, *around = self._exprs.node(other)
        if kind == Kind.ALT:
            return all(self._is_within(each, other) for each in parts[0])
        if outer == Kind.AND:
            return all(self._is_within(item, each) for each in around[0])
        if kind == Kind.AND and any(self._is_within(each, other) for each in parts[0]):
            return True
        if outer == Kind.ALT:
            return any(self._is_within(item, each) for each in around[0])
        if outer == Kind.CAT:
            first, last = around
            if kind == Kind.CAT and parts[0] == first and self._is_within(parts[1], last):
                return True
            return any(
                self._exprs.nullable(left_out) and self._is_within(item, each)
                for each, left_out in ((first, last), (last, first))
            )
        if outer == Kind.REPEAT and around[1] <= 1 and around[2] is None:
            return self._is_within_repeated(item, other, around[0])
        return False

    def _is_within_repeated(self, item: int, other: int, unit: int) -> bool:
        """`_is_within` of any number of units, or at least one: each part of the item is some."""
        kind, *parts = self._exprs.node(item)
        if kind == Kind.CAT and all(self._is_within(part, other) for part in parts):
            return True
        if kind in _REPEATED and (parts[1] or self._exprs.nullable(other)):
            return self._is_within(parts[0], other)
        return self._is_within(item, unit)

    def _by_bytes(self, item: int, other: int) -> bool:
        """What is left of the other behind each byte that the item begins with, where that is out of a set."""
        exprs = self._exprs
        kind, *parts = exprs.node(item)
        first, rest = parts if kind == Kind.CAT else (item, EPSILON)
        head, *alternatives = exprs.node(first)
        if head == Kind.ALT and kind == Kind.CAT:
            return all(self._is_within(exprs.concat(each, rest), other) for each in alternatives[0])
        if head != Kind.SET:
            return False
        left = [mask & alternatives[0] for mask in exprs.byte_classes(other)]
        behind = [exprs.raw_derivative(other, (mask & -mask).bit_length() - 1) for mask in left if mask]
        return all(self._is_within(rest, each) for each in dict.fromkeys(behind))
