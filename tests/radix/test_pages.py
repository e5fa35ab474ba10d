"""The page allocator against a plain set of free pages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.radix.pages import PageAllocator


def is_one_run(pages: np.ndarray) -> bool:
    return bool((np.diff(pages) == 1).all())


def longest_run(free: set[int]) -> int:
    """Length of the longest run of neighbours, by counting."""
    best = 0
    for page in free:
        length = 0
        while page + length in free:
            length += 1
        best = max(best, length)
    return best


@settings(max_examples=150, deadline=None)
@given(data=st.data(), total=st.integers(0, 24))
def test_any_order_of_take_and_give_agrees_with_a_set(data, total):
    allocator, free, out = PageAllocator(total), set(range(total)), []
    for _ in range(data.draw(st.integers(1, 20))):
        if data.draw(st.booleans()):
            n = data.draw(st.integers(0, 9))
            pages = allocator.take(n)
            if n > len(free):
                assert pages is None
            else:
                assert pages is not None
                assert pages.dtype == np.int32
                assert len(pages) == n
                assert set(pages.tolist()) <= free
                assert (np.diff(pages) > 0).all()
                assert is_one_run(pages) == (n <= longest_run(free))
                free -= set(pages.tolist())
                out += pages.tolist()
        else:
            out = data.draw(st.permutations(out))
            n = data.draw(st.integers(0, len(out)))
            allocator.give(np.array(out[:n], dtype=np.int32))
            free |= set(out[:n])
            out = out[n:]
        assert allocator.free == len(free)
    allocator.give(np.array(out, dtype=np.int32))
    whole = allocator.take(total)
    assert whole is not None
    assert whole.tolist() == list(range(total))


def test_the_shortest_run_that_fits_is_used():
    allocator = PageAllocator(20)
    allocator.take(20)
    allocator.give(np.r_[0:8, 10:13, 15:20])
    assert allocator.take(3).tolist() == [10, 11, 12]
    assert allocator.take(4).tolist() == [15, 16, 17, 18]


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        ([3], "page 3 was given back, but it is free already"),
        ([1, 1], "page 1 was given back twice in one call"),
        ([2, 10], "page 10 was given back, but pages are 0 to 9"),
        ([-1, 2], "page -1 was given back, but pages are 0 to 9"),
    ],
)
def test_wrong_pages_are_refused_and_nothing_changes(pages, message):
    allocator = PageAllocator(10)
    allocator.take(3)
    with pytest.raises(ValueError, match=message):
        allocator.give(np.array(pages, dtype=np.int32))
    assert allocator.free == 7
    allocator.give(np.array([0, 1, 2], dtype=np.int32))
    assert allocator.free == 10


def test_pages_are_numbers_in_one_row():
    with pytest.raises(ValueError, match="one row of integers"):
        PageAllocator(4).give(np.array([0.5]))
    with pytest.raises(ValueError, match="must be 0 or more"):
        PageAllocator(4).take(-1)
    with pytest.raises(ValueError, match="0 pages or more"):
        PageAllocator(-1)
