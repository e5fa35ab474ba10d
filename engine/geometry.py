"""The shape of a model's attention, layer by layer, and how much KV memory it is to get. Pure; no model in sight."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

_SEQUENCES_OF_FULL_CONTEXT = 64  # more KV than this many whole contexts is never asked for by default
_SHARE_OF_FREE_MEMORY = 0.4  # weights are loaded already; the rest is left to activations and to others


class LayerGeometry(msgspec.Struct, frozen=True, kw_only=True):
    """What one attention layer reads and writes.

    window: a query at position p sees the keys at p - window + 1 .. p; None: all keys up to p.
    softcap: scores become softcap * tanh(scores / softcap) before the softmax; None: as they are.
    has_sinks: one learned logit per query head joins the softmax and carries no value.
    """

    query_heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    window: int | None = None
    softcap: float | None = None
    has_sinks: bool = False

    @property
    def groups(self) -> int:
        """Query heads that read the same KV head."""
        return self.query_heads // self.kv_heads


def token_bytes(layers: Sequence[LayerGeometry], item_bytes: int) -> int:
    """Bytes of KV of one token in all layers."""
    return item_bytes * sum(layer.kv_heads * (layer.key_dim + layer.value_dim) for layer in layers)


def kv_tokens(bytes_per_token: int, context_tokens: int, kv_bytes: int | None) -> int:
    """How many tokens of KV to hold: as many as kv_bytes holds, or (None) a share of the host's free memory."""
    if kv_bytes is not None:
        return max(0, kv_bytes // bytes_per_token)
    by_memory = int(free_host_bytes() * _SHARE_OF_FREE_MEMORY) // bytes_per_token
    return min(by_memory, context_tokens * _SEQUENCES_OF_FULL_CONTEXT)


def free_host_bytes() -> int:
    """Memory this process can still take without swapping: the host's, or what its cgroup leaves when that is less."""
    return min(_host_available(), _cgroup_available())


def _host_available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2  # not Linux: free memory is not told


def _cgroup_available() -> int:
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            return max(0, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such file, or "max": no limit
            continue
    return 1 << 62
