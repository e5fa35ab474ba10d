"""What a lenient schema leaves out, and whether a value is right all the same.

The grammar of a lenient schema takes more than the schema does, so values are held against the whole schema when they
are complete: by the jsonschema package, in which numbers stay exact and formats, `nullable` and verbatim values mean
what they mean to the grammar. Patterns are matched by the grammar room, and those that it cannot express by the regex
package with a limit on time: each pattern is replaced by one that lists the strings of the value which it matches, so
that no pattern of a stranger's is ever run by Python's own engine, which cannot be stopped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NoReturn

import msgspec
import regex
from jsonschema import validators
from jsonschema.exceptions import ValidationError
from jsonschema_specifications import REGISTRY as METASCHEMAS
from referencing import Resource, Specification
from referencing.jsonschema import specification_with

from ..grammar import formats
from ..grammar.constraints import Draft, JsonSchema
from ..grammar.errors import GrammarError
from ..grammar.expr import POOL
from ..grammar.numbers import exact
from ..grammar.pools import using
from ..grammar.schema_compile import compile_read, read_schema
from ..grammar.schema_document import MAP_KEYWORDS, child
from ..grammar.schema_keywords import draft_of
from ..grammar.schema_notes import Notes
from ..grammar.schema_strings import inside_quotes, matches
from ..grammar.schema_text import MAX_EXPONENT, Json, parse
from ..grammar.verbatim import occurrence
from ..grammar.work import tick
from .types import Lenience, Refusal

_MOST_SCHEMAS = 64  # whose refusals are kept
_PATTERN_S = 0.5  # for one pattern that the grammar room cannot express, and one string
_DATA = frozenset({"const", "default", "enum", "example", "examples", "x-rootform"})  # keywords whose value is data
_URIS: dict[Draft, str] = {
    "openapi-3.0": "http://json-schema.org/draft-04/schema#",
    "4": "http://json-schema.org/draft-04/schema#",
    "6": "http://json-schema.org/draft-06/schema#",
    "7": "http://json-schema.org/draft-07/schema#",
    "2019-09": "https://json-schema.org/draft/2019-09/schema",
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
}

_Check = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class _Unjudged(Exception):
    """Why a value cannot be held against its schema."""


def dropped_from(constraint: JsonSchema) -> tuple[Refusal, ...]:
    """What was left out of a lenient constraint. Raises GrammarError when even so it cannot be compiled."""
    return _dropped(msgspec.structs.replace(constraint, document=None), constraint.document is not None)


@lru_cache(_MOST_SCHEMAS)
def _dropped(constraint: JsonSchema, has_document: bool) -> tuple[Refusal, ...]:
    notes = Notes(strict=False, has_document=has_document, served=True)
    with using(POOL.fork()):
        compile_read(read_schema(constraint, notes), constraint, notes)
    return tuple(notes.refused.values())


def judge(constraint: JsonSchema, text: str) -> Lenience:
    """What was left out of a lenient constraint, and whether `text` is a value of the whole schema.

    Where nothing was left out the grammar itself has seen to it, and only broken off text is told. Keeps to the limit
    of work that it is called in: raises GrammarError where that is passed.
    """
    dropped = dropped_from(constraint)
    try:
        reason = _why_wrong(constraint, _value(text), bool(dropped))
    except _Unjudged as error:
        reason = str(error)
    return Lenience(dropped, not reason, reason)


def _value(text: str) -> Json:
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except RecursionError:
        raise _Unjudged("cannot be checked: nested too deeply") from None
    except (ValueError, InvalidOperation) as error:
        raise _Unjudged(f"is not whole JSON: {error}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _why_wrong(constraint: JsonSchema, value: Json, is_widened: bool) -> str:
    """Why the schema does not accept a value, by the first keyword at fault; "" when it does."""
    if not is_widened:
        return ""
    with using(POOL.fork()):
        try:
            return _Checker(constraint, value).why_wrong()
        except (GrammarError, _Unjudged):
            raise
        except RecursionError:
            raise _Unjudged("cannot be checked: nested too deeply") from None
        except Exception as error:  # whatever a keyword that makes no sense leads to
            raise _Unjudged(f"cannot be checked: {type(error).__name__}: {error}") from error


class _Checker:
    """One value and the schema it is to be held against."""

    def __init__(self, constraint: JsonSchema, value: Json) -> None:
        self._value = value
        self._document = constraint.document
        self._strings = sorted(set(_strings(value)))
        self._names: dict[str, str] = {}  # patterns as they are put to jsonschema, and as the schema has them
        self._given = {uri for uri, _ in constraint.documents}  # perhaps a metaschema among them
        schema = parse(constraint.schema)
        said = schema.get("$schema") if isinstance(schema, dict) else None
        self._draft: Draft = constraint.draft or draft_of(said if isinstance(said, str) else "") or "2020-12"
        self._may_differ = said if constraint.draft else None
        self._schema = self._adapted(schema, is_root=True)
        specification = specification_with(_URIS[self._draft])
        self._registry = METASCHEMAS.with_resources(
            (uri, self._resource(text, specification)) for uri, text in constraint.documents
        )

    def why_wrong(self) -> str:
        """The first fault, "" when there is none."""
        validator = self._validator()(self._schema, registry=self._registry)
        error = next(validator.iter_errors(self._value), None)
        if error is None:
            return ""
        where = child("", *error.absolute_path) or "the value"
        steps = [self._names.get(step, step) if isinstance(step, str) else step for step in error.absolute_schema_path]
        return f"{where} is not as #{child('', *steps)} asks"

    def _resource(self, text: str, specification: Specification[Any]) -> Resource[Any]:
        return Resource(self._adapted(parse(text), is_root=True), specification)

    def _adapted(self, schema: Json, *, is_root: bool = False) -> Json:
        """A schema with patterns that list what they match, and without a word on its draft."""
        tick()
        if isinstance(schema, list):
            return [self._adapted(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        adapted = {}
        for keyword, value in schema.items():
            if keyword == "$schema":  # which means nothing inside of a resource
                if is_root or "$id" in schema or "id" in schema:
                    self._same_draft(value)
            elif keyword in _DATA:
                adapted[keyword] = value
            elif keyword == "pattern" and isinstance(value, str):
                adapted[keyword] = self._listing(value)
            elif keyword in MAP_KEYWORDS and isinstance(value, dict):
                name = self._listing if keyword == "patternProperties" else str
                adapted[keyword] = {name(each): self._adapted(part) for each, part in value.items()}
            else:
                adapted[keyword] = self._adapted(value)
        return _renamed(adapted, self._draft)

    def _same_draft(self, said: Json) -> None:
        uri = said if isinstance(said, str) else ""
        if said != self._may_differ and (draft_of(uri) not in (None, self._draft) or uri in self._given):
            raise _Unjudged("cannot be checked: its schemas are of several drafts, or of one that is given beside it")

    def _listing(self, pattern: str) -> str:
        found = [re.escape(text) for text in self._strings if _is_found(pattern, text)]
        listing = f"(?#{len(self._names)})" + (rf"\A(?:{'|'.join(found)})\Z" if found else "(?!)")
        self._names[listing] = pattern
        return listing

    def _validator(self) -> Any:
        base = validators.validator_for({"$schema": _URIS[self._draft]})
        checks = base.VALIDATORS | {
            "dependencies": validators.Draft7Validator.VALIDATORS["dependencies"],
            "format": _format,
            "multipleOf": _multiple_of,
            "x-rootform": self._extensions,
        }
        kinds = base.TYPE_CHECKER.redefine_many({"integer": _is_integer, "number": _is_number})
        return validators.extend(base, {name: _limited(check) for name, check in checks.items()}, type_checker=kinds)

    def _extensions(self, _: Any, options: Any, value: Any, __: Any) -> Iterator[ValidationError]:
        asked = options.get("verbatim") if isinstance(options, dict) else None
        if asked and isinstance(value, str):
            document = self._document
            if document is None or occurrence(document, value, words=asked == "words") is None:
                yield ValidationError("stands nowhere in the document")


def _renamed(schema: dict[str, Json], draft: Draft) -> dict[str, Json]:
    """A schema in which what the draft has only renamed has its new name, as the grammar room reads it."""
    for keyword, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        is_exclusive = schema.get(keyword)
        if draft not in ("openapi-3.0", "4") and isinstance(is_exclusive, bool):
            del schema[keyword]
            if is_exclusive and bound in schema:
                schema[keyword] = schema.pop(bound)
    if draft == "2020-12" and isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
        if "additionalItems" in schema:
            schema["items"] = schema.pop("additionalItems")
    if draft == "openapi-3.0" and schema.get("nullable") is True and "type" in schema:
        named = schema["type"]
        schema["type"] = [*(named if isinstance(named, list) else [named]), "null"]
    return schema


# -- keywords ---------------------------------------------------------------------------------------------------------


def _limited(check: _Check) -> _Check:
    """The check of a keyword, which keeps to the limit of the work."""

    def limited(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        tick()
        yield from check(validator, value, instance, schema) or ()

    return limited


def _format(_: Any, name: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    if not isinstance(value, str) or not isinstance(name, str) or not formats.is_known(name):
        return
    if not POOL.fullmatch(formats.body(name), inside_quotes(value)):
        yield ValidationError(f"not of the format {name}")


def _multiple_of(_: Any, step: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    if not _is_number(None, value):
        return
    if isinstance(value, Decimal) and (abs(value.adjusted()) > MAX_EXPONENT or len(value.as_tuple().digits) > 4000):
        raise _Unjudged(f"cannot be checked: {str(value)[:40]} has too many digits for multipleOf")
    if (exact(value) / exact(step)).denominator != 1:
        yield ValidationError("not a multiple")


def _is_number(_: Any, value: Any) -> bool:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def _is_integer(_: Any, value: Any) -> bool:
    return _is_number(_, value) and value == (value if isinstance(value, int) else value.to_integral_value())


# -- strings ----------------------------------------------------------------------------------------------------------


def _is_found(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text."""
    tick()
    try:
        return matches(pattern, text)
    except GrammarError as error:
        if error.where == "constraint":  # the limit of the work
            raise
    try:
        return regex.search(pattern, text, timeout=_PATTERN_S, concurrent=True) is not None
    except TimeoutError:
        raise _Unjudged(f"cannot be checked: the pattern {pattern[:60]!r} takes too long") from None
    except regex.error as error:
        raise _Unjudged(f"cannot be checked: the pattern {pattern[:60]!r} cannot be read: {error}") from None


def _strings(value: Json) -> Iterator[str]:
    """All strings of a value, names of members too."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            todo += item
        elif isinstance(item, dict):
            todo += [*item, *item.values()]
