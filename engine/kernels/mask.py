"""Setting disallowed logits to -inf, from bit rows: the Triton kernel and its plain torch twin."""

from __future__ import annotations

from typing import Any

import torch

from .tiles import HAS_TRITON, need_triton

_BLOCK = 1024  # logits per program


def apply_mask(logits: torch.Tensor, row_table: torch.Tensor, row_ids: torch.Tensor) -> None:
    """Set disallowed logits to -inf, in place: the kernel for CUDA tensors, the twin elsewhere.

    See apply_mask_plain for shapes and meaning.
    """
    if logits.is_cuda:
        apply_mask_triton(logits, row_table, row_ids)
    else:
        apply_mask_plain(logits, row_table, row_ids)


def apply_mask_plain(logits: torch.Tensor, row_table: torch.Tensor, row_ids: torch.Tensor) -> None:
    """Set disallowed logits to -inf, in place. The plain twin of apply_mask_triton.

    logits: (rows, vocab) float.
    row_table: (n_rows, words) int32; bit b of word w of a row allows token 32 * w + b.
    row_ids: (rows,) integer; which row of the table masks each row of logits, -1: all tokens are allowed.
    Tokens beyond the last word are disallowed; bits beyond the vocabulary mean nothing.
    Raises ValueError for wrong shapes, and for a row id that is not in the table.
    """
    _check_shapes(logits, row_table, row_ids)
    _check_row_ids(row_table, row_ids)
    if len(row_table) == 0 or len(row_ids) == 0:
        return
    is_masked = (row_ids >= 0)[:, None]
    disallowed = _unpack_bits(~row_table[row_ids.clamp(min=0)]) & is_masked
    covered = min(logits.shape[1], disallowed.shape[1])
    logits[:, :covered].masked_fill_(disallowed[:, :covered], -torch.inf)
    logits[:, covered:].masked_fill_(is_masked, -torch.inf)


def allowed_tokens(words: torch.Tensor, vocab: int) -> torch.Tensor:
    """One row of the table, (words,) int32, as (vocab,) bool."""
    bits = _unpack_bits(words[None])[0, :vocab]
    return torch.cat([bits, bits.new_zeros(vocab - len(bits))])


def _unpack_bits(words: torch.Tensor) -> torch.Tensor:
    """(rows, words) int32 -> (rows, 32 * words) bool, lowest bit first. Bytewise: a quarter of the memory."""
    one_bit = 2 ** torch.arange(8, dtype=torch.uint8, device=words.device)
    octets = words.contiguous().view(torch.uint8)  # lowest byte first on every machine torch runs on
    return (octets[:, :, None] & one_bit).bool().flatten(1)


def _check_shapes(logits: torch.Tensor, row_table: torch.Tensor, row_ids: torch.Tensor) -> None:
    if logits.ndim != 2 or row_table.ndim != 2 or row_ids.shape != logits.shape[:1]:
        raise ValueError(
            "apply_mask takes logits (rows, vocab), row_table (n_rows, words) and row_ids (rows,), "
            f"not {tuple(logits.shape)}, {tuple(row_table.shape)} and {tuple(row_ids.shape)}"
        )
    if row_table.dtype != torch.int32:
        raise ValueError(f"row_table must be int32 (32 tokens a word), not {row_table.dtype}")


def _check_row_ids(row_table: torch.Tensor, row_ids: torch.Tensor) -> None:
    if len(row_ids) and not (int(row_ids.min()) >= -1 and int(row_ids.max()) < len(row_table)):
        raise ValueError(
            f"row_ids must be -1 to {len(row_table) - 1} for a table of {len(row_table)} rows, "
            f"not {int(row_ids.min())} to {int(row_ids.max())}"
        )


def apply_mask_triton(logits: torch.Tensor, row_table: torch.Tensor, row_ids: torch.Tensor) -> None:
    """apply_mask_plain as one kernel. Rows of logits and of the table must be contiguous in themselves.

    Row ids are not checked against the table, for that would wait for the device.
    Raises ImportError where triton is not installed, ValueError for wrong shapes.
    """
    need_triton("masking")
    _check_shapes(logits, row_table, row_ids)
    if logits.stride(1) != 1 or (row_table.numel() and row_table.stride(1) != 1):
        raise ValueError("apply_mask_triton: rows of logits and row_table must be contiguous in themselves")
    n, vocab = logits.shape
    if n == 0 or len(row_table) == 0:
        return
    grid = (n, -(-vocab // _BLOCK))
    mask_kernel[grid](
        logits,
        row_table,
        row_ids,
        vocab,
        row_table.shape[1],
        logits.stride(0),
        row_table.stride(0),
        BLOCK=_BLOCK,
    )


if HAS_TRITON:
    import triton
    import triton.language as tl

    jit: Any = triton.jit  # a launch takes more arguments than the function

    @jit(do_not_specialize_on_alignment=["row_ids"], do_not_specialize=["words", "table_stride"])
    def mask_kernel(logits, row_table, row_ids, vocab, words, logits_stride, table_stride, BLOCK: tl.constexpr):
        """One program: BLOCK logits of one row."""
        row = tl.program_id(0).to(tl.int64)
        row_id = tl.load(row_ids + row).to(tl.int64)
        if row_id >= 0:
            token = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
            word = token // 32
            bits = tl.load(row_table + row_id * table_stride + word, mask=word < words, other=0)
            disallowed = ((bits >> (token % 32)) & 1) == 0
            nothing = tl.full([BLOCK], float("-inf"), logits.dtype.element_ty)
            tl.store(logits + row * logits_stride + token, nothing, mask=(token < vocab) & disallowed)
