"""What the kernels ask about nodes of which the array of a pool knows no more than that they are there.

References, words, documents, machines and captures are objects of Python; each answer is asked for once and remembered.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .errors import GrammarError
from .nodes import ALL_BYTES, EMPTY, Kind

if TYPE_CHECKING:
    from .expr import Exprs


class Answers:
    """Answers for one pool."""

    def __init__(self, exprs: Exprs) -> None:
        self._exprs = exprs

    # -- first bytes and classes ------------------------------------------------------------------------------

    def first(self, item: int) -> int:
        """Mask of the bytes a document, a machine, a capture or what is behind one may begin with."""
        exprs, node = self._exprs, self._exprs.node(item)
        kind = node[0]
        if kind == Kind.MACHINE:
            return node[1].first(node[2])
        if kind == Kind.VERBATIM:
            return sum(1 << byte for byte in node[1].text.next_bytes(node[1]))
        if kind == Kind.MARK:
            return exprs.first(exprs.follows(item))
        return exprs.first(node[1]) | exprs.first(exprs.behind(node))

    def classes(self, item: int) -> np.ndarray:
        """The class of each byte, (256,) int64: those of one class have the same derivative."""
        exprs, node = self._exprs, self._exprs.node(item)
        kind = node[0]
        if kind == Kind.MACHINE:
            return _numbered(node[1].classes(node[2]))
        if kind == Kind.VERBATIM:
            return _numbered(_each_by_itself(node[1].text.next_bytes(node[1])))
        mask = exprs.first(node[1])  # of a capture: what is remembered differs by every byte
        each = _each_by_itself([byte for byte in range(256) if mask >> byte & 1])
        behind = exprs.byte_classes(exprs.behind(node))
        return _numbered(tuple(part & other for part in each for other in behind if part & other))

    # -- definitions ------------------------------------------------------------------------------------------

    def definition(self, item: int) -> int:
        """What a reference or a node of words stands for. Raises GrammarError where it begins with itself."""
        exprs = self._exprs
        meaning = exprs.definition(item)
        seen, todo = set(), [meaning]
        while todo:
            part = todo.pop()
            if part == item:
                name = str(exprs.node(item)[1])
                raise GrammarError(name, "$ref", "refers to itself without anything in between")
            if not exprs.begins_with_byte(part) and part not in seen:
                seen.add(part)
                todo += self._leading(part)
        return meaning

    def _leading(self, item: int) -> tuple[int, ...]:
        """The parts of a node at which its strings may begin."""
        node = self._exprs.node(item)
        kind = node[0]
        if kind == Kind.CAT:
            return (node[1], node[2]) if self._exprs.nullable(node[1]) else (node[1],)
        if kind in (Kind.ALT, Kind.AND):
            return node[1]
        if kind in (Kind.NOT, Kind.REPEAT, Kind.COUNTED, Kind.FRAME, Kind.CAPTURE):
            return (node[1],)
        return (self._exprs.definition(item),) if kind == Kind.REF else ()

    # -- derivatives ------------------------------------------------------------------------------------------

    def derivative(self, item: int, byte: int) -> int:
        """What may follow a byte in a document, a machine or a capture."""
        exprs, node = self._exprs, self._exprs.node(item)
        if node[0] == Kind.VERBATIM:
            return exprs.span(node[1].text.step(node[1], byte))
        if node[0] == Kind.MACHINE:
            after = node[1].after(node[2], byte)
            return EMPTY if after is None else exprs.machine(node[1], after)
        from .captures import note_begun  # which builds expressions, too

        _, body, text, rule = node
        rest, longer = exprs.raw_derivative(body, byte), text + bytes([byte])
        note_begun(exprs.memos, body, text, rest, longer)
        return exprs.alt(exprs.capture(rest, longer, rule), exprs.raw_derivative(exprs.behind(node), byte))

    # -- captures ---------------------------------------------------------------------------------------------

    def joined(self, members: list[int]) -> int:
        """An alternation in which captures that have the same text so far become one."""
        from .captures import either  # which builds expressions, too

        exprs = self._exprs
        by_text: dict[bytes, list[int]] = {}
        for member in members:
            if exprs.node(member)[0] == Kind.CAPTURE:
                by_text.setdefault(exprs.node(member)[2], []).append(member)
        result = set(members)
        for text, alike in by_text.items():
            if len(alike) > 1:
                bodies = [exprs.node(member)[1] for member in alike]
                rules = [exprs.node(member)[3] for member in alike]
                result.difference_update(alike)
                result.add(exprs.capture(exprs.alt(*bodies), text, either(text, bodies, rules)))
        return exprs.alt(*sorted(result))


def _each_by_itself(members: list[int]) -> tuple[int, ...]:
    """Classes of which each of `members` is one, and all other bytes another."""
    classes = [1 << byte for byte in members]
    others = ALL_BYTES ^ sum(classes)
    return (*classes, others) if others else tuple(classes)


@lru_cache(1024)  # nearly all states of a machine have the same classes
def _numbered(masks: tuple[int, ...]) -> np.ndarray:
    """The class of each byte, numbered as they are met. Not to be written to."""
    found = np.full(256, -1, np.int64)
    for number, mask in enumerate(sorted(masks, key=lambda mask: mask & -mask)):
        bits = np.unpackbits(np.frombuffer(mask.to_bytes(32, "little"), np.uint8), bitorder="little")
        found[bits.view(bool)] = number
    return found
