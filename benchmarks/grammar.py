"""The grammar against its peers: `python -m benchmarks.grammar --cases cases.jsonl.gz --suite suite.json.gz`.

Each engine has a process and one thread; the engines take turns, case by case. Of each schema: what is let through,
how long compiling and the first mask take, each mask with the step behind it when first met and once more. Of one
schema: whole batches. With `--order schema` the members of instances are put in the order of the schema first
(`grammar_order`), since most engines write no other. What had a mask over 10 ms is asked twice more, each time in a
process that has met nothing, and of each mask the least counts: what interrupts a machine is not an engine's. `vs` is
our figure as a multiple of the best peer's. Peers come with `pip install 'rootform[bench]'`; one that is not installed
is named and left out.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .grammar_documents import INVOICE_CASE, invoice_documents
from .grammar_engines import PACKAGES, Options, version
from .grammar_inputs import Case, Encode, Tokens, load_tokens, read_cases, read_suite, text_of
from .grammar_order import InOrder
from .grammar_tables import (
    COUNTS,
    MOST_MS,
    OF_GROUP,
    SPEED,
    WORST,
    Figures,
    asked_again,
    batch_rows,
    counts,
    longest_ms,
    percentiles,
    slowest,
    speed,
    table,
    wrong,
)
from .grammar_worker import Measured, Worker

_MORE_RUNS = 2  # of what had a mask that took too long
_DEFAULT_ENGINES = "rootform,llguidance,xgrammar"


class Setup(NamedTuple):
    """What all measurements of a run share."""

    tokens: Tokens
    encode: Encode
    engines: list[str]
    timeout_s: float
    cache_bytes: int
    cpu_clock: bool


def measure_cases(setup: Setup, cases: Sequence[Case], *, compact: bool, any_order: bool) -> dict[str, Any]:
    """Every figure over a list of schemas, printed and returned."""
    options = Options(compact, any_order, setup.cache_bytes, setup.cpu_clock)
    workers = [Worker(name, setup.tokens, options) for name in setup.engines]
    results: dict[str, list[Measured]] = {worker.name: [] for worker in workers}
    for i, case in enumerate(cases):
        texts = _texts(setup, case, compact=compact, any_order=any_order)
        for worker in workers[i % len(workers) :] + workers[: i % len(workers)]:
            results[worker.name].append(worker.measure(case, texts, setup.timeout_s))
    figures = {name: {**counts(cases, found), **values} for (name, found), values in _paired(results)}
    for worker in workers:
        figures[worker.name]["peak MiB"] = worker.peak_mib
        worker.stop()
    for name, found in results.items():
        again = [case for case, m in zip(cases, found, strict=True) if longest_ms(m) > MOST_MS]
        texts = [_texts(setup, case, compact=compact, any_order=any_order) for case in again]
        starts = range(_MORE_RUNS if again else 0)
        runs = [_once_more(Worker(name, setup.tokens, options), again, texts, setup.timeout_s) for _ in starts]
        figures[name] |= asked_again(found, runs)
    groups = {group: _group(cases, results, group) for group in dict.fromkeys(case.group for case in cases)}
    print(table("what is let through", COUNTS, figures))
    if len(groups) <= 8:
        for group, of_group in groups.items():
            print(table(f"  {group}", OF_GROUP, of_group))
    print(table("schemas that all engines compile", SPEED, figures))
    print(table("all that each engine compiles", WORST, figures))
    own = results.get("rootform")
    if own:
        for name, listed in slowest(cases, own, 5).items():
            print(f"  longest, {name}, ms: " + ", ".join(f"{case} {ms:.1f}" for case, ms in listed))
    return {
        "figures": figures,
        "groups": groups,
        "slowest": {name: slowest(cases, found) for name, found in results.items()},
        "wrong": {name: wrong(cases, found) for name, found in results.items()},
    }


def _texts(setup: Setup, case: Case, *, compact: bool, any_order: bool) -> list[list[int]]:
    """The tokens of each of a case's tests."""
    instances = [instance for _, instance in case.tests]
    if not any_order:
        in_order = InOrder(json.loads(case.schema))
        instances = [in_order.of(instance) for instance in instances]
    return [setup.encode(text_of(instance, compact=compact)) for instance in instances]


def _once_more(worker: Worker, cases: Sequence[Case], texts: list[list[list[int]]], seconds: float) -> list[Measured]:
    """Cases in a process that has met nothing yet, which is ended."""
    found = [worker.measure(case, tokens, seconds) for case, tokens in zip(cases, texts, strict=True)]
    worker.stop()
    return found


