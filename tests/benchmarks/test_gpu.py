"""The GPU benchmark where there is no GPU: it says so, and all that it would time runs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
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


def test_the_verdicts_parts_fit_into_the_time() -> None:
    """Each to its limit, and what is left for the others is no less than nothing."""
    needed = ("device", "check", "steps", "kernels", "passes", "workload")
    assert sum(gpu._SECONDS[name] for name in needed) + gpu._GRACE_SECONDS <= 480
    assert gpu._SECONDS["machinecode"] <= gpu._SECONDS["check"]  # beside it
    assert set(gpu._ORDER) | {"tests"} == set(gpu._SECONDS)


def test_only_the_parts_that_were_asked_for_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "import json; print('{} passed'); print(json.dumps('{}'))"
    monkeypatch.setattr(
        Stub, "scripts", {name: script.format(name, name) for name in ("kernels", "steps:8b", "tests", "device")}
    )
    monkeypatch.setattr(gpu.subprocess, "Popen", Stub)
    assert gpu.main(["--dry", "--parts", "kernels,steps", "--models", "8b", "--tests"]) == 0
    out = capsys.readouterr().out
    record = json.loads(out.splitlines()[-1])
    assert [record.get(name) for name in ("device", "kernels", "steps:8b", "tests")] == [
        None,
        "kernels",
        "steps:8b",
        "tests",
    ]
    assert "tests passed" in out
    assert record["date"][:2] == "20"
    assert record["transformers"]
    with pytest.raises(SystemExit):
        gpu.main(["--parts", "wheels"])
    assert "no such parts: wheels; there are device, check" in capsys.readouterr().err


def test_tests_that_fail_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Stub, "scripts", {"tests": "print('\"failed: pytest ended with 1\"')"})
    monkeypatch.setattr(gpu.subprocess, "Popen", Stub)
    assert gpu.main(["--dry", "--parts", "device", "--tests"]) == 1
    assert "tests: failed: pytest ended with 1" in capsys.readouterr().out


def test_packages_carried_as_wheels_are_found_behind_what_is_installed(tmp_path: Path) -> None:
    """By the processes of the parts too."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, files in {
        "carried": {"carried.py": "here = 1", "carried-1.data/purelib/deep.py": "here = 2"},
        "json": {"json.py": "raise ImportError('not this one')", "msgspec/__init__.py": "raise ImportError"},
    }.items():
        with zipfile.ZipFile(wheels / f"{name}-1-py3-none-any.whl", "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
    code = (
        "import sys, subprocess\n"
        "from pathlib import Path\n"
        "from benchmarks.gpu import carry\n"
        f"carry(Path({str(wheels)!r}), Path({str(tmp_path / 'site')!r}))\n"
        "look = 'import carried, deep, json, msgspec; print(carried.here, deep.here)'\n"
        "exec(look)\n"
        "subprocess.run([sys.executable, '-c', look], check=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=gpu.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n"))[2:] == ["1 2", "1 2", "carried along: carried, json"]
    with pytest.raises(SystemExit, match="there are no wheels in"):
        gpu.carry(tmp_path, tmp_path / "other")


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


@pytest.mark.parametrize("kind", ["device", "models", "kernels", "steps", "machinecode"])
def test_parts_run_on_the_cpu(kind: str, tmp_path: Path) -> None:
    result = gpu_parts.run(kind, "8b", "cpu", 60, tmp_path)
    json.dumps(result)
    assert bool(result) == (kind != "models")


def test_checks_are_shared_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [gpu_parts._check_cases(n, 5) for n in range(5)]
    assert sum(map(len, shares)) == len(set().union(*shares)) > 120
    monkeypatch.setattr(gpu_cases, "run_all", lambda cases, device, _: dict.fromkeys(cases, "") | {"bad": device})
    assert gpu_parts.run("check", "1", "cuda", 60, Path()) == ["bad"]


class Case:
    """One that takes a second, by a clock that the test has."""

    now = 0.0

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def run(self, device: str) -> None:
        Case.now += 1.0
        if self.error is not None:
            raise self.error


