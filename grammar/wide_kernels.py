"""Wide walks beside their bases in one call, compiled."""

# pyright: reportReturnType=false, reportAssignmentType=false, reportArgumentType=false
# Numbers of compiled loops have 64 bits, and so are numpy's.

from __future__ import annotations

import numpy as np

from . import address_kernels as ak
from . import kernels
from .dfa_kernels import NULLABLE, complete
from .machine_code import compiled
from .walk_kernels import best_base, walk

NO_BASE, ASK, UNWALKED = np.int64(-1), np.int64(-2), np.int64(-3)
"""Answers: no base has much in common with the walk; the host has to find transitions; from here on downwards, the
place of the base whose states have to be found first."""

LOCAL, STATES, BITS = range(3)
"""Of a base: its DFA state, and the addresses of its states (0: not found yet) and of the bits of its tokens."""


@compiled
def walk_beside(pool: np.ndarray, table: np.ndarray, local: int, most: int, few: int) -> int:
    """Walk from the root beside the base that has most in common with it: its place; or NO_BASE, ASK, or UNWALKED.

    What it came to is in FILLED and the arrays that this counts, as `walk` has them, the exits with the root; WALK_BITS
    has the bits of all tokens, those of the base too, unless transitions are missing that the host has to find. most,
    few: see `best_base`. Where there is no base, or ASK, nothing of them counts.
    """
    dfa = (
        ak.int32s(table, ak.NUMBERS),
        ak.int32s(table, ak.EXPRESSIONS),
        ak.int32_rows(table, ak.EDGES),
        ak.bytes_of(table, ak.KINDS),
        ak.int64s(table, ak.N_STATES),
    )
    if complete(pool, dfa, local) < 0:
        return ASK
    bases = ak.int64_rows(table, ak.BASES)
    at = np.int64(best_base(dfa[2], local, bases[:, LOCAL], ak.int64s(table, ak.WEIGHTS), most, few))
    if at < 0:
        return NO_BASE
    if bases[at, STATES] == 0:
        return UNWALKED - at
    node_byte, token_start = ak.bytes_of(table, ak.NODE_BYTE), ak.int32s(table, ak.TOKEN_START)
    token_ids, filled = ak.int32s(table, ak.TOKEN_IDS), ak.int64s(table, ak.FILLED)
    tokens, exits = ak.int32_rows(table, ak.WALK_TOKENS), ak.int32_rows(table, ak.WALK_EXITS)
    drops = ak.int32_rows(table, ak.DROPS)
    filled[:] = 0
    if dfa[3][local] & NULLABLE:
        exits[0, 0] = 0
        filled[1] = 1
    walk(
        pool,
        dfa,
        ak.int32s(table, ak.CHILD_START),
        ak.int32s(table, ak.CHILD_NODE),
        ak.bytes_of(table, ak.CHILD_BYTE),
        node_byte,
        ak.int32s(table, ak.NODE_END),
        token_start,
        token_ids,
        ak.int32s_at(bases[at, STATES], node_byte.shape[0]),
        np.zeros(1, np.int32),
        local,
        np.zeros((0, 2), np.int32),
        ak.int32_rows(table, ak.WALK_STACK),
        filled,
        tokens,
        exits,
        ak.int32_rows(table, ak.WALK_ENTRIES),
        drops,
        ak.int32_rows(table, ak.WALK_MISSING),
    )
    if filled[4] > 0:
        return at
    words = ak.uint32s(table, ak.WALK_BITS)
    words[:] = ak.uint32s_at(bases[at, BITS], words.shape[0])
    kernels.drop(words, drops[: filled[3]], token_start, token_ids)
    for i in range(filled[0]):
        words[tokens[0, i] >> 5] |= np.uint32(1) << np.uint32(tokens[0, i] & 31)
    return at
