"""The one thread that owns the step loop. Others leave messages in its queue; it pushes what comes of them to jobs."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from ..grammar.generations import Root
from ..grammar.verbatim_fields import verbatim_fields
from .compiling import Compilation, Compilers
from .job import Job, Wakes
from .step import StepLoop
from .types import (
    Cancelled,
    Completion,
    Delta,
    Event,
    Failed,
    Finished,
    JsonSchema,
    Lenience,
    Request,
    RootformError,
    TokenLogprob,
)

log = logging.getLogger(__name__)
T = TypeVar("T")
Judge = Callable[[JsonSchema, str, Callable[[Lenience | BaseException], None]], None]

_NO_EOS = (
    "this model names no end-of-sequence token, so the end of constrained output cannot be told; "
    "name one as eos_token_id in its generation_config.json"
)


@dataclass(slots=True)
class _Accepted:
    """A job whose final event has not come, and the parts of its completion."""

    request: Request
    job: Job
    texts: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    compilation: Compilation | None = None  # of its constraint, while that lasts

    def push(self, delta: Delta, wakes: Wakes) -> None:
        self.texts.append(delta.text)
        self.token_ids.extend(delta.token_ids)
        self.logprobs.extend(delta.logprobs)
        self.job.push(delta, wakes)

    def end(self, event: Finished | Cancelled | Failed, judge: Judge) -> None:
        if isinstance(event, Cancelled):
            self.job.fail(CancelledError())
        elif isinstance(event, Failed):
            self.job.fail(RootformError(event.error, status=event.status))
        else:
            self._finish(event, judge)

    def _finish(self, event: Finished, judge: Judge) -> None:
        try:
            completion = self._completion(event)
        except Exception as error:
            log.exception("request %d: its verbatim values could not be found", self.request.request_id)
            self.job.fail(RootformError(f"finding verbatim values failed: {error}", status=500))
            return
        constraint = self.request.constraint
        if isinstance(constraint, JsonSchema) and constraint.lenient:
            judge(constraint, completion.text, lambda found: self._judged(completion, found))
        else:
            self.job.finish(completion)

    def _judged(self, completion: Completion, found: Lenience | BaseException) -> None:
        """Runs on any thread."""
        if isinstance(found, Lenience):
            self.job.finish(msgspec.structs.replace(completion, lenience=found))
        elif isinstance(found, CancelledError):
            self.job.fail(found)
        else:
            log.error("request %d: its text could not be checked", self.request.request_id, exc_info=found)
            self.job.fail(RootformError(f"checking a lenient schema's value failed: {found}", status=500))

    def _completion(self, event: Finished) -> Completion:
        text, constraint = "".join(self.texts), self.request.constraint
        return Completion(
            text=text,
            token_ids=tuple(self.token_ids),
            finish_reason=event.reason,
            usage=event.usage,
            logprobs=tuple(self.logprobs),
            closed_early=event.closed_early,
            matched_stop=event.matched_stop,
            verbatim=verbatim_fields(constraint, text) if isinstance(constraint, JsonSchema) else (),
        )


class _Stop(Exception):
    """Raised on the thread to end it."""


class StepThread:
    """Runs a StepLoop. All methods may be called from any thread.

    compilers: None where the model cannot have constraints. on_step: called on the thread after each step and each
    message, with the number of requests whose constraint is still being compiled; before the events that came of it go
    out, so that whoever sees an event finds it counted.
    """

    def __init__(self, loop: StepLoop, compilers: Compilers | None, on_step: Callable[[int], None]) -> None:
        self._loop = loop
        self._compilers = compilers
        self._on_step = on_step
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._accepted: dict[int, _Accepted] = {}  # touched by the thread only
        self._closing = threading.Lock()
        self._is_closed = False
        self._broke: str | None = None
        self._thread = threading.Thread(target=self._run, name="rootform-step", daemon=True)
        self._thread.start()

    # -- from any thread --------------------------------------------------------------------------------------

    def submit(self, request: Request) -> Job:
        """Accept a request. Its constraint is compiled beside the step loop."""

        def cancel() -> None:
            self._leave(lambda: self._cancel(request.request_id))

        job = Job(on_cancel=cancel)
        if not self._leave(lambda: self._accept(request, job)):
            raise RootformError("this engine was closed; make a new one", status=503)
        return job

    @property
    def trouble(self) -> str | None:
        """Why no request can be taken; None while all is well."""
        return self._broke or ("the engine was closed" if self._is_closed else None)

    def ask(self, question: Callable[[], T]) -> T:
        """The answer of a function run on the thread, between steps, where it may look at all state."""
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(question())
            except Exception as error:
                answer.set_exception(error)

        if not self._leave(run):
            raise RootformError("this engine was closed; make a new one", status=503)
        return answer.result()

    def close(self) -> None:
        """End the thread; jobs still running are cancelled. Calling it again does nothing."""

        def stop() -> None:
            raise _Stop

        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._inbox.put(stop)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        if self._compilers is not None:
            self._compilers.close()

    def _leave(self, message: Callable[[], None]) -> bool:
        """Leave a message; False when nobody will read it."""
        with self._closing:
            if not self._is_closed:
                self._inbox.put(message)
            return not self._is_closed

    # -- on the thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        error: BaseException = CancelledError()
        try:
            while True:
                self._read_messages()
                events = self._loop.step() if self._loop.busy else []
                self._note()
                self._deliver(events)
        except _Stop:
            pass
        except BaseException as unexpected:
            log.exception("the step loop broke")
            self._broke = f"the engine broke: {type(unexpected).__name__}: {unexpected}"
            error = RootformError(self._broke, status=500)
        finally:
            self._end_all(error)

    def _note(self) -> None:
        self._on_step(sum(each.compilation is not None for each in self._accepted.values()))

    def _read_messages(self) -> None:
        """Run all messages there are; with nothing else to do, sleep until one comes."""
        if not self._loop.busy:
            self._inbox.get()()
        while not self._inbox.empty():
            self._inbox.get()()

    def _accept(self, request: Request, job: Job) -> None:
        accepted = _Accepted(request, job)
        self._accepted[request.request_id] = accepted
        if request.constraint is None:
            self._add(request, None)
        elif self._compilers is None:
            self._refuse(request, RootformError(_NO_EOS, param="constraint"))
        else:
            accepted.compilation = self._compilers.compile(
                request.constraint, lambda outcome: self._compiled(request, outcome)
            )

    def _compiled(self, request: Request, outcome: Root | RootformError) -> None:
        """Runs on any thread; the outcome goes back as a message."""
        if isinstance(outcome, RootformError):
            self._leave(lambda: self._refuse(request, outcome))
        else:
            self._leave(lambda: self._add(request, outcome))

    def _add(self, request: Request, root: Root | None) -> None:
        accepted = self._accepted.get(request.request_id)
        if accepted is None:
            return  # cancelled meanwhile
        accepted.compilation = None
        try:
            events = self._loop.add(request, root)
        except Exception as error:
            self._refuse(request, error)
        else:
            self._tell(events)

    def _refuse(self, request: Request, error: Exception) -> None:
        accepted = self._accepted.pop(request.request_id, None)
        if accepted is not None:
            self._loop.counts.failed += 1
            self._note()
            accepted.job.fail(error)

    def _cancel(self, request_id: int) -> None:
        self._tell(self._loop.cancel(request_id))
        accepted = self._accepted.pop(request_id, None)
        if accepted is not None:  # its constraint was still being compiled: the loop did not know it
            if accepted.compilation is not None:
                accepted.compilation.cancel()
            self._loop.counts.cancelled += 1
            self._note()
            accepted.job.fail(CancelledError())

    def _tell(self, events: list[Event]) -> None:
        """Deliver what came of a message."""
        if events:
            self._note()
        self._deliver(events)

    def _deliver(self, events: list[Event]) -> None:
        wakes = Wakes()
        for event in events:
            if isinstance(event, Delta):
                self._accepted[event.request_id].push(event, wakes)
            else:
                self._accepted.pop(event.request_id).end(event, self._judge)
        wakes.send()

    def _judge(self, constraint: JsonSchema, text: str, done: Callable[[Lenience | BaseException], None]) -> None:
        assert self._compilers is not None  # without them no request has a constraint
        self._compilers.judge(constraint, text, done)

    def _end_all(self, error: BaseException) -> None:
        """The thread ends. Read what is left, so that each job submitted before close() gets its final event."""
        with self._closing:
            self._is_closed = True
        while not self._inbox.empty():
            message = self._inbox.get()
            with contextlib.suppress(_Stop):
                message()
        for request_id, accepted in self._accepted.items():
            self._loop.cancel(request_id)
            accepted.job.fail(error)
        self._accepted.clear()
        self._on_step(0)
