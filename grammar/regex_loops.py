"""Repetitions beside a loop over the same characters: `[a-z ]+[a-z]{1,256}` matches what `[a-z ]+[a-z]` does.

How many characters were read by the loop, and how many by what is beside it, would else be told apart all the way.
"""

from __future__ import annotations

from .chars import intersection
from .regex_parse import Chars, Node, Repeat


def beside_loops(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """Items, one after the other, for the same texts: those that a loop beside them may read are as few as must be."""
    found: list[Node] = []
    for item in items:
        if found and _may_read(found[-1], item):
            item = _least(item)
        while found and item is not None and _may_read(item, found[-1]):
            before = _least(found.pop())
            if before is not None:
                found.append(before)
                break
        if item is not None:
            found.append(item)
    return tuple(found)


def _may_read(loop: Node, item: Node) -> bool:
    """Whether a loop over characters has all of those that are repeated beside it, more often than they must be."""
    if not (isinstance(loop, Repeat) and loop.hi is None and isinstance(loop.item, Chars)):
        return False
    if not (isinstance(item, Repeat) and item.lo != item.hi and isinstance(item.item, Chars)):
        return False
    members = item.item.members
    return intersection(loop.item.members, members) == members


def _least(item: Node) -> Node | None:
    """A repetition that is as long as it must be; None: it may be left out."""
    assert isinstance(item, Repeat)
    return Repeat(item.item, item.lo, item.lo, item.column) if item.lo else None
