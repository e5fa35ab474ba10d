"""A job killed with SIGKILL again and again gives, byte for byte, what an undisturbed one gives."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from rootform.extract.journal import read_entries
from rootform.extract.outcome import Answer, Failure

SCRIPT = Path(__file__).with_name("one_job.py")
ROWS = 120
IN_FLIGHT = 8
KILLS = 3


def make_folder(folder: Path) -> Path:
    """Rows with ids, doubles, no ids, a broken line, and neighbours that sorting tears apart."""
    rows = [json.dumps({"id": n // 2, "text": f"{'cab'[n % 3]} {n}"}) for n in range(ROWS)]
    rows[7] = "{broken"
    rows[8] = '{"text": "no id 8"}'
    folder.mkdir()
    (folder / "in.jsonl").write_text("\n".join(rows))
    (folder / "schema.json").write_text('{"type": "object"}')
    return folder


def start(folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, SCRIPT, folder, str(seconds)])


def recorded(folder: Path) -> Counter[int]:
    """How many outcomes the journal holds for each row."""
    journal = folder / "out.jsonl.journal"
    if not journal.exists():
        return Counter()
    with journal.open("rb") as file:
        return Counter(entry.number for _, _, entry in read_entries(file) if isinstance(entry, Answer | Failure))


def wait_for_more(folder: Path, process: subprocess.Popen[bytes], rows: int) -> None:
    """Until the journal holds so many rows more than now, or the job ends."""
    journal = folder / "out.jsonl.journal"
    wanted = (journal.stat().st_size if journal.exists() else 0) + 150 * rows  # about 150 bytes a row
    while process.poll() is None and not (journal.exists() and journal.stat().st_size >= wanted):
        time.sleep(0.002)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_killed_at_random_points_it_ends_as_if_nothing_had_happened(tmp_path: Path, seed: int) -> None:
    plain = make_folder(tmp_path / "plain")
    assert start(plain, 0).wait() == 1

    folder, rng, kills, before = make_folder(tmp_path / "killed"), random.Random(seed), 0, Counter[int]()
    while True:
        process = start(folder, 0.004 if kills < KILLS else 0)
        if kills < KILLS:
            wait_for_more(folder, process, rng.randint(1, 40))
            time.sleep(rng.random() * 0.01)
            process.kill()
        code = process.wait()
        after = recorded(folder)
        if code >= 0:
            break
        assert not (folder / "out.jsonl").exists()
        assert before <= after, "a finished row was lost"
        kills, before = kills + 1, after

    assert code == 1
    assert kills > 0
    assert (folder / "out.jsonl").read_bytes() == (plain / "out.jsonl").read_bytes()
    assert recorded(folder) == Counter(range(ROWS)), "each row exactly once"
    asked = (folder / "asked.log").read_text().split()
    assert len(asked) <= ROWS - 1 + kills * IN_FLIGHT, "only what was in flight is asked again"
    assert not list(folder.glob(".*"))


def test_killed_between_the_last_row_and_the_output_nothing_is_asked_again(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "job")
    assert start(folder, 0).wait() == 1
    output, asked = (folder / "out.jsonl").read_bytes(), (folder / "asked.log").read_bytes()
    (folder / "out.jsonl").rename(folder / ".out.jsonl.partial")  # as it is just before it gets its name
    assert start(folder, 0).wait() == 1
    assert (folder / "out.jsonl").read_bytes() == output
    assert (folder / "asked.log").read_bytes() == asked
