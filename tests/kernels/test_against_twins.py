"""The kernels against their twins: interpreted on the CPU, and on a GPU where there is one.

TRITON_INTERPRET must be set before triton is imported, so this file runs itself once, in a process of its own, for
all cases; that process prints one line of JSON, {case: what went wrong, or ""}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass, replace
from importlib.util import find_spec

import pytest
import torch

from rootform.engine.kernels import decode_attention as attention
from rootform.engine.kernels import mask


@dataclass(frozen=True)
class MaskCase:
    """Rows of logits that are masked by the table's row, by no row, or by a row shared with another."""

    vocab: int
    words: int
    dtype: torch.dtype = torch.float32
    row_ids: tuple[int, ...] = (1, -1, 0, 1)

    def run(self, device: str) -> None:
        torch.manual_seed(0)
        # Rows of the table and of the logits stand apart in memory, as slices of wider ones do.
        table = torch.randint(-(2**31), 2**31, (2, self.words + 3), dtype=torch.int32)[:, : self.words]
        logits = torch.randn(len(self.row_ids), self.vocab + 5).to(self.dtype)
        row_ids = torch.tensor(self.row_ids, dtype=torch.int32)
        expected = logits.clone()
        mask.apply_mask_plain(expected[:, : self.vocab], table, row_ids)
        logits = logits.to(device)
        mask.apply_mask_triton(logits[:, : self.vocab], table.to(device), row_ids.to(device))
        assert torch.equal(logits.cpu(), expected)  # beside the slice as well


