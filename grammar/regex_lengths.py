"""How many characters a text has in which a pattern is found."""

from __future__ import annotations

from functools import lru_cache

from .regex_parse import Anchor, Chars, Choice, Node, Repeat, Sequence, Text, parse

_Bounds = tuple[int, int | None]  # the most is None: any number


@lru_cache(1024)
def lengths(pattern: str) -> _Bounds:
    """Bounds, perhaps wide ones, on the characters of all texts in which a schema's pattern is found.

    Raises GrammarError for a pattern that cannot be read.
    """
    tree = parse(pattern, "ecma")
    least, most = _of(tree)
    return least, most if _ends(tree, "^") and _ends(tree, "$") else None


def _of(node: Node) -> _Bounds:
    """Of what a node matches."""
    if isinstance(node, Chars):
        return 1, 1
    if isinstance(node, Text):
        return len(node.text), len(node.text)
    if isinstance(node, Sequence):
        parts = [_of(item) for item in node.items]
        return sum(lo for lo, _ in parts), None if (most := _all(parts)) is None else sum(most)
    if isinstance(node, Choice):
        parts = [_of(item) for item in node.items]
        return min((lo for lo, _ in parts), default=0), None if (most := _all(parts)) is None else max(most, default=0)
    if isinstance(node, Repeat):
        least, most = _of(node.item)
        return node.lo * least, 0 if most == 0 else None if node.hi is None or most is None else node.hi * most
    return 0, 0  # an anchor, or a look


def _all(parts: list[_Bounds]) -> list[int] | None:
    found = [most for _, most in parts if most is not None]
    return found if len(found) == len(parts) else None


def _ends(node: Node, sign: str) -> bool:
    """Whether all that a node matches begins (^) or ends ($) where the text does, with nothing of it outside."""
    if isinstance(node, Sequence):
        return bool(node.items) and _ends(node.items[0 if sign == "^" else -1], sign)
    if isinstance(node, Choice):
        return all(_ends(item, sign) for item in node.items)
    return isinstance(node, Anchor) and node.kind == sign
