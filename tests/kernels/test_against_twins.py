"""The kernels against their twins: interpreted on the CPU, and on a GPU where there is one.

TRITON_INTERPRET must be set before triton is imported, so this file runs itself, in a process of its own, for many
cases at once; that process prints one line of JSON, {case: what went wrong, or ""}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from rootform.benchmarks import gpu_attention_cases, gpu_cases, gpu_grammar_case

ORDINARY = gpu_cases.SMALL | gpu_grammar_case.CASES


def run_interpreted(which: str) -> dict[str, str]:
    if find_spec("triton") is None:
        pytest.skip("triton is not installed, so there is no kernel to interpret")
    done = subprocess.run(
        [sys.executable, __file__, which],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def main(which: str) -> None:
    torch.set_num_threads(1)
    if which == "models":
        from rootform.benchmarks import gpu_model_case

        cases = gpu_model_case.CASES
    else:
        cases = ORDINARY if which == "small" else gpu_cases.sweep()
    print(json.dumps(gpu_cases.run_all(cases, "cpu")))


@pytest.fixture(scope="module")
def what_went_wrong() -> dict[str, str]:
    return run_interpreted("small")


@pytest.mark.parametrize("name", ORDINARY)
def test_kernel_agrees_with_its_twin(what_went_wrong, name):
    assert not what_went_wrong[name], what_went_wrong[name]


@pytest.mark.slow
def test_every_ratio_of_heads_and_head_size():
    wrong = {name: trace for name, trace in run_interpreted("sweep").items() if trace}
    assert not wrong, wrong
    assert {f"tree 1:{group}, {size} wide, float16" for group in range(1, 9) for size in (64, 80, 96, 128, 256)} <= set(
        gpu_cases.sweep()
    )


@pytest.mark.slow
def test_a_model_on_the_kernels_agrees_with_it_on_their_twins():
    wrong = {name: trace for name, trace in run_interpreted("models").items() if trace}
    assert not wrong, wrong


def test_a_kernel_that_is_wrong_is_seen(monkeypatch):
    """The comparison itself: a twin that scales a little differently, and one that leaves a row out."""
    case = gpu_attention_cases.Decode(lengths=(3, 0))
    twin = gpu_attention_cases.decode.decode_attention_plain

    def off(*inputs):
        return twin(*inputs[:-2], inputs[-2]._replace(scale=inputs[-2].scale * 1.01), inputs[-1])

    def unwritten(*inputs):
        out, lse = twin(*inputs)
        out[1] = torch.nan
        return out, lse

    for kernel in (off, unwritten):
        monkeypatch.setattr(gpu_attention_cases.decode, "decode_attention_triton", kernel)
        with pytest.raises(AssertionError, match="differ"):
            case.run("cpu")
    monkeypatch.setattr(gpu_attention_cases.decode, "decode_attention_triton", twin)
    case.run("cpu")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ORDINARY | gpu_cases.in_bfloat(ORDINARY))
def test_kernel_agrees_with_its_twin_on_a_gpu(name):
    cases = ORDINARY | gpu_cases.in_bfloat(ORDINARY)
    assert gpu_cases.run_all({name: cases[name]}, "cuda") == {name: ""}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_model_on_a_gpu_agrees_with_it_on_the_twins():
    from rootform.benchmarks import gpu_model_case

    wrong = gpu_cases.run_all(gpu_model_case.ON_A_CARD, "cuda")
    assert wrong == dict.fromkeys(gpu_model_case.ON_A_CARD, "")


if __name__ == "__main__":
    main(sys.argv[1])
