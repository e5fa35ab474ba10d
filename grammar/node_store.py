"""The array in which a pool's nodes are kept, and how it grows."""

from __future__ import annotations

import numpy as np

from . import alternation_kernels as ak
from . import derivative_kernels as dk
from . import end_kernels, member_kernels
from . import first_kernels as fk
from . import node_kernels as nk
from . import node_layout as nl
from . import pool_kernels as pk
from .ahead import populate

_SECTIONS = (
    # used, room and place in the header; words of one entry; entries at first. Room that is not used costs no memory
    (nl.N_NODES, nl.MAX_NODES, nl.NODES, nl.RECORD, 1 << 20),
    (nl.N_MEMBERS, nl.MAX_MEMBERS, nl.MEMBERS, 1, 1 << 21),
    (nl.N_SETS, nl.MAX_SETS, nl.SETS, nl.SET_WORDS, 1 << 15),
    (nl.N_PARTITIONS, nl.MAX_PARTITIONS, nl.PARTITIONS, nl.CLASSES, 1 << 15),
)
_AT_MEMBERS = 1
_HASHED = ((nl.SET_SLOTS, nl.MAX_SETS), (nl.PARTITION_SLOTS, nl.MAX_PARTITIONS))
_FIRST_FACTS = 1 << 18
_MOST_FACTS = 1 << 21  # when more have been met, those from before these are forgotten
_FACTS_BEFORE = 8  # the next table of facts is made ready when this one has so little of its room taken, as a part
_NODES_TO_A_PARTITION = 64
_WORD_BYTES = 8
_N_NODES = int(nl.N_NODES)
_HEADER, _RECORD = int(nl.HEADER), int(nl.RECORD)  # of Python, which is quicker with its own numbers
_KIND_AT = _HEADER + int(nl.KIND)
_FLAGS_AT, _LENGTH_AT = _HEADER + int(nl.FLAGS), _HEADER + int(nl.LENGTH)  # nodes stand behind the header, always


class NodeStore:
    """Owner of a pool's array (see `pool_kernels`). Whoever calls its kernels holds a lock, and asks `words` anew.

    words: the array. view: the same, of which single words are read fastest.
    """

    def __init__(self) -> None:
        self._lay_out([room for *_, room in _SECTIONS])
        words = self.words
        words[nl.N_BUCKETS] = words[nl.WHOLE] = nl.FIRST_BUCKETS
        words[nl.MAX_FACTS] = _FIRST_FACTS
        self._make_first_nodes()

    def __len__(self) -> int:
        return self.view[_N_NODES]

    def kind(self, item: int) -> int:
        """What a node is."""
        return self.view[_KIND_AT + _RECORD * item]

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
        view = self.view
        words = sum(view[used] * size for used, _, _, size, _ in _SECTIONS)
        facts = nl.FACT_WORDS * (2 * view[nl.N_FACTS] + view[nl.OLD_ROOM])
        return _WORD_BYTES * int(words + 2 * view[nl.N_NODES] + facts)

    def grow(self) -> None:
        """Make room for facts, or else twice as much in each section that is more than half full.

        If none is, there is to be room for longer alternations. What is full at first is what grows often, the facts:
        they begin anew, and those there were are looked up after those that are new.
        """
        old = self.words
        if 2 * old[nl.N_FACTS] >= old[nl.MAX_FACTS]:
            self._begin_facts()
            return
        rooms = [int(2 * old[room] if 2 * old[used] >= old[room] else old[room]) for used, room, *_ in _SECTIONS]
        if all(room == old[place] for room, (_, place, *_) in zip(rooms, _SECTIONS, strict=True)):
            rooms[_AT_MEMBERS] *= 2
        self._lay_out(rooms)
        self._take_nodes(old)
        self._take_facts(old)

    def touch(self, n_nodes: int) -> None:
        """Have memory at hand for so many nodes more, for what goes with them, and for facts (see `ahead`)."""
        words = self.words
        header = words[:_HEADER].tolist()
        for used, _, place, size, _ in _SECTIONS:
            more = n_nodes // _NODES_TO_A_PARTITION if place == nl.PARTITIONS else n_nodes
            populate(words, header[place] + header[used] * size, more * size)
        populate(words, header[nl.LINKS] + header[nl.N_NODES], n_nodes)
        populate(words, header[nl.BUCKETS], header[nl.N_BUCKETS] + n_nodes)
        for slots, room in _HASHED:
            populate(words, header[slots], 2 * header[room])
        populate(words, header[nl.FACTS], nl.FACT_WORDS * header[nl.MAX_FACTS])
        if _FACTS_BEFORE * header[nl.N_FACTS] > header[nl.MAX_FACTS]:
            populate(words, header[nl.OLD_FACTS], nl.FACT_WORDS * min(2 * header[nl.MAX_FACTS], _MOST_FACTS))

    def copy(self) -> NodeStore:
        """Another with the same nodes. What was found out about them is found anew: its table takes memory."""
        other = NodeStore.__new__(NodeStore)
        other._lay_out([int(self.words[room]) for _, room, *_ in _SECTIONS])
        other._take_nodes(self.words)
        other.words[nl.MAX_FACTS] = _FIRST_FACTS
        return other

    def _begin_facts(self) -> None:
        words = self.words
        place, room = int(words[nl.FACTS]), int(words[nl.MAX_FACTS])
        free = int(words[nl.OLD_FACTS])
        words[free : free + nl.FACT_WORDS * words[nl.OLD_ROOM]] = 0
        words[nl.OLD_FACTS], words[nl.OLD_ROOM] = place, room
        words[nl.FACTS], words[nl.MAX_FACTS] = free, min(2 * room, _MOST_FACTS)
        words[nl.N_FACTS] = 0

    def _take_nodes(self, old: np.ndarray) -> None:
        """Take over the nodes of another array, which has no more room than this one."""
        new = self.words
        for used, _, place, size, _ in _SECTIONS:
            _copy(new, int(new[place]), old, int(old[place]), int(old[used] * size))
            new[used] = old[used]
        _copy(new, int(new[nl.LINKS]), old, int(old[nl.LINKS]), int(old[nl.N_NODES]))
        _copy(new, int(new[nl.BUCKETS]), old, int(old[nl.BUCKETS]), int(old[nl.N_BUCKETS]))
        for word in (nl.WORK, nl.WORK_LIMIT, nl.N_BUCKETS, nl.WHOLE):
            new[word] = old[word]
        pk.rehash(new)

    def _take_facts(self, old: np.ndarray) -> None:
        """Take over the facts of another array."""
        new = self.words
        for place, room in ((nl.FACTS, nl.MAX_FACTS), (nl.OLD_FACTS, nl.OLD_ROOM)):
            _copy(new, int(new[place]), old, int(old[place]), int(old[room] * nl.FACT_WORDS))
        for word in (nl.N_FACTS, nl.MAX_FACTS, nl.OLD_ROOM):
            new[word] = old[word]

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
        for place in (nl.LINKS, nl.BUCKETS):
            header[place] = at
            at += header[nl.MAX_NODES]
        for slots, room in _HASHED:
            header[slots] = at
            at += 2 * header[room]
        for place in (nl.FACTS, nl.OLD_FACTS):
            header[place] = at
            at += int(nl.FACT_WORDS) * _MOST_FACTS
        words = np.zeros(at, np.int64)
        words[:_HEADER] = header
        self._hold(words)

    def _make_first_nodes(self) -> None:
        words = self.words
        pk.byte_set(words, 0, 0, 0, 0)
        pk.byte_set(words, -1, -1, -1, -1)
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


