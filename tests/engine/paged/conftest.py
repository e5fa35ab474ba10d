"""Tiny models of several families in folders, and what the step loop says over one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from rootform.engine.limits import derive_limits
from rootform.engine.model_paged import PagedModel, load_paged_model
from rootform.engine.ports import Model
from rootform.engine.step import StepLoop
from rootform.engine.types import Delta, Request

VOCAB = 97
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,  # decisive logits, so that a greedy choice means something
    "pad_token_id": 0,
}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**SIZES),
    "mistral, window": lambda: transformers.MistralConfig(**SIZES, sliding_window=16, head_dim=8),
    "qwen2, biases": lambda: transformers.Qwen2Config(**SIZES),
    "gemma2, softcap": lambda: transformers.Gemma2Config(
        **SIZES, head_dim=16, query_pre_attn_scalar=16, sliding_window=16
    ),
    "gpt-oss, sinks": lambda: transformers.GptOssConfig(
        **SIZES, head_dim=8, sliding_window=16, num_local_experts=2, num_experts_per_tok=1
    ),
}
TRUNK = [(7 * n + 3) % VOCAB for n in range(90)]
PROMPTS = [
    *([*TRUNK, n, 5] for n in range(4)),
    *([*TRUNK[:70], *(n * 3 % VOCAB for n in range(60)), n] for n in range(3)),
    [4],
    [33, 2, 71],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(CONFIGS["llama"](), tmp_path_factory.mktemp("paged"))


@pytest.fixture(scope="module", params=CONFIGS)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(CONFIGS[request.param](), tmp_path_factory.mktemp("paged"))


def save(config: Any, folder: Path) -> Path:
    torch.manual_seed(11)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    return folder


def outputs(
    model: Model,
    *,
    prefix_cache: bool = True,
    kind: Callable[..., StepLoop] = StepLoop,
    drafts: bool = True,
    **fields: Any,
) -> tuple[list[list[int]], StepLoop]:
    """Of each prompt, submitted together."""
    limits = derive_limits(
        context_tokens=model.context_tokens,
        page_tokens=model.memory.page_tokens,
        total_pages=model.memory.total_pages,
        prefill_tokens=60,
    )
    loop = kind(model, [b"x"] * VOCAB, frozenset(), limits, prefix_cache=prefix_cache, drafts=drafts)
    ids: dict[int, list[int]] = {n: [] for n in range(len(PROMPTS))}
    for n, prompt in enumerate(PROMPTS):
        loop.add(Request(request_id=n, prompt_ids=tuple(prompt), max_new_tokens=10, **fields))
    while loop.busy:
        for event in loop.step():
            if isinstance(event, Delta):
                ids[event.request_id].extend(event.token_ids)
    return list(ids.values()), loop


def captured(folder: Path, sizes: list[int], most_bytes: int = 1 << 30, device: str = "cpu") -> PagedModel:
    model = load_paged_model(folder, dtype="float32", kv_bytes=2_000_000, device=device, page_tokens=8)
    model.capture(sizes, most_bytes)
    return model
