"""The whole way on 700 real utterances: the command line, a killed job, and the HTTP API give the same rows."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pytest

ROOT = Path(__file__).parents[2]
DEV = ROOT / "../shared/snips/dev.jsonl.gz"
SCHEMA = ROOT / "examples/snips.schema.json"
MAX_TOKENS = 256

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DEV.exists(), reason="the SNIPS utterances (shared/snips/dev.jsonl.gz) are not here"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("utterances")


@pytest.fixture(scope="module")
def documents(folder: Path) -> Path:
    """The utterances as a job's input: {"id", "text"}."""
    path = folder / "docs.jsonl"
    with gzip.open(DEV, "rt") as lines:
        rows = [{"id": i, "text": json.loads(line)["text"]} for i, line in enumerate(lines)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(documents: Path, output: Path) -> list[str]:
    words = ["extract", str(documents), "--schema", str(SCHEMA), "--output", str(output)]
    return [sys.executable, "-m", "rootform", *words, "--max-tokens", str(MAX_TOKENS)]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def extracted(folder: Path, documents: Path) -> Path:
    output = folder / "out.jsonl"
    done = subprocess.run(command(documents, output), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stderr)
    return output


def test_every_row_is_there_in_order_and_valid(documents: Path, extracted: Path) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    rows = rows_of(extracted)
    assert [row["id"] for row in rows] == [row["id"] for row in rows_of(documents)]
    assert [error.message for row in rows for error in validator.iter_errors(row["result"])] == []


def test_a_job_killed_three_times_ends_with_the_same_bytes(folder: Path, documents: Path, extracted: Path) -> None:
    output = folder / "killed.jsonl"
    journal = Path(f"{output}.journal")
    chance = random.Random(7)
    for kill in range(1, 4):
        lines_before = journal.read_bytes().count(b"\n") if journal.exists() else 0
        process = subprocess.Popen(command(documents, output), stderr=subprocess.DEVNULL)
        wanted = lines_before + chance.randint(50, 150)
        while not journal.exists() or journal.read_bytes().count(b"\n") < wanted:
            assert process.poll() is None, f"the job ended before kill {kill}"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not output.exists()
    done = subprocess.run(command(documents, output), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == extracted.read_bytes()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A served bundled model; its base URL."""
    words = [sys.executable, "-m", "rootform", "serve", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        else:
            raise AssertionError(f"the server ended: {said}")
        yield found.group()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_the_openai_client_gets_the_same_rows_32_at_a_time(server: str, documents: Path, extracted: Path) -> None:
    schema = json.loads(SCHEMA.read_text())

    async def ask_all() -> list[Any]:
        gate = asyncio.Semaphore(32)
        async with openai.AsyncOpenAI(base_url=f"{server}/v1", api_key="none") as client:

            async def ask(text: str) -> Any:
                async with gate:
                    answer = await client.chat.completions.create(
                        model="sprout",
                        messages=[{"role": "user", "content": text}],
                        response_format={"type": "json_schema", "json_schema": {"name": "snips", "schema": schema}},
                        temperature=0,
                        max_tokens=MAX_TOKENS,
                    )
                return json.loads(answer.choices[0].message.content or "")

            return await asyncio.gather(*(ask(row["text"]) for row in rows_of(documents)))

    assert asyncio.run(ask_all()) == [row["result"] for row in rows_of(extracted)]
