"""Simpler ways to write an alternation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .nodes import EPSILON, Kind
from .work import tick

if TYPE_CHECKING:
    from .expr import Exprs


class Alternatives:
    """Rewrites the members of alternations of a pool; the union of their languages stays the same."""

    def __init__(self, exprs: Exprs) -> None:
        self._exprs = exprs
        self._covered: dict[tuple[int, int], bool] = {}

    def take_common_heads(self, members: set[int]) -> list[int]:
        """Take off, in place, the heads that all members begin with. A loop, as they may be thousands."""
        heads = []
        while len(members) > 1:
            nodes = [self._exprs.node(m) for m in members]
            if any(node[0] != Kind.CAT for node in nodes) or len({node[1] for node in nodes}) > 1:
                break
            heads.append(nodes[0][1])
            tails = {node[2] for node in nodes}
            members.clear()
            members.update(tails)
        return heads

    def factored(self, members: set[int]) -> set[int]:
        """Members with the same head become one, as do sets of bytes, and frames, with the same tail."""
        tick()
        tails: dict[int, list[int]] = {}
        for member in members:
            node = self._exprs.node(member)
            head, tail = (node[1], node[2]) if node[0] == Kind.CAT else (member, EPSILON)
            tails.setdefault(head, []).append(tail)
        heads: dict[tuple[int, int], list[int]] = {}
        result: set[int] = set()
        for head, group in tails.items():
            tail = group[0] if len(group) == 1 else self._exprs.alt(*group)
            kind = self._exprs.node(head)[0]
            if kind in (Kind.SET, Kind.FRAME):
                heads.setdefault((kind, tail), []).append(head)
            else:
                result.add(self._exprs.concat(head, tail))
        for (kind, tail), group in heads.items():
            result.add(self._exprs.concat(group[0] if len(group) == 1 else self._joined(kind, group), tail))
        return result

    def _joined(self, kind: int, group: list[int]) -> int:
        if kind == Kind.FRAME:
            return self._exprs.frame(self._exprs.alt(*[self._exprs.node(head)[1] for head in group]))
        mask = 0
        for head in group:
            mask |= self._exprs.node(head)[1]
        return self._exprs.byte_mask(mask)

    def absorbed(self, members: set[int]) -> set[int]:
        """Drop members that a starred member plainly covers: `x*|xyx*` is `x*` when y is one of x."""
        stars = [m for m in members if self._exprs.node(m)[0] == Kind.REPEAT and self._exprs.node(m)[2:] == (0, None)]
        for star in stars:
            members = {m for m in members if m == star or not self._covers(star, m)}
        members = self._without_tails(members)
        if EPSILON in members and any(m != EPSILON and self._exprs.nullable(m) for m in members):
            members = members - {EPSILON}
        return members

    def _without_tails(self, members: set[int]) -> set[int]:
        """Drop members that stand in another behind nullable heads: `y|x?y` is `x?y`."""
        covered: set[int] = set()
        for member in members:
            item = member
            while (node := self._exprs.node(item))[0] == Kind.CAT and self._exprs.nullable(node[1]):
                item = node[2]
                if item in members:
                    covered.add(item)
        return members - covered if covered else members

    def _covers(self, star: int, item: int) -> bool:
        """Whether `item` is seen, without searching, to be within `star` = x*. Errs towards False."""
        key = (star, item)
        known = self._covered.get(key)
        if known is None:
            known = self._covered[key] = self._find_covers(star, item)
        return known

    def _find_covers(self, star: int, item: int) -> bool:
        unit = self._exprs.node(star)[1]
        while (node := self._exprs.node(item))[0] == Kind.CAT and item != unit:
            if not self._covers(star, node[1]):
                return False
            item = node[2]
        if item in (star, unit, EPSILON):
            return True
        kind = node[0]
        if kind == Kind.SET:
            unit_node = self._exprs.node(unit)
            choices = unit_node[1] if unit_node[0] == Kind.ALT else (unit,)
            masks = [self._exprs.node(c)[1] for c in choices if self._exprs.node(c)[0] == Kind.SET]
            return any(node[1] & ~mask == 0 for mask in masks)
        if kind == Kind.ALT:
            return item == unit or all(self._covers(star, m) for m in node[1])
        return kind in (Kind.REPEAT, Kind.COUNTED) and self._covers(star, node[1])
