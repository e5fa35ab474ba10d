"""Structural tags as XGrammar, SGLang and vLLM take them: a tree of formats, read strictly.

Both forms of the request are known: `{"format": {...}}`, and the older `{"structures": [...], "triggers": [...]}`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from .errors import GrammarError


class _Format(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class ConstString(_Format, frozen=True, kw_only=True, tag="const_string"):
    """Exactly this text."""

    value: str


class JsonSchemaFormat(_Format, frozen=True, kw_only=True, tag="json_schema"):
    """JSON text that the schema accepts."""

    json_schema: Raw
    style: Literal["json"] = "json"
    any_order: Literal[False] = False


class RegexFormat(_Format, frozen=True, kw_only=True, tag="regex"):
    """Text that the pattern matches as a whole."""

    pattern: str


class GrammarFormat(_Format, frozen=True, kw_only=True, tag="grammar"):
    """A text of the grammar, in GBNF, EBNF or Lark."""

    grammar: str


class AnyText(_Format, frozen=True, kw_only=True, tag="any_text"):
    """Any text in which none of `excludes` occurs."""

    excludes: tuple[str, ...] = ()


class SequenceFormat(_Format, frozen=True, kw_only=True, tag="sequence"):
    """The elements one after the other."""

    elements: tuple[Format, ...]


class OrFormat(_Format, frozen=True, kw_only=True, tag="or"):
    """Any one of the elements."""

    elements: tuple[Format, ...]


class Optional(_Format, frozen=True, kw_only=True, tag="optional"):
    """The content, or nothing."""

    content: Format


class Plus(_Format, frozen=True, kw_only=True, tag="plus"):
    """The content once or more often."""

    content: Format


class Star(_Format, frozen=True, kw_only=True, tag="star"):
    """The content any number of times."""

    content: Format


class RepeatFormat(_Format, frozen=True, kw_only=True, tag="repeat"):
    """The content between min and max times; max -1: no limit."""

    min: Annotated[int, Meta(ge=0)]
    max: Annotated[int, Meta(ge=-1)]
    content: Format


class Tag(_Format, frozen=True, kw_only=True, tag="tag"):
    """begin, content, and one of the ends. Free text at the end of the content stops at the first end."""

    begin: str
    content: Format
    end: str | tuple[str, ...]

    @property
    def ends(self) -> tuple[str, ...]:
        """The ends, one or several."""
        return (self.end,) if isinstance(self.end, str) else self.end


class TriggeredTags(_Format, frozen=True, kw_only=True, tag="triggered_tags"):
    """Free text in which each trigger begins one of the tags.

    at_least_one: it begins with a tag. stop_after_first: it ends with the first tag.
    """

    triggers: tuple[str, ...]
    tags: tuple[Tag, ...]
    at_least_one: bool = False
    stop_after_first: bool = False
    excludes: tuple[str, ...] = ()


class TagsWithSeparator(_Format, frozen=True, kw_only=True, tag="tags_with_separator"):
    """Tags with a text between each two."""

    tags: tuple[Tag, ...]
    separator: str
    at_least_one: bool = False
    stop_after_first: bool = False


class Dispatch(_Format, frozen=True, kw_only=True, tag="dispatch"):
    """Free text in which each pattern is followed by its format. loop: again and again, not only once."""

    rules: tuple[tuple[str, Format], ...]
    loop: bool = True
    excludes: tuple[str, ...] = ()


Format = (
    ConstString
    | JsonSchemaFormat
    | RegexFormat
    | GrammarFormat
    | AnyText
    | SequenceFormat
    | OrFormat
    | Optional
    | Plus
    | Star
    | RepeatFormat
    | Tag
    | TriggeredTags
    | TagsWithSeparator
    | Dispatch
)


class Structure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tag of the older form: begin, JSON that the schema accepts, end."""

    begin: str
    schema: Raw
    end: str


class _Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Literal["structural_tag"] = "structural_tag"
    format: Format | None = None
    structures: tuple[Structure, ...] | None = None
    triggers: tuple[str, ...] | None = None


def read_structural_tag(text: str) -> Format:
    """The format of a structural tag given as JSON text. Raises GrammarError with the path of what is wrong."""
    try:
        asked = msgspec.json.decode(text, type=_Request)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        rewrite = "formats of single tokens, styles other than json and any_order are not supported"
        raise GrammarError("structural tag", "", str(error), rewrite) from None
    except RecursionError as error:
        raise GrammarError("structural tag", "", "the formats are nested too deeply") from error
    if asked.format is not None and asked.structures is None and asked.triggers is None:
        return asked.format
    if asked.format is not None or asked.structures is None or asked.triggers is None:
        reason = "it has either a format, or structures and triggers"
        raise GrammarError("structural tag", "", reason, 'write {"type": "structural_tag", "format": {...}}')
    tags = [Tag(begin=s.begin, content=JsonSchemaFormat(json_schema=s.schema), end=s.end) for s in asked.structures]
    return TriggeredTags(triggers=asked.triggers, tags=tuple(tags))
