"""The Python DSL for multi-call programs; knows only the client interface."""

from .parts import assistant, gen, select, system, user
from .program import Program, Run, StreamEvent, program
from .state import State, join

__all__ = [
    "Program",
    "Run",
    "State",
    "StreamEvent",
    "assistant",
    "gen",
    "join",
    "program",
    "select",
    "system",
    "user",
]
