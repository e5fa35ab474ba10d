"""Blocks: the pieces in which the KV of prefixes is kept outside of the page pool, and the names they are found by.

A block holds the KV of block_tokens consecutive tokens, and its name (`key`) is a digest of everything that decides
this KV: what computed it (the fingerprint), the namespace, and all tokens from the first to the block's last.

    key 0 = H(fingerprint, namespace, ids of block 0)      key n = H(key n-1, ids of block n)

So whoever finds a block by the name of a prefix has the KV of that prefix, and no other. What does not fill a block is
not kept.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np

KEY_BYTES = 16
_REMEMBERED = 1024  # prompts whose keys are remembered: those who wait are asked about at each step


class Block(NamedTuple):
    """depth: its number within its prefix, from 0.  ids: (block_tokens,) int32.

    data: (pages, page_bytes) uint8, as the memory that holds the pages copies them out.
    """

    key: bytes
    depth: int
    ids: np.ndarray
    data: np.ndarray


class BlockNames:
    """The names of blocks for one fingerprint.

    fingerprint: names the weights, tokenizer, number formats and code behind the KV; may have any length.
    """

    def __init__(self, fingerprint: bytes, block_tokens: int) -> None:
        if block_tokens < 1:
            raise ValueError(f"block_tokens is {block_tokens}; a block holds 1 token or more")
        self.fingerprint = hashlib.sha256(fingerprint + b"|%d" % block_tokens).digest()[:KEY_BYTES]
        self.block_tokens = block_tokens
        self._remembered = lru_cache(_REMEMBERED)(self._chain)

    def keys(self, ids: np.ndarray, namespace: str) -> tuple[bytes, ...]:
        """The keys of all whole blocks of a prefix (int32 ids), in order."""
        return self._remembered(namespace, ids[: len(ids) - len(ids) % self.block_tokens].tobytes())

    def _chain(self, namespace: str, ids: bytes) -> tuple[bytes, ...]:
        size = 4 * self.block_tokens
        key = hashlib.sha256(self.fingerprint + namespace.encode("utf-8", "surrogatepass")).digest()
        keys = []
        for start in range(0, len(ids), size):
            key = hashlib.sha256(key[:KEY_BYTES] + ids[start : start + size]).digest()
            keys.append(key[:KEY_BYTES])
        return tuple(keys)
