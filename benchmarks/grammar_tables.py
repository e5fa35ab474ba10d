"""Counts and percentiles of the grammar benchmark, and the tables that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .grammar_inputs import Case
from .grammar_worker import Measured

Figures = dict[str, float]
Results = Mapping[str, Sequence[Measured]]

PEERS = ("llguidance", "xgrammar")
"""The engines that ours is held against."""


class Floor(NamedTuple):
    """What a figure must reach. ratio: at most so many times the best peer; most, least: at most, at least so much."""

    kind: str
    value: float

    def __str__(self) -> str:
        sign = {"ratio": "<=", "most": "<=", "least": ">="}[self.kind]
        return f"{sign} {self.value:g}{' x' if self.kind == 'ratio' else ''}"

    def holds(self, own: float, ratio: float | None) -> bool | None:
        """Whether it is reached; None where there is nothing to compare with."""
        if self.kind == "ratio":
            return None if ratio is None else ratio <= self.value
        return own <= self.value if self.kind == "most" else own >= self.value


class Row(NamedTuple):
    """A line of the table. more: more is better."""

    key: str
    label: str
    floor: Floor | None = None
    more: bool = False


MOST_MS = 10
"""What a mask may take."""

_SAME = Floor("ratio", 1)
COUNTS = (
    Row("compiled %", "schemas compiled, %", Floor("least", 99), more=True),
    Row("refused", "schemas refused"),
    Row("failed", "schemas lost (time limit, crash)"),
    Row("tests", "instances of what compiled"),
    Row("valid rejected", "valid instances rejected", Floor("most", 0)),
    Row("invalid accepted", "invalid instances accepted", Floor("most", 0)),
    Row("right %", "instances right, of all, %", more=True),
)
OF_GROUP = (
    Row("tests of all", "instances"),
    Row("tests compiled %", "those whose schema compiles, %", Floor("least", 97), more=True),
    *COUNTS[4:],
)
SPEED = (
    Row("common schemas", "schemas that all compile"),
    Row("first mask ms p50", "time to first mask, median, ms", _SAME),
    Row("first mask ms p99", "time to first mask, p99, ms", _SAME),
    Row("first us p50", "mask, first pass, median, us"),
    Row("first us mean", "mask, first pass, mean, us", _SAME),
    Row("first us p99", "mask, first pass, p99, us", _SAME),
    Row("warm us p50", "mask, warm pass, median, us", Floor("ratio", 0.1)),
    Row("warm us mean", "mask, warm pass, mean, us"),
    Row("warm us p99", "mask, warm pass, p99, us"),
)
WORST = (
    Row("compile ms max", "longest compilation, ms", Floor("most", 2000)),
    Row("later ms mean", "left until nobody waits, mean, ms"),
    Row("later ms max", "left until nobody waits, most, ms"),
    Row("mask ms max", "longest mask, ms"),
    Row("over", f"schemas with a mask over {MOST_MS} ms"),
    Row("mask ms max again", "longest mask, least of three runs each, ms", Floor("most", MOST_MS)),
    Row("all first us mean", "mask, first pass, mean, us"),
    Row("all first us p99", "mask, first pass, p99, us"),
    Row("peak MiB", "peak memory of the process, MiB", Floor("most", 1536)),
)


def batch_rows(sizes: Sequence[int]) -> list[Row]:
    """The lines of the batch steps."""
    rows = []
    for size in sizes:
        rows += [
            Row(f"batch warm {size} us p50", f"{size} sequences, warm, median", Floor("ratio", 0.02)),
            Row(f"batch fresh {size} us mean", f"{size} sequences, fresh documents, mean", Floor("ratio", 0.05)),
            Row(f"batch fresh {size} us p50", f"{size} sequences, fresh documents, median"),
            Row(f"batch gathered {size} us p50", f"{size} sequences, rows gathered, median", Floor("ratio", 0.125)),
        ]
    return rows


def percentiles(prefix: str, values: np.ndarray) -> Figures:
    """Median, 90th and 99th percentile, mean and maximum."""
    if not len(values):
        return {}
    found = np.percentile(values, [50, 90, 99]).tolist()
    names = ("p50", "p90", "p99", "mean", "max")
    return {f"{prefix} {n}": v for n, v in zip(names, [*found, float(values.mean()), float(values.max())], strict=True)}


def counts(cases: Sequence[Case], results: Sequence[Measured]) -> Figures:
    """How many schemas compiled, and how many instances went wrong among them."""
    compiled = [(c, m) for c, m in zip(cases, results, strict=True) if m.status in ("ok", "unsatisfiable")]
    verdicts = [(valid, got) for c, m in compiled for (valid, _), got in zip(c.tests, m.accepted, strict=True)]
    right = sum(valid == got for valid, got in verdicts)
    return {
        "schemas": len(cases),
        "compiled %": 100 * len(compiled) / max(len(cases), 1),
        "compiled": len(compiled),
        "refused": sum(m.status == "refused" for m in results),
        "failed": sum(m.status in ("timeout", "crashed") for m in results),
        "tests": len(verdicts),
        "tests of all": sum(len(c.tests) for c in cases),
        "tests compiled %": 100 * len(verdicts) / max(sum(len(c.tests) for c in cases), 1),
        "valid rejected": sum(valid and not got for valid, got in verdicts),
        "invalid accepted": sum(got and not valid for valid, got in verdicts),
        "right %": 100 * right / max(sum(len(c.tests) for c in cases), 1),
    }


def speed(results: Results) -> dict[str, Figures]:
    """Each engine's times over the schemas that all (outlines-core apart) compiled, and over all that it compiled."""
    n = len(next(iter(results.values())))
    compared = [found for name, found in results.items() if name != "outlines-core"] or list(results.values())
    common = [i for i in range(n) if all(found[i].status == "ok" for found in compared)]
    figures: dict[str, Figures] = {}
    for name, found in results.items():
        shared = [found[i] for i in common if found[i].status == "ok"]
        every = [m for m in found if m.status == "ok"]
        figures[name] = {
            "common schemas": len(shared),
            **percentiles("first mask ms", np.array([m.first_mask_s * 1000 for m in shared])),
            **percentiles("first us", _joined([m.first for m in shared])),
            **percentiles("warm us", _joined([m.warm for m in shared])),
            **percentiles("compile ms", np.array([m.compile_s * 1000 for m in found])),
            **percentiles("later ms", np.array([m.later_s * 1000 for m in every])),
            **percentiles("all first mask ms", np.array([m.first_mask_s * 1000 for m in every])),
            **percentiles("all first us", _joined([m.first for m in every])),
            **percentiles("all warm us", _joined([m.warm for m in every])),
            "masks": sum(len(m.first) for m in every),
            "mask ms max": max(map(longest_ms, every), default=0.0),
        }
    return figures


