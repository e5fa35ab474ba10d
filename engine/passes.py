"""One pass of the model: whose tokens go through it, their packed batch, and how far drafts prove right."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np

from .book import Book
from .drafts import Draft
from .ports import Few, ForwardBatch
from .running import Running, Sequence

_MOST_FEW = 64  # ids of a row with few of them: as many as a grammar lists


@dataclass(slots=True)
class Checked:
    """A sequence, its draft, and how far the two agree while its tokens are settled one by one.

    n_own: the tokens the sequence had before the draft.  first_row: the first of the draft's rows of logits.
    n_settled: rows settled so far.  n_kept: the draft's tokens that the sequence has now taken for its own.
    """

    running: Running
    draft: Draft
    n_own: int
    first_row: int = 0
    n_settled: int = 0
    n_kept: int = 0

    @property
    def sequence(self) -> Sequence:
        return self.running.sequence

    @property
    def row(self) -> int:
        """The row of logits to settle next."""
        return self.first_row + self.n_settled

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
class Sampled:
    """The sequences for which a pass chooses tokens, k of them, and their rows of logits, m of them in that order.

    seats, first_rows: (k,) int64.  row_seats: (m,), whose row it is.  row_ids: (m,) int32, its mask row.
    few: the tokens it allows, where they are few.  drafted: those that have a draft.
    """

    running: list[Running]
    seats: np.ndarray
    first_rows: np.ndarray
    row_seats: np.ndarray
    row_ids: np.ndarray
    few: Few
    drafted: list[Checked]

    @property
    def sequences(self) -> list[Sequence]:
        return [each.sequence for each in self.running]

    def rows(self, number: int) -> slice:
        """All rows of the sequence of this number."""
        stop = self.first_rows[number + 1] if number + 1 < len(self.first_rows) else len(self.row_seats)
        return slice(int(self.first_rows[number]), int(stop))


@dataclass(slots=True)
class Load:
    """One step's sequences and their packed batch. seats: (n,) int64.  lengths: (n,) int64, their own tokens in it,
    drafts not counted.  sampled: those whose last token is in it; None: not known here."""

    running: list[Running]
    seats: np.ndarray
    lengths: np.ndarray
    batch: ForwardBatch
    sampled: Sampled | None = None

    @property
    def n_drafted(self) -> float | None:
        """Guessed tokens of each sequence for which a token is chosen, on average; None: there are none known."""
        if self.sampled is None or not self.sampled.running:
            return None
        return sum(len(each.draft.tokens) for each in self.sampled.drafted) / len(self.sampled.running)


class _Buffers:
    """Memory for batches of so many sequences or rows of logits, and so many tokens."""

    def __init__(self, n_rows: int, n_tokens: int) -> None:
        self.n_rows, self.n_tokens = n_rows, n_tokens
        self.token_ids, self.positions = np.empty((2, n_tokens), dtype=np.int64)
        self.slots, self.starts, self.lengths = np.empty((3, n_rows), dtype=np.int32)
        self.logit_rows, self.row_seats = np.empty((2, n_rows), dtype=np.int64)
        self.row_ids, self.n_few, self.n_wanted = np.empty((3, n_rows), dtype=np.int32)
        self.few_ids = np.zeros((n_rows, _MOST_FEW), dtype=np.int64)
        self.up = np.arange(max(n_rows, n_tokens))


class Packer:
    """Makes batches, each in the memory of the one before: what it gives holds until the next one."""

    def __init__(self, book: Book, n_rows: int = 64, n_tokens: int = 2048) -> None:
        """n_rows, n_tokens: of batches, as far as known."""
        self._book = book
        self._buffers = _Buffers(n_rows, n_tokens)

    def pack(
        self,
        running: list[Running],
        seats: np.ndarray,
        lengths: np.ndarray,
        at: np.ndarray,
        drafts: SequenceOf[Draft] | None,
    ) -> Load:
        """The batch of these sequences. seats, lengths: (n,) int64, how many tokens of each, drafts not counted.

        at: (k,), which of them choose a token.  drafts: of each of these k; None: there are none.
        """
        book = self._book
        chosen = running if len(at) == len(running) else [running[number] for number in at.tolist()]
        drafted = {} if drafts is None else self._put_behind(chosen, drafts)
        n_all, n_asked = lengths.copy(), np.ones(len(at), dtype=np.int64)
        for number, each in drafted.items():
            n_all[at[number]] += len(each.draft.tokens)
            n_asked[number] = len(each.draft.asked)
        stops = np.cumsum(n_all)
        firsts, n, n_tokens, m = stops - n_all, len(seats), int(stops[-1]), int(n_asked.sum())
        to = self._with_room(max(n, m), n_tokens)
        to.slots[:n], to.starts[:n], to.lengths[:n] = book.slot[seats], book.n_computed[seats], n_all
        owners = np.repeat(to.up[:n], n_all)
        positions = np.add(to.up[:n_tokens], (to.starts[:n] - firsts)[owners], out=to.positions[:n_tokens])
        to.token_ids[:n_tokens] = book.ids[book.id_row[seats][owners], positions]
        to.logit_rows[:m] = np.repeat((firsts + lengths - 1)[at], n_asked)
        sampled = self._rows(to, chosen, seats[at], n_asked, drafted)
        to.n_wanted[:m] = np.where(book.over_vocabulary[sampled.row_seats], -1, sampled.few.counts)
        batch = ForwardBatch(
            token_ids=to.token_ids[:n_tokens],
            positions=positions,
            slots=to.slots[:n],
            starts=to.starts[:n],
            lengths=to.lengths[:n],
            logit_rows=to.logit_rows[:m],
            wanted=Few(to.n_wanted[:m], sampled.few.ids),
        )
        return Load(running, seats, lengths, batch, sampled)

    def _with_room(self, n_rows: int, n_tokens: int) -> _Buffers:
        """The buffers; larger ones where these do not do."""
        to = self._buffers
        if n_rows > to.n_rows or n_tokens > to.n_tokens:
            to = self._buffers = _Buffers(max(n_rows, 2 * to.n_rows), max(n_tokens, 2 * to.n_tokens))
        return to

    def _put_behind(self, chosen: list[Running], drafts: SequenceOf[Draft]) -> dict[int, Checked]:
        """Write each draft's tokens behind its sequence's own. Those that have any, by number."""
        book, drafted = self._book, {}
        for number, (running, draft) in enumerate(zip(chosen, drafts, strict=True)):
            if draft.tokens:
                n_own = len(running.sequence.ids)
                book.ids[book.id_row[running.seat], n_own : n_own + len(draft.tokens)] = draft.tokens
                drafted[number] = Checked(running, draft, n_own)
        return drafted

    def _rows(
        self, to: _Buffers, chosen: list[Running], seats: np.ndarray, n_asked: np.ndarray, drafted: dict[int, Checked]
    ) -> Sampled:
        """The rows of logits. to.logit_rows holds each one's last own token; drafts move theirs on."""
        book, m = self._book, int(n_asked.sum())
        first_rows = np.cumsum(n_asked) - n_asked
        row_seats = np.take(seats, np.repeat(to.up[: len(seats)], n_asked), out=to.row_seats[:m], mode="clip")
        to.row_ids[:m], to.n_few[:m] = book.row_id[row_seats], book.n_few[row_seats]
        few = Few(to.n_few[:m], to.few_ids[:m])
        with_few = np.flatnonzero(few.counts >= 0)
        for row, sequence in zip(with_few.tolist(), book.at(row_seats[with_few]), strict=True):
            assert sequence.grammar is not None
            assert sequence.grammar.few is not None
            few.put(row, sequence.grammar.few)
        for number, each in drafted.items():
            each.first_row = int(first_rows[number])
            for row, asked in enumerate(each.draft.asked[1:], each.first_row + 1):
                to.logit_rows[row] += asked.n_before
                to.row_ids[row] = asked.row_id
                few.put(row, asked.few_allowed)
        return Sampled(chosen, seats, first_rows, row_seats, to.row_ids[:m], few, list(drafted.values()))
