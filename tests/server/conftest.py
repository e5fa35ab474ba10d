"""A scripted engine behind a real server on a loopback port."""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import openai
import pytest

from rootform.engine.job import Job
from rootform.engine.types import (
    Call,
    Completion,
    Delta,
    ModelInfo,
    Regex,
    RootformError,
    TokenLogprob,
    Usage,
)
from rootform.server.app import create_app
from rootform.server.serve import Server, bind, url_of
from rootform.server.service import HttpLimits


class Stats(msgspec.Struct, kw_only=True):
    """The counts of the scripted engine, by the names of engine.api.EngineStats (which imports torch)."""

    forward_passes: int = 0
    sequence_passes: int = 0
    prefill_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    requests_finished: int = 0
    requests_cancelled: int = 0
    requests_failed: int = 0
    put_back: int = 0
    gave_way: int = 0
    waits: dict[str, Any] = {}
    prompt_tokens: int = 0
    running: int = 0
    waiting: int = 0
    compiling: int = 0
    pages_total: int = 10
    pages_free: int = 6
    pages_cached: int = 4
    pages_locked: int = 0
    host_tier_tokens: int = 0
    disk_tier_tokens: int = 0
    host_tier_bytes: int = 0
    disk_tier_bytes: int = 0
    disk_tier_written_bytes: int = 0
    grammar_rows: int = 0
    grammar_bytes: int = 0
    grammar_generations: int = 0
    grammar_recompiled: int = 0
    overlapped_passes: int = 0
    lockstep_passes: int = 0
    void_rows: int = 0
    grammar_misses: int = 0
    device_waits: int = 0
    device_stalls: int = 0


class ScriptedEngine:
    """Says the last message (or the prompt) back, a byte a token. Some words in it change what happens.

    "endless": goes on until cancelled. "late failure": fails after its first words. "early failure": fails at once.
    A regex "(" is refused as the grammar room refuses. Every 2nd and later call finds 3 tokens in the cache.
    """

    def __init__(self) -> None:
        self.info = ModelInfo(name="echo", context_tokens=512, has_chat_template=True, extract_prompt="Do {document}")
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """As new."""
        self.calls: list[Call] = []
        self.counts = Stats()
        self.trouble: str | None = None
        self.cancelled = threading.Event()
        self._ids = itertools.count()

    def stats(self) -> Stats:
        return self.counts

    def submit(self, call: Call) -> Job:
        said = call.messages[-1].content if call.messages else call.prompt
        text = said if isinstance(said, str) else bytes(said or ()).decode()
        if len(text) > 400:
            raise RootformError(f"the prompt is {len(text)} tokens, of 400 at most", param="prompt")
        stop = threading.Event()
        job = Job(stop.set)
        with self._lock:
            self.calls.append(call)
            self.counts.running += 1
            life = self.counts, self.cancelled  # a call that outlasts its test counts there
        threading.Thread(target=self._run, args=(next(self._ids), call, text, job, stop, *life)).start()
        return job

    def _run(
        self,
        request_id: int,
        call: Call,
        text: str,
        job: Job,
        stop: threading.Event,
        counts: Stats,
        cancelled: threading.Event,
    ) -> None:
        tokens: list[TokenLogprob] = []
        try:
            if isinstance(call.constraint, Regex) and call.constraint.pattern == "(":
                raise RootformError("regex, column 1: unclosed group", param="constraint")
            if "early failure" in text:
                raise RootformError("no room", status=500)
            for word in self._words(text, stop, call.max_tokens):
                new = tuple(self._token(byte, call.top_logprobs or 0) for byte in word.encode())
                tokens += new
                shown = new if call.top_logprobs is not None else ()
                ids = tuple(one.token_id for one in new)
                job.push(Delta(request_id=request_id, text=word, token_ids=ids, logprobs=shown))
            if stop.is_set():
                raise concurrent.futures.CancelledError
            if "late failure" in text:
                raise RuntimeError("a fuse blew")
        except Exception as error:
            self._count(counts, "cancelled" if stop.is_set() else "failed")
            job.fail(error)
            if stop.is_set():
                cancelled.set()
            return
        written = b"".join(one.text for one in tokens)
        self._count(counts, "finished")
        job.finish(
            Completion(
                text=written.decode(),
                token_ids=tuple(one.token_id for one in tokens),
                finish_reason="stop" if call.max_tokens is None else "length",
                usage=Usage(
                    prompt_tokens=len(text),
                    cached_tokens=3 if request_id else 0,
                    completion_tokens=len(tokens),
                    forward_passes=len(tokens) + 1,
                ),
                logprobs=tuple(tokens) if call.top_logprobs is not None else (),
                closed_early=call.max_tokens is not None,
                matched_stop=call.stop[0] if call.stop else None,
            )
        )

    def _words(self, text: str, stop: threading.Event, max_tokens: int | None) -> Iterator[str]:
        words = text.replace(" ", " \0").split("\0")[:max_tokens]
        yield from words
        while "endless" in text and not stop.wait(0.005):
            yield "more "

    def _token(self, byte: int, top: int) -> TokenLogprob:
        others = tuple((byte + i, bytes([(byte + i) % 256]), -0.5 - i) for i in range(top))
        return TokenLogprob(token_id=byte, text=bytes([byte]), logprob=-0.5, top=others)

    def _count(self, counts: Stats, outcome: str) -> None:
        with self._lock:
            counts.running -= 1
            field = f"requests_{outcome}"
            setattr(counts, field, getattr(counts, field) + 1)


@contextmanager
def serving(engine, **options) -> Iterator[str]:
    """The app over an engine on a free loopback port; gives its URL."""
    listener = bind("127.0.0.1", 0)
    ready = threading.Event()
    server = Server(create_app(engine, **options), drain_s=5, when_ready=ready.set)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        assert ready.wait(120)
        yield url_of(listener)
    finally:
        server.should_exit = True
        thread.join(120)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture(name="serving", scope="session")
def serving_fixture() -> Callable:
    return serving


@pytest.fixture(scope="session")
def shared() -> Iterator[tuple[ScriptedEngine, str]]:
    """One server for all tests that do not need one of their own: starting and draining takes its time."""
    engine = ScriptedEngine()
    with serving(engine, limits=HttpLimits(max_waiting=200, max_body_bytes=100_000)) as url:
        yield engine, url


@pytest.fixture
def engine(shared: tuple[ScriptedEngine, str]) -> ScriptedEngine:
    shared[0].forget()
    return shared[0]


@pytest.fixture
def url(shared: tuple[ScriptedEngine, str]) -> str:
    return shared[1]


@pytest.fixture
def make_engine() -> Callable[[], ScriptedEngine]:
    return ScriptedEngine


@pytest.fixture(scope="session")
def shared_client(shared: tuple[ScriptedEngine, str]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{shared[1]}/v1", api_key="none", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
def client(engine: ScriptedEngine, shared_client: openai.OpenAI) -> openai.OpenAI:
    return shared_client
