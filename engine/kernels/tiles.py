"""What all kernels share: whether triton is there, tile sizes, the precision of twins.

Triton compiles a kernel once more for pointers that are not at multiples of 16 bytes, and for numbers that are 1 or
multiples of 16. The lists that come with a step stand anywhere in one piece of memory, and what counts them is any
number: kernels name these (`do_not_specialize_on_alignment`, `do_not_specialize`), so that no step in service waits
for the compiler.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch

HAS_TRITON = find_spec("triton") is not None  # macOS and Windows wheels of torch come without it


def need_triton(what: str) -> None:
    """Raise ImportError where triton is not installed."""
    if not HAS_TRITON:
        raise ImportError(f"{what} on CUDA needs triton, which is not installed: pip install triton")


def need_contiguous_ends(what: str, *tensors: torch.Tensor | None) -> None:
    """Raise ValueError unless the last dimension of each tensor is contiguous."""
    for tensor in tensors:
        if tensor is not None and tensor.numel() and tensor.stride(-1) != 1:
            raise ValueError(f"{what}: the last dimension of each tensor must be contiguous")


def divide_up(n: int, by: int) -> int:
    """n / by, rounded up."""
    return -(-n // by)


def power_of_two(n: int, least: int = 16) -> int:
    """The least power of two that is at least n and `least` (16: what a tensor-core product takes on each side)."""
    return max(least, 1 << max(n - 1, 0).bit_length())


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in the precision in which twins calculate: float32, or float64 where it is that."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
