"""Python's search for garbage cycles stands still while constraints are compiled.

What compiling makes goes at once, by its reference count, or stays for as long as its constraint. Looking through it in
between finds nothing, and costs a quarter of the time (measured over a thousand schemas: 0.98 ms each with it, 0.73
without; 100 ms where it looks through all that earlier constraints left). What was put off is done by whoever allocates
next, so nothing is left lying about.

What constraints leave is looked through again and again all the same, for as long as it stays: 25 to 80 ms each time,
when there are many, in the middle of whatever is going on. Processes that say that what they have made is here to stay
(`KEPT.begin`, for servers that are up) therefore have the same said of what constraints leave, a bit at a time, when
nobody waits.

Generations of constraints that are dropped go by their reference counts, too. What else may have become garbage among
what was kept (requests that were open at the time) is searched for, all of it, some minutes apart: 100 to 250 ms.
"""

from __future__ import annotations

import gc
import threading
import time

_MOST = 500_000
"""Objects made since the last search, beyond which there is one even if some thread is always compiling."""

_SEARCHES = 2
"""Searches of the second kind, 7,700 objects made each, after which what they left is kept."""

_SELDOM = 600.0
"""Seconds at least between two searches of all that was kept."""


class _Pause:
    """Owner of `gc.disable` and `gc.enable`, for all threads of the process: `with` it, they are off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._was_on = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._was_on = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._was_on and not self._inside:
                gc.enable()
            waited_long = self._was_on and self._inside and gc.get_count()[0] > _MOST
        if waited_long:
            gc.collect(0)


PAUSED = _Pause()
"""Inside, in no thread, is any garbage searched for; where that was turned off before, it stays off."""


class _Kept:
    """Owner of `gc.freeze` and `gc.unfreeze`: what is kept, searches for garbage do not look at.

    Garbage among it, which had been in use at the time, is found when memory was given up that may hold some (`doubt`).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._has_begun = False
        self._in_doubt = False
        self._searched = 0.0  # when all was looked at

    def begin(self) -> None:
        """All that the process has made is here to stay, and so is what is there whenever `settle` is called."""
        with self._lock:
            self._has_begun = True
            self._searched = time.monotonic()
            _keep_all()

    def doubt(self) -> None:
        """Of what was kept some may not be needed any more: a `settle` will look at all of it."""
        self._in_doubt = True

    def settle(self) -> None:
        """Keep what is there, if that is enough to be worth it: some ms. Does nothing in processes that never began."""
        if not self._has_begun:
            return
        is_time = self._in_doubt and time.monotonic() - self._searched >= _SELDOM
        if is_time or gc.get_count()[2] >= _SEARCHES:
            with self._lock:
                if is_time:
                    self._in_doubt, self._searched = False, time.monotonic()
                    gc.unfreeze()
                _keep_all()

    def end(self) -> None:
        """Searches look at everything again."""
        with self._lock:
            self._has_begun = self._in_doubt = False
            gc.unfreeze()


def _keep_all() -> None:
    gc.collect()
    gc.freeze()


KEPT = _Kept()
