"""The loops between matrix products, compiled by numba: one pass over memory where torch takes several.

Numbers come as float32, or as bfloat16 in the form of its bits, uint16, since numpy has no such type: see `bits`. All
arithmetic is float32. A row of a result never depends on the other rows, nor on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import types
from numba.extending import overload

from ..grammar.machine_code import MachineCode

_SOURCES = (
    "loops.py",
    "attention_loops.py",
    "attention_few.py",
    "attention_pairs.py",
    "vectors.py",
    "vectors_few.py",
)
_CODE = MachineCode(Path(__file__).with_name(name) for name in _SOURCES)

_f32, _i32, _u32, _u16 = np.float32, np.int32, np.uint32, np.uint16
SIGN_OFF = _i32(0x7FFFFFFF)
LOG2_E = _f32(1.4426950408889634)


def bits(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's own memory as an array: float32 as it is, bfloat16 as uint16."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled when first called, or read from where its machine code is kept."""
    return _CODE.kept(function, fastmath=True, nogil=True, error_model="numpy")


# -- numbers of either kind ---------------------------------------------------------------------------------------


def wide(x: Any) -> Any:
    """The float32 that an element stands for."""
    raise NotImplementedError("only in compiled loops")


def like(element: Any, x: Any) -> Any:
    """x, a float32, as an element of that one's kind; rounded to nearest, ties away from zero."""
    raise NotImplementedError("only in compiled loops")


@overload(wide, inline="always")
def _wide(x: Any) -> Any:
    def as_it_is(x: Any) -> Any:
        return x

    def widened(x: Any) -> Any:
        return _u32(_u32(x) << _u32(16)).view(np.float32)

    return widened if isinstance(x, types.Integer) else as_it_is


@overload(like, inline="always")
def _like(element: Any, x: Any) -> Any:
    def as_it_is(element: Any, x: Any) -> Any:
        return x

    def rounded(element: Any, x: Any) -> Any:
        return _u16(_u32(_f32(x).view(np.uint32) + _u32(0x8000)) >> _u32(16))

    return rounded if isinstance(element, types.Integer) else as_it_is


@compiled
def exp2(x: Any) -> Any:
    """2 ** x for x <= 30, right to 1e-7 of it; below -126: hardly more than 0. A polynomial, so that it vectorises."""
    x = max(x, _f32(-126))
    whole = _i32(x)
    r = x - _f32(whole)
    if r > _f32(0):  # the polynomial is for -1 .. 0
        r -= _f32(1)
        whole += _i32(1)
    p = _f32(0.0009381164563819766)
    p = p * r + _f32(0.009186874143779278)
    p = p * r + _f32(0.05527813360095024)
    p = p * r + _f32(0.24017158150672913)
    p = p * r + _f32(0.6931421756744385)
    p = p * r + _f32(0.9999999403953552)
    return p * _i32((whole + _i32(127)) << _i32(23)).view(np.float32)


# -- int8 ---------------------------------------------------------------------------------------------------------


@compiled
def quantise_rows(x: np.ndarray, quantised: np.ndarray, largest: np.ndarray) -> None:
    """Each row of x (rows, n) as 128 + round(127 * x / largest), uint8; largest (rows,): its largest magnitude."""
    for r in range(x.shape[0]):
        row = x[r]
        top = _i32(0)
        for j in range(row.shape[0]):  # magnitudes are ordered as their bits are; as numbers this would not vectorise
            top = max(top, _i32(_f32(wide(row[j])).view(np.int32) & SIGN_OFF))
        most = _i32(top).view(np.float32)
        largest[r] = most
        scale = _f32(127) / most if most > _f32(0) else _f32(0)
        for j in range(row.shape[0]):
            quantised[r, j] = np.uint8(_i32(wide(row[j]) * scale + _f32(128.5)))


@compiled
def scale_rows(x: np.ndarray, factors: np.ndarray, bias: np.ndarray) -> None:
    """x (rows, n) = x * factors (rows,) + bias, (n,) or of no elements for none; in place."""
    for r in range(x.shape[0]):
        row, factor = x[r], factors[r]
        if bias.shape[0]:
            for j in range(row.shape[0]):
                row[j] = like(row[j], wide(row[j]) * factor + wide(bias[j]))
        else:
            for j in range(row.shape[0]):
                row[j] = like(row[j], wide(row[j]) * factor)


