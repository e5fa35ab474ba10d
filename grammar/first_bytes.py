"""What strings of an expression may begin with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .errors import GrammarError
from .nodes import ALL_BYTES, Kind

if TYPE_CHECKING:
    from .expr import Exprs


class FirstBytes:
    """Remembers first bytes, and classes of bytes that behave alike, for a pool."""

    def __init__(self, exprs: Exprs) -> None:
        self._exprs = exprs
        self._classes: dict[int, tuple[int, ...]] = {}
        self._masks: dict[int, int] = {}
        self._members: dict[int, list[tuple[int, int]]] = {}

    @property
    def remembered(self) -> int:
        """How many answers are kept."""
        return len(self._classes) + len(self._masks) + 2 * len(self._members)

    def classes(self, item: int) -> tuple[int, ...]:
        """A partition of the 256 bytes, as masks; bytes of one class have the same derivative."""
        known = self._classes.get(item)
        if known is None:
            known = self._classes[item] = self._find_classes(item)
        return known

    def mask(self, item: int) -> int:
        """Mask of the bytes strings may begin with; of complements, all bytes."""
        known = self._masks.get(item)
        if known is None:
            known = self._masks[item] = self._find_mask(item)
        return known

    def members(self, item: int, byte: int) -> list[int]:
        """The members of an alternation that may begin with a byte."""
        known = self._members.get(item)
        if known is None:
            known = self._members[item] = [(self.mask(member), member) for member in self._exprs.node(item)[1]]
        return [member for mask, member in known if mask >> byte & 1]

    def _find_classes(self, item: int) -> tuple[int, ...]:
        node = self._exprs.node(item)
        kind = node[0]
        if kind == Kind.SET:
            return (node[1], ALL_BYTES ^ node[1]) if node[1] != ALL_BYTES else (ALL_BYTES,)
        if kind == Kind.CAT:
            parts = set()
            while (node := self._exprs.node(item))[0] == Kind.CAT:
                parts.add(node[1])
                item = node[2]
                if not self._exprs.nullable(node[1]):
                    return self._refined(parts)
            return self._refined({*parts, item})
        if kind in (Kind.ALT, Kind.AND):
            return self._refined(node[1])
        if kind in (Kind.NOT, Kind.REPEAT, Kind.COUNTED, Kind.FRAME):
            return self.classes(node[1])
        if kind == Kind.MACHINE:
            return node[1].classes(node[2])
        if kind == Kind.VERBATIM:
            return _each_by_itself(node[1].text.next_bytes(node[1]))
        if kind == Kind.CAPTURE:  # what is remembered differs by every byte
            each = _each_by_itself([byte for byte in range(256) if self.mask(node[1]) >> byte & 1])
            behind = self.classes(self._exprs.behind(node))
            return tuple(part & other for part in each for other in behind if part & other)
        if kind == Kind.WORDS:
            return self.classes(self._exprs.definition(item))
        return self.classes(self._unfolded(item)) if kind == Kind.REF else (ALL_BYTES,)

    def _refined(self, items: Iterable[int]) -> tuple[int, ...]:
        classes: set[int] = {ALL_BYTES}
        for partition in {self.classes(item) for item in items}:
            classes = {part & other for part in classes for other in partition if part & other}
        return tuple(sorted(classes))

    def _find_mask(self, item: int) -> int:
        node = self._exprs.node(item)
        kind = node[0]
        if kind == Kind.SET:
            return node[1]
        if kind == Kind.CAT:
            mask = 0
            while (node := self._exprs.node(item))[0] == Kind.CAT:
                mask |= self.mask(node[1])
                if not self._exprs.nullable(node[1]):
                    return mask
                item = node[2]
            return mask | self.mask(item)
        if kind in (Kind.ALT, Kind.AND):
            masks = [self.mask(member) for member in node[1]]
            mask = 0 if kind == Kind.ALT else ALL_BYTES
            for other in masks:
                mask = mask | other if kind == Kind.ALT else mask & other
            return mask
        if kind == Kind.NOT:
            return ALL_BYTES
        if kind in (Kind.REPEAT, Kind.COUNTED, Kind.FRAME):
            return self.mask(node[1])
        if kind == Kind.MACHINE:
            return node[1].first(node[2])
        if kind == Kind.CAPTURE:
            return self.mask(node[1]) | self.mask(self._exprs.behind(node))
        if kind == Kind.MARK:
            return self.mask(self._exprs.follows(item))
        if kind == Kind.VERBATIM:
            return sum(1 << byte for byte in node[1].text.next_bytes(node[1]))
        if kind == Kind.WORDS:
            return self.mask(self._exprs.definition(item))
        return self.mask(self._unfolded(item)) if kind == Kind.REF else 0

    def _unfolded(self, ref_id: int) -> int:
        """The definition, having checked that it does not begin with the same reference."""
        seen, todo = set(), [self._exprs.definition(ref_id)]
        while todo:
            item = todo.pop()
            if item == ref_id:
                raise GrammarError(
                    str(self._exprs.node(ref_id)[1]), "$ref", "refers to itself without anything in between"
                )
            if item not in seen:
                seen.add(item)
                todo += self._leading(item)
        return self._exprs.definition(ref_id)

    def _leading(self, item: int) -> tuple[int, ...]:
        """The parts of a node at which its strings may begin."""
        node = self._exprs.node(item)
        kind = node[0]
        if kind == Kind.CAT:
            return (node[1], node[2]) if self._exprs.nullable(node[1]) else (node[1],)
        if kind in (Kind.ALT, Kind.AND):
            return node[1]
        if kind in (Kind.NOT, Kind.REPEAT, Kind.COUNTED, Kind.FRAME, Kind.CAPTURE):
            return (node[1],)
        return (self._exprs.definition(item),) if kind == Kind.REF else ()


def _each_by_itself(members: list[int]) -> tuple[int, ...]:
    """Classes of which each of `members` is one, and all other bytes another."""
    classes = [1 << byte for byte in members]
    others = ALL_BYTES ^ sum(classes)
    return (*classes, others) if others else tuple(classes)
