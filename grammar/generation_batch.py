"""Sequences of several generations of constraints, as one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .automaton import Automaton
from .batch import Saved, StateBatch
from .errors import GrammarError
from .generations import Generation, Generations, Root

_SLOT_BITS = 20  # a slot: the number of its generation, then its slot there
_SLOT_MASK = (1 << _SLOT_BITS) - 1
_ROW_BITS = 24  # a row likewise
_ROW_MASK = (1 << _ROW_BITS) - 1


@dataclass(slots=True)
class _Open:
    """The sequences of one generation."""

    generation: Generation
    batch: StateBatch
    n_slots: int = 0


class GenerationBatch:
    """A StateBatch over all living generations, in which slots and rows carry the number of theirs.

    Its methods mean what they mean there. One thread owns it.
    """

    def __init__(self, generations: Generations) -> None:
        self.generations = generations
        self._open: dict[int, _Open] = {}  # by number: those with open slots, and the current one

    # -- slots ------------------------------------------------------------------------------------------------

    def open(self, root: Root) -> int:
        """A slot for a new sequence."""
        number = root.generation.number
        opened = self._open.get(number)
        if opened is None:
            opened = self._open[number] = _Open(root.generation, StateBatch(root.generation.automaton))
        opened.n_slots += 1
        self._forget_closed()
        return number << _SLOT_BITS | opened.batch.open(root.start)

    def close(self, slot: int) -> None:
        """The slot may be used again."""
        opened, inner = self._of(slot)
        opened.batch.close(inner)
        opened.n_slots -= 1
        self._forget_closed()

    def save(self, slot: int) -> Saved:
        """Where the sequence stands; good for `restore`, in any slot of the same generation, at any later time."""
        opened, inner = self._of(slot)
        return (*opened.batch.save(inner), opened.generation.serial)

    def where(self, slots: np.ndarray) -> np.ndarray:
        """State, register and stack of each sequence, (n, 3) int32, each in the automaton of its generation."""
        if len(self._open) == 1:
            (opened,) = self._open.values()
            return opened.batch.where(_inner(slots))
        places = np.empty((len(slots), 3), np.int32)
        for opened, at, inner in self._by_generation(slots):
            places[at] = opened.batch.where(inner)
        return places

    def restore(self, slot: int, saved: Saved) -> None:
        """Put the sequence back to where it was."""
        opened, inner = self._of(slot)
        opened.batch.restore(inner, saved[:3])

    def error_of(self, slot: int) -> GrammarError | None:
        """Why a sequence can go on no further; None: it can."""
        opened, inner = self._of(slot)
        return opened.batch.error_of(inner)

    @property
    def has_errors(self) -> bool:
        """Whether any sequence can go on no further."""
        return any(opened.batch.errors for opened in self._open.values())

    # -- steps ------------------------------------------------------------------------------------------------

    def row_ids(self, slots: np.ndarray) -> np.ndarray:
        """The mask row of each sequence, (n,) int32: ids for `allowed` and `split_rows`."""
        if len(self._open) == 1:
            ((number, opened),) = self._open.items()
            return opened.batch.row_ids(_inner(slots)) | number << _ROW_BITS
        rows = np.empty(len(slots), np.int32)
        for opened, where, inner in self._by_generation(slots):
            rows[where] = opened.batch.row_ids(inner) | opened.generation.number << _ROW_BITS
        return rows

    def advance(self, slots: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Move each sequence by its token, (n,) bool: False where it was not allowed and the sequence stays put."""
        if len(self._open) == 1:
            (opened,) = self._open.values()
            return opened.batch.advance(_inner(slots), tokens)
        tokens = np.asarray(tokens)
        return self._gathered(slots, lambda batch, where, inner: batch.advance(inner, tokens[where]))

    def accepting(self, slots: np.ndarray) -> np.ndarray:
        """Whether each sequence may end here, (n,) bool."""
        return self._gathered(slots, lambda batch, _, inner: batch.accepting(inner))

    def finished(self, slots: np.ndarray) -> np.ndarray:
        """Whether each sequence can do nothing but end, (n,) bool."""
        return self._gathered(slots, lambda batch, _, inner: batch.finished(inner))

    def automata(self, slots: np.ndarray) -> list[Automaton]:
        """Those the sequences are of, each once."""
        if len(self._open) == 1 and len(slots):
            return [opened.generation.automaton for opened in self._open.values()]
        return [opened.generation.automaton for opened, _, _ in self._by_generation(slots)]

    # -- rows -------------------------------------------------------------------------------------------------

    def allowed(self, row: int) -> np.ndarray | None:
        """The allowed tokens of a row that allows few, ascending; None for others."""
        return self._open[row >> _ROW_BITS].batch.allowed(row & _ROW_MASK)

    def all_allowed(self, rows: np.ndarray) -> list[np.ndarray | None]:
        """`allowed` of each row."""
        if len(self._open) == 1:
            (opened,) = self._open.values()
            return [opened.batch.allowed(row) for row in (rows & _ROW_MASK).tolist()]
        return [self.allowed(row) for row in rows.tolist()]

    def n_few(self, rows: np.ndarray) -> np.ndarray:
        """How many tokens each row allows, (n,) int32; -1 where these are not few."""
        if len(self._open) == 1:
            (opened,) = self._open.values()
            return opened.batch.n_few(rows & _ROW_MASK)
        found = np.empty(len(rows), np.int32)
        for number, opened in self._open.items():
            at = rows >> _ROW_BITS == number
            found[at] = opened.batch.n_few(rows[at] & _ROW_MASK)
        return found

    def row(self, row: int) -> np.ndarray:
        """A mask row, (words,) int32."""
        return self._open[row >> _ROW_BITS].generation.automaton.rows[row & _ROW_MASK]

    def split_rows(self, rows: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Rows by their tables: of each generation that has some, its serial, its table (`Automaton.rows`), and the
        ids in that table, (n,) int32, -1 where a row is of another one (or was -1 before).
        """
        rows = np.asarray(rows, np.int32)
        numbers = rows >> _ROW_BITS
        split = []
        for number, opened in self._open.items():
            if (numbers == number).any():
                ids = np.where(numbers == number, rows & _ROW_MASK, -1).astype(np.int32)
                split.append((opened.generation.serial, opened.generation.automaton.rows, ids))
        return split

    # -- what is to come --------------------------------------------------------------------------------------

    def closing(self, slot: int) -> tuple[int, ...]:
        """Tokens, without EOS, of a shortest text that ends the sequence well; () where it may end at once."""
        opened, inner = self._of(slot)
        return opened.batch.closing(inner)

    def bytes_left(self, slot: int) -> int:
        """Bytes of a shortest text that ends the sequence well; `closing` has as many tokens at most."""
        opened, inner = self._of(slot)
        return opened.batch.bytes_left(inner)

    def all_bytes_left(self, slots: np.ndarray) -> np.ndarray:
        """`bytes_left` of each sequence, (n,) int64; bytes_left.UNKNOWN where it has to be asked for by itself."""
        if len(self._open) == 1:
            (opened,) = self._open.values()
            return opened.batch.all_bytes_left(_inner(slots))
        left = np.empty(len(slots), np.int64)
        for opened, at, inner in self._by_generation(slots):
            left[at] = opened.batch.all_bytes_left(inner)
        return left

    def keeping(self, slot: int) -> np.ndarray | None:
        """Tokens after which the sequence needs as much to end as now, (size,) bool; None: not known, or few."""
        opened, inner = self._of(slot)
        return opened.batch.keeping(inner)

    def forced(self, slot: int) -> bytes:
        """Bytes that whatever follows begins with; b"" where there is a choice, or the sequence may end."""
        opened, inner = self._of(slot)
        return opened.batch.forced(inner)

    # -- inside -----------------------------------------------------------------------------------------------

    def _of(self, slot: int) -> tuple[_Open, int]:
        return self._open[slot >> _SLOT_BITS], slot & _SLOT_MASK

    def _by_generation(self, slots: np.ndarray) -> Iterator[tuple[_Open, np.ndarray, np.ndarray]]:
        """Each generation that has some of the slots: where they are among them, and its own slots."""
        slots = np.asarray(slots, np.int32)
        numbers = slots >> _SLOT_BITS
        for number, opened in self._open.items():
            where = np.flatnonzero(numbers == number)
            if len(where):
                yield opened, where, slots[where] & _SLOT_MASK

    def _gathered(
        self, slots: np.ndarray, ask: Callable[[StateBatch, np.ndarray, np.ndarray], np.ndarray]
    ) -> np.ndarray:
        answers = np.zeros(len(slots), bool)
        for opened, where, inner in self._by_generation(slots):
            answers[where] = ask(opened.batch, where, inner)
        return answers

    def _forget_closed(self) -> None:
        """Let go of generations without open slots, so that they can be dropped."""
        if len(self._open) > 1:
            latest = self.generations.current.number
            self._open = {n: each for n, each in self._open.items() if each.n_slots or n == latest}


def _inner(slots: np.ndarray) -> np.ndarray:
    return np.asarray(slots, np.int32) & _SLOT_MASK
