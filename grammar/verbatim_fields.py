"""Where in its document each verbatim value of an output stands."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache

import msgspec

from .constraints import JsonSchema, VerbatimField
from .pools import current, using
from .schema_accepts import is_listed
from .schema_compile import read_schema
from .schema_document import pointer_step
from .schema_notes import Notes
from .schema_rules import ArrayRule, Conj, ObjectRule, StringRule
from .schema_text import Json
from .verbatim import occurrence

_MOST_SCHEMAS = 32  # read ones that are kept


def verbatim_fields(constraint: JsonSchema, text: str) -> tuple[VerbatimField, ...]:
    """The verbatim values of an output that the constraint accepts, in its order; none when it is not whole JSON."""
    if constraint.document is None or not constraint.may_be_verbatim:
        return ()
    try:
        value = json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError:
        return ()
    finder = _finder(msgspec.structs.replace(constraint, document=None))
    return tuple(finder.find(value, constraint.document))


class _Finder:
    """Finds the verbatim values of one schema, whatever the document."""

    def __init__(self, constraint: JsonSchema) -> None:
        self._pool = current().fork()
        self._lock = threading.Lock()
        self._schema = read_schema(constraint, Notes(strict=False))

    def find(self, value: Json, document: str) -> list[VerbatimField]:
        with self._lock, using(self._pool):
            return self._at(self._schema.root, value, "", document) or []

    def _at(self, conj: Conj, value: Json, pointer: str, document: str) -> list[VerbatimField] | None:
        """The fields inside a value; None: the value is not as `conj` asks."""
        if not conj or not isinstance(value, str | list | dict):
            return [] if self._schema.accepts(conj, value) else None
        shape = self._schema.shape(conj)
        rules = shape.strings if isinstance(value, str) else shape.arrays if isinstance(value, list) else shape.objects
        for rule in rules:
            if is_listed(rule.values, value) and (len(rules) == 1 or self._schema.follows(rule, value)):
                found = self._following(rule, value, pointer, document)
                if found is not None:
                    return found
        return None

    def _following(
        self, rule: StringRule | ArrayRule | ObjectRule, value: Json, pointer: str, document: str
    ) -> list[VerbatimField] | None:
        """The fields inside a value that follows a rule, as far as that can be told without the document."""
        if isinstance(rule, StringRule):
            if rule.verbatim is None:
                return []
            start = occurrence(document, value, words=rule.verbatim == "words")
            return None if start is None else [VerbatimField(pointer, start, start + len(value))]
        fields: list[VerbatimField] = []
        for conj, item, step in self._inside(rule, value):
            found = self._at(conj, item, f"{pointer}/{step}", document)
            if found is None:
                return None
            fields += found
        return fields

    def _inside(self, rule: ArrayRule | ObjectRule, value: Json) -> Iterator[tuple[Conj, Json, str]]:
        """The schema, the value and the pointer's step of each part."""
        if isinstance(rule, ArrayRule):
            for index, item in enumerate(value):
                yield rule.elements.at(index), item, str(index)
        else:
            for name, item in value.items():
                yield self._schema.member(rule, name), item, pointer_step(name)


@lru_cache(_MOST_SCHEMAS)
def _finder(constraint: JsonSchema) -> _Finder:
    return _Finder(constraint)
