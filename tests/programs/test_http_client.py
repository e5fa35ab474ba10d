"""HttpClient against our own server over loopback: what goes in comes out as from an in-process engine."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from rootform.engine.job import Job
from rootform.engine.types import (
    Call,
    Choice,
    Completion,
    Delta,
    JsonObject,
    JsonSchema,
    Message,
    ModelInfo,
    Regex,
    RootformError,
    Sampling,
    TokenLogprob,
    Usage,
)
from rootform.programs.http_client import HttpClient
from rootform.programs.http_wire import refusal
from rootform.server.app import create_app
from rootform.server.serve import Server, bind, url_of

INFO = ModelInfo(name="fake", context_tokens=99, has_chat_template=True, extract_prompt="Read {document}")
LOGPROBS = (
    TokenLogprob(5, b"h\xc3", -0.25, ((5, b"h\xc3", -0.25), (6, b"x", -math.inf))),
    TokenLogprob(7, b"\xa9\xe2\x80\xa8", -1.5),
    TokenLogprob(9, b"!", -2.0),
)
ANSWER = Completion(
    text="hé\u2028!",
    token_ids=(5, 7, 9),
    finish_reason="length",
    usage=Usage(prompt_tokens=11, cached_tokens=4, completion_tokens=3, forward_passes=2),
    logprobs=LOGPROBS,
    closed_early=True,
    matched_stop="\n",
)
DELTAS = (
    Delta(request_id=0, text="h", token_ids=(5,), logprobs=LOGPROBS[:1]),
    Delta(request_id=0, text="é\u2028", token_ids=(7,), logprobs=LOGPROBS[1:2]),
    Delta(request_id=0, text="!", token_ids=(9,), logprobs=LOGPROBS[2:]),
)


class FakeEngine:
    """Always answers ANSWER; `behave` may make a job do otherwise, and is told the job and its cancel event."""

    info = INFO
    trouble = None
    waiting = compiling = running = 0

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.behave: Callable[[Job, threading.Event], None] = self.answer
        self.cancelled = threading.Event()

    def stats(self):
        return self

    def submit(self, call: Call) -> Job:
        self.calls.append(call)
        job = Job(self.cancelled.set)
        self.behave(job, self.cancelled)
        return job

    def answer(self, job: Job, cancelled: threading.Event) -> None:
        for delta in DELTAS:
            job.push(delta)
        job.finish(ANSWER)


@contextmanager
def serving(engine, **options) -> Iterator[str]:
    listener = bind("127.0.0.1", 0)
    server = Server(create_app(engine, **options), drain_s=5)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()  # the socket listens already: connections wait until the thread is up
    try:
        yield url_of(listener)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[FakeEngine, HttpClient]]:
    engine = FakeEngine()
    with serving(engine) as url, HttpClient(url + "/v1/", timeout_s=20) as client:
        yield engine, client


@pytest.fixture
def engine(shared) -> FakeEngine:
    engine = shared[0]
    engine.calls.clear()
    engine.behave = engine.answer
    engine.cancelled.clear()
    return engine


@pytest.fixture
def client(engine, shared) -> HttpClient:
    return shared[1]


CALLS = [
    Call(prompt="text", top_logprobs=2),
    Call(prompt=(1, 2, 3), max_tokens=7, stop=("a", "b"), ignore_eos=True, namespace="tenant", priority="offline"),
    Call(prompt="x", sampling=Sampling(temperature=0.7, top_k=5, top_p=0.9, min_p=0.05, seed=3)),
    Call(messages=(Message("system", "s"), Message("user", "u"))),
    Call(messages=(Message("user", "u"), Message("assistant", "a")), continue_final=True, top_logprobs=0),
    Call(prompt="x", constraint=Regex(r"\d+")),
    Call(prompt="x", constraint=Choice(("ä", "b"))),
    Call(prompt="x", constraint=JsonObject("flexible", "minimal")),
    Call(messages=(Message("user", "u"),), constraint=JsonSchema('{"b": {"é": 1},  "a": 2.50}', "flexible")),
    Call(
        prompt="x",
        constraint=JsonSchema(
            '{"$ref":"urn:a"}',
            "canonical",
            property_order="any",
            draft="7",
            documents=(("urn:a", '{"type": "null"}'),),
            lenient=True,
            escapes="minimal",
        ),
    ),
]


@pytest.mark.parametrize("call", CALLS)
def test_calls_arrive_as_they_were_sent(client, engine, call):
    client.submit(call).result(20)
    assert engine.calls == [call]


@pytest.mark.parametrize("where", [{"prompt": "x"}, {"messages": (Message("user", "x"),)}])
def test_the_completion_comes_back_whole(client, where):
    job = client.submit(Call(**where, top_logprobs=1))
    assert job.result(20) == ANSWER
    assert [(one.text, one.token_ids, one.logprobs) for one in job] == [
        (one.text, one.token_ids, one.logprobs) for one in DELTAS
    ]


def test_deltas_come_before_the_end(client, engine):
    read = threading.Event()
    late = []

    def slowly(job, cancelled):
        def rest():
            late.append(read.wait(10))
            job.push(DELTAS[1])
            job.push(DELTAS[2])
            job.finish(ANSWER)

        job.push(DELTAS[0])
        threading.Thread(target=rest).start()

    engine.behave = slowly
    deltas = iter(client.submit(Call(prompt="x")))
    assert next(deltas).text == "h"
    read.set()
    assert "".join(delta.text for delta in deltas) == "é\u2028!"
    assert late == [True]


def test_async_use(client):
    async def ask():
        jobs = [client.submit(Call(prompt="x")) for _ in range(20)]
        texts = [delta.text async for delta in jobs[0]]
        return texts, [(await job.wait()).text for job in jobs]

    texts, answers = asyncio.run(ask())
    assert texts == ["h", "é\u2028", "!"]
    assert answers == [ANSWER.text] * 20


def test_cancel_reaches_the_engine(client, engine):
    started = threading.Event()

    def endless(job, cancelled):
        def wait():
            cancelled.wait(10)
            job.fail(concurrent.futures.CancelledError())

        job.push(DELTAS[0])
        threading.Thread(target=wait).start()
        started.set()

    engine.behave = endless
    job = client.submit(Call(prompt="x"))
    assert started.wait(10)
    next(iter(job))
    job.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        job.result(10)
    assert engine.cancelled.wait(10)


def test_a_call_cancelled_at_once_still_ends(client):
    job = client.submit(Call(prompt="x"))
    job.cancel()
    assert concurrent.futures.wait([job.future], timeout=10).done == {job.future}
    job.cancel()


@pytest.mark.parametrize("streamed", [False, True])
def test_failures_keep_status_and_param(client, engine, streamed):
    def fail(job, cancelled):
        if streamed:
            job.push(DELTAS[0])
        job.fail(RootformError("regex, column 1: bad", status=400, param="regex"))

    engine.behave = fail
    with pytest.raises(RootformError, match=r"^regex, column 1: bad$") as failed:
        client.submit(Call(prompt="x")).result(20)
    assert (failed.value.status, failed.value.param) == (400, "regex")


def test_what_is_wrong_at_once(client, engine):
    for call in (Call(), Call(prompt="x", messages=(Message("user", "x"),)), Call(prompt="x", continue_final=True)):
        with pytest.raises(RootformError):
            client.submit(call)
    with pytest.raises(RootformError, match=r"the schema is not JSON: .*byte 1"):
        client.submit(Call(prompt="x", constraint=JsonSchema("{a}")))
    assert engine.calls == []


def test_info(client, shared):
    assert client.info == INFO
    with pytest.raises(RootformError, match=r"there is no model 'other' at http.*; it has 'fake'") as missing:
        HttpClient(client.base_url, model="other")
    assert missing.value.status == 404


def test_keys():
    with serving(FakeEngine(), api_keys=["kéy"]) as url:
        with pytest.raises(RootformError, match="no valid API key") as refused:
            HttpClient(url)
        assert refused.value.status == 401
        with HttpClient(url, api_key="kéy\n") as client:  # as a file that holds it ends
            assert client.submit(Call(prompt="x")).result(20).text == ANSWER.text
        with pytest.raises(RootformError, match="the API key holds a line break"):
            HttpClient(url, api_key="kéy\nkey")


def test_a_busy_server_is_asked_again():
    engine = FakeEngine()
    engine.waiting = 10_000
    with serving(engine) as url, HttpClient(url, retries=3) as client, HttpClient(url, retries=0) as hasty:
        with pytest.raises(RootformError, match="calls are waiting") as busy:
            hasty.submit(Call(prompt="x")).result(20)
        assert busy.value.status == 429
        asked = engine.stats
        readings = []

        def calm_down():
            readings.append(engine.waiting)
            engine.waiting = 0 if len(readings) > 1 else engine.waiting
            return asked()

        engine.stats = calm_down
        assert client.submit(Call(prompt="x")).result(20).text == ANSWER.text
    assert len(readings) == 2


def test_an_answer_that_is_not_ours_is_told_in_a_line():
    page = b"<!DOCTYPE HTML>\n<html>\n  <title>Not here</title>\n" + b"x" * 1000
    error = refusal(404, page)
    assert str(error).startswith(
        "status 404 came, and not as from a rootform server: '<!DOCTYPE HTML> <html> <title>Not"
    )
    assert (error.status, len(str(error)) < 180) == (404, True)
    assert str(refusal(429, b'{"error": {"message": "busy"}}')) == "busy"


def test_nobody_there():
    with bind("127.0.0.1", 0) as listener:
        url = url_of(listener)
    with pytest.raises(RootformError, match=r"cannot be reached: .*; is the server running") as nobody:
        HttpClient(url)
    assert nobody.value.status == 503
    with pytest.raises(RootformError, match="cannot be reached"):
        HttpClient("http://no such host")


def test_close_ends_what_runs():
    engine = FakeEngine()
    engine.behave = lambda job, cancelled: threading.Thread(
        target=lambda: cancelled.wait(10) and job.fail(concurrent.futures.CancelledError())
    ).start()
    with serving(engine) as url:
        client = HttpClient(url)
        job = client.submit(Call(prompt="x"))
        client.close()
        client.close()
        with pytest.raises(concurrent.futures.CancelledError):
            job.result(10)
        with pytest.raises(RootformError, match="closed"):
            client.submit(Call(prompt="x"))
        job.cancel()
