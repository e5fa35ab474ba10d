"""Drafts through a real model: rejected tokens leave nothing behind in memory, and float32 gives the same tokens."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from rootform.engine.limits import derive_limits
from rootform.engine.ports import Model
from rootform.engine.step import StepLoop
from rootform.engine.types import Delta, Event, Request, Sampling

VOCAB = 61


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    path = tmp_path_factory.mktemp("llama")
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(path)
    return path


@pytest.fixture
def models(folder: Path, device: Any) -> list[Model]:
    """Two of the same."""
    return [device.load(folder, kv_bytes=1 << 22, page_tokens=4) for _ in range(2)]


def make_loop(model: Model, device: Any, *, drafts: bool, max_batch: int = 8) -> StepLoop:
    limits = derive_limits(
        context_tokens=model.context_tokens,
        page_tokens=model.memory.page_tokens,
        total_pages=model.memory.total_pages,
        max_batch=max_batch,
        prefill_tokens=16,
    )
    return device.loop(model, [b"x"] * VOCAB, frozenset(), limits, drafts=drafts)


def run(loop: StepLoop, prompts: Iterable[tuple[int, ...]], temperature: float) -> list[tuple[int, ...]]:
    """The outputs, with all prompts under way at once."""
    said: dict[int, list[int]] = {}
    for prompt in prompts:
        key = loop.counts.finished + len(said) + 1
        said[key] = []
        sampling = Sampling(temperature=temperature, seed=sum(prompt))
        loop.add(Request(request_id=key, prompt_ids=prompt, max_new_tokens=24, ignore_eos=True, sampling=sampling))
    while loop.busy:
        events: list[Event] = loop.step()
        for event in events:
            if isinstance(event, Delta):
                said[event.request_id] += event.token_ids
    return [tuple(ids) for ids in said.values()]


SHARED = tuple((7 * n + 3) % VOCAB for n in range(30))
PROMPTS = [(*SHARED, 5, 9), (*SHARED, 5, 20), (4,), (33, 2, 50, 6, 28) * 4, SHARED[:11]]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("together", [1, 5])
def test_outputs_are_equal_again_and_again_and_turn_after_turn(
    models: list[Model], device: Any, temperature: float, together: int
) -> None:
    """Asked again, outputs are known by heart: nearly all of each comes from drafts of many tokens."""
    on, off = make_loop(models[0], device, drafts=True), make_loop(models[1], device, drafts=False)
    prompts = PROMPTS
    for turn in range(2):
        groups = [prompts[n : n + together] for n in range(0, len(prompts), together)]
        wanted = [ids for group in groups for ids in run(off, group, temperature)]
        for _ in range(3):
            assert [ids for group in groups for ids in run(on, group, temperature)] == wanted
        prompts = [(*prompt, *ids, turn) for prompt, ids in zip(prompts, wanted, strict=True)]
    assert on.counts.accepted_tokens > 0.4 * on.counts.output_tokens
    assert on.counts.drafted_tokens > on.counts.accepted_tokens
    memory, tree = on.model.memory, on.prefixes.tree
    assert tree.locked_pages == 0
    assert memory.free_pages + tree.cached_pages == memory.total_pages


def test_what_the_tree_remembers_of_a_drafted_output_is_what_plain_decoding_computes(
    models: list[Model], device: Any
) -> None:
    """Rows of rejected tokens are written over: the KV of every remembered token is its own."""
    loops = [make_loop(model, device, drafts=n == 0) for n, model in enumerate(models)]
    for loop in loops:
        for _ in range(2):
            (output,) = run(loop, PROMPTS[:1], 0.0)
    ids = np.array([*PROMPTS[0], *output[:-1]], dtype=np.int32)
    found = []
    for loop in loops:
        match = loop.prefixes.tree.match(ids, "")
        assert match.n_tokens == len(ids) // loop.model.memory.page_tokens * loop.model.memory.page_tokens
        found.append(torch.from_numpy(loop.model.memory.copy_out(match.pages)).view(torch.float32))
    assert loops[0].counts.accepted_tokens > 5
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
