"""The arithmetic of byte expressions over one array of nodes: what is compiled, as methods."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from . import alternation_kernels as ak
from . import derivative_kernels as dk
from . import end_kernels, member_kernels
from . import first_kernels as fk
from . import node_kernels as nk
from . import node_layout as nl
from . import pool_kernels as pk
from .errors import GrammarError
from .expr_answers import Answers
from .node_store import NodeStore
from .nodes import EMPTY, EPSILON, Kind
from .witness import Witness
from .work import look, tick

if TYPE_CHECKING:
    from .expr import Exprs

LONGEST = 1 << 20
"""Bytes that a text may have at most."""

_BOUND = 1 << 40  # of repetitions; any above is as good as this
_WORK = 20_000  # nodes and derivatives between two looks at the clock: a few ms
_SET, _CAT, _ALT, _AND = Kind.SET, Kind.CAT, Kind.ALT, Kind.AND
_PLAIN_KINDS = (Kind.VERBATIM, Kind.WORDS, Kind.MACHINE)
_OPAQUE_FROM = Kind.REF
_ASK_DEFINITION = int(nl.ASK_DEFINITION)
_NULLABLE, _PLAIN, _UNKNOWN = int(nl.NULLABLE), int(nl.PLAIN), int(nl.UNKNOWN)


class Arithmetic:
    """Expressions that are made of others, and questions about all. `Exprs` adds what is looked up or remembered.

    lock: held while a kernel is at `array`.
    """

    def __init__(self, store: NodeStore | None = None) -> None:
        self.lock = threading.RLock()
        self.any_byte = int(nl.ANY_BYTE)
        self.everything = int(nl.EVERYTHING)
        self._store = NodeStore() if store is None else store
        self._objects: list[tuple[Any, ...]] = []  # nodes that the array knows by their number here alone
        self._object_ids: dict[tuple[Any, ...], int] = {}
        self._text_numbers: dict[bytes, int] = {}  # of what captures have written
        self._nodes: dict[int, tuple[Any, ...]] = {}  # those that were looked at
        self._masks: dict[int, int] = {}
        self._classes: dict[int, tuple[int, ...]] = {}

    def _ask(self, exprs: Exprs) -> None:
        """Say which pool this is, of which answers are asked."""
        self._answers = Answers(exprs)
        self._witness = Witness(exprs)

    # -- constructors -----------------------------------------------------------------------------------------

    def byte_set(self, members: Iterable[int]) -> int:
        """One byte out of `members`."""
        mask = 0
        for byte in members:
            mask |= 1 << byte
        return self.byte_mask(mask)

    def byte_mask(self, mask: int) -> int:
        """One byte out of those whose bit is set in `mask`."""
        return self.run(nk.byte_mask, *_words_of(mask))

    def literal(self, text: bytes) -> int:
        """Exactly `text`. Raises GrammarError for one that is longer than any output."""
        if len(text) > LONGEST:
            reason = f"a text of {len(text)} bytes is longer than any output"
            raise GrammarError("constraint", "", reason, f"{LONGEST} bytes are the most")
        return self.prefixed(text, EPSILON, EPSILON)

    def prefixed(self, text: bytes, first: int, second: int) -> int:
        """`text`, then strings of `first`, then of `second`: what `concat` makes of them, in one step."""
        return self.run(nk.prefixed, np.frombuffer(text, np.uint8), 0, len(text), first, second)

    def frame_of(self, before: int, choices: Sequence[tuple[bytes, int, int]]) -> int:
        """The frame of `before` and one of some choices, each as `prefixed` has it: in one step."""
        return self.run(member_kernels.frame_of, before, *_rows_of(choices))

    def any_of(self, choices: Sequence[tuple[bytes, int, int]]) -> int:
        """One of some choices, each as `prefixed` has it: in one step."""
        return self.run(member_kernels.any_of, *_rows_of(choices))

    def besides(self, item: int, words: Sequence[str], spellings: np.ndarray) -> int:
        """Strings of `item`, but none of some words of ASCII, in one step. spellings: of each letter, (128,) int64."""
        return self.run(member_kernels.besides, item, *_letters_of(words), spellings)

    def strings(self, words: Sequence[str], quote: int, spellings: np.ndarray) -> list[int]:
        """Each of some words of ASCII, `quoted`, in one step. spellings: of each letter, (128,) int64."""
        found = np.empty(len(words), np.int64)
        self.run(member_kernels.write_strings, *_letters_of(words), spellings, quote, found)
        return found.tolist()

    def quoted(self, item: int, quote: int) -> int:
        """`item`, framed, between quotes."""
        return self.run(member_kernels.quoted, item, quote)

    def each_around(self, middle: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
        """Of each of some pairs the first, then `middle`, then the second: in one step."""
        if not pairs:
            return []
        firsts, lasts = np.array(pairs, np.int64).T.copy()
        found = np.empty(len(pairs), np.int64)
        self.run(member_kernels.write_each, firsts, middle, lasts, found)
        return found.tolist()

    def next_of(self, comma: int, ways: Sequence[tuple[int, int]], end: int) -> int:
        """`end`, or one of the texts, each with what follows it: a comma before, and the same behind those alike."""
        if not ways:
            return end
        texts, rests = zip(*ways, strict=True)
        return self.run(member_kernels.next_of, comma, np.array(texts, np.int64), np.array(rests, np.int64), end)

    def many_before(self, comma: int, item: int, close: int) -> int:
        """Any number of `item`, a comma before each, then `close`."""
        return self.run(member_kernels.many_before, comma, item, close)

    def concat(self, *ids: int) -> int:
        """Strings of each of `ids`, one after the other."""
        if len(ids) == 2:
            return self.run(nk.concat, *ids)
        return self.run(nk.concat_all, np.array(ids, np.int64), len(ids))

    def alt(self, *ids: int) -> int:
        """Strings of any of `ids`. Common heads are factored out, so a list of words becomes a trie."""
        if len(ids) <= 1:
            return ids[0] if ids else EMPTY
        return self.run(ak.alt, np.array(ids, np.int64), len(ids), 0)

    def and_(self, *ids: int) -> int:
        """Strings of all of `ids`."""
        return self.run(ak.and_, np.array(ids, np.int64), len(ids), 0)

    def not_(self, item: int) -> int:
        """Byte strings that are not in `item`."""
        return self.run(nk.negation, item)

    def repeat(self, item: int, lo: int, hi: int | None) -> int:
        """Between lo and hi strings of `item`, one after the other; hi None: any number. Bounds may be huge."""
        return self.run(nk.repeat, item, *_bounds(lo, hi))

    def counted(self, unit: int, lo: int, hi: int | None) -> int:
        """`repeat`, where `unit` is one character: not empty, and no string of it begins another.

        An automaton keeps the count in the sequence's register, so that the bounds cost no states.
        """
        if self.nullable(unit):
            raise ValueError("a counted unit must not be nullable")
        return self.run(nk.counted, unit, *_bounds(lo, hi))

    @property
    def array(self) -> np.ndarray:
        """The nodes, for kernels; another array whenever it has grown."""
        return self._store.words

    def __len__(self) -> int:
        """Expressions made so far."""
        return len(self._store)

    def frame(self, item: int) -> int:
        """The same language, marked as a nesting boundary: what is inside is shared by all places it stands in."""
        return self.run(nk.frame, item)

    def define_now(self, item: int) -> None:
        """Have it known to kernels what a reference, or a node of words, stands for. Raises as `definition`."""
        self._answer(_ASK_DEFINITION, item, 0)

    # -- questions --------------------------------------------------------------------------------------------

    def node(self, item: int) -> tuple[Any, ...]:
        """The node behind an id: its Kind, then what the Kind says."""
        known = self._nodes.get(item)
        if known is None:
            known = self._nodes[item] = self._read(item)
        return known

    def _read(self, item: int) -> tuple[Any, ...]:
        kind, a, b, c, *_ = self._store.record(item)
        if kind >= _OPAQUE_FROM:
            return self._objects[a]
        if kind == _CAT:
            return (_CAT, a, b)
        if kind == _SET:
            return (_SET, self._store.mask(a))
        if kind in (_ALT, _AND):
            return (kind, tuple(self._store.members(a, b)))
        if kind in (Kind.REPEAT, Kind.COUNTED):
            return (kind, a, b, None if c < 0 else c)
        return (kind, a) if kind > _AND else (kind,)

    def kind(self, item: int) -> int:
        """The Kind of a node."""
        return self._store.kind(item)

    def begins_with_byte(self, item: int) -> bool:
        """Whether it, or each of its alternatives, is seen to begin with a byte out of a set."""
        with self.lock:
            return pk.begins_with_byte(self._store.words, item)

    def may_begin_with_machine(self, item: int) -> bool:
        """Whether an automaton is the first part of it, of an alternative, or of what has to hold besides others."""
        with self.lock:
            return pk.may_begin_with_machine(self._store.words, item)

    def nullable(self, item: int) -> bool:
        """Whether the empty string is in the language."""
        return self._store.flags(item) & _NULLABLE != 0

    def plain(self, item: int) -> bool:
        """Whether there is no intersection, complement or reference inside: it is not empty unless it is EMPTY."""
        return self._store.flags(item) & _PLAIN != 0

    def derivative(self, item: int, byte: int) -> int:
        """What may follow `byte` in strings of `item`. EMPTY exactly when nothing can."""
        return self.run(dk.derivative, item, byte, 0)

    def raw_derivative(self, item: int, byte: int) -> int:
        """`derivative` without the search for emptiness: may name EMPTY by another expression."""
        return self.run(dk.derive, item, byte, 0)

    def rest(self, item: int, text: bytes) -> int:
        """What may follow `text`: `raw_derivative` by each of its bytes."""
        return self.run(end_kernels.behind, item, np.frombuffer(text, np.uint8))

    def way_out(self, item: int, most: int, longest: int) -> bytes | None:
        """Some string of at most `longest` bytes, seen by looking at `most` derivatives; None: none is."""
        found = np.empty(longest, np.uint8)
        size = self.run(end_kernels.way_out, item, most, found)
        return None if size < 0 else found[:size].tobytes()

    def is_empty(self, item: int) -> bool:
        """Whether no string is in the language. Raises GrammarError when that takes too long to find out."""
        if self._store.flags(item):  # plain, or nullable
            return item == EMPTY
        return not self._witness.has_member(item)

    def shortest_length(self, item: int) -> int:
        """Bytes of the shortest string of a language that is not empty."""
        return self._witness.length(item)

    def shortest(self, item: int) -> bytes | None:
        """One of the shortest strings of the language, of plain letters and digits where it may; None: empty."""
        return self._witness.shortest(item)

    def seen(self, item: int) -> bytes | None:
        """Some string of the language that is found without a search; None: none is, though there may be one."""
        return self._witness.seen(item)

    def known_length(self, item: int) -> int | None:
        """Bytes of the shortest string, if that is known."""
        length = self._store.length(item)
        return None if length < 0 else length

    def know(self, item: int, length: int) -> None:
        """Say what `shortest_length` of an expression is, NEVER of an empty one; it must be right."""
        with self.lock:
            self._store.put_field(item, nl.LENGTH, length)

    def know_shortest(self, item: int, text: bytes | None) -> None:
        """Say what `shortest` of an expression is, None of an empty one; it must be right."""
        self._witness.know(item, text)

    def fullmatch(self, item: int, data: bytes) -> bool:
        """Whether `data` is in the language."""
        return self.nullable(self.rest(item, data))

    def byte_classes(self, item: int) -> tuple[int, ...]:
        """A partition of the 256 bytes, as masks; bytes of one class have the same derivative."""
        number = self.run(fk.partition, item, 0)
        known = self._classes.get(number)
        if known is None:
            masks: dict[int, int] = {}
            for byte, group in enumerate(self._store.partition(number)):
                masks[group] = masks.get(group, 0) | 1 << byte
            known = self._classes[number] = tuple(sorted(masks.values()))
        return known

    def first(self, item: int) -> int:
        """Mask of the bytes strings may begin with (complements make it wider than exact, never narrower)."""
        return self.mask_of(self.run(fk.first, item, 0))

    def mask_of(self, number: int) -> int:
        """The mask of a set of bytes that has a number."""
        known = self._masks.get(number)
        if known is None:
            known = self._masks[number] = self._store.mask(number)
        return known

    def pruned(self, item: int) -> int:
        """The same language, with members of alternations that can never be matched taken out."""
        if self.plain(item):
            return item
        if self.is_empty(item):
            return EMPTY
        node = self.node(item)
        if node[0] == Kind.ALT:
            return self.alt(*[m for m in node[1] if not self.is_empty(m)])
        return item

    def unframed(self, item: int) -> int:
        """The same language without the mark of `frame`."""
        kind, body, *_ = self._store.record(item)
        return body if kind == Kind.FRAME else item

    # -- kernels ----------------------------------------------------------------------------------------------

    def run(self, kernel: Callable[..., int], *args: Any) -> int:
        """What a kernel finds, with room made, questions answered and the clock looked at as it asks for it.

        What else keeps a kernel from going on is for whoever calls.
        """
        tick()
        work = _WORK
        while True:
            with self.lock:
                store = self._store
                found = kernel(store.words, *args)
                if found >= 0 or found < nl.PAUSE:
                    return found
                if found == nl.NEED_ROOM:
                    store.grow()
                    continue
                view = store.view
                if found == nl.PAUSE:
                    view[nl.WORK_LIMIT] = view[nl.WORK] + work
                question, item, byte = view[nl.QUESTION], view[nl.ABOUT], view[nl.BYTE]
            if found == nl.TOO_DEEP:
                raise RecursionError("an expression is nested too deeply")
            if found == nl.PAUSE:
                look()
                work *= 2  # so that in the end it gets through
            else:
                self._answer(question, item, byte)

    def _answer(self, question: int, item: int, byte: int) -> None:
        """Answer a kernel's question, so that it finds the answer when it is called again."""
        answers = self._answers
        if question == nl.ASK_DEFINITION:
            self._put(item, nl.B, answers.definition(item))
        elif question == nl.ASK_PRUNED:
            self.run(pk.remember, pk.pair_key(nl.PRUNED_OF, item, 0), self.pruned(item))
        elif question == nl.ASK_DERIVATIVE:
            self.run(pk.remember, pk.derivative_key(item, byte), answers.derivative(item, byte))
        elif question == nl.ASK_FIRST:
            number = self.run(pk.byte_set, *_words_of(answers.first(item)))
            self._put(item, nl.FIRST, number)
        elif question == nl.ASK_CLASSES:
            number = self.run(fk.add_partition, answers.classes(item))
            self._put(item, nl.PARTITION, number)
        else:
            _, first, count, *_ = self._store.record(byte)
            self._put(item, nl.C, answers.joined(self._store.members(first, count)))

    def _put(self, item: int, which: int, value: int) -> None:
        with self.lock:
            self._store.put_field(item, which, value)

    def _intern(self, node: tuple[Any, ...]) -> int:
        """The id of a node of which the array knows little."""
        known = self._object_ids.get(node)
        if known is not None:
            return known
        kind = node[0]
        flags = (_NULLABLE if self._is_nullable(node) else 0) | (_PLAIN if kind in _PLAIN_KINDS else 0)
        with self.lock:
            known = self._object_ids.get(node)
            if known is None:
                body, text = (node[1], self._text_number(node[2])) if kind == Kind.CAPTURE else (_UNKNOWN, 0)
                if kind == Kind.MACHINE:
                    body = int(node[1].is_limit)
                number = len(self._objects)
                self._objects.append(node)
                known = self._object_ids[node] = self.run(nk.add_opaque, kind, number, body, text, flags)
            return known

    def _text_number(self, text: bytes) -> int:
        return self._text_numbers.setdefault(text, len(self._text_numbers))

    def _is_nullable(self, node: tuple[Any, ...]) -> bool:
        kind = node[0]
        if kind == Kind.VERBATIM:
            return node[1].text.may_end(node[1])
        if kind == Kind.MACHINE:
            return node[1].accepts(node[2])
        return kind == Kind.WORDS and node[1].has_end(node[2], node[4])


def _words_of(mask: int) -> list[int]:
    return np.frombuffer(mask.to_bytes(32, "little"), np.int64).tolist()


def _letters_of(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Words of ASCII as `member_kernels` has them."""
    return np.frombuffer("".join(words).encode(), np.uint8), np.array([*accumulate(map(len, words))], np.int64)


def _rows_of(choices: Sequence[tuple[bytes, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Choices as `member_kernels` has them."""
    end, rows = 0, []
    for text, first, second in choices:
        end += len(text)
        rows.append((end, first, second))
    return np.frombuffer(b"".join([text for text, _, _ in choices]), np.uint8), np.array(rows, np.int64)


def _bounds(lo: int, hi: int | None) -> tuple[int, int]:
    return min(lo, _BOUND), -1 if hi is None else min(hi, _BOUND)
