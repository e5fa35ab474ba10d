"""What a search need not read: a repetition beside which anything may stand is as long as it must be.

`[a-z]+` is found where `[a-z]` is, and `.*foo.{1,99}` where `foo.` is.
"""

from __future__ import annotations

from .regex_parse import Choice, Node, Repeat, Sequence, Text


def least(items: tuple[Node, ...], *, before: bool, behind: bool) -> tuple[Node, ...]:
    """Items that stand for the same texts, where anything may stand before or behind them.

    Those that are anchors or looks stay, with all on the other side of them; the others have none inside.
    """
    if before:
        items = _least_of(items, 0)
    return _least_of(items, -1) if behind else items


def _least_of(items: tuple[Node, ...], end: int) -> tuple[Node, ...]:
    """The least items, by the first (0) or the last (-1) of them."""
    while items:
        rest = items[1:] if end == 0 else items[:-1]
        outer = _least(items[end], end)
        if outer is not None:
            return (outer, *rest) if end == 0 else (*rest, outer)
        items = rest
    return ()


def _least(node: Node, end: int) -> Node | None:
    """None: it may be left out."""
    if isinstance(node, Repeat):
        if node.lo == 0:
            return None
        return _least(node.item, end) if node.lo == 1 else Repeat(node.item, node.lo, node.lo, node.column)
    if isinstance(node, Sequence):
        items = _least_of(node.items, end)
        return Sequence(items) if items else None
    if isinstance(node, Choice):
        items = tuple(_least(item, end) for item in node.items)
        return None if None in items else Choice(tuple(item for item in items if item is not None))
    return None if isinstance(node, Text) and not node.text else node
