"""The grammar states of the requests that have one; text they force; and the rule that each ends within its limit.

The close-out rule. A request with r tokens left always has a way out: at most r tokens that complete its value. A
token after which the shortest way out would be too long is not taken; the first token of the way out is. So the
output is valid whatever the model prefers, and the token limit is never passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..grammar.batch import Saved
from ..grammar.constraints import Choice
from ..grammar.errors import GrammarError
from ..grammar.generations import GenerationBatch, Generations, Root
from .running import Constrained
from .spelling import Speller
from .types import RootformError

_MOST_STATES = 100_000


class Taken(NamedTuple):
    """What became of a token. token: the one that was taken, or None: the value is complete and must end here."""

    token: int | None
    error: Exception | None = None


class Standing(NamedTuple):
    """All that go() and look() change of a place."""

    state: Saved
    row_id: int
    few_allowed: np.ndarray | None


class Grammars:
    """Owns a GenerationBatch. Other threads may be compiling meanwhile; states advance only here."""

    def __init__(self, states: GenerationBatch, speller: Speller | None = None) -> None:
        """speller None: forced text is taken only where a single token is allowed."""
        self._states = states
        self._speller = speller
        self._forced: dict[Saved, tuple[int, ...]] = {}  # forced() of states met
        self._ways_out: dict[Saved, tuple[int, ...]] = {}  # closing() of states met, for they come again and again

    def open(self, root: Root, max_new_tokens: int) -> Constrained:
        """Start a request. Raises RootformError when the constraint cannot be met in max_new_tokens."""
        slot = self._states.open(root)
        way_out = self._closing(slot)
        if len(way_out) > max_new_tokens:
            self._states.close(slot)
            raise RootformError(
                f"the constraint's shortest value takes {len(way_out)} tokens, but max_tokens is {max_new_tokens}; "
                "raise max_tokens or allow a shorter value",
                param="max_tokens",
            )
        return Constrained(slot, way_out)

    def close(self, place: Constrained) -> None:
        self._states.close(place.slot)

    def error_of(self, place: Constrained) -> Exception | None:
        """Why the grammar cannot go on from here; None: it can."""
        return self._states.error_of(place.slot)

    def look(self, places: Sequence[Constrained]) -> None:
        """Note in each place the mask row of its state, and the tokens it allows where they are few."""
        for place, row_id in zip(places, self._states.row_ids(_slots(places)).tolist(), strict=True):
            place.row_id = row_id
            place.few_allowed = self._states.allowed(row_id)

    def forced(self, place: Constrained) -> tuple[int, ...]:
        """Tokens that must come next, whatever the model prefers; look() was called for this state. Often none."""
        few = place.few_allowed
        if few is None or len(few) == 0:
            return ()
        if len(few) == 1:
            return (int(few[0]),)
        if self._speller is None:
            return ()
        state = self._states.save(place.slot)
        tokens = self._forced.get(state)
        if tokens is None:
            if len(self._forced) >= _MOST_STATES:
                self._forced.clear()
            tokens = self._forced[state] = self._speller.settled(self._states.forced(place.slot), few)
        return tokens

    def allows(self, place: Constrained, token: int) -> bool:
        """Whether the token may come next; look() was called for this state."""
        row = self._states.row(place.row_id)
        return token < 32 * len(row) and bool(row[token >> 5] >> (token & 31) & 1)

    def split_rows(self, row_ids: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Mask rows by the tables they are in: see GenerationBatch."""
        return self._states.split_rows(row_ids)

    def finished(self, places: Sequence[Constrained]) -> np.ndarray:
        """(n,) bool: nothing but the end of the output may follow."""
        return self._states.finished(_slots(places))

    def take(self, places: Sequence[Constrained], tokens: Sequence[int], remaining: Sequence[int]) -> list[Taken]:
        """Advance each place by its token, or by another one where the close-out rule says so.

        remaining: how many tokens each may still emit, this one included.
        """
        slots = _slots(places)
        saved = [self._states.save(place.slot) for place in places]
        went = self._states.advance(slots, np.array(tokens, dtype=np.int64))
        accepting = self._states.accepting(slots)
        answers = []
        for i, (place, token) in enumerate(zip(places, tokens, strict=True)):
            if not went[i]:
                error = self.error_of(place)
                answers.append(
                    Taken(None, error or RuntimeError(f"the grammar does not allow the sampled token {token}"))
                )
                continue
            way_out = self._way_out_after(place, token, bool(accepting[i]))
            if len(way_out) < remaining[i]:
                place.way_out = way_out
                answers.append(Taken(token))
            else:
                self._states.restore(place.slot, saved[i])
                answers.append(self._steer(place))
        return answers

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
        place.row_id, place.few_allowed = standing.row_id, standing.few_allowed

    # -- inside ---------------------------------------------------------------------------------------------------

    def _way_out_after(self, place: Constrained, token: int, accepting: bool) -> tuple[int, ...]:
        if accepting:
            return ()
        if place.way_out[:1] == (token,):
            return place.way_out[1:]
        return self._closing(place.slot)

    def _closing(self, slot: int) -> tuple[int, ...]:
        state = self._states.save(slot)
        way_out = self._ways_out.get(state)
        if way_out is None:
            if len(self._ways_out) >= _MOST_STATES:
                self._ways_out.clear()
            way_out = self._ways_out[state] = tuple(self._states.closing(slot))
        return way_out

    def _steer(self, place: Constrained) -> Taken:
        """Take the first step of the way out instead."""
        place.closed_early = True
        if not place.way_out:
            return Taken(None)
        token, *rest = place.way_out
        if not self._states.advance(_slots([place]), np.array([token], dtype=np.int64))[0]:
            error = self.error_of(place)
            return Taken(None, error or RuntimeError(f"the grammar does not allow token {token} of its own way out"))
        place.way_out = tuple(rest)
        return Taken(token)


def warm(generations: Generations) -> None:
    """Have the machine code of the grammar made (once per installation; seconds) before the first request needs it."""
    states = GenerationBatch(generations)
    try:
        slot = states.open(generations.compile(Choice(("ab", "ba"))))
    except GrammarError:  # a vocabulary that cannot spell even this; nothing is lost but time
        return
    slots = np.array([slot], dtype=np.int32)
    states.row_ids(slots)
    states.advance(slots, np.array(states.closing(slot)[:1], dtype=np.int32))


def _slots(places: Sequence[Constrained]) -> np.ndarray:
    return np.array([place.slot for place in places], dtype=np.int32)
