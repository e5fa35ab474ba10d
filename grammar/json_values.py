"""JSON values as text: strings, any value at all, one value, and what equals a value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from .chars import JSON_CHAR, json_text
from .constraints import Spacing
from .counts import Way
from .expr import EMPTY, POOL
from .json_arrays import array
from .json_layout import QUOTE, Layout, layout
from .json_objects import Member, object_
from .numbers import NUMBER, spelled_number
from .words import Words
from .work import tick

_MANY_NAMES = 200  # more are kept as words

ANY_TEXT = POOL.repeat(JSON_CHAR, 0, None)
"""What may stand between the quotes of a string."""

# -- parts ----------------------------------------------------------------------------------------------------


def string(body: int) -> int:
    """A string of which `body` is what stands between the quotes."""
    return POOL.concat(QUOTE, POOL.frame(body), QUOTE) if body != EMPTY else EMPTY


def key(name: str) -> int:
    """The one spelling in which a key that the schema lists is written."""
    return POOL.literal(_dumps(name))


def key_besides(body: int, names: Sequence[str]) -> int:
    """Keys of which `body` is the text, in any spelling, but none of `names` in any spelling."""
    if names:
        body = POOL.and_(body, POOL.not_(_any_spelling_of(names)))
    return string(body)


def _any_spelling_of(names: Sequence[str]) -> int:
    if len(names) > _MANY_NAMES:
        return POOL.words(Words(names, json_text, lambda name: len(_dumps(name)) - 2))
    return POOL.alt(*map(json_text, names))


# -- values ---------------------------------------------------------------------------------------------------


def any_value(spacing: Spacing) -> int:
    """Any JSON value."""
    name = ("json value", spacing)
    if not POOL.is_defined(name):
        POOL.define(name, lambda: _any_value(spacing))
    return POOL.ref(name)


def any_array(spacing: Spacing) -> int:
    """Any JSON array."""
    return array(layout(spacing), (), [Way(any_value(spacing))])


def any_object(spacing: Spacing) -> int:
    """Any JSON object."""
    return object_(layout(spacing), (), [Member(string(ANY_TEXT), (Way(any_value(spacing)),), False)])


def _any_value(spacing: Spacing) -> int:
    words = POOL.alt(*map(POOL.literal, (b"null", b"true", b"false")))
    return POOL.alt(words, NUMBER, string(ANY_TEXT), any_array(spacing), any_object(spacing))


def this_value(form: Layout, value: Any) -> int:
    """One value: each string and number in one spelling, members in the order given, spacing as the layout has it."""
    if isinstance(value, dict):
        members = [Member(key(name), (Way(this_value(form, item)),), True) for name, item in value.items()]
        return object_(form, members, ())
    if isinstance(value, list):
        return array(form, [[Way(this_value(form, item))] for item in value], (), len(value), len(value))
    return POOL.literal(_spelled(value))


def these_values(form: Layout, values: Iterable[Any]) -> int:
    """Any of several values, which may be very many, each as `this_value` writes it."""
    parts, texts = [], []
    for value in values:
        tick()
        if isinstance(value, (dict, list)):
            parts.append(this_value(form, value))
        else:
            texts.append(_spelled(value))
    return POOL.alt(POOL.texts(texts), *parts)


def _spelled(value: Any) -> bytes:
    """A value that is no array or object."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return spelled_number(value).encode()
    return _dumps(value)


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
