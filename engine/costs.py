"""What a forward pass costs, learned from the passes made: time as a sum of what is in the pass. Pure; no clock here.

    seconds = fixed + decode_token * (tokens of decoding sequences) + decode_context * (tokens these read)
            + prefill_token * (prompt tokens) + prefill_context * (tokens in memory that their sequences read)
            + prefill_pair * (pairs of a prompt token and a token it attends to)

The six prices come from least squares over past passes, older ones counting ever less, each weighted by one over its
time, so that errors are relative and a pass that the machine held up weighs little. No price is below zero.
"""

from __future__ import annotations

import msgspec
import numpy as np

_FORGET = 0.98  # what a pass still counts after one more of its kind: the last fifty or so matter
# Where passes do not tell two prices apart, the one with the smaller part of the diagonal added gets the cost: a pass
# of eight sequences says nothing of one, and as they grow what it costs hardly does.
_RIDGES = np.array([1e-6, 1e-5, 3e-3, 1e-5, 1e-4, 1e-5])
_LATELY = 0.15
_SOLVE_EVERY = 8  # passes; as many as change little


class Work(msgspec.Struct, frozen=True):
    """What one pass computes."""

    decode_tokens: int = 0
    decode_context: int = 0
    prefill_tokens: int = 0
    prefill_context: int = 0
    prefill_pairs: float = 0.0

    @classmethod
    def of(cls, lengths: np.ndarray, before: np.ndarray, *, is_decoding: np.ndarray) -> Work:
        """(n,), of each sequence: its tokens in the pass, those in memory before, and whether it decodes or is a
        prompt."""
        if is_decoding.all():
            n_tokens = int(lengths.sum())
            return cls(n_tokens, n_tokens + int(before.sum()))
        decoded = np.where(is_decoding, lengths, 0)
        prompts = lengths - decoded
        all_before, decoded_before = int(before.sum()), int(before[is_decoding].sum())
        return cls(
            decode_tokens=int(decoded.sum()),
            decode_context=int(decoded.sum()) + decoded_before,
            prefill_tokens=int(prompts.sum()),
            prefill_context=all_before - decoded_before,
            prefill_pairs=float((prompts * (before + prompts / 2)).sum()),
        )

    def row(self) -> np.ndarray:
        """(6,) float64, beside the prices."""
        given = self.decode_tokens, self.decode_context, self.prefill_tokens, self.prefill_context, self.prefill_pairs
        return np.array([1.0, *given])


class Prices(msgspec.Struct, frozen=True):
    """Seconds for each part of a pass. All 0: nothing is known yet."""

    fixed: float = 0.0
    decode_token: float = 0.0
    decode_context: float = 0.0
    prefill_token: float = 0.0
    prefill_context: float = 0.0
    prefill_pair: float = 0.0

    def whole(self, work: Work) -> float:
        """Seconds of a whole pass."""
        decode = self.decode_token * work.decode_tokens + self.decode_context * work.decode_context
        prefill = self.prefill_token * work.prefill_tokens + self.prefill_context * work.prefill_context
        return self.fixed + decode + prefill + self.prefill_pair * work.prefill_pairs

    def decode(self, n_tokens: float, context: float) -> float:
        """Seconds that decoding tokens add to a pass."""
        return self.decode_token * n_tokens + self.decode_context * context

    def prefill(self, n_tokens: int, context: int) -> float:
        """Seconds that n_tokens of one prompt add, with `context` of its tokens in memory before."""
        pairs = n_tokens * (context + n_tokens / 2)
        return self.prefill_context * context + self.prefill_token * n_tokens + self.prefill_pair * pairs

    def affordable(self, seconds: float, context: int) -> float:
        """The most tokens of one prompt whose prefill() is within so many seconds; infinite where they cost nothing."""
        left = seconds - self.prefill_context * context
        if left <= 0:
            return 0.0
        linear, square = self.prefill_token + self.prefill_pair * context, self.prefill_pair / 2
        if not square:
            return left / linear if linear else float("inf")
        return 2 * left / (linear + (linear * linear + 4 * square * left) ** 0.5)


class PassCosts:
    """Learns prices. Passes with prompt tokens and those without are forgotten each at their own pace, so that a long
    spell of the one kind does not wipe out what is known of the other."""

    def __init__(self) -> None:
        self._squares = np.zeros((2, 6, 6))
        self._sums = np.zeros((2, 6))
        self._prices = Prices()
        self._n_new = 0
        self._n_all = 0
        self.slowness = 1.0  # of late: the times of mixed passes over what was expected of them

    def note(self, work: Work, seconds: float) -> None:
        """A pass took so long."""
        if seconds <= 0:
            return
        expected = self._prices.whole(work)
        if work.prefill_tokens and work.decode_tokens and expected:
            ratio = min(max(seconds / expected, 0.5), 2.0)  # one pass that was held up says little
            self.slowness += _LATELY * (ratio - self.slowness)
        kind = int(work.prefill_tokens > 0)
        row = work.row() / seconds
        self._squares[kind] = self._squares[kind] * _FORGET + np.outer(row, row)
        self._sums[kind] = self._sums[kind] * _FORGET + row
        self._n_new += 1
        self._n_all += 1

    @property
    def prices(self) -> Prices:
        """As of now, or of a few passes ago."""
        if self._n_new >= min(_SOLVE_EVERY, 1 + self._n_all // 16):
            self._n_new = 0
            self._prices = Prices(*_least_squares(self._squares.sum(axis=0), self._sums.sum(axis=0)).tolist())
        return self._prices


def _least_squares(squares: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Nearly the x >= 0 for which squares @ x is nearest to sums: what comes out negative is left out, worst first."""
    scale = np.sqrt(np.diag(squares))
    used = scale > 0
    found = np.zeros(len(sums))
    while used.any():
        size = scale[used]
        scaled = squares[np.ix_(used, used)] / np.outer(size, size) + np.diag(_RIDGES[used])
        solved = np.linalg.solve(scaled, sums[used] / size)
        if (solved >= 0).all():
            found[used] = solved / size
            break
        used[np.flatnonzero(used)[solved.argmin()]] = False
    return found
