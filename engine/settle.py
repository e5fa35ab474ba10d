"""After sampling: tokens join their sequences, grammars advance, forced tokens follow, text is cut, ends are seen."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from typing import Protocol

import numpy as np

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
    """Adds tokens to sequences. eos_ids: tokens that end the output (and are no part of it)."""

    def __init__(self, grammars: Grammars | None, eos_ids: frozenset[int]) -> None:
        self._grammars = grammars
        self._eos_ids = eos_ids

    def settle(
        self, sequences: SequenceOf[Sequence], rows: SequenceOf[int], tokens: SequenceOf[int], scores: Chosen
    ) -> Ends:
        """Add the sampled token of each sequence (or the next best that the close-out rule allows), then forced ones.

        tokens: (n,) ids, sampled from these rows of the scores. A sequence that needs a next best token, where the
        scores do not know it, ends in LogitsGone, and nothing has changed in it.
        """
        ends: Ends = {}
        constrained: list[tuple[int, Sequence, int]] = []
        for sequence, row, token in zip(sequences, rows, tokens, strict=True):
            if token in self._eos_ids and not sequence.request.ignore_eos:
                ends[sequence.key] = "stop"
            elif sequence.grammar is not None:
                constrained.append((row, sequence, token))
            else:
                self._add(sequence, token, scores, row, ends)
                if sequence.key not in ends and sequence.remaining == 0:
                    ends[sequence.key] = "length"
        taken = self._take([sequence for _, sequence, _ in constrained], [token for _, _, token in constrained])
        for (row, sequence, token), answer in zip(constrained, taken, strict=True):
            if answer.token == token and not sequence.forced_ahead:  # as it mostly is
                self._add(sequence, token, scores, row, ends)
                continue
            is_forced = sequence.forced_ahead[:1] == (token,)
            answer = self._add_taken(sequence, answer, scores, row, ends, is_forced=is_forced)
            sequence.forced_ahead = sequence.forced_ahead[1:] if is_forced and answer.token == token else ()
        ends |= self.run_forced([sequence for _, sequence, _ in constrained if sequence.key not in ends])
        return ends

    def run_forced(self, sequences: SequenceOf[Sequence]) -> Ends:
        """Add tokens to constrained sequences as long as their grammar forces them; end those that are complete.

        That takes no choice of text from the model, and all of them go through it together in the next pass; but a
        sequence whose logprobs are over the vocabulary takes one a pass, as the only token its place allows.
        Afterwards each place knows its mask row.
        """
        ends: Ends = {}
        while sequences:
            sequences = self._look(sequences)
            self._end_complete(sequences, ends)
            sequences = [each for each in sequences if each.key not in ends]
            forced = self._forced(sequences)
            self._put_ahead([each for each in sequences if each.over_vocabulary], forced)
            sequences = [each for each in sequences if each.key in forced and not each.over_vocabulary]
            self._add_forced(sequences, forced, ends)
            sequences = [each for each in sequences if each.key not in ends]
        return ends

    def _add_forced(self, sequences: SequenceOf[Sequence], forced: dict[int, tuple[int, ...]], ends: Ends) -> None:
        """Add tokens to each in turn, until it ends or the close-out rule takes another way."""
        at = 0
        while sequences:
            tokens = [forced[each.key][at] for each in sequences]
            at += 1
            going = []
            for sequence, token, answer in zip(sequences, tokens, self._take(sequences, tokens), strict=True):
                answer = self._add_taken(sequence, answer, None, 0, ends, is_forced=True)
                if sequence.key not in ends and answer.token == token and at < len(forced[sequence.key]):
                    going.append(sequence)
            sequences = going

    def _put_ahead(self, sequences: SequenceOf[Sequence], forced: dict[int, tuple[int, ...]]) -> None:
        """Leave each sequence only the first of the tokens that are forced there, or were so some tokens ago."""
        for sequence in sequences:
            sequence.forced_ahead = sequence.forced_ahead or forced.get(sequence.key, ())
            if sequence.forced_ahead and sequence.grammar is not None:
                sequence.grammar.few_allowed = np.array(sequence.forced_ahead[:1])

    def _look(self, sequences: SequenceOf[Sequence]) -> list[Sequence]:
        """Note in each place its mask row. Those that may be complete, or have tokens forced: few."""
        assert self._grammars is not None
        places = [each.grammar for each in sequences if each.grammar is not None]
        self._grammars.look(places)
        if self._grammars.has_errors:
            return list(sequences)
        return [
            sequence
            for sequence, place in zip(sequences, places, strict=True)
            if place.few_allowed is not None or sequence.forced_ahead or sequence.remaining == 0
        ]

    def _end_complete(self, sequences: SequenceOf[Sequence], ends: Ends) -> None:
        assert self._grammars is not None
        for sequence in sequences:
            assert sequence.grammar is not None
            if (error := self._grammars.error_of(sequence.grammar)) is not None:
                ends[sequence.key] = error
            elif self._grammars.is_finished(sequence.grammar):
                ends[sequence.key] = "stop"
            elif sequence.remaining == 0:
                ends[sequence.key] = "length"

    def _forced(self, sequences: SequenceOf[Sequence]) -> dict[int, tuple[int, ...]]:
        """The tokens that must come next in each sequence that has any, by key."""
        assert self._grammars is not None
        forced = {}
        for sequence in sequences:
            tokens = self._grammars.forced(sequence.grammar) if sequence.grammar is not None else ()
            if tokens and tokens[0] not in self._eos_ids:
                forced[sequence.key] = tokens
        return forced

    def _take(self, sequences: SequenceOf[Sequence], tokens: SequenceOf[int]) -> list[Taken]:
        if not sequences:
            return []
        assert self._grammars is not None
        places = [each.grammar for each in sequences if each.grammar is not None]
        return self._grammars.take(places, tokens, [each.remaining for each in sequences])

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
            self._add(sequence, answer.token, scores, row, ends)
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

    def _add(self, sequence: Sequence, token: int, scores: Chosen | None, row: int, ends: Ends) -> None:
        """scores None: the token was forced."""
        sequence.ids.append(token)
        sequence.n_output += 1
        sequence.unsent_ids.append(token)
        sequence.unsent_text += sequence.text.push(token)
        if (n_top := sequence.request.top_logprobs) is not None:
            likelihood = _forced(token, n_top) if scores is None else scores.logprob(row, token, n_top)
            sequence.unsent_logprobs.append(_token_logprob(sequence, token, likelihood))
        if sequence.text.matched_stop is not None:
            ends[sequence.key] = "stop"


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
    if not sequence.unsent_text and not (at_end and sequence.unsent_ids):
        return None
    delta = Delta(
        request_id=sequence.key,
        text=sequence.unsent_text,
        token_ids=tuple(sequence.unsent_ids),
        logprobs=tuple(sequence.unsent_logprobs),
    )
    sequence.unsent_text = ""
    sequence.unsent_ids.clear()
    sequence.unsent_logprobs.clear()
    return delta
