"""Blocks as files: one file for each, written under another name and renamed, so that it is whole or not there.

    FOLDER/<fingerprint>/<first byte of the key>/<key>.kv

    magic | fingerprint | key | block_tokens, data bytes | ids | zeros up to 64 | data | SHA-256 of all before it

All numbers little-endian. A file is read through a memory map, and its checksum comes first: data of a file that is
damaged, cut short, of another prefix or of something else is never handed out. Files are written once and never
changed, so any number of processes may share a folder. The checksum guards against accidents, not against somebody
who may write to the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .blocks import KEY_BYTES, Block

SUFFIX = ".kv"
_MAGIC = b"rootform kv 1\n\0\0"
_NUMBERS = struct.Struct("<IQ")
_SUM_BYTES = 32
_ALIGNED = 64
_UNFINISHED = ".part"
_LEFT_BEHIND_S = 3600.0  # an unfinished file this old belongs to a process that was killed


class WrongFile(Exception):
    """A file that must not be used. ours: it was once written by this module, so it may be removed."""

    def __init__(self, reason: str, *, ours: bool) -> None:
        super().__init__(reason)
        self.ours = ours


class FoundFile(NamedTuple):
    """A file of a block. used_ns: when it was used last, by its modification time."""

    path: Path
    key: bytes
    nbytes: int
    used_ns: int


class BlockFiles:
    """The files of one fingerprint in a folder. data_bytes: of one block."""

    def __init__(self, folder: Path, fingerprint: bytes, block_tokens: int, data_bytes: int) -> None:
        self.folder = folder / fingerprint.hex()
        self.head_bytes = _aligned(len(_MAGIC) + len(fingerprint) + KEY_BYTES + _NUMBERS.size + 4 * block_tokens)
        self.file_bytes = self.head_bytes + data_bytes + _SUM_BYTES
        self._fingerprint = fingerprint
        self._block_tokens = block_tokens
        self._data_bytes = data_bytes

    def path(self, key: bytes) -> Path:
        """Where the block of a key is, or would be."""
        return self.folder / key[:1].hex() / f"{key.hex()}{SUFFIX}"

    def write(self, block: Block, used_ns: int) -> None:
        """Write a block, all of it or nothing. Raises OSError."""
        path = self.path(block.key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        head = self._head(block.key, block.ids)
        data = np.ascontiguousarray(block.data).data.cast("B")
        digest = hashlib.sha256(head)
        digest.update(data)
        descriptor, name = tempfile.mkstemp(suffix=_UNFINISHED, dir=path.parent)
        try:
            with open(descriptor, "wb") as file:
                file.writelines((head, data, digest.digest()))
            os.utime(name, ns=(used_ns, used_ns))
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def read(self, key: bytes, ids: np.ndarray) -> np.ndarray:
        """The data of a block, (data bytes,) uint8, checked; mapped as long as it is referred to.

        Raises WrongFile, or OSError (FileNotFoundError: another process removed it).
        """
        with open(self.path(key), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < self.head_bytes:
                ours = _MAGIC.startswith(file.read(len(_MAGIC)))  # an empty one as well: a machine lost power
                raise WrongFile(f"it has {size} bytes instead of {self.file_bytes}", ours=ours)
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))  # never changes the file
        self._check(mapped, key, ids)
        return np.frombuffer(mapped, np.uint8, self._data_bytes, self.head_bytes)

    def scan(self) -> Iterator[FoundFile]:
        """All files of blocks by their names, in no order; none is opened."""
        return found_files(self.folder)

    def _head(self, key: bytes, ids: np.ndarray) -> bytes:
        numbers = _NUMBERS.pack(self._block_tokens, self._data_bytes)
        head = _MAGIC + self._fingerprint + key + numbers + ids.astype("<i4").tobytes()
        return head.ljust(self.head_bytes, b"\0")

    def _check(self, mapped: memoryview, key: bytes, ids: np.ndarray) -> None:
        if bytes(mapped[: len(_MAGIC)]) != _MAGIC:
            raise WrongFile("it is no file of cached KV of this version", ours=False)
        if len(mapped) != self.file_bytes:
            raise WrongFile(f"it has {len(mapped)} bytes instead of {self.file_bytes}", ours=True)
        if hashlib.sha256(mapped[:-_SUM_BYTES]).digest() != bytes(mapped[-_SUM_BYTES:]):
            raise WrongFile("it is damaged: its checksum is wrong", ours=True)
        if bytes(mapped[: self.head_bytes]) != self._head(key, ids):
            raise WrongFile("it holds another model's KV, or that of another text", ours=True)


def found_files(folder: Path) -> Iterator[FoundFile]:
    """The files of blocks in the folder of one fingerprint, in no order. What goes away meanwhile is left out."""
    for part in _entries(folder):
        for entry in _entries(Path(part.path)) if _is_folder(part) else ():
            key = _key_of(entry.name)
            if key is None or entry.name[:2] != part.name:
                continue
            with contextlib.suppress(OSError):
                stat = entry.stat(follow_symlinks=False)
                yield FoundFile(Path(entry.path), key, stat.st_size, stat.st_mtime_ns)


def foreign_names(folder: Path) -> list[Path]:
    """What is in the folder of one fingerprint and is no file of a block; unfinished files of long ago are removed."""
    foreign = []
    for part in _entries(folder):
        if not _is_folder(part) or len(part.name) != 2:
            foreign.append(Path(part.path))
            continue
        for entry in _entries(Path(part.path)):
            if entry.name.endswith(_UNFINISHED):
                _remove_left_behind(entry)
            elif _key_of(entry.name) is None or entry.name[:2] != part.name:
                foreign.append(Path(entry.path))
    return sorted(foreign)


def is_fingerprint(entry: os.DirEntry[str]) -> bool:
    """It is a folder that is named as that of a fingerprint is."""
    return _is_folder(entry) and _key_of(entry.name + SUFFIX) is not None


def _remove_left_behind(entry: os.DirEntry[str]) -> None:
    with contextlib.suppress(OSError):
        if time.time() - entry.stat().st_mtime > _LEFT_BEHIND_S:
            os.unlink(entry.path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _key_of(name: str) -> bytes | None:
    stem, suffix = os.path.splitext(name)
    if suffix != SUFFIX or len(stem) != 2 * KEY_BYTES:
        return None
    try:
        return bytes.fromhex(stem) if stem == stem.lower() else None
    except ValueError:
        return None


def _aligned(n: int) -> int:
    return -(-n // _ALIGNED) * _ALIGNED
