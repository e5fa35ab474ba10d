"""The output layer: logits of all tokens, or where a grammar leaves few of them, of these alone.

Such rows cost a product with a few rows of the weight instead of all of them: with 32,000 tokens of 768 numbers a batch
of such rows takes 0.6 ms instead of 17 at 32 rows, and 0.02 instead of 7 for one. The few rows are read from the weight
as it is, so only of a layer that shares it with the embedding; another would have to be held twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .linears import Format, packed

_WIDE = 8192  # tokens; a narrower layer is done before the few rows are picked out

Wanted = Sequence[np.ndarray | None]
"""For each row the ids of the tokens whose logits are wanted, at least one; None: all tokens."""


class Head:
    """A model's output layer. embedding: its input layer's weight, (vocab, width)."""

    def __init__(
        self, linear: nn.Linear, embedding: torch.Tensor, weights: Format = "model", *, wide: int = _WIDE
    ) -> None:
        """weights: the format of products with all tokens. wide: with fewer, all logits are computed always."""
        shared = linear.weight.data_ptr() == embedding.data_ptr() and linear.bias is None
        self._rows = embedding if shared and len(embedding) >= wide else None
        self._packed = packed(linear, weights)

    def __call__(self, hidden: torch.Tensor, wanted: Wanted | None) -> torch.Tensor:
        """hidden (m, width) -> logits (m, vocab); what was not wanted of a row may hold anything.

        What a row gives does not depend on the others.
        """
        few = [] if wanted is None else [row for row, ids in enumerate(wanted) if ids is not None]
        if self._rows is None or wanted is None or not few:
            return self._packed(hidden)
        logits = hidden.new_empty(len(hidden), len(self._rows))
        all_of = [row for row, ids in enumerate(wanted) if ids is None]
        if all_of:
            logits[all_of] = self._packed(hidden[all_of])
        ids = torch.from_numpy(_padded([ids for ids in wanted if ids is not None]))
        products = functional.embedding(ids, self._rows).float() * hidden[few].float()[:, None]
        logits[torch.tensor(few)[:, None], ids] = products.sum(dim=2).to(logits.dtype)
        return logits


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """The rows side by side, (n, longest) int64; shorter ones go on with their first id."""
    padded = np.repeat(np.array([row[0] for row in rows], dtype=np.int64)[:, None], max(map(len, rows)), axis=1)
    for into, row in zip(padded, rows, strict=True):
        into[: len(row)] = row
    return padded
