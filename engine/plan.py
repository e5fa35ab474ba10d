"""What the next step runs: who joins, how many tokens each gets, who waits for whom, who makes room. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np

from .costs import Prices
from .limits import Limits

AUTO_TARGET = 2.0
"""Where no target is given: a pass may take so many times what its online decoding sequences alone would, once all
online ones that wait are among them."""
FIRST_TOKENS = 64
"""Prompt tokens in a pass beside decoding ones, while nothing is known of what that costs."""
_LEAST_TOKENS = 4  # prompt tokens in a pass, whatever they cost: a prompt always gets on
_SLIVER = 16  # fewer tokens than this are left for the next pass: reading what is in memory before them costs more
_IDLE_PASSES = 16  # an offline sequence decodes at least every so many passes


class Candidate(msgspec.Struct, frozen=True):
    """A waiting request. ids: int32, all tokens to be in memory before it can go on.

    n_cached: how many of them the tree holds.
    """

    key: int
    ids: np.ndarray
    namespace: str
    n_cached: int
    online: bool = True


class InFlight(msgspec.Struct, frozen=True):
    """A sequence in memory. ids: int32, all its tokens; the first n_computed are in memory.

    prefilling: it has not yet reached the last token it joined with.  idle: passes since it was in one.
    """

    key: int
    ids: np.ndarray
    namespace: str
    n_computed: int
    prefilling: bool
    online: bool = True
    idle: int = 0

    @property
    def n_left(self) -> int:
        return len(self.ids) - self.n_computed


class Pace(msgspec.Struct, frozen=True):
    """How long a pass may take while online sequences decode.

    prices: of a pass, as far as known.  itl_s: the seconds; None: by AUTO_TARGET.
    slowness: passes of late, as a multiple of what the prices say.
    drafted: how many guessed tokens a decoding sequence brings on average, beside its own.
    most_tokens: prompt tokens in a pass, whatever the prices say: they grow step by step.
    alone: online sequences that decode have the next pass to themselves, to see what that takes (Pacer).
    """

    prices: Prices = Prices()
    itl_s: float | None = None
    slowness: float = 1.0
    drafted: float = 0.0
    most_tokens: int = FIRST_TOKENS
    alone: bool = False

    def decode_s(self, sequences: Iterable[InFlight]) -> float:
        """What decoding sequences add to a pass."""
        return sum(self.prices.decode(each.n_left + self.drafted, len(each.ids)) for each in sequences)

    def seconds_left(self, n_online: int, decode_s: float, n_rows: int) -> float:
        """For everything beside so many online decoding sequences; infinite where there are none.

        decode_s: what they add to a pass.  n_rows: how many there would be if none waited. A few streams are not kept
        fast at the cost of many who wait: with passes so short that the batch never fills, a small model takes two and
        a half times the processor time.
        """
        if not n_online:
            return float("inf")
        alone = self.prices.fixed + decode_s
        if self.itl_s is not None:
            return self.itl_s / self.slowness - alone
        # A row costs no less than a prompt's token does; few rows in a pass tell little of their price.
        row_s = max(decode_s / n_online, self.prices.prefill_token * (1 + self.drafted))
        all_at_once = alone + row_s * (n_rows - n_online)
        left = AUTO_TARGET * all_at_once - alone
        # A slower machine is made up for by shorter pieces of prompts, down to half of what they would have.
        return max(AUTO_TARGET * all_at_once / self.slowness - alone, left / self.slowness / 2)


class Plan(msgspec.Struct, frozen=True):
    """joins: keys of candidates to start, in order.  tokens: how many new tokens of each sequence, by key.

    waits: candidates that sit this step out, and the sequence that is computing their prefix meanwhile.
    gives_way: offline sequences to be put back, for joins to have their rows.
    prompt_tokens: how many tokens of a new prompt there was room for in this pass, before any was given.
    """

    joins: tuple[int, ...]
    tokens: dict[int, int]
    waits: dict[int, int]
    gives_way: tuple[int, ...] = ()
    prompt_tokens: int = 0


def choose(waiting: Iterable[Candidate], running: Iterable[InFlight], limits: Limits, pace: Pace) -> Plan:
    """The next step. waiting: in the order in which they should start, read as far as needed. running: oldest first.

    Online sequences that decode always run, with all tokens they have. What the time of a pass leaves beside them
    goes to online prompts, begun ones first, then to offline sequences that decode, then to offline prompts; each
    kind gets on a little in any case. Without online decoding there is no limit of time, only limits.prefill_tokens.
    """
    running = list(running)
    decoding = [each for each in running if not each.prefilling]
    online = [each for each in decoding if each.online]
    tokens = {each.key: each.n_left for each in online}
    prefilling = [each for each in running if each.prefilling]
    first, late, waiting = _split(waiting)
    n_rows = max(len(online), min(limits.batch_rows, len(online) + len(first)))
    budget = _Budget(pace, limits.prefill_tokens, pace.seconds_left(len(online), pace.decode_s(online), n_rows))
    prompt_tokens = budget.can_give(limits.prefill_tokens, 0)
    if online and pace.alone:
        return Plan((), tokens, {}, (), prompt_tokens)
    for each in prefilling:
        if each.online:
            budget.give(each.key, each.n_left, each.n_computed, tokens)
    starter = _Starter(running, prefilling, limits, budget, tokens)
    for candidate in first:
        if not starter.consider(candidate):
            break
    offline = [each for each in decoding if not each.online and each.key not in starter.gives_way]
    budget.decode(offline, tokens)
    budget.renew()
    for each in prefilling:
        if not each.online and each.key not in starter.gives_way:
            budget.give(each.key, each.n_left, each.n_computed, tokens)
    if late is not None and starter.consider(late):
        for candidate in waiting:
            if not starter.consider(candidate):
                break
    return Plan(tuple(starter.joins), tokens, starter.waits, tuple(starter.gives_way), prompt_tokens)


def go_on(n_left: int, n_rows: int, context: int, limits: Limits, pace: Pace, *, online: bool) -> int:
    """The prompt_tokens of what choose() plans where nobody waits, all that run decode, and either all of them are
    online or none is: they all have all their tokens then.

    n_left: tokens to be computed.  n_rows: sequences.  context: all tokens of all of them.
    """
    seconds = float("inf")
    if online:
        decode_s = pace.prices.decode(n_left + n_rows * pace.drafted, context)
        seconds = pace.seconds_left(n_rows, decode_s, n_rows)
    return _Budget(pace, limits.prefill_tokens, seconds).can_give(limits.prefill_tokens, 0)


def _split(waiting: Iterable[Candidate]) -> tuple[list[Candidate], Candidate | None, Iterator[Candidate]]:
    """The online ones, which come first; the first of the offline ones; and the rest of these, not read yet."""
    online, rest = [], iter(waiting)
    for candidate in rest:
        if not candidate.online:
            return online, candidate, rest
        online.append(candidate)
    return online, None, rest


class _Budget:
    """The prompt tokens, and the seconds, that a pass has left."""

    def __init__(self, pace: Pace, n_tokens: int, seconds: float) -> None:
        self._pace = pace
        self._timed = seconds != float("inf")
        self.n_tokens = min(n_tokens, pace.most_tokens) if self._timed else n_tokens
        self._seconds = seconds if pace.prices != Prices() else float("inf")
        self._owed = _LEAST_TOKENS

    def renew(self) -> None:
        """From here on other prompts are given tokens, which get on a little too."""
        self._owed = _LEAST_TOKENS

    def can_give(self, n_wanted: int, n_before: int) -> int:
        """How many tokens a prompt may have that wants so many, with n_before in memory; 0: none in this pass."""
        n = min(n_wanted, self.n_tokens)
        affordable = self._pace.prices.affordable(self._seconds, n_before) if self._timed else n
        if affordable < min(n, _SLIVER) and not self._owed:
            return 0
        return int(min(n, max(affordable, self._owed)))

    def give(self, key: int, n_wanted: int, n_before: int, tokens: dict[int, int]) -> None:
        """Give a prompt what it may have."""
        n = self.can_give(n_wanted, n_before)
        if n:
            tokens[key] = n
            self.n_tokens -= n
            self._owed = max(0, self._owed - n)
            self._seconds -= self._pace.prices.prefill(n, n_before)

    def decode(self, offline: Sequence[InFlight], tokens: dict[int, int]) -> None:
        """Let offline sequences decode while there is time for them, longest idle first."""
        in_turn = sorted(offline, key=lambda each: -each.idle)
        n_least = -(-len(in_turn) // _IDLE_PASSES)
        for n, each in enumerate(in_turn):
            seconds = self._pace.decode_s([each])
            if n >= n_least and seconds > self._seconds:
                break
            tokens[each.key] = each.n_left
            self._seconds -= seconds


class _Starter:
    """Lets candidates join while there are rows and prompt tokens, unless somebody is computing their prefix."""

    def __init__(
        self,
        running: Sequence[InFlight],
        prefilling: Sequence[InFlight],
        limits: Limits,
        budget: _Budget,
        tokens: dict[int, int],
    ) -> None:
        self.joins: list[int] = []
        self.waits: dict[int, int] = {}
        self.gives_way: list[int] = []
        self._being_computed = list(prefilling)
        self._free_rows = limits.batch_rows - len(running)
        self._replaceable = [each.key for each in running if not each.online]  # youngest last
        self._limits = limits
        self._budget = budget
        self._tokens = tokens

    def consider(self, candidate: Candidate) -> bool:
        """Let it join or wait; False: no more can join in this pass."""
        if not self._budget.n_tokens or not self._has_row(candidate):
            return False
        owner, n_shared = _who_computes(candidate, self._being_computed)
        if n_shared - candidate.n_cached >= self._limits.worth_waiting_tokens:
            self.waits[candidate.key] = owner
            return True
        wanted = len(candidate.ids) - candidate.n_cached
        if not self._budget.can_give(wanted, candidate.n_cached):
            return False
        self._take_row()
        self._budget.give(candidate.key, wanted, candidate.n_cached, self._tokens)
        self.joins.append(candidate.key)
        begun = InFlight(candidate.key, candidate.ids, candidate.namespace, candidate.n_cached, True, candidate.online)
        self._being_computed.append(begun)
        return True

    def _has_row(self, candidate: Candidate) -> bool:
        return self._free_rows > 0 or (candidate.online and bool(self._replaceable))

    def _take_row(self) -> None:
        if self._free_rows > 0:
            self._free_rows -= 1
            return
        key = self._replaceable.pop()
        self.gives_way.append(key)
        self._being_computed = [each for each in self._being_computed if each.key != key]


def _who_computes(candidate: Candidate, being_computed: Sequence[InFlight]) -> tuple[int, int]:
    """The sequence that will soon have the longest prefix of the candidate, and how long that is (0: there is none).

    The candidate's last token does not count: it is computed in any case, for the logits after it.
    """
    best, n_best = candidate.key, 0
    for owner in being_computed:
        if owner.namespace == candidate.namespace:
            n_shared = min(_common_tokens(owner.ids, candidate.ids), len(candidate.ids) - 1)
            if n_shared > n_best:
                best, n_best = owner.key, n_shared
    return best, n_best


def _common_tokens(a: np.ndarray, b: np.ndarray) -> int:
    """How many leading token ids agree."""
    n = min(len(a), len(b))
    differs = a[:n] != b[:n]
    first = int(differs.argmax()) if n else 0
    return first if n and differs[first] else n
