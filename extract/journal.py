"""The journal of a job: an append-only file beside the output, from which a killed job goes on.

One line per entry: eight hex digits of CRC-32, a space, JSON, a newline. The first entry is the Header, which says
whose job it is; then one outcome per finished row, in the order they finished; at the end Written, once the output
file stands. Every line goes to the operating system at once, so a killed process loses nothing; to the disk it goes
about once a second, so a power cut may cost the last second's rows, which are then done again.
"""

from __future__ import annotations

import os
import time
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from ..engine.types import RootformError
from .outcome import Answer, Failure, Outcome

try:
    import fcntl
except ImportError:  # not on Windows: there, nothing keeps two jobs from sharing a journal
    fcntl = None

VERSION = 1
_SYNC_EVERY_S = 1.0
_NOT_DONE = -1


class Header(msgspec.Struct, frozen=True, tag="job"):
    """Whose journal this is. parts: what decides the outcomes, by name (input, schema, ...), each a digest or text."""

    version: int
    parts: dict[str, str]


class Written(msgspec.Struct, frozen=True, tag="written"):
    """The output file was completed, with this sha-256."""

    digest: str


Entry = Header | Answer | Failure | Written
_DECODER: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def encode_entry(entry: Entry) -> bytes:
    """The entry's line."""
    text = msgspec.json.encode(entry)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_entries(file: BinaryIO) -> Iterator[tuple[int, int, Entry]]:
    """(start, stop, entry) of each sound line, in bytes from the start, up to the first that is torn or damaged."""
    file.seek(0)
    start = 0
    for line in file:
        entry = _decode(line)
        if entry is None:
            return
        yield start, start + len(line), entry
        start += len(line)


def _decode(line: bytes) -> Entry | None:
    """The entry of a line, None when it is not whole and sound."""
    digits, space, text = line[:8], line[8:9], line[9:-1]
    if space != b" " or not line.endswith(b"\n") or digits != b"%08x" % zlib.crc32(text):
        return None
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError:
        return None


class Journal:
    """An open journal, held by this process alone. Outcomes stay on disk; memory holds one offset per row.

    done, failed: how many rows have an outcome, and a bad one. written: digests of the outputs made, latest last.
    dropped_bytes: length of the torn or damaged end that was cut off when it was opened.
    """

    def __init__(self, path: Path, parts: dict[str, str], rows: int, *, restart: bool = False) -> None:
        """Open or create. restart: begin anew. Raises RootformError when it is another job's, in use, or unwritable."""
        self.path = path
        self.done = self.failed = self.dropped_bytes = 0
        self.written: list[str] = []
        self._offsets = array("q", [_NOT_DONE]) * rows
        self._failures = bytearray(rows)
        self._synced = time.monotonic()
        try:
            self._file = path.open("ab", buffering=0)
            self._reader = path.open("rb")
        except OSError as error:
            raise RootformError(
                f"journal {path}: cannot be written: {error.strerror}; choose another --output"
            ) from None
        try:
            self._lock()
            if restart:
                self._file.truncate(0)
            self._load(Header(VERSION, parts))
        except BaseException:
            self._release()
            raise

    def is_done(self, number: int) -> bool:
        """Whether the row has an outcome, good or bad."""
        return self._offsets[number] != _NOT_DONE

    def outcome(self, number: int) -> Outcome:
        """The latest outcome of a row that has one, read from the file."""
        self._reader.seek(self._offsets[number])
        entry = _decode(self._reader.readline())
        if not isinstance(entry, Answer | Failure):
            raise RootformError(f"journal {self.path}: the entry of row {number + 1} changed on disk; use --restart")
        return entry

    def outcomes(self) -> Iterator[Outcome]:
        """The outcomes of all rows that have one, in the order of the input."""
        return (self.outcome(number) for number in range(len(self._offsets)) if self.is_done(number))

    def record(self, outcome: Outcome) -> None:
        """Append an outcome; it outlives the process from here on."""
        self._index(self._append(outcome), outcome)
        if time.monotonic() - self._synced > _SYNC_EVERY_S:
            self.sync()

    def forget_failures(self) -> None:
        """Rows that failed count as not done, until they get a new outcome."""
        for number, failed in enumerate(self._failures):
            if failed:
                self._failures[number] = 0
                self._offsets[number] = _NOT_DONE
        self.done -= self.failed
        self.failed = 0

    def record_written(self, digest: str) -> None:
        """Note that the output is about to stand under its name."""
        self._append(Written(digest))
        self.written.append(digest)
        self.sync()

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and let go. The file stays."""
        if not self._file.closed:
            self.sync()
            self._release()

    def remove(self) -> None:
        """Let go and delete the file: the job is over."""
        self.path.unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        self._file.close()
        self._reader.close()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RootformError(f"journal {self.path}: another extraction is writing it; wait for it to end") from None

    def _load(self, header: Header) -> None:
        """Take over what is there; cut off a torn end."""
        end = 0
        for start, stop, entry in read_entries(self._reader):
            if start == 0 and entry != header:
                self._refuse(entry, header)
            self._take(start, entry)
            end = stop
        self.dropped_bytes = self._file.seek(0, os.SEEK_END) - end
        if end == 0 and self.dropped_bytes:
            self._refuse_unless_torn(header)
        self._file.truncate(end)
        if end == 0:
            self._append(header)

    def _take(self, offset: int, entry: Entry) -> None:
        if isinstance(entry, Answer | Failure):
            self._index(offset, entry)
        elif isinstance(entry, Written):
            self.written.append(entry.digest)

    def _refuse_unless_torn(self, header: Header) -> None:
        """A first line that was never finished is nothing; any other file without a header is somebody's."""
        self._reader.seek(0)
        if not encode_entry(header).startswith(self._reader.read(self.dropped_bytes)):
            raise RootformError(
                f"journal {self.path}: its first line is damaged, or it is no journal; move it away, choose another "
                "--output, or have it overwritten with --restart"
            )

    def _refuse(self, found: Entry, wanted: Header) -> None:
        theirs = found.parts if isinstance(found, Header) else {}
        names = sorted(theirs.keys() | wanted.parts.keys())
        what = ", ".join(name for name in names if theirs.get(name) != wanted.parts.get(name)) or "version"
        raise RootformError(
            f"journal {self.path} belongs to another job (different: {what}); run that job to its end, "
            "choose another --output, or throw its finished rows away with --restart"
        )

    def _index(self, offset: int, outcome: Outcome) -> None:
        failed = isinstance(outcome, Failure)
        self.done += not self.is_done(outcome.number)
        self.failed += failed - self._failures[outcome.number]
        self._offsets[outcome.number] = offset
        self._failures[outcome.number] = failed

    def _append(self, entry: Entry) -> int:
        """Where the entry begins in the file. A line that did not fit is taken back."""
        start = self._file.seek(0, os.SEEK_END)
        line = memoryview(encode_entry(entry))
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            self._file.truncate(start)
            raise RootformError(
                f"journal {self.path}: cannot be written: {error.strerror}; {self.done} finished rows are safe in it: "
                "make room, then run the same command again"
            ) from None
        return start
