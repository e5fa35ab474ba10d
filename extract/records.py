"""Records in: JSON lines, CSV or TSV, packed or not, from a file or standard input, read as often as needed.

A record that cannot be read is a row all the same: it becomes a BadRow with a reason, and reading goes on after it.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import hashlib
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import msgspec

from ..engine.types import RootformError

Format = Literal["jsonl", "csv", "tsv"]
Value = str | msgspec.Raw
"""A field as it was read: text of a CSV cell, or the JSON text of a value."""

_CHUNK_BYTES = 2**20
_MOST_CELL_CHARACTERS = 2**31 - 1
_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PACKED_MARK = b"\x1f\x8b"
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_FOREIGN_MARKS = {
    b"PAR1": "a Parquet file; write its rows as JSON lines, as pandas' to_json(..., orient='records', lines=True) does",
    b"PK\x03\x04": "a ZIP archive (as .xlsx files are, too); unpack it, or save the sheet as CSV in UTF-8",
    b"%PDF": "a PDF; extract its text first, and give one JSON object for each document",
}


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used. id: JSON text, null where it is unknown. kind: a few words to count by.

    reason: what is wrong, in full.
    """

    number: int
    line: int
    id: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Record:
    """A row before anything was asked of it."""

    number: int
    line: int
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Source:
    """An open input. name: for messages. delimiter: between the cells of CSV and TSV."""

    file: IO[bytes]
    name: str
    format: Format
    delimiter: str = ","


@contextlib.contextmanager
def open_source(path: str, format: Format | None = None, delimiter: str | None = None) -> Iterator[Source]:
    """Open the input; "-" is standard input. What cannot be read twice (a pipe, gzip) is kept in a temporary file.

    format None: by the end of the name, .csv or .tsv (.gz behind it or not), else JSON lines. delimiter None: a comma,
    or a tab in TSV. Raises RootformError when it cannot be read, or is a file of another kind.
    """
    format = format or _format_of(path)
    if delimiter is not None and format == "jsonl":
        raise RootformError("--delimiter is about CSV; name the format with --format csv, or leave it out")
    name = "standard input" if path == "-" else path
    if path != "-" and Path(path).is_dir():
        what = 'a file of JSON lines, {"id": ..., "text": ...} for each document'
        raise RootformError(f"input {path}: this is a folder; give {what}")
    try:
        with contextlib.ExitStack() as stack:
            file = sys.stdin.buffer if path == "-" else stack.enter_context(Path(path).open("rb"))
            if path == "-" or not file.seekable():
                file = _copied(file, stack.enter_context(tempfile.TemporaryFile(prefix="rootform-")))
            if _begins_with(file, _PACKED_MARK):
                packed = gzip.GzipFile(fileobj=file)
                file = _copied(packed, stack.enter_context(tempfile.TemporaryFile(prefix="rootform-")))
            opened = stack.pop_all()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise RootformError(f"input {name}: the gzip file is damaged: {error}; pack it again") from None
    except OSError as error:
        raise RootformError(f"input {name}: cannot be read: {error.strerror}; check the path") from None
    with opened:
        source = Source(file, name, format, delimiter or _DELIMITERS.get(format, ","))
        _refuse_foreign(source)
        yield source


def _format_of(path: str) -> Format:
    plain = path.lower().removesuffix(".gz")
    return "csv" if plain.endswith(".csv") else "tsv" if plain.endswith(".tsv") else "jsonl"


def _begins_with(file: IO[bytes], mark: bytes) -> bool:
    start = file.read(len(mark))
    file.seek(0)
    return start == mark


def _copied(file: IO[bytes] | gzip.GzipFile, copy: IO[bytes]) -> IO[bytes]:
    """`copy` with the same bytes, at its beginning."""
    while chunk := file.read(_CHUNK_BYTES):
        copy.write(chunk)
    copy.seek(0)
    return copy


def _refuse_foreign(source: Source) -> None:
    """Refuse what is no text, or UTF-16: every row of it would fail."""
    start = source.file.read(8)
    source.file.seek(0)
    for mark, what in _FOREIGN_MARKS.items():
        if start.startswith(mark):
            raise RootformError(f"{source.name}: this is {what}")
    if start.startswith(_WIDE_MARKS):
        raise RootformError(f"{source.name}: this is UTF-16 (it starts with its byte order mark); save it as UTF-8")


