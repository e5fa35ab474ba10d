"""The serving benchmark's workload is what it says, its counts add up, and invalid answers are seen."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.benchmarks import serving, serving_workload
from rootform.benchmarks.serving_engines import Answers, Rootform, Setting, lacking
from rootform.benchmarks.serving_llamacpp import VARIABLE, Clock, find_server
from rootform.benchmarks.serving_load import measure_trace
from rootform.benchmarks.serving_worker import Worker, WorkerError
from rootform.benchmarks.serving_workload import GRAMMAR, MAX_OUTPUT_TOKENS, Shape

MINI = Shape("mini", 32, 1, 2, 1, 64, 700)


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return serving_workload.make_model(MINI, tmp_path_factory.mktemp("serving"), 1)


def test_ours_answers_in_the_schema_and_in_the_grammar_of_the_peers_alike(mini: Path) -> None:
    prompts = serving_workload.make_workload(mini, 1, 0, 3, 40, 10).prompts
    ours = Rootform(Setting("rootform", "fp32", drafts=True), mini, 1, 8)
    try:
        answers = ours.answer(prompts)
        alike = ours.engine.generate([tuple(ids) for ids in prompts], grammar=GRAMMAR, max_tokens=MAX_OUTPUT_TOKENS)
    finally:
        ours.close()
    assert serving.count_invalid(answers.texts) == 0
    assert isinstance(alike, list)
    assert [each.text for each in alike] == answers.texts
    assert answers.passes is not None
    assert 0 < answers.passes <= answers.output_tokens
    assert answers.cached == 2 * 40  # the shared tokens are computed once


def test_invalid_answers_are_counted() -> None:
    assert serving.count_invalid(["{}", "no JSON", json.dumps({"number": "ABC-123456"})]) == 3


def test_prompts_have_the_lengths_and_the_prefix_asked_for(mini: Path) -> None:
    work = serving_workload.make_workload(mini, 1, 0, 4, 30, 7)
    assert {len(ids) for ids in work.prompts} == {37}
    assert len({tuple(ids[:30]) for ids in work.prompts}) == 1
    assert work == serving_workload.make_workload(mini, 1, 0, 4, 30, 7)
    assert work != serving_workload.make_workload(mini, 1, 1, 4, 30, 7)


@given(st.lists(st.lists(st.integers(0, 2), max_size=6)))
@settings(max_examples=200, deadline=None)
def test_the_least_that_must_be_computed_is_one_token_a_distinct_prefix(prompts: list[list[int]]) -> None:
    prefixes = {tuple(ids[:n]) for ids in prompts for n in range(1, len(ids) + 1)}
    assert serving_workload.distinct_prefixes(prompts) == len(prefixes)


def test_a_trace_computes_no_prefix_worth_waiting_for_twice(mini: Path) -> None:
    trace = measure_trace(mini, MINI, 1, 1, requests=12, families=2)
    assert trace.minimum <= trace.computed <= trace.minimum + 12 * 15  # shorter ones than 16 are not waited for
    assert trace.computed <= trace.tight
    assert trace.minimum < trace.prompt_tokens


def test_the_products_of_a_layer_are_its_weights(mini: Path) -> None:
    from safetensors.numpy import load_file

    weights = load_file(mini / "model.safetensors")
    of_layers = sum(data.size for name, data in weights.items() if "_proj" in name)
    assert MINI.layer_flops == 2 * of_layers
    assert MINI.head_flops == 2 * weights["lm_head.weight"].size
    assert serving.floor_cpu_s(MINI, 10, 5, 2.0) == pytest.approx(14 * MINI.layer_flops / 2e9)


def test_rows_are_told_as_multiples_of_the_best_of_each_peer() -> None:
    def row(engine: str, dtype: str, cpu_s: float) -> serving.Row:
        answers = Answers(["{}"] * 4, 400, cpu_s, cpu_s)
        return serving._row(Setting(engine, dtype), [answers], MINI, 4, 100.0, {"fp32": 10.0})

    rows = [row("rootform", "fp32", 1.0), row("openvino", "fp32", 4.0), row("openvino", "bf16", 2.0)]
    lines = serving.table([*rows, row("llamacpp", "fp32", 8.0)]).splitlines()
    cells = [line.split(" | ")[2:4] for line in (lines[0], *lines[2:])]
    assert cells == [
        ["vs openvino", "vs llamacpp"],
        ["0.50x", "0.12x"],
        ["2.00x", "0.50x"],
        ["1.00x", "0.25x"],
        ["4.00x", "1.00x"],
    ]
    assert rows[0].invalid == 4
    assert rows[0].passes_token is None


def test_a_worker_answers_and_tells_what_fails() -> None:
    worker = Worker(str, "abc")
    try:
        assert worker.ask("upper") == "ABC"
        with pytest.raises(WorkerError, match="ValueError"):
            worker.ask("index", "d")
        assert worker.ask("upper") == "ABC"
    finally:
        worker.stop()


def test_the_clock_of_another_process_runs_with_its_work() -> None:
    worker = Worker(Busy)
    try:
        clock = Clock(worker.ask("pid"))
        before = clock.seconds()
        worked = worker.ask("work")
        assert 0.5 * worked < clock.seconds() - before < worked + 1.0
    finally:
        worker.stop()


class Busy:
    """A process that can be told to work."""

    def pid(self) -> int:
        return os.getpid()

    def work(self) -> float:
        before = time.process_time()
        while time.process_time() - before < 0.1:
            pass
        return time.process_time() - before


def test_a_server_of_llama_cpp_is_found_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "llama-server"))
    assert find_server() is None
    assert any("llama-server" in each for each in lacking("llamacpp"))
    (tmp_path / "llama-server").write_text("#!/bin/sh\necho no such model >&2\nexit 1\n")
    (tmp_path / "llama-server").chmod(0o755)
    assert find_server() == tmp_path / "llama-server"


def test_a_worker_that_cannot_start_says_why() -> None:
    with pytest.raises(WorkerError, match="ValueError: invalid literal"):
        Worker(int, "abc")
