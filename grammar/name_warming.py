"""Walks of the vocabulary where international host names begin, made before any sequence asks for them.

Nearly all states of names of any length that there are for a vocabulary are met in the first such walk, tens of ms in
all, and few more in any other (`name_walks`). What that is depends on the vocabulary and the kind of names alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np

from .dfa import DEAD, Dfa
from .format_hosts import names_made
from .parts import Parts
from .places import NO_UNIT
from .pools import using
from .vocab import Vocabulary
from .walker import Walker

_BEGUN = (b"", b"a", b"aaa")  # where hyphens may stand is told apart by so much
_MANY_STATES = 8  # take a ms or so
_ROOT = np.zeros(1, np.int32)


class _Room(NamedTuple):
    """What walks are made with. (A walk under way must not name who makes it: that would be a cycle.)"""

    dfa: Dfa
    walker: Walker
    parts: Parts
    vocabulary: Vocabulary


class NameWarming:
    """Makes those walks for each kind of names that its automaton's pool has, once."""

    def __init__(self, dfa: Dfa, walker: Walker, parts: Parts, vocabulary: Vocabulary) -> None:
        self._room = _Room(dfa, walker, parts, vocabulary)
        self._met: set[int] = set()
        self._steps: Iterator[None] = iter(())

    def go_on(self) -> bool:
        """Do a bit, some ms at most; False: there is nothing to do. To be called with the automaton's lock.

        Raises GrammarError where a walk cannot be made; the next call goes on behind it.
        """
        for _ in self._steps:
            return True
        with using(self._room.dfa.exprs):
            new = [names for names in names_made() if names not in self._met]
        self._met.update(new)
        self._steps = chain.from_iterable(map(partial(_walk, self._room), new))
        return bool(new)


def _walk(room: _Room, names: int) -> Iterator[None]:
    """Find the transitions of a walk one part of the trie after the other, then make it."""
    dfa, vocabulary = room.dfa, room.vocabulary
    first = slice(*vocabulary.child_start[:2].tolist())
    for begun in _BEGUN:
        local, n_states = dfa.state(dfa.exprs.pruned(dfa.exprs.rest(names, begun))), len(dfa)
        for node, byte in zip(vocabulary.child_node[first], vocabulary.child_byte[first].tolist(), strict=True):
            after = dfa.step(local, byte)
            if after != DEAD and not dfa.halts(after):
                room.walker.walk(after, NO_UNIT, np.array([node], np.int32))
            if len(dfa) > n_states + _MANY_STATES:
                n_states = len(dfa)
                yield
        yield
        room.parts.part(local, NO_UNIT, _ROOT)
        yield
