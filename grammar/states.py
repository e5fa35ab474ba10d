"""The states of an automaton as numbers: places inside a frame, and what loops read of them."""

from __future__ import annotations

import numpy as np

from . import address_kernels as ak
from . import stack_kernels as sk
from .addresses import Addresses
from .places import Place
from .stack_kernels import ROOM_MADE
from .table import Table
from .texts import NO_TEXT

_PLACE_BYTES = 400  # of one state that was looked at, besides the arrays
_AT_FIRST = 256


class States:
    """State i is `self[i]`, a place without a stack. Numbers are never reused.

    bounds: (states, 3) int32: lo, hi, row of `stay` or -1. Rows from `len(self)` on mean nothing.
    """

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._counts = np.zeros(2, np.int64)  # states, and runs: unit, lo and hi
        self.bounds = np.zeros((_AT_FIRST, 3), np.int32)
        self._places = np.zeros((_AT_FIRST, 5), np.int32)
        self._runs = Table(addresses=addresses, which=ak.RUN_IDS)
        self._ids = Table(addresses=addresses, which=ak.PLACE_IDS)
        self._stays = Table(addresses=addresses, which=ak.STAYS)
        self._known: dict[int, Place] = {}
        self._tell()

    def __len__(self) -> int:
        return int(self._counts[0])

    def __getitem__(self, state: int) -> Place:
        known = self._known.get(state)
        if known is None:
            local, unit, lo, hi, text = self._places[state].tolist()
            known = self._known[state] = Place(local, unit, lo, hi, 0, (), text)
        return known

    @property
    def nbytes(self) -> int:
        """Memory of all states."""
        tables = self._runs.nbytes + self._ids.nbytes + self._stays.nbytes
        return tables + self.bounds.nbytes + self._places.nbytes + _PLACE_BYTES * len(self._known)

    def of(self, place: Place) -> int:
        """The state that a place is, whatever its stack."""
        self.make_room()
        return sk.place_id(self._addresses.table, *place[:4], place.text)

    def stay_of(self, place: Place) -> int:
        """The row of `stay` of all states with the place's `local` and `unit`; NO_STAY; or MISSING."""
        return self._stays.get(place.local, place.unit, 0)

    def put_stay(self, place: Place, row: int) -> None:
        """Say what `stay_of` is."""
        self._stays.put(place.local, place.unit, 0, row)
        if row >= 0:
            places = self._places[: len(self)]
            alike = (places[:, 0] == place.local) & (places[:, 1] == place.unit) & (places[:, 4] == NO_TEXT)
            self.bounds[: len(self)][alike, 2] = row

    def make_room(self) -> None:
        """Have room for some more."""
        if self._counts[0] + ROOM_MADE > len(self.bounds):
            self.bounds = np.concatenate([self.bounds, np.zeros_like(self.bounds)])
            self._places = np.concatenate([self._places, np.zeros_like(self._places)])
            self._tell()
        for table in (self._runs, self._ids, self._stays):
            table.make_room()

    def _tell(self) -> None:
        self._addresses.put(ak.BOUNDS, self.bounds, self._places, self._counts)
