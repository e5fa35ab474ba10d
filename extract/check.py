"""`rootform check`: what the grammar room says of a schema, for people or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..engine.lenience import judge
from ..engine.types import Lenience
from ..grammar.constraints import JsonSchema
from ..grammar.errors import GrammarError
from ..grammar.estimate import Estimate, Tokens, estimate
from ..grammar.profiles import PROFILES, Finding, ProfileName, hosted_findings
from ..grammar.report import Report, inspect_constraint
from ..grammar.work import Limit, within
from .schema import read_schema

LIMIT_S = 60.0
"""Seconds of work on one schema."""

SAMPLE_DOCUMENT = "This text, another text and a third text are by Ann Berg, ann@example.org, Berlin, of 2024-05-17."
"""What verbatim values of an example stand in, where no document is given."""

_STYLES = {"refused": "bold red", "ignored": "yellow", "undocumented": "yellow"}


class Checked(msgspec.Struct, frozen=True):
    """All there is to tell. hosted: by the name of the API, what it would not take as it is meant.

    lenience: of a lenient schema, whether the example is valid all the same.
    """

    report: Report
    estimate: Estimate | None
    hosted: dict[ProfileName, tuple[Finding, ...]]
    lenience: Lenience | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is refused, here or by the hosted APIs that were asked about."""
        return self.report.ok and not any(each.verdict == "refused" for found in self.hosted.values() for each in found)


def check_schema(
    path: Path,
    options: JsonSchema,
    console: Console,
    *,
    as_json: bool,
    profiles: Sequence[ProfileName] = (),
    tokens: Tokens | None = None,
    document: str = SAMPLE_DOCUMENT,
) -> int:
    """Print what of the schema is enforced and what is refused. Returns 1 when something is refused, else 0.

    options: how the schema is to be read and written; its text is that of the file. tokens: the tokenizer to tell costs
    for. document: what verbatim values of the example stand in. Raises RootformError when the file cannot be read or is
    not JSON.
    """
    checked = _check(msgspec.structs.replace(options, schema=read_schema(path)), profiles, tokens, document)
    if as_json:
        console.file.write(msgspec.json.format(msgspec.json.encode(_plain(checked))).decode() + "\n")
    else:
        _print(path, checked, console)
    return 0 if checked.ok else 1


def _check(constraint: JsonSchema, profiles: Sequence[ProfileName], tokens: Tokens | None, document: str) -> Checked:
    report = inspect_constraint(constraint, Limit(LIMIT_S))
    found = None
    if constraint.may_be_verbatim:
        constraint = msgspec.structs.replace(constraint, document=document)
    if report.ok:
        try:
            found = estimate(constraint, tokens, Limit(LIMIT_S))
        except GrammarError as error:
            report = msgspec.structs.replace(report, warnings=(*report.warnings, f"no example was found: {error}"))
    hosted: dict[ProfileName, tuple[Finding, ...]] = {}
    if all(refused.where != "schema" for refused in report.refused):  # else it is no JSON at all, as the report says
        hosted = {name: hosted_findings(constraint.schema, name) for name in profiles}
    lenience = None
    if constraint.lenient and found is not None:
        with within(Limit(LIMIT_S)):
            lenience = judge(constraint, found.example)
    return Checked(report, found, hosted, lenience)


def _plain(checked: Checked) -> dict[str, Any]:
    hosted = {name: {"source": PROFILES[name].source, "findings": found} for name, found in checked.hosted.items()}
    cost = msgspec.to_builtins(checked.estimate) or {}
    return {
        "ok": checked.ok,
        **msgspec.to_builtins(checked.report),
        "example": cost.pop("example", None),
        "cost": cost or None,
        "hosted": hosted,
        "lenience": msgspec.to_builtins(checked.lenience),
    }


# -- for people -------------------------------------------------------------------------------------------------------


