"""JSON values as text: strings, any value at all, one value, and what equals a value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from .chars import ASCII_LETTERS, JSON_CHAR, PLAIN_CHAR, Encoding, json_text
from .constraints import Escapes, Spacing
from .counts import Way
from .expr import POOL
from .json_arrays import array
from .json_layout import QUOTE, Layout, layout
from .json_objects import Member, object_
from .nodes import Kind
from .numbers import NUMBER, spelled_number
from .words import Words
from .work import tick

_MANY_NAMES = 200  # more are kept as words

ANY_TEXT = POOL.repeat(JSON_CHAR, 0, None)
"""What may stand between the quotes of a string."""

PLAIN_TEXT = POOL.repeat(PLAIN_CHAR, 0, None)
"""The same, each character in its one plain spelling."""

# -- parts ----------------------------------------------------------------------------------------------------


def string(body: int) -> int:
    """A string of which `body` is what stands between the quotes."""
    return POOL.quoted(body, QUOTE)


def unframed(strings: int) -> int:
    """The same strings without a boundary around what stands between their quotes."""
    parts = []
    while (node := POOL.node(strings))[0] == Kind.CAT:
        parts.append(POOL.unframed(node[1]))
        strings = node[2]
    return POOL.concat(*parts, POOL.unframed(strings))


def plainly(strings: int) -> int:
    """Of strings and alternatives among them, those that spell each character plainly."""
    node = POOL.node(strings)
    if node[0] == Kind.ALT:
        return POOL.alt(*map(plainly, node[1]))
    if node[0] == Kind.CAT:
        return POOL.concat(plainly(node[1]), plainly(node[2]))
    return POOL.frame(_plain_body(node[1])) if node[0] == Kind.FRAME else strings


def _plain_body(body: int) -> int:
    node = POOL.node(body)
    if node[0] in (Kind.COUNTED, Kind.REPEAT) and node[1] == JSON_CHAR:
        make = POOL.counted if node[0] == Kind.COUNTED else POOL.repeat
        return make(PLAIN_CHAR, node[2], node[3])
    return POOL.and_(body, PLAIN_TEXT)


def key(name: str) -> int:
    """The one spelling in which a key that the schema lists is written."""
    return POOL.literal(dumped(name))


def strings_of(texts: Sequence[str]) -> list[int]:
    """Strings of each of some texts, in any spelling. Raises ValueError for lone surrogates."""
    if "".join(texts).isascii():
        return POOL.strings(texts, QUOTE, ASCII_LETTERS)
    return [string(json_text(text)) for text in texts]


def key_besides(body: int, names: Sequence[str]) -> int:
    """Keys of which `body` is the text, in any spelling, but none of `names` in any spelling."""
    return string(besides(body, names, "json"))


def besides(body: int, names: Sequence[str], spelling: Encoding) -> int:
    """Texts of `body`, spelled so, but none of `names`."""
    if not names:
        return body
    if spelling != "json":
        return POOL.and_(body, POOL.not_(POOL.texts([dumped(name)[1:-1] for name in names])))
    if len(names) <= _MANY_NAMES and "".join(names).isascii():
        return POOL.besides(body, names, ASCII_LETTERS)
    body = POOL.and_(body, POOL.not_(_any_spelling_of(names)))
    if POOL.nullable(body):
        POOL.know(body, 0)
    return body


def _any_spelling_of(names: Sequence[str]) -> int:
    if len(names) > _MANY_NAMES:
        return POOL.words(Words(names, json_text, lambda name: len(dumped(name)) - 2))
    return POOL.alt(*map(json_text, names))


# -- values ---------------------------------------------------------------------------------------------------


def any_value(spacing: Spacing, escapes: Escapes = "any", depth: int = 0) -> int:
    """Any JSON value, so many arrays and objects around."""
    form = layout(spacing, escapes, depth)
    name = ("json value", spacing, escapes) if form.depth == 0 else ("json value", spacing, escapes, str(depth))
    if not POOL.is_defined(name):
        POOL.define(name, lambda: _any_value(form), POOL.literal(b"0"))
        POOL.know(POOL.ref(name), 1)  # a digit
    return POOL.ref(name)


def any_string(escapes: Escapes = "any") -> int:
    """Any JSON string."""
    return string(ANY_TEXT if escapes == "any" else PLAIN_TEXT)


def any_array(form: Layout) -> int:
    """Any JSON array."""
    return array(form, (), [Way(any_value(form.spacing, form.escapes, form.inner.depth))])


def any_object(form: Layout) -> int:
    """Any JSON object."""
    value = any_value(form.spacing, form.escapes, form.inner.depth)
    return object_(form, (), [Member(any_string(form.escapes), (Way(value),), False)])


def _any_value(form: Layout) -> int:
    words = POOL.alt(*map(POOL.literal, (b"null", b"true", b"false")))
    return POOL.alt(words, NUMBER, any_string(form.escapes), any_array(form), any_object(form))


def this_value(form: Layout, value: Any) -> int:
    """One value: each string in one spelling, each number as `_spelled` has it, members in the order given, spacing as
    the layout has it."""
    if isinstance(value, dict):
        members = [Member(key(name), (Way(this_value(form.inner, item)),), True) for name, item in value.items()]
        return object_(form, members, ())
    if isinstance(value, list):
        return array(form, [[Way(this_value(form.inner, item))] for item in value], (), len(value), len(value))
    return POOL.alt(*map(POOL.literal, _spelled(value)))


def these_values(form: Layout, values: Iterable[Any]) -> int:
    """Any of several values, which may be very many, each as `this_value` writes it."""
    parts, texts = [], []
    for value in values:
        tick()
        if isinstance(value, (dict, list)):
            parts.append(this_value(form, value))
        else:
            texts += _spelled(value)
    return POOL.alt(POOL.texts(texts), *parts)


def _spelled(value: Any) -> list[bytes]:
    """A value that is no array or object; 2.0 as it stands and as 2, since writers of JSON differ in this."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return [dumped(value)]
    text = spelled_number(value)
    stands_with_fraction = isinstance(value, Decimal) and value.as_tuple().exponent == -1 and "." not in text
    return [text.encode(), f"{text}.0".encode()] if stands_with_fraction else [text.encode()]


def dumped(value: Any) -> bytes:
    """The one spelling of a value that is no number."""
    return (encode_basestring(value) if type(value) is str else _ENCODER.encode(value)).encode()


def dumped_length(text: str) -> int:
    """Bytes of the one spelling of a string."""
    if text.isidentifier() and text.isascii():
        return len(text) + 2
    return len(dumped(text))


_ENCODER = json.JSONEncoder(ensure_ascii=False)
