"""Requests that share prefixes, in an order of arrival; the fewest tokens to compute; what the tree computes.

**The best order.** With memory for the longest prompt, some order computes each distinct prefix of a prompt once, which
no order can do with less: sorted, prompts come in the order of a walk through the tree, depth first, and what is not on
the present prompt's path is never needed again. So the best offline order costs `distinct_prefixes`, whatever the
memory, as long as the longest prompt has room in it.

**The best in a given order.** Requests that come one by one cannot be put in order; the choice is what to forget.
`fewest_in_order` is a bound from below: the tokens as pages of a cache, asked for one by one, each time forgetting the
one needed latest (Belady, 1966), which is best for pages that can be kept and forgotten singly. A tree cannot keep a
token without those before it, and knows nothing of the future.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import chain

import numpy as np

from rootform.radix.eviction import EvictionOrder
from rootform.radix.tree import RadixTree

Prompts = list[list[int]]

_VOCABULARY = 4000


def computed(prompts: Prompts, room: int, *, by_age: bool = False) -> int:
    """Tokens the tree does not have when each prompt comes, one after the other, with memory for so many tokens.

    by_age: forget the least recently used first, nothing else.  Raises ValueError when a prompt has no room.
    """
    tree = RadixTree(order=_ByAge() if by_age else None)
    n_computed = 0
    for prompt in prompts:
        if len(prompt) > room:
            raise ValueError(f"a prompt of {len(prompt)} tokens has no room in {room}")
        ids = np.array(prompt, dtype=np.int32)
        match = tree.match(ids[:-1])
        tree.lock(match.node)
        n_new = len(ids) - match.n_tokens
        tree.evict(max(0, tree.cached_pages + n_new - room))
        tree.insert(ids, np.zeros(len(ids), dtype=np.int32))
        tree.unlock(match.node)
        n_computed += n_new
    return n_computed


class _ByAge(EvictionOrder):
    def once_quota(self, n_pages: int, evictable_pages: int) -> int:
        return 0


def fewest_in_order(prompts: Prompts, room: int) -> int:
    """A bound from below of what any cache of so many tokens computes for prompts in this order."""
    tokens = _as_pages(prompts)
    never = len(tokens)
    next_use = [never] * len(tokens)
    last: dict[int, int] = {}
    for at in range(len(tokens) - 1, -1, -1):
        next_use[at] = last.get(tokens[at], never)
        last[tokens[at]] = at
    kept: dict[int, int] = {}  # token -> when it is needed next
    latest: list[tuple[int, int]] = []
    n_missing = 0
    for at, token in enumerate(tokens):
        if token not in kept:
            n_missing += 1
            while len(kept) >= room:
                needed, other = heapq.heappop(latest)
                if kept.get(other) == -needed:
                    del kept[other]
        kept[token] = next_use[at]
        heapq.heappush(latest, (-next_use[at], token))
    return n_missing


def _as_pages(prompts: Prompts) -> list[int]:
    """One number for each token of each prompt: the same where the whole prefix up to it is."""
    numbers: dict[tuple[int, int], int] = {}
    row = []
    for prompt in prompts:
        at = 0
        for token in prompt:
            at = numbers.setdefault((at, token), len(numbers) + 1)
            row.append(at)
    return row


# -- traces ---------------------------------------------------------------------------------------------------


class _Source:
    """Random tokens and sizes."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def take(self, least: int, most: int) -> list[int]:
        """From least to most tokens."""
        return self.rng.integers(1, _VOCABULARY, self.rng.integers(least, most + 1)).tolist()

    def branches(self, families: int) -> list[list[int]]:
        """Three for each family: 200 to 600 shared tokens, then 50 to 150 more."""
        return [root + self.take(50, 150) for root in (self.take(200, 600) for _ in range(families)) for _ in range(3)]


def families(seed: int, requests: int, n_families: int = 40) -> Prompts:
    """Each request continues a branch of a family by 30 to 100 tokens of its own; all branches come as often."""
    source = _Source(seed)
    branches = source.branches(n_families)
    return [branches[source.rng.integers(len(branches))] + source.take(30, 100) for _ in range(requests)]


def popular(seed: int, requests: int, n_families: int = 40) -> Prompts:
    """As families(), but the n-th branch comes 1/n times as often as the first."""
    source = _Source(seed)
    branches = source.branches(n_families)
    weights = 1 / np.arange(1, len(branches) + 1)
    order = source.rng.permutation(len(branches))
    picks = source.rng.choice(order, size=requests, p=weights / weights.sum())
    return [branches[pick] + source.take(30, 100) for pick in picks]


def singles(seed: int, requests: int) -> Prompts:
    """Families, and after each request a text that never comes again."""
    source = _Source(seed)
    half = families(seed + 1, requests // 2, 20)
    return list(chain.from_iterable((prompt, source.take(200, 800)) for prompt in half))


def conversations(seed: int, requests: int, at_once: int = 40) -> Prompts:
    """One system prompt; each request is the next turn of one of the latest conversations, more likely a late one."""
    source = _Source(seed)
    system, talks, prompts = source.take(400, 400), [], []
    while len(prompts) < requests:
        if len(talks) < at_once or source.rng.random() < 0.15:
            talks = [*talks, [*system, *source.take(50, 50)]][-at_once:]
        talk = talks[-1 - min(int(source.rng.exponential(at_once / 3)), len(talks) - 1)]
        talk += source.take(50, 150)
        prompts.append(list(talk))
    return prompts


def mixed(seed: int, requests: int) -> Prompts:
    """Conversations and families in turns."""
    pairs = zip(conversations(seed, requests // 2), families(seed, requests // 2, 20), strict=True)
    return list(chain.from_iterable(pairs))


TRACES: dict[str, Callable[[int, int], Prompts]] = {
    "families": families,
    "popular": popular,
    "singles": singles,
    "conversations": conversations,
    "mixed": mixed,
}
