"""Linear layers whose rows do not depend on how many other rows there are, to the last bit.

A product may add in another order for other numbers of rows: oneDNN does for a single row of a wide layer (2,048 inputs
to 768 outputs, say), and for no other of those tried. So it gets two rows at least here, 256 at most, and each kind of
layer is tried out when a model loads; where rows still depend on their number, all go through it in blocks of one size,
padded.
"""

from __future__ import annotations

import torch
from torch import nn

_MOST_ROWS = 256
_BLOCK_ROWS = 32
_TRIED = (*range(2, 18), 24, 31, 32, 33, 48, 64, 65, 100, 128, 255, 256)


class SteadyLinear(nn.Module):
    """A linear layer, made steady. is_even: whether rows_agree() of it."""

    def __init__(self, linear: nn.Module, *, is_even: bool) -> None:
        super().__init__()
        self._linear = linear
        self._is_even = is_even

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        parts = self._parts(rows)
        out = parts[0] if len(parts) == 1 else torch.cat(parts)
        return out[: len(rows)].reshape(*x.shape[:-1], out.shape[-1])

    def _parts(self, rows: torch.Tensor) -> list[torch.Tensor]:
        n, most, least = len(rows), _BLOCK_ROWS, _BLOCK_ROWS
        if self._is_even:
            most, least = _MOST_ROWS, 2
        missing = max(least - (n % most or most), 0) if n else least  # of the last part
        if missing:
            rows = torch.cat([rows, rows.new_zeros(missing, rows.shape[1])])
        return [self._linear(rows[at : at + most]) for at in range(0, len(rows), most)]


_known: dict[tuple[int, int, bool, torch.dtype], bool] = {}  # what trials told of each kind of layer on this machine


def steady(linear: nn.Module, like: nn.Linear) -> SteadyLinear:
    """linear, made from `like`, as a SteadyLinear."""
    kind = like.in_features, like.out_features, like.bias is not None, like.weight.dtype
    if kind not in _known:
        _known[kind] = rows_agree(linear, like.in_features, like.weight.dtype)
    return SteadyLinear(linear, is_even=_known[kind])


@torch.inference_mode()
def rows_agree(linear: nn.Module, n_inputs: int, dtype: torch.dtype) -> bool:
    """Whether a row is the same in any number of rows from 2 to 256, and in any place, as far as some trials tell: on
    one thread, and on as many as torch uses now."""
    rows = torch.randn(_MOST_ROWS, n_inputs, generator=torch.Generator().manual_seed(1)).to(dtype)
    threads = torch.get_num_threads()
    try:
        for count in sorted({1, threads}):
            torch.set_num_threads(count)
            whole = linear(rows)
            if not all(torch.equal(linear(rows[:n]), whole[:n]) for n in _TRIED):
                return False
            if not torch.equal(linear(rows.flip(0)), whole.flip(0)):
                return False
    finally:
        torch.set_num_threads(threads)
    return True
