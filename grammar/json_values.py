"""JSON as text: strings, arrays and objects out of the expressions of their parts, and any value at all.

Spacing. compact: no whitespace outside strings. flexible: between two tokens there may stand one space, or a line
break followed by up to 64 spaces and tabs, which takes in what `json.dumps` writes with and without `indent`. There is
no whitespace before or after the whole value in either.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from .chars import JSON_CHAR, json_text
from .constraints import Spacing
from .expr import EMPTY, EPSILON, POOL
from .numbers import NUMBER, spelled_number
from .pools import memo

MAX_INDENT = 64
"""Spaces and tabs that may follow a line break."""

ANY_TEXT = POOL.repeat(JSON_CHAR, 0, None)
"""What may stand between the quotes of a string."""

QUOTE = POOL.literal(b'"')


class Layout(NamedTuple):
    """The structural tokens of one spacing, as expressions with the whitespace that belongs to them."""

    spacing: Spacing
    open_array: int
    close_array: int
    close_empty_array: int
    open_object: int
    close_object: int
    close_empty_object: int
    comma: int
    colon: int


class Member(NamedTuple):
    """One member of an object: its key and its value as texts."""

    key: int
    value: int
    required: bool


@memo
def layout(spacing: Spacing) -> Layout:
    """The tokens of a spacing."""
    gap = _gap() if spacing == "flexible" else EPSILON
    after = {c: POOL.concat(POOL.literal(c), gap) for c in (b"[", b"{", b",", b":")}
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
    )


def _gap() -> int:
    line_break = POOL.alt(POOL.literal(b"\n"), POOL.literal(b"\r\n"))
    indent = POOL.repeat(POOL.byte_set(b" \t"), 0, MAX_INDENT)
    return POOL.alt(EPSILON, POOL.literal(b" "), POOL.concat(line_break, indent))


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
        body = POOL.and_(body, POOL.not_(POOL.alt(*map(json_text, names))))
    return string(body)


def array(form: Layout, prefix: Sequence[int], items: int, low: int = 0, high: int | None = None) -> int:
    """Arrays of low to high elements: the first as `prefix` has them in turn, then any number of `items`."""
    first_rest = max(len(prefix), 1)
    rest_low = max(low - first_rest, 0)
    if high is not None and high < first_rest:
        tail = form.close_array
    else:
        rest_high = None if high is None else high - first_rest
        tail = POOL.concat(POOL.repeat(POOL.concat(form.comma, items), rest_low, rest_high), form.close_array)
    for index, element in reversed(list(enumerate(prefix or [items]))):
        if low > index + 1 and high is not None and high <= index:
            return EMPTY
        more = POOL.concat(form.comma if index else EPSILON, element, tail)
        stop = form.close_array if index else form.close_empty_array
        tail = POOL.alt(stop if index >= low else EMPTY, more if high is None or index < high else EMPTY)
    return POOL.frame(POOL.concat(form.open_array, tail))


def object_(
    form: Layout, members: Sequence[Member], others: Sequence[Member], low: int = 0, high: int | None = None
) -> int:
    """Objects with `members` in this order, those not required perhaps left out, then any number of `others`.

    low, high: how many members there may be in all. Built from the right: `tails[n]` is what may follow n members
    already written, n going no further than matters, so the size is linear in the members.
    """
    most = max(low, 1) if high is None else high
    other = POOL.alt(*[_written(form, member) for member in others])
    ends = [form.close_object if n else form.close_empty_object for n in range(most + 1)]
    tails = [end if n >= low else EMPTY for n, end in enumerate(ends)]
    if high is None:
        tails[most] = POOL.concat(POOL.repeat(POOL.concat(form.comma, other), 0, None), tails[most])
    for n in reversed(range(most)):
        tails[n] = POOL.alt(tails[n], POOL.concat(form.comma if n else EPSILON, other, tails[n + 1]))
    for member in reversed(members):
        with_it = _written_first(form, member, tails, high)
        tails = with_it if member.required else [POOL.alt(*pair) for pair in zip(with_it, tails, strict=True)]
    return POOL.frame(POOL.concat(form.open_object, tails[0]))


def any_order(form: Layout, members: Sequence[Member]) -> int:
    """Objects with `members` in any order, each once, those not required perhaps left out.

    What may follow depends on which members are still to come: each such set becomes an expression of its own when
    it is first met, never before, for there are 2 ** len(members) of them.
    """
    return POOL.frame(POOL.concat(form.open_object, _still_to_come(form, tuple(members), first=True)))


def _still_to_come(form: Layout, members: tuple[Member, ...], first: bool) -> int:
    """The rest of an object that has yet to write those of `members` that are required, and may write the others."""
    name = ("members", form.spacing, members, first)
    if not POOL.is_defined(name):
        needed = [member for member in members if member.required]
        outline = POOL.concat(form.comma if needed and not first else EPSILON, _in_turn(form, needed, first))
        POOL.define(name, lambda: _next_member(form, members, first), outline)
    return POOL.ref(name)


def _in_turn(form: Layout, members: Sequence[Member], first: bool) -> int:
    """These members, all of them and in this order, and the end of the object."""
    if not members:
        return form.close_empty_object if first else form.close_object
    texts = [_written(form, member) for member in members]
    return POOL.concat(texts[0], *[POOL.concat(form.comma, text) for text in texts[1:]], form.close_object)


def _next_member(form: Layout, members: tuple[Member, ...], first: bool) -> int:
    close = form.close_empty_object if first else form.close_object
    choices = [EMPTY if any(member.required for member in members) else close]
    for i, member in enumerate(members):
        rest = _still_to_come(form, members[:i] + members[i + 1 :], first=False)
        choices.append(POOL.concat(EPSILON if first else form.comma, _written(form, member), rest))
    return POOL.alt(*choices)


def _written_first(form: Layout, member: Member, tails: list[int], high: int | None) -> list[int]:
    """The tails with this member in front: one more is written then."""
    after = [*tails[1:], tails[-1] if high is None else EMPTY]
    text = _written(form, member)
    return [POOL.concat(form.comma if n else EPSILON, text, tail) for n, tail in enumerate(after)]


def _written(form: Layout, member: Member) -> int:
    return POOL.concat(member.key, form.colon, member.value)


# -- values ---------------------------------------------------------------------------------------------------


def any_value(spacing: Spacing) -> int:
    """Any JSON value."""
    name = ("json value", spacing)
    if not POOL.is_defined(name):
        POOL.define(name, lambda: _any_value(spacing))
    return POOL.ref(name)


def any_array(spacing: Spacing) -> int:
    """Any JSON array."""
    return array(layout(spacing), (), any_value(spacing))


def any_object(spacing: Spacing) -> int:
    """Any JSON object."""
    return object_(layout(spacing), (), [Member(string(ANY_TEXT), any_value(spacing), False)])


def _any_value(spacing: Spacing) -> int:
    words = POOL.alt(*map(POOL.literal, (b"null", b"true", b"false")))
    return POOL.alt(words, NUMBER, string(ANY_TEXT), any_array(spacing), any_object(spacing))


def this_value(form: Layout, value: Any) -> int:
    """One value: each string and number in one spelling, members in the order given, spacing as the layout has it."""
    if isinstance(value, dict):
        members = [Member(key(name), this_value(form, item), True) for name, item in value.items()]
        return object_(form, members, ())
    if isinstance(value, list):
        return array(form, [this_value(form, item) for item in value], EMPTY, len(value), len(value))
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return POOL.literal(spelled_number(value).encode())
    return POOL.literal(_dumps(value))


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
