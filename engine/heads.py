"""The output layer: logits of all tokens, or where a grammar leaves few of them, of these alone.

Such rows cost a product with a few rows of the weight instead of all of them: with 32,000 tokens of 768 numbers a batch
of such rows takes 0.6 ms instead of 17 at 32 rows, and 0.02 instead of 7 for one. The few rows are read from the weight
as it is, so only of a layer that shares it with the embedding; another would have to be held twice.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .linears import Format, packed
from .ports import Few

_WIDE = 8192  # tokens; a narrower layer is done before the few rows are picked out


class Head:
    """A model's output layer. embedding: its input layer's weight, (vocab, width)."""

    def __init__(
        self, linear: nn.Linear, embedding: torch.Tensor, weights: Format = "model", *, wide: int = _WIDE
    ) -> None:
        """weights: the format of products with all tokens. wide: with fewer, all logits are computed always."""
        shared = linear.weight.data_ptr() == embedding.data_ptr() and linear.bias is None
        self._rows = embedding if shared and len(embedding) >= wide else None
        self._packed = packed(linear, weights)

    def __call__(self, hidden: torch.Tensor, wanted: Few | None) -> torch.Tensor:
        """hidden (m, width) -> logits (m, vocab); what was not wanted of a row may hold anything.

        wanted: at least one id of each row that has few.  What a row gives does not depend on the others.
        """
        if self._rows is None or wanted is None or not (is_few := wanted.counts >= 0).any():
            return self._packed(hidden)
        logits = hidden.new_empty(len(hidden), len(self._rows))
        if not is_few.all():
            all_of = torch.from_numpy(np.flatnonzero(~is_few))
            logits[all_of] = self._packed(hidden[all_of])
        at = np.flatnonzero(is_few)
        few = torch.from_numpy(at)
        ids = torch.from_numpy(wanted.ids[at, : wanted.counts[at].max()])
        products = functional.embedding(ids, self._rows).float() * hidden[few].float()[:, None]
        logits[few[:, None], ids] = products.sum(dim=2).to(logits.dtype)
        return logits
