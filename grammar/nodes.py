"""The kinds of nodes an expression is made of."""

from __future__ import annotations

from enum import IntEnum

EMPTY = 0
"""The language without any string."""

EPSILON = 1
"""The language of the empty string alone."""

ALL_BYTES = (1 << 256) - 1
"""Mask of every byte."""


class Kind(IntEnum):
    """What a node is; the rest of its tuple is given behind each."""

    EMPTY = 0
    EPSILON = 1
    SET = 2  # mask: bit b set when byte b is in the set
    CAT = 3  # head, tail: head is never a CAT
    ALT = 4  # the members, sorted
    AND = 5  # the members, sorted
    NOT = 6  # member
    REPEAT = 7  # member, lo, hi or None
    COUNTED = 8  # unit, lo, hi or None
    FRAME = 9  # member
    REF = 10  # key
    VERBATIM = 11  # the Span of a document
    MACHINE = 14  # a Machine, a state of it
    WORDS = 12  # the Words, interval of them (first, last), and how many of their letters are behind
    CAPTURE = 13  # what is left of the captured text, what is behind of it, the Rule for what follows
    MARK = 15  # where a captured text begins, what is left from where it was met, what was behind there, the Rule
