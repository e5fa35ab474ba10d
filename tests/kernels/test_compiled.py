"""The kernels compiled ahead of time for GPUs that are not here: sm_80 (A100) and sm_90 (H100, H200).

Compiling needs triton and the ptxas it brings, no GPU, and a process in which TRITON_INTERPRET was never set; so
this file runs itself once, in a process of its own, for all cases. That process prints one line of JSON,
{case: {"shared_bytes", "spilled_bytes"}}.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from rootform.engine.kernels import decode_attention as attention
from rootform.engine.kernels import mask

SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}  # the most one program may have
ELEMENT_BYTES = {"fp16": 2, "bf16": 2, "fp32": 4}


def mask_source(logits: str) -> tuple[Any, dict, dict]:
    numbers = dict.fromkeys(("vocab", "words", "logits_stride", "table_stride"), "i32")
    pointers = {"logits": f"*{logits}", "row_table": "*i32", "row_ids": "*i32"}
    return mask.mask_kernel, pointers | numbers, {"BLOCK": mask._BLOCK}


def split_source(
    dtype: str,
    group: int,
    head_dim: int,
    page_tokens: int = 16,
    window: bool = False,
    softcap: bool = False,
    positions: bool = False,
) -> tuple[Any, dict, dict]:
    pointers = dict.fromkeys(("q", "k_pages", "v_pages"), f"*{dtype}")
    pointers |= dict.fromkeys(("block_table", "lengths", "positions"), "*i32")
    pointers |= dict.fromkeys(("part_out", "part_lse"), "*fp32")
    numbers = {"scale": "fp32", "softcap": "fp32", "window": "i32", "n_splits": "i32"}
    strides = [name for name in attention.split_kernel.arg_names if name.endswith("_stride")]
    constants = {
        "PAGE_TOKENS": page_tokens,
        "HAS_WINDOW": window,
        "HAS_SOFTCAP": softcap,
        "HAS_POSITIONS": positions,
        **attention.split_shape(group, head_dim, head_dim, ELEMENT_BYTES[dtype]),
    }
    return attention.split_kernel, pointers | numbers | dict.fromkeys(strides, "i32"), constants


def merge_source(dtype: str, v_dim: int) -> tuple[Any, dict, dict]:
    pointers = dict.fromkeys(("part_out", "part_lse", "lse"), "*fp32")
    pointers |= {"lengths": "*i32", "out": f"*{dtype}"}
    numbers = {"q_heads": "i32", "n_splits": "i32"}
    return attention.merge_kernel, pointers | numbers, attention.merge_shape(v_dim)


SOURCES = {
    "mask fp32": lambda: mask_source("fp32"),
    "mask bf16": lambda: mask_source("bf16"),
    "split fp16 1:4 64": lambda: split_source("fp16", 4, 64),
    "split bf16 1:8 128": lambda: split_source("bf16", 8, 128),
    "split bf16 1:70 128, positions": lambda: split_source("bf16", 70, 128, window=True, positions=True),
    "split fp16 1:1 80, pages of 1": lambda: split_source("fp16", 1, 80, page_tokens=1),
    "split bf16 1:2 256, window, softcap": lambda: split_source("bf16", 2, 256, window=True, softcap=True),
    "split fp32 1:4 128": lambda: split_source("fp32", 4, 128),
    "merge fp16 64": lambda: merge_source("fp16", 64),
    "merge bf16 256": lambda: merge_source("bf16", 256),
}
CASES = [
    ("mask fp32", 80),
    ("mask bf16", 90),
    ("split fp16 1:4 64", 80),
    ("split fp16 1:4 64", 90),
    ("split bf16 1:8 128", 90),
    ("split bf16 1:70 128, positions", 90),
    ("split fp16 1:1 80, pages of 1", 90),
    ("split bf16 1:2 256, window, softcap", 80),
    ("split bf16 1:2 256, window, softcap", 90),
    ("split fp32 1:4 128", 90),
    ("merge fp16 64", 80),
    ("merge bf16 256", 90),
]


def compile_case(name: str, arch: int) -> dict[str, int]:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel, signature, constants = SOURCES[name]()
    assert list(kernel.arg_names) == [p for p in kernel.arg_names if p in signature or p in constants]
    # As at a launch: pointers and strides are multiples of 16 bytes or elements.
    aligned = {p for p, kind in signature.items() if kind.startswith("*") or p.endswith("_stride")}
    compiled = triton.compile(
        ASTSource(
            fn=kernel,
            signature={p: signature.get(p, "constexpr") for p in kernel.arg_names},
            constexprs=constants,
            attrs={(i,): [["tt.divisibility", 16]] for i, p in enumerate(kernel.arg_names) if p in aligned},
        ),
        target=GPUTarget("cuda", arch, 32),
        options={"num_warps": 4, "num_stages": 2},
    )
    assert compiled.asm["cubin"].startswith(b"\x7fELF")
    return {
        "shared_bytes": compiled.metadata.shared,
        "spilled_bytes": spilled_bytes(compiled.asm["ptx"]),
    }


def spilled_bytes(ptx: str) -> int:
    """What ptxas says it could not keep in registers."""
    from triton import knobs

    target = re.search(r"^\.target\s+(\w+)", ptx, re.MULTILINE)
    assert target is not None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx)
        command = [knobs.nvidia.ptxas.path, "-v", f"--gpu-name={target[1]}", source, "-o", source.with_suffix(".o")]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", said)
    assert len(spills) >= 2, said
    return sum(map(int, spills))


def main() -> None:
    print(json.dumps({f"{name} sm_{arch}": compile_case(name, arch) for name, arch in CASES}))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> dict[str, dict[str, int]]:
    if find_spec("triton") is None:
        pytest.skip("triton is not installed, so there is no kernel to compile")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("name", "arch"), CASES)
def test_kernel_compiles_and_fits(compiled, name, arch):
    result = compiled[f"{name} sm_{arch}"]
    assert result["shared_bytes"] <= SHARED_BYTES[arch]
    assert result["spilled_bytes"] == 0


if __name__ == "__main__":
    main()
