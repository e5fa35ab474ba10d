"""The serving benchmark's workload is what it says, its counts add up, and invalid answers are seen."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.benchmarks import serving, serving_workload
from rootform.benchmarks.serving_engines import Answers, Rootform, Setting, Transformers, lacking
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


def test_the_peer_of_transformers_answers_in_the_schema(mini: Path) -> None:
    pytest.importorskip("xgrammar")
    prompts = serving_workload.make_workload(mini, 1, 0, 3, 40, 10).prompts
    answers = Transformers(Setting("transformers", "fp32"), mini, 1, 2).answer(prompts)
    assert serving.count_invalid(answers.texts) == 0
    assert len(answers.texts) == 3
    assert answers.passes == answers.output_tokens > 3 * 50


class Here:
    """A Worker that makes its object in this process."""

    def __init__(self, make: Any, *arguments: Any, threads: int = 1) -> None:
        self._made = make(*arguments)

    def ask(self, method: str, *arguments: Any) -> Any:
        return getattr(self._made, method)(*arguments)

    def stop(self) -> None:
        getattr(self._made, "close", int)()


@pytest.mark.parametrize("spoiled", [False, True])
def test_one_command_measures_prints_and_writes_what_was_asked_for(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spoiled: bool
) -> None:
    """Of a peer that is not there it says so. An answer of ours that is not valid is an error."""
    monkeypatch.setitem(serving_workload.SHAPES, "mini", MINI)
    monkeypatch.setattr(serving, "Worker", Here)
    monkeypatch.setattr(serving, "lacking", lambda engine: [] if engine == "rootform" else [f"package of {engine}"])
    if spoiled:
        monkeypatch.setattr(serving, "count_invalid", lambda texts: 1)
    out, models = tmp_path / "out.json", str(mini.parent)
    asked = (
        f"--size mini --peers openvino,transformers --requests 2 --seed 1 --repeat 1 --dtypes fp32 --models {models}"
    )
    assert serving.main([*asked.split(), "--no-steps", "--json", str(out)]) == spoiled
    printed = capsys.readouterr().out
    for name in ("openvino", "transformers"):
        assert f"{name}: not installed (package of {name}): not measured" in printed
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    titles, cells = rows[0], [row for row in rows[1:] if row[0].startswith("| rootform")]
    assert [row[0] for row in cells] == ["| rootform fp32 drafts", "| rootform fp32"]
    written = json.loads(out.read_text())["mini"]["serving"]
    for row, figures in zip(cells, written, strict=True):
        assert figures["requests"] == 2
        assert figures["floor_cpu_s"] > 0
        assert row[titles.index("floor")] == f"{figures['floor_cpu_s']:.4f}"
        assert row[-1] == f"{int(spoiled)} |"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--size", "huge"], "invalid choice: 'huge'"),
        (["--peers", "vllm"], "vllm is not one of transformers, openvino, llamacpp"),
        (["--requests", "0"], "--requests must be 1 or more"),
    ],
)
def test_what_it_cannot_measure_is_refused(asked: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        serving.main(asked)
    assert message in capsys.readouterr().err


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
