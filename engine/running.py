"""State of one request inside the engine, from acceptance to its final event. Changed only by the step loop."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .detokenise import Detokeniser
from .prefixes import Room
from .types import Request, TokenLogprob, Usage

if TYPE_CHECKING:
    from .drafts import Follower


_FEW_TOKENS = 16


class TokenIds:
    """A row of token ids that grows: int32, prompt first."""

    def __init__(self, ids: SequenceOf[int]) -> None:
        self._row = np.array(ids, dtype=np.int32)
        self._n = len(self._row)

    def __len__(self) -> int:
        return self._n

    def append(self, token_id: int) -> None:
        if self._n == len(self._row):
            self._row = np.concatenate([self._row, np.empty(max(64, self._n // 4), dtype=np.int32)])
        self._row[self._n] = token_id
        self._n += 1

    @property
    def view(self) -> np.ndarray:
        """All ids so far; not to be changed, and stale after the next append."""
        return self._row[: self._n]


@dataclass(slots=True, eq=False)
class Constrained:
    """Where a request stands in its grammar.

    slot: its slot in the GenerationBatch.
    way_out: tokens that complete the value from here, no more than the request may still emit; None: any shortest text
    that completes it has no more.
    row_id, few_allowed: the mask row of the present state, and its tokens (ascending) where they are few.
    """

    slot: int
    way_out: tuple[int, ...] | None = None
    closed_early: bool = False
    row_id: int = -1
    few_allowed: np.ndarray | None = None


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

    arrived_s: by the step loop's clock.  promoted: it is offline, but treated as online.
    forced_ahead: tokens that must come next, of a sequence that takes them one by one (see over_vocabulary).
    """

    request: Request
    ids: TokenIds
    text: Detokeniser
    draws: Draws
    arrived_s: float = 0.0
    promoted: bool = False
    grammar: Constrained | None = None
    follower: Follower | None = None  # made by the Drafter, which alone looks into it
    forced_ahead: tuple[int, ...] = ()
    forced_at: set[int] = field(default_factory=set)  # where in ids the grammar left no choice; since the last look
    n_output: int = 0
    n_cached: int | None = None  # prompt tokens found in the tree at the first start
    forward_passes: int = 0
    unsent_ids: list[int] = field(default_factory=list)
    unsent_logprobs: list[TokenLogprob] = field(default_factory=list)
    unsent_text: str = ""

    @property
    def key(self) -> int:
        return self.request.request_id

    @property
    def online(self) -> bool:
        """Whether it comes before offline ones."""
        return self.promoted or self.request.priority == "online"

    @property
    def over_vocabulary(self) -> bool:
        """Its logprobs are among all tokens, allowed or not: each of its tokens needs the logits of its own row."""
        request = self.request
        return self.grammar is not None and request.top_logprobs is not None and request.logprobs_over == "vocabulary"

    @property
    def n_prompt(self) -> int:
        return len(self.request.prompt_ids)

    @property
    def remaining(self) -> int:
        """How many more tokens the request may emit."""
        return self.request.max_new_tokens - self.n_output

    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=self.n_prompt,
            cached_tokens=self.n_cached or 0,
            completion_tokens=self.n_output,
            forward_passes=self.forward_passes,
        )


@dataclass(slots=True, eq=False)
class Running:
    """A sequence with a place in memory.

    n_computed: its tokens whose KV is in memory.  n_joined: the tokens it had when it took its place.
    idle: passes since it was in one.
    """

    sequence: Sequence
    room: Room
    n_computed: int
    n_joined: int
    idle: int = 0

    @property
    def key(self) -> int:
        return self.sequence.key

    @property
    def prefilling(self) -> bool:
        return self.n_computed < self.n_joined

    @property
    def decoding(self) -> bool:
        """Whether it goes on with its output: as many tokens as a grammar may force, or those it had when it was moved.

        One that was put back and has much to compute again is a prompt once more.
        """
        n_left = len(self.sequence.ids) - self.n_computed
        return not self.prefilling or (self.sequence.n_output > 0 and n_left <= _FEW_TOKENS)

    @property
    def computed_ids(self) -> np.ndarray:
        """int32: the tokens whose KV is in memory."""
        return self.sequence.ids.view[: self.n_computed]
