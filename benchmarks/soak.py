"""A mixed load at saturation for many minutes: `python -m benchmarks.soak --minutes 30`.

A server with the bundled model (or `--model`), drafts and all tiers on, little KV memory and more requests than rows in
a batch: free text, regexes, choices, schemas, streamed or not, bad requests, clients that hang up, calls from inside
the process, many cancelled. Exit code 1 unless every answer was right, every call had exactly one final event,
nothing runs and no page is lost afterwards, and memory stayed flat once warm (judged in runs of 10 minutes or more).
With `--tight` memory is so little that calls must give up their places and prefixes go to the tiers all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import numpy as np

from rootform.server.mixed_run import Ask, aftermath, bad_asks, good_asks, leave, verdict

from .serving_worker import Worker
from .soak_server import Looks, Served, Setting

_LEAST_MINUTES = 10
_WARM_SHARE = 0.4  # of the run, before memory is judged
_LEAST_GROWTH_MIB = 24.0  # over the time judged, that is taken for noise
_GROWTH_SHARE = 0.03  # of all memory, likewise
_FAMILIES = 40
_OUTPUT_TOKENS = 200
_LONG_SHARE, _LONG_SHARE_TIGHT = 0.17, 0.8  # of the calls inside the process, those that outgrow their first room
_OFFLINE_SHARE, _OFFLINE_SHARE_TIGHT = 0.5, 0.15  # an offline one has mostly given way before its room is too small
_SAMPLES_A_LINE = 12
_WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau".split()  # noqa: SIM905


class Sample(NamedTuple):
    """The server after so many seconds."""

    seconds: float
    looks: Looks


class Outcome(NamedTuple):
    """What came of the load. faults: a line for each thing that was not right."""

    right: Counter[str]
    faults: list[str]


class Memory(NamedTuple):
    """How memory went, from the samples after the warm part: by a line of least squares."""

    mib: float
    mib_per_hour: float
    grown_mib: float
    allowed_mib: float

    @property
    def is_flat(self) -> bool:
        """It grew by no more than noise."""
        return self.grown_mib <= self.allowed_mib


def judge_memory(samples: Sequence[tuple[float, float]]) -> Memory:
    """samples: seconds and MiB, at least three of them after the warm part of the time."""
    warm = [(at, mib) for at, mib in samples if at >= _WARM_SHARE * samples[-1][0]]
    if len(warm) < 3:
        raise ValueError(f"{len(warm)} samples of memory are too few to judge; run longer")
    seconds, mib = np.array(warm).T
    slope = float(np.polyfit(seconds - seconds[0], mib, 1)[0])
    mean = float(mib.mean())
    allowed = max(_LEAST_GROWTH_MIB, _GROWTH_SHARE * mean)
    return Memory(mean, 3600 * slope, slope * float(seconds[-1] - seconds[0]), allowed)


def asks(seed: int, context_tokens: int, chars_per_token: float) -> Iterator[Ask]:
    """Requests without end: good ones about texts that share beginnings, one bad one in eight."""
    rng = random.Random(seed)
    bad = bad_asks(context_tokens)
    room = int((context_tokens - _OUTPUT_TOKENS) * 0.7 * chars_per_token)
    families = [_prose(rng, rng.randrange(room // 8, room // 2)) for _ in range(_FAMILIES)]
    while True:
        round_ = [*good_asks(rng), rng.choice(bad)]
        rng.shuffle(round_)
        for ask in round_:
            yield ask if ask.refused else _about(ask, rng.choice(families) + _prose(rng, rng.randrange(room // 2)))


def _prose(rng: random.Random, n_chars: int) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(n_chars // 5 + 1))[:n_chars]


def _about(ask: Ask, text: str) -> Ask:
    assert isinstance(ask.body, dict)
    if "messages" in ask.body:
        return msgspec.structs.replace(ask, body={**ask.body, "messages": [{"role": "user", "content": text}]})
    return msgspec.structs.replace(ask, body={**ask.body, "prompt": text})


async def load(
    worker: Worker, requests: Iterator[Ask], seconds: float, concurrency: int, every_s: float
) -> tuple[Outcome, list[Sample]]:
    """Keep so many requests going for so long, looking at the server now and then; then wait until it has settled."""
    outcome, began = Outcome(Counter(), []), time.monotonic()
    rng = random.Random(concurrency)
    samples = [Sample(0.0, worker.ask("look"))]
    limits = httpx.Limits(max_connections=concurrency + 1)
    async with httpx.AsyncClient(base_url=worker.ask("url"), timeout=600, limits=limits) as http:

        async def client() -> None:
            while time.monotonic() < began + seconds:
                ask = next(requests)
                fault = await leave(http, ask, rng.uniform(0, 0.5)) if ask.leave else await verdict(http, ask)
                if fault:
                    outcome.faults.append(f"{ask.kind}: {fault}")
                else:
                    outcome.right[ask.kind] += 1

        async def looking() -> None:
            while (now := time.monotonic() - began) + every_s <= seconds:
                await asyncio.sleep(every_s - now % every_s)
                samples.append(Sample(time.monotonic() - began, await asyncio.to_thread(worker.ask, "look")))
                if len(samples) % _SAMPLES_A_LINE == 1:
                    print(line(samples[-1], samples[-1 - _SAMPLES_A_LINE], outcome), flush=True)

        await asyncio.gather(looking(), *(client() for _ in range(concurrency)))
        outcome.faults.extend(await asyncio.to_thread(worker.ask, "stop_calling"))
        outcome.faults.extend(await aftermath(http))
    return outcome, samples


def judge_end(end: Looks, empty: Looks) -> list[str]:
    """What is wrong when all is over. empty: after the prefixes were forgotten, too."""
    faults = []
    if not end.submitted == end.ended == end.finished + end.cancelled + end.failed:
        faults.append(
            f"{end.submitted} calls had {end.ended} ends; the engine counts {end.finished} finished, "
            f"{end.cancelled} cancelled, {end.failed} failed"
        )
    if end.ended_twice:
        faults.append(f"{end.ended_twice} calls had a second final event")
    if empty.pages_free != empty.pages_total or empty.pages_cached or empty.pages_locked:
        faults.append(f"of {empty.pages_total} pages {empty.pages_free} are free when everything is forgotten")
    return faults


def not_met(end: Looks, *, tight: bool = False) -> list[str]:
    """What the load was to meet and did not; of a tight one that is a fault."""
    met = {
        "drafts that were kept": end.accepted_tokens,
        "requests that were cancelled": end.cancelled,
        "prefixes read back from host memory or files": end.host_tier_tokens + end.disk_tier_tokens,
    }
    if tight:
        met["places given up for lack of memory"] = end.put_back
        met["offline calls that gave way to online ones"] = end.gave_way
    return [name for name, n in met.items() if not n]


HEADER = """\
| minute | memory, MiB | right | wrong | tokens/s | running | waiting | pages free | cached | put back | read back | grammar, MiB |
|---|---|---|---|---|---|---|---|---|---|---|---|"""  # noqa: E501


def line(sample: Sample, before: Sample, outcome: Outcome) -> str:
    """A row of the table; tokens/s since `before`."""
    looks = sample.looks
    speed = (looks.output_tokens - before.looks.output_tokens) / max(sample.seconds - before.seconds, 1e-9)
    return (
        f"| {sample.seconds / 60:.1f} | {looks.anon_mib:.0f} | {sum(outcome.right.values()):,} | {len(outcome.faults)} "
        f"| {speed:,.0f} | {looks.running} | {looks.waiting} | {looks.pages_free:,} | {looks.pages_cached:,} "
        f"| {looks.put_back:,} | {looks.host_tier_tokens + looks.disk_tier_tokens:,} | {looks.grammar_mib:.1f} |"
    )


def soak(given: argparse.Namespace, cache: Path) -> list[str]:
    """Do it all, printing as it goes; what was wrong."""
    setting = Setting(
        model=given.model,
        folder=str(cache),
        kv_tokens=given.kv_tokens,
        batch=given.batch,
        seed=given.seed,
        callers=given.callers,
        long_share=_LONG_SHARE_TIGHT if given.tight else _LONG_SHARE,
        offline_share=_OFFLINE_SHARE_TIGHT if given.tight else _OFFLINE_SHARE,
        deterministic=given.deterministic,
    )
    worker = Worker(Served, setting)
    try:
        url = worker.ask("url")
        context = httpx.get(f"{url}/v1/models").json()["data"][0]["rootform"]["context_tokens"]
        chars = worker.ask("chars_per_token", _prose(random.Random(0), 100))
        code_mib = worker.ask("meet_numbers_of_rows")
        print(f"oneDNN's code for all numbers of rows, made beforehand: {code_mib:.0f} MiB\n", flush=True)
        worker.ask("start_calling")
        seconds = 60.0 * given.minutes
        every_s = min(5.0, seconds / 20)
        print(HEADER, flush=True)
        requests = asks(given.seed, context, chars)
        outcome, samples = asyncio.run(load(worker, requests, seconds, given.concurrency, every_s))
        end, empty = worker.ask("look"), worker.ask("forget_prefixes")
    finally:
        worker.stop()
    memory = judge_memory([(each.seconds, each.looks.anon_mib) for each in samples])
    faults = outcome.faults + judge_end(end, empty)
    if given.minutes < _LEAST_MINUTES:
        print(f"memory is not judged in less than {_LEAST_MINUTES} minutes: libraries are still filling their caches")
    elif not memory.is_flat:
        faults.append(f"memory grew by {memory.grown_mib:.0f} MiB, {memory.mib_per_hour:+.0f} MiB an hour")
    print(summary(outcome, end, memory, seconds))
    for name in not_met(end, tight=given.tight):
        print(f"not met: {name}")
        if given.tight:
            faults.append(f"the load was to meet {name}, and did not")
    if given.json:
        rows = [{"seconds": each.seconds, **each.looks._asdict()} for each in samples]
        figures = {"right": outcome.right, "faults": faults, "memory": memory._asdict(), "samples": rows}
        given.json.write_text(json.dumps(figures, indent=1))
    return faults


def summary(outcome: Outcome, end: Looks, memory: Memory, seconds: float) -> str:
    """What came of it, for people."""
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in sorted(outcome.right.items()))
    return "\n".join(
        (
            f"requests over HTTP: {sum(outcome.right.values()):,} right ({kinds}), {len(outcome.faults)} not",
            f"calls: {end.submitted:,}; {end.finished:,} finished, {end.cancelled:,} cancelled, {end.failed:,} failed, "
            f"{end.ended_twice} with two ends; {end.put_back:,} times put back, {end.gave_way:,} gave way",
            f"drafts: {end.accepted_tokens:,} of {end.drafted_tokens:,} tokens kept, {end.output_tokens:,} of output, "
            f"{end.output_tokens / seconds:,.0f} a second",
            f"read back: {end.host_tier_tokens:,} tokens from host memory, {end.disk_tier_tokens:,} from files",
            f"memory: {memory.mib:.0f} MiB, {memory.mib_per_hour:+.1f} MiB an hour, {memory.grown_mib:+.1f} MiB in the "
            f"time judged (allowed: {memory.allowed_mib:.0f})",
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--model", default="sprout", help="a folder or a name; it must have a chat template")
    parser.add_argument("--concurrency", type=int, help="HTTP requests at any moment (48; --tight: 4)")
    parser.add_argument("--callers", type=int, help="threads that call the engine inside its process (8; --tight: 24)")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--kv-tokens", type=int, help="KV memory (6000; --tight: 2000)")
    parser.add_argument(
        "--tight",
        action="store_true",
        help="memory for less, outputs that outgrow their places: an error unless calls had to give them up",
    )
    parser.add_argument(
        "--deterministic", action="store_true", help="likewise of the engine; outputs of one prompt are compared then"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args(arguments)
    given.callers = given.callers or (24 if given.tight else 8)
    given.concurrency = given.concurrency or (4 if given.tight else 48)
    given.kv_tokens = given.kv_tokens or (2000 if given.tight else 6000)
    with tempfile.TemporaryDirectory() as folder:
        faults = soak(given, Path(folder))
    for fault in faults[:40]:
        print(f"WRONG: {fault}")
    print(f"{len(faults)} faults" if faults else "nothing was wrong")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
