"""Calls that are cancelled or fail, and engines that are closed, with a stand-in model."""

from __future__ import annotations

import asyncio
import re
import threading
from concurrent.futures import CancelledError

import pytest

from rootform.engine.types import Call, Regex, RootformError
from tests.engine.api.conftest import Gate, likes_text, token


def test_cancel_while_running_and_while_waiting(make):
    engine = make(max_batch=1)
    gate = Gate(engine)
    running = engine.submit(Call(prompt="a", max_tokens=500, ignore_eos=True))
    assert gate.entered.wait(120)
    waiting = engine.submit(Call(prompt="b", max_tokens=5))
    running.cancel()
    waiting.cancel()
    gate.opened.set()
    for job in (running, waiting):
        with pytest.raises(CancelledError):
            job.result(120)
    assert engine.generate("c", max_tokens=3, ignore_eos=True).usage.completion_tokens == 3
    engine.cache_snapshot()
    assert (engine.stats().requests_cancelled, engine.stats().requests_finished) == (2, 1)


def test_cancel_while_the_constraint_is_compiled(make, monkeypatch):
    engine = make()
    compiling, go_on = threading.Event(), threading.Event()
    compile_now = engine._generations.compile

    def slow(*arguments, **options):
        compiling.set()
        assert go_on.wait(120)
        return compile_now(*arguments, **options)

    monkeypatch.setattr(engine._generations, "compile", slow)
    job = engine.submit(Call(prompt="x", constraint=Regex("[ab]{3}")))
    assert compiling.wait(120)
    assert len(engine.generate("meanwhile", max_tokens=4, ignore_eos=True).token_ids) == 4
    job.cancel()
    with pytest.raises(CancelledError):
        job.result(120)
    go_on.set()
    assert re.fullmatch("[ab]{3}", engine.generate("x", regex="[ab]{3}").text)


def test_cancelling_the_awaiting_task_cancels_the_call(make):
    engine = make()
    gate = Gate(engine)

    async def main():
        task = asyncio.create_task(engine.agenerate("x", max_tokens=900, ignore_eos=True))
        await asyncio.to_thread(gate.entered.wait, 30)
        task.cancel()
        await asyncio.sleep(0)
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    engine.generate("c", max_tokens=3, ignore_eos=True)  # by whose end a step has seen that the other is cancelled
    engine.cache_snapshot()
    assert engine.stats().requests_cancelled == 1


def test_cancelling_a_task_that_is_still_submitting_cancels_the_call(make, monkeypatch):
    """The thread that submits goes on when nobody waits for it any more."""
    engine = make()
    submitted, seen = threading.Event(), threading.Event()
    submit = engine.submit

    def slow(call):
        job = submit(call)
        submitted.set()
        assert seen.wait(120)  # the task is cancelled before it hears of the job
        return job

    async def main():
        task = asyncio.create_task(engine.agenerate("x", max_tokens=900, ignore_eos=True))
        assert await asyncio.to_thread(submitted.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen.set()

    monkeypatch.setattr(engine, "submit", slow)
    gate = Gate(engine)
    asyncio.run(main())  # whose end waits for its threads
    gate.opened.set()
    monkeypatch.undo()
    engine.generate("c", max_tokens=3, ignore_eos=True)
    assert (engine.stats().requests_cancelled, engine.stats().requests_finished) == (1, 1)


def test_who_sees_an_end_finds_it_counted(make, monkeypatch):
    """However slowly the thread counts."""
    engine = make()
    note = engine._thread._on_step

    def slowly(n_compiling):
        threading.Event().wait(0.02)
        note(n_compiling)

    monkeypatch.setattr(engine._thread, "_on_step", slowly)
    for n in range(1, 4):
        engine.generate("x", max_tokens=2, ignore_eos=True)
        assert (engine.stats().requests_finished, engine.stats().output_tokens) == (n, 2 * n)
        with pytest.raises(RootformError):
            engine.generate("x", regex="(a)\\1")
        assert engine.stats().requests_failed == n


def test_cancel_after_the_end_changes_nothing(make):
    job = (engine := make(likes=likes_text("hi"))).submit(Call(prompt="x"))
    assert job.result().text == "hi"
    job.cancel()
    engine.cache_snapshot()
    assert job.result().text == "hi"
    assert engine.stats().requests_cancelled == 0


def test_a_failing_pass_fails_its_calls_and_the_engine_goes_on(make):
    engine = make()
    engine._loop.model.fail_on = token("!")
    with pytest.raises(RootformError, match="RuntimeError: the stand-in was told to fail") as caught:
        engine.generate("a!", max_tokens=3)
    assert caught.value.status == 500
    assert len(engine.generate("a", max_tokens=3, ignore_eos=True).token_ids) == 3


def test_close_cancels_what_runs_and_refuses_what_comes(make):
    engine = make()
    gate = Gate(engine)
    job = engine.submit(Call(prompt="a", max_tokens=900, ignore_eos=True))
    assert gate.entered.wait(120)
    closer = threading.Thread(target=engine.close)
    closer.start()
    gate.opened.set()
    closer.join(120)
    with pytest.raises(CancelledError):
        job.result(120)
    with pytest.raises(RootformError, match="was closed") as caught:
        engine.submit(Call(prompt="a"))
    assert caught.value.status == 503
    engine.close()
