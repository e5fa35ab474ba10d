"""Mask rows kept on disk from one start to the next, for one vocabulary and one version of this code.

A row is found again by how its state was reached: the constraint and the bytes that lead there (free text left out, as
it leads nowhere), the count left in the run, and what pushed the upper entries of the stack. All of it decides the row,
so one kept under that name is the row, and no expression has to be written down. Only arrays are read: a file that is
damaged, of another vocabulary or of other code is named in one warning, left out, and replaced at the next `save`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .vocab import Vocabulary

log = logging.getLogger(__name__)

DEFAULT_BYTES = 64 << 20
"""Size that a file of rows may have."""

_MAGIC = b"rootform rows 1\n"
_KEY_BYTES, _SUM_BYTES, _HEADER_BYTES = 16, 32, 4
_ENTRY = np.dtype([("key", f"V{_KEY_BYTES}"), ("row", "<i4"), ("accepts", "u1"), ("level", "u1")])


class KeptRow(NamedTuple):
    """words: (words,) uint32, the mask. accepts: EOS is among it. level: how much of the stack it depends on."""

    words: np.ndarray
    accepts: bool
    level: int


class KeptRows:
    """The rows of one folder and vocabulary. Safe to use from any thread.

    found, missed: how many lookups were and were not answered.
    """

    def __init__(self, folder: Path, vocabulary: Vocabulary, *, max_bytes: int = DEFAULT_BYTES) -> None:
        self.file = folder / f"{fingerprint(vocabulary)}.rows"
        self.found = 0
        self.missed = 0
        self._words = vocabulary.words
        self._most = max(max_bytes // (4 * self._words + 4 * _ENTRY.itemsize), 1)
        self._lock = threading.Lock()
        self._entries: dict[bytes, tuple[int, bool, int]] = {}  # row, accepts, level; the latest used last
        self._rows: list[np.ndarray] = []
        self._row_of: dict[bytes, int] = {}
        self._is_new = False
        self._load()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> KeptRow | None:
        """The row of a key (`key_of`)."""
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is None:
                return None
            self._entries[key] = entry
            row, accepts, level = entry
            return KeptRow(self._rows[row], accepts, level)

    def put(self, key: bytes, kept: KeptRow) -> None:
        """Keep a row; forgotten again when there are too many."""
        with self._lock:
            if key in self._entries:
                return
            digest = hashlib.blake2b(kept.words.tobytes(), digest_size=_KEY_BYTES).digest()
            row = self._row_of.get(digest)
            if row is None:
                if len(self._rows) >= 2 * self._most:
                    self._forget_old()
                row = self._row_of[digest] = len(self._rows)
                self._rows.append(kept.words.copy())
            self._entries[key] = row, kept.accepts, kept.level
            self._is_new = True

    def save(self) -> None:
        """Write what is kept, if there is anything new. What cannot be written is a warning, no error."""
        with self._lock:
            if not self._is_new:
                return
            self._forget_old()
            data = self._encoded()
            self._is_new = False
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.file.parent, delete=False) as written:
                written.write(data)
            os.replace(written.name, self.file)
        except OSError as error:
            log.warning("mask rows could not be kept in %s: %s", self.file, error)

    # -- inside -----------------------------------------------------------------------------------------------

    def _forget_old(self) -> None:
        """Keep the entries used latest, as far as the rows they need go into the file."""
        entries: list[tuple[bytes, tuple[int, bool, int]]] = []
        numbers: dict[int, int] = {}
        for key, (row, accepts, level) in reversed(self._entries.items()):
            if row not in numbers and len(numbers) >= self._most:
                break
            entries.append((key, (numbers.setdefault(row, len(numbers)), accepts, level)))
        self._entries = dict(reversed(entries))
        self._rows = [self._rows[row] for row in numbers]
        self._row_of = {digest: numbers[row] for digest, row in self._row_of.items() if row in numbers}

    def _encoded(self) -> bytes:
        entries = np.array([(key, *entry) for key, entry in self._entries.items()], _ENTRY)
        rows = np.array(self._rows, "<u4").reshape(-1, self._words)
        header = json.dumps({"entries": len(entries), "rows": len(rows), "name": self.file.stem}).encode()
        size = len(header).to_bytes(_HEADER_BYTES, "little")
        body = b"".join([_MAGIC, size, header, entries.tobytes(), rows.tobytes()])
        return body + hashlib.blake2b(body, digest_size=_SUM_BYTES).digest()

    def _load(self) -> None:
        try:
            data = self.file.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("%s is not used: it cannot be read (%s)", self.file, error)
            return
        try:
            entries, rows = self._decoded(data)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s is not used: %s", self.file, error)
            return
        self._rows = list(rows)
        for index, row in enumerate(self._rows):
            self._row_of[hashlib.blake2b(row.tobytes(), digest_size=_KEY_BYTES).digest()] = index
        for key, row, accepts, level in entries.tolist():
            self._entries[key] = row, bool(accepts), level

    def _decoded(self, data: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Raises ValueError for whatever is not as `_encoded` writes it."""
        body, checksum = memoryview(data)[:-_SUM_BYTES], data[-_SUM_BYTES:]
        if bytes(body[: len(_MAGIC)]) != _MAGIC:
            raise ValueError("it is no file of mask rows of this version")
        if hashlib.blake2b(body, digest_size=_SUM_BYTES).digest() != checksum:
            raise ValueError("it is damaged")
        begin = len(_MAGIC) + _HEADER_BYTES
        size = int.from_bytes(body[len(_MAGIC) : begin], "little")
        header: dict[str, Any] = json.loads(bytes(body[begin : begin + size]))
        if header["name"] != self.file.stem:
            raise ValueError("it is of another vocabulary or version")
        rest = body[begin + size :]
        split = header["entries"] * _ENTRY.itemsize
        entries = np.frombuffer(rest[:split], _ENTRY)
        rows = np.frombuffer(rest[split:], "<u4").reshape(header["rows"], self._words)
        if len(entries) and not (entries["row"].min() >= 0 and entries["row"].max() < len(rows)):
            raise ValueError("it is damaged")
        return entries, rows


def key_of(*parts: bytes | int) -> bytes:
    """A short name of what decides a row."""
    digest = hashlib.blake2b(digest_size=_KEY_BYTES)
    for part in parts:
        data = b"%d" % part if isinstance(part, int) else part
        digest.update(b"%d " % len(data) + data)
    return digest.digest()


def fingerprint(vocabulary: Vocabulary) -> str:
    """Names a vocabulary together with the version of this code."""
    digest = hashlib.blake2b(_code_version(), digest_size=_KEY_BYTES)
    for token in vocabulary.tokens:
        digest.update(b"%d " % len(token) + token)
    digest.update(repr((sorted(vocabulary.eos_ids), vocabulary.size)).encode())
    return digest.hexdigest()


@cache
def _code_version() -> bytes:
    """Of all code that decides rows: the sources of this room."""
    digest = hashlib.blake2b(digest_size=_KEY_BYTES)
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.digest()
