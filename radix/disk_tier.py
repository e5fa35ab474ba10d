"""Blocks kept in files within a size limit, those used last; written by a thread of its own.

The limit is for the whole folder, all fingerprints and all processes together. Blocks of a prefix are stamped so that
those further from the root are older, and so go first. A block that no second request has read is stamped as a day
older than it is: texts that come once do not drive out those that come again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .block_files import BlockFiles, FoundFile, WrongFile, foreign_names, found_files, is_fingerprint
from .blocks import Block

log = logging.getLogger(__name__)

_MOST_PENDING_BYTES = 256 << 20
_KEPT_SHARE = 0.9  # of the limit, when there was too much: so that not every block asks for a look at all files
_LOOK_SHARE = 1 / 16  # of the limit: after writing so much, what other processes wrote is counted too
_READ_ONCE_NS = 24 * 3600 * 10**9
_DEPTH_NS = 1000


@dataclass(slots=True)
class _Known:
    """A block this process may find. pending: it, until it is written.  used_ns: not yet told to its file: not 0."""

    pending: Block | None = None
    used_ns: int = 0


class DiskTier:
    """The blocks of one fingerprint in `folder`, which holds one folder for each. Safe to use from many threads.

    folder: may be shared by processes.  max_bytes: of all files in it.  written, dropped: blocks that were written,
    and that were not because the disk is slow.  nbytes: of this fingerprint's files, as far as this process knows.
    Raises OSError when the folder cannot be made or read.
    """

    def __init__(self, folder: Path, fingerprint: bytes, block_tokens: int, data_bytes: int, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.written = 0
        self.dropped = 0
        self._folder = folder
        self._files = BlockFiles(folder, fingerprint, block_tokens, data_bytes)
        self._known: dict[bytes, _Known] = {}
        self._queue: list[bytes] = []  # keys of pending blocks; the next to write stands first
        self._pending_bytes = 0
        self._refused: set[bytes] = set()  # names under which there is something that is not ours
        self._total_bytes = 0  # of all files in the folder, when looked at last, and written since
        self._new_bytes = 0  # written since
        self._why_not: str | None = None  # nothing is written any more
        self._is_closed = False
        self._changed = threading.Condition()
        self._open()
        self._writer = threading.Thread(target=self._write_all, name="rootform-kv-files", daemon=True)
        self._writer.start()

    @property
    def nbytes(self) -> int:
        return len(self._known) * self._files.file_bytes

    @property
    def block_bytes(self) -> int:
        """Of one block's file."""
        return self._files.file_bytes

    @property
    def free_bytes(self) -> int:
        """What may be written before something must go."""
        return max(0, self.max_bytes - self._total_bytes - self._pending_bytes)

    def __contains__(self, key: bytes) -> bool:
        return key in self._known

    def __len__(self) -> int:
        return len(self._known)

    # -- reading ----------------------------------------------------------------------------------------------

    def read(self, key: bytes, ids: np.ndarray) -> np.ndarray | None:
        """The data of a block, uint8 in one row, checked; None when there is none that may be used.

        What is wrong with a file is one warning; if it is one of ours it is removed.
        """
        with self._changed:
            known = self._known.get(key)
            if known is None:
                return None
            if known.pending is not None:
                return known.pending.data.reshape(-1)
        try:
            return self._files.read(key, ids)
        except FileNotFoundError:  # another process, or a person, removed it
            pass
        except WrongFile as wrong:
            log.warning("%s is not used: %s", self._files.path(key), wrong)
            self._refuse(key, remove=wrong.ours)
        except OSError as error:
            log.warning("%s is not used: it cannot be read (%s)", self._files.path(key), error)
            self._refuse(key, remove=False)
        self._forget(key)
        return None

    def touch(self, keys: Sequence[bytes]) -> None:
        """The blocks of a prefix, in order, were used now."""
        now = time.time_ns()
        with self._changed:
            for depth, key in enumerate(keys):
                known = self._known.get(key)
                if known is not None:
                    known.used_ns = now - depth * _DEPTH_NS

    def _forget(self, key: bytes) -> None:
        """The file of this key is gone. (One that is about to be written may replace what another process wrote.)"""
        with self._changed:
            known = self._known.get(key)
            if known is not None and known.pending is None:
                del self._known[key]

    def _refuse(self, key: bytes, *, remove: bool) -> None:
        if remove:
            with contextlib.suppress(OSError):
                os.unlink(self._files.path(key))
        else:
            with self._changed:
                self._refused.add(key)

    # -- writing ----------------------------------------------------------------------------------------------

    def put(self, block: Block, *, read_again: bool, wait: bool = False) -> bool:
        """Have a block written soon; it can be read at once. False: it is not, as too many wait to be written.

        read_again: more than one request has read it.  wait: until there is room among those that wait.
        """
        used_ns = time.time_ns() - block.depth * _DEPTH_NS - (0 if read_again else _READ_ONCE_NS)
        with self._changed:
            if block.key in self._known:
                return True
            if wait:
                self._changed.wait_for(lambda: self._has_room() or self._why_not is not None)
            if not self._may_write(block.key):
                return False
            if not self._has_room():
                self.dropped += 1
                return False
            self._known[block.key] = _Known(block, used_ns)
            self._queue.append(block.key)
            self._pending_bytes += block.data.nbytes
            self._changed.notify_all()
            return True

    def accepts(self, key: bytes) -> bool:
        """put() would take a block of this key now."""
        with self._changed:
            return self._may_write(key) and self._has_room()

    def flush(self) -> None:
        """Wait until all that was put is written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pending_bytes)

    def close(self) -> None:
        """Write what waits to be written, and stop. Calling it again does nothing."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._writer.join()

    def clear(self) -> None:
        """Remove all blocks of this fingerprint, those of other processes among them."""
        self.flush()
        with self._changed:
            self._known.clear()
            for found in self._files.scan():
                self._remove(found)
                self._total_bytes -= found.nbytes

    def _may_write(self, key: bytes) -> bool:
        fits = self._files.file_bytes <= self.max_bytes
        return fits and self._why_not is None and not self._is_closed and key not in self._refused

    def _has_room(self) -> bool:
        return self._pending_bytes <= _MOST_PENDING_BYTES

    # -- the writer's thread ----------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._is_closed)
                if not self._queue:
                    break
                key = self._queue.pop(0)
                known = self._known[key]
            block = known.pending
            assert block is not None
            is_written = self._write(block, known.used_ns)
            with self._changed:
                known.pending = None
                if not is_written:
                    del self._known[key]
                self._pending_bytes -= block.data.nbytes
                self._changed.notify_all()
        self._tell_use()

    def _write(self, block: Block, used_ns: int) -> bool:
        if self._why_not is not None:
            return False
        try:
            self._files.write(block, used_ns)
            self.written += 1
            self._total_bytes += self._files.file_bytes
            self._new_bytes += self._files.file_bytes
            if self._total_bytes > self.max_bytes or self._new_bytes > _LOOK_SHARE * self.max_bytes:
                self._trim()
        except Exception as error:  # whatever it is, those who wait for this thread must not wait for ever
            self._why_not = f"{type(error).__name__}: {error}"
            log.warning("cached KV is not kept in %s any more: %s", self._folder, self._why_not)
            return False
        return True

    def _trim(self) -> None:
        """Look at all files there are now; if they are too much, remove those used longest ago."""
        found = self._found()
        total = sum(each.nbytes for each in found)
        if total > self.max_bytes:
            self._tell_use()
            for each in sorted(self._found(), key=lambda each: each.used_ns):
                if total <= _KEPT_SHARE * self.max_bytes:
                    break
                self._remove(each)
                total -= each.nbytes
                if each.path == self._files.path(each.key):
                    self._forget(each.key)
        self._total_bytes, self._new_bytes = total, 0

    def _tell_use(self) -> None:
        """Write down in the files' times when they were used."""
        with self._changed:
            told = [(key, known.used_ns) for key, known in self._known.items() if known.used_ns and not known.pending]
            for key, _ in told:
                self._known[key].used_ns = 0
        for key, used_ns in told:
            with contextlib.suppress(OSError):
                os.utime(self._files.path(key), ns=(used_ns, used_ns))

    # -- all files --------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._files.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for each in self._files.scan():
            self._known[each.key] = _Known()
        self._warn_of_others()
        self._trim()

    def _warn_of_others(self) -> None:
        others = foreign_names(self._files.folder)
        if others:
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            log.warning(
                "not used, and left as they are: %s%s are no files of cached KV",
                ", ".join(str(each) for each in others[:3]),
                more,
            )

    def _found(self) -> list[FoundFile]:
        """The files of all fingerprints."""
        with os.scandir(self._folder) as entries:
            folders = [Path(each.path) for each in entries if is_fingerprint(each)]
        return [found for folder in folders for found in found_files(folder)]

    def _remove(self, found: FoundFile) -> None:
        with contextlib.suppress(OSError):
            os.unlink(found.path)
