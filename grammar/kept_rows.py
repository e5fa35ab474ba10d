"""Mask rows kept on disk from one start to the next, for one vocabulary and one version of this code.

A row is found again by how its state was reached: the constraint and the bytes that lead there (free text left out, as
it leads nowhere), the count left in the run, and what pushed the upper entries of the stack. All of it decides the row,
so one kept under that name is the row, and no expression has to be written down. Only arrays are read: a file that is
damaged, of another vocabulary or of other code is named in one warning, left out, and replaced at the next `save`.
"""

from __future__ import annotations

import hashlib
import threading
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import kept_files
from .vocab import Vocabulary

DEFAULT_BYTES = 64 << 20
"""Size that a file of rows may have."""

_KIND = b"rootform rows 1\n"
_KEY_BYTES = 16
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
            entries, rows = list(self._entries.items()), list(self._rows)
            self._is_new = False
        header = {"entries": len(entries), "rows": len(rows)}
        table = np.array([(key, *entry) for key, entry in entries], _ENTRY)
        data = table.tobytes() + np.array(rows, "<u4").reshape(-1, self._words).tobytes()
        if not kept_files.write(self.file, _KIND, header, data):
            self._is_new = True

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

    def _load(self) -> None:
        read = kept_files.read(self.file, _KIND, self._decoded)
        if read is None:
            return
        entries, rows = read
        self._rows = list(rows)
        for index, row in enumerate(self._rows):
            self._row_of[hashlib.blake2b(row.tobytes(), digest_size=_KEY_BYTES).digest()] = index
        for key, row, accepts, level in entries.tolist():
            self._entries[key] = row, bool(accepts), level

    def _decoded(self, header: dict[str, Any], data: memoryview) -> tuple[np.ndarray, np.ndarray]:
        """Raises ValueError for what is not as `save` writes it."""
        split = header["entries"] * _ENTRY.itemsize
        entries = np.frombuffer(data[:split], _ENTRY)
        rows = np.frombuffer(data[split:], "<u4").reshape(header["rows"], self._words)
        if len(entries) and not (entries["row"].min() >= 0 and entries["row"].max() < len(rows)):
            raise ValueError("it is damaged")
        return entries, rows.astype(np.uint32)  # no view: loops know arrays that may not be written to as others


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
