"""A node of the radix tree: a run of tokens, their pages, and what is known of its use."""

from __future__ import annotations

import numpy as np

Key = tuple[str, bytes]
"""What a child is found by: the namespace, and the ids of its run's first page as bytes."""


class Node:
    """A run of tokens and their pages. Others may read it; only RadixTree and its EvictionOrder change it.

    ids: int32, a multiple of page_tokens of them.  pages: int32, one for page_tokens ids.
    end: tokens from the root to the end of this run.
    locks: lock() calls not yet undone on this node and all below it.  held: those on this very node.
    last_use: reading of the tree's counter at the last match() or insert() that walked through the run.
    read_again: a request other than the one that computed it has begun with it; so of all nodes above it, too.
    alive: False once evicted.
    """

    __slots__ = (
        "alive",
        "children",
        "end",
        "held",
        "ids",
        "is_queued",
        "key",
        "last_use",
        "locks",
        "number",
        "pages",
        "parent",
        "read_again",
    )

    def __init__(self, key: Key, ids: np.ndarray, pages: np.ndarray, parent: Node | None, number: int) -> None:
        self.key = key
        self.ids = ids
        self.pages = pages
        self.parent = parent
        self.children: dict[Key, Node] = {}
        self.end: int = len(ids) + (parent.end if parent else 0)
        self.locks = 0
        self.held = 0
        self.last_use = 0
        self.read_again = False
        self.is_queued = False
        self.alive = True
        self.number = number  # never used twice; settles ties, so that Nodes are never compared

    @property
    def namespace(self) -> str:
        return self.key[0]

    @property
    def is_evictable(self) -> bool:
        """It is an unlocked leaf (and not the root)."""
        return self.alive and not self.locks and not self.children and self.parent is not None
