"""What every endpoint needs: the engine, the limits, the metrics; and the door that says 429."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from ..engine.types import RootformError
from .metrics import Metrics
from .ports import Engine


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the server takes at most.

    max_waiting: calls (n samples are n calls) that may wait for a place in the engine's batch; beyond it, 429.
    max_body_bytes: length of a request's body; beyond it, 413.
    """

    max_waiting: int = 1024
    max_body_bytes: int = 16 * 2**20


class Service:
    """One engine behind one app. Lives on the event loop's thread."""

    def __init__(self, engine: Engine, limits: HttpLimits) -> None:
        self.engine = engine
        self.limits = limits
        self.metrics = Metrics(engine)
        self._in_flight = 0  # calls taken in and not ended; exact, where the engine's counts are as of its last step

    @contextmanager
    def admitted(self, calls: int) -> Iterator[None]:
        """Count `calls` in while they are answered. Raises RootformError 429 when the queue is full."""
        most = self.limits.max_waiting
        if calls > most:
            raise RootformError(f"{calls} completions in one request; this server queues {most} at most: send fewer")
        stats = self.engine.stats()
        waiting = max(stats.waiting + stats.compiling, self._in_flight - stats.running)
        if waiting + calls > most:
            raise RootformError(f"{waiting} calls are waiting, of {most} at most; try again later", status=429)
        self._in_flight += calls
        try:
            yield
        finally:
            self._in_flight -= calls