@dataclass(frozen=True)
class AttentionCase:
    """Sequences of all sorts of lengths in one batch. Pages are scattered, and NaN wherever nobody may look."""

    kv_heads: int = 1
    group: int = 4
    head_dim: int = 64
    v_dim: int | None = None
    page_tokens: int = 16
    lengths: tuple[int, ...] = (0, 1, 16, 17, 150)
    dtype: torch.dtype = torch.float32
    window: int | None = None
    softcap: float | None = None
    query_offset: int | None = None  # the query stands so far beyond its last key

    def inputs(self) -> tuple[dict, dict]:
        torch.manual_seed(0)
        n, longest = len(self.lengths), max(1, *self.lengths)
        max_pages = -(-longest // self.page_tokens) + 1
        total_pages = n * max_pages + 3
        v_dim = self.v_dim or self.head_dim
        size = (total_pages, self.page_tokens, self.kv_heads)
        k = torch.full((*size, self.head_dim), torch.nan, dtype=self.dtype)
        v = torch.full((*size, v_dim), torch.nan, dtype=self.dtype)
        table = torch.randperm(total_pages)[: n * max_pages].view(n, max_pages).int()
        for row, length in zip(table, self.lengths, strict=True):
            for j in range(length):
                where = int(row[j // self.page_tokens]), j % self.page_tokens
                k[where] = torch.randn(self.kv_heads, self.head_dim)
                v[where] = torch.randn(self.kv_heads, v_dim)
        lengths = torch.tensor(self.lengths, dtype=torch.int32)
        arrays = {
            "q": torch.randn(n, self.kv_heads * self.group, self.head_dim).to(self.dtype),
            "k_pages": k,
            "v_pages": v,
            "block_table": table,
            "lengths": lengths,
        }
        options = {
            "scale": self.head_dim**-0.5,
            "window": self.window,
            "softcap": self.softcap,
            "positions": None if self.query_offset is None else lengths + self.query_offset - 1,
        }
        return arrays, options

    def run(self, device: str) -> None:
        arrays, options = self.inputs()
        expected_out, expected_lse = attention.decode_attention_plain(**arrays, **options)
        out, lse = attend_on(device, arrays, options)
        assert (out.dtype, lse.dtype) == (expected_out.dtype, torch.float32)
        close = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[self.dtype]
        assert torch.allclose(out, expected_out, atol=close, rtol=close), (out - expected_out).abs().max()
        assert torch.allclose(lse, expected_lse, atol=close, rtol=close), (lse, expected_lse)


def attend_on(device: str, arrays: dict, options: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """The kernels' out and lse, brought back to the CPU."""
    moved = {name: value.to(device) for name, value in arrays.items()}
    if options["positions"] is not None:
        options = options | {"positions": options["positions"].to(device)}
    out, lse = attention.decode_attention_triton(**moved, **options)
    return out.cpu(), lse.cpu()


@dataclass(frozen=True)
class AloneOrInABatch:
    """A sequence's result is the same, bit by bit, in a batch and alone with a table no wider than it needs."""

    case: AttentionCase

    def run(self, device: str) -> None:
        arrays, options = self.case.inputs()
        together = attend_on(device, arrays, options)
        for i, length in enumerate(self.case.lengths):
            one = {name: arrays[name][i : i + 1] for name in ("q", "block_table", "lengths")}
            one["block_table"] = one["block_table"][:, : -(-length // self.case.page_tokens)]
            alone = attend_on(device, arrays | one, options)
            assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, together, strict=True))


HALF = torch.float16
CASES = {
    "mask, whole words": MaskCase(vocab=64, words=2),
    "mask, a word in part": MaskCase(vocab=1057, words=34),
    "mask, tokens beyond the last word": MaskCase(vocab=1100, words=33),
    "mask, bits beyond the vocabulary": MaskCase(vocab=50, words=3, dtype=HALF),
    "mask, nothing constrained": MaskCase(vocab=40, words=1, row_ids=(-1, -1)),
    "mask, a table without words": MaskCase(vocab=40, words=0),
    "heads 1:1, 64 wide": AttentionCase(kv_heads=3, group=1),
    "heads 1:4, 64 wide": AttentionCase(kv_heads=2, lengths=(15, 70)),
    "heads 1:8, 64 wide, half": AttentionCase(kv_heads=2, group=8, lengths=(0, 31), dtype=HALF),
    "heads 1:1, 80 wide, half": AttentionCase(group=1, head_dim=80, dtype=HALF),
    "heads 1:4, 80 wide": AttentionCase(head_dim=80),
    "heads 1:8, 128 wide": AttentionCase(group=8, head_dim=128),
    "heads 1:4, 128 wide, half": AttentionCase(head_dim=128, dtype=HALF),
    "values narrower than keys": AttentionCase(head_dim=48, v_dim=32),
    "a stacked group wider than a tile": AttentionCase(group=70, lengths=(33,)),
    "pages of 1": AttentionCase(page_tokens=1, lengths=(1, 2, 70)),
    "pages of 5": AttentionCase(page_tokens=5, lengths=(0, 4, 5, 6, 11)),
    "block and split edges": AttentionCase(lengths=(63, 64, 65, 127, 128, 129), group=2),
    "more splits than one merge takes": AttentionCase(lengths=(1, 2200)),
    "window": AttentionCase(window=10, lengths=(0, 1, 9, 10, 11, 200)),
    "window of 1": AttentionCase(window=1, lengths=(0, 1, 65), dtype=HALF),
    "window over split edges": AttentionCase(window=70, lengths=(69, 70, 71, 198, 300)),
    "window, the query stands further on": AttentionCase(window=20, query_offset=8, lengths=(0, 5, 12, 40)),
    "window, the query sees nothing": AttentionCase(window=5, query_offset=200, lengths=(0, 5, 150)),
    "softcap": AttentionCase(softcap=2.0),
    "softcap and window, half": AttentionCase(softcap=30.0, window=12, dtype=HALF),
    "alone or in a batch": AloneOrInABatch(AttentionCase(lengths=(1, 64, 290), group=2)),
    "alone or in a batch, window": AloneOrInABatch(AttentionCase(lengths=(1, 150, 290), group=2, window=90)),
}


def main() -> None:
    """Run all cases; memory that torch hands out uninitialised is NaN, so what is not written is seen."""
    torch.empty = lambda *size, **options: torch.full(size, torch.nan, **options)
    attention._SPLIT_TOKENS = 128  # so that short sequences have several
    wrong = {}
    for name, case in CASES.items():
        try:
            case.run("cpu")
            wrong[name] = ""
        except Exception:
            wrong[name] = traceback.format_exc()
    print(json.dumps(wrong))


@pytest.fixture(scope="module")
def what_went_wrong() -> dict[str, str]:
    if find_spec("triton") is None:
        pytest.skip("triton is not installed, so there is no kernel to interpret")
    done = subprocess.run(
        [sys.executable, __file__],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", CASES)
def test_kernel_agrees_with_its_twin(what_went_wrong, name):
    assert not what_went_wrong[name], what_went_wrong[name]


BFLOAT = {  # interpreted products of bfloat16 are wrong, so these need the device
    f"{name}, bfloat": replace(case, dtype=torch.bfloat16)
    for name, case in CASES.items()
    if isinstance(case, AttentionCase)
}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in (CASES | BFLOAT).items()])
def test_kernel_agrees_with_its_twin_on_a_gpu(monkeypatch, case):
    monkeypatch.setattr(attention, "_SPLIT_TOKENS", 128)
    case.run("cuda")


if __name__ == "__main__":
    main()
