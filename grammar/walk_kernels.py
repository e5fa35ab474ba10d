"""Walks of the trie of a vocabulary, compiled."""

from __future__ import annotations

import numpy as np

from .dfa_kernels import HALTS, MAY_END, Arrays, transition
from .machine_code import compiled

_ASKED = 256  # a power of two


@compiled
def _found(pool: np.ndarray, dfa: Arrays, asked: np.ndarray, before: int, byte: int) -> int:
    """The state after a byte, which is not known yet; below 0: the host has to be asked.

    asked: (_ASKED,) int64, transitions of which that is known, so that they are not tried at each node; at first -1.
    """
    edge = before << 8 | byte
    if asked[edge & (_ASKED - 1)] == edge:
        return -1
    after = np.int64(transition(pool, dfa, before, byte))
    if after < 0:
        asked[edge & (_ASKED - 1)] = edge
    return int(after)


@compiled
def walk(
    pool: np.ndarray,
    dfa: Arrays,
    child_start: np.ndarray,
    child_node: np.ndarray,
    child_byte: np.ndarray,
    node_byte: np.ndarray,
    node_end: np.ndarray,
    token_start: np.ndarray,
    token_ids: np.ndarray,
    base_states: np.ndarray,
    unit: int,
    starts: np.ndarray,
    start: int,
    edges: np.ndarray,
    stack: np.ndarray,
    filled: np.ndarray,
    tokens: np.ndarray,
    exits: np.ndarray,
    entries: np.ndarray,
    drops: np.ndarray,
    missing: np.ndarray,
) -> None:
    """Walk a trie with a DFA, depth first, and note what differs from an earlier walk, the base.

    It goes on from the nodes `starts`, entered in the state `start`, and over `edges`, rows (node, state before it,
    count before it). Transitions that are not known are found on the way. Walks halt where a state HALTS,
    and the frame may end where it MAY_END. The count grows by one for each byte that leaves the state `unit`, and where
    there is one the frame may end in that state alone. base_states: the state the base came to at each node, 0 where it
    did not; all that is reached in the same state is left out, with what is below. Of no length: there is no base.

    From one start, and where nothing is missing, nodes are come to in their order.

    Written from where `filled` says for each, which is then moved: tokens, columns (token, state, count), exits,
    columns (node, count), below which the frame may be over, entries (node, state) where it halted, drops (node, end)
    where nodes from node to end are not what the base made of them, missing (like `edges`) where the host has to be
    asked for a transition. The last of `filled` counts the nodes reached. stack: room for the edges to be taken, 256
    for each byte of a token.
    """
    transitions, kinds = dfa[2], dfa[3]
    n_tokens, n_exits, n_entries, n_drops, n_missing, n_reached = filled
    has_base = base_states.shape[0] > 0
    n_starts = starts.shape[0]
    asked = np.full(_ASKED, -1, np.int64)
    for i in range(n_starts + edges.shape[0]):
        top = 0
        if i < n_starts:
            node = starts[i]
            row = transitions[start]
            base_row = transitions[base_states[node] if has_base else 0]
            for at in range(child_start[node + 1] - 1, child_start[node] - 1, -1):
                if row[child_byte[at]] != base_row[child_byte[at]]:
                    stack[top, 0] = child_node[at]
                    stack[top, 1] = start
                    stack[top, 2] = 0
                    top += 1
        else:
            stack[0] = edges[i - n_starts]
            top = 1
        while top > 0:
            top -= 1
            node = stack[top, 0]
            before = stack[top, 1]
            count = stack[top, 2]
            after = np.int64(transitions[before, node_byte[node]])
            was = base_states[node] if has_base else 0
            if after < 0:
                after = _found(pool, dfa, asked, np.int64(before), np.int64(node_byte[node]))
            if after < 0:
                missing[n_missing, 0] = node
                missing[n_missing, 1] = before
                missing[n_missing, 2] = count
                n_missing += 1
                continue
            if after == was:
                continue
            kind = kinds[after]
            if was > 0:
                if n_drops == 0 or drops[n_drops - 1, 1] != node:
                    drops[n_drops, 0] = node
                    n_drops += 1
                drops[n_drops - 1, 1] = node_end[node] if after == 0 or kind & HALTS else node + 1
            if after == 0:
                continue
            n_reached += 1
            if before == unit:
                count += 1
            for at in range(token_start[node], token_start[node + 1]):
                tokens[0, n_tokens] = token_ids[at]
                tokens[1, n_tokens] = after
                tokens[2, n_tokens] = count
                n_tokens += 1
            if kind & HALTS:
                entries[n_entries, 0] = node
                entries[n_entries, 1] = after
                n_entries += 1
                continue
            first = child_start[node]
            last = child_start[node + 1]
            if (after == unit if unit >= 0 else kind & MAY_END != 0) and first < last:
                exits[0, n_exits] = node
                exits[1, n_exits] = count
                n_exits += 1
            row = transitions[after]
            base_row = transitions[was]
            if has_base and first < last and row[child_byte[first]] < 0:  # then more than this one are known
                _found(pool, dfa, asked, after, np.int64(child_byte[first]))
            for at in range(last - 1, first - 1, -1):
                if row[child_byte[at]] != base_row[child_byte[at]]:
                    stack[top, 0] = child_node[at]
                    stack[top, 1] = after
                    stack[top, 2] = count
                    top += 1
    filled[0] = n_tokens
    filled[1] = n_exits
    filled[2] = n_entries
    filled[3] = n_drops
    filled[4] = n_missing
    filled[5] = n_reached


