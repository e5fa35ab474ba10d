"""Many calls at once, a bounded number in flight."""

from __future__ import annotations

import queue
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import TypeVar

from ..engine.job import Job
from ..engine.types import Call, Completion, RootformError
from ..programs.client import Client

K = TypeVar("K")
Again = Callable[[Call, RootformError, int], Call | None]
"""What to ask instead of a call that was refused, and had been asked so many times; None: nothing."""


def never(call: Call, error: RootformError, times: int) -> None:
    """An `Again` that asks nothing."""


def fly(
    client: Client, calls: Iterable[tuple[K, Call]], concurrency: int, again: Again = never
) -> Generator[tuple[K, Completion | BaseException], None, None]:
    """Make the calls, in their order, at most `concurrency` at once; yield (key, outcome) in the order they end.

    `calls` is read only as far as there is room. Closing the iterator, or an error in `calls` or `again`, cancels what
    runs.
    """
    landed: queue.SimpleQueue[Future[Completion]] = queue.SimpleQueue()
    flying: dict[int, tuple[K, Call, Job, int]] = {}  # by identity of the job's future

    def launch(key: K, call: Call, times: int = 1) -> None:
        job = submit(client, call)
        flying[id(job.future)] = key, call, job, times
        job.future.add_done_callback(landed.put)

    rest = iter(calls)
    try:
        while True:
            while len(flying) < concurrency and (following := next(rest, None)) is not None:
                launch(*following)
            if not flying:
                return
            future = landed.get()
            key, call, _, times = flying.pop(id(future))
            error = future.exception()
            other = again(call, error, times) if isinstance(error, RootformError) else None
            if other is not None:
                launch(key, other, times + 1)
            else:
                yield key, error or future.result()
    finally:
        for _, _, job, _ in flying.values():
            job.cancel()


def submit(client: Client, call: Call) -> Job:
    """Start a call; one that is refused at once is a job that has failed already."""
    try:
        return client.submit(call)
    except RootformError as error:
        job = Job(on_cancel=lambda: None)
        job.fail(error)
        return job
