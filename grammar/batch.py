"""Many sequences at once, as arrays: what the engine advances and masks with, one compiled call each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np

from . import kernels
from .automaton import Automaton
from .bytes_left import BytesLeft
from .errors import GrammarError
from .pools import current
from .vocab import Vocabulary

Saved = tuple[int, ...]
"""State, register and stack of a sequence: all there is to it. (And its generation, where there are several.)"""


class StateBatch:
    """Sequences of one automaton, by slot. Arrays of slots given to one call must not name a slot twice.

    errors: what went wrong in a slot (a combination of conditions too large to decide): its sequence can go on no
    further, its row then allows EOS alone, and the engine should fail that request. Others are not touched.
    """

    def __init__(self, automaton: Automaton) -> None:
        compile_loops()
        self._automaton = automaton
        self._sequences = np.zeros((64, 3), np.int32)
        self._free = list(range(63, -1, -1))
        self._only_eos: int | None = None
        self._left = BytesLeft(automaton)
        self.errors: dict[int, GrammarError] = {}

    # -- slots ------------------------------------------------------------------------------------------------

    def open(self, root: int) -> int:
        """A slot for a new sequence at the start of what `root` compiles."""
        if not self._free:
            size = len(self._sequences)
            self._sequences = np.concatenate([self._sequences, np.zeros_like(self._sequences)])
            self._free = list(range(2 * size - 1, size - 1, -1))
        slot = self._free.pop()
        self._sequences[slot] = self._automaton.start(root)
        return slot

    def close(self, slot: int) -> None:
        """The slot may be used again."""
        self.errors.pop(slot, None)
        self._free.append(slot)

    def save(self, slot: int) -> Saved:
        """Where the sequence stands; good for `restore`, in any slot of this automaton, at any later time."""
        return tuple(self._sequences[slot].tolist())

    def where(self, slots: np.ndarray) -> np.ndarray:
        """State, register and stack of each sequence, (n, 3) int32: a row is what `save` gives."""
        return self._sequences[slots]

    def restore(self, slot: int, saved: Saved) -> None:
        """Put the sequence back to where it was."""
        self._sequences[slot] = saved
        self.errors.pop(slot, None)

    def error_of(self, slot: int) -> GrammarError | None:
        """Why a sequence can go on no further; None: it can."""
        return self.errors.get(slot)

    # -- steps ------------------------------------------------------------------------------------------------

    def row_ids(self, slots: np.ndarray) -> np.ndarray:
        """The mask row of each sequence, (n,) int32 ids into `Automaton.rows`."""
        slots = np.ascontiguousarray(slots, np.int32)
        automaton = self._automaton
        rows, missed = np.empty(len(slots), np.int32), np.empty(len(slots), np.int32)
        with automaton.lock:
            n_missed = kernels.find_rows(
                slots,
                self._sequences,
                automaton.states,
                automaton.vocabulary.max_token_bytes,
                automaton.stacks.contexts,
                automaton.row_ids.keys,
                automaton.row_ids.values,
                rows,
                missed,
            )
            for i in missed[:n_missed].tolist():
                rows[i] = self._find_row(int(slots[i]))
        for i in [i for i, slot in enumerate(slots.tolist()) if slot in self.errors] if self.errors else ():
            rows[i] = self._eos_row()
        return rows

    def advance(self, slots: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Move each sequence by its token, (n,) bool: False where it was not allowed and the sequence stays put.

        EOS is never allowed here: ending is the caller's business.
        """
        slots, tokens = np.ascontiguousarray(slots, np.int32), np.ascontiguousarray(tokens, np.int32)
        ok = np.zeros(len(slots), bool)
        with self._automaton.lock:
            todo = np.arange(len(slots))
            while len(todo):
                done = np.zeros(len(todo), bool)
                missed = self._advance_known(slots[todo], tokens[todo], done)
                ok[todo] = done
                todo = todo[missed]
                found = [self._find_transition(slot, token) for slot, token in _pairs(slots[todo], tokens[todo])]
                todo = todo[np.array(found, bool)]
        return ok

    def accepting(self, slots: np.ndarray) -> np.ndarray:
        """Whether each sequence may end here, (n,) bool."""
        rows = self.row_ids(slots)  # first: it may make rows, which moves the table
        return self._automaton.row_table.accepts[rows]

    def finished(self, slots: np.ndarray) -> np.ndarray:
        """Whether each sequence can do nothing but end, (n,) bool."""
        rows = self.row_ids(slots)
        return self._automaton.row_table.ends[rows]

    def allowed(self, row: int) -> np.ndarray | None:
        """The allowed tokens of a row that allows few, ascending; None for others."""
        return self._automaton.allowed(row)

    def n_few(self, rows: np.ndarray) -> np.ndarray:
        """How many tokens each row allows, (n,) int32; -1 for those of which `allowed` knows no list."""
        return self._automaton.row_table.n_few(rows)

    # -- what is to come --------------------------------------------------------------------------------------

    def closing(self, slot: int) -> tuple[int, ...]:
        """Tokens, without EOS, of a shortest text that ends the sequence well; () where it may end at once."""
        automaton = self._automaton
        with automaton.lock:
            state, register, stack = self.save(slot)
            return automaton.vocabulary.spell(automaton.completion(state, register, stack))

    def bytes_left(self, slot: int) -> int:
        """Bytes of a shortest text that ends the sequence well; `closing` has as many tokens at most."""
        with self._automaton.lock:
            state, register, stack = self.save(slot)
            return self._automaton.bytes_left(state, register, stack)

    def all_bytes_left(self, slots: np.ndarray) -> np.ndarray:
        """`bytes_left` of each sequence, (n,) int64; bytes_left.UNKNOWN where it has to be asked for by itself."""
        return self._left.of(self._sequences[slots])

    def keeping(self, slot: int) -> np.ndarray | None:
        """Tokens after which the sequence needs as much to end as now, (size,) bool; None: not known, or few."""
        state, register, _ = self.save(slot)
        low, _, row = self._automaton.states[state].tolist()
        return self._automaton.stay[row] != 255 if row >= 0 and register >= low else None

    def forced(self, slot: int) -> bytes:
        """Bytes that whatever follows begins with; b"" where there is a choice, or the sequence may end."""
        with self._automaton.lock:
            state, register, stack = self.save(slot)
            return self._automaton.forced(state, register, stack)

    # -- inside -----------------------------------------------------------------------------------------------

    def _advance_known(self, slots: np.ndarray, tokens: np.ndarray, ok: np.ndarray) -> np.ndarray:
        automaton = self._automaton
        missed = np.empty(len(slots), np.int32)
        n_missed = kernels.advance(
            slots,
            tokens,
            self._sequences,
            automaton.states,
            automaton.stay,
            automaton.transitions.keys,
            automaton.transitions.values,
            automaton.records,
            automaton.stacks.contexts,
            automaton.stacks.parents,
            automaton.stacks.pushed.keys,
            automaton.stacks.pushed.values,
            ok,
            missed,
        )
        return missed[:n_missed]

    def _find_transition(self, slot: int, token: int) -> bool:
        """Ask the automaton for what it did not know; False when it cannot tell."""
        state, _, stack = self.save(slot)
        with self._errors_of(slot):
            self._automaton.find_transition(state, token, stack)
        return slot not in self.errors

    def _find_row(self, slot: int) -> int:
        state, register, stack = self.save(slot)
        with self._errors_of(slot):
            return self._automaton.find_row(state, register, stack)
        return self._eos_row()

    @contextmanager
    def _errors_of(self, slot: int) -> Iterator[None]:
        """What goes wrong inside, also that it takes too long, is noted as the slot's error."""
        try:
            yield
        except GrammarError as error:
            self.errors[slot] = error

    def _eos_row(self) -> int:
        if self._only_eos is None:
            vocabulary = self._automaton.vocabulary
            allowed = np.zeros(vocabulary.words, np.uint32)
            for token in vocabulary.eos_ids:
                allowed[token >> 5] |= np.uint32(1 << (token & 31))
            with self._automaton.lock:
                self._only_eos = self._automaton.row_table.add(allowed, True)
        return self._only_eos


@cache
def compile_loops() -> None:
    """Have machine code made where that was never done; the time it takes is no fault of what is looked up first."""
    Automaton(Vocabulary([b'"', b"a"], [2], 3), exprs=current().fork()).warm()


def _pairs(slots: np.ndarray, tokens: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(slots.tolist(), tokens.tolist(), strict=True))
