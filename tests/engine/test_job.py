"""Consumers of deltas on event loops are woken together, and none is forgotten."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from rootform.engine.job import Job, Wakes
from rootform.engine.types import Completion, Delta, Usage

N_STREAMS, N_STEPS = 20, 5


def test_streams_of_one_loop_are_woken_by_one_call_and_read_all() -> None:
    jobs = [Job(lambda: None) for _ in range(2 * N_STREAMS)]
    texts: list[list[str]] = [[] for _ in jobs]
    calls: list[Any] = []
    started = threading.Barrier(3)

    async def read(n: int) -> None:
        async for delta in jobs[n]:
            texts[n].append(delta.text)

    async def read_all(numbers: range) -> None:
        loop = asyncio.get_running_loop()
        call = loop.call_soon_threadsafe

        def counted(*arguments: Any) -> Any:
            calls.append(loop)
            return call(*arguments)

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign]
        tasks = [asyncio.ensure_future(read(n)) for n in numbers]
        await asyncio.sleep(0)  # all of them listen now
        await asyncio.to_thread(started.wait)
        await asyncio.gather(*tasks)

    halves = range(N_STREAMS), range(N_STREAMS, 2 * N_STREAMS)
    threads = [threading.Thread(target=lambda half=half: asyncio.run(read_all(half))) for half in halves]
    for thread in threads:
        thread.start()
    started.wait()
    calls.clear()
    for step in range(N_STEPS):
        wakes = Wakes()
        for n, job in enumerate(jobs):
            job.push(Delta(request_id=n, text=str(step), token_ids=(step,)), wakes)
        wakes.send()
    n_calls = len(calls)
    for job in jobs:
        usage = Usage(prompt_tokens=1, cached_tokens=0, completion_tokens=1, forward_passes=1)
        job.finish(Completion(text="", token_ids=(), finish_reason="stop", usage=usage))
    for thread in threads:
        thread.join()
    assert texts == [[str(step) for step in range(N_STEPS)]] * len(jobs)
    assert 2 * N_STEPS <= n_calls <= 2 * N_STEPS + 2  # one a loop and step; to_thread's own answers may come late


def test_a_closed_loop_is_left_alone() -> None:
    loop = asyncio.new_event_loop()
    wakes = Wakes()
    wakes.add(loop, asyncio.Event())
    loop.close()
    wakes.send()
