"""A model loaded and what follows from it: which kind of memory, loop, limits and threads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import torch

from .limits import Limits, derive_limits
from .step import StepLoop
from .threads import choose_threads
from .types import RootformError

if TYPE_CHECKING:
    from . import ports
    from .model_paged import CardLimits

Dtype = Literal["float32", "bfloat16", "int8"]


class ModelNotes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """rootform.json in a model's folder: what its maker wants us to know. All of it may be left out."""

    extract_prompt: str | None = None


def read_notes(folder: Path) -> ModelNotes:
    """rootform.json of a model folder, or notes that say nothing."""
    file = folder / "rootform.json"
    if not file.is_file():
        return ModelNotes()
    try:
        return msgspec.json.decode(file.read_bytes(), type=ModelNotes)
    except msgspec.DecodeError as error:
        raise RootformError(f"{file}: {error}", status=500) from error


def load(
    folder: Path,
    dtype: Dtype,
    kv_bytes: int | None,
    device: str,
    steps: tuple[int | None, int | None],
    *,
    deterministic: bool,
    page_tokens: int | None,
) -> ports.Model:
    """The model of a folder. steps: sequences and prompt tokens in one pass, as far as somebody asked for them."""
    if device == "cpu":
        if page_tokens is not None:
            raise RootformError("page_tokens is for a model on a device; leave it out on the CPU", param="page_tokens")
        from .model import load_model

        return load_model(folder, dtype=dtype, kv_bytes=kv_bytes, deterministic=deterministic)
    if deterministic:
        raise RootformError(f"deterministic can be had on the CPU only, not on {device}", param="deterministic")
    from .model_paged import load_paged_model

    batch_rows, prefill_tokens = steps
    return load_paged_model(
        folder,
        dtype=dtype,
        kv_bytes=kv_bytes,
        device=device,
        page_tokens=page_tokens,
        batch_rows=batch_rows,
        prefill_tokens=prefill_tokens,
    )


def loop_kind(model: ports.Model, overlap: bool | None) -> type[StepLoop]:
    """The loop that steps it. overlap: see Engine."""
    can = hasattr(model, "last_tokens")
    if overlap and not can:
        raise no_overlap()
    if not can or overlap is False or (overlap is None and not torch.cuda.is_available()):
        return StepLoop
    from .overlap import OverlappedLoop

    return OverlappedLoop


def no_overlap() -> RootformError:
    """For one who asks for it where it cannot be had."""
    return RootformError("overlap is for a model on a device; leave it out on the CPU", param="overlap")


def limits_of(
    model: ports.Model,
    max_batch: int | None,
    prefill_tokens: int | None,
    max_context: int | None,
    itl_ms: float | None,
) -> Limits:
    """What it keeps to. None: derived."""
    card: CardLimits | None = getattr(model, "limits", None) if torch.cuda.is_available() else None
    if card is not None:  # it has room for more than a CPU has time for
        max_batch, prefill_tokens = max_batch or card.batch_rows, prefill_tokens or card.prefill_tokens
    return derive_limits(
        context_tokens=model.context_tokens,
        page_tokens=model.memory.page_tokens,
        total_pages=model.memory.total_pages,
        max_batch=max_batch,
        prefill_tokens=prefill_tokens,
        max_context=max_context,
        itl_ms=itl_ms,
    )


def set_threads(threads: int | None, model: ports.Model) -> None:
    """Of torch; None: as many as are measured to pay."""
    if threads is None:
        choose_threads(model, torch.get_num_threads())
    elif threads < 1:
        raise RootformError(f"threads is {threads}; it must be 1 or more", param="threads")
    else:
        torch.set_num_threads(threads)
