"""Byte DFAs of frame-local expressions, built as they are walked, and walks of the vocabulary's trie with them."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import kernels
from .expr import EMPTY, EPSILON, Exprs, Kind
from .vocab import Vocabulary

DEAD = 0
"""The DFA state from which nothing is accepted."""

_UNKNOWN = -1
_STATE_BYTES = 150  # of one state, besides its transitions


@lru_cache(65536)
def bytes_of(mask: int) -> np.ndarray:
    """The bytes whose bit is set in `mask`, int64."""
    bits = np.unpackbits(np.frombuffer(mask.to_bytes(32, "little"), np.uint8), bitorder="little")
    return np.flatnonzero(bits)


class Dfa:
    """States are expressions, numbered as they are met; transitions are derivatives, found when first needed.

    transitions: (states, 256) int32, 0 dead, -1 not known yet. stops: uint8, 1 where the state's expression begins with
    a frame, a reference or a counted run, so that walks halt and the automaton decides how to go on.
    """

    def __init__(self, exprs: Exprs) -> None:
        self._exprs = exprs
        self._states: dict[int, int] = {}
        self._expressions: list[int] = []
        self.transitions = np.full((64, 256), _UNKNOWN, np.int32)
        self.stops = np.zeros(64, np.uint8)
        self.nullable = np.zeros(64, bool)
        self.state(EMPTY)
        self.transitions[DEAD] = DEAD

    def __len__(self) -> int:
        return len(self._expressions)

    @property
    def nbytes(self) -> int:
        """Memory of the states and transitions."""
        return self.transitions.nbytes + _STATE_BYTES * len(self._expressions)

    def state(self, expression: int) -> int:
        """The number of the state that is this expression."""
        known = self._states.get(expression)
        if known is not None:
            return known
        known = len(self._expressions)
        if known == len(self.stops):
            self._grow()
        self._states[expression] = known
        self._expressions.append(expression)
        self.nullable[known] = self._exprs.nullable(expression)
        self.stops[known] = head_of(self._exprs, expression)[0] in (Kind.FRAME, Kind.REF, Kind.COUNTED)
        if expression == EPSILON:
            self.transitions[known] = DEAD
        return known

    def expression(self, state: int) -> int:
        """The expression a state is."""
        return self._expressions[state]

    def step(self, state: int, byte: int) -> int:
        """The state after `byte`."""
        after = int(self.transitions[state, byte])
        return after if after != _UNKNOWN else self.find(state, byte)

    def find(self, state: int, byte: int) -> int:
        """Fill in one transition, and those of all bytes that behave alike."""
        expression = self._expressions[state]
        mask = next(m for m in self._exprs.byte_classes(expression) if m >> byte & 1)
        after = self.state(self._exprs.derivative(expression, byte))
        self.transitions[state, bytes_of(mask)] = after
        return after

    def _grow(self) -> None:
        size = len(self.stops)
        self.transitions = np.concatenate([self.transitions, np.full((size, 256), _UNKNOWN, np.int32)])
        self.stops = np.concatenate([self.stops, np.zeros(size, np.uint8)])
        self.nullable = np.concatenate([self.nullable, np.zeros(size, bool)])


def head_of(exprs: Exprs, expression: int) -> tuple[Kind, int, int]:
    """Kind of the first part of a concatenation, that part, and the rest."""
    node = exprs.node(expression)
    if node[0] == Kind.CAT:
        return exprs.node(node[1])[0], node[1], node[2]
    return node[0], expression, EPSILON


class Walked(NamedTuple):
    """Where a walk came to: trie nodes alive, (n,) int32 each, with the DFA state and the units begun on the way."""

    nodes: np.ndarray
    states: np.ndarray
    counts: np.ndarray


class Walker:
    """Walks of one vocabulary's trie. `walks` counts the walks made, `reached` the nodes they came to."""

    def __init__(self, vocabulary: Vocabulary, dfa: Dfa, *, use_compiled: bool) -> None:
        self._vocabulary = vocabulary
        self._dfa = dfa
        self._pass = self._depth_first if use_compiled else self._level_by_level
        self._children: tuple[np.ndarray, np.ndarray] | None = None
        self._child_bytes: np.ndarray | None = None
        self.walks = 0
        self.reached = 0

    def walk(self, state: int, unit: int, nodes: np.ndarray, counts: np.ndarray) -> Walked:
        """All nodes below `nodes` that live, entered in `state`. unit: the state whose leaving is counted, or -1."""
        self.walks += 1
        ends = self._vocabulary.node_end
        states = np.full(len(nodes), state, np.int32)
        begins, finishes = nodes + 1, ends[nodes]
        parts = []
        while len(begins):
            alive, missing = self._pass(unit, begins, finishes, states, counts)
            parts.append(alive)
            self._fill(missing)
            begins, states, counts = missing[:, 0], missing[:, 1], missing[:, 2]
            finishes = ends[begins]
        reached = np.concatenate(parts) if parts else np.empty((0, 3), np.int32)
        self.reached += len(reached)
        return Walked(reached[:, 0], reached[:, 1], reached[:, 2])

    def has_dead_child(self, state: int, nodes: np.ndarray) -> np.ndarray:
        """Which of `nodes` have a child that dies in `state`, (n,) bool."""
        children, owners = self._children_of(nodes)
        dead = self._dfa.transitions[state, self._vocabulary.node_byte[children]] == DEAD
        return np.bincount(owners[dead], minlength=len(nodes)) > 0

    def has_child(self, nodes: np.ndarray, mask: int) -> np.ndarray:
        """Which of `nodes` have a child by a byte whose bit is set in `mask`, (n,) bool."""
        if self._child_bytes is None:
            self._child_bytes = _child_bytes(self._vocabulary.node_depth, self._vocabulary.node_byte)
        words = np.frombuffer(mask.to_bytes(32, "little"), np.uint64)
        used = np.flatnonzero(words)
        found = np.zeros(len(nodes), bool)
        for word in used.tolist():
            found |= (self._child_bytes[nodes, word] & words[word]) != 0
        return found

    def _fill(self, missing: np.ndarray) -> None:
        wanted = missing[:, 1].astype(np.int64) << 8 | self._vocabulary.node_byte[missing[:, 0]]
        for key in np.unique(wanted).tolist():
            if self._dfa.transitions[key >> 8, key & 255] == _UNKNOWN:
                self._dfa.find(key >> 8, key & 255)

    def _depth_first(
        self, unit: int, begins: np.ndarray, finishes: np.ndarray, states: np.ndarray, counts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        vocabulary, dfa = self._vocabulary, self._dfa
        most = int((finishes - begins).sum())
        out, missing = np.empty((most, 3), np.int32), np.empty((most, 3), np.int32)
        n_out, n_missing = kernels.walk(
            vocabulary.node_byte,
            vocabulary.node_depth,
            vocabulary.node_end,
            dfa.transitions,
            dfa.stops,
            unit,
            np.ascontiguousarray(begins, np.int32),
            np.ascontiguousarray(finishes, np.int32),
            np.ascontiguousarray(states, np.int32),
            np.ascontiguousarray(counts, np.int32),
            out,
            missing,
            vocabulary.max_token_bytes,
        )
        return out[:n_out].copy(), missing[:n_missing].copy()

    def _level_by_level(
        self, unit: int, begins: np.ndarray, finishes: np.ndarray, states: np.ndarray, counts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same in numpy alone: all nodes of one depth at a time, so in another order."""
        nodes, owners = self._first_level(begins, finishes)
        states, counts = states[owners], counts[owners]
        out, missing = [np.empty((0, 3), np.int32)], [np.empty((0, 3), np.int32)]
        while len(nodes):
            after = self._dfa.transitions[states, self._vocabulary.node_byte[nodes]]
            unknown = after == _UNKNOWN
            missing.append(np.stack([nodes[unknown], states[unknown], counts[unknown]], 1).astype(np.int32))
            alive = after > DEAD
            counts = (counts + (states == unit))[alive]
            nodes, states = nodes[alive], after[alive]
            out.append(np.stack([nodes, states, counts], 1).astype(np.int32))
            goes_on = self._dfa.stops[states] == 0
            nodes, owners = self._children_of(nodes[goes_on])
            states, counts = states[goes_on][owners], counts[goes_on][owners]
        return np.concatenate(out), np.concatenate(missing)

    def _first_level(self, begins: np.ndarray, finishes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shallowest nodes of each range: a node and its siblings; and which range each is of."""
        nodes, owners = [], []
        for i, (node, finish) in enumerate(zip(begins.tolist(), finishes.tolist(), strict=True)):
            while node < finish:
                nodes.append(node)
                owners.append(i)
                node = int(self._vocabulary.node_end[node])
        return np.array(nodes, np.int64), np.array(owners, np.int64)

    def _children_of(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The children of all `nodes`, and for each the index of its parent in `nodes`."""
        if self._children is None:
            self._children = _children(self._vocabulary.node_depth)
        starts, children = self._children
        sizes = starts[nodes + 1] - starts[nodes]
        owners = np.repeat(np.arange(len(nodes)), sizes)
        within = np.arange(len(owners)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return children[starts[nodes][owners] + within], owners


def _child_bytes(depths: np.ndarray, node_bytes: np.ndarray) -> np.ndarray:
    """The bytes of every node's children, (nodes, 4) uint64 of 64 bits each."""
    starts, children = _children(depths)
    parents = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    values = node_bytes[children].astype(np.uint64)
    result = np.zeros((len(depths), 4), np.uint64)
    np.bitwise_or.at(
        result, (parents, (values >> np.uint64(6)).astype(np.int64)), np.uint64(1) << (values & np.uint64(63))
    )
    return result


def _children(depths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Children of every node of a preorder: those of node i are children[starts[i] : starts[i + 1]]."""
    latest = np.zeros(int(depths.max()) + 1, np.int64)
    parents = np.empty(len(depths), np.int64)
    for node, depth in enumerate(depths.tolist()):
        latest[depth] = node
        parents[node] = latest[depth - 1] if depth else -1
    children = np.argsort(parents[1:], kind="stable") + 1
    starts = np.searchsorted(parents[children], np.arange(len(depths) + 1))
    return starts, children
