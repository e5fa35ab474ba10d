"""Where the arrays of an automaton's parts are, so that compiled loops need not be given each of them."""

from __future__ import annotations

import numpy as np

from .address_kernels import N_ARRAYS, WORDS


class Addresses:
    """A table for `address_kernels`. Whoever owns an array puts it here, and each that takes its place."""

    def __init__(self) -> None:
        self.table = np.zeros(WORDS * N_ARRAYS, np.int64)
        self._held: dict[int, np.ndarray] = {}  # so that no address outlives what is there

    def put(self, which: int, *arrays: np.ndarray) -> None:
        """Say where an array is, and those of the places behind it: of C order, with one axis or two."""
        for at, array in enumerate(arrays, which):
            if not array.flags.c_contiguous or array.ndim not in (1, 2):
                raise ValueError(f"array {at} cannot be given by its address: its axes are not one or two, in order")
            place = WORDS * at
            self.table[place] = array.ctypes.data
            self.table[place + 1 : place + 3] = array.shape if array.ndim == 2 else (*array.shape, 1)
            self._held[at] = array
