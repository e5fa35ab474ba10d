"""Muon for the matrices inside the layers, AdamW for the embedding and the norms, and a running average."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest orthogonal matrices, roughly: (n, rows, columns) in and out, by five Newton-Schulz steps."""
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = torch.bmm(x, x.transpose(1, 2))
        b = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, b, x, beta=3.4445)
    return (x.transpose(1, 2) if tall else x).float()


class Muon:
    """Momentum, orthogonalised. With several processes each one orthogonalises its share of the matrices."""

    def __init__(self, weights: Sequence[Tensor], momentum: float = 0.95, decay: float = 0.01) -> None:
        self.momentum, self.decay = momentum, decay
        by_shape: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for weight in weights:
            by_shape[tuple(weight.shape)].append(weight)
        self.groups = list(by_shape.values())
        self.buffers = [torch.zeros(len(group), *group[0].shape) for group in self.groups]

    def step(self, rate: float) -> None:
        """Change the weights, in place, by their `.grad`."""
        for group, buffer in zip(self.groups, self.buffers, strict=True):
            gradient = torch.stack([weight.grad for weight in group if weight.grad is not None])
            buffer.lerp_(gradient, 1 - self.momentum)
            update = shared(gradient.lerp(buffer, self.momentum))
            scale = rate * math.sqrt(max(1.0, group[0].shape[0] / group[0].shape[1]))
            for weight, change in zip(group, update, strict=True):
                weight.data.mul_(1 - rate * self.decay).add_(change, alpha=-scale)


def shared(matrices: Tensor) -> Tensor:
    """Orthogonalise (n, rows, columns), each process a slice of the n, and gather the whole everywhere."""
    if not dist.is_initialized():
        return orthogonalise(matrices)
    size, rank = dist.get_world_size(), dist.get_rank()
    if len(matrices) % size:
        return orthogonalise(matrices)
    share = orthogonalise(matrices.chunk(size)[rank]).contiguous()
    parts = [torch.empty_like(share) for _ in range(size)]
    dist.all_gather(parts, share)
    return torch.cat(parts)


class Average:
    """An exponential moving average of a model's weights, with its own warm-up."""

    def __init__(self, model: nn.Module, decay: float = 0.998) -> None:
        self.decay, self.updates = decay, 0
        self.source = list(model.state_dict().items())
        self.weights = {name: value.detach().clone() for name, value in self.source}

    def update(self) -> None:
        """Move the average towards the weights as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in self.source:
            self.weights[name].lerp_(value.detach(), 1 - decay)
