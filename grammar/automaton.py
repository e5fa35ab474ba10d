"""The automaton of one vocabulary: states, transitions and mask rows, made when first met and shared by everyone.

A state is a place inside a frame (`places.Place` without a stack). A sequence is three ints: state, register (the count
of the counted run it is in), stack. What depends on the stack is remembered by as many upper entries as were looked at.
Method and measurements: Brzozowski derivatives, with llguidance's and XGrammar's split of tokens into those that stay
inside a rule and those that leave it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import chain

import numpy as np

from . import address_kernels as ak
from . import follow_kernels, kernels, verbatim, walk_kernels, wide
from . import miss_kernels as mk
from .addresses import Addresses
from .chars import JSON_CHAR
from .constraints import Constraint
from .crossings import Crossings
from .dfa import Dfa
from .digests import Digests
from .endings import Endings, too_deep
from .errors import GrammarError
from .expr import POOL, Exprs
from .follow import Follower, Went
from .kept_rows import KeptRow, KeptRows
from .masks import Masks
from .name_warming import NameWarming
from .places import NO_UNIT, UNLIMITED, Frames, Path, Place
from .pools import current, using
from .recall import Recall
from .roots import Roots, Start
from .rows import Rows
from .sample_walks import SampleWalks
from .sequences import Sequences
from .spare_memory import SPARE
from .stacks import LEVELS, Reader, Stacks
from .states import States
from .staying import staying_tokens
from .stays import Stays
from .table import Table
from .texts import NO_TEXT
from .transitions import NOT_ALLOWED, Transitions
from .vocab import Vocabulary
from .walker import Walker
from .work import Limit, within

MISS_SECONDS = 2.0
"""Processor time that one transition or row which is not known yet may take."""

AT_HAND = 32 << 20
"""Bytes of memory that an automaton is to have at hand; it takes as many in a dozen large constraints (measured)."""

_BYTES_TO_A_STATE, _BYTES_TO_A_NODE, _BYTES_TO_A_BYTE_OF_ROWS = 2048, 512, 4  # as they grow (measured), rather more
_PAUSE_S = 0.0001  # in which whoever waits for the lock gets it


class Automaton:
    """Owner of all tables for a vocabulary. Safe to use from several threads; `compile` may take long, the rest not.

    Memory: `states`, `stacks` and `rows` grow with the constraints seen and are never dropped, since sequences refer to
    them (`nbytes` tells how much, `generations.Generations` makes a fresh one when it is too much). Walks and
    transitions are bounded caches.

    exprs: the pool its expressions are of; None: the one this thread builds in now. use_compiled: whether walks use
    numba; both ways give the same answers. kept: rows of earlier processes; they are looked up before rows are made,
    and rows that are made are added.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        exprs: Exprs | None = None,
        use_compiled: bool = True,
        kept: KeptRows | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.exprs = current() if exprs is None else exprs
        self.lock = threading.RLock()
        self._addresses = addresses = Addresses()
        self.row_table = Rows(vocabulary.words, addresses)
        self.transitions = Transitions(addresses)
        self.row_ids = Table(addresses=addresses, which=ak.ROW_IDS)
        self._misses = 0
        self.walker: Walker
        self._dfa = Dfa(self.exprs, addresses)
        self._sequences = Sequences(self._dfa, addresses)
        self.stacks = Stacks(self._dfa, self._sequences, addresses)
        self._frames = Frames(self.exprs, self._dfa)
        self.walker = Walker(vocabulary, self._dfa, addresses, use_compiled=use_compiled)
        self._crossings = Crossings(self._dfa, self._sequences, addresses)
        stacks, sequences = self.stacks, self._sequences
        self._follower = Follower(self._dfa, self._crossings, stacks, sequences, vocabulary, addresses)
        self._masks = Masks(self._frames, self.walker, self._crossings, stacks, sequences, vocabulary, addresses)
        self._names = NameWarming(self._dfa, self.walker, self._masks.parts, vocabulary)
        self._samples = SampleWalks()
        self._states = States(addresses)
        self._endings = Endings(self._frames, self._dfa, self._states, stacks)
        self._recall: Recall | None = None
        if kept is not None:
            self._recall = Recall(kept, self.stacks, Digests(self.exprs), self._dfa, self._states)
        frames, states, alphabet = self._frames, self._states, vocabulary.alphabet
        self._roots = Roots(self.exprs, frames, stacks, sequences, states, self.lock, alphabet, self._recall)
        self._sequence = np.zeros((1, 3), np.int32)
        addresses.put(ak.SEQUENCE, self._sequence)
        self._stays = Stays(self._states, self._masks, self._dfa, vocabulary, addresses, self._recall)

    # -- for everyone -----------------------------------------------------------------------------------------

    def compile(self, constraint: Constraint, limit: Limit | None = None) -> int:
        """The root of a constraint: where its sequences start. Raises GrammarError, also when `limit` is passed."""
        return self._roots.compile(constraint, limit)

    def knows(self, constraint: Constraint) -> bool:
        """Whether a constraint is compiled already."""
        return self._roots.knows(constraint)

    def root_of(self, expression: int) -> int:
        """The root of an expression of `exprs` that is not empty."""
        return self._roots.root_of(expression)

    def warm(self) -> None:
        """Compile the compiled loops and walk the body of a JSON string once. To be called before the first request."""
        with using(self.exprs):
            string = POOL.concat(POOL.literal(b'"'), POOL.counted(JSON_CHAR, 0, None), POOL.literal(b'"'))
            root = self.root_of(POOL.frame(string))
        with self.lock:
            state, register, stack = self.start(root)
            self._find_transition(state, 0, stack)
            self._find_row_at_leisure(state, register, stack)
            quote = Path(self._frames, self._states[state], Reader(self.stacks, stack), 0, open_run=False)
            if quote.take(ord('"')):
                above = self.stacks.push_all(stack, self._sequences.of(quote.place.pushes))
                self._find_row_at_leisure(self._states.of(quote.place), 0, above)
            text = self._dfa.state(self.exprs.repeat(JSON_CHAR, 0, None))
            self._dfa.complete(text)
            self._dfa.find(text, ord("a"))
            self._masks.parts.part(text, NO_UNIT, np.zeros(1, np.int32))  # the base of the walks of keys
            self._crossings.find_entry(self._dfa.state(self.exprs.frame(self._dfa.expression(text))), 0)
            kernels.warm()
            _warm_misses()
            follow_kernels.warm()
            walk_kernels.warm()
            self.walker.warm()
            verbatim.warm()
        self.walker.touch()
        self.touch(AT_HAND)
        SPARE.begin()

    def touch(self, n_bytes: int) -> None:
        """Have memory at hand for what comes next, about so many bytes (see `ahead`). Asks for no lock.

        To be called now and then, when nobody waits: takes 0.1 ms where there is enough.
        """
        n_states, n_nodes = n_bytes // _BYTES_TO_A_STATE, n_bytes // _BYTES_TO_A_NODE
        self._dfa.touch(n_states, n_nodes)
        self._crossings.touch(n_states)
        self.row_table.touch(n_bytes // _BYTES_TO_A_BYTE_OF_ROWS // (4 * self.vocabulary.words))
        self.exprs.touch(n_nodes)

    def walk_ahead(self) -> None:
        """Make the first walks of names of hosts and of patterns, if there are new ones: tens of ms at times.

        To be called when nobody waits. The lock is let go in between.
        """
        while True:
            with self.lock, suppress(GrammarError, RecursionError), within(Limit(MISS_SECONDS)):
                if not self._names.go_on() and not self._samples.go_on(self):
                    return
            time.sleep(_PAUSE_S)

    def _find_row_at_leisure(self, state: int, register: int, stack: int) -> int:
        """`find_row`, however long it takes."""
        row = self._run(mk.FIND_ROW, state, register, stack, int(self._recall is None))
        return row if row >= 0 else self._find_row(state, register, stack, row)

    def start(self, root: int) -> Start:
        """State, register and stack at a root."""
        return self._roots.start(root)

    @property
    def n_states(self) -> int:
        """How many rows of `states` mean something."""
        return len(self._states)

    @property
    def misses(self) -> int:
        """Transitions and rows that had to be found, those on disk not counted."""
        return self._misses + self.row_table.found

    @property
    def states(self) -> np.ndarray:
        """Of each state lo, hi, and its row of `stay` or -1, int32. Replaced when it grows."""
        return self._states.bounds

    @property
    def records(self) -> np.ndarray:
        """What the values of `transitions` name; see `kernels.step`. Replaced when it grows."""
        return self.transitions.records

    @property
    def stay(self) -> np.ndarray:
        """The rows of `stays.Stays` so far, (rows, size) uint8. Replaced when there are more."""
        return self._stays.rows

    @property
    def rows(self) -> np.ndarray:
        """All mask rows so far, (rows, words) int32: bit b of word w allows token 32 * w + b. Ids stay as they are."""
        return self.row_table.table

    def allowed(self, row: int) -> np.ndarray | None:
        """The allowed tokens of a row that allows few (64 at most), ascending; None for others."""
        return self.row_table.allowed(row)

    @property
    def nbytes(self) -> int:
        """Memory of all it holds, the pool of expressions included; partly estimated."""
        tables = (
            self.stacks,
            self.row_table,
            self.transitions,
            self.row_ids,
            self._dfa,
            self._crossings,
            self._masks,
            self._states,
            self._stays,
            self._roots,
            self.exprs,
        )
        return self._frames.texts.nbytes + sum(each.nbytes for each in tables)

    def dismantling(self) -> Iterator[None]:
        """Lets go of walks and expressions, a bit at each step, once no sequence is open and nobody will compile.

        The rest goes by itself, with the last reference to the automaton, which this is none.
        """
        return chain(self._masks.parts.letting_go(), self.exprs.dismantling())

    # -- for one sequence ---------------------------------------------------------------------------------------

    def row_at(self, state: int, register: int, stack: int) -> int:
        """The mask row of a sequence. Raises GrammarError when it cannot be decided."""
        with self.lock:
            return self.find_row(state, register, stack)

    def after(self, state: int, register: int, stack: int, token: int) -> tuple[int, int, int] | None:
        """State, register and stack behind a token; None: it is not allowed. Raises GrammarError like `row_at`."""
        with self.lock:
            went = self._run(mk.AFTER, state, register, stack, token)
            while went < 0:
                self.find_transition(state, token, stack)
                went = self._run(mk.AFTER, state, register, stack, token)
            if went == mk.NEW:
                self._note_transition(state, token, stack)
            state, register, stack = self._sequence[0].tolist()
        return (state, register, stack) if went else None

    # -- for batches: answers to what the tables did not know ----------------------------------------------------

    def find_row(self, state: int, register: int, stack: int) -> int:
        """The row of a sequence, now in `row_ids`. Raises GrammarError when it cannot be decided."""
        row = self._run(mk.FIND_ROW, state, register, stack, int(self._recall is None))
        if row >= 0:
            return row
        try:
            with within(Limit(MISS_SECONDS)):
                return self._find_row(state, register, stack, row)
        except RecursionError as error:
            raise too_deep() from error

    def staying_tokens(self, state: int, stack: int) -> np.ndarray | None:
        """Tokens of which it is known, without asking about each, that they leave a sequence as it is; None: few."""
        with self.lock:
            reader = Reader(self.stacks, stack)
            return staying_tokens(self._states[state], reader, self._frames, self._masks, self.vocabulary)

    def find_transition(self, state: int, token: int, stack: int) -> None:
        """Put what `token` does into `transitions`. Raises GrammarError when it cannot be decided."""
        if self._run(mk.FIND_TRANSITION, state, token, stack) == mk.NEW:
            self._note_transition(state, token, stack)
            return
        try:
            with within(Limit(MISS_SECONDS)):
                self._find_transition(state, token, stack)
        except RecursionError as error:
            raise too_deep() from error

    def _run(self, what: int, state: int, b: int, c: int, d: int = 0) -> int:
        """What `miss_kernels.run` answers about a state, with room made for what it finds."""
        exprs, table = self.exprs, self._addresses.table
        while True:
            with exprs.lock:
                found = mk.run(exprs.array, table, what, state, b, c, d)
            if found != mk.FULL:
                return found
            self._make_room()

    def _make_room(self) -> None:
        for part in (self.row_table, self.transitions, self.row_ids, self.stacks, self._states):
            part.make_room()
        _ = self._crossings.arrays, self._sequences.arrays  # which make room when they are asked for

    def _find_row(self, state: int, register: int, stack: int, code: int) -> int:
        """`find_row`. code: why a loop could not do it."""
        if code == mk.ASK and self._states[state].text != NO_TEXT:  # it will hardly come again, and is not kept
            return self._make_row(state, register, stack)
        if self._recall is None:
            return self._walked_row(state, register, stack, code)
        place = self._states[state]
        lo, hi, _ = self.states[state].tolist()
        widest = self.vocabulary.max_token_bytes
        need, room = min(max(lo - register, 0), widest + 1), min(hi - register, widest)
        kept = self._recall.find(state, need, room, stack)
        if kept is not None:
            row = self.row_table.add(kept.words, kept.accepts)
            self._stays.remember(state, place)
            self._put(self.row_ids, state, need * (widest + 1) + room, stack, kept.level, row)
            return row
        row = self._walked_row(state, register, stack, self._run(mk.FIND_ROW, state, register, stack, 1))
        words, accepts = self.row_table.table[row].view(np.uint32).copy(), bool(self.row_table.accepts[row])
        self._recall.keep(state, need, room, stack, KeptRow(words, accepts, self._masks.level))
        return row

    def _walked_row(self, state: int, register: int, stack: int, code: int) -> int:
        """The row of a place without captured texts. code: what a loop said of it."""
        reader = Reader(self.stacks, stack)
        while code < 0:
            if code == mk.STAY:
                self._dfa.narrow(self._states[state].local)
                self._stays.remember(state, self._states[state])
                code = self._run(mk.FIND_ROW, state, register, stack, 1)
            elif code == mk.UNFINISHED and self._masks.go_on(reader):
                code = self._run(mk.GO_ON, state, register, stack)
            elif code == mk.OPEN_END:
                accepts = self._masks.accepts(self._counting_from(state, register), reader)
                self._make_room()
                code = mk.finish_row(self._addresses.table, state, register, stack, accepts, reader.depth)
            else:
                code = self._make_row(state, register, stack)
        return code

    def _make_row(self, state: int, register: int, stack: int) -> int:
        """The row of a place that is walked frame by frame, or has captured texts."""
        reader = Reader(self.stacks, stack)
        _, accepts = self._masks.mask(self._counting_from(state, register), reader)
        self._make_room()
        return mk.finish_row(self._addresses.table, state, register, stack, accepts, reader.depth)

    def _counting_from(self, state: int, register: int) -> Place:
        """The place of a state, its bounds those of the units that are to come."""
        place, widest = self._states[state], self.vocabulary.max_token_bytes
        if place.text != NO_TEXT or place.unit == NO_UNIT:
            return place
        return place._replace(lo=min(max(place.lo - register, 0), widest + 1), hi=min(place.hi - register, widest))

    def _find_transition(self, state: int, token: int, stack: int) -> None:
        """Put what `token` does, which is not known at all, into `transitions`."""
        self._misses += 1
        self.transitions.make_room()
        went = self._went(self._states[state], stack, token)
        level = min(went.depth, LEVELS - 1)
        record = NOT_ALLOWED
        if went.place is not None:
            record = self._record(went, went.place)
            self.stacks.push_all(went.stack, went.pushed)
        self._put(self.transitions, state, token, stack, level, record)
        if record != NOT_ALLOWED:
            self._name_transition(state, token, stack, level, record)

    def _note_transition(self, state: int, token: int, stack: int) -> None:
        """Count a transition that a loop found, and name where it leads."""
        self._misses += 1
        if self._recall is None:
            return
        contexts = self.stacks.contexts[stack].tolist()
        for level in range(LEVELS):
            record = self.transitions.get(state, token, contexts[level])
            if record > NOT_ALLOWED:
                self._name_transition(state, token, stack, level, record)

    def _name_transition(self, state: int, token: int, stack: int, level: int, record: int) -> None:
        after, _, pushed, *_ = self.records[record].tolist()
        if self._recall is not None and self._states[after].text == NO_TEXT:
            data, pushes = self.vocabulary.tokens[token], self._sequences.entries(pushed)
            self._recall.name_after(state, stack, level, data, after, pushes)

    def _went(self, place: Place, stack: int, token: int) -> Went:
        """Where a token leads from a place on a stack."""
        if not 0 <= token < len(self.vocabulary.tokens) or not self.vocabulary.tokens[token]:
            return Went(None, stack, 0, 0, False, 0, 0)
        if place.text == NO_TEXT:
            went = self._follower.follow(place, stack, token)
            if went is not None:
                return went
        reader = Reader(self.stacks, stack)
        path = Path(self._frames, place, reader, 0, open_run=place.unit != NO_UNIT and place.text == NO_TEXT)
        if not path.take_all(self.vocabulary.tokens[token]) or not self._frames.can_end(path.place, reader):
            return Went(None, stack, 0, 0, False, 0, reader.depth)
        after = path.place
        below, pushed = reader.stack(after.popped), self._sequences.of(after.pushes)
        return Went(after, below, pushed, path.units, path.open_run, path.run_units, reader.depth)

    def completion(self, state: int, register: int, stack: int) -> bytes:
        """A shortest text that ends well from here. Raises GrammarError for one that is nested too deeply."""
        return self._endings.completion(state, register, stack)

    def bytes_left(self, state: int, register: int, stack: int) -> int:
        """The length of `completion`, which is at hand where that has to be put together."""
        return self._endings.bytes_left(state, register, stack)

    def forced(self, state: int, register: int, stack: int) -> bytes:
        """The bytes that every text from here begins with, 4096 at most; fewer where no more can be told."""
        return self._endings.forced(state, register, stack)

    def is_captured(self, state: int) -> bool:
        """Whether the state holds captured text, so that what it needs depends on all of the stack."""
        return self._states[state].text != NO_TEXT

    # -- inside -----------------------------------------------------------------------------------------------

    def _record(self, went: Went, place: Place) -> int:
        counting = place.unit != NO_UNIT and place.text == NO_TEXT
        if place.unit != NO_UNIT and not counting:
            hi = UNLIMITED if place.hi == UNLIMITED else place.hi - went.units
            place = place._replace(lo=max(place.lo - went.units, 0), hi=hi)
        return self.transitions.add_record(
            self._states.of(place),
            place.popped,
            went.pushed,
            went.units if went.open_run else went.run_units,
            went.open_run,
            went.units if counting and not went.open_run else 0,
        )

    def _put(self, table: Table, state: int, key: int, stack: int, level: int, value: int) -> None:
        table.put_answer(state, key, self.stacks.contexts[stack], level, value)


@cache
def _warm_misses() -> None:
    """Have the loops of `miss_kernels` compiled, with an automaton of their own: they write down what they find."""
    pool = current().fork()
    with using(pool):
        automaton = Automaton(Vocabulary([b"a"], [1], 2), exprs=pool)
        state, register, stack = automaton.start(automaton.root_of(POOL.literal(b"a")))
        automaton.row_at(state, register, stack)
        automaton.after(state, register, stack, 0)
        automaton.find_transition(state, 0, stack)
        automaton._run(mk.GO_ON, state, register, stack)
        mk.finish_row(automaton._addresses.table, state, register, stack, False, 0)
        automaton.row_table.add(np.zeros(1, np.uint32), accepts=False)
        wide.warm()