@compiled
def walk_below(
    pool: np.ndarray,
    dfa: Arrays,
    node_depth: np.ndarray,
    node_byte: np.ndarray,
    node_end: np.ndarray,
    token_start: np.ndarray,
    token_ids: np.ndarray,
    unit: int,
    root: int,
    start: int,
    path: np.ndarray,
    filled: np.ndarray,
    tokens: np.ndarray,
    exits: np.ndarray,
    entries: np.ndarray,
    missing: np.ndarray,
) -> None:
    """`walk` from one node, without a base: the nodes below it one after the other, which takes half the time.

    path: room for state and count at each depth, (depths, 2).
    """
    transitions, kinds = dfa[2], dfa[3]
    n_tokens, n_exits, n_entries, _, n_missing, n_reached = filled
    asked = np.full(_ASKED, -1, np.int64)
    path[node_depth[root], 0] = start
    path[node_depth[root], 1] = 0
    node, end = np.int64(root) + 1, np.int64(node_end[root])
    while node < end:
        depth = node_depth[node]
        before = path[depth - 1, 0]
        after = np.int64(transitions[before, node_byte[node]])
        if after < 0:
            after = _found(pool, dfa, asked, np.int64(before), np.int64(node_byte[node]))
        if after <= 0:
            if after < 0:
                missing[n_missing, 0] = node
                missing[n_missing, 1] = before
                missing[n_missing, 2] = path[depth - 1, 1]
                n_missing += 1
            node = np.int64(node_end[node])
            continue
        n_reached += 1
        count = path[depth - 1, 1]
        if before == unit:
            count += 1
        for at in range(token_start[node], token_start[node + 1]):
            tokens[0, n_tokens] = token_ids[at]
            tokens[1, n_tokens] = after
            tokens[2, n_tokens] = count
            n_tokens += 1
        kind = kinds[after]
        if kind & HALTS:
            entries[n_entries, 0] = node
            entries[n_entries, 1] = after
            n_entries += 1
            node = np.int64(node_end[node])
            continue
        if (after == unit if unit >= 0 else kind & MAY_END != 0) and node_end[node] > node + 1:
            exits[0, n_exits] = node
            exits[1, n_exits] = count
            n_exits += 1
        path[depth, 0] = after
        path[depth, 1] = count
        node += 1
    filled[0] = n_tokens
    filled[1] = n_exits
    filled[2] = n_entries
    filled[4] = n_missing
    filled[5] = n_reached


@compiled
def states_at(
    node_byte: np.ndarray,
    node_depth: np.ndarray,
    node_end: np.ndarray,
    transitions: np.ndarray,
    kinds: np.ndarray,
    start: int,
    deepest: int,
    found: np.ndarray,
) -> None:
    """The state at each node that a walk from the root of the trie reaches, all transitions known: into `found`."""
    path = np.zeros(deepest + 2, np.int32)
    path[0] = start
    found[0] = start
    node = 1
    while node < node_byte.shape[0]:
        depth = node_depth[node]
        after = transitions[path[depth - 1], node_byte[node]]
        if after > 0:
            found[node] = after
            path[depth] = after
        node = node + 1 if after > 0 and kinds[after] & 1 == 0 else node_end[node]


@compiled
def has_child(
    nodes: np.ndarray, child_start: np.ndarray, child_byte: np.ndarray, wanted: np.ndarray, found: np.ndarray
) -> None:
    """Which nodes have a child by a byte for which `wanted` holds, (256,) bool: into `found`, (n,) bool."""
    for i in range(nodes.shape[0]):
        found[i] = False
        for at in range(child_start[nodes[i]], child_start[nodes[i] + 1]):
            if wanted[child_byte[at]]:
                found[i] = True
                break


@compiled
def best_base(transitions: np.ndarray, local: int, bases: np.ndarray, weights: np.ndarray, most: int, few: int) -> int:
    """Which of the states `bases` has most in common with a state, and more than `most`: its place, or -1.

    weights: (256,) int64, what each first byte counts. A state that goes on with fewer than `few` bytes has no base.
    """
    row, n, best = transitions[local], 0, -1
    for byte in range(256):
        n += row[byte] != 0
    if n < few:
        return best
    for i in range(bases.shape[0]):
        base, shared = transitions[bases[i]], 0
        for byte in range(256):
            if row[byte] > 0 and row[byte] == base[byte]:
                shared += weights[byte]
        if shared > most:
            best, most = i, shared
    return best


@compiled
def outside(nodes: np.ndarray, drops: np.ndarray, found: np.ndarray) -> int:
    """The nodes that are in none of some ranges, rows (node, end), into `found`: how many. All ascending."""
    n, at = 0, 0
    for i in range(nodes.shape[0]):
        while at < drops.shape[0] and drops[at, 1] <= nodes[i]:
            at += 1
        if at == drops.shape[0] or nodes[i] < drops[at, 0]:
            found[n] = nodes[i]
            n += 1
    return n


def warm() -> None:
    """Have the loops compiled that the first walk does not need."""
    nodes, rows, numbers = np.zeros(0, np.int32), np.zeros((1, 256), np.int32), np.zeros(256, np.int64)
    best_base(rows, 0, numbers[:0], numbers, 0, 0)
    outside(nodes, np.zeros((0, 2), np.int32), nodes)
