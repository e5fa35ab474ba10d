"""What a piece of work on a constraint may cost, and that it lets others run meanwhile.

Building expressions and walking them is Python that never waits, so a thread at it would hold the interpreter and keep
the threads that serve requests from running. Work done inside `within` therefore looks at the clock every now and then
(`tick`): it gives up when its time is over, and, when asked to be polite, sleeps a moment each half millisecond, a
longer one when it has had a fifth of a second. (Measured beside a loop of small tensor operations: they took 4.3 times
as long beside work that never sleeps, 2.4 and 2 times beside polite work, young and old.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .errors import GrammarError

_TICKS = 64  # calls of `tick` between two looks at the clock: 0.1 ms or so
_SLICE_S = 0.0005
_PAUSE_S = 0.00005
_LONGEST_SLICE_S = 0.005
_YOUNG_S = 0.2
_OLD_PAUSE_S = 0.0005
_LET_GO_AT_ONCE = 500


class Limit:
    """A limit on one piece of work.

    seconds: of its own thread's processor time, so that a busy machine refuses nothing it would take when idle.
    polite: whether it lets other threads run in between.
    """

    def __init__(self, seconds: float, *, polite: bool = False) -> None:
        self._seconds = seconds
        self._polite = polite
        self._others: list[Callable[[], str]] = []
        self._ticks = _TICKS
        self._ends = 0.0  # by the clock of the thread, from the first look at it: most work is done before
        self._pause_at = 0.0
        self._within_until = 0.0  # by the clock on the wall, which the thread's own cannot outrun and which is cheap

    def add(self, over: Callable[[], str]) -> None:
        """Another limit: asked every half millisecond; what it says, if not "", is why the work has to stop."""
        self._others.append(over)

    @contextmanager
    def in_haste(self) -> Iterator[None]:
        """Inside, the work does not pause: others wait for it."""
        polite, self._polite = self._polite, False
        try:
            yield
        finally:
            self._polite = polite

    def tick(self) -> None:
        """Look at the clock, if it is time to. Raises GrammarError when the work has to stop."""
        self._ticks -= 1
        if not self._ticks:
            self.look()

    def look(self) -> None:
        """Look at the clock. Raises GrammarError when the work has to stop."""
        self._ticks = _TICKS
        if not self._ends:
            self._ends = time.thread_time() + self._seconds
            now = time.perf_counter()
            self._pause_at, self._within_until = now + _SLICE_S, now + self._seconds
            return
        now, young = time.perf_counter(), False
        if self._polite or now > self._within_until:
            left = self._ends - time.thread_time()
            if left < 0:
                reason = f"takes more than {self._seconds:g} s of work"
                raise GrammarError("constraint", "", reason, "make it smaller, or raise the limit")
            self._within_until, young = now + left, left > self._seconds - _YOUNG_S
        if now > self._pause_at:
            self._pause_at = self._look_around(young=young)

    def _look_around(self, *, young: bool) -> float:
        """Ask the other limits, and pause. When to do so again."""
        for over in self._others:
            why = over()
            if why:
                raise GrammarError("constraint", "", why)
        before = time.perf_counter()
        if self._polite:
            time.sleep(_PAUSE_S if young else _OLD_PAUSE_S)
        now = time.perf_counter()
        paused = now - before  # much longer than asked for, when other threads never wait
        return now + min(max(_SLICE_S, paused / 2), _LONGEST_SLICE_S)


class _Current(threading.local):
    limit: Limit | None = None


_current = _Current()


def tick() -> None:
    """To be called often by work that may take long. Raises GrammarError when it has to stop."""
    limit = _current.limit
    if limit is not None:
        limit.tick()


def look() -> None:
    """`tick` by work that has just taken a while."""
    limit = _current.limit
    if limit is not None:
        limit.look()


class within:
    """Inside, the work of this thread is limited; None: not at all."""

    __slots__ = ("_before", "_limit")

    def __init__(self, limit: Limit | None) -> None:
        self._limit = limit

    def __enter__(self) -> None:
        self._before = _current.limit
        _current.limit = self._limit

    def __exit__(self, *_: object) -> None:
        _current.limit = self._before


def letting_go(*containers: dict[Any, Any] | list[Any]) -> Iterator[None]:
    """Empties large containers, a bit at each step, so that nobody has to wait for all of it."""
    for container in containers:
        while container:
            if isinstance(container, list):
                del container[-_LET_GO_AT_ONCE:]
            else:
                for _ in range(min(_LET_GO_AT_ONCE, len(container))):
                    container.popitem()
            yield
