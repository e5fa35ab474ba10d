"""The radix tree and KV memory together: sequences take their cached prefix from the tree and hand theirs back.

Who holds the KV of a sequence's tokens, by position:

    |<- n_shared: pages of the tree, locked ->|<- up to n computed: the slot's own room ->|
       publish() moves the boundary right; leave() unlocks the first part and frees the second

What the tree evicts goes to the tiers (radix/tiers.py), where there are any, and is read back into pages of the tree
when a sequence begins with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..radix.node import Node
from ..radix.tiers import Copy, Tiers
from ..radix.tree import Match, RadixTree
from .ports import Memory


@dataclass(slots=True)
class Room:
    """A sequence's place in memory. n_shared: its first tokens that are read from the tree's pages.

    node: the locked end of that prefix, None when the tree is not in use.
    """

    slot: int
    capacity: int
    namespace: str
    node: Node | None
    n_shared: int


class Prefixes:
    """Owns the tree and the tiers, and is the only one to take pages from or give pages to memory.

    enabled False: nothing is looked up and nothing remembered.  tiers None: what is evicted is forgotten.
    """

    def __init__(self, memory: Memory, enabled: bool = True, tiers: Tiers | None = None) -> None:
        self.memory = memory
        self.enabled = enabled
        self.tiers = tiers if enabled else None
        self.tree = RadixTree(memory.page_tokens, None if self.tiers is None else self._note_evicted)

    def n_cached(self, ids: np.ndarray, namespace: str) -> int:
        """How many tokens take() would find. The last token of ids is never among them: its logits are wanted."""
        if not self.enabled:
            return 0
        n_tokens = self.tree.peek(ids[:-1], namespace)
        return n_tokens if self.tiers is None else self.tiers.reach(ids[:-1], namespace, n_tokens)

    def take(self, ids: np.ndarray, namespace: str, capacity: int, *, again: bool = False) -> Room | None:
        """Room for a sequence of up to `capacity` tokens that begins with ids; None when there is none now.

        again: it had room before, and what it finds may be its own.  Evicts unlocked prefixes when memory is short, and
        none when that would not be enough: one who waits for a large room costs the others nothing.
        """
        if not self.enabled:
            slot = self.memory.open(np.empty(0, dtype=np.int32), 0, capacity)
            return None if slot is None else Room(slot, capacity, namespace, None, 0)
        match = self.tree.match(ids[:-1], namespace, own=again)
        self.tree.lock(match.node)
        if self.tiers is not None:
            try:
                match = self._read_back(self.tiers, match, ids[:-1], namespace, capacity)
                if not again:
                    self.tiers.read_again(ids[: match.n_tokens], namespace, self._copier(match.pages))
            except BaseException:
                self.tree.unlock(match.node)
                raise
        while (slot := self.memory.open(match.pages, match.n_tokens, capacity)) is None:
            missing = self._pages(capacity - match.n_tokens) - self.memory.free_pages
            if missing > self.tree.evictable_pages or not self._evict(missing):
                self.tree.unlock(match.node)
                return None
        return Room(slot, capacity, namespace, match.node, match.n_tokens)

    def publish(self, room: Room, ids: np.ndarray) -> None:
        """Remember the KV of ids (all of them computed) in the tree, and read it from there. In whole pages.

        Where memory has no room for it, the sequence goes on with what is its own.
        """
        if room.node is None:
            return
        match = self._remember(room, ids)
        if match.n_tokens <= room.n_shared:
            self.tree.unlock(match.node)
            return
        self.memory.adopt(room.slot, match.pages, match.n_tokens)
        self.tree.unlock(room.node)
        room.node, room.n_shared = match.node, match.n_tokens

    def leave(self, room: Room, ids: np.ndarray) -> None:
        """End a sequence, after remembering the KV of ids (all of them computed; may be empty)."""
        try:
            if room.node is not None and len(ids):
                self.tree.unlock(self._remember(room, ids).node)
        finally:
            self.memory.close(room.slot)
            if room.node is not None:
                self.tree.unlock(room.node)

    def forget_all(self) -> bool:
        """Give all pages no sequence reads back to memory; False when there were none."""
        pages = self.tree.clear()
        self.memory.give_back(pages)
        return len(pages) > 0

    def clear(self) -> None:
        """Forget all that no sequence reads, in the tiers too."""
        self.tree.on_evict = None
        try:
            self.forget_all()
        finally:
            self.tree.on_evict = None if self.tiers is None else self._note_evicted
        if self.tiers is not None:
            self.tiers.clear()

    def close(self, *, keep: bool) -> None:
        """The end: keep in files what they have room for (keep), and wait until it is written."""
        if self.tiers is None:
            return
        tiers, self.tiers, self.tree.on_evict = self.tiers, None, None
        for leaf in self.tree.leaves() if keep else ():
            copy = self._copier(self.tree.path_pages(leaf))
            if not tiers.fill(self.tree.path_ids(leaf), leaf.namespace, copy):
                break
        tiers.close()

    # -- tiers ------------------------------------------------------------------------------------------------

    def _read_back(self, tiers: Tiers, match: Match, ids: np.ndarray, namespace: str, capacity: int) -> Match:
        """Bring into the tree what the tiers have beyond a match. The longer match, locked instead of the other."""
        stop = tiers.reach(ids, namespace, match.n_tokens)
        needed = self._pages(stop - match.n_tokens)
        if not needed or needed + self._pages(capacity - stop) > self.memory.free_pages + self.tree.evictable_pages:
            return match
        pieces = tiers.read(ids, namespace, match.n_tokens, stop)
        new = self._copy_in(pieces) if pieces else None
        if new is None:
            return match
        stop = match.n_tokens + len(new) * self.tree.page_tokens
        pages = np.concatenate([match.pages, new])
        node = self.tree.insert(ids[:stop], pages, namespace).node
        self.tree.lock(node)
        self.tree.unlock(match.node)
        return Match(node, stop, pages)

    def _copy_in(self, pieces: list[np.ndarray]) -> np.ndarray | None:
        n_pages = sum(len(piece) for piece in pieces)
        while (pages := self.memory.copy_in(pieces)) is None:
            if not self._evict(n_pages - self.memory.free_pages):
                return None
        return pages

    def _note_evicted(self, leaf: Node) -> None:
        """Called by the tree. Most evictions take a few tokens, in which no block ends."""
        assert self.tiers is not None
        start = leaf.end - len(leaf.ids)
        if start // self.tiers.block_tokens < leaf.end // self.tiers.block_tokens:
            copy = self._copier(self.tree.path_pages(leaf))
            self.tiers.evicted(self.tree.path_ids(leaf), leaf.namespace, start, copy)

    def _copier(self, pages: np.ndarray) -> Copy:
        """pages: of a prefix."""
        size = self.tree.page_tokens
        return lambda start, stop: self.memory.copy_out(pages[start // size : stop // size])

    # -- inside -----------------------------------------------------------------------------------------------

    def _remember(self, room: Room, ids: np.ndarray) -> Match:
        """Hand the tree pages for what it lacks of ids. The prefix it then holds, locked for the caller."""
        ids = ids[: len(ids) - len(ids) % self.tree.page_tokens]
        match = self.tree.match(ids, room.namespace, own=True)
        self.tree.lock(match.node)
        if match.n_tokens == len(ids):
            return match
        new = self._share(room, match.n_tokens, len(ids))
        if new is None:
            return match
        pages = np.concatenate([match.pages, new])
        node = self.tree.insert(ids, pages, room.namespace).node
        self.tree.lock(node)
        self.tree.unlock(match.node)
        return Match(node, len(ids), pages)

    def _share(self, room: Room, start: int, stop: int) -> np.ndarray | None:
        while (pages := self.memory.share(room.slot, start, stop)) is None:
            if not self._evict(self._pages(stop - start) - self.memory.free_pages):
                return None
        return pages

    def _evict(self, n_pages: int) -> bool:
        """Free at least one page, n_pages where it can; False when the tree has nothing to give."""
        pages = self.tree.evict(max(1, n_pages))
        self.memory.give_back(pages)
        return len(pages) > 0

    def _pages(self, n_tokens: int) -> int:
        return -(-n_tokens // self.tree.page_tokens)
