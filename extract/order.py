"""The order in which requests go out: near neighbours together, so that shared prefixes meet in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")


def in_windows(items: Iterable[T], key: Callable[[T], Any], size: int) -> Iterator[T]:
    """The items, sorted by key within each window of `size`; at most one window is held in memory.

    Sorting prompts by their text puts those with the longest shared prefixes side by side.
    """
    rest = iter(items)
    while window := list(islice(rest, size)):
        yield from sorted(window, key=key)
