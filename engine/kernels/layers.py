"""What stands between a decoder layer's products: RMSNorm with its residual sum, and SwiGLU. Kernels and twins."""

from __future__ import annotations

from typing import Any

import torch

from .tiles import HAS_TRITON, divide_up, need_contiguous_ends, need_triton, power_of_two, wide

_BLOCK = 1024


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float, residual: torch.Tensor | None = None) -> torch.Tensor:
    """Normalise rows: the kernel for CUDA tensors, the twin elsewhere. See rms_norm_plain."""
    return (rms_norm_triton if x.is_cuda else rms_norm_plain)(x, weight, eps, residual)


def rms_norm_plain(
    x: torch.Tensor, weight: torch.Tensor, eps: float, residual: torch.Tensor | None = None
) -> torch.Tensor:
    """RMSNorm (Zhang & Sennrich 2019) of x, or of x + residual, which then takes residual's place.

    The plain twin of rms_norm_triton.  x, residual: (n, width) float; weight: (width,), all of one dtype. The sum is
    rounded to that dtype before it is normalised, as if added by itself; the rest is float32 (float64 where x is that).
    """
    _check_norm(x, weight, residual)
    if residual is not None:
        residual.copy_((wide(x) + wide(residual)).to(x.dtype))
        x = residual
    rows = wide(x)
    return (rows * torch.rsqrt(rows.square().mean(-1, keepdim=True) + eps) * wide(weight)).to(x.dtype)


def _check_norm(x: torch.Tensor, weight: torch.Tensor, residual: torch.Tensor | None) -> None:
    if x.ndim != 2 or weight.shape != x.shape[1:] or (residual is not None and residual.shape != x.shape):
        raise ValueError(
            f"rms_norm takes x (n, width), weight (width,) and residual like x, not {tuple(x.shape)}, "
            f"{tuple(weight.shape)} and {None if residual is None else tuple(residual.shape)}"
        )
    if weight.dtype != x.dtype or (residual is not None and residual.dtype != x.dtype):
        raise ValueError(f"x, weight and residual must share a dtype: {x.dtype}, {weight.dtype}")


def rms_norm_triton(
    x: torch.Tensor, weight: torch.Tensor, eps: float, residual: torch.Tensor | None = None
) -> torch.Tensor:
    """rms_norm_plain as one kernel. Rows must be contiguous in themselves."""
    need_triton("RMSNorm")
    _check_norm(x, weight, residual)
    need_contiguous_ends("rms_norm_triton", x, weight, residual)
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    added = x if residual is None else residual
    if len(x):
        norm_kernel[(len(x),)](
            x,
            added,
            weight,
            out,
            x.shape[1],
            float(eps),
            x.stride(0),
            added.stride(0),
            HAS_RESIDUAL=residual is not None,
            BLOCK=power_of_two(x.shape[1]),
            num_warps=norm_warps(x.shape[1]),
        )
    return out


def norm_warps(width: int) -> int:
    """Warps of a program of norm_kernel."""
    return 4 if width <= 2048 else 8 if width <= 8192 else 16


def swiglu(gate_up: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up: the kernel for CUDA tensors, the twin elsewhere. See swiglu_plain."""
    return (swiglu_triton if gate_up.is_cuda else swiglu_plain)(gate_up)


def swiglu_plain(gate_up: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up (Shazeer 2020), from both side by side, (n, 2 * width) float -> (n, width).

    The plain twin of swiglu_triton. Rounded once, from float32 (float64 where gate_up is that).
    """
    gate, up = wide(gate_up).chunk(2, dim=-1)
    return (torch.nn.functional.silu(gate) * up).to(gate_up.dtype)


def swiglu_triton(gate_up: torch.Tensor) -> torch.Tensor:
    """swiglu_plain as one kernel. Rows must be contiguous in themselves."""
    need_triton("SwiGLU")
    need_contiguous_ends("swiglu_triton", gate_up)
    n, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = torch.empty(n, width, dtype=gate_up.dtype, device=gate_up.device)
    if n and width:
        grid = (n, divide_up(width, _BLOCK))
        swiglu_kernel[grid](gate_up, out, width, gate_up.stride(0), BLOCK=_BLOCK, num_warps=4)
    return out


if HAS_TRITON:
    import triton
    import triton.language as tl

    jit: Any = triton.jit  # a launch takes more arguments than the function

    @jit
    def norm_kernel(
        x,
        residual,
        weight,
        out,
        width,
        eps,
        x_stride,
        residual_stride,
        HAS_RESIDUAL: tl.constexpr,
        BLOCK: tl.constexpr,
    ):
        """One program: one row."""
        row = tl.program_id(0).to(tl.int64)
        c = tl.arange(0, BLOCK)
        is_there = c < width
        numbers = tl.load(x + row * x_stride + c, mask=is_there, other=0.0).to(tl.float32)
        if HAS_RESIDUAL:
            numbers += tl.load(residual + row * residual_stride + c, mask=is_there, other=0.0).to(tl.float32)
            rounded = numbers.to(residual.dtype.element_ty)
            tl.store(residual + row * residual_stride + c, rounded, mask=is_there)
            numbers = rounded.to(tl.float32)
        mean = tl.sum(numbers * numbers, 0) / width
        weights = tl.load(weight + c, mask=is_there, other=0.0).to(tl.float32)
        normed = numbers * (1 / tl.sqrt(mean + eps)) * weights
        tl.store(out + row * width + c, normed.to(out.dtype.element_ty), mask=is_there)

    @jit
    def swiglu_kernel(gate_up, out, width, stride, BLOCK: tl.constexpr):
        """One program: BLOCK numbers of one row."""
        row = tl.program_id(0).to(tl.int64)
        c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        is_there = c < width
        gate = tl.load(gate_up + row * stride + c, mask=is_there, other=0.0).to(tl.float32)
        up = tl.load(gate_up + row * stride + width + c, mask=is_there, other=0.0).to(tl.float32)
        tl.store(out + row * width + c, (gate * tl.sigmoid(gate) * up).to(out.dtype.element_ty), mask=is_there)
