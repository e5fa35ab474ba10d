"""A batch extraction job from its input file to its output file, continued where it was stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import msgspec

from ..engine.types import Call, RootformError
from ..programs.client import Client
from .asking import Asker, Options
from .flight import fly
from .journal import Journal
from .order import in_windows
from .outcome import NOT_VALID, TOO_LONG, Extras, Failure, Outcome, bad_row, outcome_of
from .output import check_ours, check_place, journal_path, write_output
from .progress import Progress
from .prompt import read_template
from .records import BadRow, Format, Source, open_source
from .rows import Fields, Row, Survey, read_rows, refuse_changed, survey
from .schema import enforceable_schema
from .tally import Spent, Total

_STOP_AFTER_FAILURES = 20
"""Calls that fail in a row, for whatever reason but their length: the fault is not in the rows."""
_SERVER_AWAY = frozenset({429, 502, 503})
"""Statuses of a server that is busy, restarting or out of reach: they say nothing of the row."""
_TIMES_AWAY = 8
"""How often a row is put to such a server before the job stops; an HttpClient tries for some seconds each time."""


@dataclass(frozen=True)
class Settings:
    """What a job is told. input "-": standard input.

    concurrency: calls in flight. window: so many rows are read ahead and sorted, so that shared prefixes meet.
    restart: throw the journal away first. retry_failed: rows that failed are done again. overwrite: `output` may be
    replaced, whoever wrote it. keep_journal: also when every row succeeded. with_meta: usage in every output row.
    offsets: where in the document each verbatim value stands, likewise.
    """

    input: str
    schema: Path
    output: Path
    format: Format | None = None
    delimiter: str | None = None
    text_field: str = "text"
    id_field: str = "id"
    prompt: Path | None = None
    options: Options = field(default_factory=Options)
    concurrency: int = 128
    window: int = 1024
    restart: bool = False
    retry_failed: bool = False
    overwrite: bool = False
    keep_journal: bool = False
    with_meta: bool = False
    offsets: bool = False

    @property
    def files_read(self) -> list[Path]:
        """What the job reads, and so may not write."""
        named = [] if self.input == "-" else [Path(self.input)]
        return [*named, self.schema, *([self.prompt] if self.prompt else [])]


@dataclass(frozen=True)
class Result:
    """How a job ended. rows: of the input. reused: of those, known from the journal. total None: interrupted."""

    rows: int
    done: int
    reused: int
    spent: Spent
    total: Total | None
    journal: Path | None
    notes: tuple[str, ...] = ()


def run_job(settings: Settings, connect: Callable[[], Client], progress: Progress) -> Result:
    """Extract every row that has no outcome yet; when all have one, write the output.

    connect: makes the client, once everything that can be checked without a model has been; it is closed at the end.
    A KeyboardInterrupt while rows are under way ends in a Result without a total. Raises RootformError for what keeps
    the job from starting or going on; rows already finished are then in the journal.
    """
    schema = enforceable_schema(settings.schema, settings.options.constraint)
    template = read_template(settings.prompt) if settings.prompt else None
    check_place(settings.output, settings.overwrite, settings.files_read)
    with open_source(settings.input, settings.format, settings.delimiter) as source:
        fields = Fields(settings.text_field, settings.id_field, template.fields if template else ())
        found = survey(source, fields)
        with closing(connect()) as client:
            asker = Asker.make(client.info, schema, settings.options, template)
            parts = _parts(settings, fields, found, asker)
            path = journal_path(settings.output)
            with closing(Journal(path, parts, found.rows, restart=settings.restart)) as journal:
                check_ours(settings.output, journal, settings.overwrite)
                if settings.retry_failed:
                    journal.forget_failures()
                return _run(settings, client, asker, source, fields, found, journal, progress)


def _parts(settings: Settings, fields: Fields, found: Survey, asker: Asker) -> dict[str, str]:
    """What decides the outcomes, by the names a message can use."""
    options = asdict(settings.options)
    del options["priority"]
    return {
        "input": found.digest,
        "schema": _digest(asker.schema),
        "model": asker.info.name,
        "prompt": _digest(repr(asker.template)),
        "fields": msgspec.json.encode([fields.text, fields.id, *filter(None, [settings.delimiter])]).decode(),
        "options": msgspec.json.encode(options).decode(),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _run(
    settings: Settings,
    client: Client,
    asker: Asker,
    source: Source,
    fields: Fields,
    found: Survey,
    journal: Journal,
    progress: Progress,
) -> Result:
    reused, spent, total, kept = journal.done, Spent(), None, True
    notes = _notes(journal, found)
    flight = Flight(client, asker, journal, progress, spent)
    progress.start(found.rows, reused)
    try:
        rows = islice(read_rows(source, fields), found.rows)
        flight.run(rows, settings.concurrency, settings.window)
    except KeyboardInterrupt:
        pass
    else:
        refuse_changed(source, found)
        check_ours(settings.output, journal, settings.overwrite)
        total = write_output(settings.output, journal, Extras(settings.with_meta, settings.offsets))
        kept = settings.keep_journal or total.failed > 0
        if not kept:
            journal.remove()
    finally:
        spent.stop()
        progress.stop()
    return Result(found.rows, journal.done, reused, spent, total, journal.path if kept else None, notes)


def _notes(journal: Journal, found: Survey) -> tuple[str, ...]:
    notes = []
    if journal.dropped_bytes:
        notes.append(f"the journal ended in {journal.dropped_bytes} bytes of an unfinished or damaged entry: dropped")
    if found.rows == 0:
        notes.append("the input holds no rows")
    return tuple(notes)


@dataclass
class Flight:
    """The rows of one run on their way to the journal."""

    client: Client
    asker: Asker
    journal: Journal
    progress: Progress
    spent: Spent
    failures_in_a_row: int = 0

    def run(self, rows: Iterator[Row | BadRow], concurrency: int, window: int) -> None:
        """Bring every row that has no outcome to one."""
        calls = self._calls(rows, window)
        with closing(fly(self.client, calls, concurrency, self._again)) as landings:
            for row, given in landings:
                self._land(outcome_of(row, given))

    def _again(self, call: Call, error: RootformError, times: int) -> Call | None:
        """The same call, when the server was away; another, when this one was too long. Raises when it stays away."""
        if error.status not in _SERVER_AWAY:
            return self.asker.again(call, error)
        if times == _TIMES_AWAY:
            raise RootformError(
                f"stopped: {error}\n{self.journal.done:,} finished rows are safe in {self.journal.path}: when the "
                "server answers again, run the same command again"
            )
        return call

    def _calls(self, rows: Iterator[Row | BadRow], window: int) -> Iterator[tuple[Row, Call]]:
        for prompt, row in in_windows(self._prompts(rows), key=lambda pair: pair[0], size=window):
            yield row, self.asker.call(prompt, row.number, row.text)

    def _prompts(self, rows: Iterator[Row | BadRow]) -> Iterator[tuple[str, Row]]:
        """Prompts of the rows that are to be asked; the others are settled on the way."""
        for row in rows:
            if self.journal.is_done(row.number):
                continue
            if isinstance(row, BadRow):
                self._settle(bad_row(row))
            else:
                yield self.asker.prompt(row.text, row.fields), row

    def _land(self, outcome: Outcome) -> None:
        self._settle(outcome)
        if not isinstance(outcome, Failure) or outcome.kind == NOT_VALID:
            self.failures_in_a_row = 0
        elif outcome.kind != TOO_LONG:
            self.failures_in_a_row += 1
        if self.failures_in_a_row == _STOP_AFTER_FAILURES:
            assert isinstance(outcome, Failure)
            raise RootformError(
                f"stopped: {_STOP_AFTER_FAILURES} rows in a row failed, the last with: {outcome.reason}\n"
                f"{self.journal.done:,} finished rows are kept in {self.journal.path}: when the cause is mended, run "
                "the same command with --retry-failed"
            )

    def _settle(self, outcome: Outcome) -> None:
        self.journal.record(outcome)
        self.spent.count(outcome)
        self.progress.advance(isinstance(outcome, Failure))
