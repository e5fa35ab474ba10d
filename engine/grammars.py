"""The grammar states of the requests that have one; text they force; and the rule that each ends within its limit.

The close-out rule. A request with r tokens left always has a way out: at most r tokens that complete its value. A
token after which the way out would be too long is not allowed; the model chooses among those that leave room. So the
output is valid whatever the model prefers, and the token limit is never passed. The rule is looked at when a token is
about to be taken: a way out has no more tokens than bytes, and a look at these is enough far from the limit. Where it
forbids the token, the next one that the model prefers and the rule allows takes its place, which is what masking it
would have given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..grammar.automaton import Automaton
from ..grammar.batch import Saved
from ..grammar.bytes_left import UNKNOWN
from ..grammar.constraints import Choice
from ..grammar.errors import GrammarError
from ..grammar.generation_batch import GenerationBatch
from ..grammar.generations import Generations, Root
from .book import Book
from .running import Constrained
from .spelling import Speller
from .types import RootformError

_MOST_STATES = 100_000
_MOST_TRIED = 4096  # tokens, before the way out is taken


class Taken(NamedTuple):
    """What became of a token. token: the one that was taken; None: none was.

    error: why the sequence can go on no further. Without one, and without a token, the close-out rule forbids it, and
    `close_out` takes another.
    """

    token: int | None
    error: Exception | None = None


class Standing(NamedTuple):
    """All that go() and look() change of a place."""

    state: Saved
    row_id: int
    few_allowed: np.ndarray | None


class Run(NamedTuple):
    """All that is forced from a state on: tokens, their bytes, and the state after them."""

    tokens: tuple[int, ...]
    n_bytes: int
    after: Saved


class Grammars:
    """Owns a GenerationBatch. Other threads may be compiling meanwhile; states advance only here."""

    def __init__(self, states: GenerationBatch, speller: Speller | None = None) -> None:
        """speller None: forced text is taken only where a single token is allowed."""
        self._states = states
        self._speller = speller
        self._forced: dict[Saved, tuple[int, ...]] = {}  # forced() of states met
        self._runs: dict[Saved, Run] = {}  # of states met
        self._ways_out: dict[Saved, tuple[int, ...]] = {}  # closing() of states met, for they come again and again
        self._eos_ids = states.generations.vocabulary.eos_ids
        self.n_eos = len(self._eos_ids)  # tokens that is_finished() may be about

    def open(self, root: Root, max_new_tokens: int, book: Book, seat: int) -> Constrained:
        """Start the request at this seat. Raises RootformError when the constraint cannot be met in max_new_tokens."""
        slot = self._states.open(root)
        if self._states.bytes_left(slot) <= max_new_tokens:
            return Constrained(slot, book, seat)
        way_out = self._closing(slot)
        if len(way_out) > max_new_tokens:
            self._states.close(slot)
            raise RootformError(
                f"the constraint's shortest value takes {len(way_out)} tokens, but max_tokens is {max_new_tokens}; "
                "raise max_tokens or allow a shorter value",
                param="max_tokens",
            )
        return Constrained(slot, book, seat, way_out)

    def close(self, place: Constrained) -> None:
        self._states.close(place.slot)

    @property
    def has_errors(self) -> bool:
        """Whether error_of() says anything of any place."""
        return self._states.has_errors

    def error_of(self, place: Constrained) -> Exception | None:
        """Why the grammar cannot go on from here; None: it can."""
        return self._states.error_of(place.slot)

    def look(self, places: Sequence[Constrained]) -> None:
        """Note of each place the mask row of its state, and the tokens it allows where they are few."""
        rows = self._states.row_ids(_slots(places))
        for place, row_id, few in zip(places, rows.tolist(), self._states.all_allowed(rows), strict=True):
            place.note(row_id, few)

    def look_at(self, book: Book, seats: np.ndarray) -> None:
        """look() of the places at these seats, (n,)."""
        rows = self._states.row_ids(book.grammar[seats])
        n_few = self._states.n_few(rows)
        book.row_id[seats], book.n_few[seats] = rows, n_few
        at = np.flatnonzero(n_few >= 0)
        for sequence, row in zip(book.at(seats[at]), rows[at].tolist(), strict=True):
            assert sequence.grammar is not None
            sequence.grammar.few = self._states.allowed(row)

    def forced(self, place: Constrained) -> tuple[int, ...]:
        """Tokens that must come next, whatever the model prefers; look() was called for this state. Often none."""
        return self._forced_at(place.slot, place.few_allowed)

    def allows(self, place: Constrained, token: int) -> bool:
        """Whether the token may come next; look() was called for this state."""
        row = self._states.row(place.row_id)
        return token < 32 * len(row) and bool(row[token >> 5] >> (token & 31) & 1)

    def split_rows(self, row_ids: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Mask rows by the tables they are in: see GenerationBatch."""
        return self._states.split_rows(row_ids)

    def automata(self, places: Sequence[Constrained]) -> list[Automaton]:
        """The automata in which the places are, each once."""
        return self._states.automata(_slots(places))

    def where(self, places: Sequence[Constrained]) -> np.ndarray:
        """State, register and stack of each, (n, 3) int32."""
        return self._states.where(_slots(places))

    def row_ids(self, places: Sequence[Constrained]) -> np.ndarray:
        """The mask rows of places in one automaton, (n,) int32 ids in its table; look() was called for them."""
        rows = np.array([place.row_id for place in places], dtype=np.int32)
        split = self._states.split_rows(rows)
        return split[0][2] if split else rows

    def is_finished(self, place: Constrained) -> bool:
        """Whether nothing but the end of the output may follow; look() was called for this state."""
        few = place.few_allowed
        return few is not None and len(few) > 0 and all(token in self._eos_ids for token in few.tolist())

    def take(self, book: Book, seats: np.ndarray, tokens: np.ndarray) -> dict[int, Taken]:
        """Advance the places at these seats (n,) each by its token (n,), unless the close-out rule forbids it.

        What became of those whose token was not taken, by number.
        """
        slots = book.grammar[seats]
        before = self._states.where(slots)
        went = self._states.advance(slots, tokens)
        needed = self._states.all_bytes_left(slots)
        is_far = went & (needed != UNKNOWN) & (needed < book.remaining(seats))
        others: dict[int, Taken] = {}
        for n, (sequence, far) in enumerate(zip(book.at(seats), is_far.tolist(), strict=True)):
            place = sequence.grammar
            assert place is not None
            if far:
                place.way_out = None
            elif (refused := self._near(place, int(tokens[n]), sequence.remaining - 1, went[n], before[n])) is not None:
                others[n] = refused
        return others

    def run_on(self, book: Book, seats: np.ndarray) -> dict[int, tuple[int, ...]]:
        """Advance the places at these seats (n,) each by all tokens that are forced there, one after the other, where
        the close-out rule is sure to allow them. The tokens, by seat, of those that have any.

        look() was called for their states; it was not for those after.
        """
        states, moved = self._states, {}
        for seat, slot in zip(seats.tolist(), book.grammar[seats].tolist(), strict=True):
            before = states.save(slot)
            run = self._run_from(slot, before)
            if run.tokens:
                moved[seat] = run, before
        if not moved:
            return {}
        # Whatever completes a value goes through its run: what is needed along it is the rest of it and the end's need.
        at = np.fromiter(moved, dtype=np.int64, count=len(moved))
        lengths = np.array([(len(run.tokens), run.n_bytes) for run, _ in moved.values()], dtype=np.int64).T
        needed = states.all_bytes_left(book.grammar[at])
        is_far = (needed != UNKNOWN) & (needed + lengths[1] < book.remaining(at) - lengths[0])
        ran = {}
        for sequence, far in zip(book.at(at), is_far.tolist(), strict=True):
            place, (run, before) = sequence.grammar, moved[sequence.seat]
            assert place is not None
            if far:
                place.way_out = None
                ran[sequence.seat] = run.tokens
            else:
                states.restore(place.slot, before)
        return ran

    def close_out(self, place: Constrained, preferred: np.ndarray, remaining: int) -> Taken:
        """Advance a place of which `take` took no token by the first that the close-out rule allows.

        preferred: (n,) ids that the grammar allows, likeliest first; without any, the way out is taken. An EOS token
        among them may be the answer, and moves nothing.
        """
        way_out = self._way_out(place)
        keeping = self._states.keeping(place.slot)
        if keeping is not None and len(self._closing(place.slot)) >= remaining:  # the rule forbids all of them alike
            preferred = preferred[~keeping[preferred]]
        for token in preferred[:_MOST_TRIED].tolist():
            if token in self._eos_ids:
                return Taken(token)
            refused = self.take(place.book, np.array([place.seat]), np.array([token])).get(0)
            if refused is None:
                return Taken(token)
            if refused.error is not None:
                return refused
        return self._take_way_out(place, way_out)

    # -- looking ahead --------------------------------------------------------------------------------------------

    def standing(self, place: Constrained) -> Standing:
        """Where the place is, for stand()."""
        return Standing(self._states.save(place.slot), place.row_id, place.few_allowed)

    def go(self, places: Sequence[Constrained], tokens: Sequence[int]) -> np.ndarray:
        """Move each place by its token, (n,) bool: whether it is allowed. To look ahead: nothing but the state moves,
        and no rule but the grammar's holds; stand() takes it back."""
        return self._states.advance(_slots(places), np.array(tokens, dtype=np.int64))

    def stand(self, place: Constrained, standing: Standing) -> None:
        """Put the place back to where it was."""
        self._states.restore(place.slot, standing.state)
        place.note(standing.row_id, standing.few_allowed)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _forced_at(self, slot: int, few: np.ndarray | None) -> tuple[int, ...]:
        """See forced(). few: the tokens allowed there, where they are few."""
        if few is None or len(few) == 0:
            return ()
        if len(few) == 1:
            return (int(few[0]),)
        if self._speller is None:
            return ()
        state = self._states.save(slot)
        tokens = self._forced.get(state)
        if tokens is None:
            if len(self._forced) >= _MOST_STATES:
                self._forced.clear()
            tokens = self._forced[state] = self._speller.settled(self._states.forced(slot), few)
        return tokens

    def _run_from(self, slot: int, before: Saved) -> Run:
        """What is forced from a state on. Its place has moved by it then."""
        run = self._runs.get(before)
        if run is None:
            if len(self._runs) >= _MOST_STATES:
                self._runs.clear()
            run = self._runs[before] = self._walked(slot, before)
        elif run.tokens:
            self._states.restore(slot, run.after)
        return run

    def _walked(self, slot: int, before: Saved) -> Run:
        """Find what is forced, one bit after the other; nothing, where the grammar cannot tell what follows."""
        states, tokens, at = self._states, [], np.array([slot], dtype=np.int32)
        vocabulary = states.generations.vocabulary
        while True:
            row = int(states.row_ids(at)[0])
            bit = self._forced_at(slot, states.allowed(row))
            if not bit or bit[0] in self._eos_ids:
                return Run(tuple(tokens), sum([len(vocabulary.tokens[token]) for token in tokens]), states.save(slot))
            if not all(states.advance(at, np.array([token]))[0] for token in bit):
                states.restore(slot, before)
                return Run((), 0, before)
            tokens += bit

    def _near(self, place: Constrained, token: int, left: int, went: bool, before: np.ndarray) -> Taken | None:
        """What is said of a token by which the place has moved (went), from `before`; None: it is taken."""
        if not went:
            error = self.error_of(place) or RuntimeError(f"the grammar does not allow the sampled token {token}")
            return Taken(None, error)
        try:
            if self._leaves_room(place, token, left):
                return None
        except GrammarError as error:
            return Taken(None, error)
        self._states.restore(place.slot, tuple(before.tolist()))
        return Taken(None)

    def _leaves_room(self, place: Constrained, token: int, left: int) -> bool:
        """Whether the value can be completed in so many tokens, now that the place has moved by `token`."""
        known = place.way_out
        if self._states.bytes_left(place.slot) <= left:
            place.way_out = None
            return True
        if known and known[0] == token:  # what is left of it may be spelled in fewer tokens than another way out
            place.way_out = known[1:]
            return True
        way_out = self._closing(place.slot)
        if len(way_out) <= left:
            place.way_out = way_out
        return len(way_out) <= left

    def _way_out(self, place: Constrained) -> tuple[int, ...]:
        """Tokens that complete the value, no more than may still be emitted."""
        return self._closing(place.slot) if place.way_out is None else place.way_out

    def _closing(self, slot: int) -> tuple[int, ...]:
        state = self._states.save(slot)
        way_out = self._ways_out.get(state)
        if way_out is None:
            if len(self._ways_out) >= _MOST_STATES:
                self._ways_out.clear()
            way_out = self._ways_out[state] = tuple(self._states.closing(slot))
        return way_out

    def _take_way_out(self, place: Constrained, way_out: tuple[int, ...]) -> Taken:
        if not way_out:
            return Taken(self._eos_ids[0])
        if not self._states.advance(_slots([place]), np.array(way_out[:1], dtype=np.int64))[0]:
            reason = f"the grammar does not allow token {way_out[0]} of its own way out"
            return Taken(None, self.error_of(place) or RuntimeError(reason))
        place.way_out = way_out[1:]
        return Taken(way_out[0])


def warm(generations: Generations) -> None:
    """Have the machine code of the grammar made (once per installation; seconds) before the first request needs it."""
    states = GenerationBatch(generations)
    try:
        generations.current.automaton.warm()
        slot = states.open(generations.compile(Choice(("ab", "ba"))))
    except GrammarError:  # a vocabulary that cannot spell even this; nothing is lost but time
        return
    slots = np.array([slot], dtype=np.int32)
    states.row_ids(slots)
    states.advance(slots, np.array(states.closing(slot)[:1], dtype=np.int32))


def _slots(places: Sequence[Constrained]) -> np.ndarray:
    return np.array([place.slot for place in places], dtype=np.int32)
