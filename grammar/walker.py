"""Walks of one vocabulary's trie with the DFA of frame-local expressions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import kernels
from .dfa import UNKNOWN, Dfa
from .vocab import Vocabulary

_NO_DROPS = np.zeros((0, 2), np.int32)


class Walked(NamedTuple):
    """What a walk came to, int32 arrays.

    tokens: (n, 3), those that end inside, with the DFA state they end in and the units begun on the way. exits: (n, 2),
    trie nodes below which the frame may be over, and the units. entries: (n, 2), nodes at which the walk halted, and
    the state. drops: (n, 2), ranges of nodes that are not what the base made of them. reached: nodes seen alive.
    """

    tokens: np.ndarray
    exits: np.ndarray
    entries: np.ndarray
    drops: np.ndarray
    reached: int


class Walker:
    """Walks of one vocabulary's trie. `walks` counts the walks made, `reached` the nodes they came to.

    use_compiled: whether the loops are compiled; both ways give the same answers.
    """

    def __init__(self, vocabulary: Vocabulary, dfa: Dfa, *, use_compiled: bool) -> None:
        self._vocabulary = vocabulary
        self._dfa = dfa
        self._walk = kernels.walk if use_compiled else getattr(kernels.walk, "py_func", kernels.walk)
        self._no_base = np.zeros(len(vocabulary.node_byte), np.int32)
        self._room = 0
        self._token_room = 0
        self.walks = 0
        self.reached = 0

    def walk(self, state: int, unit: int, nodes: np.ndarray, base_states: np.ndarray | None = None) -> Walked:
        """All that lives below `nodes`, entered in `state`. unit: the state whose leaving is counted, or -1.

        base_states: the states of an earlier walk from the root (`states_from`): what is the same there is left out.
        """
        self.walks += 1
        vocabulary, dfa = self._vocabulary, self._dfa
        ends = vocabulary.node_end
        begins, finishes = nodes + 1, ends[nodes]
        states, counts = np.full(len(nodes), state, np.int32), np.zeros(len(nodes), np.int32)
        self._make_room(begins, finishes)
        filled = np.zeros(6, np.int64)
        while len(begins):
            filled[4] = 0
            self._walk(
                vocabulary.node_byte,
                vocabulary.node_depth,
                ends,
                vocabulary.token_start,
                vocabulary.token_ids,
                dfa.transitions,
                dfa.kinds,
                self._no_base if base_states is None else base_states,
                unit,
                begins,
                finishes,
                states,
                counts,
                vocabulary.max_token_bytes,
                filled,
                self._tokens,
                self._exits,
                self._entries,
                self._drops,
                self._missing,
            )
            missing = self._missing[: filled[4]]
            self._fill(missing)
            begins, states, counts = missing[:, 0].copy(), missing[:, 1].copy(), missing[:, 2].copy()
            finishes = ends[begins]
        n_tokens, n_exits, n_entries, n_drops, _, reached = filled.tolist()
        self.reached += reached
        return Walked(
            self._tokens[:n_tokens].copy(),
            self._exits[:n_exits].copy(),
            self._entries[:n_entries].copy(),
            self._drops[:n_drops].copy() if n_drops else _NO_DROPS,
            reached,
        )

    def states_from(self, state: int) -> np.ndarray:
        """The state at each node that a walk from the root comes to, (nodes,) int32, 0 for others. Walked before."""
        vocabulary = self._vocabulary
        found = np.zeros(len(vocabulary.node_byte), np.int32)
        kernels.states_at(
            vocabulary.node_byte,
            vocabulary.node_depth,
            vocabulary.node_end,
            self._dfa.transitions,
            self._dfa.kinds,
            state,
            vocabulary.max_token_bytes,
            found,
        )
        return found

    def has_child(self, nodes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Which of `nodes` have a child by a byte for which `wanted` holds, (256,) bool: (n,) bool."""
        found = np.empty(len(nodes), bool)
        kernels.has_child(nodes, self._vocabulary.node_byte, self._vocabulary.node_end, wanted, found)
        return found

    def _fill(self, missing: np.ndarray) -> None:
        """Find the transitions that a walk did not know."""
        transitions, find = self._dfa.transitions, self._dfa.find
        wanted = missing[:, 1].astype(np.int64) << 8 | self._vocabulary.node_byte[missing[:, 0]]
        for key in dict.fromkeys(wanted.tolist()):
            if transitions[key >> 8, key & 255] == UNKNOWN:
                find(key >> 8, key & 255)
                transitions = self._dfa.transitions

    def _make_room(self, begins: np.ndarray, finishes: np.ndarray) -> None:
        """Have arrays for all that ranges of nodes may come to. (What is not written to costs no memory.)"""
        starts = self._vocabulary.token_start
        nodes = max(int((finishes - begins).sum()), len(begins))
        tokens = int((starts[finishes] - starts[begins]).sum()) if len(begins) else 0
        if tokens > self._token_room or not self._token_room:
            self._token_room = max(tokens, 1)
            self._tokens = np.empty((self._token_room, 3), np.int32)
        if nodes > self._room or not self._room:
            self._room = max(nodes, 1)
            self._exits = np.empty((self._room, 2), np.int32)
            self._entries = np.empty((self._room, 2), np.int32)
            self._drops = np.empty((self._room, 2), np.int32)
            self._missing = np.empty((self._room, 3), np.int32)