# -- between the products of a layer -------------------------------------------------------------------------------


@compiled
def add_and_norm(hidden: np.ndarray, more: np.ndarray, weight: np.ndarray, eps: float, out: np.ndarray) -> None:
    """hidden (rows, n) += more, in place, where more has rows; out = hidden / root mean square * weight (n,)."""
    n = hidden.shape[1]
    for r in range(hidden.shape[0]):
        row, into = hidden[r], out[r]
        if more.shape[0]:
            extra = more[r]
            for j in range(n):
                row[j] = like(row[j], wide(row[j]) + wide(extra[j]))
        squares = _f32(0)
        for j in range(n):
            x = wide(row[j])
            squares += x * x
        factor = _f32(1) / _f32(np.sqrt(squares / _f32(n) + _f32(eps)))
        for j in range(n):
            into[j] = like(into[j], wide(row[j]) * factor * wide(weight[j]))


@compiled
def rotate(heads: np.ndarray, n_rotated: int, cos: np.ndarray, sin: np.ndarray, positions: np.ndarray) -> None:
    """Rotary positions, in place, for the first n_rotated of heads (T, n, dim): element d turns with d + dim / 2.

    cos, sin (longest, dim), sin with its first half negated; positions (T,).
    """
    half = heads.shape[2] // 2
    for t in range(heads.shape[0]):
        c, s = cos[positions[t]], sin[positions[t]]
        for h in range(n_rotated):
            x = heads[t, h]
            for d in range(half):
                a, b = wide(x[d]), wide(x[half + d])
                x[d] = like(x[d], a * wide(c[d]) + b * wide(s[d]))
                x[half + d] = like(x[d], b * wide(c[half + d]) + a * wide(s[half + d]))


@compiled
def gate(gate_up: np.ndarray, out: np.ndarray) -> None:
    """gate_up (rows, 2 * n) -> out (rows, n): silu(first half) * second half."""
    n = out.shape[1]
    for r in range(out.shape[0]):
        first, second, into = gate_up[r, :n], gate_up[r, n:], out[r]
        for j in range(n):
            x = wide(first[j])
            into[j] = like(into[j], x / (_f32(1) + exp2(min(-x * LOG2_E, _f32(126)))) * wide(second[j]))


@compiled
def write_rows(pool: np.ndarray, rows: np.ndarray, new: np.ndarray) -> None:
    """pool (heads, all rows, dim) at the rows (T,) = new (T, heads, dim)."""
    for t in range(rows.shape[0]):
        for h in range(pool.shape[0]):
            into, source = pool[h, rows[t]], new[t, h]
            for d in range(pool.shape[2]):
                into[d] = source[d]


# -- logits, as the bits of float32 in int32: whole numbers vectorise, and infinities are safe -----------------------

_NOTHING = _i32(-(1 << 23))  # -inf


@compiled
def forbid(logits: np.ndarray, table: np.ndarray, row_ids: np.ndarray) -> None:
    """Set logits (rows, vocab) to -inf in place, as kernels/mask.apply_mask says: table (n, words) int32, row_ids
    (rows,) int32, all less than n."""
    one = _u32(1)
    n_words = min(table.shape[1], (logits.shape[1] + 31) // 32)
    for r in range(logits.shape[0]):
        if row_ids[r] < 0:
            continue
        row, words = logits[r], table[row_ids[r]]
        for w in range(n_words):
            word = _u32(words[w])
            some = row[w * 32 : w * 32 + 32]
            for b in range(some.shape[0]):
                if not (word >> _u32(b)) & one:
                    some[b] = _NOTHING
        row[n_words * 32 :] = _NOTHING


@compiled
def likeliest(logits: np.ndarray, rows: np.ndarray, found: np.ndarray) -> None:
    """found (n,): the column of the largest of each of these rows (n,) of logits (all rows, vocab), the first where
    several are. -0 is less than 0."""
    for i in range(rows.shape[0]):
        row = logits[rows[i]]
        most = _i32(-(2**31))
        for j in range(row.shape[0]):
            most = max(most, _i32(row[j] ^ ((row[j] >> _i32(31)) & SIGN_OFF)))
        wanted = _i32(most ^ ((most >> _i32(31)) & SIGN_OFF))
        j = 0
        while row[j] != wanted:
            j += 1
        found[i] = j
