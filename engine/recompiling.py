"""Constraints that were in use before this start are compiled again before requests come with them.

One thread compiles them, those used most first, each only while nobody waits for a compilation: what a request brings
goes first, and what is under way for it here is given up and begun again later. While requests run it works a tenth of
the time. The same thread writes to disk now and then what the next start should know, so that a process that is killed
loses little.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import msgspec

from ..grammar.constraints import Constraint
from ..grammar.errors import GrammarError
from ..grammar.kept_constraints import KeptConstraints

log = logging.getLogger(__name__)

MOST_SECONDS = 30.0
"""Processor time that compiling again may take at one start."""

SAVE_SECONDS = 300.0
"""Between two times that what is kept is written."""

_LOOK_AGAIN_S = 0.005
_CLOSE_S = 5.0  # that closing waits for the thread, which may be finding a row
_REST = 9.0  # times as long as it worked, while requests run
_SHOWN = 80  # characters of a constraint in the log


class Recompiler:
    """Its thread begins with `start` and ends with `close`.

    again: compiles a constraint as `Compilers.compile_again` does. is_full: whether constraints take as much memory
    as those compiled here may. save: writes what is kept.
    """

    def __init__(
        self,
        kept: KeptConstraints,
        again: Callable[[Constraint], bool],
        is_full: Callable[[], bool],
        save: Callable[[], None],
    ) -> None:
        self._kept = kept
        self._before = kept.by_use()  # now: what the first requests bring is not among it
        self._again = again
        self._is_full = is_full
        self._save = save
        self._is_busy: Callable[[], bool] = lambda: False
        self._closed = threading.Event()
        self._compiled_all = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rootform-recompile", daemon=True)
        self.compiled = 0

    def start(self, is_busy: Callable[[], bool]) -> None:
        """Begin. is_busy: whether requests run now; called from the thread."""
        self._is_busy = is_busy
        self._thread.start()

    def wait_until_compiled(self) -> None:
        """Return when all that is to be compiled is, or it was closed."""
        self._compiled_all.wait()

    def close(self) -> None:
        """End the thread. Saves nothing."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    # -- on the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._compile_all()
        finally:
            self._compiled_all.set()
        while not self._closed.wait(SAVE_SECONDS):
            self._save()

    def _compile_all(self) -> None:
        constraints, self._before = self._before, []
        began, left = time.thread_time(), MOST_SECONDS
        for n, constraint in enumerate(constraints):
            if self._is_full() or left < 0:
                reason = "memory they may take is full" if left >= 0 else f"it took {MOST_SECONDS:g} s"
                log.info("%d constraints in use before are compiled when they come: %s", len(constraints) - n, reason)
                break
            self._compile(constraint)
            if self._closed.is_set():
                return
            left = MOST_SECONDS - (time.thread_time() - began)
        if constraints:
            seconds = time.thread_time() - began
            log.info("%d of %d constraints in use before: %.2f s of work", self.compiled, len(constraints), seconds)

    def _compile(self, constraint: Constraint) -> None:
        before = time.thread_time()
        try:
            while not self._again(constraint):
                if self._closed.wait(_LOOK_AGAIN_S):
                    return
        except GrammarError as error:
            self._drop(constraint, str(error))
        except Exception as error:
            log.exception("a constraint in use before could not be compiled again")
            self._drop(constraint, f"{type(error).__name__}: {error}")
        else:
            self.compiled += 1
        if self._is_busy():
            self._closed.wait(_REST * (time.thread_time() - before))

    def _drop(self, constraint: Constraint, reason: str) -> None:
        self._kept.drop(constraint)
        text = msgspec.json.encode(constraint).decode()
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        log.warning("a constraint in use before is not kept any more: %s (%s)", reason, shown)
