"""Rows: records of which the document, the id and the fields of the prompt have been read."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from ..engine.types import RootformError
from .records import BadRow, Record, Source, Value, digest_of, records, stamp_of


@dataclass(frozen=True)
class Row:
    """One document. number: its place in the input, from 0. line: where it starts in the file, from 1.

    id: JSON text, as the input has it; the line number where the input has none.
    fields: the other fields the prompt asks for, as text.
    """

    number: int
    line: int
    id: str
    text: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Fields:
    """What is read of each row: the document, the id, and the fields the prompt names.

    Rows may do without the field for ids as it is called by default; one that was asked for by name has to be there.
    """

    text: str = "text"
    id: str = "id"
    prompt: tuple[str, ...] = ()

    @property
    def needed(self) -> set[str]:
        """What some row at least must have."""
        return {self.text, *self.prompt} | ({self.id} - {Fields.id})


@dataclass(frozen=True)
class Survey:
    """What a first reading found. rows: good and bad. digest: of the bytes. stamp: changes when the file does."""

    rows: int
    digest: str
    stamp: tuple[int, int]


def survey(source: Source, fields: Fields) -> Survey:
    """Read the input once: count its rows, and refuse what would fail in every row.

    Raises RootformError when the text is not UTF-8 and cannot be taken apart into rows, when a CSV's header or quotes
    are broken, when no row can be read, and when no row at all has a field that is needed.
    """
    stamp, digest = stamp_of(source), digest_of(source)
    missing = fields.needed
    rows, seen, first_bad = 0, None, None
    for record in records(source):
        rows += 1
        if isinstance(record, Record):
            seen = list(record.values) if seen is None else seen
            missing -= record.values.keys()
        else:
            first_bad = first_bad or record
    if seen is None and first_bad is not None:
        raise RootformError(f"{source.name}: no row can be read; {first_bad.reason}{_whole_array(source)}")
    if seen is not None and missing:
        _refuse_missing(source, fields, missing, seen)
    return Survey(rows, digest, stamp)


def read_rows(source: Source, fields: Fields) -> Iterator[Row | BadRow]:
    """Every row of the input, in order, from the beginning."""
    for record in records(source):
        yield _row(record, fields) if isinstance(record, Record) else record


def refuse_changed(source: Source, found: Survey) -> None:
    """Raise RootformError when the input is no longer what the survey saw."""
    if stamp_of(source) != found.stamp:
        raise RootformError(
            f"{source.name} changed while it was read, so its rows cannot be trusted; run again with --restart "
            "when nothing writes to it any more"
        )


def _row(record: Record, fields: Fields) -> Row | BadRow:
    given = record.values.get(fields.id)
    row_id = str(record.line) if given is None else _as_json(given)
    missing = [name for name in (fields.text, *fields.prompt) if name not in record.values]
    if missing:
        reason = f"line {record.line}: there is no field {missing[0]!r}; the fields are {_names(record.values)}"
        return BadRow(record.number, record.line, row_id, "missing field", reason)
    text = _string(record.values[fields.text])
    if text is None:
        reason = f"line {record.line}: field {fields.text!r} is not a string, so it is no document"
        return BadRow(record.number, record.line, row_id, "document is not text", reason)
    asked = {name: _as_text(record.values[name]) for name in fields.prompt}
    return Row(record.number, record.line, row_id, text, asked)


def _as_json(value: Value) -> str:
    return msgspec.json.encode(value).decode()


def _string(value: Value) -> str | None:
    """The text of a string, None for any other JSON value."""
    if isinstance(value, str):
        return value
    return msgspec.json.decode(value, type=str) if bytes(value).startswith(b'"') else None


def _as_text(value: Value) -> str:
    """How a value stands in a prompt: strings as they are, everything else as JSON."""
    text = _string(value)
    return _as_json(value) if text is None else text


def _names(values: Collection[str]) -> str:
    shown = [repr(name) for name in values][:12]
    return ", ".join(shown) + (", ..." if len(values) > len(shown) else "") if shown else "none"


def _whole_array(source: Source) -> str:
    """What to do about a file that is one JSON array, "" for any other."""
    source.file.seek(0)
    is_array = source.format == "jsonl" and source.file.read(64).removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"["
    return f"; if the file is one array: jq -c '.[]' {source.name} makes lines of its elements" if is_array else ""


def _refuse_missing(source: Source, fields: Fields, missing: set[str], seen: list[str]) -> None:
    delimiter = next((mark for mark in ";\t|" if len(seen) == 1 and source.format != "jsonl" and mark in seen[0]), None)
    if delimiter is not None:
        wanted = fields.text
        advice = f"if {delimiter!r} stands between columns, say so with " + (
            "--format tsv" if delimiter == "\t" else f"--delimiter {delimiter!r}"
        )
    elif fields.text in missing:
        wanted, advice = fields.text, "name the one that holds the document with --text-field"
    elif fields.id in missing:
        wanted, advice = fields.id, "name the one that holds the id with --id-field"
    else:
        wanted, advice = min(missing), "the prompt may name only fields of the rows (write {{ and }} for plain braces)"
    raise RootformError(
        f"{source.name}: no row has a field {wanted!r}; the fields of the first row are {_names(seen)}: {advice}"
    )
