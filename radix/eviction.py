"""Which prefixes are forgotten first: those that one request has read before those that were read again.

Least recently used alone lets texts that come once (a document, an answer) drive out those that come again and again
(the prompt before them). So there are two queues, each least recently used first: nodes that only the request that
computed them has read, and nodes that another one began with. The first go before the second as long as they hold more
than a share of what may be evicted (as in 2Q: Johnson and Shasha, VLDB 1994); then age alone decides. How large a share
is learned: where what was read once is mostly read again, as in the turns of a conversation, it is large.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import ceil

from .node import Node

_LEAST_SHARE = 0.1
_EXPONENT = 1.5
_Entry = tuple[int, int, Node]  # last_use when queued, number, node


class EvictionOrder:
    """The unlocked leaves of one tree, by when they go. The tree tells it what happens to nodes.

    once_pages: pages of unlocked nodes, leaves or not, that were not read again.
    """

    # A heap holds each unlocked leaf of its kind exactly once, under a last_use that may be out of date but is never
    # too late, and may also hold nodes that are no such leaves any more. So the top of a heap, once its entry is up to
    # date, is the least recently used of its leaves, and match() and lock() need not touch the heaps, except when a
    # node is read again for the first time: then its entry in the first heap is void.

    def __init__(self) -> None:
        self.once_pages = 0
        self._once: list[_Entry] = []
        self._again: list[_Entry] = []
        self.forget()

    def forget(self) -> None:
        """Forget what was learned."""
        self._n_again = 0.0  # pages that came to be read again
        self._n_lost = 0.0  # pages that were evicted before

    @property
    def once_share(self) -> float:
        """The share of what may be evicted that nodes read once may hold before they go first.

        From the chance that such a page comes to be read again, those that wait for it counted as if they were lost.
        The exponent: of several, that which cost least over shared prompts, conversations, single texts and mixes of
        them (benchmarks/radix.py).
        """
        n_known = self._n_again + self._n_lost + self.once_pages
        return max(_LEAST_SHARE, (self._n_again / n_known) ** _EXPONENT) if n_known else _LEAST_SHARE

    def once_quota(self, n_pages: int, evictable_pages: int) -> int:
        """How many of n_pages to evict should come from nodes that were read once."""
        too_many = ceil(self.once_pages - self.once_share * (evictable_pages - n_pages))
        return min(n_pages, max(0, too_many))

    # -- what happens to nodes --------------------------------------------------------------------------------

    def unlocked(self, node: Node) -> None:
        """It is new, or its last lock was undone."""
        if not node.read_again:
            self.once_pages += len(node.pages)

    def locked(self, node: Node) -> None:
        """It got its first lock, or goes."""
        if not node.read_again:
            self.once_pages -= len(node.pages)

    def read(self, node: Node, cached_pages: int) -> None:
        """A request other than the one that computed it begins with it."""
        if node.read_again:
            return
        if not node.locks:
            self.once_pages -= len(node.pages)
        node.read_again = True
        node.is_queued = False
        self.queue(node)
        self._learn(len(node.pages), 0, cached_pages)

    def lost(self, node: Node, cached_pages: int) -> None:
        """It is evicted."""
        self.locked(node)
        if not node.read_again:
            self._learn(0, len(node.pages), cached_pages)

    def _learn(self, n_again: int, n_lost: int, cached_pages: int) -> None:
        self._n_again += n_again
        self._n_lost += n_lost
        if self._n_again + self._n_lost > cached_pages:  # what held lately counts
            self._n_again /= 2
            self._n_lost /= 2

    # -- queues -----------------------------------------------------------------------------------------------

    def queue(self, node: Node) -> None:
        """It may have become an unlocked leaf."""
        if node.is_evictable and not node.is_queued:
            node.is_queued = True
            heappush(self._again if node.read_again else self._once, (node.last_use, node.number, node))

    def next_leaf(self, *, once_first: bool) -> Node | None:
        """Take the next unlocked leaf out of the queues; None when there is no unlocked leaf.

        once_first: one that was read once, if there is any; otherwise the least recently used of all.
        """
        self._put_right(self._once, read_again=False)
        self._put_right(self._again, read_again=True)
        heaps = [heap for heap in (self._once, self._again) if heap]
        if not heaps:
            return None
        heap = heaps[0] if once_first else min(heaps, key=lambda each: each[0][:2])
        node = heappop(heap)[2]
        node.is_queued = False
        return node

    def _put_right(self, heap: list[_Entry], *, read_again: bool) -> None:
        """Make the top of a heap its least recently used unlocked leaf."""
        while heap:
            queued_at, _, node = heap[0]
            is_void = node.read_again is not read_again
            if not is_void and queued_at == node.last_use and node.is_evictable:
                return
            heappop(heap)
            if not is_void:
                node.is_queued = False
                self.queue(node)