def _copy(new: np.ndarray, to: int, old: np.ndarray, at: int, count: int) -> None:
    new[to : to + count] = old[at : at + count]


def warm() -> None:
    """Have every kernel compiled, so that no piece of work that has a limit is the first to need it."""
    store = NodeStore()
    store.words[nl.WORK_LIMIT] = 1 << 30
    some = np.array([nl.FIRST_BYTE, nl.FIRST_BYTE + 1], np.int64)
    text = nk.prefixed(store.words, np.frombuffer(b"ab", np.uint8), 0, 2, nl.EPSILON, nl.EPSILON)
    either = ak.alt(store.words, some, 2, 0)
    nk.concat(store.words, text, either)
    nk.concat_all(store.words, some, 2)
    pk.begins_with_byte(store.words, either)
    pk.may_begin_with_machine(store.words, either)
    nk.counted(store.words, either, 0, 2)
    choices = np.frombuffer(b"ab", np.uint8), np.array([[2, text, either]], np.int64)
    member_kernels.frame_of(store.words, either, *choices)
    member_kernels.any_of(store.words, *choices)
    member_kernels.besides(store.words, either, np.frombuffer(b"\0", np.uint8), some[:0], some)
    member_kernels.write_strings(store.words, np.frombuffer(b"\0", np.uint8), some[:0], some, nl.FIRST_BYTE, some[:0])
    member_kernels.quoted(store.words, either, nl.FIRST_BYTE)
    member_kernels.many_before(store.words, nl.FIRST_BYTE, either, nl.FIRST_BYTE)
    member_kernels.write_each(store.words, some, either, some, some.copy())
    member_kernels.add_references(store.words, nl.NOTHING, some[:0])
    member_kernels.next_of(store.words, nl.FIRST_BYTE, some, some, either)
    nk.frame(store.words, text)
    denied = ak.and_(store.words, np.array([text, nk.negation(store.words, either)], np.int64), 2, 0)
    fk.partition(store.words, denied, 0)
    fk.first(store.words, denied, 0)
    dk.derive(store.words, denied, 97, 0)
    dk.derivative(store.words, denied, 97, 0)
    end_kernels.behind(store.words, denied, np.frombuffer(b"a", np.uint8))
    end_kernels.way_out(store.words, denied, 1, np.zeros(1, np.uint8))
    pk.remember(store.words, pk.pair_key(0, 0, 0), pk.fact(store.words, pk.derivative_key(0, 0)))
    store.grow()
