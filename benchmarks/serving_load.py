"""Loads that show one side of our engine each: a long prompt among running streams, and prompts that share prefixes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rootform import Engine
from rootform.engine.job import Job
from rootform.grammar.collector import KEPT

from .serving_workload import Shape, distinct_prefixes, make_families, make_workload

_STREAMS = 8
_BEFORE_TOKENS = 320  # of each stream, before the long prompt arrives: p99 of few says little
_AFTER_TOKENS = 320  # after it
_SETTLED_TOKENS = 20  # of each stream, left out: prompts are computed meanwhile
_LONG_TOKENS = 6000


class Gaps(NamedTuple):
    """Times between tokens of running streams, ms: before, while and after a long prompt is computed.

    The streams get longer all the while, and slower for that alone: `after` tells by how much.
    """

    before_p50: float
    before_p99: float
    during_p50: float
    during_p99: float
    during_max: float
    after_p50: float
    after_p99: float


class Stall(NamedTuple):
    """wall: by the wall's clock.  cpu: the processor time of the engine's process meanwhile, which other processes on
    the machine hardly change.  long_s: seconds that the prompt took.  n_during: gaps meanwhile."""

    wall: Gaps
    cpu: Gaps
    long_s: float
    n_during: int


class Trace(NamedTuple):
    """Prompts that share prefixes. minimum: prompt tokens that must be computed with memory for all of them.

    computed: by the engine with so much memory; tight: with memory for a third of the minimum.
    """

    requests: int
    prompt_tokens: int
    minimum: int
    computed: int
    tight: int


def measure_stall(folder: Path, seed: int, threads: int, prefill_tokens: int | None) -> Stall:
    """Streams run unconstrained and without drafts, so that each pass gives each one token."""
    prompts = make_workload(folder, seed, 0, _STREAMS, 0, 100).prompts
    (long_prompt,) = make_workload(folder, seed, 1, 1, 0, _LONG_TOKENS).prompts
    with Engine(folder, threads=threads, drafts=False, prefill_tokens=prefill_tokens) as engine:
        KEPT.begin()  # as the command line does
        jobs = [engine.submit(_call(ids, max_tokens=4000)) for ids in prompts]
        streams = [_Stream(job) for job in jobs]
        _wait(streams, _BEFORE_TOKENS)
        arrived = time.perf_counter()
        engine.submit(_call(long_prompt, max_tokens=1)).result()
        done = time.perf_counter()
        _wait(streams, _AFTER_TOKENS + max(len(each.times) for each in streams))
        for job in jobs:
            job.cancel()
        for each in streams:
            each.thread.join()
    times = [np.array(each.times[_SETTLED_TOKENS:]) for each in streams]  # (tokens, 2)
    at = np.concatenate([each[1:, 0] for each in times])
    gaps = 1e3 * np.concatenate([np.diff(each, axis=0) for each in times])
    before, during, after = gaps[at <= arrived], gaps[(at > arrived) & (at <= done)], gaps[at > done]
    if not len(during):
        raise RuntimeError("no stream had a token while the long prompt was computed")
    wall, cpu = (
        Gaps(*_percentiles(before[:, clock]), *_percentiles(during[:, clock], 100), *_percentiles(after[:, clock]))
        for clock in (0, 1)
    )
    return Stall(wall, cpu, done - arrived, len(during))


def _percentiles(gaps: np.ndarray, *more: int) -> list[float]:
    return np.percentile(gaps, [50, 99, *more]).tolist()


def _wait(streams: Sequence[_Stream], n_tokens: int) -> None:
    """Until each has had so many, or has ended."""
    while any(len(each.times) < n_tokens and each.thread.is_alive() for each in streams):
        time.sleep(0.01)


def measure_trace(folder: Path, shape: Shape, seed: int, threads: int, requests: int, families: int) -> Trace:
    """All requests arrive at once, one token of output each."""
    prompts = make_families(folder, seed, requests, families)
    minimum = distinct_prefixes(prompts)
    row_bytes = 4 * 2 * shape.layers * shape.kv_heads * shape.head_dim
    room = 2 * minimum + 64 * 1024  # sequences in the making stand beside the tree
    computed = _computed(folder, threads, prompts, room * row_bytes)
    tight = _computed(folder, threads, prompts, minimum // 3 * row_bytes)
    return Trace(requests, sum(map(len, prompts)), minimum, computed, tight)


class _Stream:
    """The moments at which a job's tokens came, by the wall's clock and by the process's processor time."""

    def __init__(self, job: Job) -> None:
        self.times: list[tuple[float, float]] = []
        self._job = job
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        from concurrent.futures import CancelledError

        try:
            for delta in self._job:
                self.times += [(time.perf_counter(), time.process_time())] * len(delta.token_ids)
        except CancelledError:
            pass


def _call(ids: list[int], max_tokens: int):
    from rootform.engine.types import Call

    return Call(prompt=tuple(ids), max_tokens=max_tokens, ignore_eos=True)


def _computed(folder: Path, threads: int, prompts: list[list[int]], kv_bytes: int) -> int:
    with Engine(folder, threads=threads, kv_bytes=kv_bytes) as engine:
        engine.generate([tuple(ids) for ids in prompts], max_tokens=1, ignore_eos=True)
        return engine.stats().prefill_tokens
