"""The parts of benchmarks.gpu: what each prints, and what stays of it in the record. Each runs in a process of its own.

On the CPU all of them run too, in sizes that only show that they do.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

from . import gpu_cases, gpu_kernels, gpu_time
from .gpu import WORKERS


def run(kind: str, which: str, device: str, seconds: float, folder: Path) -> Any:
    """A part by its name. which: a share of the checks, or a model.  folder: for models that parts share."""
    began = time.monotonic()
    where = torch.device(device)
    if kind == "device":
        return _device(where)
    if kind == "check":
        return _wrong(_check_cases(int(which), WORKERS), device, seconds)
    if kind == "models":
        from . import gpu_model_case

        return _wrong(gpu_model_case.ON_A_CARD if device == "cuda" else {}, device, seconds)
    if kind == "machinecode":
        return _machine_code()
    if kind == "kernels":
        return _kernels(where, seconds)
    if kind == "steps":
        return _steps(which, where, seconds)
    model = _model(folder, device)
    left = seconds - (time.monotonic() - began)
    return _passes(model, device, left) if kind == "passes" else _workload(model, device, left)


def _ceilings(device: torch.device) -> gpu_time.Ceilings:
    return gpu_time.measure_ceilings(device, 8192 if device.type == "cuda" else 64)


def _device(device: torch.device) -> dict[str, Any]:
    found = _ceilings(device)
    name, memory = "CPU", 0
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name, memory = properties.name, properties.total_memory
    print(f"{name}, {memory >> 30} GiB; copy: {found.bytes_s / 1e12:.2f} TB/s; ", end="")
    print(f"bf16 products: {found.flops_s / 1e12:.0f} TFLOP/s\n")
    return {"name": name, "bytes": memory, **found._asdict()}


def _machine_code() -> str:
    """Made once after an install; meanwhile kernels are checked, which takes other cores."""
    from rootform.grammar.batch import compile_loops

    began = time.monotonic()
    compile_loops()
    return f"{time.monotonic() - began:.0f} s"


def _check_cases(number: int, shares: int) -> dict[str, Any]:
    cases = gpu_cases.SMALL
    try:
        from . import gpu_grammar_case

        cases = cases | gpu_grammar_case.CASES
    except ImportError as error:  # the grammar needs more packages than the kernels
        print(f"grammars: not checked, {error.name} is not installed\n")
    return dict(list((cases | gpu_cases.in_bfloat(cases)).items())[number::shares])


def _wrong(cases: dict[str, Any], device: str, seconds: float) -> list[str]:
    """The cases in which a kernel or model differs from its twin; they are told on the standard error. As far as time
    goes: how many were not come to is told."""
    results = gpu_cases.run_all(cases, device, time.monotonic() + seconds)
    wrong = [name for name, trace in results.items() if trace]
    for name in wrong:
        print(f"{name}:\n{results[name]}", file=sys.stderr)
    left = f"; {len(cases) - len(results)} were not come to" if len(results) < len(cases) else ""
    print(f"{len(results) - len(wrong)} of {len(cases)} cases agree with their twins ({device}){left}\n")
    return wrong


def _kernels(device: torch.device, seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    sizes = gpu_kernels.Sizes() if device.type == "cuda" else gpu_kernels.SMALL
    rows = gpu_kernels.table(sizes, device, _ceilings(device), deadline)
    best, told = gpu_kernels.best_page(rows)
    print(f"{gpu_kernels.describe(rows)}\n\n{told}\n")
    return {"rows": [row._asdict() for row in rows], "best_page_tokens": best}


def _steps(model: str, device: torch.device, seconds: float) -> list[dict[str, Any]]:
    from . import gpu_models

    name = model if device.type == "cuda" else "mini"
    rows = gpu_models.steps([name], _ceilings(device), device, seconds)
    print(gpu_models.describe(rows) + "\n")
    return [row._asdict() for row in rows]


def _model(folder: Path, device: str) -> Path:
    """The model that both the passes and the workload are measured with."""
    from . import gpu_workload
    from .serving_workload import Shape, make_model

    mini = Shape("mini", 32, 1, 2, 1, 64, 700)
    return make_model(gpu_workload.WORKLOAD_SHAPE if device == "cuda" else mini, folder, 1)


def _passes(model: Path, device: str, seconds: float) -> list[dict[str, Any]]:
    from . import gpu_overlap

    rows = gpu_overlap.measure(device, model, (256, 64) if device == "cuda" else (3,), seconds)
    print(gpu_overlap.describe(rows) + "\n")
    return [row._asdict() for row in rows]


def _workload(model: Path, device: str, seconds: float) -> list[dict[str, Any]]:
    from . import gpu_workload

    sizes = {} if device == "cuda" else {"requests": 3, "shared": 40, "own": 10}
    rows = gpu_workload.measure(device, model, seconds, **sizes)
    print(gpu_workload.describe(rows) + "\n")
    return [row._asdict() for row in rows]
