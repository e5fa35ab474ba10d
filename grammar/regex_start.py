"""`^` inside of looks ahead: a place is the start of the text or it is not, and is told apart outside of the look."""

from __future__ import annotations

from collections.abc import Callable

from . import chars
from .errors import GrammarError
from .regex_parse import Anchor, Chars, Choice, LookAhead, LookBehind, Node, Repeat, Sequence, Text

_HERE = Sequence(())  # takes nothing
_NOWHERE = Choice(())  # never matches
_At = bool | None  # whether a place is the start of the text; None: it may be, or not


def without_start_ahead(tree: Node, at: _At) -> Node:
    """A tree of the same texts in which no look ahead has a `^`. at: whether it begins at the start of the text.

    Raises GrammarError for a `^` in a look ahead behind what may take something, or nothing.
    """
    return outside_of_looks(tree, at, _settled) if _has_start_ahead(tree, False) else tree


def outside_of_looks(node: Node, at: _At, change: Callable[[Node, _At], Node]) -> Node:
    """A node, all anchors, characters and looks in it changed. at, also asked with each: where it begins."""
    if isinstance(node, Sequence):
        return Sequence(tuple(outside_of_looks(item, place, change) for item, place in _pinned(node.items, at)))
    if isinstance(node, Choice):
        return Choice(tuple(outside_of_looks(item, at, change) for item in node.items))
    if isinstance(node, Repeat):
        return Repeat(outside_of_looks(node.item, _within(node, at), change), node.lo, node.hi, node.column)
    return change(node, at)


def may_be_empty(node: Node) -> bool:
    """Whether a node may match nothing, as far as it shows."""
    if isinstance(node, Sequence):
        return all(map(may_be_empty, node.items))
    if isinstance(node, Choice):
        return any(map(may_be_empty, node.items))
    if isinstance(node, Repeat):
        return node.lo == 0 or may_be_empty(node.item)
    return not node.text if isinstance(node, Text) else not isinstance(node, Chars)


def _has_start_ahead(node: Node, is_ahead: bool) -> bool:
    if isinstance(node, Anchor):
        return is_ahead and node.kind == "^"
    if isinstance(node, Sequence | Choice):
        return any(_has_start_ahead(item, is_ahead) for item in node.items)
    if isinstance(node, Repeat | LookAhead):
        return _has_start_ahead(node.item, is_ahead or isinstance(node, LookAhead))
    return False


def _settled(node: Node, at: _At) -> Node:
    """What stands for a look ahead, or for a character or an anchor, which stays."""
    if not isinstance(node, LookAhead) or not _has_start_ahead(node, False):
        return node
    if at is not None:
        return _ahead(node, at)
    behind_some = LookBehind(Chars(chars.ANY_CHARACTER), False, node.column)
    at_start = Sequence((Anchor("^", node.column), _ahead(node, True)))
    return Choice((at_start, Sequence((behind_some, _ahead(node, False)))))


def _ahead(look: LookAhead, at: bool) -> Node:
    return LookAhead(_told(look.item, at, look.column), look.negative, look.column)


def _told(node: Node, at: _At, column: int) -> Node:
    """A node inside of a look ahead, each `^` in it told."""
    if isinstance(node, Anchor) and node.kind == "^":
        if at is None:
            reason = "'^' behind what may be empty, inside a look-ahead, is not supported"
            raise GrammarError(f"regex, column {column}", "(?=", reason, "move it to the front of the look-ahead")
        return _HERE if at else _NOWHERE
    if isinstance(node, Sequence):
        return Sequence(tuple(_told(item, place, column) for item, place in _places(node.items, at)))
    if isinstance(node, Choice):
        return Choice(tuple(_told(item, at, column) for item in node.items))
    if isinstance(node, Repeat):
        return Repeat(_told(node.item, _within(node, at), column), node.lo, node.hi, node.column)
    if isinstance(node, LookAhead):
        return LookAhead(_told(node.item, at, column), node.negative, node.column)
    return node


def _within(node: Repeat, at: _At) -> _At:
    """Where each round of a repetition begins."""
    return at if not at or node.hi == 1 else None


def _places(items: tuple[Node, ...], at: _At) -> list[tuple[Node, _At]]:
    """The items of a sequence, and whether each begins at the start of the text."""
    result = []
    for item in items:
        result.append((item, at))
        if isinstance(item, Anchor) and item.kind == "^":
            at = True
        elif not _is_empty(item):
            at = None if at is not False and may_be_empty(item) else False
    return result


def _pinned(items: tuple[Node, ...], at: _At) -> list[tuple[Node, _At]]:
    """The items of a sequence outside of looks, and whether each begins at the start of the text: before a `^`, with
    nothing in between, is the start, too.
    """
    places = _places(items, at)
    return [(item, True if p is None and _begins_at_start(items[i:]) else p) for i, (item, p) in enumerate(places)]


def _begins_at_start(items: tuple[Node, ...]) -> bool:
    """Whether a sequence matches nowhere but at the start of the text: a `^` stands before all that takes something."""
    for item in items:
        if _is_start(item):
            return True
        if not _is_empty(item):
            return False
    return False


def _is_start(node: Node) -> bool:
    if isinstance(node, Sequence):
        return _begins_at_start(node.items)
    if isinstance(node, Choice):
        return bool(node.items) and all(map(_is_start, node.items))
    return isinstance(node, Anchor) and node.kind == "^"


def _is_empty(node: Node) -> bool:
    """Whether all that a node matches is empty."""
    if isinstance(node, Sequence | Choice):
        return all(map(_is_empty, node.items))
    return isinstance(node, Anchor | LookAhead | LookBehind)
