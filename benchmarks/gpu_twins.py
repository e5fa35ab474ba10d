"""How far apart what a kernel says and what its twin says may be, and what both are given."""

from __future__ import annotations

from typing import Any

import torch

HALF, BFLOAT = torch.float16, torch.bfloat16
CLOSE = {torch.float32: 2e-5, HALF: 3e-3, BFLOAT: 3e-2}


def assert_close(got: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    """Close for arithmetic in dtype; the same infinities. NaN never passes."""
    got, expected, close = got.cpu().double(), expected.double(), CLOSE[dtype]
    assert got.shape == expected.shape, (got.shape, expected.shape)
    if not torch.allclose(got, expected, atol=close, rtol=close):
        wrong = ~torch.isclose(got, expected, atol=close, rtol=close)
        raise AssertionError(
            f"{int(wrong.sum())} of {wrong.numel()} differ: {got[wrong][:4]}, not {expected[wrong][:4]}"
        )


def doubles(value: Any) -> Any:
    """Tensors of floats in it as float64."""
    if isinstance(value, torch.Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(doubles, value))
    return value


def moved(value: Any, device: str) -> Any:
    """Tensors in it on the device, kept apart in memory as they are here."""
    if isinstance(value, torch.Tensor):
        if device == "cpu":
            return value
        there = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device)
        return there.copy_(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(each, device) for each in value))
    return value
