"""The GPU benchmark where there is no GPU: it says so, and all that it would time runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from rootform.benchmarks import (
    gpu,
    gpu_cases,
    gpu_kernels,
    gpu_models,
    gpu_overlap,
    gpu_parts,
    gpu_verdicts,
    gpu_workload,
)
from rootform.benchmarks.gpu_time import Ceilings, measure_ceilings
from rootform.benchmarks.serving_workload import Shape, make_model

CPU = torch.device("cpu")
CEILINGS = Ceilings(1e12, 1e15)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_card_it_says_what_can_be_done(capsys):
    assert gpu.main([]) == 2
    assert "--check" in capsys.readouterr().err


def test_it_runs_from_a_checkout_that_is_not_installed(tmp_path: Path):
    """As on a fresh machine: no package of this name anywhere but in the folder itself."""
    code = (
        "import sys, importlib.util\n"
        "sys.meta_path = [each for each in sys.meta_path if 'editable' not in repr(each).lower()]\n"
        "assert importlib.util.find_spec('rootform') is None\n"
        "from benchmarks.gpu import make_importable\n"
        "make_importable()\n"
        "from rootform.benchmarks import gpu_cases\n"
        "print(len(gpu_cases.SMALL))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=gpu.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40


class Stub:
    """A part's process. scripts: what it runs, by the part's name."""

    scripts: ClassVar[dict[str, str]] = {}
    real = subprocess.Popen

    def __new__(cls, command: list[str], **options: Any) -> Any:
        name = command[command.index("--part") + 1]
        return cls.real([sys.executable, "-c", cls.scripts.get(name, "print('[]')")], **options)


def test_a_part_that_fails_costs_its_own_figures_and_no_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu, "_GRACE_SECONDS", 1)
    monkeypatch.setattr(gpu, "_SECONDS", gpu._SECONDS | {"passes": 5})
    step = {"batch": 64, "context": 1024, "shared": 0, "ms": 12.0, "floor_ms": 10.0}
    monkeypatch.setattr(
        Stub,
        "scripts",
        {
            "device": "print('a table'); print('{\"name\": \"a card\"}')",
            "steps:8b": f"import json; print(json.dumps([{step}]))",
            "passes": "import time; print('begun', flush=True); time.sleep(60)",
            "workload": "import os; print('half a line', flush=True); os.abort()",
            "kernels": "print('\"failed: RuntimeError: no\"')",
        },
    )
    monkeypatch.setattr(gpu.subprocess, "Popen", Stub)
    assert gpu.main(["--dry", "--models", "8b", "--json", str(tmp_path / "record")]) == 1
    out = capsys.readouterr().out
    record = json.loads((tmp_path / "record").read_text())
    assert json.loads(out.splitlines()[-1]) == record
    assert record["device"] == {"name": "a card"}
    assert "a table" in out
    assert record["steps:8b"] == [step]
    assert record["passes"].startswith("failed: it took over")
    assert record["workload"].startswith("failed: it ended with status -6")
    assert record["kernels"] == "failed: RuntimeError: no"
    assert record["models"] == []
    assert not record["right"]
    assert "| step of 8B, batch 64, context 1024, over its floor | at most 1.3 | 1.2 | holds |" in out
    assert [each["holds"] for each in record["verdicts"]].count(None) == 5


def test_parts_for_which_no_time_is_left_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--dry", "--seconds", "1"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["device"] == record["workload"] == "left out: no time was left for it"
    assert record["right"]


def test_what_must_hold_is_judged_by_the_record() -> None:
    kernels = {
        "prefix of 4096, batch 256, each by itself": 0.9,
        "prefix of 4096, batch 256, read together": 0.2,
        "mask, 256 rows": 0.05,
        "grammars advanced, 256 sequences": 0.01,
    }
    steps = [
        {"batch": batch, "context": 1024, "shared": 0, "ms": ms, "floor_ms": 5.0}
        for batch, ms in ((64, 7.0), (64, 6.0), (256, 10.0))
    ]
    rates = {"rootform": 900, "rootform, no masks": 5000, "transformers continuous batching": 200}
    record: dict[str, Any] = {
        "check:0": [],
        "check:1": [],
        "kernels": {"rows": [{"name": name, "ms": ms} for name, ms in kernels.items()]},
        "steps:8b": steps,
        "passes": [{"name": "overlap, masks", "batch": 64, "syncs": 0.0, "stalls": 0.0}],
        "workload": [{"name": name, "tokens": rate, "seconds": 1.0} for name, rate in rates.items()],
    }
    assert [row.holds for row in gpu_verdicts.verdicts(record)] == [True, True, True, True, True, False]
    record["passes"].append({"name": "overlap, masks", "batch": 256, "syncs": 0.0, "stalls": 0.5})
    record["check:1"] = ["decode"]
    assert [row.holds for row in gpu_verdicts.verdicts(record)] == [False, True, True, True, False, False]
    assert {row.measured for row in gpu_verdicts.verdicts({})} == {gpu_verdicts.UNKNOWN}


@pytest.mark.parametrize("kind", ["device", "models", "kernels", "steps"])
def test_parts_run_on_the_cpu(kind: str, tmp_path: Path) -> None:
    result = gpu_parts.run(kind, "8b", "cpu", 60, tmp_path)
    json.dumps(result)
    assert bool(result) == (kind != "models")


def test_checks_are_shared_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [gpu_parts._check_cases(n) for n in range(4)]
    assert sum(map(len, shares)) == len(set().union(*shares)) > 120
    monkeypatch.setattr(gpu_cases, "run_all", lambda cases, device: dict.fromkeys(cases, "") | {"bad": device})
    assert gpu_parts.run("check", "1", "cuda", 60, Path()) == ["bad"]


def test_floors_are_the_larger_of_both():
    assert CEILINGS.floor_ms(2e9) == pytest.approx(2.0)
    assert CEILINGS.floor_ms(1.0, 3e12) == pytest.approx(3.0)
    measured = measure_ceilings(CPU, 64)
    assert min(measured) > 0


def test_every_kernel_that_is_timed_runs():
    rows = gpu_kernels.table(gpu_kernels.SMALL, CPU, CEILINGS)
    names = [row.name for row in rows]
    assert len(names) > 15
    assert all(row.ms > 0 and row.mib > 0 for row in rows)
    assert names[0] in gpu_kernels.describe(rows)
    best, told = gpu_kernels.best_page(rows)
    assert best in gpu_kernels.PAGE_SIZES
    assert f"pages of {best} tokens are best here" in told
    assert all(f"{size}: " in told for size in gpu_kernels.PAGE_SIZES)


def test_the_smallest_of_the_good_page_sizes_is_chosen():
    times = {1: 3.0, 16: 1.01, 32: 1.0, 64: 1.5}
    rows = [gpu_kernels.Row(f"decode, pages of {size}", ms, 1.0, 0.5) for size, ms in times.items()]
    assert gpu_kernels.best_page([*rows, gpu_kernels.Row("decode, more, pages of 64", 0.1, 1.0, 0.5)])[0] == 16


def test_a_prefix_read_together_or_by_each_is_the_same_attention():
    both = [gpu_kernels.shared(gpu_kernels.SMALL, CPU, 64, together=together) for together in (False, True)]
    assert both[0].n_bytes == both[1].n_bytes
    results = []
    for together in (False, True):
        torch.manual_seed(0)
        results.append(gpu_kernels.shared(gpu_kernels.SMALL, CPU, 64, together=together).run()[0])
    assert torch.allclose(*results, atol=1e-5)


def test_steps_are_timed_with_graphs_and_without_shared_or_not():
    rows = gpu_models.steps(["mini"], CEILINGS, CPU, 60)
    assert {(row.batch, row.context, row.graph) for row in rows} >= {(3, 70, True), (1, 40, False)}
    plain, together = ([row for row in rows if row.shared and row.together is value] for value in (False, True))
    assert len(plain) == len(together) == 2
    assert together[0].floor_ms < plain[0].floor_ms  # what is shared is read once
    assert all(row.ms > 0 and row.host_syncs == 0 for row in rows)
    assert "| mini | 3 | 70 | 32, each its own copy |" in gpu_models.describe(rows)


MINI = Shape("mini", 32, 1, 2, 1, 64, 700)


def test_passes_are_timed_on_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu_overlap, "_WARM", 2)
    monkeypatch.setattr(gpu_overlap, "_TIMED", 4)
    rows = gpu_overlap.measure("cpu", make_model(MINI, tmp_path, 1), (3,), 60)
    names = [row.name for row in rows]
    assert names[:4] == [
        "overlap",
        "settled before the next",
        "overlap, masks",
        "settled before the next, masks",
    ]
    assert [row.waits is not None for row in rows[:4]] == [True, False, True, False]
    assert all((row.syncs, row.waits or 0, row.stalls or 0) == (0, 0, 0) and row.ms > 0 for row in rows)
    assert "| overlap, masks | 3 |" in gpu_overlap.describe(rows)


def test_what_others_fail_at_costs_none_of_our_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = gpu_workload.Row("rootform", 3, 30, 1.0)
    monkeypatch.setattr(gpu_workload, "_ours", lambda *_, **__: ours)
    monkeypatch.setattr(gpu_workload, "make_workload", lambda *_: type("", (), {"prompts": [[1]]}))

    def failing(*_: object) -> Any:
        yield gpu_workload.Row("transformers generate", 3, 3, 1.0)
        raise RuntimeError("no paged attention here")

    monkeypatch.setattr(gpu_workload, "_transformers", failing)
    rows = gpu_workload.measure("cpu", Path(), 60)
    assert [row.name for row in rows] == ["rootform"] * 8 + ["transformers generate"]
    assert "no paged attention here" in capsys.readouterr().err


@pytest.mark.slow
def test_the_workload_gives_the_same_tokens_whatever_is_left_out(tmp_path: Path):
    rows = gpu_workload.measure("cpu", make_model(MINI, tmp_path, 1), 200, requests=3, shared=40, own=10)
    names = [row.name for row in rows]
    assert names[0] == "rootform"
    assert names[-1] == "transformers generate"
    assert len({row.tokens for row in rows[:5]}) == 1
    assert rows[0].tokens > 100
    assert all(row.rate > 0 for row in rows)
    assert rows[1].overlapped
    assert "| rootform, no drafts | 3 |" in gpu_workload.describe(rows)
