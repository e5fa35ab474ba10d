"""The growing state of a running program: what was said so far, what is being generated, and the named values.

A state never blocks on append: parts queue up, texts apply at once, a generation is submitted to the client when
everything before it is there, and reading a value waits for it. Forks are states that start from a copy.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..engine.job import Job
from ..engine.types import Call, Completion, Message, RootformError, Usage
from .client import Client
from .parts import Gen, Joinable, Role, Text, Turn, as_parts

# Runs the continuation after a generation, off the engine's step thread. Its tasks never wait, so it cannot fill up.
_CONTINUE = ThreadPoolExecutor(max_workers=4, thread_name_prefix="rootform-program")

Listener = Callable[[str, str], None]
"""Told (name, new text) while a generation streams."""


@dataclass(frozen=True)
class Transcript:
    """What was said: whole turns, then the open one. Without any role it is one raw prompt (open_role None)."""

    turns: tuple[Message, ...] = ()
    open_role: Role | None = None
    open_text: str = ""

    def opened(self, role: Role) -> Transcript:
        if self.open_role is not None or self.open_text:
            raise RootformError(
                f"a {role} turn cannot begin inside "
                + (f"a {self.open_role} turn" if self.open_role else "raw text")
                + "; use roles for all of a program's text, or for none"
            )
        return replace(self, open_role=role)

    def closed(self) -> Transcript:
        assert self.open_role is not None
        return Transcript((*self.turns, Message(self.open_role, self.open_text)))

    def added(self, text: str) -> Transcript:
        if self.open_role is None and self.turns:
            raise RootformError("text after a turn needs a role: append system(), user() or assistant()")
        return replace(self, open_text=self.open_text + text)

    def call(self, part: Gen) -> Call:
        """The call that generates `part` here."""
        fields = {
            "constraint": part.constraint,
            "sampling": part.sampling,
            "max_tokens": part.max_tokens,
            "stop": part.stop,
            "top_logprobs": part.top_logprobs,
            "logprobs_over": part.logprobs_over,
            "priority": part.priority,
        }
        if self.open_role is None:
            return Call(prompt=self.added("").open_text, **fields)
        if self.open_role != "assistant":
            raise RootformError(f"gen({part.name!r}) stands in a {self.open_role} turn; only assistants write")
        if not self.open_text:
            return Call(messages=self.turns, **fields)
        return Call(messages=self.closed().turns, continue_final=True, **fields)


@dataclass(frozen=True)
class _Open:
    role: Role


@dataclass(frozen=True)
class _Close:
    pass


@dataclass(frozen=True)
class _Fork:
    children: tuple[State, ...]


_Op = Text | Gen | _Open | _Close | _Fork


class State:
    """A program's state; see the module's text. Thread-safe: its lock guards every field below it."""

    def __init__(self, client: Client, listener: Listener | None = None) -> None:
        self._client = client
        self._listener = listener
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._ops: deque[_Op] = deque()
        self._transcript = Transcript()
        self._busy = False  # a generation is running, or a fork's parent has not come to the fork yet
        self._error: BaseException | None = None
        self._completions: dict[str, Future[Completion]] = {}
        self._gens: dict[str, Gen] = {}
        self._usages: list[Usage] = []
        self._forks: list[State] = []

    # -- appending ------------------------------------------------------------------------------------------

    def __iadd__(self, part: str | Joinable | Turn) -> State:
        """Append text, a generation, joined parts, or a whole turn."""
        if isinstance(part, Turn):
            self._append([_Open(part.role), *part.parts.items, _Close()])
        else:
            self._append(list(as_parts(part).items))
        return self

    @contextmanager
    def turn(self, role: Role) -> Iterator[State]:
        """`with state.turn("assistant"):` a turn made of several appends."""
        self._append([_Open(role)])
        yield self
        self._append([_Close()])

    def fork(self, n: int) -> list[State]:
        """n states that go on from here, side by side; what was said so far is shared, and so is its KV."""
        if n < 1:
            raise RootformError(f"fork({n}): at least one fork is needed")
        children = tuple(State(self._client, self._listener) for _ in range(n))
        with self._lock:
            for child in children:
                child._busy = True
                child._completions.update(self._completions)
                child._gens.update(self._gens)
            self._forks.extend(children)
        self._append([_Fork(children)])
        return list(children)

    def _append(self, ops: Sequence[_Op]) -> None:
        with self._lock:
            for op in ops:
                if isinstance(op, Gen):
                    if op.name in self._completions:
                        raise RootformError(f"the name {op.name!r} is taken by an earlier gen() or select()")
                    self._completions[op.name] = Future()
                    self._gens[op.name] = op
            self._ops.extend(ops)
        self._advance()

    # -- running --------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Apply queued parts until one must wait for the model. Only one thread does so at a time."""
        with self._lock:
            if self._busy:
                return
            self._busy = True
        while True:
            with self._lock:
                if self._error is not None:
                    self._drop_queue(self._error)
                if not self._ops:
                    self._busy = False
                    self._changed.notify_all()
                    return
                op = self._ops.popleft()
            try:
                if isinstance(op, Gen):
                    self._submit(op)
                    return  # still busy; _generated() goes on
                self._apply(op)
            except Exception as error:  # what the caller did wrong is told to whoever reads the state
                self._fail(error, op)

    def _apply(self, op: Text | _Open | _Close | _Fork) -> None:
        if isinstance(op, Text):
            self._transcript = self._transcript.added(op.text)
        elif isinstance(op, _Open):
            self._transcript = self._transcript.opened(op.role)
        elif isinstance(op, _Close):
            self._transcript = self._transcript.closed()
        else:
            for child in op.children:
                child._begin(self._transcript)

    def _begin(self, transcript: Transcript) -> None:
        with self._lock:
            self._transcript = transcript
            self._busy = False
        self._advance()

    def _submit(self, part: Gen) -> None:
        job = self._client.submit(self._transcript.call(part))
        if self._listener is None:
            job.future.add_done_callback(lambda done: _CONTINUE.submit(self._generated, part, done))
        else:
            threading.Thread(target=self._stream, args=(part, job, self._listener), daemon=True).start()

    def _stream(self, part: Gen, job: Job, listener: Listener) -> None:
        """Tell the listener of each new text, then go on; so its last text comes before the program's next step."""
        try:
            for delta in job:
                listener(part.name, delta.text)
        except (Exception, CancelledError):
            pass  # the same failure is in job.future, where _generated finds it
        self._generated(part, job.future)

    def _generated(self, part: Gen, done: Future[Completion]) -> None:
        error = _error_of(done)
        if error is not None:
            self._fail(error, part)
        else:
            completion = done.result()
            self._transcript = self._transcript.added(completion.text)
            self._usages.append(completion.usage)
            self._completions[part.name].set_result(completion)
        with self._lock:
            self._busy = False
        self._advance()

    def _fail(self, error: BaseException, op: _Op) -> None:
        if isinstance(op, Gen):
            error.add_note(f"in gen({op.name!r})")
        with self._lock:
            self._error = self._error or error
            self._drop_op(op, error)

    def _drop_queue(self, error: BaseException) -> None:
        while self._ops:
            self._drop_op(self._ops.popleft(), error)

    def _drop_op(self, op: _Op, error: BaseException) -> None:
        if isinstance(op, Gen):
            self._completions[op.name].set_exception(error)
        elif isinstance(op, _Fork):
            for child in op.children:
                child._error = error
                _CONTINUE.submit(child._begin, self._transcript)

    # -- reading --------------------------------------------------------------------------------------------

    def completion(self, name: str) -> Completion:
        """Everything the engine said of a generation; waits for it, raises what it failed with."""
        if name not in self._completions:
            known = ", ".join(map(repr, self._completions)) or "none yet"
            raise KeyError(f"nothing is generated under {name!r}; names: {known}")
        return self._completions[name].result()

    def __getitem__(self, name: str) -> Any:
        """The value generated under `name`: text, or what its schema's type decodes to."""
        completion, typed = self.completion(name), self._gens[name].typed
        return completion.text if typed is None else typed.decode(completion.text)

    def __contains__(self, name: str) -> bool:
        return name in self._completions

    def names(self) -> tuple[str, ...]:
        """The names of all generations, in the order they were appended."""
        return tuple(self._completions)

    def wait(self) -> State:
        """Wait until everything appended is done; raises the first failure."""
        with self._lock:
            self._changed.wait_for(lambda: not self._busy and not self._ops)
            error = self._error
        if error is not None:
            raise error
        return self

    def wait_with_forks(self) -> None:
        """wait() for this state and every fork of it; raises the first failure."""
        self.wait()
        for fork in self._forks:
            fork.wait_with_forks()

    def messages(self) -> tuple[Message, ...]:
        """All whole turns so far; waits for pending generations."""
        return self.wait()._transcript.turns

    def text(self) -> str:
        """All that was said, without roles; waits for pending generations."""
        transcript = self.wait()._transcript
        return "".join(message.content for message in transcript.turns) + transcript.open_text

    def usage(self) -> Usage:
        """The sum over this state's own generations (a fork does not count its parent's)."""
        self.wait()
        return Usage(
            prompt_tokens=sum(u.prompt_tokens for u in self._usages),
            cached_tokens=sum(u.cached_tokens for u in self._usages),
            completion_tokens=sum(u.completion_tokens for u in self._usages),
            forward_passes=sum(u.forward_passes for u in self._usages),
        )


def join(forks: Sequence[State]) -> dict[str, list[Any]]:
    """Wait for all forks; each generated name with its values, in the order of the forks that have it."""
    values: dict[str, list[Any]] = {}
    for fork in forks:
        fork.wait()
    for fork in forks:
        for name in fork.names():
            values.setdefault(name, []).append(fork[name])
    return values


def _error_of(done: Future[Completion]) -> BaseException | None:
    return RootformError("the call was cancelled", status=499) if done.cancelled() else done.exception()
