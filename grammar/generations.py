"""Constraints of one vocabulary within bounded memory: automata that succeed each other.

Nothing inside an automaton can be dropped while sequences refer to it, so memory is bounded by whole automata. A
generation is one automaton with its own pool of expressions. When it has grown past its share, constraints are compiled
into a fresh one from then on, which was made ready before: those in use come again at once and stay, others are
forgotten. The old one goes on serving its open sequences and is dropped when the last of them closes.
"""

from __future__ import annotations

import itertools
import queue
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from .automaton import AT_HAND, Automaton
from .batch import StateBatch
from .collector import KEPT
from .constraints import Constraint, JsonObject
from .errors import GrammarError
from .kept_rows import KeptRows
from .pools import current
from .spare_memory import SPARE
from .vocab import Vocabulary
from .work import Limit

DEFAULT_MAX_BYTES = 512 << 20

_MOST_GENERATIONS = 128
_ROOM = 4 << 20  # bytes that a constraint hardly takes, with its rows: how much there is left is not asked each time
_WARM_STEPS = 48
_WARM_TEXT = b'{"a":"a'
_AHEAD = 4  # when so little of a generation's share is left, as a part of it, the next one is made ready
_PARTS = 8  # in which a generation gets its memory
_BITS = 1  # of a dropped generation that are given back at once

_SEED = current().fork()  # the constants of all modules that build expressions


class Generation:
    """An automaton that holds constraints until it is full.

    number: a small one that no other living generation has. serial: one that no other ever had.
    """

    def __init__(self, automaton: Automaton, number: int, serial: int) -> None:
        self.automaton = automaton
        self.number = number
        self.serial = serial


class Root(NamedTuple):
    """Where sequences of a constraint start. Keeping it keeps its generation.

    key: the same for equal constraints, in whatever generation; keeping it keeps nothing.
    """

    generation: Generation
    start: int
    key: int


