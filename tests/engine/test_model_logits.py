"""Logits through packed batches, our memory and our attention equal those of the plain transformers model, on the CPU
and on a device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.fused import can_fuse
from rootform.engine.linears import int8_trouble
from rootform.engine.model import load_model
from rootform.engine.ports import ForwardBatch, Model
from rootform.engine.prefixes import Prefixes, Room

VOCAB = 97
NO_PAGES = np.empty(0, dtype=np.int32)

SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 64,  # whole vectors: torch rounds silu differently in the rest of a row
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,  # decisive logits, so that a greedy choice means something
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
WINDOW = 16  # smaller than every text below

CONFIGS: dict[str, Callable[[], Any]] = {
    "llama, tied, llama3 rope": lambda: transformers.LlamaConfig(
        **SIZES, tie_word_embeddings=True, rope_parameters=LLAMA3_ROPE
    ),
    "llama, no grouping": lambda: transformers.LlamaConfig(**(SIZES | {"num_key_value_heads": 4})),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES),
    "qwen2, windows in some layers": lambda: transformers.Qwen2Config(
        **SIZES, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1
    ),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES, head_dim=16),
    "mistral, window": lambda: transformers.MistralConfig(**SIZES, sliding_window=WINDOW, head_dim=8),
    "gemma2": lambda: transformers.Gemma2Config(**SIZES, head_dim=16, query_pre_attn_scalar=16, sliding_window=WINDOW),
    "gemma3": lambda: transformers.Gemma3TextConfig(
        **SIZES, head_dim=16, query_pre_attn_scalar=16, sliding_window=WINDOW
    ),
    "phi3": lambda: transformers.Phi3Config(**SIZES, pad_token_id=0),
    "gpt-oss (sinks)": lambda: transformers.GptOssConfig(
        **SIZES, head_dim=8, sliding_window=WINDOW, num_local_experts=2, num_experts_per_tok=1
    ),
    "deepseek-v3 (values narrower than keys)": lambda: transformers.DeepseekV3Config(
        **(SIZES | {"num_key_value_heads": 4}),
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
        first_k_dense_replace=3,
    ),
}


def save(config: Any, folder: Path) -> Any:
    """Write a model with random weights into folder; the model."""
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    for parameter in model.parameters():  # biases, norms and sinks that are not 0 or 1 show mistakes in them
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    return model


def plain_logits(model: Any, ids: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.from_numpy(ids)[None], use_cache=False).logits[0]


def text(seed: int, n: int, prefix: np.ndarray | None = None) -> np.ndarray:
    ids = np.random.default_rng(seed).integers(0, VOCAB, n)
    return ids if prefix is None else np.concatenate([prefix, ids])


def step(model: Model, parts: list[tuple[int, int, np.ndarray]]) -> list[torch.Tensor]:
    """One forward pass of (slot, start, new token ids); the logits of every new token, by part."""
    lengths = [len(ids) for _, _, ids in parts]
    batch = ForwardBatch(
        token_ids=np.concatenate([ids for *_, ids in parts]).astype(np.int64),
        positions=np.concatenate([np.arange(start, start + len(ids)) for _, start, ids in parts]),
        slots=np.array([slot for slot, *_ in parts], dtype=np.int32),
        starts=np.array([start for _, start, _ in parts], dtype=np.int32),
        lengths=np.array(lengths, dtype=np.int32),
        logit_rows=np.arange(sum(lengths)),
    )
    logits = model.forward(batch).cpu()
    assert logits.dtype == torch.float32
    return list(logits.split(lengths))


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())
    assert ours.argmax(-1).tolist() == theirs.argmax(-1).tolist()


@pytest.mark.parametrize("family", CONFIGS)
def test_logits_equal_the_plain_models(family: str, device: Any, tmp_path: Path) -> None:
    """Prefill in chunks beside strangers that decode, a prefix shared and read from pages, drafts, some rejected."""
    reference = save(CONFIGS[family](), tmp_path)
    model = device.load(tmp_path, kv_bytes=3_000_000, page_tokens=1)
    memory = model.memory
    prefix = text(0, 41)
    texts = [text(1 + n, 30, prefix) for n in range(5)] + [text(9, 60)]
    wanted = [plain_logits(reference, ids) for ids in texts]

    first, stranger = memory.open(NO_PAGES, 0, 80), memory.open(NO_PAGES, 0, 60)
    assert first is not None
    assert stranger is not None
    got = step(model, [(stranger, 0, texts[5][:20])])
    assert_same(got[0], wanted[5][:20])
    got = step(model, [(first, 0, texts[0][:25]), (stranger, 20, texts[5][20:21])])
    assert_same(got[0], wanted[0][:25])
    assert_same(got[1], wanted[5][20:21])
    got = step(model, [(stranger, 21, texts[5][21:22]), (first, 25, texts[0][25:43])])
    assert_same(got[0], wanted[5][21:22])
    assert_same(got[1], wanted[0][25:43])

    pages = memory.share(first, 0, 41)
    assert pages is not None
    memory.adopt(first, pages, 41)
    slots = [first]
    for _ in range(4):
        slot = memory.open(pages, 41, 80)
        assert slot is not None
        slots.append(slot)
    got = step(model, [(slots[n], 41, texts[n][41 : 45 + n * 5]) for n in range(1, 5)])  # 4 to 24 tokens each
    for n in range(1, 5):
        assert_same(got[n - 1], wanted[n][41 : 45 + n * 5])
    ends = [43] + [45 + n * 5 for n in range(1, 5)]

    wrong = text(77, 3)
    step(model, [(slots[1], ends[1], wrong), (slots[0], ends[0], texts[0][43:44])])
    ends[0] += 1
    memory.truncate(slots[1], ends[1])
    for width in (1, 1, 2):
        parts = [(slots[n], ends[n], texts[n][ends[n] : ends[n] + width]) for n in (3, 0, 4, 1, 2)]
        got = step(model, [*parts, (stranger, memory[stranger].n_tokens, texts[5][memory[stranger].n_tokens :][:1])])
        for n, logits in zip((3, 0, 4, 1, 2), got, strict=False):
            assert_same(logits, wanted[n][ends[n] : ends[n] + width])
            ends[n] += width
        at = memory[stranger].n_tokens
        assert_same(got[5], wanted[5][at - 1 : at])


@pytest.mark.skipif(int8_trouble() is not None, reason=f"no int8 here: {int8_trouble()}")
@pytest.mark.parametrize("family", ["llama, no grouping", "qwen2", "qwen3"])  # fused, fused with biases, its classes
def test_int8_logits_are_near_the_plain_models(family: str, tmp_path: Path) -> None:
    reference = save(CONFIGS[family](), tmp_path)
    model = load_model(tmp_path, dtype="int8", kv_bytes=1_000_000)
    ids = text(0, 40)
    wanted = plain_logits(reference, ids)
    slot = model.memory.open(NO_PAGES, 0, 40)
    assert slot is not None
    got = torch.cat([step(model, [(slot, start, ids[start : start + 8])])[0] for start in range(0, 40, 8)])
    error = (got - wanted).norm(dim=1) / wanted.norm(dim=1)
    assert error.max() < 0.2
    assert error.mean() < 0.08


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[torch.Tensor]]:
    """A model's folder, and its plain logits of TEXTS."""
    folder = tmp_path_factory.mktemp("windowed")
    model = save(CONFIGS["qwen2, windows in some layers"](), folder)
    return folder, [plain_logits(model, ids) for ids in TEXTS]


