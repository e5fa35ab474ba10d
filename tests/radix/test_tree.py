"""The tree against plain models that compare one id at a time."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.radix import eviction, node
from rootform.radix import tree as tree_module
from rootform.radix.tree import RadixTree, as_token_ids

PAGE_TOKENS = [1, 2, 4]
token_ids = st.lists(st.integers(0, 2), max_size=12)  # few ids, short lists: collisions are likely
namespaces = st.sampled_from(["", "tenant"])


class PlainCache:
    """What is cached: each whole-page prefix, by namespace and ids, with the page of its last tokens."""

    def __init__(self, page_tokens: int) -> None:
        self.page_tokens = page_tokens
        self.page_of: dict[tuple, int] = {}

    def prefixes(self, ids, namespace):
        for end in range(self.page_tokens, len(ids) + 1, self.page_tokens):
            yield (namespace, *ids[:end])

    def match(self, ids, namespace):
        pages = []
        for prefix in self.prefixes(ids, namespace):
            if prefix not in self.page_of:
                break
            pages.append(self.page_of[prefix])
        return len(pages) * self.page_tokens, pages

    def insert(self, ids, pages, namespace):
        for prefix, page in zip(self.prefixes(ids, namespace), pages, strict=True):
            self.page_of.setdefault(prefix, page)


@settings(max_examples=300, deadline=None)
@given(
    cached=st.lists(st.tuples(token_ids, namespaces), max_size=8),
    queries=st.lists(st.tuples(token_ids, namespaces), max_size=6),
    page_tokens=st.sampled_from(PAGE_TOKENS),
)
def test_match_agrees_with_comparing_everything(cached, queries, page_tokens):
    tree, plain = RadixTree(page_tokens), PlainCache(page_tokens)
    next_page = 0
    for ids, namespace in cached:
        ids = ids[: len(ids) - len(ids) % page_tokens]
        pages = np.arange(next_page, next_page + len(ids) // page_tokens)
        next_page += len(pages)
        expected, _ = plain.match(ids, namespace)
        inserted = tree.insert(ids, pages, namespace)
        plain.insert(ids, pages.tolist(), namespace)
        assert inserted.n_already == expected
        assert inserted.node.end == len(ids)
        assert tree.path_pages(inserted.node).tolist() == plain.match(ids, namespace)[1]
    for ids, namespace in queries:
        n_tokens, pages = plain.match(ids, namespace)
        assert tree.peek(ids, namespace) == n_tokens
        match = tree.match(ids, namespace)
        assert match.n_tokens == n_tokens == match.node.end
        assert match.pages.tolist() == pages
        assert match.pages.dtype == np.int32
    assert tree.cached_pages == tree.evictable_pages == len(plain.page_of)


def test_what_the_caller_does_to_its_arrays_later_changes_nothing():
    tree = RadixTree()
    ids, pages = np.array([1, 2, 3], dtype=np.int32), np.array([7, 8, 9], dtype=np.int32)
    tree.insert(ids, pages)
    ids[:] = 0
    pages[:] = 0
    match = tree.match([1, 2, 3])
    match.pages[:] = 0
    assert tree.match([1, 2, 3]).pages.tolist() == [7, 8, 9]


def test_peek_neither_splits_nor_counts_as_use():
    tree = RadixTree()
    tree.insert([1, 2, 3], np.array([0, 1, 2]))
    tree.insert([4], np.array([3]))
    before = tree.snapshot()
    assert tree.peek([1, 2]) == 2
    assert tree.snapshot() == before
    assert tree.evict(3).tolist() == [0, 1, 2]


def test_a_handle_means_its_whole_prefix_after_its_run_was_split():
    tree = RadixTree()
    node = tree.insert([1, 2, 3, 4], np.arange(4)).node
    tree.lock(node)
    upper = tree.match([1, 2]).node
    assert upper is node.parent
    assert node.end == 4
    assert tree.path_pages(node).tolist() == [0, 1, 2, 3]
    assert tree.locked_pages == 4
    tree.lock(upper)
    tree.unlock(node)
    assert tree.locked_pages == 2
    assert tree.evict(4).tolist() == [2, 3]
    tree.unlock(upper)
    assert tree.clear().tolist() == [0, 1]
    assert tree.cached_pages == 0


def test_only_the_tail_that_is_needed_is_evicted():
    tree = RadixTree(page_tokens=2)
    tree.insert([1, 2, 3, 4, 5, 6], np.arange(3))
    assert tree.evict(1).tolist() == [2]
    assert tree.peek([1, 2, 3, 4, 5, 6]) == 4
    assert tree.evict(9).tolist() == [0, 1]
    assert tree.evict(1).tolist() == []


def test_the_least_recently_used_goes_first():
    tree = RadixTree()
    for first in (1, 2, 3):
        tree.insert([first, 9], np.arange(first * 10, first * 10 + 2))
    tree.match([1, 9])
    tree.match([2])  # splits: the tail [9] keeps its age
    freed = [tree.evict(1).tolist() for _ in range(6)]
    assert freed == [[21], [31], [30], [11], [10], [20]]


def serve(tree: RadixTree, ids: list[int], room: int) -> int:
    """One request with this prompt, as an engine serves it that has room for so many tokens; the tokens computed."""
    n_cached = tree.match(ids[:-1]).n_tokens
    tree.evict(max(0, tree.cached_pages + len(ids) - n_cached - room))
    tree.insert(ids, np.zeros(len(ids)))
    return len(ids) - n_cached


def test_texts_that_come_once_do_not_drive_out_those_that_come_again():
    tree = RadixTree()
    shared = list(range(100, 140))
    for n in range(4):
        serve(tree, [*shared, n], 100)
    for n in range(50):
        serve(tree, [1000 + n] * 30, 100)
    assert tree.peek(shared) == 40
    assert tree.cached_pages <= 100


def test_the_newest_turns_of_conversations_stay():
    """Each is read again when the next turn comes, though only once so far; the ended conversations are older."""
    tree, n_computed = RadixTree(), 0
    for first in range(0, 40, 8):  # eight at a time, in turns
        talks = [[first + n] for n in range(8)]
        for turn in range(4):
            for talk in talks:
                talk += [turn] * 10
                n_computed += serve(tree, talk, 8 * 41 + 20)
    assert n_computed == 40 * 41


def test_a_split_run_keeps_its_age_on_both_sides():
    tree = RadixTree()
    tree.insert([1, 2, 3], np.arange(3))
    tree.insert([4], np.array([3]))
    tree.evict(1)
    assert [node.last_use for node in tree.snapshot().nodes] == [1, 2]


def test_locks_are_undone_on_the_node_that_was_locked():
    tree = RadixTree()
    node = tree.insert([1, 2, 3], np.arange(3)).node
    upper = tree.match([1]).node
    tree.lock(node)
    with pytest.raises(ValueError, match="not locked"):
        tree.unlock(upper)
    tree.unlock(node)
    with pytest.raises(ValueError, match="not locked"):
        tree.unlock(node)
    assert tree.locked_pages == 0


def test_a_dead_handle_is_told():
    tree = RadixTree()
    node = tree.insert([1, 2, 3], np.arange(3)).node
    tree.evict(1)
    with pytest.raises(LookupError, match="evicted since it was matched"):
        tree.lock(node)
    assert tree.match([1, 2, 3]).n_tokens == 2


def test_a_miss_gives_a_handle_that_can_be_locked():
    tree = RadixTree()
    match = tree.match([1, 2])
    assert match.n_tokens == 0
    assert match.pages.tolist() == []
    tree.lock(match.node)
    assert tree.locked_pages == 0
    tree.unlock(match.node)


@pytest.mark.parametrize(
    ("ids", "pages", "message"),
    [
        ([1, 2, 3], [0], "insert the first 2"),
        ([1, 2, 3, 4], [0], "takes 2 pages"),
        ([[1, 2]], [0], "one row of integers"),
        ([0.5, 1.0], [0], "one row of integers"),
        ([1, 2**31], [0], r"0 to 2\*\*31 - 1"),
        ([-1, 2], [0], r"0 to 2\*\*31 - 1"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(ids, pages, message):
    tree = RadixTree(page_tokens=2)
    with pytest.raises(ValueError, match=message):
        tree.insert(ids, np.array(pages))
    assert tree.cached_pages == 0


def test_other_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="1 token or more"):
        RadixTree(0)
    with pytest.raises(ValueError, match="0 or more"):
        RadixTree().evict(-1)


def test_int32_ids_are_not_copied():
    ids = np.array([1, 2], dtype=np.int32)
    assert as_token_ids(ids) is ids


def test_snapshot_shows_the_tree():
    tree = RadixTree(page_tokens=2)
    tree.lock(tree.insert([1, 2, 3, 4, 5, 6], np.arange(3)).node)
    tree.insert([1, 2, 9, 9], np.arange(3, 5))
    tree.insert([1, 2], np.array([9]), "tenant")
    view = tree.snapshot(ids_per_node=3)
    assert (view.cached_pages, view.locked_pages) == (5, 3)
    stem, other, first, second = view.nodes
    assert (stem.namespace, other.namespace) == ("", "tenant")
    assert stem.children == (2, 3)
    assert (stem.parent, first.parent, second.parent) == (None, 0, 0)
    assert (stem.first_ids, first.first_ids, second.first_ids) == ((1, 2), (3, 4, 5), (9, 9))
    assert (first.n_tokens, first.n_pages) == (4, 2)
    assert (stem.locks, first.locks, second.locks) == (1, 1, 0)
    assert first.last_use < second.last_use < other.last_use


# -- how much work a call does, counted rather than timed -----------------------------------------------------


class Work:
    """Counts tokens and nodes that RadixTree compares and splits."""

    def __init__(self, monkeypatch):
        self.nodes = self.tokens = self.splits = self.heap_pops = 0
        compare, split, pop = RadixTree._common_tokens, RadixTree._split, eviction.heappop

        def counted_compare(tree, run, ids):
            self.nodes += 1
            self.tokens += min(len(run), len(ids))
            return compare(tree, run, ids)

        def counted_split(tree, node, at):
            self.splits += 1
            return split(tree, node, at)

        def counted_pop(heap):
            self.heap_pops += 1
            return pop(heap)

        monkeypatch.setattr(RadixTree, "_common_tokens", counted_compare)
        monkeypatch.setattr(RadixTree, "_split", counted_split)
        monkeypatch.setattr(eviction, "heappop", counted_pop)


def wide_tree(n_leaves: int) -> RadixTree:
    """n_leaves prefixes that share their first 8 tokens and then differ."""
    tree = RadixTree()
    for leaf in range(n_leaves):
        ids = [*range(8), leaf, 1, 2, 3]
        tree.insert(ids, np.arange(leaf * 12, leaf * 12 + 12))
    return tree


@pytest.mark.parametrize("n_leaves", [10, 2000])
def test_match_and_insert_compare_each_token_once(monkeypatch, n_leaves):
    tree = wide_tree(n_leaves)
    work = Work(monkeypatch)
    tree.match([*range(8), 5, 1, 2, 3, 4, 4])
    assert (work.nodes, work.tokens, work.splits) == (2, 12, 0)
    tree.insert([*range(8), 5, 1, 7], np.arange(11))
    assert (work.nodes, work.tokens, work.splits) == (4, 12 + 11, 1)


def test_work_grows_with_the_tokens_walked_not_faster(monkeypatch):
    tree = RadixTree()
    for end in range(1, 301):  # a chain of 300 nodes
        tree.insert(range(end), np.arange(end))
    work = Work(monkeypatch)
    assert tree.match(range(300)).n_tokens == 300
    assert work.tokens == work.nodes == 300


def lines_run(function, *arguments) -> int:
    """How many lines of the tree's modules a call executes: catches a scan wherever it hides."""
    count = 0
    files = {module.__file__ for module in (tree_module, eviction, node)}

    def trace(frame, event, _):
        nonlocal count
        if frame.f_code.co_filename not in files:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return count


def test_evicting_and_matching_do_not_visit_the_whole_tree():
    small, large = wide_tree(10), wide_tree(2000)
    for n_pages in (1, 4, 6):
        lines = lines_run(small.evict, n_pages)
        assert 0 < lines == lines_run(large.evict, n_pages)
    assert lines_run(small.match, range(12)) == lines_run(large.match, range(12))
    node = large.match([*range(8), 1999, 1]).node
    assert lines_run(large.lock, node) < 60
    assert lines_run(large.unlock, node) < 60


def test_eviction_pays_for_each_use_at_most_once(monkeypatch):
    """Matches leave stale entries in the heaps, the first one a void one; each is put right once, at the top."""
    tree = wide_tree(50)
    for _ in range(5):
        for leaf in range(50):
            tree.match([*range(8), leaf, 1, 2, 3])
    work = Work(monkeypatch)
    freed = tree.evict(50 * 4)
    assert freed.tolist() == [page for leaf in range(50) for page in range(leaf * 12 + 8, leaf * 12 + 12)]
    assert work.heap_pops <= 3 * 50
    assert len(tree.order._once) + len(tree.order._again) == 1
