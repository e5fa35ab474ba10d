"""All the server knows of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..engine.job import Job
from ..engine.types import Call, ModelInfo

if TYPE_CHECKING:
    from ..engine.api import EngineStats  # which imports torch


class Engine(Protocol):
    """Something that completes calls and counts what it does; `engine.api.Engine`, or a test's stand-in."""

    @property
    def info(self) -> ModelInfo:
        """The model it serves."""
        ...

    def submit(self, call: Call) -> Job:
        """Start a call, from any thread. Raises RootformError at once for what can be seen to be wrong."""
        ...

    def stats(self) -> EngineStats:
        """Counters and gauges; cheap, from any thread."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why it can take no calls (closed, or its loop has died); None while all is well."""
        ...
