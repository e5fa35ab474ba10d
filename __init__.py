"""Rootform: structured generation with a radix tree of KV and exact grammar masks. The public names, loaded on use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine.api import Engine
    from .engine.types import (
        Call,
        Choice,
        Completion,
        Grammar,
        JsonObject,
        JsonSchema,
        Message,
        Regex,
        RootformError,
        Sampling,
        StructuralTag,
    )
    from .programs import assistant, gen, join, program, select, system, user
    from .programs.http_client import HttpClient

__version__ = "0.1.0"

_HOME = {
    "Engine": ".engine.api",
    "Call": ".engine.types",
    "Choice": ".engine.types",
    "Completion": ".engine.types",
    "Grammar": ".engine.types",
    "JsonObject": ".engine.types",
    "JsonSchema": ".engine.types",
    "Message": ".engine.types",
    "Regex": ".engine.types",
    "RootformError": ".engine.types",
    "Sampling": ".engine.types",
    "StructuralTag": ".engine.types",
    "HttpClient": ".programs.http_client",
    "assistant": ".programs",
    "gen": ".programs",
    "join": ".programs",
    "program": ".programs",
    "select": ".programs",
    "system": ".programs",
    "user": ".programs",
}

__all__ = [
    "Call",
    "Choice",
    "Completion",
    "Engine",
    "Grammar",
    "HttpClient",
    "JsonObject",
    "JsonSchema",
    "Message",
    "Regex",
    "RootformError",
    "Sampling",
    "StructuralTag",
    "assistant",
    "gen",
    "join",
    "program",
    "select",
    "system",
    "user",
]


def __getattr__(name: str) -> object:
    """Import the room of a public name the first time it is asked for (torch takes seconds to import)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    """The public names too that are not loaded yet, for completion in shells and editors."""
    return sorted({*globals(), *__all__})
