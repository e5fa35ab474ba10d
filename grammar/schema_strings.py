"""What a rule on strings allows between the quotes."""

from __future__ import annotations

import json

from . import formats
from .chars import JSON_CHAR, json_text
from .expr import POOL
from .json_values import ANY_TEXT
from .pools import memo
from .regex import compile_pattern
from .schema_rules import StringRule
from .verbatim import indexed


@memo
def string_body(rule: StringRule, source: str | None = None, *, any_spelling: bool = False) -> int:
    """Texts between quotes that a rule allows, whatever values it lists: any escapes, but none in most formats.

    source: the document that verbatim values stand in; without one they may be anything. any_spelling: any escapes in
    formats too.
    """
    parts = [_search(pattern) for pattern in rule.patterns]
    parts += [formats.widest(name) if any_spelling else formats.body(name) for name in rule.formats]
    if rule.verbatim and source is not None:
        text = indexed(source, words=rule.verbatim == "words")
        parts.append(POOL.verbatim(text, rule.min_length, rule.max_length))
    elif rule.min_length or rule.max_length is not None:
        parts.append(POOL.counted(JSON_CHAR, rule.min_length, rule.max_length))
    for choice in rule.choices:
        parts.append(POOL.alt(*[string_body(option, any_spelling=any_spelling) for option in choice]))
    unwanted = [_search(pattern) for pattern in rule.not_patterns]
    unwanted += [formats.widest(name) for name in rule.not_formats]
    unwanted += [json_text(value.json) for value in rule.excluded]
    if unwanted:
        parts.append(POOL.not_(POOL.alt(*unwanted)))
        if len(parts) == 1:
            parts.append(ANY_TEXT)
    return POOL.and_(*parts) if parts else ANY_TEXT


def _search(pattern: str) -> int:
    return compile_pattern(pattern, mode="search", encoding="json")


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text."""
    return POOL.fullmatch(_search(pattern), inside_quotes(text))


def inside_quotes(text: str) -> bytes:
    """A text as JSON writes it without needless escapes, without the quotes."""
    return json.dumps(text, ensure_ascii=False).encode()[1:-1]
