"""A client that answers from a script, and a small job around it."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from rootform.engine.job import Job
from rootform.engine.types import Call, Completion, Delta, ModelInfo, RootformError, Usage
from rootform.extract.job import Result, Settings, run_job
from rootform.extract.progress import NoProgress

Script = Callable[[str], str]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class ScriptedClient:
    """Answers every prompt with what `script` says, on two threads; what the script raises is the call's failure.

    context_tokens: a prompt and max_tokens (a character is a token) that exceed it are refused, as an engine does.
    asked: prompts in the order they were submitted. at_once: the most calls that were under way together.
    """

    def __init__(self, script: Script, *, chat: bool = True, context_tokens: int = 100_000) -> None:
        self.info = ModelInfo(name="scripted", context_tokens=context_tokens, has_chat_template=chat)
        self.script = script
        self.calls: list[Call] = []
        self.asked: list[str] = []
        self.at_once = self._under_way = 0
        self.closed = False
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[str, Job] | None] = queue.SimpleQueue()
        for _ in range(2):
            threading.Thread(target=self._work, daemon=True).start()

    def submit(self, call: Call) -> Job:
        prompt = call.messages[0].content if call.messages else str(call.prompt)
        self.calls.append(call)
        self._check_room(prompt, call.max_tokens)
        with self._lock:
            self.asked.append(prompt)
            self._under_way += 1
            self.at_once = max(self.at_once, self._under_way)
        job = Job(lambda: job.fail(CancelledError()))
        self._queue.put((prompt, job))
        return job

    def _check_room(self, prompt: str, max_tokens: int | None) -> None:
        room = self.info.context_tokens - len(prompt)
        if room < 1:
            raise RootformError(f"the prompt has {len(prompt)} tokens; shorten the prompt", param="prompt")
        if max_tokens is not None and max_tokens > room:
            raise RootformError(f"max_tokens is {max_tokens}; there is room for {room}", param="max_tokens")

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            prompt, job = item
            try:
                text = self.script(prompt)
            except Exception as error:
                self._end(job.fail, error)
                continue
            for at, character in enumerate(text):
                job.push(Delta(request_id=0, text=character, token_ids=(at,)))
            usage = Usage(prompt_tokens=10, cached_tokens=4, completion_tokens=len(text), forward_passes=len(text))
            self._end(job.finish, Completion(text=text, token_ids=(), finish_reason="stop", usage=usage))

    def _end(self, end: Callable[..., None], what: object) -> None:
        with self._lock:
            self._under_way -= 1
        end(what)

    def close(self) -> None:
        self.closed = True
        for _ in range(2):
            self._queue.put(None)


@pytest.fixture
def scripted() -> type[ScriptedClient]:
    return ScriptedClient


class Bench:
    """A folder with a schema and an input, and a job over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "out.jsonl"
        self.journal = folder / "out.jsonl.journal"
        (folder / "schema.json").write_text(json.dumps(SCHEMA))

    def write_input(self, text: str | bytes, name: str = "in.jsonl") -> None:
        self.input = self.folder / name
        self.input.write_bytes(text.encode() if isinstance(text, str) else text)

    def settings(self, **changes: object) -> Settings:
        given = {"input": str(self.input), "schema": self.folder / "schema.json", "output": self.output, **changes}
        return Settings(**given)

    def run(self, client: ScriptedClient, **changes: object) -> Result:
        return run_job(self.settings(**changes), lambda: client, NoProgress())

    def rows(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.output.read_bytes().splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
