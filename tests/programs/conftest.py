"""A client that answers from a script, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from rootform.engine.job import Job
from rootform.engine.types import Call, Completion, Delta, ModelInfo, RootformError, Usage

Script = Callable[[Call], str]


class ScriptedClient:
    """Answers each call, in a thread, with what `script` says; an exception becomes the call's failure."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.calls: list[Call] = []
        self.info = ModelInfo(name="scripted", context_tokens=1000, has_chat_template=True)
        self._lock = threading.Lock()

    def submit(self, call: Call) -> Job:
        with self._lock:
            self.calls.append(call)
        job = Job(on_cancel=lambda: None)
        threading.Thread(target=self._answer, args=(call, job), daemon=True).start()
        return job

    def _answer(self, call: Call, job: Job) -> None:
        try:
            text = self.script(call)
        except RootformError as error:
            job.fail(error)
            return
        for at, character in enumerate(text):
            job.push(Delta(request_id=0, text=character, token_ids=(at,)))
        usage = Usage(prompt_tokens=10, cached_tokens=4, completion_tokens=len(text), forward_passes=len(text))
        job.finish(Completion(text=text, token_ids=(), finish_reason="stop", usage=usage))

    def close(self) -> None:
        pass


@pytest.fixture
def scripted() -> type[ScriptedClient]:
    return ScriptedClient
