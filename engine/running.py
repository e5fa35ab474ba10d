"""State of one request inside the engine, from acceptance to its final event. Changed only by the step loop.

What every step reads or writes of it stands in the Book, at its seat; here is the rest, and how to name a single one's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .book import Book
from .detokenise import Detokeniser
from .prefixes import Room
from .types import Request, TokenLogprob, Usage

if TYPE_CHECKING:
    from .drafts import Follower


class TokenIds:
    """A request's token ids, prompt first: int32. They stand in the book's pool while it runs, else by themselves."""

    def __init__(self, book: Book, seat: int, ids: tuple[int, ...]) -> None:
        self._book = book
        self._seat = seat
        self._own: np.ndarray | None = np.array(ids, dtype=np.int32)

    def __len__(self) -> int:
        return int(self._book.n_tokens[self._seat])

    def append(self, token_id: int) -> None:
        """One more."""
        self.extend((token_id,))

    def extend(self, token_ids: tuple[int, ...]) -> None:
        """Some more."""
        book, n = self._book, len(self)
        stop = n + len(token_ids)
        if self._own is not None and stop > len(self._own):
            self._own = np.concatenate([self._own, np.empty(max(64, n // 4, len(token_ids)), dtype=np.int32)])
        row = book.ids[book.id_row[self._seat]] if self._own is None else self._own
        row[n:stop] = token_ids
        book.n_tokens[self._seat] = stop

    @property
    def view(self) -> np.ndarray:
        """All ids so far; not to be changed, and stale after the next one, or when the request runs or waits again."""
        book = self._book
        row = book.ids[book.id_row[self._seat]] if self._own is None else self._own
        return row[: len(self)]

    def load(self) -> None:
        """It runs from now on."""
        self._book.load(self._seat, self.view)
        self._own = None

    def unload(self) -> None:
        """It waits again."""
        self._own = self.view.copy()
        self._book.unload(self._seat)


@dataclass(slots=True, eq=False)
class Constrained:
    """Where a request stands in its grammar.

    slot: its slot in the GenerationBatch.
    way_out: tokens that complete the value from here, no more than the request may still emit; None: any shortest text
    that completes it has no more.
    few: the tokens allowed now (ascending), where the book says that they are few.
    """

    slot: int
    book: Book
    seat: int
    way_out: tuple[int, ...] | None = None
    closed_early: bool = False
    few: np.ndarray | None = None

    @property
    def row_id(self) -> int:
        """The mask row of the present state."""
        return int(self.book.row_id[self.seat])

    @property
    def few_allowed(self) -> np.ndarray | None:
        """The tokens it allows (ascending), where they are few."""
        return self.few if self.book.n_few[self.seat] >= 0 else None

    def note(self, row_id: int, few: np.ndarray | None) -> None:
        """The mask row of the present state, and its tokens where they are few."""
        self.book.row_id[self.seat] = row_id
        self.book.n_few[self.seat] = -1 if few is None else len(few)
        self.few = few


class Draws:
    """A request's own stream of random numbers, which can be looked at before it is known how many are used."""

    def __init__(self, seed: int | None) -> None:
        self._seed = int(np.random.default_rng().integers(2**62)) if seed is None else seed
        self._random = np.random.default_rng(self._seed)
        self._ahead: list[float] = []

    def ahead(self, n: int) -> list[float]:
        """The next n numbers, in [0, 1)."""
        while len(self._ahead) < n:
            self._ahead.append(self._random.random())
        return self._ahead[:n]

    def aside(self, at: int) -> np.random.Generator:
        """Numbers of another stream, for what comes up at the output's token `at`."""
        return np.random.default_rng((self._seed, at))

    def use(self, n: int) -> None:
        """The next n numbers have been used."""
        del self._ahead[:n]


@dataclass(slots=True, eq=False)
class Sequence:
    """A request and what has come of it so far. Outlives a stay in memory: a sequence put back keeps all of this.

    arrived_s: by the step loop's clock.
    forced_ahead: tokens that must come next, of a sequence that takes them one by one (see over_vocabulary).
    n_sent: its tokens that have gone out, the prompt's among them.
    """

    request: Request
    book: Book
    text: Detokeniser
    draws: Draws
    arrived_s: float = 0.0
    grammar: Constrained | None = None
    follower: Follower | None = None  # made by the Drafter, which alone looks into it
    forced_ahead: tuple[int, ...] = ()
    forced_at: set[int] = field(default_factory=set)  # where in ids the grammar left no choice; since the last look
    n_cached: int | None = None  # prompt tokens found in the tree at the first start
    unsent_logprobs: list[TokenLogprob] = field(default_factory=list)
    unsent_text: str = ""
    key: int = field(init=False)
    n_prompt: int = field(init=False)
    n_sent: int = field(init=False)
    seat: int = field(init=False)
    ids: TokenIds = field(init=False)

    def __post_init__(self) -> None:
        self.key = self.request.request_id
        self.n_prompt = self.n_sent = len(self.request.prompt_ids)
        self.seat = self.book.open(self)
        self.ids = TokenIds(self.book, self.seat, self.request.prompt_ids)

    def constrain(self, place: Constrained) -> None:
        """It has a grammar."""
        request = self.request
        self.grammar = place
        self.book.grammar[self.seat] = place.slot
        is_over = request.top_logprobs is not None and request.logprobs_over == "vocabulary"
        self.book.over_vocabulary[self.seat] = is_over

    @property
    def online(self) -> bool:
        """Whether it comes before offline ones."""
        return bool(self.book.online[self.seat])

    def promote(self) -> None:
        """It is offline, but treated as online from now on."""
        self.book.online[self.seat] = True

    @property
    def over_vocabulary(self) -> bool:
        """Its logprobs are among all tokens, allowed or not: each of its tokens needs the logits of its own row."""
        return bool(self.book.over_vocabulary[self.seat])

    @property
    def n_output(self) -> int:
        return len(self.ids) - self.n_prompt

    @property
    def remaining(self) -> int:
        """How many more tokens the request may emit."""
        return self.request.max_new_tokens - self.n_output

    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=self.n_prompt,
            cached_tokens=self.n_cached or 0,
            completion_tokens=self.n_output,
            forward_passes=int(self.book.forward_passes[self.seat]),
        )


@dataclass(slots=True, eq=False)
class Running:
    """A sequence with a place in memory."""

    sequence: Sequence
    room: Room

    @property
    def key(self) -> int:
        return self.sequence.key

    @property
    def seat(self) -> int:
        return self.sequence.seat

    @property
    def n_computed(self) -> int:
        """Its tokens whose KV is in memory."""
        return int(self.sequence.book.n_computed[self.seat])

    @n_computed.setter
    def n_computed(self, n_tokens: int) -> None:
        self.sequence.book.n_computed[self.seat] = n_tokens

    @property
    def capacity(self) -> int:
        """The tokens for which it has room."""
        return int(self.sequence.book.capacity[self.seat])

    @capacity.setter
    def capacity(self, n_tokens: int) -> None:
        self.sequence.book.capacity[self.seat] = n_tokens

    @property
    def prefilling(self) -> bool:
        return self.n_computed < int(self.sequence.book.n_joined[self.seat])

    @property
    def decoding(self) -> bool:
        """Whether it goes on with its output: as many tokens as a grammar may force, or those it had when it was moved.

        One that was put back and has much to compute again is a prompt once more.
        """
        return bool(self.sequence.book.decoding(np.array([self.seat]))[0])

    @property
    def computed_ids(self) -> np.ndarray:
        """int32: the tokens whose KV is in memory."""
        return self.sequence.ids.view[: self.n_computed]
