"""What must hold on a card, each as a row with its target, what was measured, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

UNKNOWN = "not measured"


class Verdict(NamedTuple):
    """measured: as told; UNKNOWN where the part that measures it did not come to it.  holds: None there."""

    what: str
    target: str
    measured: str
    holds: bool | None


def verdicts(record: Mapping[str, Any]) -> list[Verdict]:
    """Of a record of benchmarks.gpu, whatever parts of it are there."""
    rules: list[tuple[str, str, Callable[[Mapping[str, Any]], float | None], Callable[[float], bool]]] = [
        ("kernels that differ from their twins", "0", _wrong, lambda n: n == 0),
        ("step of 8B, batch 64, context 1024, over its floor", "at most 1.3", _over_floor, lambda x: x <= 1.3),
        ("prefix of 4096 at batch 256: each by itself over together", "at least 3", _together, lambda x: x >= 3),
        ("mask and advance at batch 256, share of the 8B step", "under 0.01", _grammar_share, lambda x: x < 0.01),
        ("host synchronisations of a steady overlapped pass", "0", _syncs, lambda n: n == 0),
        ("extraction workload over transformers' continuous batching", "at least 5", _over_peer, lambda x: x >= 5),
    ]
    rows = []
    for what, target, measure, holds in rules:
        try:
            value = measure(record)
        except (KeyError, TypeError, IndexError, ZeroDivisionError):  # the part is missing, failed or was cut short
            value = None
        measured = UNKNOWN if value is None else f"{value:.4g}"
        rows.append(Verdict(what, target, measured, None if value is None else holds(value)))
    return rows


def describe(rows: list[Verdict]) -> str:
    """As a table of Markdown."""
    lines = ["| what must hold | target | measured | verdict |", "|---|---|---|---|"]
    for row in rows:
        verdict = "open" if row.holds is None else "holds" if row.holds else "MISS"
        lines.append(f"| {row.what} | {row.target} | {row.measured} | {verdict} |")
    return "\n".join(lines)


def _wrong(record: Mapping[str, Any]) -> float:
    checks = [each for name, each in record.items() if name.startswith("check:")]
    return float(sum(len(each) for each in checks)) if checks and all(isinstance(c, list) for c in checks) else _none()


def _over_floor(record: Mapping[str, Any]) -> float:
    row = _step(record, 64)
    return row["ms"] / row["floor_ms"]


def _together(record: Mapping[str, Any]) -> float:
    alone, together = (
        _kernel(record, f"prefix of 4096, batch 256, {how}") for how in ("each by itself", "read together")
    )
    return alone / together


def _grammar_share(record: Mapping[str, Any]) -> float:
    taken = _kernel(record, "mask, 256 rows") + _kernel(record, "grammars advanced, 256 sequences")
    return taken / _step(record, 256)["ms"]


def _syncs(record: Mapping[str, Any]) -> float:
    rows = [row for row in record["passes"] if row["name"] == "overlap, masks"]
    return max(row["syncs"] + row["stalls"] for row in rows) if rows else _none()


def _over_peer(record: Mapping[str, Any]) -> float:
    rates = {row["name"]: row["tokens"] / row["seconds"] for row in record["workload"]}
    ours = max(
        [rate for name, rate in rates.items() if name.startswith("rootform") and "no masks" not in name], default=0.0
    )
    return ours / rates["transformers continuous batching"]


def _step(record: Mapping[str, Any], batch: int) -> Mapping[str, Any]:
    rows = [row for row in record["steps:8b"] if (row["batch"], row["context"], row["shared"]) == (batch, 1024, 0)]
    return min(rows, key=lambda row: row["ms"]) if rows else _none()


def _kernel(record: Mapping[str, Any], name: str) -> float:
    return {row["name"]: row["ms"] for row in record["kernels"]["rows"]}[name]


def _none() -> Any:
    raise KeyError
