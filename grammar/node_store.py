"""The array in which a pool's nodes are kept, and how it grows."""

from __future__ import annotations

import numpy as np

from . import alternation_kernels as ak
from . import derivative_kernels as dk
from . import first_kernels as fk
from . import node_kernels as nk
from . import node_layout as nl

_SECTIONS = (
    # used, room and place in the header; words of one entry; entries at first
    (nl.N_NODES, nl.MAX_NODES, nl.NODES, nl.RECORD, 1 << 16),
    (nl.N_MEMBERS, nl.MAX_MEMBERS, nl.MEMBERS, 1, 1 << 17),
    (nl.N_SETS, nl.MAX_SETS, nl.SETS, nl.SET_WORDS, 1 << 11),
    (nl.N_PARTITIONS, nl.MAX_PARTITIONS, nl.PARTITIONS, nl.CLASSES, 1 << 8),
    (nl.N_FACTS, nl.MAX_FACTS, nl.FACTS, 2, 1 << 18),
)
_AT_MEMBERS = 1
_HASHED = ((nl.NODE_SLOTS, nl.MAX_NODES), (nl.SET_SLOTS, nl.MAX_SETS), (nl.PARTITION_SLOTS, nl.MAX_PARTITIONS))
_MOST_FACTS = 1 << 22  # more are forgotten, all at once
_WORD_BYTES = 8
_N_NODES = int(nl.N_NODES)
_HEADER, _RECORD = int(nl.HEADER), int(nl.RECORD)  # of Python, which is quicker with its own numbers
_FLAGS_AT, _LENGTH_AT = _HEADER + int(nl.FLAGS), _HEADER + int(nl.LENGTH)  # nodes stand behind the header, always