def _print(path: Path, checked: Checked, console: Console) -> None:
    report = checked.report
    table = _table(report)
    if table.row_count:
        console.print(table)
    for warning in report.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
    console.print(_verdict(path, report), soft_wrap=True)
    if report.shortest is not None:
        console.print(Text(f"the shortest result: {report.shortest}"), soft_wrap=True)
    if checked.estimate is not None:
        console.print(Text(f"an example: {checked.estimate.example}"), soft_wrap=True)
        if checked.lenience is not None and not checked.lenience.valid:
            console.print(Text(f"  which is not valid: {checked.lenience.reason}", style="yellow"), soft_wrap=True)
        console.print(Text(_cost(checked.estimate)), soft_wrap=True)
    for name, found in checked.hosted.items():
        _print_hosted(name, found, console)


def _print_hosted(name: ProfileName, found: Sequence[Finding], console: Console) -> None:
    console.print()
    if found:
        console.print(_hosted_table(found))
    console.print(Text(f"{name}: {_hosted_verdict(found)} (by {PROFILES[name].source})"), soft_wrap=True)


def _hosted_verdict(found: Sequence[Finding]) -> str:
    counts = {verdict: sum(each.verdict == verdict for each in found) for verdict in _STYLES}
    said = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    return ", ".join(said) or "takes the schema as it is"


def _hosted_table(found: Sequence[Finding]) -> Table:
    table = _empty_table()
    for each in found:
        rewrite = f"\ninstead: {each.rewrite}" if each.rewrite else ""
        why = f"{each.keyword}: {each.reason}" if each.keyword else each.reason
        table.add_row(Text(each.verdict, style=_STYLES[each.verdict]), Text(each.where), Text(why + rewrite))
    return table


def _table(report: Report) -> Table:
    """Refusals first, one a line; then what is enforced, place by place; then what asserts nothing, and why."""
    table = _empty_table()
    verdicts = [(Text("refused", style="bold red"), each) for each in report.refused]
    verdicts += [(Text("left out", style="bold yellow"), each) for each in report.dropped]
    for verdict, refused in verdicts:
        why = f"{refused.keyword}: {refused.reason}" if refused.keyword else refused.reason
        rewrite = f"\ninstead: {refused.rewrite}" if refused.rewrite else ""
        table.add_row(verdict, Text(refused.where), Text(why + rewrite))
    by_place: dict[str, list[str]] = {}
    for enforced in report.enforced:
        by_place.setdefault(enforced.where, []).append(enforced.keyword)
    for where, keywords in by_place.items():
        table.add_row(Text("enforced", style="green"), Text(where), Text(", ".join(keywords)))
    by_reason: dict[tuple[str, str], list[str]] = {}
    for ignored in report.ignored:
        by_reason.setdefault((ignored.where, ignored.reason), []).append(ignored.keyword)
    for (where, reason), keywords in by_reason.items():
        table.add_row(Text("asserts nothing", style="dim"), Text(where), Text(f"{', '.join(keywords)}: {reason}"))
    return table


def _empty_table() -> Table:
    table = Table(show_edge=False)
    table.add_column("")
    for name in ("where", "keywords"):
        table.add_column(name, overflow="fold")
    return table


def _verdict(path: Path, report: Report) -> Text:
    if report.ok:
        count, dropped = len(report.enforced), len(report.dropped)
        if dropped:
            said = f"{path}: every result obeys {count} keywords; {dropped} left out, and checked on the whole result"
            return Text(said, style="yellow")
        if not count:
            return Text(f"{path}: nothing in it asserts anything, so a result may be any JSON", style="green")
        return Text(f"{path}: every result obeys all {count} keywords that assert something", style="green")
    return Text(f"{path}: {len(report.refused)} refused, so the schema cannot be enforced exactly", style="bold red")


def _cost(found: Estimate) -> str:
    share = f"{found.forced_bytes} of {found.bytes} bytes of the example had to come"
    said = f"compiled in {found.compile_ms:.1f} ms; {found.states} automaton states, {share}"
    cost = found.tokens
    if cost is None:
        return said
    memory = f"{cost.rows} mask rows, {cost.row_bytes / 1024:.1f} KiB"
    return f"{said}\nwith the tokenizer {cost.tokenizer}: {cost.tokens} tokens, {cost.forced} of them forced; {memory}"
