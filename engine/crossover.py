"""Where reading keys together becomes cheaper than reading them token by token: measured when a model loads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from .geometry import LayerGeometry

_KEYS = 1024
_FEW, _MANY = 4, 32  # tokens
_ROUNDS = 5


class Costs(NamedTuple):
    """Seconds of attention in one layer.

    near: of a token and a key by attend_rows. call: of a product, whatever its size; key: and for each key; pair: and
    for each token and key.
    """

    near: float
    call: float
    key: float
    pair: float

    def product_pays(self, n_tokens: int, n_keys: int) -> bool:
        """Whether so many tokens read so many keys sooner as one product."""
        pairs = n_tokens * n_keys
        return self.near * pairs > self.call + self.key * n_keys + self.pair * pairs


TYPICAL = Costs(near=8e-8, call=6e-5, key=1e-7, pair=3e-8)
"""Of a model of 12 heads on a core with 512-bit vectors: for tests and trials."""


def measure(layer: LayerGeometry, dtype: torch.dtype, clock: Callable[[], float] = time.perf_counter) -> Costs:
    """The costs of a layer like this one, here and now; takes some hundredths of a second."""
    from .attention import attend_near, attend_product

    keys, values = (torch.zeros(layer.kv_heads, _KEYS, dim, dtype=dtype) for dim in (layer.key_dim, layer.value_dim))
    shape = layer.kv_heads, layer.groups, layer.key_dim

    def near(n_tokens: int, n_keys: int) -> Callable[[], object]:
        queries = torch.zeros(n_tokens, *shape, dtype=dtype)
        return lambda: attend_near(queries, keys, values, n_keys)

    def product(n_tokens: int, n_keys: int) -> Callable[[], object]:
        queries = torch.zeros(n_tokens, *shape, dtype=dtype)
        return lambda: attend_product(queries, keys[:, :n_keys], values[:, :n_keys])

    loads = [near(_FEW, _KEYS), product(_FEW, 16), product(_FEW, _KEYS), product(_MANY, _KEYS)]
    seconds = _least(loads, clock)
    pair = max((seconds[3] - seconds[2]) / ((_MANY - _FEW) * _KEYS), 0.0)
    key = max((seconds[2] - seconds[1]) / (_KEYS - 16) - _FEW * pair, 0.0)
    return Costs(near=float(seconds[0]) / (_FEW * _KEYS), call=float(seconds[1]), key=float(key), pair=float(pair))


def _least(loads: list[Callable[[], object]], clock: Callable[[], float]) -> np.ndarray:
    """Seconds of each, the least of some rounds in turn: what others do on the machine only adds."""
    times = np.empty((_ROUNDS, len(loads)))
    for load in loads:
        load()
    for n_round in range(_ROUNDS):
        for number, load in enumerate(loads):
            began = clock()
            load()
            times[n_round, number] = clock() - began
    return times.min(axis=0)
