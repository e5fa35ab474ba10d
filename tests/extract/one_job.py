"""Not a test: one whole job in a process of its own, for test_killed.py to kill.

python one_job.py FOLDER SECONDS: in.jsonl and schema.json of FOLDER to out.jsonl. Every answer takes about SECONDS, and
is noted in asked.log when it is given.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from pathlib import Path

from rootform.engine.job import Job
from rootform.engine.types import Call, Completion, ModelInfo, Usage
from rootform.extract.job import Settings, run_job
from rootform.extract.progress import NoProgress
from rootform.extract.report import exit_code


class SlowClient:
    """Answers the number that ends the prompt, some calls at a time, neither in order nor all well."""

    info = ModelInfo(name="slow", context_tokens=100_000, has_chat_template=True)

    def __init__(self, log: Path, seconds: float) -> None:
        self._log = log.open("ab", buffering=0)
        self._seconds = seconds
        self._queue: queue.SimpleQueue[tuple[str, Job]] = queue.SimpleQueue()
        for _ in range(4):
            threading.Thread(target=self._work, daemon=True).start()

    def submit(self, call: Call) -> Job:
        assert call.messages is not None
        job = Job(lambda: None)
        self._queue.put((call.messages[0].content.rpartition(" ")[2], job))
        return job

    def _work(self) -> None:
        while True:
            number, job = self._queue.get()
            time.sleep(self._seconds * (1 + int(number) % 3) / 2)
            self._log.write(f"{number}\n".encode())
            if int(number) % 17 == 0:
                job.fail(ValueError(f"unlucky {number}"))
                continue
            usage = Usage(prompt_tokens=9, cached_tokens=3, completion_tokens=5, forward_passes=5)
            text = '{"n":' + number + "}"
            job.finish(Completion(text=text, token_ids=(), finish_reason="stop", usage=usage))

    def close(self) -> None:
        self._log.close()


if __name__ == "__main__":
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    settings = Settings(
        input=str(folder / "in.jsonl"),
        schema=folder / "schema.json",
        output=folder / "out.jsonl",
        concurrency=8,
        window=16,
        with_meta=True,
    )
    result = run_job(settings, lambda: SlowClient(folder / "asked.log", seconds), NoProgress())
    sys.exit(exit_code(result))
