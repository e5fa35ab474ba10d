"""Which constraints are in use, kept on disk from one start to the next, so that they can be compiled before they come.

Kept is what a request said: the constraint's own texts and options. What it compiles to holds objects by identity and
functions that write more of it as texts come, and is made anew. A use counts one, and half as much with each day that
goes by; constraints with the largest sums stay.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from . import kept_files
from .constraints import Constraint, JsonSchema

MOST_CONSTRAINTS = 1000
MOST_BYTES = 16 << 20
"""Of all constraints in a file, together."""

_KIND = b"rootform constraints 1\n"
_LONGEST = 2 << 20  # a constraint that takes more is not kept
_DAY_S = 86400.0


class _Use(msgspec.Struct, array_like=True):
    """size: bytes of the constraint in the file. sum: of its uses, as it was at a moment of the clock."""

    constraint: Constraint
    size: int
    sum: float
    at: float


class KeptConstraints:
    """The constraints of one folder and vocabulary. Safe to use from any thread.

    name: of the vocabulary and the version of this code (`kept_rows.fingerprint`). clock: seconds since some moment
    that is the same in each process.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        most: int = MOST_CONSTRAINTS,
        max_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.file = folder / f"{name}.constraints"
        self._most = most
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._uses: dict[Constraint, _Use] = {}
        self._bytes = 0
        self._is_new = False
        for use in kept_files.read(self.file, _KIND, _decoded) or ():
            self._add(use)

    def __len__(self) -> int:
        return len(self._uses)

    def note(self, constraint: Constraint) -> None:
        """A request has used it. One with a document of its own is not kept: it will hardly come again."""
        if isinstance(constraint, JsonSchema) and constraint.document is not None:
            return
        now = self._clock()
        with self._lock:
            use = self._uses.get(constraint)
            if use is None:
                size = len(msgspec.msgpack.encode(constraint))
                if size > _LONGEST:
                    return
                use = _Use(constraint, size, 0.0, now)
                self._add(use)
            use.sum, use.at = _sum_at(use, now) + 1.0, now
            self._is_new = True
            if len(self._uses) > 2 * self._most or self._bytes > 2 * self._max_bytes:
                self._forget_least()

    def drop(self, constraint: Constraint) -> None:
        """Keep it no longer, until it is used again."""
        with self._lock:
            use = self._uses.pop(constraint, None)
            if use is not None:
                self._bytes -= use.size
                self._is_new = True

    def by_use(self) -> list[Constraint]:
        """All there are, those used most first."""
        with self._lock:
            return [use.constraint for use in self._sorted()]

    def save(self) -> None:
        """Write what is kept, if there is anything new. What cannot be written is a warning, no error."""
        with self._lock:
            if not self._is_new:
                return
            self._forget_least()
            data = msgspec.msgpack.encode(list(self._uses.values()))
            self._is_new = False
        if not kept_files.write(self.file, _KIND, {}, data):
            self._is_new = True

    # -- inside, with the lock held -------------------------------------------------------------------------------

    def _add(self, use: _Use) -> None:
        self._uses[use.constraint] = use
        self._bytes += use.size

    def _sorted(self) -> list[_Use]:
        now = self._clock()
        return sorted(self._uses.values(), key=lambda use: _sum_at(use, now), reverse=True)

    def _forget_least(self) -> None:
        uses, self._uses, self._bytes = self._sorted(), {}, 0
        for use in uses[: self._most]:
            if self._bytes + use.size <= self._max_bytes:
                self._add(use)


def _sum_at(use: _Use, now: float) -> float:
    return use.sum * math.exp2(-max(now - use.at, 0.0) / _DAY_S)


def _decoded(_: dict[str, Any], data: memoryview) -> list[_Use]:
    """Raises ValueError for what is not as `save` writes it."""
    try:
        return msgspec.msgpack.decode(data, type=list[_Use])
    except msgspec.MsgspecError as error:
        raise ValueError(f"it does not hold constraints: {error}") from error
