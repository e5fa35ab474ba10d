"""Byte expressions: hash-consed nodes for sets of byte strings, and their derivatives (Brzozowski 1964).

An expression is an int naming a node of an `Exprs` pool; equal nodes get equal ints, so comparing languages that were
written alike is comparing ints. Constructors simplify as they build. Nothing is ever changed once built, apart from
what `define` says a `ref` stands for. `POOL` is the pool this thread builds in (`pools.using`); constraints compiled in
one pool share their nodes.

The nodes are numbers in one array, and what is done with them is compiled (`node_kernels`, `first_kernels`,
`alternation_kernels`, `derivative_kernels`, `member_kernels`; `arithmetic` calls them). Of some kinds the array knows
no more than that they are there: about references, documents, words, machines and captures the kernels ask
`expr_answers`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from . import member_kernels
from .arithmetic import LONGEST, Arithmetic
from .errors import Circular, GrammarError
from .machine import AnyMachine
from .node_store import NodeStore, warm
from .nodes import ALL_BYTES, EMPTY, EPSILON, Kind
from .pools import forward, using
from .sets_in import SetsIn, sets_in
from .verbatim import IndexedText, Span
from .words import FEW, Words
from .work import letting_go

if TYPE_CHECKING:
    from .captures import Rule

__all__ = ["ALL_BYTES", "EMPTY", "EPSILON", "LONGEST", "POOL", "Exprs", "Kind"]

_MANY_TEXTS = 200  # more are kept as words
_NODE_BYTES, _MEMO_BYTES = 400, 500  # measured: of a node looked at, of a memo with its share of tables


class Later(msgspec.Struct, frozen=True, gc=False):
    """A key that says itself what it stands for: there are very many, so that nothing else is kept of each."""

    def __call__(self) -> int:
        """What it stands for. Called once, when first needed."""
        raise NotImplementedError

    def outline(self) -> int:
        """An expression within that, see `Exprs.define`."""
        raise NotImplementedError


class Exprs(Arithmetic):
    """A pool of expressions. Safe to build in from several threads.

    memos: what `pools.memo` remembers, as it names expressions of this pool.
    """

    def __init__(self, store: NodeStore | None = None) -> None:
        super().__init__(store)
        self.memos: dict[Hashable, Any] = {}
        self._definitions: dict[Hashable, int | Callable[[], int]] = {}
        self._outlines: dict[Hashable, int | Callable[[], int]] = {}
        self._expanding = _Expanding()
        self._texts: dict[IndexedText | Words, None] = {}  # what expressions are made of that is large
        self._text_bytes = 0
        self._unfolded: dict[int, int] = {}  # nodes of words, one letter written out
        self._ask(self)

    # -- constructors -----------------------------------------------------------------------------------------

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

    def capture(self, body: int, text: bytes, rule: Rule) -> int:
        """A text whose beginning `text` is written and of which `body` is left, then what `rule` says may follow it."""
        return EMPTY if body == EMPTY else self._intern((Kind.CAPTURE, body, text, rule))

    def mark(self, start: int, body: int, text: bytes, rule: Rule) -> int:
        """Stands on a stack behind what is left of a captured text that began at byte `start`; see `places`."""
        return self._intern((Kind.MARK, start, body, text, rule))

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

    def machine(self, machine: AnyMachine, state: Any) -> int:
        """The texts that an automaton accepts from a state."""
        if machine.accepts(state) and not machine.first(state):
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

    def later(self, key: Hashable, meaning: Callable[[], int], outline: Callable[[], int], length: int) -> int:
        """`ref(key)`, with what it stands for: `define`, where it was not called yet, and `know`, in one step."""
        if key not in self._definitions:
            self._outlines[key] = outline
            self._definitions[key] = meaning
        made = self._intern((Kind.REF, key))
        self.know(made, length)
        return made

    def all_later(self, keys: Iterable[Later], lengths: Iterable[int]) -> list[int]:
        """`ref(key)` of each of some keys, in one step. lengths: of their shortest strings, or -1 if not known."""
        refs: list[int] = []
        fresh: dict[tuple[Any, ...], int] = {}
        fresh_lengths: list[int] = []
        with self.lock:
            ids, first = self._object_ids, len(self)
            for key, length in zip(keys, lengths, strict=True):
                node = (Kind.REF, key)
                known = ids.get(node) or fresh.get(node)
                if known is None:
                    known = fresh[node] = first + len(fresh)
                    fresh_lengths.append(length)
                elif length >= 0 and known < first:
                    self.know(known, length)
                refs.append(known)
            if fresh:
                self.run(member_kernels.add_references, len(self._objects), np.array(fresh_lengths, np.int64))
                self._objects += fresh
                ids.update(fresh)
        return refs

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
            if not isinstance(key, Later):
                return self.definition(ref_id)
            outline = key.outline
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
        node = self.node(ref_id)
        if node[0] == Kind.WORDS:
            known = self._unfolded.get(ref_id)
            if known is None:
                with using(self):
                    known = self._unfolded[ref_id] = self._unfolded_words(ref_id)
            return known
        key = node[1]
        meaning = self._definitions.get(key)
        if meaning is None:
            if not isinstance(key, Later):
                raise KeyError(key)
            meaning = key
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

    def sets_in(self, item: int, most_levels: int) -> SetsIn | None:
        """The sets of bytes that an expression is made of; None: it has other parts, or they are too deep inside."""
        with self.lock:
            return sets_in(self._store.words, item, most_levels)

    def fork(self) -> Exprs:
        """A pool of its own in which all ids of this one mean the same. What is lazy here is lazy there."""
        with self.lock:
            other = Exprs(self._store.copy())
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

    def touch(self, n_nodes: int) -> None:
        """Have memory at hand for so many nodes more (see `ahead`)."""
        self._store.touch(n_nodes)

    def dismantling(self) -> Iterator[None]:
        """Lets go of everything, a bit at each step; the pool is of no more use."""
        self._store.let_go()
        self._texts.clear()
        yield from letting_go(*(each for each in vars(self._witness).values() if isinstance(each, dict)))
        known = self._definitions, self._outlines, self._unfolded
        yield from letting_go(self.memos, self._nodes, *known, self._object_ids, self._objects, self._text_numbers)
        for part in (
            self._witness,
            self,
        ):  # which know each other: no garbage to be searched for
            vars(part).clear()


def _spell_byte(byte: int) -> int:
    return POOL.byte_mask(1 << byte)


class _Expanding(threading.local):
    """The references whose definitions, and the outlines that a thread is just working out."""

    def __init__(self) -> None:
        self.keys: set[Hashable] = set()

    @contextmanager
    def of(self, key: Hashable) -> Iterator[None]:
        """While an outline is worked out. Raises Circular where it rests on itself."""
        if key in self.keys:
            reason = "elements that must differ may be such arrays themselves, and there must be several"
            raise Circular("constraint", "uniqueItems", reason, "leave out minItems and contains, or uniqueItems")
        self.keys.add(key)
        try:
            yield
        finally:
            self.keys.discard(key)


warm()
POOL = forward(Exprs())
"""The expressions this thread builds with."""
