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
        self._entering = 0  # calls let in that the engine may not yet count as waiting

    @contextmanager
    def admitted(self, calls: int) -> Iterator[None]:
        """Hold `calls` places while they are handed to the engine. Raises RootformError 429 when the queue is full."""
        most = self.limits.max_waiting
        if calls > most:
            raise RootformError(f"{calls} completions in one request; this server queues {most} at most: send fewer")
        waiting = self.engine.stats().waiting + self._entering
        if waiting + calls > most:
            raise RootformError(f"{waiting} calls are waiting, of {most} at most; try again later", status=429)
        self._entering += calls
        try:
            yield
        finally:
            self._entering -= calls
