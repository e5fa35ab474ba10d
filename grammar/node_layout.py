"""Where everything stands in the array of a pool (`pool_kernels`), and what its numbers mean.

The numbers have 64 bits, so that a kernel is compiled once, and not for each constant that it is called with.
"""

from __future__ import annotations

from typing import cast

import numpy as np


def _numbers(*values: int) -> list[int]:
    return cast("list[int]", [np.int64(value) for value in values])


# Words of the header: of each section how much is used, how much there is room for, and where it begins.
N_NODES, MAX_NODES, NODES = _numbers(0, 1, 2)
N_MEMBERS, MAX_MEMBERS, MEMBERS = _numbers(3, 4, 5)
N_SETS, MAX_SETS, SETS = _numbers(6, 7, 8)
N_PARTITIONS, MAX_PARTITIONS, PARTITIONS = _numbers(9, 10, 11)
N_FACTS, MAX_FACTS, FACTS = _numbers(12, 13, 14)
SET_SLOTS, PARTITION_SLOTS = _numbers(15, 16)  # hash tables, two slots for each entry there is room for
QUESTION, ABOUT, BYTE = _numbers(18, 19, 20)  # what the host is asked
WORK, WORK_LIMIT = _numbers(21, 22)  # nodes and derivatives made or looked up; where to pause
BUCKETS, N_BUCKETS, WHOLE, LINKS = _numbers(23, 24, 25, 26)  # the hash table of nodes, which grows bucket by bucket
OLD_FACTS, OLD_ROOM = _numbers(27, 28)  # facts from before those there are now: where, and how much room they had
(HEADER,) = _numbers(32)

# What a node's record says.
KIND, A, B, C, FLAGS, LENGTH, FIRST, PARTITION = _numbers(*range(8))
(RECORD,) = _numbers(8)
NO_FLAGS, NULLABLE, PLAIN = _numbers(0, 1, 2)  # bits of FLAGS

# Kinds, as `nodes.Kind` has them; a list is a set of alternatives as given, with what became of them as C.
EMPTY_KIND, EPSILON_KIND, SET, CAT, ALT, AND, NOT, REPEAT, COUNTED, FRAME, REF = _numbers(*range(11))
VERBATIM, WORDS, CAPTURE, MACHINE, MARK, LIST = _numbers(*range(11, 17))

# Nodes that every pool has, its first sets, and its first partition.
EMPTY, EPSILON, FIRST_BYTE, ANY_BYTE, EVERYTHING = _numbers(0, 1, 2, 258, 259)
NO_BYTES, EVERY_BYTE = _numbers(0, 1)
(ONE_CLASS,) = _numbers(0)

# Why a function could not go on, and what the host is asked.
NEED_ROOM, ASK_HOST, TOO_DEEP, PAUSE = _numbers(-2, -3, -4, -5)
ASK_DEFINITION, ASK_FIRST, ASK_CLASSES, ASK_DERIVATIVE, ASK_JOINED, ASK_PRUNED = _numbers(*range(6))

# What is remembered of two numbers (`pair_key`).
PRUNED_OF, REFINED_OF, COVERED_BY = _numbers(*range(3))

UNKNOWN, UNBOUNDED = _numbers(-1, -1)  # the latter of repetitions
(NEVER,) = _numbers(1 << 60)  # the length of a shortest string that does not exist
NOTHING, ONE = _numbers(0, 1)  # the former in place of a number that does not matter
(DEEPEST,) = _numbers(1500)  # calls within each other

# Words of a set of bytes, of a partition (the class of each byte, numbered as they are met), of a fact.
SET_WORDS, CLASSES, FACT_WORDS = _numbers(4, 256, 2)

# A link: the hash of a node, then the node before it in its bucket, plus one.
HASH_BITS, LINK_BITS, NEXT_BITS = _numbers(0x7FFFFFFF, 32, 0xFFFFFFFF)
(FIRST_BUCKETS,) = _numbers(256)
