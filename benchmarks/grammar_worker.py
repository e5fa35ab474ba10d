"""One engine in a process of its own: it is asked for one case at a time, and is ended when it takes too long."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from rootform.grammar.collector import KEPT

from .grammar_engines import Engine, Options, Refused, Unsatisfiable, make, reason_of
from .grammar_inputs import Case, Tokens

MIB = 1 << 20
Clock = Callable[[], int]
_START_SECONDS = 900  # machine code may have to be made first, on a busy machine


class Measured(NamedTuple):
    """What one engine made of one case.

    status: ok, refused, unsatisfiable (it rejects everything), timeout or crashed. Seconds to compile, and to the first
    mask, compiling included. first, warm: microseconds of each mask with the step behind it, when first met and again.
    accepted: of each test, whether it was let through. later_s: seconds for what was left for when nobody waits.
    """

    status: str
    reason: str
    compile_s: float
    first_mask_s: float
    first: np.ndarray
    warm: np.ndarray
    accepted: list[bool]
    later_s: float = 0.0


def failed(status: str, reason: str, seconds: float, n_tests: int) -> Measured:
    """A case that came to nothing: it lets no instance through."""
    return Measured(status, reason, seconds, seconds, np.zeros(0), np.zeros(0), [False] * n_tests)


class Worker:
    """The parent's end of an engine's process; starts it again where it was lost."""

    def __init__(self, name: str, tokens: Tokens, options: Options) -> None:
        self.name = name
        self.peak_mib = 0.0
        self._arguments = (name, tokens, options)
        self._start()

    def measure(self, case: Case, texts: list[list[int]], seconds: float) -> Measured:
        """A case, within so many seconds. texts: the tokens of each test."""
        answer = self._ask(("case", case, texts), seconds)
        if isinstance(answer, Measured):
            return answer
        status, reason, spent = answer
        return failed(status, reason, spent, len(texts))

    def batch(self, case: Case, documents: list[list[list[int]]], sizes: Sequence[int], seconds: float) -> Any:
        """Microseconds of batch steps, see `measure_batches`; a string when there are none, which says why."""
        answer = self._ask(("batch", case, documents, sizes), seconds)
        return answer if isinstance(answer, dict) else f"{answer[0]} {answer[1]}".strip()

    def stop(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, other = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(other, *self._arguments), daemon=True)
        self._process.start()
        other.close()
        if not self._pipe.poll(_START_SECONDS):
            raise RuntimeError(f"{self.name} did not start within {_START_SECONDS} s")
        self._pipe.recv()

    def _ask(self, question: tuple[Any, ...], seconds: float) -> Any:
        begun = time.perf_counter()
        try:
            self._pipe.send(question)
            if self._pipe.poll(seconds):
                answer, peak = self._pipe.recv()
                self.peak_mib = max(self.peak_mib, peak)
                return answer
            status, reason = "timeout", f"took more than {seconds:g} s"
        except (EOFError, OSError):
            status, reason = "crashed", "the process ended"
        spent = time.perf_counter() - begun
        self._process.kill()
        self._process.join()
        self._start()
        return status, reason, spent


def _serve(pipe: Connection, name: str, tokens: Tokens, options: Options) -> None:
    os.environ.update(OMP_NUM_THREADS="1", RAYON_NUM_THREADS="1")
    engine = make(name, tokens, options)
    KEPT.begin()  # as servers do
    pipe.send("ready")
    while True:
        try:
            kind, *question = pipe.recv()
        except EOFError:
            return
        try:
            answer = (
                _measure(engine, options.clock, *question)
                if kind == "case"
                else measure_batches(engine, options.clock, *question)
            )
        except Exception as error:  # an engine may raise anything; its process is still good
            answer = "crashed", f"{type(error).__name__}: {reason_of(error)}", 0.0
        pipe.send((answer, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB))


# -- one case -------------------------------------------------------------------------------------------------


def _measure(engine: Engine, clock: Clock, case: Case, texts: list[list[int]]) -> Measured:
    begun = clock()
    try:
        grammar = engine.compile(case)
        compiled = clock()
        matcher = engine.start(grammar)
        engine.mask(matcher)
        first_mask = clock()
    except (Refused, Unsatisfiable) as error:
        status = "refused" if isinstance(error, Refused) else "unsatisfiable"
        return failed(status, reason_of(error), (clock() - begun) / 1e9, len(texts))
    engine.stop(matcher)
    begun_later = clock()
    engine.tidy()
    later = clock() - begun_later
    first, accepted = _pass(engine, clock, grammar, texts)
    warm, _ = _pass(engine, clock, grammar, texts)
    seconds = (compiled - begun) / 1e9, (first_mask - begun) / 1e9
    return Measured("ok", "", *seconds, first, warm, accepted, later / 1e9)


def _pass(engine: Engine, clock: Clock, grammar: Any, texts: list[list[int]]) -> tuple[np.ndarray, list[bool]]:
    spent: list[int] = []
    accepted = []
    for text in texts:
        matcher = engine.start(grammar)
        good = True
        for token in text:
            begun = clock()
            engine.mask(matcher)
            good = engine.take(matcher, token)
            spent.append(clock() - begun)
            if not good:
                break
        if good:
            begun = clock()
            engine.mask(matcher)
            spent.append(clock() - begun)
        accepted.append(good and engine.accepting(matcher))
        engine.stop(matcher)
    return np.array(spent) / 1000, accepted


# -- batches --------------------------------------------------------------------------------------------------


def measure_batches(
    engine: Engine, clock: Clock, case: Case, documents: list[list[list[int]]], sizes: Sequence[int]
) -> dict[str, np.ndarray]:
    """Microseconds of each step (all sequences go on by a token, all masks are found) of batches of each size.

    documents: rounds of documents. The first round is met before, and measured again, `warm`; the others are new to the
    engine, `fresh`. `gathered`, where the engine tells rows from masks: the warm round with the rows copied out.
    Sequences stand at different places of their documents, and all steps are measured at which none of them ends.
    """
    grammar = engine.compile(case)
    result: dict[str, np.ndarray] = {}
    known, *new = documents
    for size in sizes:
        _run(engine, clock, grammar, known[:size], engine.batch)
        result[f"warm {size}"] = _run(engine, clock, grammar, known[:size], engine.batch)
        if gathered := getattr(engine, "gathered_batch", None):
            result[f"gathered {size}"] = _run(engine, clock, grammar, known[:size], gathered)
    for size, fresh in zip(sizes, new, strict=True):
        result[f"fresh {size}"] = _run(engine, clock, grammar, fresh[:size], engine.batch)
    return result


def _run(
    engine: Engine,
    clock: Clock,
    grammar: Any,
    documents: list[list[int]],
    batch: Callable[[list[Any]], Callable[[Sequence[int]], None]],
) -> np.ndarray:
    shortest = min(map(len, documents))
    offsets = [i % (shortest // 2) for i in range(len(documents))]
    matchers = []
    for document, offset in zip(documents, offsets, strict=True):
        matcher = engine.start(grammar)
        engine.mask(matcher)
        for token in document[:offset]:
            if not engine.take(matcher, token):
                raise RuntimeError("the engine does not allow a document of the batch")
            engine.mask(matcher)
        matchers.append(matcher)
    step = batch(matchers)
    spent = []
    for at in range(shortest // 2):
        tokens = [document[offset + at] for document, offset in zip(documents, offsets, strict=True)]
        begun = clock()
        step(tokens)
        spent.append(clock() - begun)
    for matcher in matchers:
        engine.stop(matcher)
    return np.array(spent) / 1000
