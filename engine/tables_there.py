"""A grammar's tables on another device, brought up to date a piece at a time and never waited for.

An old copy is never wrong, only ignorant: ids of states, stacks and rows stay what they are, and an answer found in a
hash table holds for ever. So arrays that grow at their end are topped up before every pass, as the host may send a
sequence to a state that is new; hash tables, of which all may move, are copied again once enough was missed.
"""

from __future__ import annotations

import numpy as np
import torch

from ..grammar.automaton import Automaton
from .kernels.grammar import Tables

_BYTES_PER_MISS = 4 << 20  # a copy of the hash tables is worth so many of its bytes for each miss


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
            self._stay = _Growing(automaton.stay, device)
            self._contexts = _Growing(stacks.contexts, device)
            self._parents = _Growing(stacks.parents, device)
            self._rows = _Growing(automaton.rows, device)
        self._missed = 0
        self.tables: Tables
        self._copy_all()

    @property
    def rows(self) -> torch.Tensor:
        """The mask rows."""
        return self._rows.there

    def note_missed(self, n: int) -> None:
        """So many sequences were not served by the tables as they are here."""
        self._missed += n

    def bring_up(self) -> None:
        """To be called before a pass, when the host has looked up all places that it sends with it."""
        table_bytes = sum(each.nbytes for each in self.tables)
        if self._missed * _BYTES_PER_MISS >= max(1, table_bytes):
            self._copy_all()
        else:
            with self.automaton.lock:
                self._top_up()
            self.tables = self.tables._replace(**self._grown())

    def _copy_all(self) -> None:
        automaton, stacks = self.automaton, self.automaton.stacks
        with automaton.lock:
            self._states.forget()  # what is remembered of a state's tokens may have come later than the state
            self._top_up()
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

    def __init__(self, like: np.ndarray, device: torch.device) -> None:
        self._n = 0
        dtype = torch.from_numpy(like[:0]).dtype
        self.there = torch.zeros((max(64, len(like)), *like.shape[1:]), dtype=dtype, device=device)

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
