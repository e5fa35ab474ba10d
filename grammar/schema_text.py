"""JSON text to values, with numbers kept exact; text that is broken, or made to do harm, is refused.

Numbers with a fraction or an exponent become Decimal, which loses nothing.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

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
    try:
        value = json.loads(text, parse_float=_decimal, parse_constant=_no_constant, object_pairs_hook=_object)
    except RecursionError:
        raise _too_deep() from None
    except GrammarError:
        raise
    except ValueError as error:
        raise GrammarError("schema", "", f"not JSON: {error}", "give the schema as JSON text") from None
    if text.count("{") + text.count("[") > MAX_DEPTH:
        _check_depth(value)
    if _may_have_surrogates(text):
        _check_characters(value)
    return value


def _decimal(text: str) -> Decimal:
    value = Decimal(text)
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or abs(value.adjusted()) > MAX_EXPONENT or exponent < -MAX_EXPONENT:
        raise GrammarError(
            "schema", "", f"the number {text[:40]} has too many digits", "use numbers of the size in use"
        )
    return value


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
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for outer in level for item in _items(outer) if isinstance(item, (list, dict))]
        if not level:
            return
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


def _items(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _too_deep() -> GrammarError:
    reason = f"the schema nests more than {MAX_DEPTH} levels deep"
    return GrammarError("schema", "", reason, "name inner schemas in $defs and refer to them")
