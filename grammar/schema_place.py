"""The keywords of one schema object: which of them count, and their values, where these are what they must be."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from .errors import GrammarError
from .numbers import exact
from .regex import compile_pattern
from .schema_alike import Inner
from .schema_document import Scope, child
from .schema_keywords import (
    ANNOTATIONS,
    ENFORCED,
    EXTENSIONS,
    INSTEAD,
    MAX_LEAST,
    NEEDS,
    OF_SOME_DRAFTS,
    REFUSED,
    TYPES,
    Draft,
    is_free,
    is_of,
    likely_meant,
)
from .schema_notes import Notes
from .schema_rules import (
    NEVER,
    Conj,
    Literal,
    identity,
)
from .schema_text import Json

_TO_BE_NOTED = NEEDS.keys() | REFUSED.keys()


class Place(NamedTuple):
    """A schema object with all that tells how it is read. scope: the dynamic scope inside it.

    inner: what inner schemas are; None: each is itself.
    """

    name: str
    schema: dict[str, Json]
    draft: Draft
    scope: Scope
    unread: frozenset[str] = frozenset()
    inner: Inner | None = None


class Keywords:
    """What one schema object says, keyword by keyword; what it cannot say goes to the notes."""

    def __init__(self, place: Place, notes: Notes, *, tracked: bool) -> None:
        self.place = place.name
        self.schema = place.schema
        self.notes = notes
        self._scope = place.scope
        self._draft = place.draft
        self._tracked = tracked
        self._inner = place.inner if not place.unread and not place.scope else None
        if not place.unread and self.schema.keys().isdisjoint(OF_SOME_DRAFTS):
            return
        out = [keyword for keyword in self.schema if keyword in place.unread or not is_of(keyword, place.draft)]
        if out:
            self.schema = {keyword: value for keyword, value in self.schema.items() if keyword not in out}
            self._leave_out(out)

    def _leave_out(self, keywords: list[str]) -> None:
        for keyword in keywords:
            instead = f": {INSTEAD[keyword]}" if keyword in INSTEAD else ""
            self.notes.ignore(self.place, keyword, f"is not a keyword of {self._draft}, as which this is read{instead}")
            said = f"{keyword!r} is not a keyword of {self._draft}, as which this is read; it asserts nothing{instead}"
            self.notes.warn(f"{self.place}: {said}")

    def sort_keywords(self) -> None:
        """Note for every keyword what becomes of it; a later finding about its value replaces the note."""
        if not self.notes.listing and self.schema.keys().isdisjoint(_TO_BE_NOTED):
            return
        for keyword in self.schema:
            if keyword in NEEDS:
                needed = NEEDS[keyword]
                if needed in self.schema:
                    self.notes.enforce(self.place, keyword)
                else:
                    self.notes.ignore(self.place, keyword, f"means nothing but beside {needed!r}")
            elif keyword in ENFORCED:
                self.notes.enforce(self.place, keyword)
            elif keyword in REFUSED:
                self.notes.refuse(self.place, keyword, *REFUSED[keyword])
            elif keyword in ANNOTATIONS:
                self.notes.ignore(self.place, keyword, ANNOTATIONS[keyword])
                if keyword == "$schema" and not self._is_resource():
                    self.notes.warn(f"{self.place}: '$schema' is not heeded in a schema without an '$id' of its own")
            else:
                self._unknown(keyword)

    def _is_resource(self) -> bool:
        """Whether the schema is the root of a resource: there alone a `$schema` may stand (2020-12 core, 8.1.1)."""
        own = self.schema.get("$id", self.schema.get("id") if self._draft == "4" else None)
        return self.place.endswith("#") or (isinstance(own, str) and not own.startswith("#"))

    def _unknown(self, keyword: str) -> None:
        if not self.notes.listing:
            return
        self.notes.ignore(self.place, keyword, "is not a keyword of JSON Schema")
        meant = None if keyword.startswith("x-") else likely_meant(keyword)
        if meant:
            self.notes.warn(f"{self.place}: {keyword!r} is not a keyword of JSON Schema; did you mean {meant!r}?")

    # -- types and values ---------------------------------------------------------------------------------------------

    def types(self) -> tuple[str, ...]:
        if "type" not in self.schema:
            return TYPES
        named = self.schema["type"]
        named = [named] if isinstance(named, str) else named
        if not isinstance(named, list) or not named:
            self._refuse("type", "must be the name of a type, or a list of names", f"use one of {', '.join(TYPES)}")
            return TYPES
        unknown = [name for name in named if name not in TYPES]
        if unknown:
            self._refuse("type", f"{unknown[0]!r} is not a type of JSON", f"use one of {', '.join(TYPES)}")
            return TYPES
        return (*named, "null") if self._is_nullable() else tuple(named)

    def _is_nullable(self) -> bool:
        """Whether null is one more type (OpenAPI 3.0.3, 4.7.24.2: beside `type` alone)."""
        nullable = self.schema.get("nullable", False)
        if not isinstance(nullable, bool):
            self._refuse("nullable", "must be true or false", "write true or false without quotes")
        return nullable is True

    def values(self) -> tuple[Json, ...] | None:
        if "const" in self.schema:
            const = (self.schema["const"],)
            return const if "enum" not in self.schema else self._both(const)
        return self._enum()

    def _enum(self) -> tuple[Json, ...] | None:
        if "enum" not in self.schema:
            return None
        values = self.schema["enum"]
        if not isinstance(values, list):
            self._refuse("enum", "must be a list of values", "list the values, or leave it out")
            return None
        return tuple(values)

    def _both(self, const: tuple[Json, ...]) -> tuple[Json, ...]:
        enum = self._enum()
        return const if enum is None or identity(const[0]) in map(identity, enum) else ()

    # -- values of keywords -------------------------------------------------------------------------------------------

    def _number(self, keyword: str) -> Fraction | None:
        value = self.schema.get(keyword)
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            return exact(value)
        if keyword in self.schema:
            self._refuse(keyword, "must be a number", "give a number without quotes")
        return None

    def _count(self, keyword: str) -> int | None:
        if keyword not in self.schema:
            return None
        value = self.schema[keyword]
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or value < 0 or value != int(value):
            self._refuse(keyword, "must be a whole number, 0 or greater", "give a number without quotes")
            return None
        if value > MAX_LEAST and keyword.startswith("min"):
            self._refuse(keyword, f"asks for more than {MAX_LEAST}", "lower it")
            return None
        return int(value)

    def _required(self) -> tuple[str, ...]:
        names = self.schema.get("required", [])
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(dict.fromkeys(names))
        self._refuse("required", "must be a list of names", "list the required names in the object that holds them")
        return ()

    def _map(self, keyword: str) -> dict[str, Json]:
        value = self.schema.get(keyword, {})
        if isinstance(value, dict):
            return value
        self._refuse(keyword, "must be an object of schemas", "give a schema for each name")
        return {}

    def _compiles(self, pattern: str, keyword: str) -> bool:
        try:
            compile_pattern(pattern, mode="search", encoding="plain")
        except GrammarError as error:
            self.notes.refuse_error(error, self.place, keyword)
            return False
        return True

    def _conj(self, *steps: str | int) -> Conj:
        value: Any = self.schema
        for step in steps:
            value = value[step]
        return self._at(child(self.place, *steps), value)

    def _at(self, place: str, schema: Json) -> Conj:
        """The schema at a place, or one like it."""
        if self._inner is not None:
            return self._inner.of(place, schema)
        if schema is False:
            return NEVER
        return () if is_free(schema) else (Literal(place, False, self._scope),)

    def _drop(self, keyword: str, reason: str) -> None:
        if keyword in self.schema:
            self.notes.enforced.pop((self.place, keyword), None)
            self.notes.ignore(self.place, keyword, reason)

    def _refuse(self, keyword: str, reason: str, rewrite: str) -> None:
        self.notes.refuse(self.place, keyword, reason, rewrite)

    # -- our own ------------------------------------------------------------------------------------------------------

    def _extension(self, name: str) -> Json:
        """What `x-rootform` says under this name; None where it says nothing."""
        said = self.schema.get("x-rootform", {})
        return said.get(name) if isinstance(said, dict) else None

    def check_extensions(self) -> None:
        """Refuse what `x-rootform` says that we do not know: nothing in it is ignored."""
        said = self.schema.get("x-rootform")
        if said is None and "x-rootform" not in self.schema:
            return
        if not isinstance(said, dict):
            self._refuse("x-rootform", "must be an object of options", f"use one of {', '.join(EXTENSIONS)}")
            return
        for name, value in said.items():
            if name not in EXTENSIONS:
                self._refuse("x-rootform", f"has no option {name!r}", f"use one of {', '.join(EXTENSIONS)}")
            elif not any(identity(value) == identity(known) for known in EXTENSIONS[name]):
                known = " or ".join(json.dumps(known) for known in EXTENSIONS[name])
                self._refuse("x-rootform", f"{name} cannot be {value!r}", f"say {known}")
            elif name == "verbatim" and "string" not in self.types():
                self._refuse("x-rootform", "verbatim is about strings", 'add "string" to the type, or leave it out')