def records(source: Source) -> Iterator[Record | BadRow]:
    """Every record of the input, in order, from the beginning; blank lines are not records."""
    source.file.seek(0)
    return _json_records(source) if source.format == "jsonl" else _csv_records(source)


# -- JSON lines -----------------------------------------------------------------------------------------------------


def _json_records(source: Source) -> Iterator[Record | BadRow]:
    offset = number = 0
    for line, raw in enumerate(source.file, 1):
        body = raw.removeprefix(codecs.BOM_UTF8) if line == 1 else raw
        if body.strip():
            yield _json_record(number, line, body, offset + len(raw) - len(body))
            number += 1
        offset += len(raw)


def _json_record(number: int, line: int, raw: bytes, offset: int) -> Record | BadRow:
    """offset: of the line in the file, in bytes."""
    try:
        raw.decode()
        return Record(number, line, _DECODER.decode(raw))
    except UnicodeDecodeError as error:
        kind, reason = "not UTF-8", _not_utf8(line, offset + error.start, raw[error.start])
    except msgspec.ValidationError as error:
        kind, reason = "not a JSON object", f"line {line}: {error}; each line must be one JSON object"
    except msgspec.DecodeError as error:
        kind, reason = "malformed JSON", f"line {line}: {error}"
    except RecursionError:
        kind, reason = "malformed JSON", f"line {line}: nested too deeply to be read"
    return BadRow(number, line, "null", kind, reason)


def _not_utf8(line: int, offset: int, byte: int) -> str:
    return f"line {line}: byte 0x{byte:02x} at offset {offset} of the file is not UTF-8; save the file as UTF-8"


# -- CSV ------------------------------------------------------------------------------------------------------------


def _csv_records(source: Source) -> Iterator[Record | BadRow]:
    csv.field_size_limit(_MOST_CELL_CHARACTERS)  # the module's own limit is 131,072 characters, less than a report
    reader = csv.reader(_csv_lines(source), delimiter=source.delimiter, strict=True)
    header = _csv_header(source, reader)
    number, line = 0, reader.line_num + 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield _csv_broken(source, number, line, str(error))
            cells = []
            number += 1
        if cells is None:
            return
        if cells:
            yield _csv_record(number, line, header, cells)
            number += 1
        line = reader.line_num + 1


def _csv_lines(source: Source) -> Iterator[str]:
    """Lines as text, ends kept. A quoted cell may span lines, so a line that is not UTF-8 cannot be left out."""
    offset = 0
    for line, raw in enumerate(source.file, 1):
        body = raw.removeprefix(codecs.BOM_UTF8) if line == 1 else raw
        try:
            yield body.decode()
        except UnicodeDecodeError as error:
            place = offset + len(raw) - len(body) + error.start
            raise RootformError(
                f"{source.name}, {_not_utf8(line, place, body[error.start])}; nothing was done"
            ) from None
        offset += len(raw)


def _csv_header(source: Source, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise RootformError(f"{source.name}, line 1: the header is not CSV: {error}") from None
    if not header:
        raise RootformError(f"{source.name}: line 1 must name the columns, and it is empty")
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise RootformError(
            f"{source.name}, line 1: two columns are called {min(twice)!r}; give each a name of its own"
        )
    return header


def _csv_broken(source: Source, number: int, line: int, error: str) -> BadRow:
    if "unexpected end" in error:
        raise RootformError(
            f"{source.name}, line {line}: a quote opened in this row is never closed, so the rest of the file is "
            "inside it; close it (a quote inside a quoted cell is written twice); nothing was done"
        )
    return BadRow(number, line, "null", "malformed CSV", f"line {line}: {error}")


def _csv_record(number: int, line: int, header: list[str], cells: list[str]) -> Record | BadRow:
    if len(cells) != len(header):
        reason = f"line {line}: {len(cells)} cells, but the header names {len(header)} columns"
        return BadRow(number, line, "null", "wrong number of cells", reason)
    return Record(number, line, dict(zip(header, cells, strict=True)))


# -- the file itself ------------------------------------------------------------------------------------------------


def digest_of(source: Source) -> str:
    """sha-256 of all bytes, in hex."""
    source.file.seek(0)
    digest = hashlib.sha256()
    while chunk := source.file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def stamp_of(source: Source) -> tuple[int, int]:
    """Size and time of change: another one means that the file was written to."""
    state = os.fstat(source.file.fileno())
    return state.st_size, state.st_mtime_ns
