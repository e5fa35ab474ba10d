"""The one interface programs and extraction know: hand in a Call, get a Job."""

from __future__ import annotations

from typing import Protocol

from ..engine.job import Job
from ..engine.types import Call, ModelInfo


class Client(Protocol):
    """Something that completes calls: an in-process `Engine`, or `HttpClient` talking to a server."""

    @property
    def info(self) -> ModelInfo:
        """The model behind this client."""
        ...

    def submit(self, call: Call) -> Job:
        """Start a call. Raises RootformError at once for what can be seen to be wrong at once."""
        ...

    def close(self) -> None:
        """Release what the client holds; running jobs are cancelled."""
        ...
