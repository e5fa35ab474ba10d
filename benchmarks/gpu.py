"""Everything a GPU has to show, in one command, within eight minutes and without a network.

    python -m benchmarks.gpu            on a machine with a CUDA device: kernels against their twins, ceilings of the
                                        card, time of each kernel and of decoding steps, an extraction workload
    python -m benchmarks.gpu --tests    there: the tests marked cuda as well
    python -m benchmarks.gpu --check    anywhere: the kernels interpreted against their twins, and compiled ahead of
                                        time for sm_80 and sm_90

Tables go to the standard output, the last line is JSON. The package need not be installed: the checkout is enough.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_WORKERS = 4  # processes that compile kernels and check them at the same time


def make_importable() -> None:
    """Where the package is not installed, the checkout is it."""
    if importlib.util.find_spec("rootform") is None:
        spec = importlib.util.spec_from_file_location(
            "rootform", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["rootform"] = module
        spec.loader.exec_module(module)


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 if all that was checked is right."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="what can be checked without a GPU, and nothing else")
    parser.add_argument("--tests", action="store_true", help="run the tests marked cuda too")
    parser.add_argument("--models", default="1b,8b", help="models of the table of steps (default: 1b,8b)")
    parser.add_argument("--seconds", type=float, default=480, help="time for all of it (default: 480)")
    parser.add_argument("--json", type=Path, help="write the record there too")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    make_importable()
    if given.part is not None:
        return _check_part(given.part)
    began = time.monotonic()
    record = _check_anywhere() if given.check else _on_a_card(given, began)
    if record is None:
        return 2
    record["seconds"] = round(time.monotonic() - began, 1)
    line = json.dumps(record)
    if given.json is not None:
        given.json.write_text(line + "\n")
    print(line)
    return 0 if record["right"] else 1


# -- checking -----------------------------------------------------------------------------------------------------


def _check_anywhere() -> dict[str, Any]:
    wrong = _checked("interpreted", {"TRITON_INTERPRET": "1"})
    from rootform.benchmarks import gpu_compile

    done = _run([sys.executable, "-m", "benchmarks.gpu", "--part", "compiled"], {})
    compiled = json.loads(done.stdout.splitlines()[-1])
    print("| kernel, ahead of time | registers | shared bytes | spilled bytes |\n|---|---|---|---|")
    for name, uses in compiled.items():
        print(f"| {name} | {uses['registers']} | {uses['shared_bytes']} | {uses['spilled_bytes']} |")
    fits = all(
        compiled[gpu_compile.label(name, arch)]["shared_bytes"] <= gpu_compile.SHARED_BYTES[arch]
        and compiled[gpu_compile.label(name, arch)]["spilled_bytes"] <= gpu_compile.most_spilled()
        for name, arch in gpu_compile.CASES
    )
    return {"device": None, **_versions(), "wrong": wrong, "compiled": compiled, "right": fits and not wrong}


def _checked(where: str, environment: dict[str, str]) -> list[str]:
    """The cases in which a kernel differs from its twin; they are told on the standard error. Several processes."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu", "--part", f"{where}:{n}"],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(_WORKERS)
    ]
    results: dict[str, str] = {}
    for process in started:
        out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"checking kernels ({where}) ended with status {process.returncode}")
        results |= json.loads(out.splitlines()[-1])
    wrong = [name for name, trace in results.items() if trace]
    for name in wrong:
        print(f"{name}:\n{results[name]}", file=sys.stderr)
    print(f"{len(results) - len(wrong)} of {len(results)} cases agree with their twins ({where})\n")
    return wrong


def _check_part(part: str) -> int:
    """In a process of its own: a share of the cases, or compiling. Prints one line of JSON."""
    if part == "compiled":
        from rootform.benchmarks import gpu_compile

        gpu_compile.main([])
        return 0
    import torch

    from rootform.benchmarks import gpu_cases

    torch.set_num_threads(1)
    where, number = part.split(":")
    cases = gpu_cases.SMALL
    if importlib.util.find_spec("msgspec") is not None:  # the grammar needs it
        from rootform.benchmarks import gpu_grammar_case

        cases = cases | gpu_grammar_case.CASES
    if where == "cuda":
        cases = cases | gpu_cases.in_bfloat(cases)
    share = dict(list(cases.items())[int(number) :: _WORKERS])
    print(json.dumps(gpu_cases.run_all(share, "cuda" if where == "cuda" else "cpu")))
    return 0


