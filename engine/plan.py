"""What the next step runs: who joins, how many tokens each gets, who waits for whom. Pure: lists in, a plan out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from .limits import Limits


class Candidate(msgspec.Struct, frozen=True):
    """A waiting request. ids: int32, all tokens to be in memory before it can go on.

    n_cached: how many of them the tree holds.  waited_steps: steps since it came.
    """

    key: int
    ids: np.ndarray
    namespace: str
    n_cached: int
    waited_steps: int


class InFlight(msgspec.Struct, frozen=True):
    """A sequence in memory. ids: int32, all its tokens; the first n_computed are in memory.

    prefilling: it has not yet reached the last token it joined with.
    """

    key: int
    ids: np.ndarray
    namespace: str
    n_computed: int
    prefilling: bool


class Plan(msgspec.Struct, frozen=True):
    """joins: keys of candidates to start, in order.  tokens: how many new tokens of each sequence, by key.

    waits: candidates that sit this step out, and the sequence that is computing their prefix meanwhile.
    """

    joins: tuple[int, ...]
    tokens: dict[int, int]
    waits: dict[int, int]


def choose(waiting: Iterable[Candidate], running: Iterable[InFlight], limits: Limits) -> Plan:
    """The next step. waiting and running stand in order of arrival.

    Sequences that decode always run, with all tokens they have. Prompts share limits.prefill_tokens: those begun
    first, then new ones, longest cached prefix first, except that who waited overtaken_steps comes before all.
    """
    running = list(running)
    tokens = {each.key: len(each.ids) - each.n_computed for each in running if not each.prefilling}
    being_computed = [each for each in running if each.prefilling]
    budget = limits.prefill_tokens
    for each in being_computed:
        chunk = min(budget, len(each.ids) - each.n_computed)
        if chunk:
            tokens[each.key] = chunk
            budget -= chunk

    joins: list[int] = []
    waits: dict[int, int] = {}
    free_rows = limits.batch_rows - len(running)
    for candidate in _in_order(waiting, limits.overtaken_steps):
        if not free_rows or not budget:
            break
        owner, n_shared = _who_computes(candidate, being_computed)
        if n_shared - candidate.n_cached >= limits.worth_waiting_tokens:
            waits[candidate.key] = owner
            continue
        chunk = min(budget, len(candidate.ids) - candidate.n_cached)
        joins.append(candidate.key)
        tokens[candidate.key] = chunk
        budget -= chunk
        free_rows -= 1
        being_computed.append(InFlight(candidate.key, candidate.ids, candidate.namespace, candidate.n_cached, True))
    return Plan(tuple(joins), tokens, waits)


def _in_order(waiting: Iterable[Candidate], overtaken_steps: int) -> list[Candidate]:
    """Those who waited long, oldest first; then the others, longest cached prefix first. (sorted() is stable.)"""

    def rank(candidate: Candidate) -> tuple[bool, int]:
        young = candidate.waited_steps < overtaken_steps
        return young, -candidate.n_cached if young else 0

    return sorted(waiting, key=rank)


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
