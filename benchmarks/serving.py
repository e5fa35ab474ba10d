"""Our engine against its peers, by processor time: `python -m benchmarks.serving --size tiny --requests 64`.

Models and prompts are made from the seed. Each engine has a process of its own for each round, and the engines take
turns; figures are medians over the rounds. All answers are held against the schema. Ours spells what the schema fixes
in the tokenizer's own tokens; peers let the model choose among all spellings, which with weights of noise makes more
tokens of the same text: see CPU-ms/token. llama.cpp is measured where its server is at hand (`serving_llamacpp.py` says
how to get it). `floor` is what the products of the layers alone would cost, each distinct
token once, at the rate measured here for many rows: attention, the output layer, masks and sampling are not in it. A
peer that is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .serving_engines import PACKAGES, SETTINGS, Answers, Setting, lacking, make
from .serving_llamacpp import VARIABLE
from .serving_worker import Worker, WorkerError
from .serving_workload import SCHEMA, SHAPES, Shape, Workload, distinct_prefixes, make_model, make_workload

OURS = "rootform"
CONTEXTS, BATCHES = [750, 2000, 8000], [1, 8, 64]
_WARM_ROUND = -1
_STEP_ROUNDS = 2


class Row(NamedTuple):
    """One setting's figures over its rounds. None: not known."""

    setting: Setting
    requests: int
    invalid: int
    tokens: float  # of output, of one request
    cpu_s: float  # of one request
    requests_s: float
    tokens_s: float
    passes_token: float | None
    cached_share: float | None
    kept_share: float | None
    floor_cpu_s: float | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print tables, write the JSON file; 1 when an answer of ours is not valid."""
    given = _parsed(arguments)
    print(f"{machine()}; {given.threads} thread(s) an engine")
    results: dict[str, Any] = {"machine": machine(), "arguments": {k: str(v) for k, v in vars(given).items()}}
    wrong = 0
    for size in given.size:
        shape = SHAPES[size]
        folder = make_model(shape, given.models, given.seed)
        found: dict[str, Any] = results.setdefault(size, {})
        if given.stall:
            found["stall"] = _stall(shape, folder, given)
        if given.trace:
            found["trace"] = _trace(shape, folder, given)
        if given.only_steps:
            found["steps"] = _steps(shape, folder, given)
        if given.stall or given.trace or given.only_steps:
            continue
        rates = {dtype: _rate(shape, dtype, given.threads) for dtype in given.dtypes}
        rows = _serve(shape, folder, given, rates)
        wrong += sum(row.invalid for row in rows if row.setting.engine == OURS)
        found["serving"] = [row._asdict() | {"setting": row.setting.name} for row in rows]
        found["gflops"] = rates
        if given.steps:
            found["steps"] = _steps(shape, folder, given)
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))
    return 1 if wrong else 0


# -- serving --------------------------------------------------------------------------------------------------


def _serve(shape: Shape, folder: Path, given: argparse.Namespace, rates: dict[str, float]) -> list[Row]:
    settings = [each for each in SETTINGS if each.engine in given.engines and each.dtype in given.dtypes]
    failures: dict[str, str] = {}
    for engine in given.engines:
        if lacking(engine):
            failures[engine] = f"not installed ({', '.join(lacking(engine))}): not measured"
    settings = [each for each in settings if each.engine not in failures]
    answers: dict[Setting, list[Answers]] = {each: [] for each in settings}
    floors: list[float] = []
    for n in range(given.repeat):
        work = make_workload(folder, given.seed, n, given.requests)
        warm = make_workload(folder, given.seed, _WARM_ROUND, 2)
        for setting in settings[n % len(settings) :] + settings[: n % len(settings)]:
            if setting.name not in failures:
                try:
                    print(f"{shape.name}, round {n + 1}: {setting.name}", file=sys.stderr, flush=True)
                    answers[setting].append(_round(setting, folder, given, warm, work))
                except WorkerError as error:
                    failures[setting.name] = str(error)
        floors.append(distinct_prefixes(work.prompts))
    rows = [
        _row(each, answers[each], shape, given.requests, statistics.median(floors), rates)
        for each in settings
        if answers[each]
    ]
    print(f"\n{shape.name}: {given.requests} requests, {given.repeat} round(s), load {_load()}")
    print(table(rows))
    for name, reason in failures.items():
        print(f"{name}: {reason}")
    return rows


def _round(setting: Setting, folder: Path, given: argparse.Namespace, warm: Workload, work: Workload) -> Answers:
    worker = Worker(make, setting, folder, given.threads, given.batch, threads=given.threads)
    try:
        worker.ask("answer", warm.prompts)
        return worker.ask("answer", work.prompts)
    finally:
        worker.stop()


def _row(
    setting: Setting, rounds: list[Answers], shape: Shape, requests: int, prompt_tokens: float, rates: dict[str, float]
) -> Row:
    def median(values: list[float]) -> float:
        return statistics.median(values)

    tokens = median([each.output_tokens / requests for each in rounds])
    rate = rates.get(setting.dtype)
    return Row(
        setting=setting,
        requests=requests,
        invalid=sum(count_invalid(each.texts) for each in rounds),
        tokens=tokens,
        cpu_s=median([each.cpu_s / requests for each in rounds]),
        requests_s=median([requests / each.wall_s for each in rounds]),
        tokens_s=median([each.output_tokens / each.wall_s for each in rounds]),
        passes_token=_ratio([(each.passes, each.output_tokens) for each in rounds]),
        cached_share=_ratio([(each.cached, 750 * requests) for each in rounds]),
        kept_share=_ratio([(each.accepted, each.drafted) for each in rounds]),
        floor_cpu_s=None if rate is None else floor_cpu_s(shape, prompt_tokens / requests, tokens, rate),
    )


def _ratio(pairs: Sequence[tuple[int | None, int | None]]) -> float | None:
    known = [(a, b) for a, b in pairs if a is not None and b]
    return sum(a for a, _ in known) / sum(b for _, b in known) if known else None


def floor_cpu_s(shape: Shape, prompt_tokens: float, output_tokens: float, gflops: float) -> float:
    """Of one request: its share of distinct prompt tokens and all its output but the last token, through the layers."""
    return (prompt_tokens + output_tokens - 1) * shape.layer_flops / gflops / 1e9


def count_invalid(texts: Sequence[str]) -> int:
    """How many are not JSON texts of the schema."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(SCHEMA)

    def valid(text: str) -> bool:
        try:
            return validator.is_valid(json.loads(text))
        except ValueError:
            return False

    return sum(not valid(text) for text in texts)


