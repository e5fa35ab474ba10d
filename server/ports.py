"""All the server knows of the engine."""

from __future__ import annotations

from typing import Protocol

from ..engine.job import Job
from ..engine.types import Call, ModelInfo


class Stats(Protocol):
    """What the engine counts, read all at one moment. Counters only ever grow; gauges say how it is now."""

    @property
    def waiting(self) -> int:
        """Gauge: accepted calls that have no row in the running batch yet."""
        ...


class Engine(Protocol):
    """Something that completes calls and counts what it does; `engine.api.Engine`, or a test's stand-in."""

    @property
    def info(self) -> ModelInfo:
        """The model it serves."""
        ...

    def submit(self, call: Call) -> Job:
        """Start a call, from any thread. Raises RootformError at once for what can be seen to be wrong."""
        ...

    def stats(self) -> Stats:
        """Counters and gauges; cheap, from any thread."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why it can take no calls (closed, or its loop has died); None while all is well."""
        ...
