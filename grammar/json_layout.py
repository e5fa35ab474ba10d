"""The structural tokens of JSON in each spacing.

Spacing. compact: no whitespace outside strings. canonical: one space after each comma and colon. flexible: between two
tokens there may stand one space, or a line break followed by up to 64 spaces and tabs, which takes in what `json.dumps`
writes with and without `indent`. There is no whitespace before or after the whole value in any of them.
"""

from __future__ import annotations

from typing import NamedTuple

from .constraints import Escapes, Spacing
from .expr import EPSILON, POOL
from .pools import memo

MAX_INDENT = 64
"""Spaces and tabs that may follow a line break."""

QUOTE = POOL.literal(b'"')


class Layout(NamedTuple):
    """The structural tokens of one spacing, as expressions with the whitespace that belongs to them; and how strings
    are spelled between them."""

    spacing: Spacing
    open_array: int
    close_array: int
    close_empty_array: int
    open_object: int
    close_object: int
    close_empty_object: int
    comma: int
    colon: int
    escapes: Escapes = "any"


@memo
def layout(spacing: Spacing, escapes: Escapes = "any") -> Layout:
    """The tokens of a spacing."""
    gap = _gap() if spacing == "flexible" else EPSILON
    after = {c: POOL.concat(POOL.literal(c), gap) for c in (b"[", b"{", b",", b":")}
    if spacing == "canonical":
        after |= {c: POOL.literal(c + b" ") for c in (b",", b":")}
    before = {c: POOL.concat(gap, POOL.literal(c)) for c in (b"]", b"}")}
    return Layout(
        spacing=spacing,
        open_array=after[b"["],
        close_array=before[b"]"],
        close_empty_array=POOL.literal(b"]"),
        open_object=after[b"{"],
        close_object=before[b"}"],
        close_empty_object=POOL.literal(b"}"),
        comma=POOL.concat(gap, after[b","]),
        colon=POOL.concat(gap, after[b":"]),
        escapes=escapes,
    )


def _gap() -> int:
    line_break = POOL.alt(POOL.literal(b"\n"), POOL.literal(b"\r\n"))
    indent = POOL.repeat(POOL.byte_set(b" \t"), 0, MAX_INDENT)
    return POOL.alt(EPSILON, POOL.literal(b" "), POOL.concat(line_break, indent))
