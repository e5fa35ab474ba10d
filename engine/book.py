"""What steps read or write of every request, as arrays: one element for each, at the index that is the request's seat.

A request has its seat from acceptance to its end; what is looked at rarely stands in its object. Token ids of those
that run stand in one pool, a row for each, so that a pass gathers its tokens at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from .types import Request

if TYPE_CHECKING:
    from .running import Sequence

FEW_TOKENS = 16  # that a decoding sequence has to compute at most: as many as a grammar may force
_MIN_WIDTH = 1024

_INT64 = (
    *("key", "n_prompt", "n_tokens", "limit", "forward_passes"),
    *("n_computed", "n_joined", "idle", "given", "slot", "capacity", "id_row"),
)
_INT32 = ("grammar", "row_id", "n_few", "top_k")
_FLOAT64 = ("temperature", "top_p", "min_p")
_BOOL = ("online", "ends_at_eos", "over_vocabulary", "watched")
_KINDS = {np.int64: _INT64, np.int32: _INT32, np.float64: _FLOAT64, np.bool_: _BOOL}


class Book:
    """Owned by the step loop. Arrays are by seat, and are replaced when there are more requests than ever before.

    Of any request:
    key: its id.  n_prompt, n_tokens: tokens of its prompt, and of prompt and output so far.  limit: the most of these.
    forward_passes: passes it was in.  online: whether it comes before offline ones.
    ends_at_eos: EOS tokens end it.  over_vocabulary: see Sequence.  watched: it has stop strings, or logprobs.
    temperature, top_k, top_p, min_p: as in types.Sampling.
    grammar: its slot in the GenerationBatch, -1: it has none.  row_id: the mask row of its state, -1: none.
    n_few: how many tokens that allows, where they are few; -1: many.

    Of one that runs:
    n_computed: its tokens whose KV is in memory.  n_joined: those it had when it took its place.
    idle: passes since it was in one.  given: how many tokens of it the next pass computes.
    slot: in memory.  capacity: the tokens for which it has room there.  id_row: its row of ids, -1: it does not run.
    """

    key: np.ndarray
    n_prompt: np.ndarray
    n_tokens: np.ndarray
    limit: np.ndarray
    forward_passes: np.ndarray
    online: np.ndarray
    ends_at_eos: np.ndarray
    over_vocabulary: np.ndarray
    watched: np.ndarray
    temperature: np.ndarray
    top_k: np.ndarray
    top_p: np.ndarray
    min_p: np.ndarray
    grammar: np.ndarray
    row_id: np.ndarray
    n_few: np.ndarray
    n_computed: np.ndarray
    n_joined: np.ndarray
    idle: np.ndarray
    given: np.ndarray
    slot: np.ndarray
    capacity: np.ndarray
    id_row: np.ndarray

    def __init__(self, n_rows: int = 64) -> None:
        """n_rows: requests that run at the same time, as far as known."""
        for kind, names in _KINDS.items():
            for name in names:
                setattr(self, name, np.zeros(n_rows, dtype=kind))
        self.sequences: list[Sequence | None] = [None] * n_rows  # by seat
        self.ids = np.empty((n_rows, _MIN_WIDTH), dtype=np.int32)  # of those that run, by id_row
        self._seats = list(range(n_rows - 1, -1, -1))
        self._rows = list(range(n_rows - 1, -1, -1))

    # -- requests come and go -----------------------------------------------------------------------------------

    def open(self, sequence: Sequence) -> int:
        """A seat for a new request, which waits."""
        if not self._seats:
            self._grow()
        seat = self._seats.pop()
        self.sequences[seat] = sequence
        self._note(seat, sequence.request)
        return seat

    def close(self, sequence: Sequence) -> None:
        """The end of a request: its seat may be used again. (Nothing happens where that has been said before.)"""
        seat = sequence.seat
        if self.sequences[seat] is sequence:
            self.unload(seat)
            self.sequences[seat] = None
            self._seats.append(seat)

    def load(self, seat: int, own_ids: np.ndarray) -> None:
        """It runs from now on: its ids stand in the pool."""
        if not self._rows:
            n = len(self.ids)
            self.ids = np.concatenate([self.ids, np.empty_like(self.ids)])
            self._rows = list(range(2 * n - 1, n - 1, -1))
        if self.limit[seat] > self.ids.shape[1]:
            wider = np.empty((len(self.ids), max(int(self.limit[seat]), 2 * self.ids.shape[1])), dtype=np.int32)
            wider[:, : self.ids.shape[1]] = self.ids
            self.ids = wider
        row = self._rows.pop()
        self.id_row[seat] = row
        self.ids[row, : len(own_ids)] = own_ids

    def unload(self, seat: int) -> None:
        """It waits, or ends."""
        if self.id_row[seat] >= 0:
            self._rows.append(int(self.id_row[seat]))
            self.id_row[seat] = -1

    # -- what a step asks ---------------------------------------------------------------------------------------

    def at(self, seats: np.ndarray) -> Iterator[Sequence]:
        """The requests that have these seats."""
        for seat in seats.tolist():
            sequence = self.sequences[seat]
            assert sequence is not None
            yield sequence

    def seats_of(self, sequences: Iterable[Sequence]) -> np.ndarray:
        """(n,) int64."""
        return np.fromiter((each.seat for each in sequences), dtype=np.int64)

    def decoding(self, seats: np.ndarray) -> np.ndarray:
        """(n,) bool: which of those that run go on with their output. See Running.decoding."""
        n_computed, n_tokens = self.n_computed[seats], self.n_tokens[seats]
        is_short = (n_tokens > self.n_prompt[seats]) & (n_tokens - n_computed <= FEW_TOKENS)
        return (n_computed >= self.n_joined[seats]) | is_short

    def remaining(self, seats: np.ndarray) -> np.ndarray:
        """How many more tokens each may emit, (n,) int64."""
        return self.limit[seats] - self.n_tokens[seats]

    def push(self, seats: np.ndarray, tokens: np.ndarray) -> None:
        """Each of the requests has one more token. seats: (n,) of requests that run, each once."""
        self.ids[self.id_row[seats], self.n_tokens[seats]] = tokens
        self.n_tokens[seats] += 1

    # -- inside -------------------------------------------------------------------------------------------------

    def _note(self, seat: int, request: Request) -> None:
        sampling = request.sampling
        self.key[seat] = request.request_id
        self.n_prompt[seat] = self.n_tokens[seat] = len(request.prompt_ids)
        self.limit[seat] = len(request.prompt_ids) + request.max_new_tokens
        self.online[seat] = request.priority == "online"
        self.ends_at_eos[seat] = not request.ignore_eos
        self.over_vocabulary[seat] = False
        self.watched[seat] = bool(request.stop) or request.top_logprobs is not None
        self.temperature[seat], self.top_k[seat] = sampling.temperature, sampling.top_k
        self.top_p[seat], self.min_p[seat] = sampling.top_p, sampling.min_p
        self.grammar[seat] = self.row_id[seat] = self.n_few[seat] = self.id_row[seat] = -1
        self.forward_passes[seat] = self.n_computed[seat] = 0

    def _grow(self) -> None:
        n = len(self.sequences)
        for names in _KINDS.values():
            for name in names:
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
        self.sequences += [None] * n
        self._seats = list(range(2 * n - 1, n - 1, -1))