def measure_batch(setup: Setup, sizes: Sequence[int], *, compact: bool = True) -> dict[str, Figures]:
    """The batch steps over one schema, printed and returned."""
    documents = invoice_documents(setup.encode, 1 + len(sizes), max(sizes), compact=compact)
    figures: dict[str, Figures] = {}
    for name in setup.engines:
        worker = Worker(name, setup.tokens, Options(compact, False, setup.cache_bytes, setup.cpu_clock))
        measured = worker.batch(INVOICE_CASE, documents, sizes, seconds=10 * setup.timeout_s)
        worker.stop()
        if isinstance(measured, str):
            print(f"{name}: no batches: {measured}")
            measured = {}
        figures[name] = {}
        for key, values in measured.items():
            figures[name] |= percentiles(f"batch {key} us", values)
    for size in sizes:  # a peer's masks are always gathered
        for name in set(figures) - {"rootform"}:
            figures[name] |= {
                f"batch gathered {size} us {part}": figures[name][f"batch warm {size} us {part}"]
                for part in ("p50", "mean")
                if f"batch warm {size} us {part}" in figures[name]
            }
    print(table("one step of a batch, us", batch_rows(sizes), figures))
    return figures


def _paired(results: dict[str, list[Measured]]) -> list[tuple[tuple[str, list[Measured]], Figures]]:
    speeds = speed(results)
    return [((name, found), speeds[name]) for name, found in results.items()]


def _group(cases: Sequence[Case], results: dict[str, list[Measured]], group: str) -> dict[str, Figures]:
    chosen = [i for i, case in enumerate(cases) if case.group == group]
    return {name: counts([cases[i] for i in chosen], [found[i] for i in chosen]) for name, found in results.items()}


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, help="schemas with instances, .jsonl or .jsonl.gz")
    parser.add_argument("--suite", type=Path, help="the official suite as one JSON file, .json or .json.gz")
    parser.add_argument("--tokenizer", type=Path, help="a Hugging Face tokenizer folder (default: Tekken)")
    parser.add_argument("--engines", default=_DEFAULT_ENGINES, help=f"of {', '.join(PACKAGES)}")
    parser.add_argument("--limit", type=int, help="only so many schemas of each file, evenly spread")
    parser.add_argument("--offset", type=int, default=0, help="where the spread begins")
    parser.add_argument("--spacing", choices=("compact", "flexible"), default="compact", help="of --cases")
    parser.add_argument("--order", choices=("schema", "any"), default="schema", help="of members, for --cases")
    parser.add_argument("--batch", default="64,256,512", help="sizes of batches; empty: none")
    parser.add_argument("--timeout", type=float, default=60, help="seconds an engine has for one schema")
    parser.add_argument("--cache-mb", type=int, default=512, help="Rootform's bound on what it keeps")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time, on busy machines"
    )
    parser.add_argument("--json", type=Path, help="every count and percentile is written here")
    given = parser.parse_args(arguments)
    given.engines = [name for name in given.engines.split(",") if name]
    unknown = [name for name in given.engines if name not in PACKAGES]
    if unknown:
        parser.error(f"--engines: {', '.join(unknown)} is not one of {', '.join(PACKAGES)}")
    given.batch = [int(size) for size in given.batch.split(",") if size]
    return given


def _spread(cases: list[Case], limit: int | None, offset: int) -> list[Case]:
    if limit is None or limit >= len(cases):
        return cases
    return [cases[(offset + i * len(cases) // limit) % len(cases)] for i in range(limit)]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print tables, write the JSON file; returns what is in it."""
    given = _parsed(arguments)
    versions = {name: version(name) for name in given.engines}
    engines = [name for name in given.engines if versions[name] is not None]
    tokens, encode = load_tokens(given.tokenizer)
    setup = Setup(tokens, encode, engines, given.timeout, given.cache_mb << 20, given.clock == "cpu")
    for name in set(given.engines) - set(engines):
        print(f"{name} is not installed and is left out")
    if given.tokenizer is None and not tokens.pattern:
        print("mistral-common is not installed: the bundled model's own tokenizer stands in for a large vocabulary")
    machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
    machine += f", {given.clock} clock"
    print(f"{tokens.name}: {tokens.size} wide; {', '.join(f'{n} {versions[n]}' for n in engines)}; {machine}")
    found: dict[str, Any] = {"versions": versions, "tokenizer": tokens.name, "width": tokens.size, "machine": machine}
    if given.cases:
        cases = _spread(list(read_cases(given.cases)), given.limit, given.offset)
        print(f"\n{given.cases.name}: {len(cases)} schemas, {given.spacing}, members in the order of {given.order}")
        compact, any_order = given.spacing == "compact", given.order == "any"
        found["cases"] = measure_cases(setup, cases, compact=compact, any_order=any_order)
    if given.suite:
        cases = _spread(list(read_suite(given.suite)), given.limit, given.offset)
        print(f"\n{given.suite.name}: {len(cases)} schemas, flexible, any order")
        found["suite"] = measure_cases(setup, cases, compact=False, any_order=True)
    if given.batch:
        found["batch"] = measure_batch(setup, given.batch)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    main()
