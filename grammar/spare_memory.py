"""Memory for Python's small objects, asked of the system before it is needed.

Python takes memory from the system a MiB at a time and gives it back when nothing is left in it; the system hands out
each page when it is first written to. That took 3 us a time where memory had been used before, 110 in a fresh virtual
machine, and came three times in a compilation and once in fifty masks (measured): it is better done when nobody waits.
What is asked for here stays with the process: in each piece one small object lives on.
"""

from __future__ import annotations

import sys
import threading

_AT_FIRST = 24  # MiB
_AT_ONCE = 1  # MiB, when more is needed
_OBJECT_BYTES = 512  # the largest that are small for Python; of those here, with what Python keeps about them
_ARENA_BYTES = 1 << 18  # of the pieces in which the system gives it, at least
_BLOCK_BYTES = 64  # of an object, on the average; rather too few


class _Spare:
    """Owner of what is kept of the memory; for all threads of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[bytes] = []
        self._blocks = 0  # objects for which there is memory, without the last `_AT_FIRST`
        self._begun = False

    def begin(self) -> None:
        """Have memory at hand, from now on."""
        with self._lock:
            if not self._begun:
                self._begun = True
                self._blocks = sys.getallocatedblocks()
                self._take(_AT_FIRST)

    def refill(self) -> None:
        """Take more in place of what was used since, a bit. To be called when nobody waits: a ms, seldom."""
        step = (_AT_ONCE << 20) // _BLOCK_BYTES
        with self._lock:
            if self._begun and sys.getallocatedblocks() > self._blocks + step:
                self._blocks += step
                self._take(_AT_ONCE)

    def _take(self, mib: int) -> None:
        body = _OBJECT_BYTES - sys.getsizeof(b"")
        made = [bytes(body) for _ in range((mib << 20) // _OBJECT_BYTES)]
        self._kept += made[:: _ARENA_BYTES // _OBJECT_BYTES]


SPARE = _Spare()
"""The small objects' memory of this process."""
