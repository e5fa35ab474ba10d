"""The radix tree: what its operations cost as it grows, and what is computed again when memory is short.

`python -m benchmarks.radix` prints two tables. Growth: processor time of a prompt token in each operation, in trees of
10 thousand to 10 million tokens (`--sizes`). Memory: tokens computed for `--requests` prompts that come one by one,
with memory for a third of the distinct ones, as multiples of the fewest (see cache_traces.py).
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rootform.radix.tree import RadixTree

from .cache_traces import TRACES, computed, fewest_in_order
from .serving_workload import distinct_prefixes

_SHARED, _OWN = 600, 150  # tokens of a prompt that its family shares, and of its own
_IN_FAMILY = 10
_MOST_OPERATIONS = 300  # timed together
_ROUNDS = 15


class Growth(NamedTuple):
    """Processor nanoseconds of a prompt's token, the best round.

    miss: a match where nothing is there.  insert: of a prompt of which a fifth is new.  lock: and unlock.
    evict: of a token forgotten.
    """

    tokens: int
    nodes: int
    match: float
    peek: float
    miss: float
    insert: float
    lock: float
    evict: float


def measure_growth(size: int, seed: int) -> Growth:
    """In a tree of about so many tokens."""
    rng = np.random.default_rng(seed)
    tree, prompts = _grown(rng, size)
    grown = tree.cached_pages
    n = min(_MOST_OPERATIONS, size // (5 * _OWN))  # so that those inserted stay few beside those there
    cached = [prompts[pick] for pick in rng.integers(len(prompts), size=n)]
    strangers = [_random(rng, _SHARED + _OWN) for _ in range(n)]
    pages = np.zeros(_SHARED + _OWN, dtype=np.int32)
    times: dict[str, list[int]] = {}

    def timed(name: str, work: Callable[[], object]) -> None:
        began = time.process_time_ns()
        work()
        times.setdefault(name, []).append(time.process_time_ns() - began)

    gc.disable()
    for _ in range(_ROUNDS):
        new = [np.concatenate([each[:_SHARED], _random(rng, _OWN)]) for each in cached]
        timed("match", lambda: [tree.match(each) for each in cached])
        timed("peek", lambda: [tree.peek(each) for each in cached])
        timed("miss", lambda: [tree.match(each) for each in strangers])
        timed("insert", lambda new=new: [tree.insert(each, pages) for each in new])
        nodes = [tree.match(each).node for each in new]
        timed("lock", lambda nodes=nodes: [(tree.lock(node), tree.unlock(node)) for node in nodes])
        timed("evict", lambda: [tree.evict(_OWN) for _ in range((tree.cached_pages - grown) // _OWN)])
    gc.enable()
    best = {name: min(each) / (n * (_SHARED + _OWN)) for name, each in times.items()}
    best["evict"] = min(times["evict"]) / (n * _OWN)
    return Growth(tree.cached_pages, len(tree.snapshot(0).nodes), **best)


def _grown(rng: np.random.Generator, size: int) -> tuple[RadixTree, list[np.ndarray]]:
    tree, prompts = RadixTree(), []
    while tree.cached_pages < size:
        shared = _random(rng, _SHARED)
        for _ in range(_IN_FAMILY):
            prompts.append(np.concatenate([shared, _random(rng, _OWN)]))
            tree.match(prompts[-1])
            tree.insert(prompts[-1], np.zeros(_SHARED + _OWN, dtype=np.int32))
    return tree, prompts


def _random(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 1 << 17, n).astype(np.int32)


class Short(NamedTuple):
    """Tokens computed with memory for `room` tokens. bound: see fewest_in_order.  sorted: in the best order."""

    trace: str
    tokens: int
    fewest: int
    room: int
    computed: int
    by_age: int
    bound: int
    sorted: int


def measure_short(trace: str, requests: int, seed: int) -> Short:
    """With memory for a third of the distinct tokens."""
    prompts = TRACES[trace](seed, requests)
    fewest = distinct_prefixes(prompts)
    room = max(fewest // 3, max(map(len, prompts)))
    return Short(
        trace,
        sum(map(len, prompts)),
        fewest,
        room,
        computed(prompts, room),
        computed(prompts, room, by_age=True),
        fewest_in_order(prompts, room),
        computed(sorted(prompts), room),
    )


def growth_table(rows: Sequence[Growth]) -> str:
    """Markdown."""
    lines = [
        "| tokens cached | nodes | match | peek | match, nothing there | insert | lock + unlock | evict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        times = " | ".join(f"{each:.0f}" for each in row[2:])
        lines.append(f"| {row.tokens:,} | {row.nodes:,} | {times} |")
    return "\n".join(lines)


def short_table(rows: Sequence[Short]) -> str:
    """Markdown."""
    lines = [
        "| one by one | prompt tokens | distinct | room | computed | by age alone | bound | sorted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        times = " | ".join(f"{each / row.fewest:.3f}x" for each in (row.computed, row.by_age, row.bound, row.sorted))
        lines.append(f"| {row.trace} | {row.tokens:,} | {row.fewest:,} | {row.room:,} | {times} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args(arguments)
    growth = [measure_growth(size, given.seed) for size in given.sizes]
    print("Processor nanoseconds of a token\n" + growth_table(growth), flush=True)
    short = [measure_short(trace, given.requests, given.seed) for trace in TRACES] if given.requests else []
    print("\nTokens computed, as multiples of the distinct ones\n" + short_table(short))
    if given.json:
        figures = {"growth": [row._asdict() for row in growth], "short": [row._asdict() for row in short]}
        given.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
