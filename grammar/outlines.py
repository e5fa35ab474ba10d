"""Regexes and choices by outlines-core, as a second backend: what it accepts, as an expression.

outlines-core builds its index over the 256 bytes; the index is an automaton, which then stands for the pattern here, so
that masks, close-out and everything else are as for our own. It takes the syntax of Rust's `regex`, without looks.

Its index leaves out what goes on behind a match (a byte whose next state is no match, and all but the first reading of
an ambiguous pattern). So the pattern is built with a NUL at its end: then nothing matches before the end, and a state
accepts where NUL leads to a match. Texts with NUL inside are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .errors import GrammarError
from .expr import EMPTY, POOL
from .machine import machine_of
from .pools import memo

_OVER = 0  # the byte that ends a text
_EOS = 256  # the token that ends an output, which an index must have
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


@memo
def compile_outlines_pattern(pattern: str) -> int:
    """The texts that outlines-core accepts for a pattern. Raises GrammarError."""
    outlines_core = _package()
    vocabulary = outlines_core.Vocabulary(_EOS, {bytes([byte]): [byte] for byte in range(256)})
    try:
        outlines_core.Index(pattern, vocabulary)  # by itself first, lest what is added make a whole of what is broken
        index = outlines_core.Index(rf"(?:{pattern})\x00", vocabulary)
    except ValueError as error:
        reason = f"outlines-core cannot build this: {error}"
        raise GrammarError("regex, column 1", "backend", reason, 'use backend "rootform"') from None
    moves: dict[int, dict[int, int]] = index.get_transitions()
    finals = frozenset(index.get_final_states())

    def moves_of(state: int) -> list[tuple[int, int]]:
        return [(1 << byte, after) for byte, after in moves.get(state, {}).items() if byte not in (_OVER, _EOS)]

    def accepts(state: int) -> bool:
        return moves.get(state, {}).get(_OVER) in finals

    found = machine_of(index.get_initial_state(), moves_of, accepts, "regex, column 1")
    return EMPTY if found is None else POOL.machine(*found)


def compile_outlines_choice(options: Sequence[str]) -> int:
    """Any of the options, as a pattern of outlines-core."""
    escaped = [_SPECIAL.sub(r"\\\g<0>", option) for option in options]
    return compile_outlines_pattern("|".join(escaped)) if options else EMPTY


def _package() -> Any:
    try:
        import outlines_core
    except ImportError as error:
        reason = f"outlines-core cannot be imported: {error}"
        raise GrammarError("regex", "backend", reason, "pip install outlines-core") from error
    return outlines_core
