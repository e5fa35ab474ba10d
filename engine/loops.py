"""The loops between matrix products, compiled by numba: one pass over memory where torch takes several.

Numbers come as float32, or as bfloat16 in the form of its bits, uint16, since numpy has no such type: see `bits`. All
arithmetic is float32. A row of a result never depends on the other rows, nor on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from numba import types
from numba.extending import overload

_f32, _i32, _u32, _u16 = np.float32, np.int32, np.uint32, np.uint16
_SIGN_OFF = _i32(0x7FFFFFFF)
_LOWEST = _i32(-(2**31))


def bits(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's own memory as an array: float32 as it is, bfloat16 as uint16."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled when first called, from numba's cache on disk where that can be written."""
    options = {"fastmath": True, "nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no place for the cache
        return numba.njit(**options)(function)


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


# -- int8 ---------------------------------------------------------------------------------------------------------


@compiled
def quantise_rows(x: np.ndarray, quantised: np.ndarray, largest: np.ndarray) -> None:
    """Each row of x (rows, n) as 128 + round(127 * x / largest), uint8; largest (rows,): its largest magnitude."""
    for r in range(x.shape[0]):
        row = x[r]
        top = _i32(0)
        for j in range(row.shape[0]):  # magnitudes are ordered as their bits are; as numbers this would not vectorise
            top = max(top, _i32(_f32(wide(row[j])).view(np.int32) & _SIGN_OFF))
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
