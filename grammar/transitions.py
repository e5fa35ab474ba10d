"""What tokens do, by state and as much of the stack as was looked at."""

from __future__ import annotations

import numpy as np

from . import address_kernels as ak
from .addresses import Addresses
from .stack_kernels import ROOM_MADE
from .table import Table

NOT_ALLOWED = 0
"""The record of every token that is not allowed."""

_MOST = 4_000_000


class Transitions(Table):
    """By state, token and stack a row of `records`, (records, 6) int32, as `kernels.step` reads it. A bounded cache."""

    def __init__(self, addresses: Addresses) -> None:
        self.records = np.zeros((1024, 6), np.int32)
        self._n_records = np.ones(1, np.int64)
        self._of = addresses
        super().__init__(addresses=addresses, which=ak.TRANSITIONS)

    @property
    def nbytes(self) -> int:
        """Memory of the table and the records."""
        return super().nbytes + self.records.nbytes

    def clear(self) -> None:
        """Forget everything."""
        self.records[NOT_ALLOWED] = (-1, 0, 0, 0, 0, 0)
        self._n_records[0] = 1
        self._tell_records()
        super().clear()

    def make_room(self) -> None:
        """Have room for some more; where they are too many, all are forgotten."""
        if self._n_records[0] > _MOST:
            self.clear()
        if self._n_records[0] + ROOM_MADE > len(self.records):
            self.records = np.concatenate([self.records, np.zeros_like(self.records)])
            self._tell_records()
        super().make_room()

    def add_record(self, state: int, popped: int, pushed: int, units: int, goes_on: bool, register: int) -> int:
        """The number of a new record. There has to be room."""
        made = int(self._n_records[0])
        self.records[made] = state, popped, pushed, units, goes_on, register
        self._n_records[0] += 1
        return made

    def _tell_records(self) -> None:
        self._of.put(ak.RECORDS, self.records, self._n_records)
