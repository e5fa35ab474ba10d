"""One pass of the model: whose tokens go through it, their packed batch, and how far drafts prove right."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np

from .drafts import Draft
from .ports import ForwardBatch
from .running import Running, Sequence


@dataclass(slots=True)
class Checked:
    """A sequence, its draft, and how far the two agree while its tokens are settled one by one.

    first_row: the first of the draft's rows of logits.  n_own: the tokens the sequence had before the draft.
    n_settled: rows settled so far.  n_kept: the draft's tokens that the sequence has now taken for its own.
    """

    running: Running
    draft: Draft
    first_row: int
    n_own: int
    is_forced: bool  # the token after it is forced, and settled by itself
    n_settled: int = 0
    n_kept: int = 0

    @property
    def sequence(self) -> Sequence:
        return self.running.sequence

    @property
    def key(self) -> int:
        return self.running.key

    @property
    def n_chosen(self) -> int:
        """The rows settled so far whose token was chosen, by a random number of its own."""
        return self.n_settled - self.is_forced

    @property
    def row(self) -> int:
        """The row of logits to settle next."""
        return self.first_row + self.n_settled

    @property
    def rows(self) -> range:
        """All its rows of logits."""
        return range(self.first_row, self.first_row + len(self.draft.asked))

    def agrees(self) -> bool:
        """Called when a row has been settled. Whether the next one is about the text that the sequence has now."""
        self.n_settled += 1
        added = self.sequence.ids.view[self.n_own + self.n_kept :].tolist()
        drafted = self.draft.tokens[self.n_kept : self.n_kept + len(added)]
        n_same = next((n for n, pair in enumerate(zip(added, drafted, strict=False)) if pair[0] != pair[1]), None)
        self.n_kept += len(drafted) if n_same is None else n_same
        if n_same is not None or len(drafted) < len(added) or self.n_settled == len(self.draft.asked):
            return False
        return self.draft.asked[self.n_settled].n_before == self.n_kept


@dataclass(slots=True)
class Load:
    """One step's sequences and their packed batch. lengths: their own tokens in it, drafts not counted.

    sampled: those whose last token is in it, with their drafts and rows of logits, in row order.
    """

    running: list[Running]
    lengths: list[int]
    sampled: list[Checked]
    batch: ForwardBatch


def with_rows(sampled: SequenceOf[Running], drafts: SequenceOf[Draft]) -> list[Checked]:
    """The sequences with their drafts, whose rows of logits stand in this order."""
    checked, first_row = [], 0
    for running, draft in zip(sampled, drafts, strict=True):
        is_forced = bool(running.sequence.forced_ahead)
        checked.append(Checked(running, draft, first_row, len(running.sequence.ids), is_forced))
        first_row += len(draft.asked)
    return checked


def pack(loaded: list[Running], starts: np.ndarray, stops: np.ndarray, sampled: list[Checked]) -> Load:
    """starts, stops: (n,) int32, each sequence's own tokens in this pass; the drafts of those sampled follow them."""
    checked = {each.key: each for each in sampled}
    parts: list[np.ndarray] = []
    lengths: list[int] = []
    rows: list[int] = []
    wanted: list[np.ndarray | None] = []
    n_tokens = 0
    for running, start, stop in zip(loaded, starts.tolist(), stops.tolist(), strict=True):
        parts.append(running.sequence.ids.view[start:stop])
        length = stop - start
        each = checked.get(running.key)
        if each is not None:
            rows += [n_tokens + length - 1 + asked.n_before for asked in each.draft.asked]
            wanted += [None if each.sequence.over_vocabulary else asked.few_allowed for asked in each.draft.asked]
            if each.draft.tokens:
                parts.append(np.array(each.draft.tokens, dtype=np.int32))
                length += len(each.draft.tokens)
        lengths.append(length)
        n_tokens += length
    firsts = np.cumsum(lengths) - lengths
    batch = ForwardBatch(
        token_ids=np.concatenate(parts).astype(np.int64),
        positions=np.arange(n_tokens) + np.repeat(starts - firsts, lengths),
        slots=np.array([running.room.slot for running in loaded], dtype=np.int32),
        starts=starts,
        lengths=np.array(lengths, dtype=np.int32),
        logit_rows=np.array(rows, dtype=np.int64),
        wanted=wanted,
    )
    return Load(loaded, (stops - starts).tolist(), sampled, batch)
