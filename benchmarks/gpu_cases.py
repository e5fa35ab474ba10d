"""Kernels against their twins: random inputs of odd shapes, and how far apart the answers may be.

A case makes its inputs on the CPU, asks the twin in float64, and asks the kernel on a device. What a kernel must not
read is NaN or far out of range, and so is what it must write. Used by the tests, under the interpreter, and by
`benchmarks/gpu.py`, on a card.
"""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import replace
from typing import Any

import torch

from rootform.engine.kernels import decode_attention as decode
from rootform.engine.paged_plan import Room

from .gpu_attention_cases import AloneOrInABatch, Decode, Extend, Heads, Merge, Tree
from .gpu_layer_cases import Mask, Norm, Sample, SwiGlu, WriteKv
from .gpu_twins import BFLOAT, HALF

HEAD_SIZES = (64, 80, 96, 128, 256)
FAR = (1 << 29) + 128
SMALL: dict[str, Any] = {  # run by the ordinary tests: a few programs each
    "mask, whole words": Mask(vocab=64, words=2),
    "mask, a word in part": Mask(vocab=1057, words=34),
    "mask, tokens beyond the last word": Mask(vocab=1100, words=33),
    "mask, bits beyond the vocabulary": Mask(vocab=50, words=3, dtype=HALF),
    "mask, nothing constrained": Mask(vocab=40, words=1, row_ids=(-1, -1)),
    "mask, a table without words": Mask(vocab=40, words=0),
    "merge": Merge(),
    "merge, sinks, half": Merge(HALF, sinks=True),
    "write": WriteKv(rotary_dim=0, v_dim=32),
    "write, rope": WriteKv(),
    "write, rope in part, half": WriteKv(rotary_dim=40, head_dim=80, v_dim=80, page_tokens=5, dtype=HALF),
    "norm": Norm(),
    "norm without residual, half": Norm(residual=False, dtype=HALF),
    "swiglu": SwiGlu(),
    "swiglu, half": SwiGlu(width=70, dtype=HALF),
    "sample": Sample(),
    "sample, half": Sample(vocab=77, dtype=HALF),
    "decode 1:1, 64 wide": Decode(Heads(3, 1)),
    "decode 1:4, 64 wide": Decode(Heads(2), (15, 70)),
    "decode 1:8, 64 wide, half": Decode(Heads(2, 8, dtype=HALF), (0, 31)),
    "decode 1:3, 80 wide, half": Decode(Heads(1, 3, 80, dtype=HALF)),
    "decode 1:7, 96 wide": Decode(Heads(1, 7, 96), (0, 33)),
    "decode 1:8, 128 wide": Decode(Heads(1, 8, 128)),
    "decode 1:2, 256 wide, half": Decode(Heads(1, 2, 256, dtype=HALF), (20, 150)),
    "decode, values narrower than keys": Decode(Heads(1, 4, 48, 32)),
    "decode, a group wider than a tile": Decode(Heads(1, 70), (33,)),
    "decode, pages of 1": Decode(Heads(page_tokens=1), (1, 2, 70)),
    "decode, pages of 5": Decode(Heads(page_tokens=5), (0, 4, 5, 6, 11)),
    "decode, block and split edges": Decode(Heads(1, 2), (63, 64, 65, 127, 128, 129)),
    "decode, more splits than one merge takes": Decode(lengths=(1, 2200)),
    "decode, window": Decode(Heads(window=10), (0, 1, 9, 10, 11, 200)),
    "decode, window of 1": Decode(Heads(window=1, dtype=HALF), (0, 1, 65)),
    "decode, window over split edges": Decode(Heads(window=70), (69, 70, 71, 198, 300)),
    "decode, window, the query further on": Decode(Heads(window=20), (0, 5, 12, 40), query_offset=8),
    "decode, window, the query sees nothing": Decode(Heads(window=5), (0, 5, 150), query_offset=200),
    "decode, softcap": Decode(Heads(softcap=2.0)),
    "decode, softcap, window, sinks, half": Decode(Heads(softcap=30.0, window=12, sinks=True, dtype=HALF)),
    "decode, sinks": Decode(Heads(sinks=True)),
    "decode alone or in a batch": AloneOrInABatch(Decode(Heads(1, 2), (1, 64, 290))),
    "decode alone or in a batch, window": AloneOrInABatch(Decode(Heads(1, 2, window=90), (1, 150, 290))),
    "extend": Extend(Heads(2, 4)),
    "extend 1:3, 80 wide, pages of 5, half": Extend(Heads(1, 3, 80, page_tokens=5, dtype=HALF), ((0, 7), (9, 30))),
    "extend, window, softcap, sinks": Extend(Heads(1, 2, window=9, softcap=20.0, sinks=True), ((0, 12), (20, 33))),
    "extend, window of 1": Extend(Heads(1, 1, window=1), ((0, 3), (5, 1))),
    "extend, branches": Extend(Heads(1, 2), ((0, 4), (30, 40), (17, 1), (5, 0)), branches=True),
    "extend, branches, window, half": Extend(Heads(1, 4, window=6, dtype=HALF), ((0, 9), (30, 12)), branches=True),
    "extend, values narrower than keys": Extend(Heads(1, 2, 48, 32), ((3, 5),)),
    "tree": Tree(),
    "tree 1:1, many readers, half": Tree(Heads(group=1, dtype=HALF), own=(1,) * 34, counts=(1,) * 34),
    "tree 1:8, window, softcap, sinks": Tree(Heads(2, 8, window=20, softcap=25.0, sinks=True), 4, (0, 9)),
    "tree 1:3, 80 wide, pages of 5": Tree(Heads(1, 3, 80, page_tokens=5), 30, (7, 0, 22)),
    "tree 1:2, 256 wide, half": Tree(Heads(1, 2, 256, dtype=HALF), own=(1,) * 9, counts=(1,) * 9),
    "tree, nothing shared": Tree(Heads(1, 2), 0, (0,), own=(1, 40), counts=(1, 2)),
    "tree, values narrower than keys": Tree(Heads(1, 4, 48, 32), 20, (0,), own=(3, 4), counts=(1, 1)),
    "decode, no sequences": Decode(lengths=()),
    "decode, nothing but sinks": Decode(Heads(sinks=True), (0, 0)),
    "decode, window smaller than a page": Decode(Heads(window=3), (0, 1, 2, 3, 4, 15, 16, 17, 18, 19)),
    "decode, pages wider than a block": Decode(Heads(page_tokens=128), (0, 127, 128, 129)),
    "extend, no sequences": Extend(parts=()),
    "extend, nothing new": Extend(parts=((5, 0), (0, 0))),
    "extend, window smaller than a page, sinks": Extend(Heads(window=3, sinks=True), ((0, 1), (0, 20), (16, 2))),
    "extend, branches of more than 64": Extend(Heads(1, 1, window=5), ((0, 3), (21, 70)), branches=True),
    "tree, one token in all": Tree(Heads(sinks=True), 0, (0,), own=(1,), counts=(1,)),
    "tree, stretches as long as room asks": Tree(
        Heads(1, 8, window=500), 20, (0,), own=(300, 3, 290), counts=(1, 1, 2), room=Room(4, 1, 3, 99, 12)
    ),
    "tree, window smaller than a page": Tree(Heads(window=3), 3, (0, 2)),
    "tree, window, prefixes out of sight": Tree(Heads(window=5), own=(30, 40, 2), counts=(1, 2, 1)),
    "tree, pages of 1": Tree(Heads(page_tokens=1), 40, (0, 5)),
    "write, nothing": WriteKv(n=0),
    # Pages so far apart that 32 bits do not count the numbers between them, as in the pool of a large card.
    "decode, far pages": Decode(Heads(group=2, dtype=HALF, page_stride=FAR), (20, 33)),
    "extend, far pages": Extend(Heads(group=2, dtype=HALF, page_stride=FAR), ((17, 3),)),
    "tree, far pages": Tree(Heads(1, 2, page_tokens=64, dtype=HALF, page_stride=FAR), 2, (0,), (3, 4), (1, 1)),
    "write, far pages": WriteKv(n=60, dtype=HALF, page_stride=FAR),
}


