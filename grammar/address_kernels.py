"""Arrays of many owners as one argument of compiled loops: where each is, and how large.

To call a loop costs 0.2 us for each array it is given. One that works on what a whole automaton holds is therefore
given a table of addresses (`addresses.Addresses`) instead, and makes arrays of it.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numba import carray  # pyright: ignore[reportPrivateImportUsage]
from numba.core import types
from numba.extending import intrinsic

from .machine_code import compiled


def _numbers(*values: int) -> list[int]:
    return cast("list[int]", [np.int64(value) for value in values])


WORDS = np.int64(3)
"""Of one array in the table: its address, and the sizes of its first and second axis."""

# Where arrays stand in the table. Three in a row: keys, values and the number of entries of a hash table.
NUMBERS, EXPRESSIONS, EDGES, KINDS, N_STATES = _numbers(*range(5))  # of the DFA, see `dfa_kernels.Arrays`
ENTERED, SPLIT, WAYS, N_WAYS = _numbers(*range(5, 9))
FOLLOWED, FOLLOWING, SEQUENCE_TOPS, SEQUENCE_KEYS, SEQUENCE_VALUES = _numbers(*range(9, 14))
JOIN_KEYS, JOIN_VALUES, N_SEQUENCES = _numbers(*range(14, 17))
PARENTS, TOPS, ENTRIES, CONTEXTS, N_STACKS = _numbers(*range(17, 22))
STACK_IDS, STACK_NAMES, PUSHED = _numbers(22, 25, 28)
BOUNDS, PLACES, N_PLACES, RUN_IDS, PLACE_IDS, STAYS = _numbers(31, 32, 33, 34, 37, 40)
TRANSITIONS, RECORDS, N_RECORDS = _numbers(43, 46, 47)
ROW_IDS, ROWS, DIGESTS, ROW_SLOTS, ROW_SIZES, ACCEPTS, ENDS, N_ROWS = _numbers(48, *range(51, 58))
CHILD_START, CHILD_NODE, CHILD_BYTE, NODE_BYTE, NODE_END, TOKEN_START, TOKEN_IDS = _numbers(*range(58, 65))
TEXT, TEXT_START, EOS, STAY, SEQUENCE = _numbers(*range(65, 70))
FRAMES, ITEMS, PUT_OFF, MISSING_ITEMS, BITS, TALLY = _numbers(*range(70, 76))
FOLLOWER, OTHER_FOLLOWER, LIMITS = _numbers(*range(76, 79))
WIDE, WIDE_RECORDS = _numbers(79, 82)
WALK_STACK, FILLED, WALK_TOKENS, WALK_EXITS, WALK_ENTRIES, DROPS, WALK_MISSING = _numbers(*range(83, 90))
BASES, WEIGHTS, WALK_BITS = _numbers(*range(90, 93))
N_ARRAYS = 93


@intrinsic  # to be called with an address alone
def _pointer(_: Any, __: Any = None) -> Any:
    """An address as a pointer."""

    def code(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), code


@compiled
def int32s_at(address: int, size: int) -> np.ndarray:
    """The array at an address."""
    return carray(_pointer(address), (size,), np.int32)


@compiled
def uint32s_at(address: int, size: int) -> np.ndarray:
    """The array at an address."""
    return carray(_pointer(address), (size,), np.uint32)


@compiled
def int32s(table: np.ndarray, which: int) -> np.ndarray:
    """An array of one axis."""
    at = WORDS * which
    return carray(_pointer(table[at]), (table[at + 1],), np.int32)


@compiled
def int32_rows(table: np.ndarray, which: int) -> np.ndarray:
    """An array of two axes."""
    at = WORDS * which
    return carray(_pointer(table[at]), (table[at + 1], table[at + 2]), np.int32)


@compiled
def int64s(table: np.ndarray, which: int) -> np.ndarray:
    """An array of one axis."""
    at = WORDS * which
    return carray(_pointer(table[at]), (table[at + 1],), np.int64)


@compiled
def int64_rows(table: np.ndarray, which: int) -> np.ndarray:
    """An array of two axes."""
    at = WORDS * which
    return carray(_pointer(table[at]), (table[at + 1], table[at + 2]), np.int64)


@compiled
def uint32s(table: np.ndarray, which: int) -> np.ndarray:
    """An array of one axis."""
    at = WORDS * which
    return carray(_pointer(table[at]), (table[at + 1],), np.uint32)


@compiled
def uint32_rows(table: np.ndarray, which: int) -> np.ndarray:
    """An array of two axes."""
    at = WORDS * which
    return carray(_pointer(table[at]), (table[at + 1], table[at + 2]), np.uint32)


@compiled
def bytes_of(table: np.ndarray, which: int) -> np.ndarray:
    """An array of one axis, uint8 or bool."""
    at = WORDS * which
    return carray(_pointer(table[at]), (table[at + 1],), np.uint8)


@compiled
def byte_rows(table: np.ndarray, which: int) -> np.ndarray:
    """An array of two axes, uint8."""
    at = WORDS * which
    return carray(_pointer(table[at]), (table[at + 1], table[at + 2]), np.uint8)
