"""The kernels compiled ahead of time for GPUs that are not here; see benchmarks/gpu_compile.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from rootform.benchmarks import gpu_compile


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> dict[str, dict[str, int]]:
    if find_spec("triton") is None:
        pytest.skip("triton is not installed, so there is no kernel to compile")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    done = subprocess.run([sys.executable, gpu_compile.__file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("name", "arch"), gpu_compile.CASES)
def test_kernel_compiles_and_fits(compiled, record_property, name, arch):
    result = compiled[gpu_compile.label(name, arch)]
    for what, number in result.items():
        record_property(what, number)
    assert result["shared_bytes"] <= gpu_compile.SHARED_BYTES[arch]
    assert 0 < result["registers"] <= 255
    assert result["spilled_bytes"] <= gpu_compile.most_spilled()


def test_every_kernel_is_compiled_for_both():
    kernels = {(gpu_compile.SOURCES[name](arch).kernel.__name__, arch) for name, arch in gpu_compile.CASES}
    names = {name for name, _ in kernels}
    assert {"advance_kernel", "extend_kernel", "merge_kernel", "sample_kernel", "unit_kernel", "write_kernel"} <= names
    assert kernels == {(name, arch) for name in names for arch in (80, 90)}
