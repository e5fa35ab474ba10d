"""Jobs seen from the event loop: submitted off it, awaited together, merged into one stream, never left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import Any

from starlette.types import Receive

from ..engine.job import Job
from ..engine.types import Call, Completion, Delta
from .errors import as_rootform_error

Happening = Delta | Completion | Exception
"""What a job's stream brings: new text, then the whole completion or what it failed with."""


def cancel_all(jobs: Sequence[Job]) -> None:
    """Drop what still runs; a job that has ended does not mind."""
    for job in jobs:
        if not job.future.done():
            job.cancel()


async def submit_all(submit: Callable[[Call], Job], calls: Sequence[Call]) -> list[Job]:
    """Submit in a thread, since tokenising may take long. All or none: a refusal cancels those before it."""
    jobs: list[Job] = []

    def submit_each() -> None:
        try:
            jobs.extend(submit(call) for call in calls)
        except BaseException:
            cancel_all(jobs)
            raise

    submitting = asyncio.get_running_loop().run_in_executor(None, submit_each)
    try:
        await asyncio.shield(submitting)
    except asyncio.CancelledError:  # the thread goes on; what it has submitted is dropped when it is through
        submitting.add_done_callback(lambda done: done.exception() or cancel_all(jobs))
        raise
    return jobs


async def completions(jobs: Sequence[Job]) -> list[Completion]:
    """All completions, in the order of the jobs. Raises RootformError as soon as one job fails."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Queue[Job] = asyncio.Queue()

    def tell(job: Job) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever waited
            loop.call_soon_threadsafe(ended.put_nowait, job)

    for job in jobs:
        job.future.add_done_callback(lambda _, job=job: tell(job))
    for _ in jobs:
        job = await ended.get()
        if error := job.future.exception():
            raise as_rootform_error(error)
    return [job.future.result() for job in jobs]


async def merged(jobs: Sequence[Job]) -> AsyncGenerator[tuple[int, Happening], None]:
    """What happens in any of the jobs, as it happens, with the job's index; ends when all have ended."""
    happenings: asyncio.Queue[tuple[int, Happening]] = asyncio.Queue()

    async def follow(index: int, job: Job) -> None:
        try:
            async for delta in job:
                happenings.put_nowait((index, delta))
            happenings.put_nowait((index, job.future.result()))
        except Exception as error:
            happenings.put_nowait((index, error))

    followers = [asyncio.create_task(follow(index, job)) for index, job in enumerate(jobs)]
    running = len(jobs)
    try:
        while running:
            index, happening = await happenings.get()
            running -= not isinstance(happening, Delta)
            yield index, happening
    finally:
        for follower in followers:
            follower.cancel()


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work, but drop it when the client goes away. True: done. False: dropped.

    receive: of a request whose body has been read, so that all that can still come is the disconnect.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        working.result()
        return True
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