def test_checks_end_in_time_and_lack_of_memory_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = {
        "good": Case(),
        "large": Case(torch.OutOfMemoryError("Tried to allocate 11.00 GiB\nmore")),
        "bad": Case(AssertionError("3 of 4 differ")),
        "late": Case(),
    }
    monkeypatch.setattr(gpu_cases.time, "monotonic", lambda: Case.now)
    assert gpu_parts._wrong(cases, "cpu", 2.5) == ["bad"]
    told = capsys.readouterr()
    assert told.err.splitlines()[0] == "large: Tried to allocate 11.00 GiB"
    assert "3 of 4 differ" in told.err
    assert "1 of 4 cases agree with their twins (cpu); 2 were not come to" in told.out


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


class AllowsAll:
    """A peer whose masks allow every token but the end. fails: in the calls so named."""

    fails: ClassVar[str] = ""

    def __init__(self, folder: Path, tokens: Any, size: int) -> None:
        self.taken = 0

    def start(self) -> Any:
        if self.fails == "start":
            raise RuntimeError("no matcher of theirs")
        return self

    def fill(self, matchers: list[Any], rows: np.ndarray) -> None:
        if self.fails == "fill":
            raise RuntimeError("no masks of theirs")
        rows[:] = -1
        rows[:, 0] = ~1

    def take(self, matchers: list[Any], tokens: list[int]) -> None:
        assert 0 not in tokens
        self.taken += len(tokens)


@pytest.mark.parametrize("fails", ["", "start", "fill"])
def test_masks_by_others_go_through_the_same_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: str
) -> None:
    """Whatever of theirs is installed; what fails in it is told, and costs no other row and no endless loop."""
    monkeypatch.setattr(gpu_overlap, "PEERS", {"json": AllowsAll})  # a name that can be imported
    monkeypatch.setattr(AllowsAll, "fails", fails)
    monkeypatch.setattr(gpu_overlap, "_WARM", 2)
    monkeypatch.setattr(gpu_overlap, "_TIMED", 4)
    rows = gpu_overlap.measure("cpu", make_model(MINI, tmp_path, 1), (3,), 60)
    assert len(rows) == (4 if fails else 5)
    if not fails:
        assert (rows[-1].name, rows[-1].syncs) == ("masks by json", 0)
    assert (fails != "") == ("of theirs" in capsys.readouterr().err)


def test_what_others_fail_at_costs_none_of_our_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = gpu_workload.Row("rootform", 3, 30, 1.0)
    monkeypatch.setattr(gpu_workload, "_ours", lambda *_, **__: ours)
    monkeypatch.setattr(gpu_workload, "load_saved", lambda *_, **__: None)
    monkeypatch.setattr(gpu_workload.Tokenizer, "load", lambda *_: None)
    monkeypatch.setattr(gpu_workload, "make_workload", lambda *_: type("", (), {"prompts": [[1]]}))

    def failing(*_: object) -> Any:
        yield gpu_workload.Row("transformers generate", 3, 3, 1.0)
        raise RuntimeError("no paged attention here")

    monkeypatch.setattr(gpu_workload, "_transformers", failing)
    rows = gpu_workload.measure("cpu", Path(), 60)
    assert [row.name for row in rows] == ["rootform"] * 2 + ["transformers generate"] + ["rootform"] * 6
    assert "no paged attention here" in capsys.readouterr().err


@pytest.mark.slow
def test_the_workload_gives_the_same_tokens_whatever_is_left_out(tmp_path: Path):
    rows = gpu_workload.measure("cpu", make_model(MINI, tmp_path, 1), 200, requests=3, shared=40, own=10)
    names = [row.name for row in rows]
    assert names[0] == "rootform"
    assert names[2] == "transformers generate"
    assert len({row.tokens for row in rows[:6] if row.name.startswith("rootform")}) == 1
    assert rows[0].tokens > 100
    assert all(row.rate > 0 for row in rows)
    assert rows[1].overlapped
    assert "| rootform, no drafts | 3 |" in gpu_workload.describe(rows)
