"""Decoding steps of models with random weights on a device, held against the time of reading what they must read.

Sequences are set up without computing them: their pages are handed out and hold whatever is there.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from rootform.engine.geometry import LayerGeometry, token_bytes
from rootform.engine.graphs import ladder
from rootform.engine.memory_paged import PagedMemory
from rootform.engine.model_paged import PagedModel, load_paged_model
from rootform.engine.paged_llama import PagedLlama
from rootform.engine.ports import ForwardBatch

from .gpu_time import Ceilings

_STEPS = 12
_ROOM = 2 * _STEPS + 8  # tokens of output a sequence gets
_SMALL_KV_BYTES = 1 << 26


class Shape(NamedTuple):
    """Of a Llama."""

    name: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    inner: int
    vocab: int

    @property
    def dim(self) -> int:
        return self.width // self.heads


SHAPES = {
    "1b": Shape("Llama-3.2-1B", 16, 2048, 32, 8, 8192, 128_256),
    "8b": Shape("Llama-3.1-8B", 32, 4096, 32, 8, 14336, 128_256),
    "mini": Shape("mini", 2, 32, 4, 2, 64, 97),
}


class Step(NamedTuple):
    """ms: median of a step, its host's part included. floor_ms: reading weights and KV once. host_syncs: in one step.

    shared: tokens at the front of each context that all have in common; together: whether those are read once.
    """

    model: str
    batch: int
    context: int
    shared: int
    together: bool
    graph: bool
    ms: float
    floor_ms: float
    host_syncs: int


class Loaded(NamedTuple):
    """A model with random weights, and the bytes of those that a step reads."""

    shape: Shape
    decoder: PagedLlama
    geometry: tuple[LayerGeometry, ...]
    dtype: torch.dtype
    device: torch.device
    weight_bytes: int


def load(shape: Shape, device: torch.device, dtype: torch.dtype, context: int) -> Loaded:
    """Random weights, made on the device."""
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=context,
    )
    with torch.device(device):
        model: Any = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    embedding = model.model.embed_tokens.weight.numel()  # one row of it is read for each token
    weights = (sum(each.numel() for each in model.parameters()) - embedding) * dtype.itemsize
    layer = LayerGeometry(query_heads=shape.heads, kv_heads=shape.kv_heads, key_dim=shape.dim, value_dim=shape.dim)
    return Loaded(shape, PagedLlama(model, context), (layer,) * shape.layers, dtype, device, weights)


def load_saved(folder: Path, device: str, batch_rows: int, *, card_bytes: int | None = None) -> PagedModel:
    """The model of a folder, for so many sequences at once: in bfloat16 on a card, else in float32 with little memory.

    card_bytes: of KV on a card; None: what is left there.
    """
    is_card = device == "cuda"
    return load_paged_model(
        folder,
        dtype="bfloat16" if is_card else "float32",
        device=device,
        batch_rows=batch_rows,
        kv_bytes=card_bytes if is_card else _SMALL_KV_BYTES,
    )


def step(
    loaded: Loaded, ceilings: Ceilings, batch: int, context: int, *, shared: int = 0, together: bool = True, graph: bool
) -> Step | None:
    """Time decoding steps; None: the KV finds no room."""
    model, slots = _running(loaded, batch, context, shared, together)
    if model is None:
        return None
    if graph:
        model.capture([size for size in ladder(batch) if size >= batch], 8 << 30)
    at = np.full(batch, context, dtype=np.int32)

    def run() -> torch.Tensor:
        made = ForwardBatch(
            token_ids=np.ones(batch, dtype=np.int64),
            positions=at.astype(np.int64),
            slots=slots,
            starts=at.copy(),
            lengths=np.ones(batch, dtype=np.int32),
            logit_rows=np.arange(batch),
        )
        at[:] += 1
        return model.forward(made).argmax(dim=1)

    run()
    ms = _median_step(run, loaded.device)
    host_syncs = count_syncs(run, loaded.device)
    read_tokens = shared + batch * (context - shared) if together else batch * context
    kv = token_bytes(loaded.geometry, loaded.dtype.itemsize) * read_tokens
    floor = ceilings.floor_ms(loaded.weight_bytes + kv)
    used_graph = model.graphs is not None and model.graphs.replayed > 0
    return Step(loaded.shape.name, batch, context, shared, together, used_graph, ms, floor, host_syncs)


def _running(
    loaded: Loaded, batch: int, context: int, shared: int, together: bool
) -> tuple[PagedModel | None, np.ndarray]:
    """A memory with sequences of so many tokens in it. together False: each has its own pages for what they share."""
    size = 16
    shared = shared // size * size if together else 0
    own = -(-(context - shared + _ROOM) // size)
    n_pages = shared // size + batch * own
    need = n_pages * size * token_bytes(loaded.geometry, loaded.dtype.itemsize)
    if loaded.device.type == "cuda" and need + (6 << 30) > torch.cuda.mem_get_info(loaded.device)[0]:
        return None, np.empty(0, dtype=np.int32)
    memory = PagedMemory(loaded.geometry, n_pages, size, loaded.dtype, loaded.device)
    for pool in (*memory.keys, *memory.values):
        pool.normal_()
    pages = np.empty(0, dtype=np.int32)
    if shared:
        first = memory.open(pages, 0, shared)
        assert first is not None
        memory.wrote(np.array([first]), np.array([shared]))
        pages = memory.share(first, 0, shared)
        memory.close(first)
    assert pages is not None
    slots = []
    for _ in range(batch):
        slot = memory.open(pages, len(pages) * size, context + _ROOM)
        assert slot is not None
        slots.append(slot)
    made = np.array(slots, dtype=np.int32)
    memory.wrote(made, np.full(batch, context - shared))
    model = PagedModel(loaded.decoder, memory, vocab_size=loaded.shape.vocab, context_tokens=context + _ROOM)
    return model, made


def _median_step(run: Callable[[], torch.Tensor], device: torch.device) -> float:
    """Steps one after the other, each waited for, as an engine that looks at its tokens does."""
    times = []
    for _ in range(_STEPS):
        began = time.perf_counter()
        run().cpu()
        times.append(1e3 * (time.perf_counter() - began))
    return median(times)


def count_syncs(run: Callable[[], object], device: torch.device) -> int:
    """How often one run makes the host wait for the device, as torch sees it."""
    if device.type != "cuda":
        return 0
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in caught)


def steps(names: list[str], ceilings: Ceilings, device: torch.device, seconds: float) -> list[Step]:
    """The table of the issue: each model at batches and contexts, and behind a shared prefix; as far as time goes."""
    deadline = time.monotonic() + seconds
    rows: list[Step] = []
    for name in names:
        shape = SHAPES[name]
        is_small = name == "mini"
        contexts = (40, 70) if is_small else (1024, 4096)
        batches = (1, 3) if is_small else (1, 16, 64, 256)
        loaded = load(shape, device, torch.float32 if is_small else torch.bfloat16, 8192)
        plans = [(batch, context, 0, True) for context in contexts for batch in batches]
        plans += [(batches[-1], contexts[-1], contexts[0] // 16 * 16, together) for together in (False, True)]
        for batch, context, shared, together in plans:
            for graph in (False, True):
                if time.monotonic() < deadline:
                    row = step(loaded, ceilings, batch, context, shared=shared, together=together, graph=graph)
                    rows += [row] if row is not None else []
                    _free(device)
        del loaded
        _free(device)
    return rows


def _free(device: torch.device) -> None:
    """Give back what the last row took: a model and its graphs hold each other, and with them the KV of a batch."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def describe(rows: list[Step]) -> str:
    """As a table of Markdown."""
    lines = [
        "| model | batch | context | shared | graph | ms | x floor | host syncs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shared = f"{row.shared}{'' if row.together else ', each its own copy'}" if row.shared else ""
        cells = row.model, row.batch, row.context, shared, "yes" if row.graph else "no"
        numbers = f"{row.ms:.3f} | {row.ms / row.floor_ms:.2f} | {row.host_syncs}"
        lines.append("| " + " | ".join(map(str, cells)) + f" | {numbers} |")
    return "\n".join(lines)
