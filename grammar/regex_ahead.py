"""Looks behind by one character inside of looks ahead, as in `^(?!.*\\bfoo\\b)`, cut into what stands before them.

What stands before the look ahead itself is known where that is the start of the text: nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from .regex_behind import without_behind
from .regex_parse import Choice, LookAhead, LookBehind, Node, Repeat, Sequence
from .regex_start import pinned, within

_MOST_BRANCHES = 64
_Branches = Callable[[Node], list[tuple[Node, ...]] | None]


def without_behind_ahead(node: Node, at: bool | None, branches_of: _Branches) -> Node:
    """A tree of the same texts, where looks ahead have no looks behind if that can be.

    at: whether it begins at the start of the text; None: it may, or not. branches_of: the alternatives of a node, each
    look by itself; None: these cannot be told.
    """
    if isinstance(node, Sequence):
        return Sequence(tuple(without_behind_ahead(item, place, branches_of) for item, place in pinned(node.items, at)))
    if isinstance(node, Choice):
        return Choice(tuple(without_behind_ahead(item, at, branches_of) for item in node.items))
    if isinstance(node, Repeat):
        return Repeat(without_behind_ahead(node.item, within(node, at), branches_of), node.lo, node.hi, node.column)
    return _cut(node, at, branches_of) if isinstance(node, LookAhead) and _looks_behind(node.item) else node


def _cut(look: LookAhead, at: bool | None, branches_of: _Branches) -> LookAhead:
    branches, result = branches_of(look.item), list[Node]()
    if branches is None:
        return look
    for branch in branches:
        found = without_behind(branch, is_search=False if at else None)
        if found is None or len(result) + len(found) > _MOST_BRANCHES:
            return look
        result += map(Sequence, found)
    return LookAhead(Choice(tuple(result)), look.negative, look.column)


def _looks_behind(node: Node) -> bool:
    if isinstance(node, Sequence | Choice):
        return any(map(_looks_behind, node.items))
    return isinstance(node, LookBehind) or (isinstance(node, Repeat | LookAhead) and _looks_behind(node.item))
