"""Everything a GPU has to show, in one command, within eight minutes and without a network.

    python -m benchmarks.gpu            on a machine with a CUDA device: kernels against their twins, ceilings of the
                                        card, time of each kernel and of decoding steps, an extraction workload
    python -m benchmarks.gpu --tests    there: the tests marked cuda as well, in minutes of their own
    python -m benchmarks.gpu --wheels FOLDER    with packages carried along, which that machine has not
    python -m benchmarks.gpu --parts passes,workload    those alone
    python -m benchmarks.gpu --dry      anywhere: the same parts, tiny and on the CPU, to see that they run
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
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WORKERS = max(2, min(8, (os.cpu_count() or 1) // 2))  # processes that compile and check kernels at the same time
_SECONDS = {  # of each part, at most; all that the verdicts need comes to less than what all may take
    "device": 30,
    "check": 110,
    "machinecode": 110,
    "steps": 80,
    "kernels": 60,
    "passes": 70,
    "workload": 100,
    "models": 40,
    "tests": 480,
}
_ORDER = ("device", "check", "machinecode", "steps", "kernels", "passes", "workload", "models")
_GRACE_SECONDS, _LEAST_SECONDS = 15, 5
_ENGINE = ("transformers", "msgspec", "numba")
_ALL = (*_ENGINE, "jsonschema", "referencing", "regex")
_NEEDS = {
    **dict.fromkeys(("steps", "models"), _ENGINE),
    "machinecode": ("msgspec", "numba"),
    **dict.fromkeys(("passes", "workload"), _ALL),
    "tests": (
        *_ALL,
        "outlines_core",
        "interegular",
        "pytest",
        "hypothesis",
        "httpx",
        "uvicorn",
        "starlette",
        "prometheus_client",
        "rich",
    ),
}


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
    """The exit status: 0 if all that was checked is right, and no part failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="what can be checked without a GPU, and nothing else")
    parser.add_argument("--dry", action="store_true", help="all parts, tiny and on the CPU: to see that they run")
    parser.add_argument("--tests", action="store_true", help="run the tests marked cuda too")
    parser.add_argument("--models", default="8b,1b", help="models of the table of steps (default: 8b,1b)")
    parser.add_argument("--parts", default=",".join(_ORDER), help="of those, in their order (default: all)")
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="wheels to use beside what is installed")
    parser.add_argument("--seconds", type=float, default=480, help="time for all but --tests (default: 480)")
    parser.add_argument("--json", type=Path, help="write the record there too")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    unknown = set(given.parts.split(",")) - set(_ORDER)
    if unknown:
        parser.error(f"no such parts: {', '.join(sorted(unknown))}; there are {', '.join(_ORDER)}")
    make_importable()
    if given.part is not None:
        return _part(given)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if given.wheels is not None:
            carry(given.wheels, Path(folder, "site"))
        if given.check:
            record: dict[str, Any] | None = _check_anywhere()
        else:
            record = _all_parts(given, began, folder) if given.dry or _has_card() else None
    if record is None:
        return 2
    record["seconds"] = round(time.monotonic() - began, 1)
    line = json.dumps(record)
    if given.json is not None:
        given.json.write_text(line + "\n")
    print(line)
    return 0 if record["right"] else 1


def carry(wheels: Path, site: Path) -> None:
    """Unpack wheels, and have this process and those it starts find what is in them where it is not installed."""
    files = sorted(wheels.glob("*.whl"))
    if not files:
        raise SystemExit(f"benchmarks.gpu: there are no wheels in {wheels}")
    for file in files:
        with zipfile.ZipFile(file) as archive:
            archive.extractall(site)
    for part in [*site.glob("*.data/purelib"), *site.glob("*.data/platlib")]:
        shutil.copytree(part, site, dirs_exist_ok=True)
    sys.path.append(str(site))
    importlib.invalidate_caches()
    # Behind what is installed: torch and what it brings there stay what they are.
    code = f"import sys; sys.path.append({str(site)!r})\n"
    start = site.parent / "start"
    start.mkdir()
    (start / "sitecustomize.py").write_text(code)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(start), os.environ.get("PYTHONPATH")]))
    print(f"carried along: {', '.join(file.name.split('-')[0] for file in files)}\n")


# -- checking -----------------------------------------------------------------------------------------------------


def _check_anywhere() -> dict[str, Any]:
    wrong = _checked_interpreted()
    from rootform.benchmarks import gpu_compile

    command = [sys.executable, "-m", "benchmarks.gpu", "--part", "compiled"]
    done = subprocess.run(command, cwd=ROOT, text=True, check=True, stdout=subprocess.PIPE)
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


