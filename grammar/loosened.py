"""Expressions that say less, so that there are few states to search: how much there is of anything does not count.

Each text of an expression is one of what is left of it here. So where that has none, or none in common with others, the
expression has none: that no host name has a line break is found without going through all lengths of its labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .machine import AnyMachine, Machine
from .nodes import EMPTY, EPSILON, Kind
from .work import tick

if TYPE_CHECKING:
    from .expr import Exprs

_DEEPEST = 100


def bytes_of(machine: AnyMachine) -> int:
    """All bytes that texts of a machine may have, as a mask; 0: that is not known."""
    from .punycode import BYTES, ENCODED  # which builds expressions

    found = sum(1 << byte for byte in BYTES.encode()) if machine is ENCODED else 0
    for moves in machine.moves if isinstance(machine, Machine) else ():
        for mask, _ in moves:
            found |= mask
    return found


class Loosened:
    """Remembers, for a pool, what was made of each expression."""

    def __init__(self, exprs: Exprs) -> None:
        self._exprs = exprs
        self._known: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, item: int, depth: int = 0) -> int:
        """An expression with all texts of `item`, and mostly others. depth: of parts within parts."""
        known = self._known.get(item)
        if known is None:
            tick()
            known = self._known[item] = self._find(item, depth + 1) if depth < _DEEPEST else self._exprs.everything
        return known

    def _find(self, item: int, depth: int) -> int:
        exprs = self._exprs
        kind, *rest = exprs.node(item)
        if kind == Kind.SET or item in (EMPTY, EPSILON):
            return item
        if kind == Kind.CAT:
            parts = []
            while exprs.kind(item) == Kind.CAT:
                _, head, item = exprs.node(item)
                parts.append(self.of(head, depth))
            return exprs.concat(*parts, self.of(item, depth))
        if kind == Kind.ALT:
            return exprs.alt(*[self.of(each, depth) for each in rest[0]])
        if kind == Kind.AND:
            return exprs.and_(*[self.of(each, depth) for each in rest[0]])
        if kind in (Kind.REPEAT, Kind.COUNTED):
            return exprs.repeat(self.of(rest[0], depth), min(rest[1], 1), None)
        if kind == Kind.MACHINE and (mask := bytes_of(rest[0])):
            return exprs.repeat(exprs.byte_mask(mask), 0, None)
        return exprs.everything
