"""Looks behind by one character, as in `\\b`, cut into what stands before them: no text is then looked back at.

`[a-z-]{1,9}(?<!-)` is `[a-z-]{0,8}[a-z]`. An automaton of all that a pattern looks at has a state for each count beside
each thing looked for; without looks behind the pattern is an ordinary one, and its counts are registers.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import chars
from .chars import CodePoints
from .regex_parse import Anchor, Chars, Choice, LookAhead, LookBehind, Node, Repeat, Sequence, Text
from .regex_start import may_be_empty

MOST_BRANCHES = 64
"""Alternatives that a pattern may come to, each by itself."""

_Branch = tuple[Node, ...]


def without_first_behind(node: Node) -> Node:
    """The tree of a search that begins by looking behind: what must stand there is searched for with the rest."""
    if isinstance(node, LookBehind) and not node.negative:
        return without_first_behind(node.item)
    if isinstance(node, Sequence) and node.items:
        return Sequence((without_first_behind(node.items[0]), *node.items[1:]))
    return Choice(tuple(map(without_first_behind, node.items))) if isinstance(node, Choice) else node


def without_behind(branches: Iterable[_Branch], *, is_search: bool | None) -> list[_Branch] | None:
    """Branches of the same texts without looks behind. None: one looks at more than a character, or they are too many.

    branches: plain items, and anchors and looks that stand by themselves. is_search: anything may stand before them,
    and is searched for with them, or nothing may; None: what stands there is not known, and no look may come to it.
    """
    result: list[_Branch] = []
    for branch in branches:
        found = _cut(branch, is_search)
        if found is None or len(result) + len(found) > MOST_BRANCHES:
            return None
        result += found
    return result


def _cut(branch: _Branch, is_search: bool | None) -> list[_Branch] | None:
    """`without_behind` of one branch."""
    result: list[_Branch] = [()]
    for item in branch:
        if isinstance(item, LookBehind):
            members = _one_character(item.item)
            if members is None:
                return None
            if item.negative:
                members = chars.complement(members)
            if is_search is None and any(all(map(may_be_empty, start)) for start in result):
                return None
            result = [ended for start in result for ended in _ended(start, members, item.negative, bool(is_search))]
        else:
            result = [(*start, item) for start in result]
        if len(result) > MOST_BRANCHES:
            return None
    return result


def _one_character(node: Node) -> CodePoints | None:
    """The characters that a node stands for, each by itself; None: it is not of one character."""
    if isinstance(node, Chars):
        return node.members
    if isinstance(node, Sequence) and len(node.items) == 1:
        return _one_character(node.items[0])
    if isinstance(node, Choice):
        sets = [_one_character(item) for item in node.items]
        return None if None in sets else chars.union(*[members for members in sets if members is not None])
    return None


def _ended(items: _Branch, members: CodePoints, at_start: bool, is_search: bool) -> list[_Branch]:
    """Items behind which the character before is one of `members`, or (at_start) there is none."""
    if not items:
        before: list[_Branch] = [(Chars(members),)] if is_search else []
        return [*before, (Anchor("^", 0),) if is_search else ()] if at_start else before
    rest, last = items[:-1], items[-1]
    if isinstance(last, Anchor) and last.kind == "^":
        return [items] if at_start else []
    if isinstance(last, Anchor | LookAhead):
        return [(*start, last) for start in _ended(rest, members, at_start, is_search)]
    ending = _ending(last, members)
    found: list[_Branch] = [] if ending is None else [(*rest, ending)]
    return found + _ended(rest, members, at_start, is_search) if may_be_empty(last) else found


def _ending(node: Node, members: CodePoints) -> Node | None:
    """The texts of a plain node that end with one of `members`; None: there are none."""
    if isinstance(node, Chars):
        return Chars(kept) if (kept := chars.intersection(node.members, members)) else None
    if isinstance(node, Text):
        return node if node.text and chars.intersection(chars.characters(node.text[-1]), members) else None
    if isinstance(node, Choice):
        return _either([_ending(item, members) for item in node.items])
    if isinstance(node, Sequence):
        found: list[Node | None] = []
        for i in range(len(node.items) - 1, -1, -1):
            if (ending := _ending(node.items[i], members)) is not None:
                found.append(Sequence((*node.items[:i], ending)))
            if not may_be_empty(node.items[i]):
                break
        return _either(found)
    assert isinstance(node, Repeat)
    ending = None if node.hi == 0 else _ending(node.item, members)
    if ending is None:
        return None
    fewest = 0 if may_be_empty(node.item) else max(node.lo - 1, 0)
    most = None if node.hi is None else node.hi - 1
    return ending if most == 0 else Sequence((Repeat(node.item, fewest, most, node.column), ending))


def _either(found: list[Node | None]) -> Node | None:
    items = tuple(item for item in found if item is not None)
    return items[0] if len(items) == 1 else Choice(items) if items else None
