"""Limits on characters beside other conditions: how far a walk is the one without the limit.

What is written up to a node of the trie has no more characters than bytes. So where those, and the bytes of the
shortest rest behind them, are no more than the limit, it makes no difference to what is allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import walk_kernels
from .dfa import DEAD
from .made_of import MadeOf
from .part import Part, words_of
from .places import NO_UNIT, Frames
from .vocab import Vocabulary

if TYPE_CHECKING:
    from .parts import Parts

_MOST_REACHES = 10_000
_MOST_DEPTHS = 64
_MOST_STEPS = 4
_LEAST_DEPTH = 4  # below, walks have little in common
_UNKNOWN = 1 << 30

_ROOT = np.zeros(1, np.int32)


class Within(NamedTuple):
    """The walk without a limit, and the depth of the trie up to which it is the one with it."""

    part: Part
    depth: int


class Limits:
    """Of the states of one DFA."""

    def __init__(self, parts: Parts, frames: Frames, vocabulary: Vocabulary) -> None:
        self._parts = parts
        self._frames = frames
        self._vocabulary = vocabulary
        self._limits: dict[int, tuple[int, int] | None] = {}
        self._made_of: dict[int, MadeOf] = {}
        self._rests: dict[tuple[int, bytes], tuple[int, int]] = {}
        self._least = np.zeros(0, np.int32)  # by state, see `walk_kernels.rests`
        self._up_to: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def walked_from(self, local: int, nodes: np.ndarray) -> int:
        """The state of which the walk is that of a state: without its limit, where that is far off."""
        limit = self._limit_of(local)
        return limit[0] if limit and limit[1] >= sum(self._rest(limit[0], nodes)) else local

    def within(self, local: int) -> Within | None:
        """The walk from the root without the limit, as far as it goes; None: there is no limit, or it is too near."""
        limit = self._limit_of(local)
        if not limit:
            return None
        depth = limit[1] - self._rest(limit[0], _ROOT)[1]
        if depth < _LEAST_DEPTH:
            return None
        part = self._parts.part(limit[0], NO_UNIT, _ROOT)
        if part.words is None or (part.end_states < DEAD).any():
            return None
        return Within(part, depth)

    def up_to(self, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """Bits of the tokens with no more bytes; and the ranges of nodes that are deeper, rows (node, end)."""
        known = self._up_to.get(depth)
        if known is None:
            vocabulary = self._vocabulary
            short = np.zeros(vocabulary.size, bool)
            short[: len(vocabulary.tokens)] = vocabulary.token_bytes <= depth
            nodes = np.flatnonzero(vocabulary.node_depth == depth + 1).astype(np.int32)
            if len(self._up_to) >= _MOST_DEPTHS:
                self._up_to.clear()
            known = self._up_to[depth] = words_of(short), np.stack([nodes, vocabulary.node_end[nodes]], 1)
        return known

    def _limit_of(self, local: int) -> tuple[int, int] | None:
        """Of a state in which a limit on characters stands beside conditions: the state without it, and the limit.

        None for other states.
        """
        if local in self._limits:
            return self._limits[local]
        dfa, exprs, found = self._frames.dfa, self._frames.exprs, None
        if limit := dfa.limit(local):
            member, most = limit
            others = exprs.and_(*[each for each in exprs.node(dfa.expression(local))[1] if each != member])
            found = dfa.state(self._of_any_length(others, exprs.node(member)[1])), most
        self._limits[local] = found
        return found

    def _of_any_length(self, item: int, unit: int) -> int:
        """Texts of an expression that are made of whole characters, however many."""
        exprs = self._frames.exprs
        if unit not in self._made_of:
            self._made_of[unit] = MadeOf(exprs, unit)
        return item if self._made_of[unit].holds(item) else exprs.and_(item, exprs.repeat(unit, 0, None))

    def _rest(self, local: int, nodes: np.ndarray) -> tuple[int, int]:
        """Bytes of the longest token allowed at a place, of one that leaves the frame those inside of it, and a bound
        on those of the shortest rest behind one."""
        key = (local, nodes.tobytes())
        known = self._rests.get(key)
        if known is None:
            part, known = self._parts.part(local, NO_UNIT, nodes), (_UNKNOWN, _UNKNOWN)
            if not part.entries:
                vocabulary = self._vocabulary
                longest = max(part.longest(vocabulary.token_bytes), part.deepest_exit(vocabulary.node_depth))
                known = longest, self._longest_rest(part.end_states)
            if len(self._rests) > _MOST_REACHES:
                self._rests.clear()
            self._rests[key] = known
        return known

    def _longest_rest(self, states: np.ndarray) -> int:
        """A bound on the shortest rests from any of some states, in bytes; those that are not known are left out."""
        dfa, exprs = self._frames.dfa, self._frames.exprs
        wanted = among = np.unique(states[states > DEAD])
        found = self._found(among)
        for _ in range(_MOST_STEPS):  # on the way to an end there may be states in which no token ends
            behind = dfa.transitions[among[found < 0]]
            more = np.union1d(among, behind[behind > DEAD]).astype(np.int32)
            if len(more) == len(among):
                break
            among, found = more, self._found(more)
        known = found[np.searchsorted(among, wanted)]
        others = [exprs.shortest_length(dfa.expression(state)) for state in wanted[known < 0].tolist()]
        return max(int(known.max(initial=0)), *others, 0)

    def _found(self, states: np.ndarray) -> np.ndarray:
        """What transitions that are known tell of the shortest rests from some states, -1 where they do not."""
        dfa = self._frames.dfa
        if len(dfa) > len(self._least):
            self._least = np.zeros(2 * len(dfa), np.int32)
        found = np.empty_like(states)
        walk_kernels.rests(dfa.transitions, dfa.kinds, states, self._least, found)
        return found
