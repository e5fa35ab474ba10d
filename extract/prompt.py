"""The prompt of a document: a template with {document}, {schema} and the names of the row's other fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..engine.types import ModelInfo, RootformError
from .files import read_text

# Instructions and schema first, document last: the first two are the same for every row, and computed once.
_GENERAL = """\
Extract from the document what the JSON Schema describes. Copy values as the document states them; where it states \
nothing, use null or leave the property out, as the schema allows. Answer with JSON only.

JSON Schema:
{schema}

Document:
{document}"""
_CUE = "\n\nJSON:\n"  # for models without a chat template, which would otherwise go on writing the document

_PIECE = re.compile(r"(?P<braces>\{\{|\}\})|\{(?P<name>[^{}]*)\}|(?P<stray>[{}])")
_NAME = re.compile(r"[^\W\d](?:[\w .-]*\w)?")
_SPACE_OUTSIDE_STRINGS = re.compile(r'("(?:[^"\\]|\\.)*")|\s+')


@dataclass(frozen=True)
class Template:
    """Literal text and names by turns: literals[0], names[0], literals[1], ... literals[-1]."""

    literals: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names that must be fields of the row, each once."""
        return tuple(dict.fromkeys(name for name in self.names if name not in ("document", "schema")))

    def render(self, document: str, schema: str, fields: Mapping[str, str]) -> str:
        """The prompt's text. fields: a value for each name of `self.fields`."""
        values = {**fields, "document": document, "schema": schema}
        parts = [self.literals[0]]
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            parts += (values[name], literal)
        return "".join(parts)


def parse_template(text: str, where: str) -> Template:
    """Read a template; only plain names stand in braces, {{ and }} are braces. Raises RootformError with line, column.

    where: what the messages call it.
    """
    literals, names, end = [""], [], 0
    for piece in _PIECE.finditer(text):
        literals[-1] += text[end : piece.start()]
        end = piece.end()
        if piece["braces"]:
            literals[-1] += piece["braces"][0]
        elif piece["stray"] or not _NAME.fullmatch(piece["name"]):
            line = text.count("\n", 0, piece.start()) + 1
            column = piece.start() - (text.rfind("\n", 0, piece.start()) + 1) + 1
            raise RootformError(
                f"{where}, line {line}, column {column}: {piece[0]!r} is no field name; "
                "write {{ and }} for braces that belong to the text"
            )
        else:
            names.append(piece["name"])
            literals.append("")
    literals[-1] += text[end:]
    if "document" not in names:
        raise RootformError(f"{where}: {{document}} is missing, so the model would never see the document; add it")
    return Template(tuple(literals), tuple(names))


def read_template(path: Path) -> Template:
    """The template in a file, without the newlines at its end. Line ends of Windows are those of others."""
    text = read_text(path, "prompt").replace("\r\n", "\n")
    return parse_template(text.rstrip("\n"), f"prompt {path}")


def default_template(info: ModelInfo) -> Template:
    """How this model wants documents put to it, or the general extraction prompt."""
    if info.extract_prompt is not None:
        template = parse_template(info.extract_prompt, f"the extraction prompt of model {info.name}")
        if template.fields:
            raise RootformError(
                f"the extraction prompt of model {info.name} asks for {template.fields[0]!r}; it may use only "
                "{document} and {schema}: mend it, or give another with --prompt"
            )
        return template
    return parse_template(_GENERAL + ("" if info.has_chat_template else _CUE), "the general prompt")


def compact_json(text: str) -> str:
    """JSON text without whitespace outside strings; nothing else changes."""
    return _SPACE_OUTSIDE_STRINGS.sub(lambda found: found[1] or "", text)
