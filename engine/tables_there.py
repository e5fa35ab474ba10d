"""A grammar's tables on another device, brought up to date a piece at a time and never waited for.

An old copy is never wrong, only ignorant: ids of states, stacks and rows stay what they are, and an answer found in a
hash table holds for ever. So arrays that grow at their end are topped up before every pass, as the host may send a
sequence to a state that is new; hash tables, of which all may move, are copied again once enough was missed.

One thing is guessed. In text of any length each token that comes for the first time would be a miss. So where several
were missed in one state, all tokens that stay in it are told at once, by what was behind it on one stack. On another
stack that may be wrong: the sequence then has another mask row than on the host, who finds out when it settles.
"""

from __future__ import annotations

import numpy as np
import torch

from ..grammar.automaton import Automaton
from ..grammar.stays import MOST_STAYS
from .kernels.grammar import Tables

_BYTES_PER_MISS = 4 << 20  # a copy of the hash tables is worth so many of its bytes for each miss
_AFTER_MISSES = 4  # of one state, the tokens that stay in it are asked for
_MOST_STAYING = 64  # states


class TablesThere:
    """Of one automaton. tables: for kernels.grammar.advance.  rows: (n, words) int32, its mask rows.

    The copies are the device's own also where the device is the CPU: they are as old there as on any other.
    """

    def __init__(self, automaton: Automaton, device: torch.device) -> None:
        self.automaton = automaton
        self.widest = automaton.vocabulary.max_token_bytes
        self._device = device
        with automaton.lock:
            stacks = automaton.stacks
            self._states = _Growing(automaton.states, device)
            self._stay = _Growing(automaton.stay, device, MOST_STAYS + 1 + _MOST_STAYING)
            self._contexts = _Growing(stacks.contexts, device)
            self._parents = _Growing(stacks.parents, device)
            self._rows = _Growing(automaton.rows, device)
        self._missed = 0
        self._missed_in: dict[int, int] = {}  # by state, until its tokens are asked for
        self._to_ask: list[tuple[int, int]] = []  # states, with a stack
        self._staying: list[int] = []  # states; their rows of `stay` stand behind those of the automaton
        self.tables: Tables
        self._copy_all()

    @property
    def rows(self) -> torch.Tensor:
        """The mask rows."""
        return self._rows.there

    def note_missed(self, n: int, places: np.ndarray | None = None) -> None:
        """So many sequences were not served by the tables as they are here. places: (m, 3) int32, of those of them
        whose transition was not known."""
        self._missed += n
        for state, _, stack in () if places is None else places.tolist():
            missed = self._missed_in[state] = self._missed_in.get(state, 0) + 1
            if missed == _AFTER_MISSES:
                self._to_ask.append((state, stack))

    def bring_up(self) -> None:
        """To be called before a pass, when the host has looked up all places that it sends with it."""
        self._ask()
        table_bytes = sum(each.nbytes for each in self.tables)
        if self._missed * _BYTES_PER_MISS >= max(1, table_bytes):
            self._copy_all()
        else:
            with self.automaton.lock:
                self._top_up()
            self.tables = self.tables._replace(**self._grown())

    def _ask(self) -> None:
        """Have the rows of states in which much was missed."""
        for state, stack in self._to_ask:
            row = self.automaton.staying_tokens(state, stack) if len(self._staying) < _MOST_STAYING else None
            if row is None or self.automaton.states[state, 2] >= 0:
                continue
            units = np.where(row, 0, 255).astype(np.uint8)
            self._stay.there[MOST_STAYS + 1 + len(self._staying)] = copied(units, self._device)
            self._staying.append(state)
            self._mark_staying()
        self._to_ask.clear()

    def _mark_staying(self) -> None:
        states = np.array(self._staying, dtype=np.int64)
        rows = np.arange(len(states), dtype=np.int32) + MOST_STAYS + 1
        self._states.there[copied(states, self._device), 2] = copied(rows, self._device)

    def _copy_all(self) -> None:
        automaton, stacks = self.automaton, self.automaton.stacks
        with automaton.lock:
            self._states.forget()  # what is remembered of a state's tokens may have come later than the state
            self._top_up()
            self._mark_staying()
            hashes = {
                "keys": automaton.transitions.keys,
                "values": automaton.transitions.values,
                "records": automaton.records,
                "push_keys": stacks.pushed.keys,
                "push_values": stacks.pushed.values,
                "row_keys": automaton.row_ids.keys,
                "row_values": automaton.row_ids.values,
            }
            there = {name: copied(array, self._device) for name, array in hashes.items()}
        self._missed = 0
        self.tables = Tables(**there, **self._grown())

    def _top_up(self) -> None:
        automaton, stacks = self.automaton, self.automaton.stacks
        self._stay.top_up(automaton.stay, len(automaton.stay))
        self._states.top_up(automaton.states, automaton.n_states)
        self._contexts.top_up(stacks.contexts, len(stacks))
        self._parents.top_up(stacks.parents, len(stacks))
        self._rows.top_up(automaton.rows, len(automaton.rows))

    def _grown(self) -> dict[str, torch.Tensor]:
        return {
            "states": self._states.there,
            "stay": self._stay.there,
            "contexts": self._contexts.there,
            "parents": self._parents.there,
        }


class _Growing:
    """A copy of an array that grows at its end. there: with room behind what is known of it."""

    def __init__(self, like: np.ndarray, device: torch.device, room: int = 64) -> None:
        self._n = 0
        dtype = torch.from_numpy(like[:0]).dtype
        self.there = torch.zeros((max(room, len(like)), *like.shape[1:]), dtype=dtype, device=device)

    def forget(self) -> None:
        """All of it is copied next time."""
        self._n = 0

    def top_up(self, array: np.ndarray, n: int) -> None:
        """Bring it to the first n of the array."""
        if n > len(self.there):
            more = self.there.new_zeros((max(n, 2 * len(self.there)), *self.there.shape[1:]))
            more[: self._n] = self.there[: self._n]
            self.there = more
        if n > self._n:
            self.there[self._n : n] = copied(array[self._n : n], self.there.device)
            self._n = n


def copied(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy on the device, without a wait for it; on the CPU a copy as well."""
    here = torch.from_numpy(np.ascontiguousarray(array))
    return here.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else here.clone()
