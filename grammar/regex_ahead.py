"""Looks behind by one character inside of looks ahead, as in `^(?!.*\\bfoo\\b)`, cut into what stands before them.

What stands before the look ahead itself is known where that is the start of the text: nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .regex_behind import without_behind
from .regex_parse import Choice, LookAhead, LookBehind, Node, Repeat, Sequence
from .regex_start import outside_of_looks

_Branches = Callable[[Node], list[tuple[Node, ...]] | None]


def without_behind_ahead(node: Node, at: bool | None, branches_of: _Branches) -> Node:
    """A tree of the same texts, where looks ahead have no looks behind if that can be.

    at: whether it begins at the start of the text; None: it may, or not. branches_of: the alternatives of a node, each
    look by itself; None: these cannot be told.
    """
    return outside_of_looks(node, at, partial(_cut, branches_of))


def _cut(branches_of: _Branches, node: Node, at: bool | None) -> Node:
    branches = branches_of(node.item) if isinstance(node, LookAhead) and _looks_behind(node.item) else None
    found = None if branches is None else without_behind(branches, is_search=False if at else None)
    if found is None or not isinstance(node, LookAhead):
        return node
    return LookAhead(Choice(tuple(map(Sequence, found))), node.negative, node.column)


def _looks_behind(node: Node) -> bool:
    if isinstance(node, Sequence | Choice):
        return any(map(_looks_behind, node.items))
    return isinstance(node, LookBehind) or (isinstance(node, Repeat | LookAhead) and _looks_behind(node.item))
