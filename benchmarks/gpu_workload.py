"""Extraction through the whole engine on a device: many requests behind one prompt, with and without each thing it
does about them, beside transformers' own generation."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from rootform.engine import paged_plan
from rootform.engine.api import Engine
from rootform.engine.model_paged import PagedModel
from rootform.engine.tokenizer import Tokenizer

from .gpu_models import load_saved
from .serving_workload import MAX_OUTPUT_TOKENS, SCHEMA, Shape, make_workload

_KV_BYTES = 24 << 30  # on a card; the others want memory too
_BEFORE_OTHERS = 2  # of our ways, so that there is time for theirs

WORKLOAD_SHAPE = Shape("0.3b", 1024, 16, 16, 4, 4096, 32_000)


class Row(NamedTuple):
    """Tokens that came out, in so many seconds. name: who, and what was left out.

    overlapped, lockstep: passes queued before the one before them was settled, and others, where passes may overlap.
    stalls: times the device had nothing to do while the host settled; void_rows, misses: see api.EngineStats.
    """

    name: str
    requests: int
    tokens: int
    seconds: float
    overlapped: int | None = None
    lockstep: int | None = None
    stalls: int | None = None
    void_rows: int | None = None
    misses: int | None = None

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


def measure(
    device: str, folder: Path, seconds: float, *, requests: int = 256, shared: int = 2048, own: int = 64
) -> list[Row]:
    """Each way of running the same requests, as far as time goes. folder: of a model made by make_model."""
    deadline = time.monotonic() + seconds
    prompts = make_workload(folder, 1, 0, requests, shared, own).prompts
    ways: list[tuple[str, dict[str, Any]]] = [
        ("rootform", {}),
        ("rootform, no drafts", {"drafts": False}),
        ("rootform, no drafts, no overlap", {"drafts": False, "overlap": False}),
        ("rootform, no overlap", {"overlap": False}),
        ("rootform, prefix read by each itself", {"together": False}),
        ("rootform, no masks", {"schema": False}),
        ("rootform, no masks, no drafts", {"schema": False, "drafts": False}),
        ("rootform, no masks, no drafts, no overlap", {"schema": False, "drafts": False, "overlap": False}),
    ]
    rows: list[Row] = []
    model = load_saved(folder, device, len(prompts), card_bytes=_KV_BYTES)
    given = model, Tokenizer.load(folder), prompts
    rows += [_ours(label, *given, **options) for label, options in ways[:_BEFORE_OTHERS]]
    try:
        for row in _transformers(folder, prompts, device, deadline):
            rows.append(row)
    except Exception:  # another's failure must not cost our figures
        traceback.print_exc()
    gc.collect()
    for label, options in ways[_BEFORE_OTHERS:]:
        if time.monotonic() < deadline:
            rows.append(_ours(label, *given, **options))
    return rows


def _ours(
    label: str,
    model: PagedModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    *,
    drafts: bool = True,
    overlap: bool = True,
    together: bool = True,
    schema: bool = True,
) -> Row:
    worth = paged_plan._WORTH_READINGS
    if not together:
        paged_plan._WORTH_READINGS = 1 << 60
    try:
        options: dict[str, Any] = {"schema": SCHEMA} if schema else {"ignore_eos": True}
        n_most = MAX_OUTPUT_TOKENS if schema else 128
        with Engine.from_parts(model, tokenizer, drafts=drafts, overlap=overlap, max_batch=len(prompts)) as engine:
            engine.generate([tuple(prompts[0])], max_tokens=n_most, **options)  # compiles, and fills the prefix
            before = engine.stats()
            began = time.perf_counter()
            done = engine.generate([tuple(each) for each in prompts], max_tokens=n_most, **options)
            took = time.perf_counter() - began
            after = engine.stats()
            engine.clear_cache()  # the next one has the memory whole
        assert isinstance(done, list)
        row = Row(label, len(prompts), sum(len(each.token_ids) for each in done), took)
        names = "overlapped_passes", "lockstep_passes", "device_stalls", "void_rows", "grammar_misses"
        counted = [getattr(after, name) - getattr(before, name) for name in names]
        return Row(*row[:4], *counted) if overlap else row
    finally:
        paged_plan._WORTH_READINGS = worth


def _transformers(folder: Path, prompts: Sequence[Sequence[int]], device: str, deadline: float) -> Iterator[Row]:
    """transformers' continuous batching, and its generate in one batch; neither is constrained."""
    import transformers

    if time.monotonic() >= deadline:
        return
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    kind: Any = transformers.AutoModelForCausalLM
    model = kind.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").to(device).eval()
    n_new = 128
    options = {"max_new_tokens": n_new, "min_new_tokens": n_new, "do_sample": False, "pad_token_id": 0}
    if device == "cuda":
        try:
            yield _continuous(model, transformers.GenerationConfig(**options, eos_token_id=-1), prompts)
        except Exception:  # the plain way may still do
            traceback.print_exc()
        gc.collect()
        torch.cuda.empty_cache()
    if time.monotonic() >= deadline:
        return
    ids = torch.tensor([list(each)[-min(map(len, prompts)) :] for each in prompts], device=device)
    began = time.perf_counter()
    with torch.inference_mode():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), **options).cpu()
    yield Row("transformers generate", len(prompts), out[:, ids.shape[1] :].numel(), time.perf_counter() - began)


def _continuous(model: Any, config: Any, prompts: Sequence[Sequence[int]]) -> Row:
    """Timed from the first request on: its graphs are made before, as ours are. The first round also fills its cache of
    prefixes, so that the second finds in it what ours does."""
    inputs, took, n_tokens = [list(each) for each in prompts], 0.0, 0
    with model.continuous_batching_context_manager(generation_config=config) as manager:
        for n_new, part in ((1, inputs[:1]), (config.max_new_tokens, inputs)):
            began = time.perf_counter()
            manager.add_requests(inputs=part, max_new_tokens=n_new)
            results: list[Any] = []
            while len(results) < len(part):
                found = manager.get_result(timeout=1)
                if found is not None and found.is_finished():
                    results.append(found)
                elif found is None and not manager.is_running():
                    raise RuntimeError("continuous batching ended by itself")
            took = time.perf_counter() - began
            n_tokens = sum(len(each.generated_tokens) for each in results)
    return Row("transformers continuous batching", len(prompts), n_tokens, took)


def describe(rows: list[Row]) -> str:
    """As a table of Markdown."""
    names = "engine", "requests", "tokens out", "s", "tokens / s", *Row._fields[4:]
    lines = ["| " + " | ".join(names).replace("_", " ") + " |", "|---" * len(names) + "|"]
    for row in rows:
        counted = ["" if each is None else str(each) for each in row[4:]]
        cells = row.name, str(row.requests), str(row.tokens), f"{row.seconds:.2f}", f"{row.rate:.0f}", *counted
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