_COLUMNS = ("floor", "x floor", "CPU-ms/token", "requests/s", "tokens/s", "tokens/request")
_COLUMNS += ("passes/token", "cached %", "drafts kept %", "invalid")


def table(rows: Sequence[Row]) -> str:
    """vs: processor seconds of a request as a multiple of a peer's in its best format."""
    best: dict[str, float] = {}
    for row in rows:
        if (peer := row.setting.engine) != OURS:
            best[peer] = min(best.get(peer, row.cpu_s), row.cpu_s)
    titles = ("", "CPU-s/request", *(f"vs {peer}" for peer in best), *_COLUMNS)
    lines = [titles, ("---",) * len(titles)]
    for row in rows:
        lines.append(
            (
                row.setting.name,
                f"{row.cpu_s:.4f}",
                *(f"{row.cpu_s / cpu_s:.2f}x" for cpu_s in best.values()),
                _shown(row.floor_cpu_s, ".4f"),
                "-" if row.floor_cpu_s is None else f"{row.cpu_s / row.floor_cpu_s:.1f}",
                f"{1e3 * row.cpu_s / row.tokens:.2f}",
                f"{row.requests_s:.2f}",
                f"{row.tokens_s:,.0f}",
                f"{row.tokens:.0f}",
                _shown(row.passes_token, ".3f"),
                _shown(row.cached_share, ".0%"),
                _shown(row.kept_share, ".0%"),
                str(row.invalid),
            )
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


# -- arithmetic -----------------------------------------------------------------------------------------------


def _rate(shape: Shape, dtype: str, threads: int) -> float:
    """Thousand million operations a processor second in products with weights."""
    from .serving_floor import Products

    worker = Worker(Products, shape, dtype, threads, threads=threads)
    try:
        return worker.ask("gflops")
    finally:
        worker.stop()


def _steps(shape: Shape, folder: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    from .serving_floor import Products, Stepper, needed_tokens

    measured = []
    print(f"\n{shape.name}: one decoding step, CPU ms, all but 150 tokens shared; load {_load()}")
    print("| | batch | context | ms | products with weights | and attention's two | x first | x both |")
    print("|---|---|---|---|---|---|---|---|")
    for dtype in given.dtypes:
        needed = needed_tokens(CONTEXTS, BATCHES)
        worker = Worker(Stepper, folder, dtype, given.threads, needed, threads=given.threads)
        products = Worker(Products, shape, dtype, given.threads, threads=given.threads)
        try:
            for batch in BATCHES:
                for context in CONTEXTS:
                    measured.append({"dtype": dtype, **_step(worker, products, batch, context)})
                    print(_step_line(measured[-1]))
        finally:
            worker.stop()
            products.stop()
    return measured


def _step(worker: Worker, products: Worker, batch: int, context: int) -> dict[str, Any]:
    """In turn, so that what else the machine does falls on all three alike; of each the least of the rounds."""
    rounds = [
        (
            worker.ask("step", context, batch).ms,
            products.ask("step_ms", batch),
            products.ask("attention_ms", batch, context),
        )
        for _ in range(_STEP_ROUNDS)
    ]
    ms, weights, attention = (min(times) for times in zip(*rounds, strict=True))
    return {"batch": batch, "context": context, "ms": ms, "floor_ms": weights, "attention_floor_ms": attention}


def _step_line(step: dict[str, Any]) -> str:
    weights, both = step["floor_ms"], step["floor_ms"] + step["attention_floor_ms"]
    ratios = f"{step['ms'] / weights:.2f} | {step['ms'] / both:.2f}"
    name = f"{step['dtype']} | {step['batch']} | {step['context']}"
    return f"| {name} | {step['ms']:.1f} | {weights:.1f} | {both:.1f} | {ratios} |"


# -- other loads ----------------------------------------------------------------------------------------------


def _stall(shape: Shape, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    from .serving_load import measure_stall

    found = measure_stall(folder, given.seed, given.threads, given.prefill_tokens)
    print(f"\n{shape.name}: 8 streams, then a prompt of 6,000 tokens, which took {found.long_s:.1f} s; load {_load()}")
    for name, gaps in (("ms between tokens, wall clock", found.wall), ("and of processor time", found.cpu)):
        print(f"| {name} | p50 | p99 | max |\n|---|---|---|---|")
        print(f"| before | {gaps.before_p50:.1f} | {gaps.before_p99:.1f} | |")
        print(f"| while it is computed | {gaps.during_p50:.1f} | {gaps.during_p99:.1f} | {gaps.during_max:.1f} |")
        print(f"| after | {gaps.after_p50:.1f} | {gaps.after_p99:.1f} | |")
        before, after = gaps.during_p99 / gaps.before_p99, gaps.during_p99 / gaps.after_p99
        print(f"p99 while it is computed: {before:.1f}x of before, {after:.1f}x of after\n")
    return {"wall": found.wall._asdict(), "cpu": found.cpu._asdict(), "long_s": found.long_s}


def _trace(shape: Shape, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    from .serving_load import measure_trace

    trace = measure_trace(folder, shape, given.seed, given.threads, given.trace, 40)
    print(f"\n{shape.name}: {trace.requests} prompts of 40 families, {trace.prompt_tokens:,} tokens, all at once")
    print("| memory | computed | minimum | vs |\n|---|---|---|---|")
    for name, computed in (("for all", trace.computed), ("for a third", trace.tight)):
        print(f"| {name} | {computed:,} | {trace.minimum:,} | {computed / trace.minimum:.4f}x |")
    return trace._asdict()


# -- arguments ------------------------------------------------------------------------------------------------


def machine() -> str:
    """What it ran on: processor, cores, versions."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"


def _load() -> str:
    return ", ".join(f"{each:.1f}" for each in os.getloadavg())


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=list(SHAPES), default=["tiny", "small"])
    parser.add_argument("--peers", default="openvino,llamacpp,transformers", help="comma-separated; empty: none")
    parser.add_argument("--llama-server", type=Path, metavar="PATH", help="llama.cpp's server; else the one on PATH")
    parser.add_argument("--dtypes", default="fp32,bf16,int8", help="formats, comma-separated")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3, help="rounds, each with other prompts")
    parser.add_argument("--batch", type=int, default=64, help="sequences an engine may run together")
    parser.add_argument("--threads", type=int, default=1, help="of each engine; more can spin and cost processor time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", action=argparse.BooleanOptionalAction, default=True, help="cost of decoding steps")
    parser.add_argument("--only-steps", action="store_true", help="instead: the cost of decoding steps alone")
    parser.add_argument("--stall", action="store_true", help="instead: a long prompt among running streams")
    parser.add_argument("--trace", type=int, metavar="REQUESTS", help="instead: prompts of 40 families, 1000 say")
    parser.add_argument("--prefill-tokens", type=int, help="of our engine, for --stall")
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "rootform-serving-models")
    parser.add_argument("--json", type=Path, help="all figures are written here")
    given = parser.parse_args(arguments)
    given.engines = [OURS, *(name for name in given.peers.split(",") if name)]
    given.dtypes = given.dtypes.split(",")
    unknown = [name for name in given.engines if name not in PACKAGES]
    if unknown:
        parser.error(
            f"--peers: {', '.join(unknown)} is not one of {', '.join(name for name in PACKAGES if name != OURS)}"
        )
    if given.llama_server is not None:
        if not os.access(given.llama_server, os.X_OK):
            parser.error(f"--llama-server: {given.llama_server} is not a program")
        os.environ[VARIABLE] = str(given.llama_server.resolve())  # inherited by the processes of the engines
    for name in ("requests", "repeat", "batch", "threads"):
        if getattr(given, name) < 1:
            parser.error(f"--{name} must be 1 or more")
    return given


if __name__ == "__main__":
    sys.exit(main())
