"""A transformers causal language model over paged memory on a GPU, as `ports.Model`.

The same code runs on CPU tensors, with the kernels' plain twins in place of the kernels: that is how it is tested where
there is no GPU, and far too slow for anything else.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import torch

from .context import attention_done_by
from .fused import can_fuse
from .geometry import LayerGeometry, token_bytes
from .graphs import Graphs, ladder
from .memory_paged import PagedMemory
from .model import DTYPES, ClassesDecoder
from .modelfiles import model_folder
from .paged_llama import PagedLlama
from .paged_plan import DEFAULT_PAGE_TOKENS, room_for
from .paged_step import PagedAttention, Planner, StepArrays, inputs, on_device
from .ports import ForwardBatch
from .probe import probe
from .trial import TOLERANCES, compare, from_pretrained, longest_context, own_logits, trial_ids
from .types import RootformError

log = logging.getLogger(__name__)

_BATCH_ROWS, _PREFILL_TOKENS = 256, 8192
"""Of the largest step, where nobody asks for another and the card has room for it."""

_LOGIT_BYTES = 64
"""Of one logit: as the product has it, in float32, and sorted in float64 where the host chooses with filters."""

MOST_LANES = 4096
"""Sequences whose last tokens the device can keep."""


class PagedDecoder(Protocol):
    """Token ids to logits."""

    def __call__(
        self, ids: torch.Tensor, positions: torch.Tensor, rows: torch.Tensor, attention: PagedAttention
    ) -> torch.Tensor:
        """ids, positions (T,), rows (m,) of the T, int32 -> logits (m, vocab)."""
        ...


class PagedClasses:
    """The transformers classes as a PagedDecoder."""

    def __init__(self, model: Any) -> None:
        self._decoder = ClassesDecoder(model)

    def __call__(
        self, ids: torch.Tensor, positions: torch.Tensor, rows: torch.Tensor, attention: PagedAttention
    ) -> torch.Tensor:
        """See PagedDecoder."""
        with attention_done_by(attention):
            return self._decoder(ids.long(), positions.long(), rows.long(), attention)


class CardLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a card's memory is divided into. Derived by card_limits.

    graph_tokens: the most tokens of a step that runs as a graph; 0: none do.  batch_rows, prefill_tokens: the largest
    step that there is room for, in room_bytes.
    """

    page_tokens: int
    total_pages: int
    graph_tokens: int
    graph_bytes: int
    batch_rows: int
    prefill_tokens: int
    room_bytes: int

    def describe(self) -> str:
        """For people."""
        return (
            f"{self.total_pages} pages of {self.page_tokens} tokens; room for passes of {self.batch_rows} sequences "
            f"and {self.prefill_tokens} prompt tokens in {self.room_bytes >> 20} MiB; graphs for steps of up to "
            f"{self.graph_tokens} tokens, in {self.graph_bytes >> 20} MiB at most"
        )


