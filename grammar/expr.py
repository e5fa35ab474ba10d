"""Byte expressions: hash-consed nodes for sets of byte strings, and their derivatives (Brzozowski 1964).

An expression is an int naming a node of an `Exprs` pool; equal nodes get equal ints, so comparing languages that were
written alike is comparing ints. Constructors simplify as they build. Nothing is ever changed once built, apart from
what `define` says a `ref` stands for. `POOL` is the pool this thread builds in (`pools.using`); constraints compiled in
one pool share their nodes.

The nodes are numbers in one array, and what is done with them is compiled (`node_kernels`, `first_kernels`,
`alternation_kernels`, `derivative_kernels`). Of some kinds the array knows no more than that they are there: about
references, documents, words, machines and captures the kernels ask `expr_answers`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from . import alternation_kernels as ak
from . import derivative_kernels as dk
from . import first_kernels as fk
from . import node_kernels as nk
from . import node_layout as nl
from .errors import GrammarError
from .expr_answers import Answers
from .machine import Machine
from .node_store import NodeStore, warm
from .nodes import ALL_BYTES, EMPTY, EPSILON, Kind
from .pools import forward, using
from .verbatim import IndexedText, Span
from .witness import Witness
from .words import FEW, Words
from .work import let_go, look, tick

if TYPE_CHECKING:
    from .captures import Rule

__all__ = ["ALL_BYTES", "EMPTY", "EPSILON", "POOL", "Exprs", "Kind"]

LONGEST = 1 << 20
"""Bytes that a text may have at most."""

_MANY_TEXTS = 200  # more are kept as words
_BOUND = 1 << 40  # of repetitions; any above is as good as this
_NODE_BYTES, _MEMO_BYTES = 400, 500  # measured: of a node looked at, of a memo with its share of tables
_WORK = 20_000  # nodes and derivatives between two looks at the clock: a few ms
_SET, _CAT, _ALT, _AND, _NOT = Kind.SET, Kind.CAT, Kind.ALT, Kind.AND, Kind.NOT
_PLAIN_KINDS = (Kind.VERBATIM, Kind.WORDS, Kind.MACHINE)
_OPAQUE_FROM = Kind.REF
_NULLABLE, _PLAIN = int(nl.NULLABLE), int(nl.PLAIN)


class Exprs:
    """A pool of expressions. Safe to build in from several threads.

    memos: what `pools.memo` remembers, as it names expressions of this pool. lock: held while a kernel is at `array`.
    """

    def __init__(self) -> None:
        self.memos: dict[Hashable, Any] = {}
        self._store = NodeStore()
        self.lock = threading.RLock()
        self._objects: list[tuple[Any, ...]] = []  # nodes that the array knows by their number here alone
        self._object_ids: dict[tuple[Any, ...], int] = {}
        self._text_numbers: dict[bytes, int] = {}  # of what captures have written
        self._nodes: dict[int, tuple[Any, ...]] = {}  # those that were looked at
        self._masks: dict[int, int] = {}
        self._classes: dict[int, tuple[int, ...]] = {}
        self._definitions: dict[Hashable, int | Callable[[], int]] = {}
        self._outlines: dict[Hashable, int | Callable[[], int]] = {}
        self._expanding = _Expanding()
        self._texts: dict[IndexedText | Words, None] = {}  # what expressions are made of that is large
        self._text_bytes = 0
        self._unfolded: dict[int, int] = {}  # nodes of words, one letter written out
        self._answers = Answers(self)
        self._witness = Witness(self)
        self.any_byte = int(nl.ANY_BYTE)
        self.everything = int(nl.EVERYTHING)

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
        return self.run(nk.literal, np.frombuffer(text, np.uint8))

    def concat(self, *ids: int) -> int:
        """Strings of each of `ids`, one after the other."""
        if len(ids) == 2:
            return self.run(nk.concat, *ids)
        return self.run(nk.concat_all, np.array(ids, np.int64), len(ids))

    def texts(self, texts: Sequence[bytes]) -> int:
        """Exactly one of `texts`, which may be very many."""
        if len(texts) > _MANY_TEXTS and max(map(len, texts)) <= LONGEST:
            return self.words(Words(texts, _spell_byte))
        return self.alt(*map(self.literal, texts))

    def words(self, words: Words) -> int:
        """Any one of the words. Costs little before it is walked, however many there are."""
        self._hold(words)
        return self._words(words, 0, len(words), 0)

    def _words(self, words: Words, first: int, last: int, depth: int) -> int:
        if last - first > FEW:
            return self._intern((Kind.WORDS, words, first, last, depth))
        return self.alt(*[self._word(words, word, depth) for word in words.words[first:last]])

    def _word(self, words: Words, word: bytes | str, depth: int) -> int:
        return self.concat(*[words.spell(letter) for letter in word[depth:]])

    def _unfolded_words(self, item: int) -> int:
        """The same language, one letter written out."""
        _, words, first, last, depth = self.node(item)
        ways = [
            self.concat(words.spell(letter), self._words(words, start, end, depth + 1))
            for letter, start, end in words.letters(first, last, depth)
        ]
        return self.alt(EPSILON if words.has_end(first, depth) else EMPTY, *ways)

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

    def capture(self, body: int, text: bytes, rule: Rule) -> int:
        """A text whose beginning `text` is written and of which `body` is left, then what `rule` says may follow it."""
        return EMPTY if body == EMPTY else self._intern((Kind.CAPTURE, body, text, rule))

    def mark(self, start: int, body: int, text: bytes, rule: Rule) -> int:
        """Stands on a stack behind what is left of a captured text that began at byte `start`; see `places`."""
        return self._intern((Kind.MARK, start, body, text, rule))

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

    def verbatim(self, text: IndexedText, least: int = 0, most: int | None = None) -> int:
        """What stands in a document, as it is spelled in a JSON string: least to most characters of it."""
        self._hold(text)
        rest = self.span(text.start(least, most))
        return EPSILON if rest == EMPTY and least == 0 else rest

    def _hold(self, text: IndexedText | Words) -> None:
        """Keep what expressions are made of, and count its memory once."""
        with self.lock:
            if text not in self._texts:
                self._texts[text] = None
                self._text_bytes += text.nbytes

    def span(self, span: Span | None) -> int:
        """What is left of a verbatim value."""
        if span is None:
            return EMPTY
        if span.text.may_end(span) and not span.text.next_bytes(span):
            return EPSILON
        return self._intern((Kind.VERBATIM, span))

    def machine(self, machine: Machine, state: int) -> int:
        """The texts that an automaton accepts from a state."""
        if machine.accepting[state] and not machine.moves[state]:
            return EPSILON
        return self._intern((Kind.MACHINE, machine, state))

    def ref(self, key: Hashable) -> int:
        """What `define` says `key` stands for, looked up when first needed. A frame; never the empty string."""
        return self._intern((Kind.REF, key))

    def define(
        self, key: Hashable, meaning: int | Callable[[], int], outline: int | Callable[[], int] | None = None
    ) -> None:
        """Say what `ref(key)` stands for: an expression, or a function called once, when first needed.

        outline: an expression within the meaning that has one of its shortest strings (EMPTY when it has none), or
        a function for it; it spares expanding a large meaning only to learn whether it has a member.
        """
        if outline is not None:
            self._outlines[key] = outline
        if isinstance(meaning, int):
            self._check_meaning(key, meaning)
        self._definitions[key] = meaning

    def outline(self, ref_id: int) -> int:
        """An expression with a shortest string of what a ref, or a node of words, stands for."""
        if self.node(ref_id)[0] == Kind.WORDS:
            _, words, first, last, depth = self.node(ref_id)
            with using(self):
                return self._word(words, words.shortest(first, last), depth)
        if self.node(ref_id)[0] == Kind.CAPTURE:
            return self._capture_outline(ref_id)
        key = self.node(ref_id)[1]
        outline = self._outlines.get(key)
        if outline is None:
            return self.definition(ref_id)
        if not isinstance(outline, int):
            with using(self), self._expanding.of(("outline", key)):
                outline = self._outlines[key] = outline()
        return outline

    def _capture_outline(self, item: int) -> int:
        key = ("outline of a capture", item)
        known = self.memos.get(key)
        if known is None:
            _, body, text, rule = self.node(item)
            with using(self), self._expanding.of(key):
                known = self.memos[key] = rule.outline(body, text)
        return known

    def behind(self, capture: tuple[Any, ...]) -> int:
        """What may follow a captured text, if it may end here."""
        _, body, text, rule = capture
        if not self.nullable(body):
            return EMPTY
        with using(self):
            return rule.after(text)

    def follows(self, mark: int) -> int:
        """An expression that begins as all that may follow a captured text do, whatever it is."""
        with using(self):
            return self.node(mark)[4].follows()

    def is_defined(self, key: Hashable) -> bool:
        """Whether `define` was called for `key`."""
        return key in self._definitions

    def definition(self, ref_id: int) -> int:
        """The expression a ref, or a node of words, stands for.

        Raises GrammarError when it refers to itself at its very start.
        """
        if self.node(ref_id)[0] == Kind.WORDS:
            known = self._unfolded.get(ref_id)
            if known is None:
                with using(self):
                    known = self._unfolded[ref_id] = self._unfolded_words(ref_id)
            return known
        key = self.node(ref_id)[1]
        meaning = self._definitions[key]
        if isinstance(meaning, int):
            return meaning
        expanding = self._expanding.keys
        if key in expanding:
            raise GrammarError(str(key), "$ref", "refers to itself without anything in between")
        expanding.add(key)
        try:
            with using(self):
                result = meaning()
        finally:
            expanding.discard(key)
        self._check_meaning(key, result)
        self._definitions[key] = result  # two threads may both come here, with the same answer
        return result

    def _check_meaning(self, key: Hashable, meaning: int) -> None:
        if self.nullable(meaning):
            raise GrammarError(str(key), "$ref", "what a reference stands for must not match the empty text")

    # -- the whole --------------------------------------------------------------------------------------------

    def fork(self) -> Exprs:
        """A pool of its own in which all ids of this one mean the same. What is lazy here is lazy there."""
        other = Exprs()
        with self.lock:
            other._store = self._store.copy()
            other._objects, other._object_ids = list(self._objects), dict(self._object_ids)
            other._text_numbers = dict(self._text_numbers)
            other._witness.take_paths(self._witness)
            other._definitions, other._outlines = dict(self._definitions), dict(self._outlines)
            other._texts, other._text_bytes = dict(self._texts), self._text_bytes
        return other

    @property
    def nbytes(self) -> int:
        """Memory of all that is remembered, estimated."""
        looked_at = _NODE_BYTES * (len(self._nodes) + len(self._objects) + self._witness.remembered)
        return self._store.nbytes + looked_at + _MEMO_BYTES * len(self.memos) + self._text_bytes

    def dismantle(self) -> None:
        """Let go of everything; the pool is of no more use. Bit by bit, so that no other thread has to wait."""
        self._definitions.clear()
        let_go(*(each for each in vars(self._witness).values() if isinstance(each, dict)))
        let_go(self.memos, self._nodes, self._outlines, self._object_ids, self._objects, self._text_numbers)
        self._store.let_go()
        self._texts.clear()
        self._unfolded.clear()

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

    def known_length(self, item: int) -> int | None:
        """Bytes of the shortest string, if that is known."""
        length = self._store.length(item)
        return None if length < 0 else length

    def know(self, item: int, length: int) -> None:
        """Say what `shortest_length` of an expression is, NEVER of an empty one; it must be right."""
        with self.lock:
            self._store.put_field(item, nl.LENGTH, length)

    def fullmatch(self, item: int, data: bytes) -> bool:
        """Whether `data` is in the language, found byte by byte."""
        for byte in data:
            item = self.raw_derivative(item, byte)
        return self.nullable(item)

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
        number = self.run(fk.first, item, 0)
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
            self.run(nk.remember, nk.pair_key(nl.DEFINITION_OF, item, 0), answers.definition(item))
        elif question == nl.ASK_PRUNED:
            self.run(nk.remember, nk.pair_key(nl.PRUNED_OF, item, 0), self.pruned(item))
        elif question == nl.ASK_DERIVATIVE:
            self.run(nk.remember, nk.derivative_key(item, byte), answers.derivative(item, byte))
        elif question == nl.ASK_FIRST:
            number = self.run(nk.byte_set, *_words_of(answers.first(item)))
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
                body, text = (node[1], self._text_number(node[2])) if kind == Kind.CAPTURE else (0, 0)
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
            return node[1].accepting[node[2]]
        return kind == Kind.WORDS and node[1].has_end(node[2], node[4])


def _words_of(mask: int) -> list[int]:
    return np.frombuffer(mask.to_bytes(32, "little"), np.int64).tolist()


def _bounds(lo: int, hi: int | None) -> tuple[int, int]:
    return min(lo, _BOUND), -1 if hi is None else min(hi, _BOUND)


def _spell_byte(byte: int) -> int:
    return POOL.byte_mask(1 << byte)


class _Expanding(threading.local):
    """The references whose definitions, and the outlines that a thread is just working out."""

    def __init__(self) -> None:
        self.keys: set[Hashable] = set()

    @contextmanager
    def of(self, key: Hashable) -> Iterator[None]:
        """While an outline is worked out. Raises GrammarError where it rests on itself."""
        if key in self.keys:
            reason = "elements that must differ may be such arrays themselves, and there must be several"
            raise GrammarError("constraint", "uniqueItems", reason, "leave out minItems and contains, or uniqueItems")
        self.keys.add(key)
        try:
            yield
        finally:
            self.keys.discard(key)


warm()
POOL = forward(Exprs())
"""The expressions this thread builds with."""
