"""Linear layers with weights laid out once for oneDNN: about twice as fast as nn.Linear for small batches in fp32,
and their rows hardly depend on how many other rows are in the batch.

oneDNN makes machine code for every number of rows it meets, which takes it 0.5 to 0.8 ms, as long as a product of a
small layer, and keeps the code of the last thousand shapes only, 0.7 MiB each. Steps differ in their number of tokens,
so rows of nothing are added up to a number that comes up often: see padded_count().

With int8 weights the rows do not depend on others at all: sums of integers are exact in any order, and each row of the
input has a scale of its own (one scale for the whole batch, as in torch's dynamic quantisation, would let an outlier in
one row spoil the others). Measured here it takes half the time of bfloat16 from 64 rows on, 0.7 of it at 8, and no less
for a single row.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .loops import bits, quantise_rows, scale_rows
from .steady_linears import steady

Format = Literal["model", "int8", "steady"]
"""Of weights in products: the model's own, or int8 with a scale for each output, and inputs with one for each row.

steady: the model's own, and rows do not depend on how many there are, to the last bit."""

_PACKABLE = (torch.float32, torch.bfloat16)
_LEVELS = 127
_ZERO = 128  # of inputs, which oneDNN is fast at as uint8 only


def padded_count(n_rows: int) -> int:
    """How many rows to multiply in the place of so many: 5 % more on average, one of 42 numbers up to 1,024."""
    if n_rows <= 2:
        return n_rows
    step = 4 if n_rows <= 64 else 16 if n_rows <= 256 else 64
    return -(-n_rows // step) * step


def padded_rows(rows: torch.Tensor) -> torch.Tensor:
    """rows (n, width), with rows of zeros after them, (padded_count(n), width)."""
    missing = padded_count(len(rows)) - len(rows)
    return functional.pad(rows, (0, 0, 0, missing)) if missing else rows


class PackedLinear(nn.Module):
    """x @ weight.T + bias, with the weight kept only in packed form. Inference only, CPU only."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        weight = linear.weight.detach()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, self.in_features)
        out = torch.ops.mkldnn._linear_pointwise(padded_rows(rows), self._packed, self.bias, "none", [], "")
        return out[: len(rows)].view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Int8Linear(nn.Module):
    """x @ weight.T + bias in int8: the weight rounded with a scale for each output, x with one for each of its rows.

    Inference only, CPU only. Results are in the type of the weight it was made from.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        weight = linear.weight.detach().float()
        scales = weight.abs().amax(dim=1).clamp_(min=1e-30) / _LEVELS
        self._scales = scales
        self._zeros = torch.zeros(self.out_features, dtype=torch.int32)
        whole = torch.round(weight / scales[:, None]).to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(whole, None)
        self._dtype = linear.weight.dtype
        self.bias = None if linear.bias is None else linear.bias.detach()
        self._bias = bits(torch.empty(0, dtype=self._dtype) if self.bias is None else self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, self.in_features)
        quantised = torch.empty(padded_count(len(rows)), self.in_features, dtype=torch.uint8)  # what is added: anything
        largest = np.empty(len(rows), dtype=np.float32)
        quantise_rows(bits(rows), quantised.numpy(), largest)
        weight = self._packed, self._scales, self._zeros
        out = torch.ops.onednn.qlinear_pointwise(
            quantised, 1 / _LEVELS, _ZERO, *weight, None, 1.0, 0, self._dtype, "none", [], ""
        )[: len(rows)]
        scale_rows(bits(out), largest, self._bias)
        return out.view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this machine has packed linears for the type."""
    if (
        dtype not in _PACKABLE
        or not torch.backends.mkldnn.is_available()
        or not hasattr(torch.ops.mkldnn, "_linear_pointwise")
    ):
        return False
    return dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def int8_trouble() -> str | None:
    """Why this machine, or this torch, has no products in int8; None: it has."""
    if not torch.backends.mkldnn.is_available():
        return "torch was built without oneDNN"
    n = 64
    linear = nn.Linear(n, 2, bias=False)
    linear.weight = nn.Parameter(torch.ones(2, n), requires_grad=False)
    try:
        got = Int8Linear(linear)(torch.tensor([1.0, -1.0])[:, None].expand(2, n))
    except (AttributeError, RuntimeError, TypeError) as error:
        return f"torch {torch.__version__} refuses: {str(error).splitlines()[0]}"
    # without VNNI instructions sums of the largest inputs and weights saturate at 16 bits
    wanted = torch.tensor([[n, n], [-n, -n]], dtype=torch.float32)
    return None if torch.allclose(got, wanted, rtol=1e-3) else "its int8 products are not exact"


def packed(linear: nn.Linear, weights: Format = "model") -> nn.Module:
    """The layer packed, or itself where this machine cannot pack it."""
    if weights == "int8":
        return Int8Linear(linear)
    quick = PackedLinear(linear) if can_pack(linear.weight.dtype) else linear
    return steady(quick, linear) if weights == "steady" else quick


def pack_linears(model: nn.Module, weights: Format = "model") -> int:
    """Replace every nn.Linear in the model; how many there were. Subclasses are left alone: they mean something else.

    A weight that is also used elsewhere (an embedding tied to the output layer) is held twice from then on.
    """
    n_packed = 0
    for name, child in model.named_children():
        if type(child) is nn.Linear and (weights == "steady" or can_pack(child.weight.dtype)):
            setattr(model, name, packed(child, weights))
            n_packed += 1
        else:
            n_packed += pack_linears(child, weights)
    return n_packed