def longest_ms(measured: Measured) -> float:
    """The longest mask of a case, when first met."""
    return float(measured.first.max()) / 1000 if len(measured.first) else 0.0


def asked_again(found: Sequence[Measured], runs: Sequence[Sequence[Measured]]) -> Figures:
    """The longest mask where of each the least of several runs counts.

    runs: of the cases found with a mask over MOST_MS, in their order, what else they took. A run that came to other
    masks than were found, as it was lost on the way, does not count.
    """
    over = [m for m in found if longest_ms(m) > MOST_MS]
    least = [ms for ms in map(longest_ms, found) if ms <= MOST_MS]
    for each, *others in zip(over, *runs, strict=True):
        same = [other.first for other in others if len(other.first) == len(each.first)]
        least.append(float(np.minimum.reduce([each.first, *same]).max()) / 1000)
    return {"over": len(over), "mask ms max again": max(least, default=0.0)}


def slowest(cases: Sequence[Case], found: Sequence[Measured], most: int = 8) -> dict[str, list[tuple[str, float]]]:
    """The schemas with the longest compilations and the longest masks, in milliseconds."""
    compile_ms = [(case.name, m.compile_s * 1000) for case, m in zip(cases, found, strict=True)]
    mask_ms = [(case.name, longest_ms(m)) for case, m in zip(cases, found, strict=True) if len(m.first)]
    total_ms = [(c.name, float(m.first.sum()) / 1000) for c, m in zip(cases, found, strict=True) if len(m.first)]
    lists = {"compile": compile_ms, "one mask": mask_ms, "all masks": total_ms}
    return {name: sorted(values, key=lambda pair: -pair[1])[:most] for name, values in lists.items()}


def wrong(cases: Sequence[Case], found: Sequence[Measured]) -> list[dict[str, Any]]:
    """Each instance that went wrong, each schema that was not compiled."""
    listed = []
    for case, measured in zip(cases, found, strict=True):
        if measured.status in ("refused", "timeout", "crashed"):
            listed.append({"name": case.name, "status": measured.status, "reason": measured.reason})
            continue
        for i, ((valid, _), got) in enumerate(zip(case.tests, measured.accepted, strict=True)):
            if valid != got:
                listed.append({"name": case.name, "test": i, "status": "rejected" if valid else "accepted"})
    return listed


def table(title: str, rows: Sequence[Row], figures: Mapping[str, Figures]) -> str:
    """One line for each row that any engine has a figure for; `vs` is our figure as a multiple of the best peer's.

    Peers are the engines that read schemas themselves, so not outlines-core, which indexes a regex.
    """
    names = list(figures)
    lines = ["", f"{title:<42}" + "".join(f"{name:>15}" for name in names) + f"{'vs':>9}{'floor':>12}"]
    for row in rows:
        found = [figures[name].get(row.key) for name in names]
        if all(value is None for value in found):
            continue
        peers = [v for name, v in zip(names, found, strict=True) if name in PEERS and v is not None]
        mine = figures.get("rootform", {}).get(row.key)
        best = (max if row.more else min)(peers) if peers else None
        ratio = mine / best if mine is not None and best else None
        cells = "".join(f"{_shown(value):>15}" for value in found)
        line = f"{row.label:<42}{cells}{'-' if ratio is None else _shown(ratio):>9}"
        if row.floor is not None and mine is not None:
            holds = row.floor.holds(mine, ratio)
            verdict = "" if holds is None else "  ok" if holds else "  SHORT"
            line += f"{row.floor!s:>12}{verdict}"
        lines.append(line)
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0)
