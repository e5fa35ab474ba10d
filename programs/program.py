"""@program: a Python function over a growing state, run once, over a table, as a stream, or from asyncio."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..engine.types import RootformError
from .client import Client
from .state import Listener, State

P = ParamSpec("P")
R = TypeVar("R")


class Run(Generic[R]):
    """A finished run: `value` is what the function returned, `run[name]` a generated value, `state` all the rest."""

    def __init__(self, value: R, state: State) -> None:
        self.value = value
        self.state = state

    def __getitem__(self, name: str) -> Any:
        return self.state[name]

    def values(self) -> dict[str, Any]:
        """Every generated value by name."""
        return {name: self.state[name] for name in self.state.names()}

    def text(self) -> str:
        """All that was said."""
        return self.state.text()


class StreamEvent(NamedTuple):
    """New text of the generation `name`."""

    name: str
    text: str


class Program(Generic[R]):
    """What @program makes of a function whose first parameter is the state.

    Called with a state, inside another program, it goes on with that one: programs are made of programs.
    """

    def __init__(self, function: Callable[..., R]) -> None:
        self.function = function
        self.__name__ = getattr(function, "__name__", "program")
        self.__doc__ = function.__doc__

    def __call__(self, state: State, /, *args: Any, **kwargs: Any) -> R:
        """Go on with the state of the program that calls this one; what the function returns."""
        if not isinstance(state, State):
            name, kind = self.__name__, type(state).__name__
            raise TypeError(f"{name}(...) goes on with a program's state, not {kind}; use {name}.run(client, ...)")
        return self.function(state, *args, **kwargs)

    def run(self, client: Client, /, *args: Any, **kwargs: Any) -> Run[R]:
        """Run once, until all generations and forks are done; raises what any of them failed with."""
        return self._run(client, None, args, kwargs)

    async def arun(self, client: Client, /, *args: Any, **kwargs: Any) -> Run[R]:
        """run() for asyncio: the function runs in a thread of its own."""
        return await asyncio.to_thread(self._run, client, None, args, kwargs)

    def map(
        self,
        client: Client,
        rows: Iterable[Mapping[str, Any]],
        /,
        *,
        concurrency: int = 32,
        progress: bool = False,
        keep_errors: bool = False,
    ) -> list[Run[R] | BaseException]:
        """Run once for each row (its items are keyword arguments), `concurrency` at a time; results in row order.

        progress: draw a bar on stderr. keep_errors: a failed row's place holds its exception; otherwise the first
        failure is raised after the rows under way have ended, and the rows not yet begun are not run. The exception has
        a note that says which row it was, from 0.
        """
        table = list(rows)
        if concurrency < 1:
            raise RootformError(f"map(concurrency={concurrency}): at least one run at a time is needed")
        stopped = threading.Event()

        def one(number: int, row: Mapping[str, Any]) -> Run[R] | BaseException:
            if stopped.is_set():
                return RootformError("not run: an earlier row failed")
            try:
                return self._run(client, None, (), row)
            except Exception as error:
                error.add_note(f"in {self.__name__}.map(), row {number}")
                if not keep_errors:
                    stopped.set()
                return error

        with (
            ThreadPoolExecutor(concurrency, thread_name_prefix="rootform-map") as pool,
            _bar(progress) as bar,
        ):
            task = bar.add_task(self.__name__, total=len(table))
            results: list[Run[R] | BaseException] = []
            futures = [pool.submit(one, number, row) for number, row in enumerate(table)]
            for future in futures:
                future.add_done_callback(lambda _: bar.advance(task))
            results.extend(future.result() for future in futures)
        if not keep_errors:
            _raise_first(results)
        return results

    async def amap(self, client: Client, rows: Iterable[Mapping[str, Any]], /, **options: Any) -> list[Any]:
        """map() for asyncio."""
        return await asyncio.to_thread(lambda: self.map(client, rows, **options))

    def stream(self, client: Client, /, *args: Any, **kwargs: Any) -> Iterator[StreamEvent]:
        """Run in a thread; new text of every generation as it comes (forks interleave). Raises what the run raised.

        The generator's return value (StopIteration.value) is the Run.
        """
        events: queue.SimpleQueue[StreamEvent | None] = queue.SimpleQueue()
        outcome: list[Run[R] | BaseException] = []

        def body() -> None:
            try:
                outcome.append(self._run(client, lambda n, t: events.put(StreamEvent(n, t)), args, kwargs))
            except BaseException as error:
                outcome.append(error)
            events.put(None)

        threading.Thread(target=body, daemon=True, name="rootform-stream").start()
        while (event := events.get()) is not None:
            yield event
        _raise_first(outcome)
        return outcome[0]

    def _run(self, client: Client, listener: Listener | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Run[R]:
        state = State(client, listener)
        value = self.function(state, *args, **kwargs)
        state.wait_with_forks()
        return Run(value, state)


def program(function: Callable[..., R]) -> Program[R]:
    """Make a function over a state a program.

    >>> @program
    ... def answer(s, question):
    ...     s += user(question)
    ...     s += assistant(gen("answer", max_tokens=64))
    >>> answer.run(engine, question="...")["answer"]
    """
    return Program(function)


def _bar(shown: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not shown)


def _raise_first(results: Sequence[object]) -> None:
    for result in results:
        if isinstance(result, BaseException):
            raise result
