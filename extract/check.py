"""`rootform check`: the grammar room's report on a schema, for people or as JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..grammar.constraints import Spacing
from ..grammar.report import Report, inspect_schema
from .schema import read_schema


def check_schema(path: Path, spacing: Spacing, console: Console, *, as_json: bool) -> int:
    """Print what of the schema is enforced and what is refused. Returns 1 when something is refused, else 0.

    Raises RootformError when the file cannot be read or is not JSON.
    """
    report = inspect_schema(read_schema(path), spacing)
    if as_json:
        console.file.write(msgspec.json.format(_as_json(report)).decode() + "\n")
    else:
        _print(path, report, console)
    return 0 if report.ok else 1


def _as_json(report: Report) -> bytes:
    return msgspec.json.encode({"ok": report.ok, **msgspec.to_builtins(report)})


def _print(path: Path, report: Report, console: Console) -> None:
    console.print(_table(report))
    for warning in report.warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False, style="yellow")
    console.print(_verdict(path, report), soft_wrap=True)
    if report.example is not None:
        console.print(Text(f"the shortest result: {report.example}"), soft_wrap=True)


def _table(report: Report) -> Table:
    """Refusals first, one a line; then what is enforced, place by place; then what asserts nothing."""
    table = Table(show_edge=False)
    table.add_column("")
    for name in ("where", "keywords"):
        table.add_column(name, overflow="fold")
    for refused in report.refused:
        why = f"{refused.keyword}: {refused.reason}" if refused.keyword else refused.reason
        rewrite = f"\ninstead: {refused.rewrite}" if refused.rewrite else ""
        table.add_row(Text("refused", style="bold red"), Text(refused.where), Text(why + rewrite))
    for where in dict.fromkeys(enforced.where for enforced in report.enforced):
        keywords = ", ".join(enforced.keyword for enforced in report.enforced if enforced.where == where)
        table.add_row(Text("enforced", style="green"), Text(where), Text(keywords))
    for ignored in report.ignored:
        note = Text("asserts nothing", style="dim")
        table.add_row(note, Text(ignored.where), Text(f"{ignored.keyword}: {ignored.reason}"))
    return table


def _verdict(path: Path, report: Report) -> Text:
    if report.ok:
        count = len(report.enforced)
        return Text(f"{path}: every result obeys all {count} keywords that assert something", style="green")
    return Text(f"{path}: {len(report.refused)} refused, so the schema cannot be enforced exactly", style="bold red")