def sweep() -> dict[str, Any]:
    """Every ratio of heads and head size in both kinds of precision, for each attention kernel: minutes interpreted."""
    cases: dict[str, Any] = {}
    for head_dim in HEAD_SIZES:
        for group in (1, 2, 3, 4, 5, 6, 7, 8):
            for dtype in (torch.float32, HALF):
                heads = Heads(2, group, head_dim, dtype=dtype, sinks=group % 2 == 0)
                name = f"1:{group}, {head_dim} wide, {str(dtype)[6:]}"
                cases[f"decode {name}"] = Decode(heads, (0, 1, 31, 150))
                cases[f"extend {name}"] = Extend(replace(heads, window=24), ((0, 5), (18, 21), (40, 1)))
                cases[f"tree {name}"] = Tree(heads, 9, (0, 3))
    return cases


def in_bfloat(cases: dict[str, Any]) -> dict[str, Any]:
    """The same in bfloat16, for a card: interpreted products of bfloat16 are wrong."""
    copies = {}
    for name, case in cases.items():
        if hasattr(case, "heads"):
            copies[f"{name}, bfloat"] = replace(case, heads=replace(case.heads, dtype=BFLOAT))
        elif hasattr(case, "dtype"):
            copies[f"{name}, bfloat"] = replace(case, dtype=BFLOAT)
    return copies


def poisoned_empty(*size: Any, **options: Any) -> torch.Tensor:
    """torch.empty, with NaN (or the least number) in it, so that what is not written is seen."""
    out = _empty(*size, **options)
    return out.fill_(torch.nan if out.is_floating_point() else torch.iinfo(out.dtype).min)


_empty = torch.empty


def run_all(cases: dict[str, Any], device: str, deadline: float = float("inf")) -> dict[str, str]:
    """{case: what went wrong, or ""}, with outputs poisoned and stretches so short that small cases have several.

    deadline: by time.monotonic(); cases that would begin later are not in it, nor are those a card has no memory for.
    """
    wrong = {}
    before = torch.empty, decode._SPLIT_TOKENS
    torch.empty, decode._SPLIT_TOKENS = poisoned_empty, 128
    try:
        for name, case in cases.items():
            if time.monotonic() >= deadline:
                break
            try:
                case.run(device)
                wrong[name] = ""
            except torch.OutOfMemoryError as error:
                print(f"{name}: {error}".splitlines()[0], file=sys.stderr)
            except Exception:
                wrong[name] = traceback.format_exc()
            if device == "cuda":
                torch.cuda.empty_cache()  # other processes check cases beside this one
    finally:
        torch.empty, decode._SPLIT_TOKENS = before
    return wrong
