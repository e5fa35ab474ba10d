"""After sampling: tokens join their sequences, grammars advance, forced tokens follow, text is cut, ends are seen."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np

from .book import Book
from .grammars import Grammars, Taken
from .running import Sequence
from .sample import Logprob
from .types import Delta, FinishReason, Sampling, TokenLogprob

Ends = dict[int, FinishReason | Exception]
"""The sequences that ended, by key: how they finished, or what they failed with."""

_CERTAIN = 0.0  # the natural log of 1


class LogitsGone(Exception):
    """The close-out rule forbids the sampled token, and the logits by which another were chosen are not there any more.

    Nothing has changed in the sequence: it may be sampled again.
    """


class Chosen(Protocol):
    """What is known of the logits that tokens were chosen by: all of it (sample.Scores), or what a device told."""

    def logprob(self, row: int, token_id: int, n_top: int) -> Logprob:
        """See sample.Scores."""
        ...

    def preferred(self, row: int, sampling: Sampling, random: np.random.Generator) -> np.ndarray:
        """See sample.Scores. May raise LogitsGone."""
        ...


class Settler:
    """Adds tokens to sequences, which are named by their seats. eos_ids: tokens that end the output (and are no part
    of it)."""

    def __init__(self, book: Book, grammars: Grammars | None, eos_ids: frozenset[int]) -> None:
        self._book = book
        self._grammars = grammars
        self._eos_ids = eos_ids
        self._eos = np.array(sorted(eos_ids), dtype=np.int64)

    def settle(self, seats: np.ndarray, rows: np.ndarray, tokens: np.ndarray, scores: Chosen) -> Ends:
        """Add the sampled token of each sequence (or the next best that the close-out rule allows), then forced ones.

        seats, rows, tokens: (n,) int64, the tokens sampled from these rows of the scores. A sequence that needs a next
        best token, where the scores do not know it, ends in LogitsGone, and nothing has changed in it.
        """
        book = self._book
        ends: Ends = {}
        is_end = (tokens[:, None] == self._eos).any(axis=1) & book.ends_at_eos[seats]
        if is_end.any():
            ends.update(dict.fromkeys(book.key[seats[is_end]].tolist(), "stop"))
            seats, rows, tokens = seats[~is_end], rows[~is_end], tokens[~is_end]
        is_bound = book.grammar[seats] >= 0
        if not is_bound.all():
            self._settle_free(seats[~is_bound], rows[~is_bound], tokens[~is_bound], scores, ends)
            seats, rows, tokens = seats[is_bound], rows[is_bound], tokens[is_bound]
        if len(seats):
            self._settle_bound(seats, rows, tokens, scores, ends)
            ends |= self.run_forced(self._going(seats, ends))
        return ends

    def run_forced(self, seats: np.ndarray) -> Ends:
        """Add tokens to constrained sequences as long as their grammar forces them; end those that are complete.

        That takes no choice of text from the model, and all of them go through it together in the next pass; but a
        sequence whose logprobs are over the vocabulary takes one a pass, as the only token its place allows.
        Afterwards the mask row of each is known.
        """
        ends: Ends = {}
        while len(seats) and len(seats := self._look(seats)):
            self._end_complete(seats, ends)
            seats = self._going(seats, ends)
            runs = self._add_runs(seats[~self._book.watched[seats]])
            forced = self._forced(seats[[seat not in runs for seat in seats.tolist()]] if runs else seats)
            self._add_forced(forced, ends)
            seats = self._going(_seats(runs | forced), ends)
        return ends

    # -- the model's tokens -------------------------------------------------------------------------------------

    def _settle_free(self, seats: np.ndarray, rows: np.ndarray, tokens: np.ndarray, scores: Chosen, ends: Ends) -> None:
        self._add(seats, rows, tokens, scores, ends)
        for key in self._book.key[seats[self._book.remaining(seats) == 0]].tolist():
            ends.setdefault(key, "length")

    def _settle_bound(
        self, seats: np.ndarray, rows: np.ndarray, tokens: np.ndarray, scores: Chosen, ends: Ends
    ) -> None:
        """Those that have a grammar."""
        assert self._grammars is not None
        refused = self._grammars.take(self._book, seats, tokens)
        odd = self._book.over_vocabulary[seats]
        odd[list(refused)] = True
        if not odd.any():  # as it mostly is
            self._add(seats, rows, tokens, scores, ends)
            return
        self._add(seats[~odd], rows[~odd], tokens[~odd], scores, ends)
        at = np.flatnonzero(odd)
        for n, sequence in zip(at.tolist(), self._book.at(seats[at]), strict=True):
            token = int(tokens[n])
            is_forced = sequence.forced_ahead[:1] == (token,)
            answer = refused.get(n, Taken(token))
            answer = self._add_taken(sequence, answer, scores, int(rows[n]), ends, is_forced=is_forced)
            sequence.forced_ahead = sequence.forced_ahead[1:] if is_forced and answer.token == token else ()

    # -- forced tokens ------------------------------------------------------------------------------------------

    def _look(self, seats: np.ndarray) -> np.ndarray:
        """Note of each place its mask row. Those that may be complete, or have tokens forced: few."""
        assert self._grammars is not None
        book = self._book
        self._grammars.look_at(book, seats)
        if self._grammars.has_errors:
            return seats
        return seats[(book.n_few[seats] >= 0) | book.over_vocabulary[seats] | (book.remaining(seats) == 0)]

    def _end_complete(self, seats: np.ndarray, ends: Ends) -> None:
        """End those that can go on no further, may only end, or have no tokens left; in this order."""
        assert self._grammars is not None
        book, grammars = self._book, self._grammars
        if not book.remaining(seats).all():
            ends.update(dict.fromkeys(book.key[seats[book.remaining(seats) == 0]].tolist(), "length"))
        n_few = book.n_few[seats]
        for sequence in book.at(seats[(n_few > 0) & (n_few <= grammars.n_eos)]):
            assert sequence.grammar is not None
            if grammars.is_finished(sequence.grammar):
                ends[sequence.key] = "stop"
        for sequence in book.at(seats) if grammars.has_errors else ():
            assert sequence.grammar is not None
            if (error := grammars.error_of(sequence.grammar)) is not None:
                ends[sequence.key] = error

    def _forced(self, seats: np.ndarray) -> dict[int, tuple[int, ...]]:
        """The tokens that are to be added to each sequence now, by seat. One that takes them one by one has its next
        one as the only token allowed."""
        assert self._grammars is not None
        forced = {}
        for sequence in self._book.at(seats):
            place = sequence.grammar
            assert place is not None
            tokens = self._grammars.forced(place)
            tokens = () if tokens and tokens[0] in self._eos_ids else tokens
            if sequence.over_vocabulary:
                sequence.forced_ahead = sequence.forced_ahead or tokens
                if sequence.forced_ahead:
                    place.note(place.row_id, np.array(sequence.forced_ahead[:1]))
            elif tokens:
                forced[sequence.seat] = tokens
        return forced

    def _add_runs(self, seats: np.ndarray) -> dict[int, tuple[int, ...]]:
        """Add all that is forced at once, far from the limit, to sequences of which nothing but their text is looked
        at. The tokens of those that have gone on, by seat."""
        assert self._grammars is not None
        runs = self._grammars.run_on(self._book, seats)
        for sequence, run in zip(self._book.at(_seats(runs)), runs.values(), strict=True):
            n_before = len(sequence.ids)
            sequence.forced_at.update(range(n_before, n_before + len(run)))
            sequence.ids.extend(run)
            for token in run:
                sequence.unsent_text += sequence.text.push(token)
        return runs

    def _add_forced(self, forced: dict[int, tuple[int, ...]], ends: Ends) -> None:
        """Add tokens to each in turn, until it ends or the close-out rule takes another way."""
        assert self._grammars is not None
        seats, at = _seats(forced), 0
        while len(seats):
            tokens = np.fromiter((forced[seat][at] for seat in seats.tolist()), dtype=np.int64, count=len(seats))
            at += 1
            refused = self._grammars.take(self._book, seats, tokens)
            going = np.ones(len(seats), dtype=bool)
            for n, (sequence, token) in enumerate(zip(self._book.at(seats), tokens.tolist(), strict=True)):
                answer = self._add_taken(sequence, refused.get(n, Taken(token)), None, 0, ends, is_forced=True)
                going[n] = sequence.key not in ends and answer.token == token and at < len(forced[sequence.seat])
            seats = seats[going]

    def _going(self, seats: np.ndarray, ends: Ends) -> np.ndarray:
        """Those that have not ended."""
        if not ends:
            return seats
        return seats[[key not in ends for key in self._book.key[seats].tolist()]]

    # -- one token ----------------------------------------------------------------------------------------------

    def _add_taken(
        self, sequence: Sequence, answer: Taken, scores: Chosen | None, row: int, ends: Ends, *, is_forced: bool
    ) -> Taken:
        """Add what was taken; or, where nothing was, what the close-out rule allows.

        is_forced: the text is.  scores None: it was not the model that was asked.
        """
        if answer.error is None and answer.token is None:
            try:
                answer = self._close_out(sequence, None if is_forced else scores, row)
            except LogitsGone as gone:
                answer = Taken(None, gone)
        if answer.error is not None:
            ends[sequence.key] = answer.error
        elif answer.token is not None and answer.token in self._eos_ids:
            ends[sequence.key] = "length"
        elif answer.token is not None:
            if is_forced:
                sequence.forced_at.add(len(sequence.ids))
            sequence.ids.append(answer.token)
            self._note(sequence, answer.token, scores, row, ends)
        return answer

    def _close_out(self, sequence: Sequence, scores: Chosen | None, row: int) -> Taken:
        """The token that the model likes best among those that leave room to finish, taken."""
        assert self._grammars is not None
        assert sequence.grammar is not None
        preferred = np.zeros(0, np.int64)  # where text is forced there is nothing to choose but how it is spelled
        if scores is not None:
            preferred = scores.preferred(row, sequence.request.sampling, sequence.draws.aside(sequence.n_output))
            sequence.grammar.closed_early = True
        return self._grammars.close_out(sequence.grammar, preferred, sequence.remaining)

    def _add(self, seats: np.ndarray, rows: np.ndarray, tokens: np.ndarray, scores: Chosen, ends: Ends) -> None:
        """Each sequence has one more token, sampled from these rows. They run."""
        book = self._book
        book.push(seats, tokens)
        for sequence, token in zip(book.at(seats), tokens.tolist(), strict=True):
            sequence.unsent_text += sequence.text.push(token)
        is_watched = book.watched[seats]
        if not is_watched.any():
            return
        watched = np.flatnonzero(is_watched)
        for n, sequence in zip(watched.tolist(), book.at(seats[watched]), strict=True):
            self._watch(sequence, int(tokens[n]), scores, int(rows[n]), ends)

    def _note(self, sequence: Sequence, token: int, scores: Chosen | None, row: int, ends: Ends) -> None:
        """A sequence has one more token. scores None: it was forced."""
        sequence.unsent_text += sequence.text.push(token)
        self._watch(sequence, token, scores, row, ends)

    def _watch(self, sequence: Sequence, token: int, scores: Chosen | None, row: int, ends: Ends) -> None:
        """Note how likely the last token was, where that is asked; and whether a stop string is complete."""
        if (n_top := sequence.request.top_logprobs) is not None:
            likelihood = _forced(token, n_top) if scores is None else scores.logprob(row, token, n_top)
            sequence.unsent_logprobs.append(_token_logprob(sequence, token, likelihood))
        if sequence.text.matched_stop is not None:
            ends[sequence.key] = "stop"


def _seats(of: Collection[int]) -> np.ndarray:
    return np.fromiter(of, dtype=np.int64, count=len(of))


def _forced(token: int, n_top: int) -> Logprob:
    return Logprob(_CERTAIN, [(token, _CERTAIN)][:n_top])


def _token_logprob(sequence: Sequence, token: int, likelihood: Logprob) -> TokenLogprob:
    bytes_of = sequence.text.bytes_of
    return TokenLogprob(
        token_id=token,
        text=bytes_of(token),
        logprob=likelihood.logprob,
        top=tuple((each, bytes_of(each), logprob) for each, logprob in likelihood.top),
    )


def take_delta(sequence: Sequence, *, at_end: bool = False) -> Delta | None:
    """What has not been sent yet, once there is text to show or (at_end) anything at all."""
    if at_end:
        sequence.unsent_text += sequence.text.finish()
    if not sequence.unsent_text and not (at_end and len(sequence.ids) > sequence.n_sent):
        return None
    ids = sequence.ids.view
    delta = Delta(
        request_id=sequence.key,
        text=sequence.unsent_text,
        token_ids=tuple(ids[sequence.n_sent :].tolist()),
        logprobs=tuple(sequence.unsent_logprobs),
    )
    sequence.unsent_text = ""
    sequence.n_sent = len(ids)
    sequence.unsent_logprobs.clear()
    return delta
