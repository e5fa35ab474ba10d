"""Tokens that leave a sequence where it is, in states that a frame may be left from: text of any length, above all.

`Automaton.stay` holds such tokens of states from which no frame is left on the way, whatever is behind. In others it
depends on the stack: where what is behind may begin with a byte of the token, frame and rest are followed at once. But
behind the characters of a string there is mostly nothing but a quote; so all tokens without the bytes that may come
behind can be told together. That is for those who cannot ask about one token at a time: copies of the tables elsewhere.
"""

from __future__ import annotations

import numpy as np

from .dfa import SPLITS
from .errors import GrammarError
from .masks import Masks
from .part import OTHER
from .places import NO_UNIT, Frames, Place
from .stacks import Reader
from .texts import NO_TEXT
from .vocab import Vocabulary

_LEAST = 64  # tokens that are worth telling together


def staying_tokens(
    place: Place, reader: Reader, frames: Frames, masks: Masks, vocabulary: Vocabulary
) -> np.ndarray | None:
    """(size,) bool: tokens that keep the place, which is on what the reader reads; None: few, or one cannot tell."""
    if place.unit != NO_UNIT or place.text != NO_TEXT or frames.dfa.kinds[place.local] & SPLITS:
        return None
    try:
        outside = frames.leave(place, reader)
        behind = 0 if outside is None else frames.first(outside, reader)
    except (GrammarError, RecursionError):
        return None
    if (outside is not None and outside.text != NO_TEXT) or not masks.is_wide(place.local):
        return None
    part = masks.parts.part(place.local, NO_UNIT, np.zeros(1, np.int32))
    staying = part.staying(place.local, vocabulary.size)
    if staying is None:
        return None
    row = staying != OTHER
    row &= vocabulary.without_bytes(behind)
    return row if row.sum() >= _LEAST else None
