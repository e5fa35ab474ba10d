"""Keys, queue, health, metrics, disconnects and the end of a server."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from rootform.engine.types import RootformError
from rootform.server.serve import bind, greeting, url_of
from rootform.server.service import HttpLimits

get, post = partial(httpx.get, timeout=120), partial(httpx.post, timeout=120)  # a busy machine may take its time


def samples(url):
    """Every sample of /metrics: (name, labels) -> value."""
    text = get(url + "/metrics").text
    return {
        (one.name, *sorted(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_metrics_count_requests_and_read_the_engine(serving, make_engine):
    engine = make_engine()
    engine.counts.cached_tokens = 42
    engine.counts.waits = {"offline": SimpleNamespace(bounds=(0.1, 1.0), counts=(3, 0, 2), seconds=7.5)}
    with serving(engine) as url:
        body = {"prompt": "a b", "stream": True}
        assert post(url + "/v1/completions", json=body).status_code == 200
        assert post(url + "/v1/completions", json={"nope": 1}).status_code == 400
        assert get(url + "/v1/completions/what").status_code == 404
        found = samples(url)
    assert found["rootform_http_requests_total", "/v1/completions", "200"] == 1
    assert found["rootform_http_requests_total", "/v1/completions", "400"] == 1
    assert found["rootform_http_requests_total", "404", "other"] == 1
    assert found["rootform_http_request_seconds_count", "/v1/completions"] == 2
    assert found["rootform_time_to_first_token_seconds_count",] == 1
    assert found["rootform_http_requests_in_flight",] == 1  # the one that asks
    assert found["rootform_cached_tokens_total",] == 42
    assert found["rootform_calls_total", "finished"] == 1
    assert found["rootform_pages", "free"] == 6
    waits = {key[1]: n for key, n in found.items() if key[0] == "rootform_queue_wait_seconds_bucket"}
    assert waits == {"0.1": 3, "1.0": 3, "+Inf": 5}
    assert found["rootform_queue_wait_seconds_sum", "offline"] == 7.5
    assert found["rootform_queue_wait_seconds_count", "offline"] == 5


def test_health(url, engine):
    assert get(url + "/health").json() == {"status": "ok"}
    engine.trouble = "the engine is closed"
    sick = get(url + "/health")
    assert (sick.status_code, sick.json()) == (503, {"status": "failing", "reason": "the engine is closed"})


def test_keys(serving, make_engine):
    with serving(make_engine(), api_keys=["first", "sécond"]) as url:
        assert get(url + "/health").status_code == 200
        assert get(url + "/metrics").status_code == 200
        for headers in ({}, {"Authorization": "Bearer nope"}, {"Authorization": "Basic first"}):
            refused = get(url + "/v1/models", headers=headers)
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
            assert refused.headers["www-authenticate"] == "Bearer"
        with openai.OpenAI(base_url=f"{url}/v1", api_key="first") as client:
            assert client.models.list().data[0].id == "echo"
        key = "Bearer sécond".encode()
        assert get(url + "/v1/models", headers={"Authorization": key}).status_code == 200


def test_a_served_name_is_the_one_that_requests_and_answers_have(serving, make_engine):
    with serving(make_engine(), name="gpt-x") as url:
        assert get(url + "/v1/models").json()["data"][0]["id"] == "gpt-x"
        body = {"prompt": "x", "model": "gpt-x"}
        assert post(url + "/v1/completions", json=body).json()["model"] == "gpt-x"
        assert post(url + "/v1/completions", json=body | {"model": "echo"}).status_code == 404


def test_pages_of_allowed_origins_may_ask_also_where_keys_are_asked_for(serving, make_engine):
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}
    ours, theirs = {"Origin": "https://a.example"}, {"Origin": "https://b.example"}
    with serving(make_engine(), api_keys=["key"], origins=["https://a.example"]) as url:
        preflight = httpx.options(url + "/v1/completions", headers=ours | asks, timeout=120)
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, "https://a.example")
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        assert httpx.options(url + "/v1/completions", headers=theirs | asks, timeout=120).status_code == 400
        answer = get(url + "/v1/models", headers=ours | {"Authorization": "Bearer key"})
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        assert get(url + "/v1/models", headers=ours).status_code == 401
    with serving(make_engine()) as url:
        assert "access-control-allow-origin" not in get(url + "/health", headers=ours).headers
        assert httpx.options(url + "/v1/completions", headers=ours | asks, timeout=120).status_code == 405


def test_a_full_queue_is_a_429_that_says_when_to_come_back(serving, make_engine):
    engine = make_engine()
    with serving(engine, limits=HttpLimits(max_waiting=4)) as url:
        engine.counts.waiting = 3
        body = {"prompt": "x", "n": 2}
        full = post(url + "/v1/completions", json=body)
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        assert full.json()["error"]["message"] == "3 calls are waiting, of 4 at most; try again later"
        engine.counts.waiting = 2
        assert post(url + "/v1/completions", json=body).status_code == 200
    assert len(engine.calls) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_cancels_all_its_calls(serving, make_engine, stream):
    engine = make_engine()
    with serving(engine) as url:
        body = json.dumps({"prompt": "endless", "n": 3, "stream": stream})
        with socket.create_connection((httpx.URL(url).host, httpx.URL(url).port or 80)) as connection:
            head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall((head + body).encode())
            wait_until(lambda: len(engine.calls) == 3)
            if stream:
                assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert engine.cancelled.wait(120)
        wait_until(lambda: engine.counts.requests_cancelled == 3)
        wait_until(lambda: samples(url)["rootform_http_requests_in_flight",] == 1)
        status = "200" if stream else "499"
        assert samples(url)["rootform_http_requests_total", "/v1/completions", status] == 1
        assert post(url + "/v1/completions", json={"prompt": "x"}).status_code == 200


def test_an_engine_that_drops_a_call_is_a_503(serving, make_engine):
    engine = make_engine()
    jobs = []
    submit = engine.submit
    engine.submit = lambda call: jobs.append(submit(call)) or jobs[-1]
    with serving(engine) as url:
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(post(url + "/v1/completions", json={"prompt": "endless"}))
        )
        asking.start()
        wait_until(lambda: jobs)
        jobs[0].cancel()
        asking.join(120)
    assert (answers[0].status_code, answers[0].headers["retry-after"]) == (503, "5")


def test_our_own_fault_is_a_500_without_its_insides(serving, make_engine, capsys):
    engine = make_engine()

    def submit(call):
        raise ZeroDivisionError("secret")

    engine.submit = submit
    with serving(engine) as url:
        crashed = post(url + "/v1/completions", json={"prompt": "x"})
        assert crashed.status_code == 500
        assert crashed.json()["error"]["message"] == "Internal Server Error (ZeroDivisionError); see the server's log"
        assert samples(url)["rootform_http_requests_total", "/v1/completions", "500"] == 1
    assert "secret" in capsys.readouterr().err


def test_a_busy_port_is_told_clearly():
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RootformError, match=f"port {port} on 127.0.0.1 is already in use; stop what listens"):
            bind("127.0.0.1", port)
    with pytest.raises(RootformError, match="host 'no such host' is not an address"):
        bind("no such host", 0)
    with pytest.raises(RootformError, match=r"port 0 on 192\.0\.2\.1 cannot be had: [\w ]+$"):
        bind("192.0.2.1", 0)


def test_urls_of_listeners():
    with bind("0.0.0.0", 0) as everywhere:
        assert url_of(everywhere) == f"http://127.0.0.1:{everywhere.getsockname()[1]}"
    assert "-H 'Authorization: Bearer <key>'" in greeting("http://h:1", "m", with_key=True)


@contextmanager
def ending(process):
    """Whatever goes wrong, no process is waited for in vain."""
    watch = threading.Timer(240, process.kill)
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
        process.kill()


SERVER = """
    import sys, threading
    from rootform.engine.job import Job
    from rootform.engine.types import Completion, Delta, ModelInfo, Usage
    from rootform.server.serve import serve

    class Slow:
        info = ModelInfo(name="slow", context_tokens=9, has_chat_template=True)
        trouble = None

        def stats(self):
            return type("Stats", (), {"waiting": 0, "compiling": 0, "running": 0})

        def submit(self, call):
            job = Job(lambda: None)
            usage = Usage(prompt_tokens=1, cached_tokens=0, completion_tokens=1, forward_passes=1)
            done = Completion(text="late", token_ids=(1,), finish_reason="stop", usage=usage)
            print("submitted", flush=True)
            threading.Timer(0.5, job.finish, [done]).start()
            return job

    serve(Slow(), port=0)
    print("returned", flush=True)
