"""Walks of the trie of a vocabulary, compiled."""

# pyright: reportReturnType=false
# Numbers of compiled loops have 64 bits, and so are numpy's.

from __future__ import annotations

import numpy as np

from .dfa_kernels import HALTS, MAY_END, NULLABLE, Arrays, transition
from .first_kernels import partition
from .machine_code import compiled
from .node_layout import CLASSES, NOTHING, PARTITIONS

_ASKED = 1024  # a power of two


@compiled
def _place(before: int, byte: int) -> int:
    """Where a transition is noted that has to be asked for."""
    return (before * 37 + byte) & (_ASKED - 1)


@compiled
def _found(pool: np.ndarray, dfa: Arrays, asked: np.ndarray, before: int, byte: int) -> int:
    """The state after a byte, which is not known yet; below 0: the host has to be asked.

    asked: (_ASKED,) int64, transitions of which that is known, so that they are not tried at each node, nor by each of
    the bytes that behave alike; at first -1.
    """
    edge = before << 8 | byte
    if asked[_place(before, byte)] == edge:
        return -1
    after = np.int64(transition(pool, dfa, before, byte))
    if after < 0:
        asked[_place(before, byte)] = edge
        number = partition(pool, np.int64(dfa[1][before]), NOTHING)
        if number >= 0:
            classes = pool[PARTITIONS] + CLASSES * number
            for each in range(256):
                if pool[classes + each] == pool[classes + byte]:
                    asked[_place(before, each)] = before << 8 | each
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

    It goes on from the nodes `starts`, entered in the state `start`, and over `edges`, rows (node, state before it).
    Transitions that are not known are found on the way. Walks halt where a state HALTS, and the frame may end where it
    MAY_END. base_states: the state the base came to at each node, 0 where it did not; all that is reached in the same
    state is left out, with what is below.

    From one start, and where nothing is missing, nodes are come to in their order.

    Written from where `filled` says for each, which is then moved: tokens, columns (token, state), exits, nodes below
    which the frame may be over, entries (node, state) where it halted, drops (node, end) where nodes from node to end
    are not what the base made of them, missing (like `edges`) where the host has to be asked for a transition. The last
    of `filled` counts the nodes reached. stack: room for the edges to be taken, 256 for each byte of a token.
    """
    transitions, kinds = dfa[2], dfa[3]
    n_tokens, n_exits, n_entries, n_drops, n_missing, n_reached = filled
    n_starts = starts.shape[0]
    asked = np.full(_ASKED, -1, np.int64)
    for i in range(n_starts + edges.shape[0]):
        top = 0
        if i < n_starts:
            node = starts[i]
            row = transitions[start]
            base_row = transitions[base_states[node]]
            for at in range(child_start[node + 1] - 1, child_start[node] - 1, -1):
                if row[child_byte[at]] != base_row[child_byte[at]]:
                    stack[top, 0] = child_node[at]
                    stack[top, 1] = start
                    top += 1
        else:
            stack[0] = edges[i - n_starts]
            top = 1
        while top > 0:
            top -= 1
            node = stack[top, 0]
            before = stack[top, 1]
            after = np.int64(transitions[before, node_byte[node]])
            was = base_states[node]
            if after < 0:
                after = _found(pool, dfa, asked, np.int64(before), np.int64(node_byte[node]))
            if after < 0:
                missing[n_missing, 0] = node
                missing[n_missing, 1] = before
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
            for at in range(token_start[node], token_start[node + 1]):
                tokens[0, n_tokens] = token_ids[at]
                tokens[1, n_tokens] = after
                n_tokens += 1
            if kind & HALTS:
                entries[n_entries, 0] = node
                entries[n_entries, 1] = after
                n_entries += 1
                continue
            first = child_start[node]
            last = child_start[node + 1]
            if kind & MAY_END and first < last:
                exits[0, n_exits] = node
                n_exits += 1
            row = transitions[after]
            base_row = transitions[was]
            if first < last and row[child_byte[first]] < 0:  # then more than this one are known
                _found(pool, dfa, asked, after, np.int64(child_byte[first]))
            for at in range(last - 1, first - 1, -1):
                if row[child_byte[at]] != base_row[child_byte[at]]:
                    stack[top, 0] = child_node[at]
                    stack[top, 1] = after
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
    node_deepest: np.ndarray,
    node_byte: np.ndarray,
    node_end: np.ndarray,
    token_start: np.ndarray,
    token_ids: np.ndarray,
    unit: int,
    starts: np.ndarray,
    start: int,
    least: int,
    path: np.ndarray,
    filled: np.ndarray,
    tokens: np.ndarray,
    exits: np.ndarray,
    entries: np.ndarray,
    missing: np.ndarray,
) -> None:
    """`walk` without a base: the nodes below each start one after the other, which takes a third of the time.

    Columns are (token, state, count) and (node, count). The count grows by one for each byte that leaves the state
    `unit`. Where there is one, the frame may be over in that state alone, at a start too, and what follows begins with
    a byte that it does not go on with: noted are the nodes that have a child by such a byte. Below 0: there is none.

    It stops at the first transition that is missing, is then called again, and goes on there: `filled` has two more
    numbers, which start it is at, and the node, 0 when it has to begin. So nodes are come to in their order, always.

    least: what is not so deep in the trie is only gone through, and that only on the way to what is. path: room for
    state, count, node, and whether that is noted, at each depth, (depths, 4). tokens and exits have room for one more
    than there may be: what a node would add is written first, and counted if it is to be, as is so of every other one,
    which no processor can foretell.
    """
    transitions, kinds = dfa[2], dfa[3]
    n_tokens, n_exits, n_entries, _, _, n_reached, at_start, node = filled
    filled[4] = 0
    while filled[4] == 0 and at_start < starts.shape[0]:
        root = starts[at_start]
        if node == 0:
            node = np.int64(root) + 1
            path[node_depth[root], 0] = start
            path[node_depth[root], 1] = 0
            path[node_depth[root], 2] = root
            path[node_depth[root], 3] = 0
        end = np.int64(node_end[root])
        while node < end:
            if node_deepest[node] < least:
                node = np.int64(node_end[node])
                continue
            depth = node_depth[node]
            before = path[depth - 1, 0]
            after = np.int64(transitions[before, node_byte[node]])
            if after < 0:
                after = np.int64(transition(pool, dfa, np.int64(before), np.int64(node_byte[node])))
                if after < 0:
                    missing[0, 0] = node
                    missing[0, 1] = before
                    filled[4] = 1
                    break
            if after == 0:
                if before == unit and path[depth - 1, 3] == 0:
                    path[depth - 1, 3] = 1
                    exits[0, n_exits] = path[depth - 1, 2]
                    exits[1, n_exits] = path[depth - 1, 1]
                    n_exits += 1
                node = np.int64(node_end[node])
                continue
            n_reached += 1
            count = path[depth - 1, 1] + np.int32(before == unit)
            is_deep = depth >= least
            first = token_start[node]
            n = np.int64(token_start[node + 1] - first) * np.int64(is_deep)
            tokens[0, n_tokens] = token_ids[first]
            tokens[1, n_tokens] = after
            tokens[2, n_tokens] = count
            if n > 1:  # spelled alike
                for at in range(1, n):
                    tokens[0, n_tokens + at] = token_ids[first + at]
                    tokens[1, n_tokens + at] = after
                    tokens[2, n_tokens + at] = count
            n_tokens += n
            kind = kinds[after]
            if kind & HALTS:
                entries[n_entries, 0] = node
                entries[n_entries, 1] = after
                n_entries += 1
                node = np.int64(node_end[node])
                continue
            exits[0, n_exits] = node
            exits[1, n_exits] = 0
            may_end = unit < 0 and kind & MAY_END != 0
            n_exits += np.int64(may_end) & np.int64(node_end[node] > node + 1) & np.int64(is_deep)
            path[depth, 0] = after
            path[depth, 1] = count
            path[depth, 2] = node
            path[depth, 3] = 0
            node += 1
        if filled[4] == 0:
            at_start += 1
            node = np.int64(0)
    filled[0] = n_tokens
    filled[1] = n_exits
    filled[2] = n_entries
    filled[5] = n_reached
    filled[6] = at_start
    filled[7] = node


@compiled
def sum_up(
    tokens: np.ndarray,
    ends: np.ndarray,
    local: int,
    nothing: int,
    token_bytes: np.ndarray,
    words: np.ndarray,
    stays: np.ndarray,
    whole: np.ndarray,
    met: np.ndarray,
    states: np.ndarray,
) -> tuple[int, int, int, int]:
    """What is told of many tokens and the states they end in: bytes of the longest, and how many there are of others.

    Those are tokens that end in the state `local`, bits in `stays`, and in `nothing`, in `whole`; and states that some
    token ends in, each once, in `states`. words: bits of all. met: zeros by state, as they are again afterwards.
    """
    longest, n_stays, n_whole, n_states = 0, 0, 0, 0
    for i in range(tokens.shape[0]):
        token, state = tokens[i], ends[i]
        bit = np.uint32(1) << np.uint32(token & 31)
        words[token >> 5] |= bit
        longest = max(longest, np.int64(token_bytes[token]))
        if met[state] == 0:
            met[state] = 1
            states[n_states] = state
            n_states += 1
        if state == local:
            stays[token >> 5] |= bit
            n_stays += 1
        elif state == nothing:
            whole[token >> 5] |= bit
            n_whole += 1
    for i in range(n_states):
        met[states[i]] = 0
    return longest, n_stays, n_whole, n_states


@compiled
def rests(transitions: np.ndarray, kinds: np.ndarray, states: np.ndarray, least: np.ndarray, found: np.ndarray) -> None:
    """How many bytes at most the shortest text takes from each of some states, as far as transitions are known.

    Into `found`, (n,) int32, -1 where they do not tell. least: zeros by state, as they are again afterwards.
    """
    changes = True
    while changes:
        changes = False
        for i in range(states.shape[0] - 1, -1, -1):
            best = np.int64(least[states[i]])  # and one
            if kinds[states[i]] & NULLABLE:
                best = 1
            else:
                row = transitions[states[i]]
                for byte in range(256):
                    if row[byte] > 0:
                        rest = 1 if kinds[row[byte]] & NULLABLE else np.int64(least[row[byte]])
                        if rest > 0 and (best == 0 or rest + 1 < best):
                            best = rest + 1
            if best != least[states[i]]:
                least[states[i]] = best
                changes = True
    for i in range(states.shape[0]):
        found[i] = least[states[i]] - 1
    for i in range(states.shape[0]):
        least[states[i]] = 0


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
    """Which of the states `bases` has most in common with a state, more than `most` and than half: its place, or -1.

    weights: (256,) int64, what each first byte counts. A state that goes on with fewer than `few` bytes has no base.
    (To walk beside one takes twice as long for each node.)
    """
    row, n, best, all_of_it = transitions[local], 0, -1, 0
    for byte in range(256):
        if row[byte] != 0:
            n += 1
            all_of_it += weights[byte]
    if n < few:
        return best
    most = max(most, all_of_it // 2)
    for i in range(bases.shape[0]):
        base, shared = transitions[bases[i]], 0
        for byte in range(256):
            if row[byte] > 0 and row[byte] == base[byte]:
                shared += weights[byte]
        if shared > most:
            best, most = i, shared
    return best


@compiled
def among(nodes: np.ndarray, parents: np.ndarray, found: np.ndarray) -> int:
    """Those of `parents` that are among `nodes`, into `found`: how many; or -1: the nodes are not ascending."""
    for i in range(1, nodes.shape[0]):
        if nodes[i] <= nodes[i - 1]:
            return -1
    n = 0
    for i in range(parents.shape[0]):
        low, high = 0, nodes.shape[0]
        while low < high:
            at = (low + high) >> 1
            if nodes[at] < parents[i]:
                low = at + 1
            else:
                high = at
        if low < nodes.shape[0] and nodes[low] == parents[i]:
            found[n] = parents[i]
            n += 1
    return n


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
    bits = np.zeros(1, np.uint32)
    rests(rows, bits.view(np.uint8), nodes, nodes, nodes)
    sum_up(nodes, nodes, 0, 0, nodes, bits, bits, bits, np.zeros(1, np.uint8), np.zeros(1, np.int32))
    among(nodes, nodes, nodes)
