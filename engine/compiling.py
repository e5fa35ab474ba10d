"""Constraints are compiled here: beside the event loop and the step thread, within a limit, each once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from ..grammar.errors import GrammarError
from ..grammar.generations import DEFAULT_MAX_BYTES, Generations, Root
from ..grammar.kept_rows import KeptRows
from ..grammar.vocab import Vocabulary
from ..grammar.work import Limit, within
from .grammars import warm
from .lenience import dropped_from, judge
from .types import Constraint, JsonSchema, Lenience, RootformError

log = logging.getLogger(__name__)

_WORKERS = 4  # more than there is processor time for: one that takes long does not keep short ones waiting


class GrammarLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What constraints may cost.

    max_bytes: memory of all compiled constraints together.
    compile_seconds: processor time of compiling one; those that need more fail.
    cache_dir: folder in which mask rows are kept from one start to the next; None: they are not.
    """

    max_bytes: int = DEFAULT_MAX_BYTES
    compile_seconds: float = 2.0
    cache_dir: Path | None = None

    def check(self) -> GrammarLimits:
        """Itself. Raises RootformError for what cannot be had."""
        if self.max_bytes < 1 << 20:
            raise RootformError(
                f"grammar_bytes is {self.max_bytes}; it must be {1 << 20} or more", param="grammar_bytes"
            )
        if not 0 < self.compile_seconds < float("inf"):
            reason = f"compile_seconds is {self.compile_seconds}; it must be above 0"
            raise RootformError(reason, param="compile_seconds")
        return self


class Compilation:
    """One request's wait for its constraint. `done` is called once, unless it was cancelled before."""

    def __init__(self, work: _Work, done: Callable[[Root | RootformError], None]) -> None:
        self._work = work
        self.done = done

    def cancel(self) -> None:
        """Nobody waits any more; when none other does either, the work stops."""
        self._work.leave(self)


class _Work:
    """Compiling one constraint, and who waits for it."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._waiting: list[Compilation] = []

    def join(self, done: Callable[[Root | RootformError], None]) -> Compilation:
        """Wait with the others. To be called with the lock held."""
        compilation = Compilation(self, done)
        self._waiting.append(compilation)
        return compilation

    def leave(self, compilation: Compilation) -> None:
        with self._lock:
            if compilation in self._waiting:
                self._waiting.remove(compilation)

    def take_all(self) -> list[Compilation]:
        """Those who wait, who will be answered now. To be called with the lock held."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def why_over(self) -> str:
        return "" if self._waiting else "was cancelled"


class Compilers:
    """Threads that compile constraints, politely: the step thread goes on meanwhile."""

    def __init__(self, vocabulary: Vocabulary, limits: GrammarLimits) -> None:
        self._kept = None if limits.cache_dir is None else KeptRows(limits.cache_dir, vocabulary)
        self.generations = generations = Generations(vocabulary, max_bytes=limits.max_bytes, kept=self._kept)
        self._limits = limits
        self._lock = threading.Lock()
        self._works: dict[Constraint, _Work] = {}
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="rootform-compile")
        self._warm = self._threads.submit(warm, generations)

    def wait_until_warm(self) -> None:
        """Return when the grammar's machine code is made: once per installation that takes seconds."""
        self._warm.result()

    def compile(self, constraint: Constraint, done: Callable[[Root | RootformError], None]) -> Compilation:
        """Have `done` called with the root or the error, on some thread, perhaps this one before this returns.

        Requests for a constraint that is being compiled wait for that and share what comes of it.
        """
        root = self.generations.known(constraint)
        if root is not None:
            done(root)
            return Compilation(_Work(self._lock), done)
        with self._lock:
            work = self._works.get(constraint)
            if work is not None and not work.why_over():
                return work.join(done)
            work = self._works[constraint] = _Work(self._lock)
            compilation = work.join(done)
        self._threads.submit(self._run, constraint, work)
        return compilation

    def judge(self, constraint: JsonSchema, text: str, done: Callable[[Lenience | BaseException], None]) -> None:
        """Hold the text of a lenient schema against all of it; `done` is called once, on some thread."""

        def answer(future: Future[Lenience]) -> None:
            error = CancelledError() if future.cancelled() else future.exception()
            done(future.result() if error is None else error)

        try:
            self._threads.submit(self._judged, constraint, text).add_done_callback(answer)
        except RuntimeError:  # closed
            done(CancelledError())

    def close(self) -> None:
        """Start nothing new; keep rows for the next start. What is being compiled is given up."""
        with self._lock:
            for work in self._works.values():
                work.take_all()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._kept is not None:
            self._kept.save()

    def _run(self, constraint: Constraint, work: _Work) -> None:
        outcome = self._outcome(constraint, work)
        with self._lock:
            waiting = work.take_all()
            if self._works.get(constraint) is work:
                del self._works[constraint]
        for compilation in waiting:
            compilation.done(outcome)

    def _judged(self, constraint: JsonSchema, text: str) -> Lenience:
        with within(Limit(self._limits.compile_seconds, polite=True)):
            try:
                return judge(constraint, text)
            except GrammarError as error:
                dropped, reason = dropped_from(constraint), f"cannot be checked: {error}"
                return Lenience(dropped, False, reason)

    def _limit(self, work: _Work) -> Limit:
        limit = Limit(self._limits.compile_seconds, polite=True)
        limit.add(work.why_over)
        return limit

    def _outcome(self, constraint: Constraint, work: _Work) -> Root | RootformError:
        try:
            if isinstance(constraint, JsonSchema) and constraint.lenient:
                with within(self._limit(work)):
                    dropped_from(constraint)  # is then known when values are checked
            return self.generations.compile(constraint, self._limit(work), warm=True)
        except GrammarError as error:
            refusal = RootformError(str(error), status=400, param="constraint")
            refusal.__cause__ = error
            return refusal
        except Exception as error:
            log.exception("a constraint could not be compiled")
            return RootformError(f"compiling the constraint failed: {type(error).__name__}: {error}", status=500)
