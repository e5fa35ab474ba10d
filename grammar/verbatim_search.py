"""The shortest part of a document that another expression accepts too, read off from each place it may begin at.

A document goes on in one way from each of its places, so what is left of the expression there is known: there are as
many situations to look at as places times what the expression can come to, and each is looked at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .nodes import EMPTY
from .verbatim import IndexedText, Span
from .work import tick

if TYPE_CHECKING:
    from .expr import Exprs

_NEVER = -1
_MOST_REMEMBERED = 1_000_000

_Situation = tuple[IndexedText, int, int, int, int | None]
"""A document, a byte of it, the expression there, and how many characters have yet to begin: at least, at most."""


class Along:
    """Remembers, for a pool, how many bytes lie between a situation and the nearest end of a value."""

    def __init__(self, exprs: Exprs) -> None:
        self._exprs = exprs
        self._lengths: dict[_Situation, int] = {}

    def __len__(self) -> int:
        return len(self._lengths)

    def shortest(self, span: Span, item: int) -> bytes | None:
        """One of the shortest strings that are both of the span and of `item`; None: there is none."""
        if len(self._lengths) > _MOST_REMEMBERED:
            self._lengths.clear()
        text = span.text
        best: tuple[int, int] | None = None
        for at in text.standing(span).tolist():
            length = self._length((text, at, item, span.least, span.most))
            if length != _NEVER and (best is None or length < best[0]):
                best = length, at
            if length == 0:
                break
        return None if best is None else text.data[best[1] : best[1] + best[0]].astype("uint8").tobytes()

    def _length(self, situation: _Situation) -> int:
        path: list[_Situation] = []
        after: _Situation | None = situation
        length = _NEVER
        while after is not None:
            situation = after
            known = self._lengths.get(situation)
            if known is not None:
                length = known
                break
            tick()
            path.append(situation)
            if self._may_end(situation):
                self._lengths[path.pop()] = length = 0
                break
            after = self._next(situation)
        for situation in reversed(path):
            length = _NEVER if length == _NEVER else length + 1
            self._lengths[situation] = length
        return length

    def _may_end(self, situation: _Situation) -> bool:
        text, at, item, least, _ = situation
        return least == 0 and text.may_end_at(at) and self._exprs.nullable(item)

    def _next(self, situation: _Situation) -> _Situation | None:
        """What comes of reading the byte that stands here; None: no value goes on with it."""
        text, at, item, least, most = situation
        byte = int(text.data[at])
        if byte < 0 or (most == 0 and text.begins_character(at)):
            return None
        if text.begins_character(at):
            least, most = max(least - 1, 0), None if most is None else most - 1
        rest = self._exprs.unframed(self._exprs.raw_derivative(item, byte))
        return None if rest == EMPTY else (text, at + 1, rest, least, most)
