"""Schemas on lines of their own: what stands before an element depends on how deep it is, however deep that may be.

Each schema is written anew for each depth that a text comes to, when it comes there. What can be known of a schema
once, whether anything satisfies it and what cannot be written, is known from the same schema on one line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .expr import EMPTY, POOL
from .json_layout import WIDTHS, Layout
from .json_values import any_value
from .schema_shapes import ANYTHING

if TYPE_CHECKING:
    from .schema_parts import Planned


def indented(text: bytes, form: Layout) -> bytes:
    """A JSON text with the whitespace that a layout has, instead of its own between tokens."""
    out, at, depth = bytearray(), 0, form.depth
    width = WIDTHS[form.spacing]

    def line() -> bytes:
        return b"\n" + b" " * (width * depth)

    while at < len(text):
        byte = text[at : at + 1]
        if byte == b'"':
            end = _string_end(text, at)
            out += text[at:end]
            at = end
            continue
        at += 1
        if byte in b"[{":
            out += byte
            closing = text[at:].lstrip()
            if closing[:1] in (b"]", b"}"):
                out += closing[:1]
                at = len(text) - len(closing) + 1
            else:
                depth += 1
                out += line()
        elif byte in b"]}":
            depth -= 1
            out += line() + byte
        elif byte == b",":
            out += byte + line()
        elif byte == b":":
            out += b": "
        elif not byte.isspace():
            out += byte
    return bytes(out)


def _string_end(text: bytes, start: int) -> int:
    at = start + 1
    while text[at : at + 1] != b'"':
        at += 2 if text[at : at + 1] == b"\\" else 1
    return at + 1


def deeper_value(
    key: tuple[object, ...],
    form: Layout,
    planned: Planned,
    flat: Callable[[], list[int]],
    nested: Callable[[], list[int]],
    on_one_line: Callable[[], list[int]],
) -> int:
    """The texts of a schema at one depth; its arrays and objects are written when a text first comes to them.

    key: the schema's name. flat: its other values. nested: its arrays and objects at that depth. on_one_line: the same
    without lines.
    """
    if planned.shape is ANYTHING:
        return any_value(form.spacing, form.escapes, form.depth)
    texts = flat()
    if planned.arrays or planned.objects:
        name = ("indented", form.spacing, form.depth, *key)
        if not POOL.is_defined(name):
            POOL.define(name, lambda: POOL.alt(*nested()), lambda: _shortest(POOL.alt(*on_one_line()), form))
        texts.append(POOL.ref(name))
    return POOL.alt(*texts)


def _shortest(on_one_line: int, form: Layout) -> int:
    """The shortest text, with lines: one that is short at least."""
    text = POOL.shortest(on_one_line)
    return EMPTY if text is None else POOL.literal(indented(text, form))