class Generations:
    """Compiles constraints. Safe to use from any thread.

    max_bytes: memory of all generations, as far as `Automaton.nbytes` can tell. Each may grow to half of it before the
    next one is begun, so that two fit; a generation that is full lives on as long as its sequences do. kept: rows of
    earlier processes, see Automaton.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        use_compiled: bool = True,
        kept: KeptRows | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self._kept = kept
        self.max_bytes = max_bytes
        self._use_compiled = use_compiled
        self._lock = threading.Lock()
        self._serials = itertools.count()
        self._live: weakref.WeakValueDictionary[int, Generation] = weakref.WeakValueDictionary()  # by number
        self._dropped: queue.SimpleQueue[Automaton | Iterator[None]] = queue.SimpleQueue()  # whole, or what is left
        self._current = self._begin(self._make())
        self._successor: Automaton | None = None
        self._is_filling = False  # so that it is time to make a successor
        self._tidied = 0  # times, since there is the current one
        self._warming: Iterator[None] = iter(())
        self._room_for = 0  # constraints for which there is room, whatever is said of memory

    @property
    def current(self) -> Generation:
        """The one constraints are compiled into now."""
        return self._current

    @property
    def live(self) -> list[Generation]:
        """The current one, and those that sequences or roots still need."""
        with self._lock:
            return list(self._live.values())

    @property
    def nbytes(self) -> int:
        """Memory of all that live and of the next one, partly estimated."""
        successor = self._successor
        return sum(each.automaton.nbytes for each in self.live) + (0 if successor is None else successor.nbytes)

    def compile(self, constraint: Constraint, limit: Limit | None = None, *, warm: bool = False) -> Root:
        """The root of a constraint. Raises GrammarError, also when `limit` is passed.

        warm: also find the rows along a shortest text, so that the first steps of a sequence need not. What can be done
        later is left to `tidy`.
        """
        generation = self._with_room()
        automaton = generation.automaton
        is_new = not automaton.knows(constraint)
        if limit is not None:
            limit.add(lambda: self._too_large(automaton))
        root = Root(generation, automaton.compile(constraint, limit), hash(constraint))
        if warm and is_new:
            _walk_shortest(automaton, root.start)
        return root

    def known(self, constraint: Constraint) -> Root | None:
        """The root of a constraint, at once, if the current generation has it and room."""
        generation = self._current
        automaton = generation.automaton
        if not automaton.knows(constraint) or automaton.nbytes > self._share:
            return None
        return Root(generation, automaton.compile(constraint), hash(constraint))

    def tidy(self) -> None:
        """Give back a bit of the memory of generations that nobody needs any more; make the next one ready, a bit.

        To be called once for each constraint compiled, when nobody waits for it any more: some ms, or some tens where
        there are first walks to make (`Automaton.walk_ahead`).
        """
        SPARE.refill()
        self._collect(_BITS)
        with self._lock:
            if self._is_filling and self._successor is None:
                self._successor = self._make()
                self._warming = _warming(self._successor, self._at_hand)
            next(self._warming, None)
        self._tidied += 1
        automaton = self._current.automaton
        automaton.touch(self._at_hand * min(self._tidied, _PARTS) // _PARTS)
        automaton.walk_ahead()
        KEPT.settle()

    def collect(self) -> None:
        """Give back all memory of generations that nobody needs any more."""
        self._collect(None)

    def _collect(self, bits: int | None) -> None:
        """Give back so many bits of a generation's memory, and all of others; None: of all."""
        while not self._dropped.empty():
            try:
                dropped = self._dropped.get_nowait()
            except queue.Empty:  # another thread was quicker
                return
            if isinstance(dropped, Automaton):
                dropped = dropped.dismantling()
            at_once = bits if self._dropped.empty() else None
            if sum(1 for _ in itertools.islice(dropped, at_once)) == at_once:
                self._dropped.put(dropped)
                return
            KEPT.doubt()

    @property
    def _share(self) -> int:
        return self.max_bytes // 2

    @property
    def _at_hand(self) -> int:
        return min(AT_HAND, self._share // _AHEAD)

    def _too_large(self, automaton: Automaton) -> str:
        if automaton.nbytes <= self.max_bytes:
            return ""
        return f"needs more memory than the {self.max_bytes >> 20} MiB that constraints may take"

    def _with_room(self) -> Generation:
        with self._lock:
            self._room_for -= 1
            if self._room_for < 0:
                left = self._share - self._current.automaton.nbytes
                self._is_filling = left < self._share // _AHEAD
                if left < 0 and len(self._live) < _MOST_GENERATIONS:
                    self._current, self._successor = self._begin(self._successor or self._make()), None
                    self._is_filling, self._tidied = False, 0
                self._room_for = max(left, 0) // _ROOM
            return self._current

    def _make(self) -> Automaton:
        return Automaton(self.vocabulary, exprs=_SEED.fork(), use_compiled=self._use_compiled, kept=self._kept)

    def _begin(self, automaton: Automaton) -> Generation:
        number = next(n for n in itertools.count() if n not in self._live)
        generation = Generation(automaton, number, next(self._serials))
        self._live[number] = generation
        weakref.finalize(generation, self._dropped.put, automaton).atexit = False
        return generation


def _warming(automaton: Automaton, at_hand: int) -> Iterator[None]:
    """Have memory at hand, and walk the vocabulary where most constraints will have to: in keys and in strings."""
    automaton.walker.touch()
    yield
    for part in range(_PARTS):
        automaton.touch(at_hand * (part + 1) // _PARTS)
        yield
    tokens = automaton.vocabulary.tokens
    with suppress(GrammarError):
        at = automaton.start(automaton.compile(JsonObject()))
        for byte in _WARM_TEXT:
            automaton.row_at(*at)
            yield
            token = bytes([byte])
            after = automaton.after(*at, tokens.index(token)) if token in tokens else None
            if after is None:
                return
            at = after
        automaton.row_at(*at)


def _walk_shortest(automaton: Automaton, start: int) -> None:
    """Find rows and transitions along a shortest text. What goes wrong there is left to the sequences that meet it."""
    batch = StateBatch(automaton)
    slot = batch.open(start)
    slots = np.array([slot], np.int32)
    try:
        for token in batch.closing(slot)[:_WARM_STEPS]:
            batch.row_ids(slots)
            if not batch.advance(slots, np.array([token], np.int32))[0]:
                return
        batch.row_ids(slots)
    except GrammarError:
        return
