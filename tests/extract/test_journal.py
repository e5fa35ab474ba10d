"""The journal: what was recorded is read back, whatever happened to the end of the file; never anything else."""

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.types import RootformError, Usage
from rootform.extract.journal import Entry, Header, Journal, Written, encode_entry, read_entries
from rootform.extract.outcome import Answer, Failure, Outcome

PARTS = {"input": "abc", "schema": "def"}
USAGE = Usage(prompt_tokens=5, cached_tokens=1, completion_tokens=2, forward_passes=2)

numbers = st.integers(0, 9)
answers = st.builds(
    lambda number, text: Answer(number=number, id=str(number), result=text, usage=USAGE), numbers, st.text()
)
failures = st.builds(
    lambda number, text: Failure(number=number, id="null", line=number + 1, kind="bad", reason=text), numbers, st.text()
)
entries = st.just(Header(1, PARTS)) | answers | failures | st.builds(Written, st.text("0123456789abcdef"))


def answer(number: int, text: str = "{}") -> Answer:
    return Answer(number=number, id=str(number), result=text, usage=USAGE)


def failure(number: int) -> Failure:
    return Failure(number=number, id=str(number), line=number + 1, kind="bad", reason="because")


def read(data: bytes) -> list[Entry]:
    return [entry for _, _, entry in read_entries(io.BytesIO(data))]


@given(st.lists(entries, max_size=5), st.data())
@settings(max_examples=60, deadline=None)
def test_cut_anywhere_it_reads_as_a_prefix(written: list[Entry], data: st.DataObject) -> None:
    lines = [encode_entry(entry) for entry in written]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    complete = sum(sum(map(len, lines[: n + 1])) <= cut for n in range(len(lines)))
    assert read(whole[:cut]) == written[:complete]


@given(st.lists(entries, min_size=1, max_size=5), st.data())
@settings(max_examples=60, deadline=None)
def test_with_any_byte_changed_it_reads_as_a_prefix(written: list[Entry], data: st.DataObject) -> None:
    whole = bytearray(b"".join(encode_entry(entry) for entry in written))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    found = read(bytes(whole))
    assert len(found) < len(written)
    assert found == written[: len(found)]


@given(st.lists(answers | failures, max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_latest_outcome_of_a_row_counts(tmp_path_factory: pytest.TempPathFactory, given: list[Outcome]) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    latest = {outcome.number: outcome for outcome in given}
    journal = Journal(path, PARTS, 10)
    for outcome in given:
        journal.record(outcome)
    check(journal, latest)
    journal.close()
    journal = Journal(path, PARTS, 10)
    check(journal, latest)
    journal.close()


def check(journal: Journal, latest: dict[int, Outcome]) -> None:
    assert journal.done == len(latest)
    assert journal.failed == sum(isinstance(outcome, Failure) for outcome in latest.values())
    assert [journal.is_done(number) for number in range(10)] == [number in latest for number in range(10)]
    assert list(journal.outcomes()) == [latest[number] for number in sorted(latest)]


def test_a_torn_end_is_cut_off_and_writing_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path, PARTS, 3)
    journal.record(answer(0))
    journal.record(answer(1))
    journal.close()
    path.write_bytes(path.read_bytes()[:-5])
    journal = Journal(path, PARTS, 3)
    assert journal.dropped_bytes == len(encode_entry(answer(1))) - 5
    journal.record(answer(2))
    journal.close()
    assert read(path.read_bytes()) == [Header(1, PARTS), answer(0), answer(2)]


@pytest.mark.parametrize("kept", [0, 1, 20])
def test_a_journal_torn_in_its_first_line_is_a_new_one(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "j"
    path.write_bytes(encode_entry(Header(1, PARTS))[:kept])
    Journal(path, PARTS, 3).close()
    assert read(path.read_bytes()) == [Header(1, PARTS)]


def test_another_jobs_journal_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Journal(path, PARTS, 3).close()
    before = path.read_bytes()
    with pytest.raises(RootformError, match=r"another job \(different: schema\).*--restart"):
        Journal(path, {**PARTS, "schema": "other"}, 3)
    assert path.read_bytes() == before
    journal = Journal(path, {**PARTS, "schema": "other"}, 3, restart=True)
    journal.close()
    assert read(path.read_bytes()) == [Header(1, {**PARTS, "schema": "other"})]


def test_a_file_that_is_no_journal_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_text("my diary\n")
    with pytest.raises(RootformError, match="it is no journal"):
        Journal(path, PARTS, 3)
    assert path.read_text() == "my diary\n"


def test_two_jobs_cannot_share_a_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", PARTS, 3)
    with pytest.raises(RootformError, match="another extraction is writing it"):
        Journal(tmp_path / "j", PARTS, 3)
    journal.close()
    Journal(tmp_path / "j", PARTS, 3).close()


def test_failures_can_be_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", PARTS, 3)
    journal.record(answer(0))
    journal.record(failure(1))
    journal.forget_failures()
    assert (journal.done, journal.failed) == (1, 0)
    assert [journal.is_done(number) for number in range(3)] == [True, False, False]
    journal.record(answer(1))
    assert list(journal.outcomes()) == [answer(0), answer(1)]
    journal.close()


def test_a_full_disk_keeps_what_was_recorded(tmp_path: Path) -> None:
    """/dev/full takes nothing; a limit on file size does the same to a real file, after a part of the line."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = tmp_path / "j"
    journal = Journal(path, PARTS, 3)
    journal.record(answer(0))
    size = path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
    try:
        with pytest.raises(RootformError, match="1 finished rows are safe in it"):
            journal.record(answer(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.stat().st_size == size
    journal.record(answer(2))
    assert list(journal.outcomes()) == [answer(0), answer(2)]
    journal.close()
