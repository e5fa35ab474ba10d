"""What a rule on strings allows between the quotes.

Texts are written with any escapes. What is only asked about, whether there is a text, how long the shortest is, and
whether a listed value is among them, is asked of the texts as `json.dumps` spells them: then there are far fewer ways
to spell each, and the answers are the same.
"""

from __future__ import annotations

import json

from . import formats
from .chars import JSON_CHAR, PLAIN_CHAR, Encoding, json_text
from .expr import POOL
from .json_values import ANY_TEXT, PLAIN_TEXT
from .pools import memo
from .regex import compile_pattern
from .regex_lengths import lengths
from .schema_rules import StringRule
from .verbatim import indexed


@memo
def string_body(rule: StringRule, source: str | None = None, *, any_spelling: bool = False) -> int:
    """Texts between quotes that a rule allows, whatever values it lists: any escapes, but none in most formats.

    source: the document that verbatim values stand in; without one they may be anything. any_spelling: any escapes in
    formats too.
    """
    body = _body(rule, source, "json", any_spelling=any_spelling)
    if not any_spelling and not POOL.plain(body):
        POOL.know_shortest(body, POOL.shortest(plain_body(rule, source)))
    return body


@memo
def plain_body(rule: StringRule, source: str | None = None) -> int:
    """Of `string_body` at least the texts in their plain spelling; others only where these have a plain one, too."""
    return _body(rule, source, "plain", any_spelling=False)


def _body(rule: StringRule, source: str | None, spelling: Encoding, *, any_spelling: bool) -> int:
    unit, every = (JSON_CHAR, ANY_TEXT) if spelling == "json" else (PLAIN_CHAR, PLAIN_TEXT)
    parts = [search(pattern, spelling) for pattern in rule.patterns]
    parts += [formats.widest(name) if any_spelling else formats.body(name) for name in rule.formats]
    if rule.verbatim and source is not None:
        text = indexed(source, words=rule.verbatim == "words")
        parts.append(POOL.verbatim(text, rule.min_length, rule.max_length))
    else:
        least, most = _lengths_besides_patterns(rule)
        if least or most is not None:
            parts.append(POOL.counted(unit, least, most))
    for choice in rule.choices:
        parts.append(POOL.alt(*[_body(option, None, spelling, any_spelling=any_spelling) for option in choice]))
    unwanted = [search(pattern, spelling) for pattern in rule.not_patterns]
    unwanted += [formats.widest(name) for name in rule.not_formats]
    unwanted += [spelled(value.json, spelling) for value in rule.excluded]
    if unwanted:
        parts.append(POOL.not_(POOL.alt(*unwanted)))
        if len(parts) == 1 or spelling == "plain":  # other spellings of what is unwanted are not among that
            parts.append(every)
    return POOL.and_(*parts) if parts else every


def _lengths_besides_patterns(rule: StringRule) -> tuple[int, int | None]:
    """What a rule's lengths still say where its patterns hold: nothing is counted that a pattern counts by itself."""
    least, most = rule.min_length, rule.max_length
    for lo, hi in map(lengths, rule.patterns):
        least = 0 if lo >= least else least
        most = None if most is not None and hi is not None and hi <= most else most
    return least, most


def search(pattern: str, spelling: Encoding) -> int:
    """Texts between quotes in which a pattern is found."""
    return compile_pattern(pattern, mode="search", encoding=spelling)


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text."""
    return POOL.fullmatch(search(pattern, "plain"), inside_quotes(text))


def spelled(text: str, spelling: Encoding) -> int:
    """A text between quotes. Raises ValueError for lone surrogates."""
    return json_text(text) if spelling == "json" else POOL.literal(inside_quotes(text))


def inside_quotes(text: str) -> bytes:
    """A text as JSON writes it without needless escapes, without the quotes."""
    return json.dumps(text, ensure_ascii=False).encode()[1:-1]
