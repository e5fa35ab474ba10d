"""Which tokens are allowed at a place: one walk inside the frame, then only the tokens that leave or enter frames."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .dfa import Walker
from .nodes import Kind
from .places import NO_UNIT, Frames, Path, Place
from .stacks import Reader
from .verbatim import Span, walk
from .vocab import Vocabulary

_PART_BYTES_LIMIT = 256 << 20
_PART_OVERHEAD = 1000
_FEW_NODES = 1000


class Part(NamedTuple):
    """What a walk inside one frame came to. Arrays of int32; `counts` are the units begun on the way.

    tokens: those that end inside, with the DFA state they end in (-1: not known). exits: trie nodes below which the
    frame may be over. entries: for each DFA state at which a frame within begins, the trie nodes that come to it.
    """

    tokens: np.ndarray
    token_states: np.ndarray
    token_counts: np.ndarray
    exits: np.ndarray
    exit_counts: np.ndarray
    entries: list[tuple[int, np.ndarray]]


class Masks:
    """Makes masks for one vocabulary. Walks are kept, as contexts share them, and dropped when they grow too large."""

    def __init__(self, frames: Frames, walker: Walker, vocabulary: Vocabulary) -> None:
        self._frames = frames
        self._walker = walker
        self._vocabulary = vocabulary
        self._parts: dict[tuple[int, int, bytes], Part] = {}
        self._kept_bytes = 0

    @property
    def nbytes(self) -> int:
        """Memory of the walks that are kept."""
        return self._kept_bytes

    def mask(self, place: Place, reader: Reader) -> tuple[np.ndarray, bool]:
        """The allowed tokens, (32 * words,) bool, EOS among them when everything may end here; and whether it may.

        The bounds of `place` count from here: a counted run goes on with lo to hi more units.
        """
        allowed = np.zeros(32 * self._vocabulary.words, bool)
        todo = {place: [np.zeros(1, np.int32)]}
        while todo:
            at, starts = todo.popitem()
            nodes = starts[0] if len(starts) == 1 else self._union(starts)
            part = self.part(at.local, at.unit, nodes)
            tokens, exits = part.tokens, part.exits
            if at.unit != NO_UNIT:
                tokens = tokens[part.token_counts <= at.hi]
                exits = exits[(part.exit_counts >= at.lo) & (part.exit_counts <= at.hi)]
            allowed[tokens] = True
            if len(exits) and (behind := self._frames.leave(at, reader)):
                exits = exits[self._walker.has_child(exits, self._frames.first(behind, reader))]
                todo.setdefault(behind, []).append(exits)
            for state, entries in part.entries:
                expression = self._frames.dfa.expression(state)
                inside = self._frames.enter(expression, at.popped, at.pushes, reader)
                todo.setdefault(inside, []).append(entries)
        accepts = Path(self._frames, place, reader, 0, open_run=False).accepts()
        if accepts:
            allowed[list(self._vocabulary.eos_ids)] = True
        return allowed, accepts

    def _union(self, parts: list[np.ndarray]) -> np.ndarray:
        """All nodes of several lists, ascending. (`np.unique` takes ten times as long for the many there may be.)"""
        if sum(map(len, parts)) < _FEW_NODES:
            return np.unique(np.concatenate(parts))
        found = np.zeros(len(self._vocabulary.node_byte), bool)
        for nodes in parts:
            found[nodes] = True
        return np.flatnonzero(found).astype(np.int32)

    def part(self, local: int, unit: int, nodes: np.ndarray) -> Part:
        """The walk of one frame from given trie nodes."""
        key = (local, unit, nodes.tobytes())
        known = self._parts.get(key)
        if known is None:
            known = self._parts[key] = self._walk(local, unit, nodes)
            self._kept_bytes += _PART_OVERHEAD + sum(a.nbytes for a in known[:-1])
            if self._kept_bytes > _PART_BYTES_LIMIT:
                self._parts = {key: known}
                self._kept_bytes = 0
        return known

    def _walk(self, local: int, unit: int, nodes: np.ndarray) -> Part:
        vocabulary, dfa = self._vocabulary, self._frames.dfa
        node = self._frames.exprs.node(dfa.expression(local))
        if node[0] == Kind.VERBATIM:
            return self._walk_document(local, node[1], nodes)
        walked = self._walker.walk(local, unit, nodes, np.zeros(len(nodes), np.int32))
        tokens, at = self._tokens_at(walked.nodes)
        stops = dfa.stops[walked.states] == 1
        over = walked.states == unit if unit != NO_UNIT else dfa.nullable[walked.states] & ~stops
        over &= vocabulary.node_end[walked.nodes] > walked.nodes + 1
        exits, exit_counts = walked.nodes[over], walked.counts[over]
        if local == unit if unit != NO_UNIT else dfa.nullable[local]:
            exits = np.concatenate([nodes, exits])
            exit_counts = np.concatenate([np.zeros(len(nodes), np.int32), exit_counts])
        if unit != NO_UNIT:  # what may follow a run begins with no byte the run goes on with
            useful = self._walker.has_dead_child(unit, exits)
            exits, exit_counts = exits[useful], exit_counts[useful]
        entries = _grouped(walked.states[stops], walked.nodes[stops])
        return Part(tokens, walked.states[at], walked.counts[at], exits, exit_counts, entries)

    def _walk_document(self, local: int, span: Span, nodes: np.ndarray) -> Part:
        """`_walk` where a document is read: no state is made for what only might be read. Its tokens have none."""
        vocabulary = self._vocabulary
        reached, over = walk(span, nodes, vocabulary.node_byte, vocabulary.node_depth, vocabulary.node_end)
        tokens, _ = self._tokens_at(reached)
        exits = reached[over & (vocabulary.node_end[reached] > reached + 1)]
        if self._frames.dfa.nullable[local]:
            exits = np.concatenate([nodes, exits])
        none = np.zeros(len(tokens), np.int32)
        return Part(tokens, none - 1, none, exits, np.zeros(len(exits), np.int32), [])

    def _tokens_at(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The tokens that end at any of `nodes`, and for each the index of its node."""
        first, last = self._vocabulary.token_start[nodes], self._vocabulary.token_start[nodes + 1]
        sizes = last - first
        at = np.repeat(np.arange(len(sizes)), sizes)
        within = np.arange(len(at)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self._vocabulary.token_ids[first[at] + within], at


def _grouped(states: np.ndarray, nodes: np.ndarray) -> list[tuple[int, np.ndarray]]:
    return [(state, nodes[states == state]) for state in dict.fromkeys(states.tolist())]
