"""Large sets of words as expressions that unfold letter by letter, where they are walked, and nowhere else.

Written out, a trie of some hundred thousand words is millions of nodes. Here the words stay a sorted list: a node is
the interval of those that have a beginning in common, and one step is a few binary searches.
"""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .work import tick

Word = TypeVar("Word", bytes, str)

FEW = 16
"""Intervals of at most so many words are written out."""

_SORTED_AT_ONCE = 10_000


class Letter(NamedTuple):
    """A letter that words go on with, and the interval of those that do."""

    letter: str | int
    first: int
    last: int


class Words:
    """A sorted set of words; equal sets are equal. Never changes.

    spell: the expression of one letter, a byte (int) of bytes or a character of str. weigh: how many bytes the
    shortest spelling of a word has.
    """

    def __init__(self, words: Iterable[Word], spell: Callable[[Any], int], weigh: Callable[[Word], int] = len) -> None:
        self.words: Sequence[bytes | str] = _sorted_set(words)
        self.spell = spell
        self._weights = np.empty(len(self.words), np.int64)
        digest = hashlib.blake2b(digest_size=16)
        for index, word in enumerate(self.words):
            tick()
            self._weights[index] = weigh(word)
            data = word.encode() if isinstance(word, str) else word
            digest.update(b"%d " % len(data) + data)
        self.nbytes = 100 * len(self.words) + 2 * int(self._weights.sum())
        self._identity = digest.digest(), spell

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Words) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __len__(self) -> int:
        return len(self.words)

    def has_end(self, first: int, depth: int) -> bool:
        """Whether the beginning that words from `first` on have in common, `depth` letters, is a word itself."""
        return len(self.words[first]) == depth

    def letters(self, first: int, last: int, depth: int) -> list[Letter]:
        """How the words first to last - 1 go on behind the `depth` letters they have in common."""
        found = []
        at = first + self.has_end(first, depth)
        while at < last:
            letter = self.words[at][depth]
            behind = bisect_right(self.words, letter, at, last, key=lambda word: word[depth])
            found.append(Letter(letter, at, behind))
            at = behind
        return found

    def shortest(self, first: int, last: int) -> bytes | str:
        """The word first to last - 1 with the shortest spelling."""
        return self.words[first + int(self._weights[first:last].argmin())]


def _sorted_set(words: Iterable[Word]) -> list[Word]:
    """In parts, as one call would keep all other threads waiting."""
    parts: list[list[Word]] = []
    rest = list(set(words))
    for start in range(0, len(rest), _SORTED_AT_ONCE):
        tick()
        parts.append(sorted(rest[start : start + _SORTED_AT_ONCE]))
    if len(parts) < 2:
        return parts[0] if parts else []
    merged = []
    for word in heapq.merge(*parts):
        tick()
        merged.append(word)
    return merged