def card_limits(
    *,
    free_bytes: int,
    bytes_per_token: int,
    activation_bytes: int,
    vocab_size: int,
    page_tokens: int,
    prefill_tokens: int | None,
    batch_rows: int | None,
    kv_bytes: int | None,
) -> CardLimits:
    """Divide what is free on the card once the weights are there. Pure.

    bytes_per_token: of KV.  activation_bytes: what a pass holds of one token while it computes a layer.
    prefill_tokens, batch_rows: the largest step there will be; None: as large as _PREFILL_TOKENS and _BATCH_ROWS,
    halved until neither takes more than an eighth of what is free.  Kept free beside them: a twentieth of it all for
    what fragments.  Raises RootformError when not even two pages are left.
    """
    row_bytes = _LOGIT_BYTES * vocab_size * 3 // 2  # where text is forced or guessed, some sequences bring several
    batch_rows = _as_fits(batch_rows, _BATCH_ROWS, 8, free_bytes // 8 // row_bytes)
    prefill_tokens = _as_fits(prefill_tokens, _PREFILL_TOKENS, 256, free_bytes // 8 // activation_bytes)
    room_bytes = activation_bytes * (prefill_tokens + batch_rows) + row_bytes * batch_rows
    graph_bytes = min(free_bytes // 20, 2 << 30)
    left = free_bytes - free_bytes // 20 - graph_bytes - room_bytes
    room = left if kv_bytes is None else min(left, kv_bytes)
    total_pages = max(0, room) // (bytes_per_token * page_tokens)
    if total_pages < 2:
        raise RootformError(
            f"the card has {free_bytes >> 20} MiB free beside the weights, which leaves no room for KV; use a smaller "
            "model, or free the card",
            param="kv_bytes",
        )
    most_pages = (2**31 - 1) // page_tokens
    return CardLimits(
        page_tokens=page_tokens,
        total_pages=min(total_pages, most_pages),
        graph_tokens=batch_rows + batch_rows // 2,
        graph_bytes=graph_bytes,
        batch_rows=batch_rows,
        prefill_tokens=prefill_tokens,
        room_bytes=room_bytes,
    )


def _as_fits(asked: int | None, most: int, least: int, room: int) -> int:
    """What was asked for; else `most`, halved until it fits, but not below `least`."""
    if asked is not None:
        return asked
    while most > room and most >= 2 * least:
        most //= 2
    return most


def load_paged_model(
    path: str | Path,
    *,
    dtype: Literal["float32", "bfloat16", "int8"] = "bfloat16",
    kv_bytes: int | None = None,
    device: str = "cuda",
    page_tokens: int | None = None,
    batch_rows: int | None = None,
    prefill_tokens: int | None = None,
) -> PagedModel:
    """Load a local model onto a device. Never uses the network. See model.load_model.

    kv_bytes: memory for KV; None: what card_limits leaves of the card's. page_tokens: tokens in a page of it; None:
    DEFAULT_PAGE_TOKENS.  batch_rows, prefill_tokens: the largest step there will be, for which room is kept; None: see
    card_limits.
    Raises RootformError as load_model does, and where there is no such device.
    """
    where = _device(device)
    number = DTYPES.get(dtype)
    if number is None:
        raise RootformError(
            f"dtype {dtype!r} cannot be had on {device}; use float32 or bfloat16 (int8 is for the CPU)", param="dtype"
        )
    folder = model_folder(path)
    model = from_pretrained(folder, number)
    layers = probe(model)
    own = own_logits(model)
    config = model.config.get_text_config()
    context_tokens = longest_context(config)
    model.to(where)
    page_tokens = DEFAULT_PAGE_TOKENS if page_tokens is None else page_tokens
    if page_tokens < 1:
        raise RootformError(f"page_tokens is {page_tokens}; a page holds 1 token or more", param="page_tokens")
    widest = max(2 * getattr(config, "intermediate_size", 0), 4 * getattr(config, "hidden_size", 0), 1)
    is_card = where.type == "cuda"
    limits = card_limits(
        free_bytes=_free_bytes(where, kv_bytes),
        bytes_per_token=token_bytes(layers, number.itemsize),
        activation_bytes=4 * widest * number.itemsize,
        vocab_size=own.shape[-1],
        page_tokens=page_tokens,
        prefill_tokens=prefill_tokens if is_card else 0,
        batch_rows=batch_rows if is_card else 0,
        kv_bytes=kv_bytes,
    )
    log.info("%s: %s", device, limits.describe())
    context_tokens = min(context_tokens, limits.total_pages * page_tokens)
    decoder: PagedDecoder = PagedLlama(model, max(context_tokens, 8)) if can_fuse(model) else PagedClasses(model)
    tolerance = TOLERANCES[dtype]
    compare(model, _trial(decoder, layers, own.shape[-1], number, where), own, "paged memory", tolerance)
    memory = PagedMemory(layers, limits.total_pages, page_tokens, number, where)
    loaded = PagedModel(decoder, memory, vocab_size=own.shape[-1], context_tokens=context_tokens, limits=limits)
    if isinstance(decoder, PagedLlama) and where.type == "cuda":
        loaded.capture(ladder(limits.graph_tokens), limits.graph_bytes)
    return loaded


class PagedModel:
    """`ports.Model` over paged memory. One thread at a time.

    forward() returns as soon as its work is queued; who reads the logits waits for them.
    """

    def __init__(
        self,
        decoder: PagedDecoder,
        memory: PagedMemory,
        *,
        vocab_size: int,
        context_tokens: int,
        limits: CardLimits | None = None,
    ) -> None:
        self.vocab_size = vocab_size
        self.context_tokens = context_tokens
        self.memory = memory
        self.limits = limits
        self.graphs: Graphs | None = None
        self._decoder = decoder
        self.last_tokens = torch.zeros(MOST_LANES, dtype=torch.int32, device=memory.device)  # of lanes: see lanes.py
        self._planner = Planner(memory)

    def describe(self) -> str:
        """What the device's memory is divided into, and which graphs there are, for people."""
        sizes = self.graphs.sizes if self.graphs is not None else []
        graphs = f"graphs of {len(sizes)} sizes, {sizes[0]} to {sizes[-1]} tokens" if sizes else "no graphs"
        return graphs if self.limits is None else f"{self.limits.describe()}; there are {graphs}"

    def capture(self, sizes: list[int], most_bytes: int) -> None:
        """Have steps of up to so many tokens run as CUDA graphs."""
        memory = self.memory
        rooms = [room_for(size, memory.page_tokens, memory.total_pages, self.context_tokens) for size in sizes]
        self.graphs = Graphs(self._run, memory.device, rooms, most_bytes, self.vocab_size)

    def forward(self, batch: ForwardBatch, sources: np.ndarray | None = None) -> torch.Tensor:
        """See ports.Model. ValueError, with nothing written, when a sequence is not where the batch says or is full.

        sources: (T,) int32, for each packed token the lane of last_tokens where it is found once the work queued before
        this is done, -1: in the batch.  The logits are good until the next forward().
        """
        self.memory.check_room(batch.slots, batch.starts, batch.lengths)
        room = self.graphs.room_of(len(batch.token_ids)) if self.graphs is not None else None
        host = self._planner.plan(batch, sources, room)
        with torch.inference_mode():
            logits = self.graphs.replay(host) if self.graphs is not None else None
            if logits is None:
                logits = self._run(on_device(host, self.memory.device))
        self.memory.wrote(batch.slots, batch.lengths)
        return logits

    @torch.inference_mode()
    def _run(self, arrays: StepArrays, out: torch.Tensor | None = None) -> torch.Tensor:
        """out: where to put the logits; None: made here."""
        attention = PagedAttention(self.memory, arrays)
        ids = inputs(arrays, self.last_tokens)
        logits = self._decoder(ids, arrays.positions, arrays.logit_rows, attention)
        return logits.float() if out is None else out[: len(logits)].copy_(logits)


def _device(name: str) -> torch.device:
    try:
        where = torch.device(name)
    except RuntimeError as error:
        raise RootformError(f"device {name!r} is not known; use 'cpu' or 'cuda'", param="device") from error
    if where.type not in ("cpu", "cuda"):
        raise RootformError(f"device {name!r} is not served; use 'cpu' or 'cuda'", param="device")
    if where.type == "cuda" and not torch.cuda.is_available():
        raise RootformError(f"device {name!r}: torch sees no CUDA device here; use device 'cpu'", param="device")
    if where.index:  # threads that launch kernels would each have to be told
        raise RootformError(
            f"device {name!r}: one process serves its first device; choose with CUDA_VISIBLE_DEVICES", param="device"
        )
    return where


def _free_bytes(device: torch.device, kv_bytes: int | None) -> int:
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what torch keeps of earlier models is free too
        return torch.cuda.mem_get_info(device)[0]
    return 4 * (kv_bytes or (256 << 20))  # tests


def _trial(
    decoder: PagedDecoder, layers: tuple[LayerGeometry, ...], vocab_size: int, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """Logits (7, vocab), on the CPU, of a trial text: two chunks and one step of decoding, over pages of 4."""
    memory = PagedMemory(layers, 8, 4, dtype, device)
    trial = PagedModel(decoder, memory, vocab_size=vocab_size, context_tokens=32)
    slot = memory.open(np.empty(0, dtype=np.int32), 0, 16)
    assert slot is not None
    ids = trial_ids(vocab_size)
    logits = []
    for start, stop in ((0, 4), (4, 6), (6, len(ids))):
        batch = ForwardBatch(
            token_ids=ids[start:stop],
            positions=np.arange(start, stop),
            slots=np.array([slot], dtype=np.int32),
            starts=np.array([start], dtype=np.int32),
            lengths=np.array([stop - start], dtype=np.int32),
            logit_rows=np.arange(stop - start),
        )
        logits.append(trial.forward(batch).cpu())
    return torch.cat(logits)
