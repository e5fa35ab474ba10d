"""The sets of bytes that an expression is made of, where it is made of nothing else: all parts of a level at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import node_layout as nl
from .work import tick

_HEADER, _RECORD = int(nl.HEADER), int(nl.RECORD)


class SetsIn(NamedTuple):
    """Of an expression.

    numbers: of the sets, in order. is_part: (nodes of the pool,) bool, which are parts of it, itself among them.
    """

    numbers: list[int]
    is_part: np.ndarray


def sets_in(words: np.ndarray, item: int, most_levels: int) -> SetsIn | None:
    """Of an expression of the pool whose array is given. None: there are other parts, or parts within too many others.

    Parts are sequences, alternatives and repetitions that count nothing. Whoever calls holds the pool's lock.
    """
    count = int(words[nl.N_NODES])
    records = words[_HEADER : _HEADER + _RECORD * count].reshape(count, _RECORD)
    members = words[int(words[nl.MEMBERS]) :]
    is_part, numbers, new = np.zeros(count, bool), [], np.array([item])
    for _ in range(most_levels):
        tick()
        is_part[new] = True
        level = records[new]
        kinds = level[:, nl.KIND]
        if ((kinds > nl.ALT) & (kinds != nl.REPEAT)).any():
            return None
        numbers.append(level[kinds == nl.SET, nl.A])
        pairs, lists = level[kinds == nl.CAT], level[kinds == nl.ALT]
        inside = (pairs[:, nl.A], pairs[:, nl.B], _listed(members, lists), level[kinds == nl.REPEAT, nl.A])
        new = np.unique(np.concatenate(inside))
        new = new[~is_part[new]]
        if not len(new):
            return SetsIn(np.unique(np.concatenate(numbers)).tolist(), is_part)
    return None


def _listed(members: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """All that some lists have, of which the records are given."""
    lengths = lists[:, nl.B]
    starts = lists[:, nl.A] - np.cumsum(lengths) + lengths
    return members[np.repeat(starts, lengths) + np.arange(lengths.sum())]