TRUNK = text(100, 50)
TEXTS = [
    *(text(200 + n, 40, TRUNK) for n in range(4)),  # these share 50 tokens, two of them 60
    text(204, 30, text(200, 40, TRUNK)[:60]),
    text(205, 70, TRUNK[:20]),
    text(206, 33),
]


@given(seed=st.integers(0, 2**32 - 1), memory_tokens=st.sampled_from([260, 400, 5000]), cached=st.booleans())
@settings(max_examples=6, deadline=None)
def test_logits_are_right_whatever_came_before(
    windowed: tuple[Path, list[torch.Tensor]], device: Any, seed: int, memory_tokens: int, cached: bool
) -> None:
    """A random life of many sequences: with the tree or without, in roomy memory or so little that all is evicted
    and scattered. Afterwards all room is back."""
    folder, wanted = windowed
    model = device.load(folder, kv_bytes=memory_tokens * 384, page_tokens=4)
    assert model.memory.total_pages * model.memory.page_tokens == memory_tokens
    prefixes = Prefixes(model.memory, enabled=cached)
    random = np.random.default_rng(seed)
    running: list[tuple[int, Room, int]] = []  # text, room, tokens computed
    for _ in range(25):
        if len(running) < 6:
            number = int(random.integers(len(TEXTS)))
            ids = TEXTS[number].astype(np.int32)
            room = prefixes.take(ids, "", len(ids))
            if room is not None:
                running.append((number, room, room.n_shared))
        assert running, "nothing runs, and yet there was no room"
        random.shuffle(running)
        some = running[: int(random.integers(1, len(running) + 1))]
        widths = [min(int(random.choice([1, 1, 1, 3, 9, 30])), len(TEXTS[n]) - done) for n, _, done in some]
        got = step(model, [(r.slot, d, TEXTS[n][d : d + w]) for (n, r, d), w in zip(some, widths, strict=True)])
        for logits, (number, _, done), width in zip(got, some, widths, strict=True):
            assert_same(logits, wanted[number][done : done + width])
        after = [(number, room, done + width) for (number, room, done), width in zip(some, widths, strict=True)]
        running = running[len(some) :]
        for number, room, done in after:
            ids = TEXTS[number].astype(np.int32)
            if done == len(ids):
                prefixes.leave(room, ids)
                continue
            if random.random() < 0.3:
                prefixes.publish(room, ids[:done])
            if done > room.n_shared + 3 and random.random() < 0.3:
                done -= 2
                model.memory.truncate(room.slot, done)
            running.append((number, room, done))
    for _, room, _ in running:
        prefixes.leave(room, NO_PAGES)
    model.memory.give_back(prefixes.tree.evict(memory_tokens))
    assert model.memory.free_pages == model.memory.total_pages


