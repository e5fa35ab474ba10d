"""What is said at the end of a job, and the exit code it ends with."""

from __future__ import annotations

from .job import Result, Settings

ALL_WELL, SOME_FAILED, INTERRUPTED = 0, 1, 130


def exit_code(result: Result) -> int:
    """0: every row was extracted. 1: the output stands, but some rows failed. 130: interrupted, no output yet."""
    if result.total is None:
        return INTERRUPTED
    return SOME_FAILED if result.total.failed else ALL_WELL


def summary(result: Result, settings: Settings) -> str:
    """For people, on stderr."""
    lines = list(result.notes)
    if result.reused:
        lines.append(f"{result.reused:,} of {result.rows:,} rows were finished already, in the journal")
    if result.total is None:
        lines.append(f"interrupted: {result.done:,} of {result.rows:,} rows are safe in {result.journal}")
        lines.append("run the same command again to go on from there")
        return "\n".join(lines)
    lines.append(result.total.describe())
    if result.spent.documents:
        lines += [result.spent.tokens(), result.spent.describe()]
    lines.append(f"written: {settings.output}")
    if result.total.failed:
        lines.append(f"the journal {result.journal} is kept: --retry-failed does the failed rows again")
    return "\n".join(lines)
