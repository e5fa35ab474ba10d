"""Linear layers with weights laid out once for oneDNN: about twice as fast as nn.Linear for small batches in fp32,
and their rows hardly depend on how many other rows are in the batch."""

from __future__ import annotations

import torch
from torch import nn

_PACKABLE = (torch.float32, torch.bfloat16)


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
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")

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


def packed(linear: nn.Linear) -> nn.Module:
    """The layer packed, or itself where this machine cannot pack it."""
    return PackedLinear(linear) if can_pack(linear.weight.dtype) else linear


def pack_linears(model: nn.Module) -> int:
    """Replace every nn.Linear in the model; how many there were. Subclasses are left alone: they mean something else.

    A weight that is also used elsewhere (an embedding tied to the output layer) is held twice from then on.
    """
    packed = 0
    for name, child in model.named_children():
        if type(child) is nn.Linear and can_pack(child.weight.dtype):
            setattr(model, name, PackedLinear(child))
            packed += 1
        else:
            packed += pack_linears(child)
    return packed
