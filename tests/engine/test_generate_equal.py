"""Token for token what transformers' own generate gives: cache on and off, alone and in a batch with strangers, on the
CPU and on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from rootform.engine.limits import derive_limits
from rootform.engine.ports import Model
from rootform.engine.step import StepLoop
from rootform.engine.types import Delta, Request, Sampling

VOCAB = 97
N_NEW = 20
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,  # decisive logits, so that a greedy choice means something
    "bos_token_id": 1,
    "eos_token_id": None,
    "pad_token_id": 0,
}
WINDOW = 16  # smaller than the longer prompts
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**SIZES),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES, head_dim=16),
    "mistral": lambda: transformers.MistralConfig(**SIZES, sliding_window=WINDOW, head_dim=8),
    "gemma2": lambda: transformers.Gemma2Config(**SIZES, head_dim=16, query_pre_attn_scalar=16, sliding_window=WINDOW),
    "gemma3": lambda: transformers.Gemma3TextConfig(
        **SIZES, head_dim=16, query_pre_attn_scalar=16, sliding_window=WINDOW
    ),
}
SHARED = [(7 * n + 3) % VOCAB for n in range(40)]
PROMPTS = [[*SHARED, 5, 9, 11], [*SHARED, 5, 80], [4], [33, 2, 71, 6, 28], SHARED[:25]]
STRANGERS = [[(n * k + 11) % VOCAB for n in range(3 * k)] for k in range(1, 12)]


@pytest.fixture(scope="module", params=CONFIGS)
def generated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[int]]]:
    """A model's folder, and what transformers generates from each prompt."""
    torch.manual_seed(11)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[request.param](), attn_implementation="eager").eval()
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    wanted = []
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=N_NEW, do_sample=False)
        wanted.append(out[0, len(prompt) :].tolist())
    assert len({tuple(each) for each in wanted}) > 2, "the prompts hardly matter to this model"
    return folder, wanted


@pytest.fixture(scope="module")
def wanted(generated: tuple[Path, list[list[int]]]) -> list[list[int]]:
    return generated[1]


@pytest.fixture(scope="module")
def model(generated: tuple[Path, list[list[int]]], device: Any) -> Model:
    return device.load(generated[0], kv_bytes=4_000_000)


@pytest.fixture
def make_loop(model: Model, device: Any) -> Iterator[Callable[..., StepLoop]]:
    """Loops with empty trees over one model; what they hold goes back to it when the test ends."""
    made: list[StepLoop] = []

    def make(*, prefill_tokens: int = 16, **options: Any) -> StepLoop:
        memory = model.memory
        limits = derive_limits(
            context_tokens=model.context_tokens,
            page_tokens=memory.page_tokens,
            total_pages=memory.total_pages,
            prefill_tokens=prefill_tokens,
        )
        made.append(device.loop(model, [b"x"] * VOCAB, frozenset(), limits, **options))
        return made[-1]

    yield make
    for loop in made:
        loop.prefixes.forget_all()
    assert model.memory.free_pages == model.memory.total_pages


def run(loop: StepLoop, prompts: list[list[int]], first_id: int = 0, **fields: Any) -> list[list[int]]:
    """The output of each prompt, all submitted together."""
    ids: dict[int, list[int]] = {}
    for n, prompt in enumerate(prompts, start=first_id):
        ids[n] = []
        loop.add(Request(request_id=n, prompt_ids=tuple(prompt), max_new_tokens=N_NEW, **fields))
    while loop.busy:
        for event in loop.step():
            if isinstance(event, Delta):
                ids[event.request_id].extend(event.token_ids)
    return list(ids.values())


@pytest.mark.parametrize("prefix_cache", [True, False], ids=["cache", "no cache"])
def test_alone(make_loop, wanted, prefix_cache):
    loop = make_loop(prefix_cache=prefix_cache)
    got = [run(loop, [prompt], n)[0] for n, prompt in enumerate(PROMPTS)]
    assert got == wanted
    assert (loop.counts.cached_tokens > 40) == prefix_cache


@pytest.mark.parametrize("prefix_cache", [True, False], ids=["cache", "no cache"])
def test_in_a_batch_with_strangers(make_loop, wanted, prefix_cache):
    loop = make_loop(prefix_cache=prefix_cache, prefill_tokens=50, drafts=True)
    mixed = [*STRANGERS[:6], *PROMPTS, *STRANGERS[6:]]
    assert run(loop, mixed)[6 : 6 + len(PROMPTS)] == wanted
    assert run(loop, mixed, len(mixed))[6 : 6 + len(PROMPTS)] == wanted  # now with everything in the tree


def test_seeded_sampling_is_the_same_alone_and_in_a_batch(make_loop):
    sampling = Sampling(temperature=1.0, top_p=0.95, seed=5)
    alone = run(make_loop(), PROMPTS[:1], sampling=sampling)
    assert run(make_loop(), [*PROMPTS, *STRANGERS], sampling=sampling)[:1] == alone


def test_memory_is_given_back(make_loop):
    loop = make_loop()
    run(loop, [*PROMPTS, *STRANGERS])
    memory, tree = loop.model.memory, loop.prefixes.tree
    assert tree.locked_pages == 0
    assert loop.prefixes.forget_all()
    assert (tree.cached_pages, memory.free_pages) == (0, memory.total_pages)
