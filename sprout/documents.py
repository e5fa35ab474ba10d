"""Generated documents: a text, and an answer whose every value stands in that text or is null."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass

from .templates import KINDS, Kind
from .values import Source

MAX_VALUE_CHARACTERS = 160
PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Document:
    """A text of some kind, and the answer: key -> the verbatim value, or None where the text has none."""

    kind: str
    text: str
    answer: dict[str, str | None]


def make_document(rng: random.Random, held_out: bool = False, as_shipped: bool = False) -> Document:
    """A fresh document. held_out: values from the pools' other part. as_shipped: asked with the shipped schema."""
    name = rng.choice(list(KINDS))
    kind, source = KINDS[name], Source(rng, held_out)
    made = {field: maker(source) for field, maker in kind.makers.items()}
    if len(set(made.values())) < len(made):
        return make_document(rng, held_out, as_shipped)
    kept = {field: value for field, value in made.items() if rng.random() > 0.15}
    text, used = labelled_text(kind, kept, rng) if rng.random() < 0.25 else prose(kind, kept, rng)
    if rng.random() < 0.06:
        text, used = text.lower(), {field: value.lower() for field, value in used.items()}
    answer = shipped_answer(kind, used) if as_shipped else choose_answer(kind, used, rng)
    return Document(name, text, answer)


def prose(kind: Kind, values: dict[str, str], rng: random.Random) -> tuple[str, dict[str, str]]:
    """A template's clauses for the values at hand, and the values that came to stand in the text."""
    clauses = rng.choice(kind.templates).split("|")
    parts: list[str] = []
    used: dict[str, str] = {}
    for clause in clauses:
        fields = PLACEHOLDER.findall(clause)
        small_talk = not fields and any(character.isalnum() for character in clause)
        if any(field not in values for field in fields) or (small_talk and rng.random() < 0.5):
            continue
        parts.append(PLACEHOLDER.sub(lambda match: values[match[1]], clause))
        used |= {field: values[field] for field in fields}
    text = tidy("".join(parts))
    if not used or any(value not in text for value in used.values()):
        return labelled_text(kind, values or {}, rng)
    return text, used


def tidy(text: str) -> str:
    """The text without the loose punctuation that a clause left out leaves behind."""
    text = re.sub(r"^[\s,;:.)/|>-]+", "", text)
    text = re.sub(r"\(\s*\)|\[\s*\]|<\s*>", "", text)
    text = re.sub(r"([.,;:!?(])(?:[ ]*[.,;:])+", r"\1", text)
    return re.sub(r"[ ,;:(/|-]+$", "", text).replace("  ", " ")


def labelled_text(kind: Kind, values: dict[str, str], rng: random.Random) -> tuple[str, dict[str, str]]:
    """The values as a list with labels, in any order and one of several layouts."""
    fields = list(values)
    rng.shuffle(fields)
    between = rng.choice([": ", ": ", ": ", " - ", " = ", " "])
    divider = rng.choice(["\n", "\n", "\n", "; ", ", ", " | ", ". "])
    entries = [rng.choice(kind.labels[field]) + between + values[field] for field in fields]
    if rng.random() < 0.35 or not entries:
        entries.insert(0, rng.choice(kind.headings))
    return divider.join(entries), dict(values)


def shipped_answer(kind: Kind, used: dict[str, str]) -> dict[str, str | None]:
    """All fields, in the order and under the names of the shipped schema."""
    return {names[0]: used.get(field) for field, names in kind.fields.items()}


def choose_answer(kind: Kind, used: dict[str, str], rng: random.Random) -> dict[str, str | None]:
    """Which fields are asked for, in which order and under which names: a different choice every time."""
    fields = list(kind.fields)
    if rng.random() < 0.7:
        rng.shuffle(fields)
    if rng.random() < 0.5:
        fields = fields[: rng.randint(2, len(fields))]
    answer: dict[str, str | None] = {}
    for field in fields:
        names = kind.fields[field]
        name = names[0] if rng.random() < 0.6 else rng.choice(names)
        answer[name] = used.get(field)
    return answer


def compact(answer: dict[str, str | None]) -> str:
    """The answer as the model writes it."""
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))


def schema(name: str) -> dict[str, object]:
    """The shipped JSON Schema of one kind: every field required, a string or null."""
    value = {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_VALUE_CHARACTERS}
    fields = [names[0] for names in KINDS[name].fields.values()]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"What one of the {name} says, word for word",
        "type": "object",
        "properties": dict.fromkeys(fields, value),
        "required": fields,
        "additionalProperties": False,
    }
