"""The kinds of nodes an expression is made of."""

from __future__ import annotations

from typing import Final

EMPTY = 0
"""The language without any string."""

EPSILON = 1
"""The language of the empty string alone."""

ALL_BYTES = (1 << 256) - 1
"""Mask of every byte."""


class Kind:
    """What a node is; the rest of its tuple is given behind each.

    Plain numbers: a member of an enum takes four times as long to look up, and nodes that hold one have to be visited
    by every garbage collection, as those of numbers alone have not.
    """

    EMPTY: Final = 0
    EPSILON: Final = 1
    SET: Final = 2  # mask: bit b set when byte b is in the set
    CAT: Final = 3  # head, tail: head is never a CAT
    ALT: Final = 4  # the members, sorted
    AND: Final = 5  # the members, sorted
    NOT: Final = 6  # member
    REPEAT: Final = 7  # member, lo, hi or None
    COUNTED: Final = 8  # unit, lo, hi or None
    FRAME: Final = 9  # member
    REF: Final = 10  # key
    VERBATIM: Final = 11  # the Span of a document
    MACHINE: Final = 14  # a Machine, a state of it
    WORDS: Final = 12  # the Words, interval of them (first, last), and how many of their letters are behind
    CAPTURE: Final = 13  # what is left of the captured text, what is behind of it, the Rule for what follows
    MARK: Final = 15  # where a captured text begins, what is left where it was met, what was behind there, the Rule
