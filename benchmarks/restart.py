"""What a first request waits for at a start: nothing kept, mask rows kept, and constraints compiled again.

    python -m benchmarks.restart --cases public.jsonl.gz --limit 200

One process makes the folder: it compiles the constraint of each case and walks its first valid instance. Each start is
a process of its own that asks for the same constraints, in the order of the file. Times are milliseconds of processor
time of that process: until the constraint is compiled and the first mask is there, and for the masks and steps of the
rest of the first document.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rootform.engine.compiling import Compilers, GrammarLimits
from rootform.engine.types import RootformError
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.generation_batch import GenerationBatch
from rootform.grammar.generations import Root
from rootform.grammar.vocab import Vocabulary

from .grammar_inputs import load_tokens, read_cases, text_of

STARTS = ("nothing kept", "rows kept", "compiled again")


class Waits(NamedTuple):
    """Milliseconds of one case, and how many tokens its document has."""

    first: float
    rest: float
    tokens: int


def main() -> None:
    """Make the folder, then try each kind of start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True, help="schemas and instances, a .jsonl.gz")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--tokenizer", type=Path, help="folder of a tokenizer (default: as benchmarks.grammar)")
    parser.add_argument("--start", choices=("make", *STARTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.start is not None:
        logging.basicConfig(level=logging.INFO, format="  %(message)s")
        _start(given)
        return
    with tempfile.TemporaryDirectory() as folder:
        for start in ("make", *STARTS):
            command = [sys.executable, "-m", "benchmarks.restart", *sys.argv[1:], "--start", start, "--folder", folder]
            subprocess.run(command, check=True)


def _start(given: argparse.Namespace) -> None:
    tokens, encode = load_tokens(given.tokenizer)
    cases = [case for case in read_cases(given.cases) if any(valid for valid, _ in case.tests)]
    cases = cases[:: max(len(cases) // given.limit, 1)][: given.limit]
    constraints = [JsonSchema(case.schema, documents=tuple(case.documents.items())) for case in cases]
    documents = [encode(text_of(next(d for valid, d in case.tests if valid), compact=True)) for case in cases]
    limits = GrammarLimits(cache_dir=None if given.start == "nothing kept" else given.folder)
    compilers = Compilers(Vocabulary(tokens.table, tokens.eos_ids, tokens.size), limits)
    compilers.wait_until_warm()
    if given.start == "compiled again":
        _recompile(compilers)
    states = GenerationBatch(compilers.generations)
    waits = [
        wait
        for constraint, document in zip(constraints, documents, strict=True)
        if (wait := _wait(compilers, states, constraint, document)) is not None
    ]
    if given.start == "make":
        compilers.close()
        sizes = ", ".join(f"{each.suffix[1:]} {each.stat().st_size >> 10} KiB" for each in given.folder.iterdir())
        print(f"{len(waits)} of {len(cases)} schemas compiled; kept: {sizes}")
    else:
        _print(given.start, waits)


def _recompile(compilers: Compilers) -> None:
    before, began = time.process_time(), time.perf_counter()
    compilers.recompile(lambda: False)
    assert compilers.recompiler is not None
    compilers.recompiler.wait_until_compiled()
    print(
        f"{compilers.recompiled} compiled again in {time.process_time() - before:.2f} s of processor time, "
        f"{time.perf_counter() - began:.2f} s by the clock; {compilers.generations.nbytes >> 20} MiB"
    )


def _wait(compilers: Compilers, states: GenerationBatch, constraint: JsonSchema, document: list[int]) -> Waits | None:
    answer: Future[Root | RootformError] = Future()
    began = time.process_time()
    compilers.compile(constraint, answer.set_result)
    root = answer.result()
    if not isinstance(root, Root):
        return None
    slot = states.open(root)
    slots = np.array([slot], np.int32)
    try:
        states.row_ids(slots)
        first = time.process_time()
        for token in document:
            if not states.advance(slots, np.array([token], np.int32))[0]:
                break
            states.row_ids(slots)
    except GrammarError:
        return None
    finally:
        states.close(slot)
    return Waits((first - began) * 1e3, (time.process_time() - first) * 1e3, len(document))


def _print(start: str, waits: list[Waits]) -> None:
    tokens = sum(each.tokens for each in waits)
    rest = sum(each.rest for each in waits)
    print(
        f"{start:14}  first mask: {_spread([each.first for each in waits])}"
        f"   rest of the first document: {_spread([each.rest for each in waits])}, {rest / tokens:.3f} a token"
    )


def _spread(times: list[float]) -> str:
    mean, median = statistics.fmean(times), statistics.median(times)
    return f"median {median:.3f}  mean {mean:.3f}  p99 {sorted(times)[int(len(times) * 0.99)]:.2f} ms"


if __name__ == "__main__":
    main()
