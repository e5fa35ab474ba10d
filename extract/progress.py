"""How far a job is, on a stream: a bar where somebody watches, a line now and then elsewhere, or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

_LINE_EVERY_S = 5.0


class Progress(Protocol):
    """Told what happens to rows. `start` before all others, `stop` once at the end, whatever happened."""

    def start(self, rows: int, done: int) -> None:
        """rows: of the whole job. done: of those, known from the journal."""
        ...

    def advance(self, failed: bool) -> None:
        """One more row has its outcome."""
        ...

    def stop(self) -> None:
        """No more rows."""
        ...


def progress_on(stream: TextIO, *, quiet: bool = False) -> Progress:
    """What fits the stream."""
    if quiet:
        return NoProgress()
    return BarProgress(Console(file=stream)) if stream.isatty() else LineProgress(stream)


class NoProgress:
    """Says nothing."""

    def start(self, rows: int, done: int) -> None: ...

    def advance(self, failed: bool) -> None: ...

    def stop(self) -> None: ...


class _Rate(ProgressColumn):
    """Rows per second over the last while, without those known at the start."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.1f} docs/s")


class BarProgress:
    """A bar with rate, time left and failures."""

    def __init__(self, console: Console) -> None:
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TextColumn("{task.fields[failed]} failed"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
        )
        self._failed = 0

    def start(self, rows: int, done: int) -> None:
        self._task = self._bar.add_task("extract", total=rows, completed=done, failed=0)
        self._bar.start()

    def advance(self, failed: bool) -> None:
        self._failed += failed
        self._bar.update(self._task, advance=1, failed=self._failed)

    def stop(self) -> None:
        self._bar.stop()


class LineProgress:
    """A line every few seconds. clock: seconds, for tests."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock

    def start(self, rows: int, done: int) -> None:
        self._rows, self._before, self._done, self._failed = rows, done, done, 0
        self._started = self._shown = self._clock()

    def advance(self, failed: bool) -> None:
        self._done += 1
        self._failed += failed
        now = self._clock()
        if now - self._shown >= _LINE_EVERY_S:
            self._shown = now
            print(self._line(now), file=self._stream, flush=True)

    def stop(self) -> None:
        """The summary says the rest."""

    def _line(self, now: float) -> str:
        rate = (self._done - self._before) / (now - self._started)
        left = round((self._rows - self._done) / rate)
        eta = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
        return f"{self._done:,} of {self._rows:,} rows, {self._failed:,} failed, {rate:,.1f} docs/s, ETA {eta}"
