"""The kernels compiled ahead of time for sm_80 (A100) and sm_90 (H100, H200), with what ptxas says of each.

Needs triton and the ptxas it brings, no GPU, and a process in which TRITON_INTERPRET was never set. Run as a script it
prints one line of JSON, {case: {"registers", "shared_bytes", "spilled_bytes"}}.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rootform.engine.kernels import decode_attention as decode
from rootform.engine.kernels import extend_attention as extend
from rootform.engine.kernels import grammar, layers, mask, merge, sampling, tree_attention, write_kv
from rootform.engine.kernels.online import warps_of

SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}  # the most one program may have
ELEMENT_BYTES = {"fp16": 2, "bf16": 2, "fp32": 4}
FLOATS = {"scale", "softcap", "eps"}


def most_spilled() -> int:
    """Bytes a kernel may spill: none; triton before 3.7 brings a ptxas that spills a few in some."""
    import triton

    return 0 if tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 7) else 64


class Source(NamedTuple):
    """A kernel and how it is launched. pointers: element types by parameter; other parameters are int32, or float32
    where FLOATS names them."""

    kernel: Any
    pointers: dict[str, str]
    constants: dict[str, Any]
    warps: int = 4


def _paged(dtype: str) -> dict[str, str]:
    floats: dict[str, str] = dict.fromkeys(("q", "k_pages", "v_pages"), dtype)
    return floats | dict.fromkeys(("block_table", "lengths", "positions"), "i32") | _PARTS


_PARTS = dict.fromkeys(("part_out", "part_lse"), "fp32")


def decode_source(
    dtype: str,
    group: int,
    head_dim: int,
    page_tokens: int = 16,
    *,
    window: bool = False,
    softcap: bool = False,
    positions: bool = False,
) -> Source:
    has = {"HAS_WINDOW": window, "HAS_SOFTCAP": softcap, "HAS_POSITIONS": positions}
    shape = decode.split_shape(group, head_dim, head_dim, ELEMENT_BYTES[dtype])
    return Source(decode.split_kernel, _paged(dtype), {"PAGE_TOKENS": page_tokens, **has, **shape}, warps_of(shape))


def extend_source(
    dtype: str,
    group: int,
    head_dim: int,
    most_queries: int,
    *,
    arch: int,
    draft: bool = False,
    window: bool = False,
) -> Source:
    pointers = _paged(dtype) | dict.fromkeys(("query_starts", "query_stops", "bits"), "i32")
    pointers |= {"sinks": dtype if window else "i32", "out": dtype, "lse": "fp32"}
    size, is_hopper = ELEMENT_BYTES[dtype], arch >= 90
    shape = extend.extend_shape(group, most_queries, head_dim, head_dim, size, is_hopper=is_hopper)
    warps = warps_of(shape, is_hopper=is_hopper)
    has = {"HAS_DRAFT": draft, "HAS_WINDOW": window, "HAS_SOFTCAP": window, "HAS_SINKS": window}
    return Source(extend.extend_kernel, pointers, {"PAGE_TOKENS": 16, **has, **shape}, warps)


def tree_source(dtype: str, group: int, head_dim: int, *, is_wide: bool, window: bool = False) -> Source:
    pointers = _paged(dtype) | dict.fromkeys(("units", "pages", "readers"), "i32")
    shape = tree_attention.unit_shape(group, head_dim, head_dim, ELEMENT_BYTES[dtype], is_wide=is_wide)
    has = {"HAS_WINDOW": window, "HAS_SOFTCAP": window}
    return Source(tree_attention.unit_kernel, pointers, {"PAGE_TOKENS": 16, **has, **shape}, warps_of(shape))


def merge_source(dtype: str, v_dim: int, stretch_tokens: int, *, sinks: bool = False) -> Source:
    pointers = _PARTS | dict.fromkeys(("starts", "stops", "order"), "i32")
    pointers |= {"sinks": dtype if sinks else "fp32", "out": dtype, "lse": "fp32"}
    has = {"HAS_ORDER": stretch_tokens == 0, "HAS_SINKS": sinks, "STRETCH_TOKENS": stretch_tokens}
    return Source(merge.merge_kernel, pointers, {**has, **merge.merge_shape(v_dim)})


def write_source(dtype: str, rotary_dim: int, head_dim: int) -> Source:
    floats: dict[str, str] = dict.fromkeys(("q", "k", "v", "k_pages", "v_pages"), dtype)
    pointers = floats | dict.fromkeys(("rows", "positions"), "i32") | dict.fromkeys(("cos", "sin"), "fp32")
    shape = write_kv.write_shape(32, 8, head_dim, head_dim, rotary_dim)
    return Source(write_kv.write_kernel, pointers, {"PAGE_TOKENS": 16, **shape})


def norm_source(dtype: str, width: int) -> Source:
    pointers: dict[str, str] = dict.fromkeys(("x", "residual", "weight", "out"), dtype)
    constants = {"HAS_RESIDUAL": True, "BLOCK": layers.power_of_two(width)}
    return Source(layers.norm_kernel, pointers, constants, layers.norm_warps(width))


def mask_source(dtype: str) -> Source:
    pointers = {"logits": dtype, "row_table": "i32", "row_ids": "i32"}
    return Source(mask.mask_kernel, pointers, {"BLOCK": mask._BLOCK})


def sample_source(dtype: str) -> Source:
    pointers = {"logits": dtype} | dict.fromkeys(("temperatures", "top_ps", "min_ps", "uniforms"), "fp64")
    pointers |= dict.fromkeys(("row_table", "row_ids", "top_ks", "tokens"), "i32") | {"logprobs": "fp32"}
    sizes = {"WAYS": sampling._WAYS, "ROUNDS": sampling._ROUNDS, "BLOCK": sampling._BLOCK}
    return Source(sampling.sample_kernel, pointers, sizes, warps=8)


def advance_source() -> Source:
    pointers = dict.fromkeys(("sequences", "slots", "tokens", "row_ids", "outcomes", *grammar.Tables._fields), "i32")
    return Source(grammar.advance_kernel, pointers | {"stay": "u8"}, {"LEVELS": grammar.LEVELS}, warps=1)


SOURCES: dict[str, Callable[[int], Source]] = {
    "mask fp32": lambda _: mask_source("fp32"),
    "sample fp32": lambda _: sample_source("fp32"),
    "advance": lambda _: advance_source(),
    "norm bf16 4096": lambda _: norm_source("bf16", 4096),
    "swiglu bf16": lambda _: Source(layers.swiglu_kernel, {"gate_up": "bf16", "out": "bf16"}, {"BLOCK": layers._BLOCK}),
    "write bf16 128, rope": lambda _: write_source("bf16", 128, 128),
    "write fp16 80, rope in part": lambda _: write_source("fp16", 40, 80),
    "merge bf16 128, stretches": lambda _: merge_source("bf16", 128, decode._SPLIT_TOKENS),
    "merge bf16 256, listed, sinks": lambda _: merge_source("bf16", 256, 0, sinks=True),
    "decode fp16 1:4 64": lambda _: decode_source("fp16", 4, 64),
    "decode bf16 1:8 128": lambda _: decode_source("bf16", 8, 128),
    "decode bf16 1:70 128, window, positions": lambda _: decode_source("bf16", 70, 128, window=True, positions=True),
    "decode fp16 1:1 80, pages of 1": lambda _: decode_source("fp16", 1, 80, page_tokens=1),
    "decode bf16 1:3 96": lambda _: decode_source("bf16", 3, 96),
    "decode bf16 1:2 256, window, softcap": lambda _: decode_source("bf16", 2, 256, window=True, softcap=True),
    "decode fp32 1:4 128": lambda _: decode_source("fp32", 4, 128),
    "extend bf16 1:4 64": lambda arch: extend_source("bf16", 4, 64, 512, arch=arch),
    "extend bf16 1:4 128": lambda arch: extend_source("bf16", 4, 128, 512, arch=arch),
    "extend bf16 1:3 80": lambda arch: extend_source("bf16", 3, 80, 512, arch=arch),
    "extend bf16 1:6 96, branches": lambda arch: extend_source("bf16", 6, 96, 20, draft=True, arch=arch),
    "extend bf16 1:2 256, window, softcap, sinks": lambda arch: extend_source(
        "bf16", 2, 256, 512, window=True, arch=arch
    ),
    "extend fp32 1:4 128": lambda arch: extend_source("fp32", 4, 128, 512, arch=arch),
    "tree bf16 1:4 128, wide": lambda _: tree_source("bf16", 4, 128, is_wide=True),
    "tree bf16 1:4 128, narrow": lambda _: tree_source("bf16", 4, 128, is_wide=False),
    "tree bf16 1:8 64, wide, window, softcap": lambda _: tree_source("bf16", 8, 64, is_wide=True, window=True),
    "tree fp16 1:3 80, wide": lambda _: tree_source("fp16", 3, 80, is_wide=True),
    "tree bf16 1:2 256, wide, window, softcap": lambda _: tree_source("bf16", 2, 256, is_wide=True, window=True),
    "tree fp32 1:4 128, wide": lambda _: tree_source("fp32", 4, 128, is_wide=True),
}
SM_80_TOO = (  # of those that differ, one
    "sample fp32",
    "advance",
    "norm bf16 4096",
    "swiglu bf16",
    "mask fp32",
    "write bf16 128, rope",
    "merge bf16 128, stretches",
    "decode bf16 1:8 128",
    "decode bf16 1:2 256, window, softcap",
    "extend bf16 1:4 128",
    "extend bf16 1:2 256, window, softcap, sinks",
    "tree bf16 1:4 128, wide",
    "tree bf16 1:2 256, wide, window, softcap",
)
CASES = [(name, 90) for name in SOURCES] + [(name, 80) for name in SM_80_TOO]


def compile_case(name: str, arch: int) -> dict[str, int]:
    """Compile; what one program takes."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel, pointers, constants, warps = SOURCES[name](arch)
    missing = [p for p in (*pointers, *constants) if p not in kernel.arg_names and p not in {"block_table", "lengths"}]
    assert not set(missing) - {"positions", "part_out", "part_lse"}, missing
    kinds = {p: f"*{kind}" for p, kind in pointers.items()} | dict.fromkeys(constants, "constexpr")
    kinds |= {p: "fp32" if p in FLOATS else "i32" for p in kernel.arg_names if p not in kinds}
    # As at a launch: pointers and strides are multiples of 16 bytes or elements, but for those that may be anything.
    anything = {p.name for p in kernel.params if p.do_not_specialize or p.do_not_specialize_on_alignment}
    aligned = {p for p, kind in kinds.items() if kind.startswith("*") or p.endswith("_stride")} - anything
    compiled = triton.compile(
        ASTSource(
            fn=kernel,
            signature={p: kinds[p] for p in kernel.arg_names},
            constexprs=constants,
            attrs={(i,): [["tt.divisibility", 16]] for i, p in enumerate(kernel.arg_names) if p in aligned},
        ),
        target=GPUTarget("cuda", arch, 32),
        options={"num_warps": warps, "num_stages": 2},
    )
    assert compiled.asm["cubin"].startswith(b"\x7fELF")
    return {"shared_bytes": compiled.metadata.shared, **_resources(compiled.asm["ptx"])}


def _resources(ptx: str) -> dict[str, int]:
    """Registers of a thread, and what ptxas could not keep in them."""
    from triton import knobs

    target = re.search(r"^\.target\s+(\w+)", ptx, re.MULTILINE)
    assert target is not None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx)
        command = [knobs.nvidia.ptxas.path, "-v", f"--gpu-name={target[1]}", source, "-o", source.with_suffix(".o")]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", said)
    registers = re.findall(r"Used (\d+) registers", said)
    assert len(spills) >= 2, said
    assert registers, said
    return {"registers": max(map(int, registers)), "spilled_bytes": sum(map(int, spills))}


def label(name: str, arch: int) -> str:
    """The case in results."""
    return f"{name} sm_{arch}"


def main(names: list[str]) -> None:
    """Compile all cases, or those whose names begin so."""
    chosen = [(name, arch) for name, arch in CASES if not names or name.startswith(tuple(names))]
    print(json.dumps({label(name, arch): compile_case(name, arch) for name, arch in chosen}))


if __name__ == "__main__":
    main(sys.argv[1:])