class NodeStore:
    """Owner of a pool's array (see `node_kernels`). Whoever calls its kernels holds a lock, and asks `words` anew.

    words: the array. view: the same, of which single words are read fastest.
    """

    def __init__(self) -> None:
        self._lay_out([room for *_, room in _SECTIONS])
        self._make_first_nodes()

    def __len__(self) -> int:
        return self.view[_N_NODES]

    def flags(self, item: int) -> int:
        """Whether a node is NULLABLE, and PLAIN."""
        return self.view[_FLAGS_AT + _RECORD * item]

    def length(self, item: int) -> int:
        """Bytes of a node's shortest string, or UNKNOWN."""
        return self.view[_LENGTH_AT + _RECORD * item]

    def put_field(self, item: int, which: int, value: int) -> None:
        """Set one word of a node's record."""
        self.view[_HEADER + _RECORD * item + which] = value

    def record(self, item: int) -> list[int]:
        """A node's record."""
        place = _HEADER + _RECORD * item
        return self.view[place : place + _RECORD].tolist()

    def members(self, first: int, count: int) -> list[int]:
        """Members of a node, from a place on."""
        place = self.view[nl.MEMBERS] + first
        return self.view[place : place + count].tolist()

    def mask(self, number: int) -> int:
        """A set of bytes as a number of 256 bits."""
        place = self.view[nl.SETS] + nl.SET_WORDS * number
        return int.from_bytes(self.view[place : place + nl.SET_WORDS].tobytes(), "little")

    def partition(self, number: int) -> list[int]:
        """The class of each byte."""
        place = self.view[nl.PARTITIONS] + nl.CLASSES * number
        return self.view[place : place + nl.CLASSES].tolist()

    @property
    def nbytes(self) -> int:
        """Memory of what is used."""
        words = sum(self.view[used] * size for used, _, _, size, _ in _SECTIONS)
        return _WORD_BYTES * int(words + 2 * self.view[nl.N_NODES] + 2 * self.view[nl.N_FACTS])

    def grow(self) -> None:
        """Make room: twice as much in each section that is more than half full; if none is, for longer alternations."""
        old = self.words
        rooms = []
        for used, room, *_ in _SECTIONS:
            half_full = 2 * old[used] >= (old[room] // 2 if used == nl.N_FACTS else old[room])
            rooms.append(int(2 * old[room] if half_full else old[room]))
        if all(room == old[place] for room, (_, place, *_) in zip(rooms, _SECTIONS, strict=True)):
            rooms[_AT_MEMBERS] *= 2
        forget = rooms[-1] > _MOST_FACTS
        self._lay_out([*rooms[:-1], min(rooms[-1], _MOST_FACTS)])
        self._take(old, with_facts=not forget)

    def copy(self) -> NodeStore:
        """Another with the same nodes."""
        other = NodeStore.__new__(NodeStore)
        other._lay_out([int(self.words[room]) for _, room, *_ in _SECTIONS])
        other._take(self.words, with_facts=True)
        return other

    def _take(self, old: np.ndarray, *, with_facts: bool) -> None:
        """Take over all that another array holds, which has no more room than this one."""
        new = self.words
        for used, _, place, size, _ in _SECTIONS[:-1]:
            count = old[used] * size
            new[new[place] : new[place] + count] = old[old[place] : old[place] + count]
            new[used] = old[used]
        new[nl.WORK], new[nl.WORK_LIMIT] = old[nl.WORK], old[nl.WORK_LIMIT]
        nk.rehash(new, old, with_facts)

    def let_go(self) -> None:
        """Let go of the array; the store is of no more use."""
        self._hold(np.zeros(nl.HEADER, np.int64))

    def _hold(self, words: np.ndarray) -> None:
        self.words = words
        self.view = memoryview(words.data)

    def _lay_out(self, rooms: list[int]) -> None:
        """A new, empty array with room for so many entries of each section. What is never written costs no memory."""
        at = _HEADER
        header: list[int] = [0] * _HEADER
        for (_, room, place, size, _), count in zip(_SECTIONS, rooms, strict=True):
            header[room], header[place] = count, at
            at += size * count
        for slots, room in _HASHED:
            header[slots] = at
            at += 2 * header[room]
        words = np.zeros(at, np.int64)
        words[:_HEADER] = header
        self._hold(words)

    def _make_first_nodes(self) -> None:
        words = self.words
        nk.byte_set(words, 0, 0, 0, 0)
        nk.byte_set(words, -1, -1, -1, -1)
        for kind, flags in ((nl.EMPTY_KIND, nl.PLAIN), (nl.EPSILON_KIND, nl.PLAIN | nl.NULLABLE)):
            nk.add_opaque(words, kind, 0, 0, 0, int(flags))
        self.put_field(nl.EMPTY, nl.LENGTH, nl.NEVER)
        self.put_field(nl.EPSILON, nl.LENGTH, 0)
        for byte in range(256):
            bits = (1 << byte).to_bytes(32, "little")
            nk.byte_mask(words, *np.frombuffer(bits, np.int64).tolist())
        nk.byte_mask(words, -1, -1, -1, -1)
        nk.repeat(words, nl.ANY_BYTE, 0, nl.UNBOUNDED)
        words[nl.N_PARTITIONS] = 0
        fk.add_partition(words, np.zeros(nl.CLASSES, np.int64))


def warm() -> None:
    """Have every kernel compiled, so that no piece of work that has a limit is the first to need it."""
    store = NodeStore()
    store.words[nl.WORK_LIMIT] = 1 << 30
    some = np.array([nl.FIRST_BYTE, nl.FIRST_BYTE + 1], np.int64)
    text = nk.literal(store.words, np.frombuffer(b"ab", np.uint8))
    either = ak.alt(store.words, some, 2, 0)
    nk.concat(store.words, text, either)
    nk.concat_all(store.words, some, 2)
    nk.counted(store.words, either, 0, 2)
    nk.frame(store.words, text)
    denied = ak.and_(store.words, np.array([text, nk.negation(store.words, either)], np.int64), 2, 0)
    fk.partition(store.words, denied, 0)
    fk.first(store.words, denied, 0)
    dk.derive(store.words, denied, 97, 0)
    dk.derivative(store.words, denied, 97, 0)
    nk.remember(store.words, nk.pair_key(0, 0, 0), nk.fact(store.words, nk.derivative_key(0, 0)))
    store.grow()
