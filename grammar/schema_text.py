"""JSON text to values, with numbers kept exact; text that is broken, or made to do harm, is refused.

Numbers with a fraction or an exponent become Decimal, which loses nothing.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from .errors import GrammarError
from .work import tick

Json = Any
"""A JSON value: None, bool, int, Decimal, str, list or dict."""

MAX_DEPTH = 200
"""Levels of arrays and objects a schema may nest."""

MAX_EXPONENT = 400
"""Decimal places before or after the point that a number in a schema may need."""


def parse(text: str) -> Json:
    """The value of a JSON text, with fractions as Decimal. Raises GrammarError."""
    value = _quickly(text)
    if value is _UNKNOWN:
        value = _carefully(text)
        if _may_have_surrogates(text):
            _check_characters(value)
    if text.count("{") + text.count("[") > MAX_DEPTH:
        _check_depth(value)
    return value


_UNKNOWN = object()


def _quickly(text: str) -> Json:
    """The value, where it is plain that the text is JSON and no name stands twice in an object; else _UNKNOWN.

    A name that is dropped takes a colon with it. All other colons stand inside strings, and are written as they are.
    """
    if "\\u003a" in text or "\\u003A" in text:
        return _UNKNOWN
    with suppress(msgspec.DecodeError, ValueError, RecursionError):
        encoded = text.encode()
        value = _DECODER.decode(encoded)
        tick()
        if msgspec.json.encode(value).count(b":") == encoded.count(b":"):
            return value
    return _UNKNOWN


def _carefully(text: str) -> Json:
    try:
        return json.loads(text, parse_float=_decimal, parse_constant=_no_constant, object_pairs_hook=_object)
    except RecursionError:
        raise _too_deep() from None
    except GrammarError:
        raise
    except ValueError as error:
        raise GrammarError("schema", "", f"not JSON: {error}", "give the schema as JSON text") from None


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
        exponent = value.as_tuple().exponent
        if isinstance(exponent, int) and abs(value.adjusted()) <= MAX_EXPONENT and exponent >= -MAX_EXPONENT:
            return value
    except InvalidOperation:  # an exponent beyond any
        pass
    raise GrammarError("schema", "", f"the number {text[:40]} has too many digits", "use numbers of the size in use")


_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def _checked_decimal(text: str) -> Decimal:
    """The decoder hands over whatever looks like a number."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return _decimal(text)


_DECODER = msgspec.json.Decoder(float_hook=_checked_decimal)


def _no_constant(name: str) -> Json:
    raise GrammarError("schema", "", f"{name} is not JSON", "leave the bound out")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    tick()
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise GrammarError("schema", twice, "is written twice in one object", "keep one of the two")
    return members


def _check_depth(value: Json) -> None:
    level: list[Json] = [value] if type(value) in (dict, list) else []
    for _ in range(MAX_DEPTH):
        inner = []
        for outer in level:
            for item in outer.values() if type(outer) is dict else outer:
                if type(item) is dict or type(item) is list:
                    inner.append(item)
        if not inner:
            return
        level = inner
    raise _too_deep()


def _may_have_surrogates(text: str) -> bool:
    if "\\ud" in text or "\\uD" in text:
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _check_characters(value: Json) -> None:
    todo = [value]
    while todo:
        tick()
        item = todo.pop()
        if isinstance(item, str) and not item.isascii() and any("\ud800" <= char <= "\udfff" for char in item):
            reason = f"{item!r} has a lone surrogate, which is half of a character"
            raise GrammarError("schema", "", reason, "write the whole character, or remove it")
        todo += item if isinstance(item, list) else [*item, *item.values()] if isinstance(item, dict) else []


def _too_deep() -> GrammarError:
    reason = f"the schema nests more than {MAX_DEPTH} levels deep"
    return GrammarError("schema", "", reason, "name inner schemas in $defs and refer to them")