@pytest.mark.parametrize("family", ["qwen3", "qwen2"])
def test_a_sequence_has_the_same_logits_alone_and_among_strangers(family: str, tmp_path: Path) -> None:
    """Bit by bit, in float32: decoding and prefill read the same numbers in the same order."""
    assert can_fuse(save(CONFIGS[family](), tmp_path)) == (family == "qwen2")
    ids = text(0, 50)

    def run(n_strangers: int) -> torch.Tensor:
        model = load_model(tmp_path, kv_bytes=3_000_000)
        slots = [model.memory.open(NO_PAGES, 0, 60 + 9 * n) for n in range(n_strangers + 1)]
        logits = step(model, [(slot, 0, ids[:30]) for slot in slots if slot is not None])[0]
        collected = [logits]
        for at in range(30, 50):
            strangers = [(slot, at, text(at, 1)) for slot in slots[1:] if slot is not None]
            collected.append(step(model, [(slots[0] or 0, at, ids[at : at + 1]), *strangers])[0])
        return torch.cat(collected)

    assert torch.equal(run(0), run(11))


def test_bfloat16_is_near_float32(tmp_path: Path) -> None:
    save(transformers.LlamaConfig(**(SIZES | {"initializer_range": 0.1})), tmp_path)
    ids = text(0, 40)
    logits = []
    for dtype in ("float32", "bfloat16"):
        model = load_model(tmp_path, dtype=dtype, kv_bytes=1_000_000)
        slot = model.memory.open(NO_PAGES, 0, 40)
        assert slot is not None
        logits.append(torch.cat([step(model, [(slot, 0, ids[:30])])[0], step(model, [(slot, 30, ids[30:])])[0]]))
    error = (logits[0] - logits[1]).abs().max() / logits[0].abs().max()
    assert 0 < error < 0.05


def test_only_the_rows_asked_for_have_logits(device: Any, tmp_path: Path) -> None:
    save(CONFIGS["gemma2"](), tmp_path)
    model = device.load(tmp_path, kv_bytes=1_000_000)
    ids, slots = text(0, 12), [model.memory.open(NO_PAGES, 0, 12) for _ in range(2)]
    batch = ForwardBatch(
        token_ids=np.concatenate([ids, ids]),
        positions=np.tile(np.arange(12), 2),
        slots=np.array(slots, dtype=np.int32),
        starts=np.zeros(2, dtype=np.int32),
        lengths=np.full(2, 12, dtype=np.int32),
        logit_rows=np.array([23, 5]),
    )
    logits = model.forward(batch).cpu()
    assert logits.shape == (2, model.vocab_size)
    fresh = device.load(tmp_path, kv_bytes=1_000_000)
    slot = fresh.memory.open(NO_PAGES, 0, 12)
    assert slot is not None
    assert_same(logits, step(fresh, [(slot, 0, ids)])[0][[11, 5]])


def test_a_batch_that_does_not_fit_the_memory_is_refused_and_nothing_is_written(device: Any, tmp_path: Path) -> None:
    save(CONFIGS["qwen2"](), tmp_path)
    model = device.load(tmp_path, kv_bytes=1_000_000)
    slot = model.memory.open(NO_PAGES, 0, 16)
    assert slot is not None
    with pytest.raises(
        ValueError, match=f"slot {slot} has 0 tokens and room for 16; the batch brings 17 from token 0 on"
    ):
        step(model, [(slot, 0, text(0, 17))])
    with pytest.raises(ValueError, match="the batch brings 1 from token 3 on"):
        step(model, [(slot, 3, text(0, 1))])
    with pytest.raises(ValueError, match="twice"):
        step(model, [(slot, 0, text(0, 1)), (slot, 0, text(0, 1))])
    assert model.memory[slot].n_tokens == 0
