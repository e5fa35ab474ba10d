"""The radix tree: which prefixes have their KV in memory, in which pages, and which may be forgotten first.

Each node holds a run of token ids and the pages with the KV of those tokens; a path from the root spells a prefix.
One owner calls it, from one thread. Nothing in it knows what a page contains.

Who owns a page (page numbers come from an allocator the caller owns):

    allocator.take() -> caller -> insert() -> tree -> evict() -> caller -> allocator.give()

Handles. match() and insert() return a Node, the handle of a whole prefix. It goes on meaning that prefix when the
tree splits its run: the half further from the root stays the same object, the half nearer to it becomes a new node
with the same number of locks. Only a locked handle is sure to live; a handle whose tokens were evicted is dead, and
lock() says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .eviction import EvictionOrder
from .node import Key, Node
from .view import TreeView, view_nodes

TokenIds = Sequence[int] | np.ndarray


class Match(NamedTuple):
    """The longest cached prefix: its last node, its length in tokens, and its pages (int32) in order."""

    node: Node
    n_tokens: int
    pages: np.ndarray


class Inserted(NamedTuple):
    """The node that now ends with the inserted ids, and how many tokens were in the tree before."""

    node: Node
    n_already: int


class RadixTree:
    """Prefixes of token ids and the pages that hold their KV, whole pages only.

    page_tokens: how many tokens a page holds. A prefix is cached, matched and evicted in whole pages.
    on_evict: called with each node that evict() is about to forget, while it and its path still stand; it may look,
    and change nothing.  order: a new one, which decides what evict() forgets; None: the usual one.
    Namespaces never meet: ids inserted in one are not found in another.
    """

    def __init__(
        self,
        page_tokens: int = 1,
        on_evict: Callable[[Node], None] | None = None,
        order: EvictionOrder | None = None,
    ) -> None:
        if page_tokens < 1:
            raise ValueError(f"page_tokens is {page_tokens}; a page holds 1 token or more")
        self.page_tokens = page_tokens
        self.cached_pages = 0  # pages the tree owns
        self.locked_pages = 0  # those of them that lie under a lock
        self.on_evict = on_evict
        self.clock = 0  # one tick for each match() and insert()
        self._nodes_made = 0
        self.order = order or EvictionOrder()
        nothing = np.empty(0, dtype=np.int32)
        self.root = self._new_node(("", b""), nothing, nothing, None)

    @property
    def evictable_pages(self) -> int:
        """Pages evict() can free now."""
        return self.cached_pages - self.locked_pages

    # -- looking up -------------------------------------------------------------------------------------------

    def match(self, ids: TokenIds, namespace: str = "", *, own: bool = False) -> Match:
        """The longest cached prefix of ids, in whole pages; marks it as just used, and as read again.

        own: the request that computed it asks, which does not count as reading it again.

        A prefix that ends inside a run splits it, so that the returned node ends where the prefix does. Nothing
        cached: the root, 0 tokens, no pages. Lock the node before anything may evict.
        """
        path, n_tokens = self._walk(as_token_ids(ids), namespace)
        node = self._end_path_at(path, n_tokens)
        self._touch(path)
        if not own:
            for part in path:
                self.order.read(part, self.cached_pages)
        return Match(node, n_tokens, self._join_pages(path))

    def peek(self, ids: TokenIds, namespace: str = "") -> int:
        """How many tokens match() would find, with nothing changed."""
        return self._walk(as_token_ids(ids), namespace)[1]

    def path_pages(self, node: Node) -> np.ndarray:
        """The pages (int32) of the whole prefix that ends with node, in order."""
        return self._join_pages(self._path_to(node))

    def path_ids(self, node: Node) -> np.ndarray:
        """The token ids (int32) of the whole prefix that ends with node."""
        return np.concatenate([self.root.ids, *(part.ids for part in self._path_to(node))])

    def leaves(self) -> list[Node]:
        """The ends of all cached prefixes that no other goes on with, most recently used first. Walks the tree."""
        nodes = [self.root]
        for node in nodes:  # grows while it is walked
            nodes.extend(node.children.values())
        return sorted((node for node in nodes[1:] if not node.children), key=lambda node: -node.last_use)

    def _walk(self, ids: np.ndarray, namespace: str) -> tuple[list[Node], int]:
        """The nodes whose runs ids goes through, and the tokens found; the last run may be found in part only."""
        path: list[Node] = []
        node, done = self.root, 0
        while done == node.end and len(ids) - done >= self.page_tokens:
            child = node.children.get(self._key(namespace, ids[done:]))
            if child is None:
                break
            done += self._common_tokens(child.ids, ids[done:])
            path.append(child)
            node = child
        return path, done

    def _common_tokens(self, run: np.ndarray, ids: np.ndarray) -> int:
        """How many leading tokens agree, rounded down to whole pages."""
        n = min(len(run), len(ids))
        differs = run[:n] != ids[:n]
        first = int(differs.argmax()) if n else 0
        agree = first if n and differs[first] else n
        return agree - agree % self.page_tokens

    def _key(self, namespace: str, ids: np.ndarray) -> Key:
        return namespace, ids[: self.page_tokens].tobytes()

    def _path_to(self, node: Node) -> list[Node]:
        path = []
        while node.parent is not None:
            path.append(node)
            node = node.parent
        return path[::-1]

    def _join_pages(self, path: list[Node]) -> np.ndarray:
        return np.concatenate([self.root.pages, *(node.pages for node in path)])

    # -- growing ----------------------------------------------------------------------------------------------

    def insert(self, ids: TokenIds, pages: np.ndarray, namespace: str = "") -> Inserted:
        """Remember that pages hold the KV of ids; marks the whole prefix as just used.

        ids: a multiple of page_tokens of them.  pages: int, one for page_tokens ids. Both are copied.
        The tree takes the pages of the tokens beyond n_already:

            pages:  |<- n_already // page_tokens ->|<- the rest ->|
            owner:    as before the call             the tree

        The first part are duplicates the caller frees, or pages the tree lent it in a match. path_pages(node)
        gives those the tree holds. Raises ValueError, with nothing changed, when lengths do not fit.
        """
        ids = as_token_ids(ids)
        pages = self._checked_pages(ids, pages)
        path, n_already = self._walk(ids, namespace)
        node = self._end_path_at(path, n_already)
        if n_already < len(ids):
            node = self._add_leaf(node, namespace, ids[n_already:], pages[n_already // self.page_tokens :])
            path.append(node)
        self._touch(path)
        self.order.queue(node)
        return Inserted(node, n_already)

    def _checked_pages(self, ids: np.ndarray, pages: np.ndarray) -> np.ndarray:
        n_pages, left_over = divmod(len(ids), self.page_tokens)
        if left_over:
            raise ValueError(
                f"insert of {len(ids)} tokens: that is no multiple of page_tokens ({self.page_tokens}); "
                f"insert the first {len(ids) - left_over}"
            )
        pages = np.asarray(pages, dtype=np.int32)
        if pages.shape != (n_pages,):
            raise ValueError(f"insert of {len(ids)} tokens takes {n_pages} pages, not an array of {pages.shape}")
        return pages

    def _add_leaf(self, parent: Node, namespace: str, ids: np.ndarray, pages: np.ndarray) -> Node:
        leaf = self._new_node(self._key(namespace, ids), ids.copy(), pages.copy(), parent)
        parent.children[leaf.key] = leaf
        self.cached_pages += len(pages)
        self.order.unlocked(leaf)
        return leaf

    def _end_path_at(self, path: list[Node], n_tokens: int) -> Node:
        """The node that ends after n_tokens of the path; splits the path's last run where it goes further."""
        if not path:
            return self.root
        if path[-1].end > n_tokens:
            path[-1] = self._split(path[-1], n_tokens)
        return path[-1]

    def _split(self, node: Node, at: int) -> Node:
        """Cut node's run where the prefix has `at` tokens; returns the new node nearer to the root.

        node stays itself, with its locks and its children, and keeps the rest of its run. Each lock on node or
        below it went through the whole run, so the new node has as many; none is held on it directly.
        """
        parent = node.parent
        assert parent is not None
        n_ids = at - parent.end
        n_pages = n_ids // self.page_tokens
        upper = self._new_node(node.key, node.ids[:n_ids], node.pages[:n_pages], parent)
        upper.locks = node.locks
        upper.last_use = node.last_use
        upper.read_again = node.read_again
        parent.children[node.key] = upper
        node.ids, node.pages = node.ids[n_ids:], node.pages[n_pages:]
        node.key = self._key(node.namespace, node.ids)
        node.parent = upper
        upper.children[node.key] = node
        return upper

    def _new_node(self, key: Key, ids: np.ndarray, pages: np.ndarray, parent: Node | None) -> Node:
        self._nodes_made += 1
        return Node(key, ids, pages, parent, self._nodes_made)

    def _touch(self, path: list[Node]) -> None:
        self.clock += 1
        for node in path:
            node.last_use = self.clock

    # -- locking ----------------------------------------------------------------------------------------------

    def lock(self, node: Node) -> None:
        """Keep node's whole prefix until unlock(node). Locks count. Raises LookupError when node was evicted."""
        if not node.alive:
            raise LookupError("lock: this prefix was evicted since it was matched; match it again")
        node.held += 1
        for part in self._path_to(node):
            if part.locks == 0:
                self.locked_pages += len(part.pages)
                self.order.locked(part)
            part.locks += 1

    def unlock(self, node: Node) -> None:
        """Undo one lock(node). Raises ValueError when there is none on this node to undo."""
        if node.held == 0:
            raise ValueError("unlock: this node is not locked; unlock the very node that was locked, once")
        node.held -= 1
        for part in self._path_to(node):
            part.locks -= 1
            if part.locks == 0:
                self.locked_pages -= len(part.pages)
                self.order.unlocked(part)
        self.order.queue(node)

    # -- forgetting -------------------------------------------------------------------------------------------

    def evict(self, n_pages: int) -> np.ndarray:
        """Forget n_pages pages and hand them to the caller, int32; fewer where fewer are evictable.

        Tails of unlocked leaves go first, in the order of eviction.py; a node whose last child went is a leaf in
        turn. A leaf longer than what is missing loses only its tail.
        """
        if n_pages < 0:
            raise ValueError(f"evict({n_pages}): the number of pages must be 0 or more")
        n_pages = min(n_pages, self.evictable_pages)
        n_once = self.order.once_quota(n_pages, self.evictable_pages)
        freed = self._evict(n_once, once_first=True) + self._evict(n_pages - n_once, once_first=False)
        return np.concatenate([self.root.pages, *freed])

    def clear(self) -> np.ndarray:
        """Forget all that is not locked, and what was learned of its use; the pages, int32, now the caller's."""
        pages = self.evict(self.evictable_pages)
        self.order.forget()
        return pages

    def _evict(self, n_pages: int, *, once_first: bool) -> list[np.ndarray]:
        freed: list[np.ndarray] = []
        missing = n_pages
        while missing and (leaf := self.order.next_leaf(once_first=once_first)) is not None:
            if len(leaf.pages) > missing:
                self._split(leaf, leaf.end - missing * self.page_tokens)
            if self.on_evict is not None:
                self.on_evict(leaf)
            missing -= len(leaf.pages)
            freed.append(leaf.pages)
            self._remove(leaf)
        return freed

    def _remove(self, leaf: Node) -> None:
        parent = leaf.parent
        assert parent is not None
        self.order.lost(leaf, self.cached_pages)
        del parent.children[leaf.key]
        leaf.parent = None
        leaf.alive = False
        self.cached_pages -= len(leaf.pages)
        self.order.queue(parent)

    # -- drawing ----------------------------------------------------------------------------------------------

    def snapshot(self, ids_per_node: int | None = 16) -> TreeView:
        """The tree as plain frozen data. ids_per_node: how many of each node's ids to show; None: all.

        Walks the whole tree: for people looking, not for each step.
        """
        return TreeView(
            page_tokens=self.page_tokens,
            clock=self.clock,
            cached_pages=self.cached_pages,
            locked_pages=self.locked_pages,
            nodes=view_nodes(self.root, ids_per_node),
        )


def as_token_ids(ids: TokenIds) -> np.ndarray:
    """ids as one row of int32 (the same array where it is one already). Raises ValueError when they are not ids."""
    row = np.asarray(ids)
    if row.dtype == np.int32 and row.ndim == 1:
        return row
    if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
        raise ValueError(f"token ids must be one row of integers, not {row.dtype} of shape {row.shape}")
    if row.size and not (row.min() >= 0 and row.max() < 2**31):
        raise ValueError(f"token ids must be 0 to 2**31 - 1, not {row.min()} to {row.max()}")
    return row.astype(np.int32)
