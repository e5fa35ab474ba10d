"""The seams inside the engine: what the step loop asks of a model and of the memory that holds its KV.

Implementations: `model.py` (transformers classes) with `memory_cpu.py` (segments and slabs); a paged pool on CUDA
behind the same two protocols; and the tests' stand-in with chosen logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import torch


class Few(NamedTuple):
    """For each of m rows of logits some token ids, where they are few.

    counts: (m,) int32, how many they are; -1: not few, the row is about all tokens.
    ids: (m, most) int64, the first `counts` ascending; then the first again, as far as any row with few of them goes.
    """

    counts: np.ndarray
    ids: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[np.ndarray | None]) -> Few:
        """From the ids of each row; None: all tokens."""
        counts = np.array([-1 if row is None else len(row) for row in rows], dtype=np.int32)
        few = cls(counts, np.zeros((len(rows), max(1, counts.max(initial=0))), dtype=np.int64))
        for number, row in enumerate(rows):
            few.put(number, row)
        return few

    def put(self, row: int, ids: np.ndarray | None) -> None:
        """The row is about these ids; None: about all tokens."""
        self.counts[row] = -1 if ids is None else len(ids)
        if ids is not None and len(ids):
            self.ids[row] = ids[0]
            self.ids[row, : len(ids)] = ids


class ForwardBatch(msgspec.Struct, frozen=True, kw_only=True):
    """One packed ragged step: prefill chunks, decodes and drafts together. T packed tokens of n sequences.

    Tokens of sequence i stand at token_ids[sum(lengths[:i]) : sum(lengths[:i+1])], at positions
    starts[i] .. starts[i] + lengths[i] - 1 of that sequence.
    """

    token_ids: np.ndarray  # (T,) int64
    positions: np.ndarray  # (T,) int64
    slots: np.ndarray  # (n,) int32: memory slots from Memory.open
    starts: np.ndarray  # (n,) int32: tokens of the sequence already in memory before this step
    lengths: np.ndarray  # (n,) int32: new tokens of the sequence in this step, each >= 1
    logit_rows: np.ndarray  # (m,) int64: the packed tokens whose logits are wanted
    wanted: Few | None = None  # (m,): the ids whose logits are; None: all of every row


class Memory(Protocol):
    """Owns the KV of every token. Pages are what the radix tree remembers; slots are running sequences.

    A page holds the KV of `page_tokens` consecutive tokens, in all layers. Who owns a page, at each moment:
    free (memory) -> share() gives it to the caller, who inserts it in the tree -> evicted: give_back() -> free.
    """

    page_tokens: int
    page_bytes: int
    total_pages: int

    @property
    def free_pages(self) -> int: ...

    def open(self, pages: np.ndarray, n_cached: int, capacity: int) -> int | None:
        """Start a sequence with room for `capacity` tokens; None when there is no room now (nothing is changed).

        pages: int32, the tree's pages of its first n_cached tokens; they must stay locked until close() or adopt().
        """
        ...

    def share(self, slot: int, start: int, stop: int) -> np.ndarray | None:
        """Pages (int32) that hold tokens [start, stop) of the sequence, now owned by the caller; None: no room.

        start and stop are multiples of page_tokens. The sequence goes on reading the same values.
        """
        ...

    def adopt(self, slot: int, pages: np.ndarray, n_cached: int) -> None:
        """Read the first n_cached tokens of the sequence from the tree's pages from now on (same values)."""
        ...

    def truncate(self, slot: int, n_tokens: int) -> None:
        """Forget tokens from n_tokens on (rejected drafts)."""
        ...

    def close(self, slot: int) -> None:
        """End a sequence; its own room is free again."""
        ...

    def give_back(self, pages: np.ndarray) -> None:
        """Pages the tree evicted, or never took, are free again."""
        ...

    def copy_out(self, pages: np.ndarray) -> np.ndarray:
        """The contents of pages somebody owns, (pages, page bytes) uint8 in host memory, the caller's own.

        The same bytes in any memory of the same model, number format and page_tokens.
        """
        ...

    def copy_in(self, pieces: Sequence[np.ndarray]) -> np.ndarray | None:
        """Pages (int32), now owned by the caller, with what copy_out() gave, one piece after the other; None: no room.

        The pieces are not changed, and not looked at after this returns.
        """
        ...


class Model(Protocol):
    """A loaded model with its memory."""

    vocab_size: int  # the width of its logits, which may exceed the tokenizer's
    context_tokens: int

    @property
    def memory(self) -> Memory:
        """Where its KV is."""
        ...

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        """Write KV of the batch's tokens into memory and return logits, (m, vocab_size) float32.

        Logits that are not wanted may be anything.
        """
        ...
