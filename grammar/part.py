"""What walks inside one frame come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from .bases import Base

NONE = np.zeros(0, np.int32)
OTHER = 255
"""See `Part.staying`."""


class Many(msgspec.Struct, frozen=True, gc=False):
    """What is known of many tokens together.

    words: their bits; with a base, those of the tokens taken from there too. longest: bytes of
    the longest, end_states: the DFA states they end in, each once (-1: not known), of the base's tokens neither.
    stays: bits of those that end in the state they began in, whole: of those behind which nothing is left; None: none.
    """

    words: np.ndarray
    longest: int
    end_states: np.ndarray
    stays: np.ndarray | None
    whole: np.ndarray | None

    @property
    def nbytes(self) -> int:
        """Memory of it."""
        return sum(each.nbytes for each in (self.words, self.end_states, self.stays, self.whole) if each is not None)


class Part(msgspec.Struct, frozen=True, gc=False):  # as there are many: no work for the garbage collector
    """What a walk inside one frame came to. Arrays of int32; `counts` are the units begun on the way.

    tokens: those that end inside, and the units; none where there are `many` and nothing is counted. token_states: the
    DFA states they end in (-1: not known), none where there are `many`. most_units: the largest count.
    exits: trie nodes below which the frame may be over. shared_exits: for each node whether it is one more; None: none
    are. entries: for each DFA state at which a frame within begins, the trie nodes that come to it.
    """

    tokens: np.ndarray
    token_states: np.ndarray
    token_counts: np.ndarray
    most_units: int
    many: Many | None
    exits: np.ndarray
    exit_counts: np.ndarray
    shared_exits: SharedExits | None
    entries: tuple[tuple[int, np.ndarray], ...]
    towards: dict[tuple[int, ...], np.ndarray]  # see `Parts.exits_towards`

    @property
    def words(self) -> np.ndarray | None:
        """Bits of all tokens; None: they are few, or were come to from several nodes in a run that is counted."""
        return None if self.many is None else self.many.words

    @property
    def may_end(self) -> bool:
        """Whether the frame may be over anywhere."""
        return len(self.exits) > 0 or self.shared_exits is not None

    @property
    def end_states(self) -> np.ndarray:
        """The DFA states that tokens end in, at least once each (-1: not known), those taken from a base too."""
        own = self.token_states if self.many is None else self.many.end_states
        return own if self.shared_exits is None else np.concatenate([own, self.shared_exits.base.end_states])

    def longest(self, token_bytes: np.ndarray) -> int:
        """Bytes of the longest token. token_bytes: how many each has."""
        own = int(token_bytes[self.tokens].max(initial=0)) if self.many is None else self.many.longest
        return own if self.shared_exits is None else max(own, self.shared_exits.base.longest)

    def deepest_exit(self, node_depth: np.ndarray) -> int:
        """Bytes up to the deepest node at which the frame may be over, or more. node_depth: of all nodes."""
        exits = [self.exits] if self.shared_exits is None else [self.exits, self.shared_exits.base.exits]
        return max(int(node_depth[nodes].max(initial=0)) for nodes in exits)

    def staying(self, state: int, size: int) -> np.ndarray | None:
        """How many units each token begins that ends in `state`, in which the walk began, (size,) uint8.

        OTHER where it does not, begins as many, or was taken from a base. None: there is no such token.
        """
        stays = None if self.many is None else self.many.stays
        if self.many is not None and stays is None:
            return None
        if stays is not None and not len(self.tokens):  # that many tokens are not listed: memory is slow to get
            row = np.unpackbits(stays.view(np.uint8), count=size, bitorder="little")
            np.subtract(1, row, out=row)
            row *= OTHER
            return row
        at = self.token_states == state if stays is None else bits_of(stays)[self.tokens]
        at &= self.token_counts < OTHER
        if not at.any():
            return None
        row = np.full(size, OTHER, np.uint8)
        row[self.tokens[at]] = self.token_counts[at]
        return row

    def whole(self, nothing: int) -> np.ndarray:
        """The tokens behind which nothing is left, not those taken from a base. nothing: the DFA state that says so."""
        if self.many is None:
            return self.tokens[self.token_states == nothing]
        return NONE if self.many.whole is None else tokens_of(self.many.whole)

    @property
    def nbytes(self) -> int:
        """Memory of it, without what is shared."""
        arrays = (self.tokens, self.token_states, self.token_counts, self.exits, self.exit_counts)
        many = 0 if self.many is None else self.many.nbytes
        return many + sum(each.nbytes for each in arrays) + sum(nodes.nbytes for _, nodes in self.entries)


class SharedExits(msgspec.Struct, frozen=True, gc=False):
    """The exits of a base outside of some ranges of nodes, rows (node, end), ascending by node."""

    base: Base
    drops: np.ndarray


def bits_of(words: np.ndarray) -> np.ndarray:
    """Whether each bit is set, bool."""
    return np.unpackbits(words.view(np.uint8), bitorder="little").view(bool)


def tokens_of(words: np.ndarray) -> np.ndarray:
    """The tokens whose bits are set, ascending, int32."""
    return np.flatnonzero(bits_of(words)).astype(np.int32)


def words_of(tokens: np.ndarray) -> np.ndarray:
    """Bits of a bool for each token, uint32."""
    words = np.zeros(-(-len(tokens) // 32), np.uint32)
    packed = np.packbits(tokens, bitorder="little")
    words.view(np.uint8)[: len(packed)] = packed
    return words
