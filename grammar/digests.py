"""Names of expressions by what they are made of: the same in every process, unlike their numbers."""

from __future__ import annotations

from typing import Any

from .expr import Exprs
from .kept_rows import key_of
from .nodes import Kind
from .work import tick

_ONE_PART = (Kind.NOT, Kind.REPEAT, Kind.COUNTED, Kind.FRAME)


class Digests:
    """The digests of a pool's expressions; none for those that rest on documents, machines or numbered references."""

    def __init__(self, exprs: Exprs) -> None:
        self._exprs = exprs
        self._known: dict[int, bytes | None] = {}

    def of(self, item: int) -> bytes | None:
        """The digest of an expression."""
        todo = [item]
        while todo:
            part = todo[-1]
            missing = [p for p in self._parts(part) if p not in self._known] if part not in self._known else []
            if missing:
                todo += missing
                continue
            todo.pop()
            if part not in self._known:
                tick()
                self._known[part] = self._find(part)
        return self._known[item]

    def _parts(self, item: int) -> tuple[int, ...]:
        node = self._exprs.node(item)
        kind = node[0]
        if kind == Kind.CAT:
            return node[1:]
        if kind in (Kind.ALT, Kind.AND):
            return node[1]
        return (node[1],) if kind in _ONE_PART else ()

    def _find(self, item: int) -> bytes | None:
        node = self._exprs.node(item)
        kind = node[0]
        parts = [self._known[part] for part in self._parts(item)]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        if kind in (Kind.ALT, Kind.AND):
            known.sort()  # their order is that of numbers
        if kind in (Kind.REPEAT, Kind.COUNTED):
            known.append(repr(node[2:]).encode())
        if kind == Kind.SET:
            known.append(node[1].to_bytes(32, "little"))
        if kind == Kind.REF:
            if not _is_fixed(node[1]):
                return None
            known.append(repr(node[1]).encode())
        return key_of(int(kind), *known) if kind <= Kind.REF else None


def _is_fixed(key: Any) -> bool:
    """Whether the key of a reference is text alone, and so holds no number of an expression."""
    return isinstance(key, str) or (type(key) is tuple and all(map(_is_fixed, key)))
