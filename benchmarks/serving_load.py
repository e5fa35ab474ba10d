"""Loads that show one side of our engine each: a long prompt among running streams, and prompts that share prefixes."""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rootform import Engine
from rootform.engine.job import Job

from .serving_workload import Shape, distinct_prefixes, make_families, make_workload

_STREAMS = 8
_BEFORE_TOKENS = 320  # of each stream, before the long prompt arrives: p99 of few says little
_SETTLED_TOKENS = 20  # of each stream, left out: prompts are computed meanwhile
_LONG_TOKENS = 6000


class Gaps(NamedTuple):
    """Times between tokens of running streams, ms by the wall's clock, before and while a long prompt is computed."""

    before_p50: float
    before_p99: float
    during_p50: float
    during_p99: float
    during_max: float
    n_during: int
    long_s: float


class Trace(NamedTuple):
    """Prompts that share prefixes. minimum: prompt tokens that must be computed with memory for all of them.

    computed: by the engine with so much memory; tight: with memory for a third of the minimum.
    """

    requests: int
    prompt_tokens: int
    minimum: int
    computed: int
    tight: int


def measure_stall(folder: Path, seed: int, threads: int, prefill_tokens: int | None) -> Gaps:
    """Streams run unconstrained and without drafts, so that each pass gives each one token."""
    prompts = make_workload(folder, seed, 0, _STREAMS, 0, 100).prompts
    (long_prompt,) = make_workload(folder, seed, 1, 1, 0, _LONG_TOKENS).prompts
    with Engine(folder, threads=threads, drafts=False, prefill_tokens=prefill_tokens) as engine:
        gc.collect()
        gc.freeze()  # as the command line does
        jobs = [engine.submit(_call(ids, max_tokens=2000)) for ids in prompts]
        streams = [_Stream(job) for job in jobs]
        while min(len(each.times) for each in streams) < _BEFORE_TOKENS:
            time.sleep(0.01)
        arrived = time.perf_counter()
        engine.submit(_call(long_prompt, max_tokens=1)).result()
        done = time.perf_counter()
        for job in jobs:
            job.cancel()
        for each in streams:
            each.thread.join()
    gaps = [(times[1:], np.diff(times)) for times in (np.array(each.times[_SETTLED_TOKENS:]) for each in streams)]
    before = 1e3 * np.concatenate([gap[at <= arrived] for at, gap in gaps])
    during = 1e3 * np.concatenate([gap[(at > arrived) & (at <= done)] for at, gap in gaps])
    if not len(during):
        raise RuntimeError("no stream had a token while the long prompt was computed")
    return Gaps(
        *(float(np.percentile(before, q)) for q in (50, 99)),
        *(float(np.percentile(during, q)) for q in (50, 99, 100)),
        len(during),
        done - arrived,
    )


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
    """The moments at which a job's tokens came."""

    def __init__(self, job: Job) -> None:
        self.times: list[float] = []
        self._job = job
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        from concurrent.futures import CancelledError

        try:
            for delta in self._job:
                self.times += [time.perf_counter()] * len(delta.token_ids)
        except CancelledError:
            pass


def _call(ids: list[int], max_tokens: int):
    from rootform.engine.types import Call

    return Call(prompt=tuple(ids), max_tokens=max_tokens, ignore_eos=True)


def _computed(folder: Path, threads: int, prompts: list[list[int]], kv_bytes: int) -> int:
    with Engine(folder, threads=threads, kv_bytes=kv_bytes) as engine:
        engine.generate([tuple(ids) for ids in prompts], max_tokens=1, ignore_eos=True)
        return engine.stats().prefill_tokens