def _checked_interpreted() -> list[str]:
    """The cases in which a kernel differs from its twin; they are told on the standard error. Several processes."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu", "--part", f"interpreted:{n}"],
            cwd=ROOT,
            env=os.environ | {"TRITON_INTERPRET": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(WORKERS)
    ]
    results: dict[str, str] = {}
    for process in started:
        out, _ = process.communicate()
        found = json.loads(out.splitlines()[-1]) if out else None
        if not isinstance(found, dict):
            raise SystemExit(f"checking kernels (interpreted): {found or f'status {process.returncode}'}")
        results |= found
    wrong = [name for name, trace in results.items() if trace]
    for name in wrong:
        print(f"{name}:\n{results[name]}", file=sys.stderr)
    print(f"{len(results) - len(wrong)} of {len(results)} cases agree with their twins (interpreted)\n")
    return wrong


def _cases(number: int) -> dict[str, str]:
    """A share of the cases, interpreted, and what went wrong in each."""
    import torch

    from rootform.benchmarks import gpu_cases

    torch.set_num_threads(1)
    cases = gpu_cases.SMALL
    if importlib.util.find_spec("msgspec") is not None:  # the grammar needs it
        from rootform.benchmarks import gpu_grammar_case

        cases = cases | gpu_grammar_case.CASES
    return gpu_cases.run_all(dict(list(cases.items())[number::WORKERS]), "cpu")


# -- all of it ----------------------------------------------------------------------------------------------------


def _has_card() -> bool:
    import torch

    if torch.cuda.is_available():
        return True
    print(
        "benchmarks.gpu: torch sees no CUDA device, so there is nothing to measure here; "
        "`python -m benchmarks.gpu --check` runs what needs none, `--dry` all of it in small",
        file=sys.stderr,
    )
    return False


def _all_parts(given: argparse.Namespace, began: float, folder: str) -> dict[str, Any]:
    """Each part in processes of its own, within its time: one that fails, hangs or breaks the card's context for its
    process costs its own figures and no others. What matters most comes first."""
    from rootform.benchmarks import gpu_verdicts

    record: dict[str, Any] = {**_versions(), "dry": given.dry}
    steps = [f"steps:{name}" for name in given.models.split(",")]
    checks = [] if given.dry else [f"check:{n}" for n in range(WORKERS)]  # --check has those without a card
    together = [["device"], [*checks, "machinecode"], steps[:1], ["kernels"], ["passes"], ["workload"], steps[1:]]
    wanted = set(given.parts.split(","))
    for names in [*together, ["models"], ["tests"] if given.tests else []]:
        left = given.seconds - (time.monotonic() - began)
        running: dict[str, _Running] = {}
        for name in names:
            kind = name.split(":")[0]
            if kind in wanted or kind == "tests":
                seconds = _SECONDS[kind] if kind == "tests" else min(left - _GRACE_SECONDS, _SECONDS[kind])
                running[name] = _Running(name, seconds, folder, given)
        for name, part in running.items():
            record[name] = part.result()
    failed = [name for name, result in record.items() if isinstance(result, str) and result.startswith("failed")]
    record["right"] = not failed and not any(record.get(name) for name in [*checks, "models"] if _is_list(record, name))
    for name in failed:
        print(f"{name}: {record[name]}")
    rows = gpu_verdicts.verdicts(record)
    record["verdicts"] = [row._asdict() for row in rows]
    print("\n" + gpu_verdicts.describe(rows) + "\n")
    return record


def _is_list(record: dict[str, Any], name: str) -> bool:
    return isinstance(record.get(name), list)


class _Running:
    """A part in its process. What it prints goes on to the standard output; its last line is its result, as JSON."""

    def __init__(self, name: str, seconds: float, folder: str, given: argparse.Namespace) -> None:
        self._process: subprocess.Popen[str] | None = None
        if seconds < _LEAST_SECONDS:
            return
        command = [sys.executable, "-u", "-m", "benchmarks.gpu", "--part", name, "--folder", folder]
        command += ["--seconds", str(seconds), *(["--dry"] if given.dry else [])]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self._seconds = seconds
        self._kill = threading.Timer(seconds + _GRACE_SECONDS, self._process.kill)
        self._kill.start()

    def result(self) -> Any:
        """Waits for it. A text that begins with "failed" or "left out": there is none."""
        if self._process is None:
            return "left out: no time was left for it"
        assert self._process.stdout is not None
        last: str | None = None
        with self._process.stdout as lines:
            for line in lines:
                if last is not None:
                    print(last, end="")
                last = line
        status = self._process.wait()
        self._kill.cancel()
        if status == -9:
            return f"failed: it took over {self._seconds + _GRACE_SECONDS:.0f} s"
        try:
            return json.loads(last or "")
        except json.JSONDecodeError:
            return f"failed: it ended with status {status}" + (f", after {last.strip()!r}" if last else "")


def _part(given: argparse.Namespace) -> int:
    """In a process of its own. Its result, or why it failed, is the last line."""
    kind, _, which = given.part.partition(":")
    if kind == "compiled":
        from rootform.benchmarks import gpu_compile

        gpu_compile.main([])
        return 0
    try:
        result = _measured(kind, which, given)
    except Exception as error:
        traceback.print_exc()
        result = f"failed: {type(error).__name__}: {error}".splitlines()[0]
    print(json.dumps(result))
    return 0


def _measured(kind: str, which: str, given: argparse.Namespace) -> Any:
    """What a part comes to. Each keeps to its time by itself, as far as it can."""
    if kind == "interpreted":
        return _cases(int(which))
    missing = [name for name in _NEEDS.get(kind, ()) if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"left out: {', '.join(missing)} not installed"
        print(f"{kind}: {reason}\n")
        return reason
    if kind == "tests":
        return _tests()
    from rootform.benchmarks import gpu_parts

    return gpu_parts.run(kind, which, "cpu" if given.dry else "cuda", 0.85 * given.seconds, given.folder)


def _tests() -> str:
    """The tests marked cuda. What pytest says goes to the standard output."""
    import pytest

    folders = [str(ROOT / "tests" / name) for name in ("kernels", "engine")]  # others may need more packages
    status = pytest.main(["-m", "cuda and not slow", "-p", "no:cacheprovider", *folders])
    return "passed" if status == 0 else f"failed: pytest ended with {status!r}"


def _versions() -> dict[str, Any]:
    import torch
    import triton

    found = {name: _version(name) for name in ("transformers", "numba", "xgrammar", "llguidance")}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch": torch.__version__,
        "triton": triton.__version__,
        **found,
        "python": platform.python_version(),
        "host": f"{os.cpu_count()} cores, {platform.machine()}",
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
