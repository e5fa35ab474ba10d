"""Byte expressions: hash-consed nodes for sets of byte strings, and their derivatives (Brzozowski 1964).

An expression is an int naming a node of an `Exprs` pool; equal nodes get equal ints, so comparing languages that were
written alike is comparing ints. Constructors simplify as they build. Nothing is ever changed once built, apart from
what `define` says a `ref` stands for. `POOL` is the pool this thread builds in (`pools.using`); constraints compiled in
one pool share their nodes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .alternatives import Alternatives
from .errors import GrammarError
from .first_bytes import FirstBytes
from .machine import Machine
from .nodes import ALL_BYTES, EMPTY, EPSILON, Kind
from .pools import forward, using
from .verbatim import IndexedText, Span
from .witness import Witness
from .words import FEW, Words
from .work import let_go, tick

if TYPE_CHECKING:
    from .captures import Rule

__all__ = ["ALL_BYTES", "EMPTY", "EPSILON", "POOL", "Exprs", "Kind"]

LONGEST = 1 << 20
"""Bytes that a text may have at most."""

_MANY = 8  # members of an alternation that are looked up by their first byte
_MANY_TEXTS = 200  # more are kept as words
_ALTS_LIMIT = 100_000  # alternations remembered, by their members as given
_CAT = Kind.CAT  # looked up often
_MEMO_LIMIT = 2_000_000  # derivatives remembered before the memo starts anew
_NODE_BYTES, _ENTRY_BYTES, _MEMO_BYTES = 300, 150, 500  # measured: memory of one of each, its share of tables included


class Exprs:
    """A pool of expressions. Safe to build in from several threads.

    memos: what `pools.memo` remembers, as it names expressions of this pool.
    """

    def __init__(self) -> None:
        self.memos: dict[Hashable, Any] = {}
        self._nodes: list[tuple[Any, ...]] = []
        self._ids: dict[tuple[Any, ...], int] = {}
        self._nullable: list[bool] = []
        self._plain: list[bool] = []  # no AND, NOT or REF inside: not empty unless it is EMPTY
        self._lock = threading.RLock()
        self._definitions: dict[Hashable, int | Callable[[], int]] = {}
        self._outlines: dict[Hashable, int | Callable[[], int]] = {}
        self._expanding = _Expanding()
        self._derived: dict[int, int] = {}
        self._alts: dict[frozenset[int], int] = {}
        self._texts: dict[IndexedText | Words, None] = {}  # what expressions are made of that is large
        self._text_bytes = 0
        self._unfolded: dict[int, int] = {}  # nodes of words, one letter written out
        self._witness = Witness(self)
        self._first_bytes = FirstBytes(self)
        self._alternatives = Alternatives(self)
        self._intern((Kind.EMPTY,))
        self._intern((Kind.EPSILON,))
        self._bytes = [self._intern((Kind.SET, 1 << byte)) for byte in range(256)]
        self.any_byte = self._intern((Kind.SET, ALL_BYTES))
        self.everything = self._intern((Kind.REPEAT, self.any_byte, 0, None))

    # -- constructors -----------------------------------------------------------------------------------------

    def byte_set(self, members: Iterable[int]) -> int:
        """One byte out of `members`."""
        mask = 0
        for byte in members:
            mask |= 1 << byte
        return self.byte_mask(mask)

    def byte_mask(self, mask: int) -> int:
        """One byte out of those whose bit is set in `mask`."""
        return self._intern((Kind.SET, mask)) if mask else EMPTY

    def literal(self, text: bytes) -> int:
        """Exactly `text`. Raises GrammarError for one that is longer than any output."""
        if len(text) > LONGEST:
            reason = f"a text of {len(text)} bytes is longer than any output"
            raise GrammarError("constraint", "", reason, f"{LONGEST} bytes are the most")
        result = EPSILON
        for byte in reversed(text):
            result = self._cat(self._bytes[byte], result)
        return result

    def concat(self, *ids: int) -> int:
        """Strings of each of `ids`, one after the other."""
        result = ids[-1] if ids else EPSILON
        for item in reversed(ids[:-1]):
            heads = []
            while (node := self._nodes[item])[0] == Kind.CAT:
                heads.append(node[1])
                item = node[2]
            result = self._cat(item, result)
            for head in reversed(heads):
                result = self._cat(head, result)
        return result

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
        _, words, first, last, depth = self._nodes[item]
        ways = [
            self.concat(words.spell(letter), self._words(words, start, end, depth + 1))
            for letter, start, end in words.letters(first, last, depth)
        ]
        return self.alt(EPSILON if words.has_end(first, depth) else EMPTY, *ways)

    def alt(self, *ids: int) -> int:
        """Strings of any of `ids`. Common heads are factored out, so a list of words becomes a trie."""
        members: set[int] = set()
        for item in ids:
            node = self._nodes[item]
            members.update(node[1] if node[0] == Kind.ALT else (item,))
        members.discard(EMPTY)
        if len(members) <= 1:
            return members.pop() if members else EMPTY
        if self.everything in members:
            return self.everything
        key = frozenset(members)
        known = self._alts.get(key)
        if known is None:
            tick()
            if len(self._alts) > _ALTS_LIMIT:
                self._alts.clear()
            known = self._alts[key] = self._alt(members)
        return known

    def _alt(self, members: set[int]) -> int:
        heads = self._alternatives.take_common_heads(members)
        if heads:
            return self.concat(*heads, self.alt(*members))
        if len(members) > 1:
            members = self._alternatives.factored(members)
        if any(self._nodes[m][0] == Kind.NOT and self._nodes[m][1] in members for m in members):
            return self.everything
        members = self._alternatives.absorbed(self._with_captures_joined(members))
        if len(members) <= 1:
            return members.pop() if members else EMPTY
        return self._intern((Kind.ALT, tuple(sorted(members))))

    def and_(self, *ids: int) -> int:
        """Strings of all of `ids`."""
        members: set[int] = set()
        for item in ids:
            node = self._nodes[item]
            members.update(node[1] if node[0] == Kind.AND else (item,))
        members.discard(self.everything)
        if any(self._nodes[m][0] == Kind.FRAME for m in members):
            return self.frame(self.and_(*map(self.unframed, members)))
        negated = [self._nodes[m][1] for m in members if self._nodes[m][0] == Kind.NOT]
        members = {m for m in members if self._nodes[m][0] != Kind.NOT}
        if EMPTY in members or not members.isdisjoint(negated):
            return EMPTY
        masks = [self._nodes[m][1] for m in members if self._nodes[m][0] == Kind.SET]
        if len(masks) > 1:
            both = ALL_BYTES
            for mask in masks:
                both &= mask
            members = {m for m in members if self._nodes[m][0] != Kind.SET} | {self.byte_mask(both)}
        if negated:
            members.add(self.not_(self.alt(*negated)))
        if EPSILON in members:
            return EPSILON if all(self._nullable[m] for m in members) else EMPTY
        if EMPTY in members or self._heads_differ(members):
            return EMPTY
        if len(members) <= 1:
            return members.pop() if members else self.everything
        return self._intern((Kind.AND, tuple(sorted(members))))

    def not_(self, item: int) -> int:
        """Byte strings that are not in `item`."""
        item = self.unframed(item)
        node = self._nodes[item]
        if node[0] == Kind.NOT:
            return node[1]
        if item == EMPTY:
            return self.everything
        return EMPTY if item == self.everything else self._intern((Kind.NOT, item))

    def repeat(self, item: int, lo: int, hi: int | None) -> int:
        """Between lo and hi strings of `item`, one after the other; hi None: any number. Bounds may be huge."""
        if hi is not None and lo > hi:
            return EMPTY
        if hi == 0 or item == EPSILON or (item == EMPTY and lo == 0):
            return EPSILON
        if item == EMPTY or (lo == 1 and hi == 1):
            return item
        if self._nullable[item]:
            lo = 0
            inner = self._nodes[item]
            if inner[0] == Kind.REPEAT and inner[2:] == (0, None):
                return item
        return self._intern((Kind.REPEAT, item, lo, hi))

    def counted(self, unit: int, lo: int, hi: int | None) -> int:
        """`repeat`, where `unit` is one character: not empty, and no string of it begins another.

        An automaton keeps the count in the sequence's register, so that the bounds cost no states.
        """
        if self._nullable[unit]:
            raise ValueError("a counted unit must not be nullable")
        if hi is not None and lo > hi:
            return EMPTY
        if hi == 0 or (unit == EMPTY and lo == 0):
            return EPSILON
        return EMPTY if unit == EMPTY else self._intern((Kind.COUNTED, unit, lo, hi))

    def capture(self, body: int, text: bytes, rule: Rule) -> int:
        """A text whose beginning `text` is written and of which `body` is left, then what `rule` says may follow it."""
        return EMPTY if body == EMPTY else self._intern((Kind.CAPTURE, body, text, rule))

    def _with_captures_joined(self, members: set[int]) -> set[int]:
        """Captures that have the same text so far become one."""
        captures = [m for m in members if self._nodes[m][0] == Kind.CAPTURE]
        by_text: dict[bytes, list[int]] = {}
        for member in sorted(captures):
            by_text.setdefault(self._nodes[member][2], []).append(member)
        joined = set(members)
        for text, alike in by_text.items():
            if len(alike) > 1:
                bodies = [self._nodes[member][1] for member in alike]
                rules = [self._nodes[member][3] for member in alike]
                joined.difference_update(alike)
                joined.add(self.capture(self.alt(*bodies), text, self._either(text, bodies, rules)))
        return joined

    def _either(self, text: bytes, bodies: list[int], rules: list[Rule]) -> Rule:
        from .captures import either  # which builds expressions, too

        return either(text, bodies, rules)

    def mark(self, start: int, body: int, text: bytes, rule: Rule) -> int:
        """Stands on a stack behind what is left of a captured text that began at byte `start`; see `places`."""
        return self._intern((Kind.MARK, start, body, text, rule))

    def __len__(self) -> int:
        """Expressions made so far."""
        return len(self._nodes)

    def frame(self, item: int) -> int:
        """The same language, marked as a nesting boundary: what is inside is shared by all places it stands in."""
        if item <= EPSILON or self._nodes[item][0] in (Kind.FRAME, Kind.REF):
            return item
        return self._intern((Kind.FRAME, item))

    def verbatim(self, text: IndexedText, least: int = 0, most: int | None = None) -> int:
        """What stands in a document, as it is spelled in a JSON string: least to most characters of it."""
        self._hold(text)
        rest = self._span(text.start(least, most))
        return EPSILON if rest == EMPTY and least == 0 else rest

    def _hold(self, text: IndexedText | Words) -> None:
        """Keep what expressions are made of, and count its memory once."""
        with self._lock:
            if text not in self._texts:
                self._texts[text] = None
                self._text_bytes += text.nbytes

    def _span(self, span: Span | None) -> int:
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

    def know(self, item: int, length: int) -> None:
        """Say what `shortest_length` of an expression is, where it is known without looking; it must be right."""
        self._witness.know(item, length)

    def outline(self, ref_id: int) -> int:
        """An expression with a shortest string of what a ref, or a node of words, stands for."""
        if self._nodes[ref_id][0] == Kind.WORDS:
            _, words, first, last, depth = self._nodes[ref_id]
            with using(self):
                return self._word(words, words.shortest(first, last), depth)
        if self._nodes[ref_id][0] == Kind.CAPTURE:
            return self._capture_outline(ref_id)
        key = self._nodes[ref_id][1]
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
            _, body, text, rule = self._nodes[item]
            with using(self), self._expanding.of(key):
                known = self.memos[key] = rule.outline(body, text)
        return known

    def behind(self, capture: tuple[Any, ...]) -> int:
        """What may follow a captured text, if it may end here."""
        _, body, text, rule = capture
        if not self._nullable[body]:
            return EMPTY
        with using(self):
            return rule.after(text)

    def follows(self, mark: int) -> int:
        """An expression that begins as all that may follow a captured text do, whatever it is."""
        with using(self):
            return self._nodes[mark][4].follows()

    def is_defined(self, key: Hashable) -> bool:
        """Whether `define` was called for `key`."""
        return key in self._definitions

    def definition(self, ref_id: int) -> int:
        """The expression a ref, or a node of words, stands for.

        Raises GrammarError when it refers to itself at its very start.
        """
        if self._nodes[ref_id][0] == Kind.WORDS:
            known = self._unfolded.get(ref_id)
            if known is None:
                with using(self):
                    known = self._unfolded[ref_id] = self._unfolded_words(ref_id)
            return known
        key = self._nodes[ref_id][1]
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
        if self._nullable[meaning]:
            raise GrammarError(str(key), "$ref", "what a reference stands for must not match the empty text")

    # -- the whole --------------------------------------------------------------------------------------------

    def fork(self) -> Exprs:
        """A pool of its own in which all ids of this one mean the same. What is lazy here is lazy there."""
        other = Exprs()
        with self._lock:
            other._nodes, other._ids = list(self._nodes), dict(self._ids)
            other._witness.take_lengths(self._witness)
            other._nullable, other._plain = list(self._nullable), list(self._plain)
            other._definitions, other._outlines = dict(self._definitions), dict(self._outlines)
            other._texts, other._text_bytes = dict(self._texts), self._text_bytes
        return other

    @property
    def nbytes(self) -> int:
        """Memory of all that is remembered, estimated."""
        remembered = len(self._derived) + 2 * len(self._alts) + self._witness.remembered + self._first_bytes.remembered
        memos = _MEMO_BYTES * len(self.memos) + self._text_bytes
        return _NODE_BYTES * len(self._nodes) + _ENTRY_BYTES * remembered + memos

    def dismantle(self) -> None:
        """Let go of everything; the pool is of no more use. Bit by bit, so that no other thread has to wait."""
        self._definitions.clear()
        for part in (self._witness, self._first_bytes, self._alternatives):
            let_go(*(each for each in vars(part).values() if isinstance(each, dict)))
        let_go(
            self.memos, self._derived, self._alts, self._outlines, self._ids, self._nodes, self._nullable, self._plain
        )
        self._texts.clear()
        self._unfolded.clear()

    # -- questions --------------------------------------------------------------------------------------------

    def node(self, item: int) -> tuple[Any, ...]:
        """The node behind an id: its Kind, then what the Kind says."""
        return self._nodes[item]

    def nullable(self, item: int) -> bool:
        """Whether the empty string is in the language."""
        return self._nullable[item]

    def plain(self, item: int) -> bool:
        """Whether there is no intersection, complement or reference inside."""
        return self._plain[item]

    def derivative(self, item: int, byte: int) -> int:
        """What may follow `byte` in strings of `item`. EMPTY exactly when nothing can."""
        return self.pruned(self.raw_derivative(item, byte))

    def is_empty(self, item: int) -> bool:
        """Whether no string is in the language. Raises GrammarError when that takes too long to find out."""
        if self._plain[item] or self._nullable[item]:
            return item == EMPTY
        return not self._witness.has_member(item)

    def shortest_length(self, item: int) -> int:
        """Bytes of the shortest string of a language that is not empty."""
        return self._witness.length(item)

    def shortest(self, item: int) -> bytes | None:
        """One of the shortest strings of the language, of plain letters and digits where it may; None: empty."""
        return self._witness.shortest(item)

    def fullmatch(self, item: int, data: bytes) -> bool:
        """Whether `data` is in the language, found byte by byte."""
        for byte in data:
            item = self.raw_derivative(item, byte)
        return self._nullable[item]

    def byte_classes(self, item: int) -> tuple[int, ...]:
        """A partition of the 256 bytes, as masks; bytes of one class have the same derivative."""
        return self._first_bytes.classes(item)

    def first(self, item: int) -> int:
        """Mask of the bytes strings may begin with (complements make it wider than exact, never narrower)."""
        return self._first_bytes.mask(item)

    def pruned(self, item: int) -> int:
        """The same language, with members of alternations that can never be matched taken out."""
        if self._plain[item]:
            return item
        if self.is_empty(item):
            return EMPTY
        node = self._nodes[item]
        if node[0] == Kind.ALT:
            return self.alt(*[m for m in node[1] if not self.is_empty(m)])
        return item

    def raw_derivative(self, item: int, byte: int) -> int:
        """`derivative` without the search for emptiness: may name EMPTY by another expression."""
        key = item << 8 | byte
        known = self._derived.get(key)
        if known is None:
            tick()
            if len(self._derived) > _MEMO_LIMIT:
                self._derived.clear()
            known = self._derived[key] = self._derive(item, byte)
        return known

    # -- derivatives ------------------------------------------------------------------------------------------

    def _derive(self, item: int, byte: int) -> int:
        node = self._nodes[item]
        kind = node[0]
        if kind == Kind.SET:
            return EPSILON if node[1] >> byte & 1 else EMPTY
        if kind == Kind.CAT:
            return self._derive_cat(item, byte)
        if kind == Kind.ALT:
            members = node[1] if len(node[1]) < _MANY else self._first_bytes.members(item, byte)
            return self.alt(*[self.raw_derivative(m, byte) for m in members])
        if kind == Kind.AND:
            return self._derive_and(node[1], byte)
        if kind == Kind.NOT:
            return self.not_(self.raw_derivative(node[1], byte))
        if kind in (Kind.REPEAT, Kind.COUNTED):
            rest = self.raw_derivative(node[1], byte)
            return EMPTY if rest == EMPTY else self.concat(rest, self._one_less(node))
        if kind == Kind.FRAME:
            return self.frame(self.raw_derivative(node[1], byte))
        if kind == Kind.REF:
            return self.frame(self.raw_derivative(self.definition(item), byte))
        if kind == Kind.WORDS:
            return self.raw_derivative(self.definition(item), byte)
        if kind == Kind.CAPTURE:
            return self._derive_capture(node, byte)
        if kind == Kind.VERBATIM:
            return self._span(node[1].text.step(node[1], byte))
        if kind == Kind.MACHINE:
            after = node[1].after(node[2], byte)
            return EMPTY if after is None else self.machine(node[1], after)
        return EMPTY

    def _derive_capture(self, node: tuple[Any, ...], byte: int) -> int:
        _, body, text, rule = node
        longer = self.capture(self.raw_derivative(body, byte), text + bytes([byte]), rule)
        return self.alt(longer, self.raw_derivative(self.behind(node), byte))

    def _derive_cat(self, item: int, byte: int) -> int:
        node = self._nodes[item]
        head = self._nodes[node[1]]
        if head[0] == Kind.SET:
            return node[2] if head[1] >> byte & 1 else EMPTY
        results = []
        while (node := self._nodes[item])[0] == Kind.CAT:
            rest = self.raw_derivative(node[1], byte)
            if rest != EMPTY:
                results.append(self.concat(rest, node[2]))
            if not self._nullable[node[1]]:
                return self.alt(*results)
            item = node[2]
        results.append(self.raw_derivative(item, byte))
        return self.alt(*results)

    def _derive_and(self, members: tuple[int, ...], byte: int) -> int:
        results = []
        for member in members:
            rest = self.raw_derivative(member, byte)
            if rest == EMPTY:
                return EMPTY
            results.append(rest)
        return self.and_(*results)

    def _one_less(self, node: tuple[Any, ...]) -> int:
        kind, item, lo, hi = node
        make = self.repeat if kind == Kind.REPEAT else self.counted
        return make(item, max(lo - 1, 0), None if hi is None else hi - 1)

    # -- building ---------------------------------------------------------------------------------------------

    def _intern(self, node: tuple[Any, ...]) -> int:
        known = self._ids.get(node)
        return self._add(node, self._is_nullable(node), self._is_plain(node)) if known is None else known

    def _add(self, node: tuple[Any, ...], nullable: bool, plain: bool) -> int:
        tick()
        with self._lock:
            known = self._ids.get(node)
            if known is None:
                known = len(self._nodes)
                self._nodes.append(node)
                self._nullable.append(nullable)
                self._plain.append(plain)
                self._witness.note(known, node)
                self._ids[node] = known
            return known

    def _is_nullable(self, node: tuple[Any, ...]) -> bool:
        kind = node[0]
        if kind == Kind.CAT:
            return self._nullable[node[1]] and self._nullable[node[2]]
        if kind == Kind.ALT:
            return any(self._nullable[m] for m in node[1])
        if kind == Kind.AND:
            return all(self._nullable[m] for m in node[1])
        if kind == Kind.NOT:
            return not self._nullable[node[1]]
        if kind in (Kind.REPEAT, Kind.COUNTED):
            return node[2] == 0
        if kind in (Kind.CAPTURE, Kind.MARK):
            return False
        if kind == Kind.VERBATIM:
            return node[1].text.may_end(node[1])
        if kind == Kind.MACHINE:
            return node[1].accepting[node[2]]
        if kind == Kind.WORDS:
            return node[1].has_end(node[2], node[4])
        return kind == Kind.EPSILON or (kind == Kind.FRAME and self._nullable[node[1]])

    def _is_plain(self, node: tuple[Any, ...]) -> bool:
        kind = node[0]
        if kind in (Kind.AND, Kind.NOT, Kind.REF, Kind.CAPTURE, Kind.MARK):
            return False
        if kind == Kind.CAT:
            return self._plain[node[1]] and self._plain[node[2]]
        if kind == Kind.ALT:
            return all(self._plain[m] for m in node[1])
        return kind <= Kind.SET or kind in (Kind.VERBATIM, Kind.WORDS, Kind.MACHINE) or self._plain[node[1]]

    def _cat(self, head: int, tail: int) -> int:
        if head == EMPTY or tail == EMPTY:
            return EMPTY
        if head == EPSILON:
            return tail
        if tail == EPSILON:
            return head
        node = (_CAT, head, tail)
        known = self._ids.get(node)
        if known is not None:
            return known
        nullable = self._nullable[head] and self._nullable[tail]
        return self._add(node, nullable, self._plain[head] and self._plain[tail])

    def unframed(self, item: int) -> int:
        """The same language without the mark of `frame`."""
        node = self._nodes[item]
        return node[1] if node[0] == Kind.FRAME else item

    def _heads_differ(self, members: set[int]) -> bool:
        """Whether an intersection is seen to be empty by its first bytes. Leaves references alone."""
        if all(self._nullable[m] for m in members):
            return False
        mask = ALL_BYTES
        for member in members:
            if self._plain[member]:
                mask &= self.first(member)
        return mask == 0


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


POOL = forward(Exprs())
"""The expressions this thread builds with."""
