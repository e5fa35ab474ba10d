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
from ..grammar.kept_constraints import KeptConstraints
from ..grammar.kept_rows import KeptRows
from ..grammar.vocab import Vocabulary
from ..grammar.work import Limit, within
from .grammars import warm
from .lenience import dropped_from, judge
from .recompiling import Recompiler
from .types import Constraint, JsonSchema, Lenience, RootformError

log = logging.getLogger(__name__)

LEAST_BYTES = 32 << 20  # a generation has half; of 130,000 tokens it takes 7 MiB before it holds any constraint

_AGAIN_SHARE = 4  # of the memory for constraints, one part of so many goes to those compiled before they come
_WORKERS = 4  # more than there is processor time for: one that takes long does not keep short ones waiting


class GrammarLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What constraints may cost.

    max_bytes: memory of all compiled constraints together.
    compile_seconds: processor time of compiling one; those that need more fail.
    cache_dir: folder in which mask rows, and the constraints in use, are kept from one start to the next; None: they
    are not.
    """

    max_bytes: int = DEFAULT_MAX_BYTES
    compile_seconds: float = 2.0
    cache_dir: Path | None = None

    def check(self) -> GrammarLimits:
        """Itself. Raises RootformError for what cannot be had."""
        if self.max_bytes < LEAST_BYTES:
            reason = f"grammar_bytes is {self.max_bytes}; it must be {LEAST_BYTES} ({LEAST_BYTES >> 20} MiB) or more"
            raise RootformError(reason, param="grammar_bytes")
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

    def __init__(self, lock: threading.Lock, may_go_on: Callable[[_Work], bool] | None = None) -> None:
        """may_go_on: of work that no request asked for: whether it goes on while none waits for it."""
        self._lock = lock
        self._may_go_on = may_go_on
        self._waiting: list[Compilation] = []
        self._is_over = False

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

    def is_over(self) -> bool:
        """Whether it was given up, or is to be. To be called with the lock held."""
        may_go_on = self._waiting or (self._may_go_on is not None and self._may_go_on(self))
        return self._is_over or not may_go_on

    @property
    def was_given_up(self) -> bool:
        """Whether its limit was told so."""
        return self._is_over

    def why_over(self) -> str:
        """What the limit asks while it works. Once given up, it stays so, and nobody may join."""
        with self._lock:
            self._is_over = self.is_over()
        return "was given up" if self._is_over else ""


class Compilers:
    """Threads that compile constraints, politely: the step thread goes on meanwhile.

    recompiler: compiles those that were in use before this start; None where they are not kept.
    """

    def __init__(self, vocabulary: Vocabulary, limits: GrammarLimits) -> None:
        folder = limits.cache_dir
        self._rows = None if folder is None else KeptRows(folder, vocabulary)
        self.generations = generations = Generations(vocabulary, max_bytes=limits.max_bytes, kept=self._rows)
        self._limits = limits
        self._lock = threading.Lock()
        self._works: dict[Constraint, _Work] = {}
        self._is_closed = False
        self._constraints: KeptConstraints | None = None
        self.recompiler: Recompiler | None = None
        if folder is not None and self._rows is not None:
            self._constraints = kept = KeptConstraints(folder, self._rows.file.stem)
            self.recompiler = Recompiler(kept, self.compile_again, self._is_full, self._save)
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="rootform-compile")
        self._warm = self._threads.submit(warm, generations)

    def wait_until_warm(self) -> None:
        """Return when the grammar's machine code is made: once per installation that takes seconds."""
        self._warm.result()

    def recompile(self, is_busy: Callable[[], bool]) -> None:
        """Compile what was in use before this start, where that is kept, when the machine code is made.

        Returns at once; to be called once. is_busy: whether requests run now; then it goes slowly.
        """
        recompiler = self.recompiler

        def start(warm: Future[None]) -> None:
            if recompiler is not None and not warm.cancelled() and warm.exception() is None:
                recompiler.start(is_busy)

        self._warm.add_done_callback(start)

    @property
    def recompiled(self) -> int:
        """How many constraints were compiled so."""
        return 0 if self.recompiler is None else self.recompiler.compiled

    def compile(self, constraint: Constraint, done: Callable[[Root | RootformError], None]) -> Compilation:
        """Have `done` called with the root or the error, on some thread, perhaps this one before this returns.

        Requests for a constraint that is being compiled wait for that and share what comes of it.
        """
        root = self.generations.known(constraint)
        if root is not None:
            self._note(constraint)
            done(root)
            return Compilation(_Work(self._lock), done)
        with self._lock:
            work = self._works.get(constraint)
            if work is not None and not work.is_over():
                return work.join(done)
            work = self._works[constraint] = _Work(self._lock)
            compilation = work.join(done)
        self._threads.submit(self._run, constraint, work)
        return compilation

    def compile_again(self, constraint: Constraint) -> bool:
        """Compile what no request waits for, in this thread. False: it gave way to requests, or all is being closed.

        A request for it that comes meanwhile shares what comes of it. Raises GrammarError like Generations.compile.
        """
        if self.generations.known(constraint) is not None:
            return True

        def is_alone(work: _Work) -> bool:
            return len(self._works) == 1 and self._works.get(constraint) is work and not self._is_closed

        with self._lock:
            if self._works or self._is_closed:
                return False
            work = self._works[constraint] = _Work(self._lock, is_alone)
        outcome = self._run(constraint, work)
        if isinstance(outcome, Root):
            return True
        if work.was_given_up:
            return False
        raise outcome.__cause__ or outcome

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
        """Start nothing new; keep what the next start needs. What is being compiled is given up."""
        with self._lock:
            self._is_closed = True
            for work in self._works.values():
                work.take_all()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self.recompiler is not None:
            self.recompiler.close()
        self._save()

    def _save(self) -> None:
        for kept in (self._rows, self._constraints):
            if kept is not None:
                kept.save()

    def _note(self, constraint: Constraint) -> None:
        if self._constraints is not None:
            self._constraints.note(constraint)

    def _is_full(self) -> bool:
        return self.generations.nbytes > self._limits.max_bytes // _AGAIN_SHARE

    def _run(self, constraint: Constraint, work: _Work) -> Root | RootformError:
        outcome = self._outcome(constraint, work)
        with self._lock:
            waiting = work.take_all()
            if self._works.get(constraint) is work:
                del self._works[constraint]
        for compilation in waiting:
            if isinstance(outcome, Root):
                self._note(constraint)
            compilation.done(outcome)
        self.generations.tidy()
        return outcome

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
