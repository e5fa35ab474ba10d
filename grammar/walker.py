"""Walks of one vocabulary's trie with the DFA of frame-local expressions."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import address_kernels as ak
from . import miss_kernels as mk
from . import walk_kernels
from .addresses import Addresses
from .ahead import populate
from .dfa import DEAD, Dfa, bytes_of
from .vocab import Vocabulary

_NO_EDGES = np.zeros((0, 2), np.int32)
_NO_NODES = np.zeros(0, np.int32)
_MANY = 2048  # nodes, see `towards`
_FEWER = 8  # times fewer nodes are looked for among others than looked at


class Walked(NamedTuple):
    """What a walk came to, int32 arrays, good until the next walk.

    tokens: (3, n), those that end inside, with the DFA state they end in and the units begun on the way. exits: (2, n),
    trie nodes below which the frame may be over, and the units. (A walk beside a base has no units.) entries: (n, 2),
    nodes at which the walk halted, and the state. drops: (n, 2), ranges of nodes that are not what the base made of
    them. reached: nodes seen alive.
    """

    tokens: np.ndarray
    exits: np.ndarray
    entries: np.ndarray
    drops: np.ndarray
    reached: int


class Walker:
    """Walks of one vocabulary's trie. `walks` counts the walks made, `reached` the nodes they came to.

    use_compiled: whether the loop is compiled; both ways give the same answers. addresses: of the vocabulary's trie and
    the DFA, and of the walks it is made beside; it adds its own arrays.
    """

    def __init__(self, vocabulary: Vocabulary, dfa: Dfa, addresses: Addresses, *, use_compiled: bool) -> None:
        self._vocabulary = vocabulary
        self._dfa = dfa
        self._addresses = addresses
        self.is_compiled = use_compiled
        self._walk = walk_kernels.walk if use_compiled else getattr(walk_kernels.walk, "py_func", walk_kernels.walk)
        below = walk_kernels.walk_below
        self._walk_below = below if use_compiled else getattr(below, "py_func", below)
        self._path = np.empty((vocabulary.max_token_bytes + 1, 4), np.int32)
        self._stack = np.empty((256 * (vocabulary.max_token_bytes + 1), 2), np.int32)
        self._filled = np.zeros(6, np.int64)
        self._bits = np.zeros(vocabulary.words, np.uint32)
        addresses.put(ak.WALK_STACK, self._stack, self._filled)
        addresses.put(ak.WALK_BITS, self._bits)
        self._make_room(len(vocabulary.node_byte), len(vocabulary.token_ids))
        self.walks = 0
        self.reached = 0

    def walk(
        self, state: int, unit: int, nodes: np.ndarray, base_states: np.ndarray = _NO_NODES, least: int = 0
    ) -> Walked:
        """All that lives below `nodes`, entered in `state`. unit: the state whose leaving is counted, or -1.

        Exits of a walk that counts are the nodes, of `nodes` too, with a child by a byte that the unit does not begin
        with: what follows a run begins with no other.
        base_states: the states of an earlier walk from the root (`states_from`): what is the same there is left out. It
        counts nothing.
        least: without a base, what is not so deep in the trie is left out, but for some of it.
        """
        if len(nodes) > 1:
            self._make_room_below(nodes)
        if len(base_states):
            filled = np.zeros(6, np.int64)
            self._do(state, nodes, _NO_EDGES, base_states, filled)
            return self._finish(base_states, filled)
        filled = np.zeros(8, np.int64)
        self._do_below(state, unit, nodes, least, filled)
        while filled[4]:
            node, before = self._missing[0].tolist()
            self._dfa.step(before, int(self._vocabulary.node_byte[node]))
            self._do_below(state, unit, nodes, least, filled)
        return self._walked(filled)

    def _finish(self, base_states: np.ndarray, filled: np.ndarray) -> Walked:
        """Go on with a walk beside a base for as long as transitions are missing."""
        vocabulary, dfa = self._vocabulary, self._dfa
        while n_missing := int(filled[4]):
            edges = self._missing[:n_missing].copy()
            # As long as one transition is missing, all nodes that it leads to are.
            wanted = np.unique(edges[:, 1].astype(np.int64) << 8 | vocabulary.node_byte[edges[:, 0]]).tolist()
            dfa.find_edges([(edge >> 8, edge & 255) for edge in wanted])
            filled[4] = 0
            self._do(DEAD, _NO_NODES, edges, base_states, filled)
        return self._walked(filled)

    def _walked(self, filled: np.ndarray) -> Walked:
        """What a walk came to of which nothing is missing."""
        n_tokens, n_exits, n_entries, n_drops, _, reached, *_ = filled.tolist()
        self.walks += 1
        self.reached += reached
        return Walked(
            self._tokens[:, :n_tokens],
            self._exits[:, :n_exits],
            self._entries[:n_entries],
            self._drops[:n_drops],
            reached,
        )

    def touch(self) -> None:
        """Have memory at hand for what walks come to (see `ahead`)."""
        for each in (self._stack, self._tokens, self._exits, self._entries, self._drops, self._missing):
            populate(each, 0, len(each))

    def warm(self) -> None:
        """Have the loops compiled that the first walks may not need."""
        self._do(DEAD, _NO_NODES, _NO_EDGES, _NO_NODES, np.zeros(6, np.int64))
        self.states_from(DEAD)
        self._dfa.find_edges([(DEAD, 0)])
        self.has_child(_NO_NODES, np.zeros(256, bool))

    def _do(
        self, state: int, starts: np.ndarray, edges: np.ndarray, base_states: np.ndarray, filled: np.ndarray
    ) -> None:
        """`walk_kernels.walk`, as far as it comes without the host."""
        dfa = self._dfa
        with dfa.exprs.lock:
            self._walk(
                dfa.exprs.array,
                dfa.arrays,
                *self._vocabulary.trie,
                base_states,
                starts,
                state,
                edges,
                self._stack,
                filled,
                self._tokens,
                self._exits,
                self._entries,
                self._drops,
                self._missing,
            )

    def _do_below(self, state: int, unit: int, nodes: np.ndarray, least: int, filled: np.ndarray) -> None:
        """`walk_kernels.walk_below`, as far as it comes without the host."""
        dfa, vocabulary = self._dfa, self._vocabulary
        with dfa.exprs.lock:
            self._walk_below(
                dfa.exprs.array,
                dfa.arrays,
                vocabulary.node_depth,
                vocabulary.node_deepest,
                vocabulary.node_byte,
                vocabulary.node_end,
                vocabulary.token_start,
                vocabulary.token_ids,
                unit,
                nodes,
                state,
                least,
                self._path,
                filled,
                self._tokens,
                self._exits,
                self._entries,
                self._missing,
            )

    def walk_beside(self, state: int, limits: tuple[int, int]) -> tuple[int, Walked | None, np.ndarray]:
        """`walk` from the root beside the best of the bases: what `wide_kernels.walk_beside` answers, and the walk.

        None: there is no such base, or not all transitions are known: `finish_beside` goes on, where there is a base.
        limits: `most` and `few` of `best_base`. Last, good until the next walk, the bits of all tokens, those of the
        base too, (words,) uint32.
        """
        exprs = self._dfa.exprs
        with exprs.lock:
            at = mk.run(exprs.array, self._addresses.table, mk.WALK_BESIDE, state, *limits, 0)
        if at < 0 or self._filled[4]:
            return at, None, self._bits
        return at, self._walked(self._filled), self._bits

    def finish_beside(self, base_states: np.ndarray) -> Walked:
        """Go on with what `walk_beside` began: there are no bits of it."""
        return self._finish(base_states, self._filled)

    def states_from(self, state: int) -> np.ndarray:
        """The state at each node that a walk from the root comes to, (nodes,) int32, 0 for others. Walked before."""
        vocabulary = self._vocabulary
        found = np.zeros(len(vocabulary.node_byte), np.int32)
        walk_kernels.states_at(
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

    def towards(self, nodes: np.ndarray, first: int) -> np.ndarray:
        """Those of `nodes` that have a child by a byte whose bit is set in `first`."""
        if len(nodes) < _MANY:
            return nodes[self.has_child(nodes, _wanted(first))]
        parents = [self._vocabulary.parents[byte] for byte in bytes_of(first).tolist()]
        if parents and sum(map(len, parents)) * _FEWER < len(nodes):
            wanted = np.concatenate(parents)
            found = np.empty_like(wanted)
            n = walk_kernels.among(nodes, wanted, found)
            if n >= 0:
                return found[:n].copy() if len(parents) == 1 else np.unique(found[:n])
        return nodes[self.has_child(nodes, _wanted(first))]

    def has_child(self, nodes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Which of `nodes` have a child by a byte for which `wanted` holds, (256,) bool: (n,) bool."""
        found = np.empty(len(nodes), bool)
        walk_kernels.has_child(nodes, self._vocabulary.child_start, self._vocabulary.child_byte, wanted, found)
        return found

    def _make_room_below(self, nodes: np.ndarray) -> None:
        """Have arrays for all that may be below several nodes, which may be below each other."""
        vocabulary = self._vocabulary
        ends = vocabulary.node_end[nodes]
        n_nodes = int((ends - nodes).sum())
        if n_nodes > len(self._missing):
            n_tokens = int((vocabulary.token_start[ends] - vocabulary.token_start[nodes]).sum())
            self._make_room(n_nodes, max(n_tokens, self._tokens.shape[1] - 1))

    def _make_room(self, n_nodes: int, n_tokens: int) -> None:
        """What is never written to costs no memory."""
        self._tokens = np.empty((3, n_tokens + 1), np.int32)
        self._exits = np.empty((2, n_nodes + 1), np.int32)
        self._entries = np.empty((n_nodes, 2), np.int32)
        self._drops = np.empty((n_nodes, 2), np.int32)
        self._missing = np.empty((n_nodes, 2), np.int32)
        found = self._tokens, self._exits, self._entries, self._drops, self._missing
        self._addresses.put(ak.WALK_TOKENS, *found)


@lru_cache(4096)
def _wanted(mask: int) -> np.ndarray:
    """Whether each byte is in a set, (256,) bool."""
    return np.unpackbits(np.frombuffer(mask.to_bytes(32, "little"), np.uint8), bitorder="little").view(bool)
