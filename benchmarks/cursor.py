"""One sequence by itself: answers are kept as a graph of places, so that a step already known is one look-up."""

from __future__ import annotations

import itertools

import msgspec

from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import Saved, compile_loops

_MOST_PLACES = 200_000


class _Place(msgspec.Struct, gc=False):
    """Where a sequence may stand. row: its mask row, -1 not known yet. after: by token the number of the place behind.

    Places refer to each other by numbers, so that they are no work for the garbage collector.
    """

    saved: Saved
    number: int
    row: int
    after: dict[int, int]


_NOWHERE = 0  # the number behind a token that is not allowed


class Steps:
    """Remembers what cursors of one automaton met. One thread owns it and its cursors.

    numbered: the places by their numbers, which are never used again.
    """

    def __init__(self, automaton: Automaton) -> None:
        compile_loops()
        self.automaton = automaton
        self.numbered: dict[int, _Place | None] = {_NOWHERE: None}
        self._numbers = itertools.count(1)
        self._places: dict[Saved, _Place] = {}

    def open(self, root: int) -> Cursor:
        """A cursor at the start of what `root` compiles."""
        return Cursor(self, root, self._place(self.automaton.start(root)))

    def find_row(self, place: _Place) -> int:
        """The mask row of a place, now in it. Raises GrammarError when it cannot be decided."""
        state, register, stack = place.saved
        place.row = self.automaton.row_at(state, register, stack)
        return place.row

    def find_after(self, place: _Place, token: int) -> _Place | None:
        """The place behind a token, now in `place.after`. Raises GrammarError when it cannot be decided."""
        state, register, stack = place.saved
        saved = self.automaton.after(state, register, stack, token)
        after = None if saved is None else self._place(saved)
        place.after[token] = _NOWHERE if after is None else after.number
        return after

    def _place(self, saved: Saved) -> _Place:
        known = self._places.get(saved)
        if known is None:
            if len(self._places) >= _MOST_PLACES:
                self._places = {}  # those that cursors stand at live on
                self.numbered = {_NOWHERE: None}
            known = self._places[saved] = _Place(saved, next(self._numbers), -1, {})
            self.numbered[known.number] = known
        return known


class Cursor:
    """One sequence. Copies are free: `copy`."""

    __slots__ = ("_place", "_root", "_steps")

    def __init__(self, steps: Steps, root: int, place: _Place) -> None:
        self._steps = steps
        self._root = root
        self._place = place

    @property
    def automaton(self) -> Automaton:
        """Whose sequence it is."""
        return self._steps.automaton

    @property
    def root(self) -> int:
        """Where it started."""
        return self._root

    def save(self) -> Saved:
        """Where it stands; good for `StateBatch.restore`."""
        return self._place.saved

    def copy(self) -> Cursor:
        """A second sequence at the same place."""
        return Cursor(self._steps, self._root, self._place)

    def row(self) -> int:
        """The mask row, an id into `Automaton.rows`."""
        row = self._place.row
        return row if row >= 0 else self._steps.find_row(self._place)

    def take(self, token: int) -> bool:
        """Go on by a token; False where it is not allowed, and the sequence stays put. EOS never is."""
        try:
            after = self._steps.numbered[self._place.after[token]]
        except KeyError:
            after = self._steps.find_after(self._place, token)
        if after is None:
            return False
        self._place = after
        return True

    def accepting(self) -> bool:
        """Whether the sequence may end here."""
        return bool(self._steps.automaton.row_table.accepts[self.row()])