"""


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_requests_finish(stop):
    command = [sys.executable, "-c", textwrap.dedent(SERVER)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        ending(process),
    ):
        ready = process.stderr.readline()
        assert ready.startswith("serving slow at http://127.0.0.1:")
        url = ready.split()[3]
        answers = []
        asking = threading.Thread(target=lambda: answers.append(post(url + "/completions", json={"prompt": "x"})))
        asking.start()
        assert process.stdout.readline() == "submitted\n"
        process.send_signal(stop)
        asking.join(120)
        assert answers[0].json()["choices"][0]["text"] == "late"
        rest, errors = process.communicate(timeout=120)
    assert (process.returncode, rest, errors) == (0, "returned\n", "")
    with pytest.raises(httpx.ConnectError):
        get(url)


ENDLESS = """
    from rootform.engine.job import Job
    from rootform.engine.types import Delta, ModelInfo
    from rootform.server.serve import serve

    class Endless:
        info = ModelInfo(name="endless", context_tokens=9, has_chat_template=True)
        trouble = None

        def stats(self):
            return type("Stats", (), {"waiting": 0, "compiling": 0, "running": 0})

        def submit(self, call):
            job = Job(lambda: print("cancelled", flush=True))
            job.push(Delta(request_id=1, text="on and on", token_ids=(1,)))
            return job

    serve(Endless(), port=0, drain_s=1)
    print("returned", flush=True)
"""


@pytest.mark.parametrize("twice", [False, True])
def test_a_drain_has_an_end(twice):
    command = [sys.executable, "-c", textwrap.dedent(ENDLESS)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        ending(process),
    ):
        url = process.stderr.readline().split()[3]
        body = {"prompt": "x", "stream": True}
        with httpx.Client(timeout=120) as client, client.stream("POST", url + "/completions", json=body) as answer:
            told = answer.iter_text()
            assert "on and on" in next(told)
            process.send_signal(signal.SIGTERM)
            if twice:  # the second one wants it to leave at once
                time.sleep(0.2)
                process.send_signal(signal.SIGINT)
            last = "".join(told)
            rest, errors = process.communicate(timeout=120)
    assert (process.returncode, rest) == (0, "cancelled\nreturned\n")
    assert "the server stopped before this answer was complete" in last
    assert "Traceback" not in errors


def wait_until(true, timeout_s=120.0):
    done = threading.Event()
    for _ in range(int(timeout_s / 0.01)):
        if true():
            return
        done.wait(0.01)
    raise AssertionError("it did not come to pass")
