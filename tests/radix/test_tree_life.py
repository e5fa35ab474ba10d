"""Tree and allocator together, in any order of calls, against a model that knows each page by itself."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rootform.radix.node import Node
from rootform.radix.pages import PageAllocator
from rootform.radix.tree import RadixTree

TOTAL_PAGES = 24
token_ids = st.lists(st.integers(0, 1), max_size=14)
namespaces = st.sampled_from(["", "tenant"])


@dataclass(eq=False)
class PlainPage:
    """One page of one prefix: the whole truth about it."""

    prefix: tuple  # the namespace, then all ids up to the end of the page
    page: int
    locks: int = 0
    last_use: int = 0
    read_again: bool = False


@dataclass
class Handle:
    """A node the tree returned, and the plain pages of the prefix it stands for."""

    node: Node
    plain: list[PlainPage]
    locks: int = 0


class TreeLife(RuleBasedStateMachine):
    """Every rule does the same to the tree and to `plain`, a dict of pages where all is looked up the slow way."""

    page_tokens = 1

    def __init__(self):
        super().__init__()
        self.allocator = PageAllocator(TOTAL_PAGES)
        self.tree = RadixTree(self.page_tokens)
        self.plain: dict[tuple, PlainPage] = {}
        self.handles: list[Handle] = []
        self.clock = 0

    # -- the model ----------------------------------------------------------------------------------------

    def plain_path(self, ids, namespace) -> list[PlainPage]:
        path = []
        for end in range(self.page_tokens, len(ids) + 1, self.page_tokens):
            entry = self.plain.get((namespace, *ids[:end]))
            if entry is None:
                break
            path.append(entry)
        return path

    def touch(self, path):
        self.clock += 1
        for entry in path:
            entry.last_use = self.clock

    def is_leaf(self, entry) -> bool:
        n = len(entry.prefix)
        return not any(len(p) == n + self.page_tokens and p[:n] == entry.prefix for p in self.plain)

    def plain_evict(self, n_pages) -> list[int]:
        """Page by page, oldest first: as many that were read once as are too many, then any."""
        unlocked = [entry for entry in self.plain.values() if not entry.locks]
        n_once, n_left = sum(not entry.read_again for entry in unlocked), len(unlocked) - n_pages
        share = self.tree.order.once_share
        quota = next(n for n in range(n_once + 1) if n_once - n <= share * max(0, n_left))
        freed = []
        while len(freed) < n_pages:
            leaves = [e for e in self.plain.values() if not e.locks and self.is_leaf(e)]
            if not leaves:
                break
            once_first = len(freed) < quota
            first = min(leaves, key=lambda entry: (once_first and entry.read_again, entry.last_use))
            del self.plain[first.prefix]
            freed.append(first.page)
        return freed

    def is_live(self, handle) -> bool:
        return all(self.plain.get(entry.prefix) is entry for entry in handle.plain)

    def keep(self, node, path):
        assert node.end == len(path) * self.page_tokens
        self.handles.append(Handle(node, path))

    # -- what may happen ----------------------------------------------------------------------------------

    @rule(ids=token_ids, namespace=namespaces, own=st.booleans())
    def match(self, ids, namespace, own):
        path = self.plain_path(ids, namespace)
        assert self.tree.peek(ids, namespace) == len(path) * self.page_tokens
        found = self.tree.match(ids, namespace, own=own)
        assert found.n_tokens == len(path) * self.page_tokens
        assert found.pages.tolist() == [entry.page for entry in path]
        self.touch(path)
        for entry in path:
            entry.read_again |= not own
        self.keep(found.node, path)

    @rule(ids=token_ids, namespace=namespaces)
    def insert(self, ids, namespace):
        ids = ids[: len(ids) - len(ids) % self.page_tokens]
        pages = self.allocator.take(len(ids) // self.page_tokens)
        if pages is None:
            return
        path = self.plain_path(ids, namespace)
        node, n_already = self.tree.insert(ids, pages, namespace)
        assert n_already == len(path) * self.page_tokens
        self.allocator.give(pages[: len(path)])
        for i in range(len(path), len(pages)):
            prefix = (namespace, *ids[: (i + 1) * self.page_tokens])
            self.plain[prefix] = PlainPage(prefix, int(pages[i]))
            path.append(self.plain[prefix])
        self.touch(path)
        self.keep(node, path)

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def lock(self, data):
        handle = data.draw(st.sampled_from(self.handles))
        if not self.is_live(handle):
            with pytest.raises(LookupError):
                self.tree.lock(handle.node)
            return
        self.tree.lock(handle.node)
        handle.locks += 1
        for entry in handle.plain:
            entry.locks += 1

    @precondition(lambda self: any(handle.locks for handle in self.handles))
    @rule(data=st.data())
    def unlock(self, data):
        handle = data.draw(st.sampled_from([handle for handle in self.handles if handle.locks]))
        self.tree.unlock(handle.node)
        handle.locks -= 1
        for entry in handle.plain:
            entry.locks -= 1

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def unlock_once_too_often(self, data):
        node = data.draw(st.sampled_from(self.handles)).node
        if not any(handle.locks for handle in self.handles if handle.node is node):
            with pytest.raises(ValueError, match="not locked"):
                self.tree.unlock(node)

    @rule(n_pages=st.integers(0, 8))
    def evict(self, n_pages):
        expected = self.plain_evict(n_pages)
        freed = self.tree.evict(n_pages)
        assert sorted(freed.tolist()) == sorted(expected)
        self.allocator.give(freed)

    # -- what always holds --------------------------------------------------------------------------------

    @invariant()
    def live_handles_spell_their_prefix(self):
        for handle in self.handles:
            assert handle.node.alive == self.is_live(handle)
            if handle.node.alive:
                assert self.tree.path_pages(handle.node).tolist() == [entry.page for entry in handle.plain]

    @invariant()
    def counters_agree(self):
        assert self.tree.cached_pages == len(self.plain)
        assert self.tree.locked_pages == sum(entry.locks > 0 for entry in self.plain.values())
        assert self.tree.evictable_pages == self.tree.cached_pages - self.tree.locked_pages
        once = sum(not entry.locks and not entry.read_again for entry in self.plain.values())
        assert self.tree.order.once_pages == once
        assert 0.1 <= self.tree.order.once_share <= 1
        assert self.allocator.free == TOTAL_PAGES - len(self.plain)  # none leaked

    @invariant()
    def each_page_stands_once_with_its_locks(self):
        seen: dict[int, Node] = {}
        nodes = list(self.tree.root.children.values())
        for node in nodes:
            nodes.extend(node.children.values())
            assert len(node.ids) == len(node.pages) * self.page_tokens > 0
            assert node.locks == node.held + sum(child.locks for child in node.children.values())
            assert node.read_again or not any(child.read_again for child in node.children.values())
            for page in node.pages.tolist():
                assert page not in seen
                seen[page] = node
        for entry in self.plain.values():
            node = seen.pop(entry.page)
            assert node.locks == entry.locks >= 0
            assert node.read_again == entry.read_again
        assert not seen
        order = self.tree.order
        once = [node for _, _, node in order._once if not node.read_again]
        for queued in (once, [node for _, _, node in order._again]):
            assert len(queued) == len(set(queued))

    def teardown(self):
        for handle in self.handles:
            for _ in range(handle.locks):
                self.tree.unlock(handle.node)
        self.allocator.give(self.tree.clear())
        everything = self.allocator.take(TOTAL_PAGES)
        assert everything is not None
        assert np.array_equal(everything, np.arange(TOTAL_PAGES))
        assert self.tree.cached_pages == self.tree.locked_pages == 0


def life_of_pages_of(n: int):
    machine = type(f"TreeLifeOfPages{n}", (TreeLife,), {"page_tokens": n})
    case = machine.TestCase
    case.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
    return case


TestPagesOf1 = life_of_pages_of(1)
TestPagesOf2 = life_of_pages_of(2)
TestPagesOf4 = life_of_pages_of(4)