# -- on a card ----------------------------------------------------------------------------------------------------


def _on_a_card(given: argparse.Namespace, began: float) -> dict[str, Any] | None:
    import torch

    if not torch.cuda.is_available():
        print(
            "benchmarks.gpu: torch sees no CUDA device, so there is nothing to measure here; "
            "`python -m benchmarks.gpu --check` runs what needs none",
            file=sys.stderr,
        )
        return None
    from rootform.benchmarks import gpu_kernels, gpu_time

    device = torch.device("cuda")
    properties = torch.cuda.get_device_properties(device)
    print(f"{properties.name}, {properties.total_memory >> 30} GiB, {_versions()}\n")
    record: dict[str, Any] = {"device": properties.name, **_versions()}
    record["wrong"] = _checked("cuda", {})
    models = _if_there("transformers", "msgspec", part=_models_wrong)
    record["models"] = models
    record["right"] = not record["wrong"] and (isinstance(models, str) or not models)
    if given.tests:
        record["tests"] = _run([sys.executable, "-m", "pytest", "-m", "cuda", "tests"], {}, may_fail=True).returncode
        record["right"] &= record["tests"] == 0
    ceilings = gpu_time.measure_ceilings(device)
    print(f"copy: {ceilings.bytes_s / 1e12:.2f} TB/s; bf16 products: {ceilings.flops_s / 1e12:.0f} TFLOP/s\n")
    record["ceilings"] = ceilings._asdict()
    kernels = gpu_kernels.table(gpu_kernels.Sizes(), device, ceilings)
    print(gpu_kernels.describe(kernels) + "\n")
    record["best_page_tokens"], told = gpu_kernels.best_page(kernels)
    print(told + "\n")
    record["kernels"] = [row._asdict() for row in kernels]

    def left(share: float) -> float:
        return share * (given.seconds - (time.monotonic() - began))

    record["steps"] = _if_there("transformers", "msgspec", part=lambda: _steps(given.models, ceilings, left(0.6)))
    record["workload"] = _if_there(
        *("transformers", "msgspec", "outlines_core", "jsonschema", "regex"),
        part=lambda: _workload(left(0.9)),
    )
    return record


def _if_there(*packages: str, part: Callable[[], Any]) -> Any:
    """What a part comes to, or why it was left out."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"left out: {', '.join(missing)} not installed"
        print(reason + "\n")
        return reason
    return part()


def _models_wrong() -> list[str]:
    from rootform.benchmarks import gpu_cases, gpu_model_case

    results = gpu_cases.run_all(gpu_model_case.ON_A_CARD, "cuda")
    wrong = [name for name, trace in results.items() if trace]
    for name in wrong:
        print(f"{name}:\n{results[name]}", file=sys.stderr)
    print(f"{len(results) - len(wrong)} of {len(results)} models agree with their twins\n")
    return wrong


def _steps(models: str, ceilings: Any, seconds: float) -> list[dict[str, Any]]:
    import torch

    from rootform.benchmarks import gpu_models

    rows = gpu_models.steps(models.split(","), ceilings, torch.device("cuda"), seconds)
    print(gpu_models.describe(rows) + "\n")
    return [row._asdict() for row in rows]


def _workload(seconds: float) -> dict[str, Any]:
    from rootform.benchmarks import gpu_overlap, gpu_workload
    from rootform.benchmarks.serving_workload import make_model

    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as name:
        folder = make_model(gpu_workload.WORKLOAD_SHAPE, Path(name), 1)
        passes = gpu_overlap.measure("cuda", folder, (64, 256), 0.3 * (deadline - time.monotonic()))
        print(gpu_overlap.describe(passes) + "\n")
        rows = gpu_workload.measure("cuda", folder, deadline - time.monotonic())
    print(gpu_workload.describe(rows) + "\n")
    return {"passes": [row._asdict() for row in passes], "requests": [row._asdict() for row in rows]}


def _versions() -> dict[str, str]:
    import torch
    import triton

    return {"torch": torch.__version__, "triton": triton.__version__, "python": platform.python_version()}


def _run(command: list[str], environment: dict[str, str], *, may_fail: bool = False) -> Any:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        text=True,
        check=not may_fail,
        stdout=None if may_fail else subprocess.PIPE,
    )


if __name__ == "__main__":
    sys.exit(main())
