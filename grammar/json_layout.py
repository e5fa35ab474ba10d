"""The structural tokens of JSON in each spacing.

Spacing. compact: no whitespace outside strings. canonical: one space after each comma and colon. flexible: between two
tokens there may stand one space, or a line break followed by up to 64 spaces and tabs, which takes in what `json.dumps`
writes with and without `indent`. indent: what `json.dumps` writes with it; how much stands before an element depends on
how deep it is, so each depth has a layout of its own. There is no whitespace before or after the whole value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .constraints import Escapes, Spacing
from .expr import EPSILON, POOL
from .pools import memo

MAX_INDENT = 64
"""Spaces and tabs that may follow a line break."""

QUOTE = POOL.literal(b'"')


WIDTHS: dict[str, int] = {"indent": 2, "indent4": 4}
"""Spaces for each level."""


SEPARATORS: dict[str, tuple[bytes, bytes]] = {"compact": (b",", b":"), "canonical": (b", ", b": ")}
"""The comma and the colon of spacings in which each is one text."""


class Layout(NamedTuple):
    """The structural tokens of one spacing, as expressions with the whitespace that belongs to them; and how strings
    are spelled between them.

    first: what stands before a first element or member. depth: arrays and objects around, where that matters; else 0.
    """

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
    first: int = EPSILON
    depth: int = 0

    @property
    def inner(self) -> Layout:
        """The layout of elements and values of members."""
        return layout(self.spacing, self.escapes, self.depth + 1) if self.spacing in WIDTHS else self

    def changed(self, change: Callable[[int], int]) -> Layout:
        """The same of other expressions."""
        return self._replace(**{name: change(getattr(self, name)) for name in _TOKENS})


_TOKENS = ("first", *(name for name in Layout._fields if name.startswith(("open", "close", "comma", "colon"))))


@memo
def layout(spacing: Spacing, escapes: Escapes = "any", depth: int = 0) -> Layout:
    """The tokens of a spacing, so many arrays and objects around."""
    if spacing in WIDTHS:
        return _indented(spacing, escapes, depth)
    gap = _gap() if spacing == "flexible" else EPSILON
    after = {c: POOL.concat(POOL.literal(c), gap) for c in (b"[", b"{", b",", b":")}
    if spacing in SEPARATORS:
        after |= {text[:1]: POOL.literal(text) for text in SEPARATORS[spacing]}
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


def _indented(spacing: Spacing, escapes: Escapes, depth: int) -> Layout:
    outside, inside = (_line(WIDTHS[spacing] * level) for level in (depth, depth + 1))
    return Layout(
        spacing=spacing,
        open_array=POOL.literal(b"["),
        close_array=POOL.concat(outside, POOL.literal(b"]")),
        close_empty_array=POOL.literal(b"]"),
        open_object=POOL.literal(b"{"),
        close_object=POOL.concat(outside, POOL.literal(b"}")),
        close_empty_object=POOL.literal(b"}"),
        comma=POOL.concat(POOL.literal(b","), inside),
        colon=POOL.literal(b": "),
        escapes=escapes,
        first=inside,
        depth=depth,
    )


def _line(spaces: int) -> int:
    return POOL.concat(POOL.literal(b"\n"), POOL.repeat(POOL.literal(b" "), spaces, spaces))


def _gap() -> int:
    line_break = POOL.alt(POOL.literal(b"\n"), POOL.literal(b"\r\n"))
    indent = POOL.repeat(POOL.byte_set(b" \t"), 0, MAX_INDENT)
    return POOL.alt(EPSILON, POOL.literal(b" "), POOL.concat(line_break, indent))
