"""Memory of large arrays, asked of the system before it is needed.

Arrays that grow in place take much address space, and memory only where they are written to. The system hands that out
at the first write, 2 MiB at a time in large arrays, and clears it first: 0.25 ms, or 2 to 6 where a virtual machine has
to ask its host (measured), in the middle of whatever mask is being made. It is better done when nobody waits.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable

import numpy as np

_POPULATE_WRITE = 23  # of madvise(2), since Linux 5.14


def _find_madvise() -> Callable[[int, int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return madvise


_madvise = _find_madvise()


def populate(array: np.ndarray, first: int, count: int) -> None:
    """Have memory at hand for `count` rows of an array of C order from row `first` on, as far as there are so many.

    What the rows hold stays as it is, whoever writes to them meanwhile; other threads of Python go on. Where the system
    does not know the call, nothing is done, and memory is handed out at the first write as ever.
    """
    count = min(count, len(array) - first)
    if _madvise is None or count <= 0:
        return
    begin = int(array.ctypes.data + first * array.strides[0])
    end = begin + int(count) * array.strides[0]
    begin -= begin % mmap.PAGESIZE
    length = end - end % mmap.PAGESIZE - begin  # the rest of the last page may be somebody else's
    if length > 0:
        _madvise(begin, length, _POPULATE_WRITE)
