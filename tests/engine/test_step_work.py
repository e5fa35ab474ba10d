"""What a step of decoding does besides the model: nothing that grows with the texts."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import torch

import rootform.engine
from rootform.engine.geometry import LayerGeometry
from rootform.engine.limits import derive_limits
from rootform.engine.memory_cpu import CpuMemory
from rootform.engine.model import CpuModel
from rootform.engine.step import StepLoop
from rootform.engine.types import Request

VOCAB = 50
ENGINE = str(Path(rootform.engine.__file__).parent)
ROWS = 8
LAYER = LayerGeometry(query_heads=1, kv_heads=1, key_dim=2, value_dim=2)


def next_tokens(ids, positions, rows, attend, wanted=None):
    """A Decoder that reads no keys."""
    logits = torch.zeros(len(rows), VOCAB)
    logits[torch.arange(len(rows)), (ids[rows] + 1) % VOCAB] = 5.0
    return logits


def decoding(n_prompt: int, *, drafts: bool) -> StepLoop:
    """A loop in which sequences with prompts that long have been decoding for a while."""
    total = ROWS * (n_prompt + 2000)
    model = CpuModel(next_tokens, CpuMemory([LAYER], total, torch.float32), vocab_size=VOCAB, context_tokens=total)
    limits = derive_limits(context_tokens=total, page_tokens=1, total_pages=total, prefill_tokens=total)
    loop = StepLoop(model, [b"x"] * VOCAB, frozenset(), limits, drafts=drafts, clock=lambda: 0.0)
    shared = np.random.default_rng(0).integers(0, VOCAB, n_prompt - 10)
    for n in range(ROWS):
        prompt = (*shared.tolist(), *((n + 7 * m) % VOCAB for m in range(10)))
        loop.add(Request(request_id=n, prompt_ids=prompt, max_new_tokens=1500))
    while len(loop.places.running) < ROWS or not all(each.decoding for each in loop.places.running.values()):
        loop.step()
    for _ in range(12):
        loop.step()
    return loop


def calls_and_bytes(loop: StepLoop) -> tuple[int, int]:
    """Of one step: functions called by the engine's own code, and the most memory taken by Python and numpy."""
    n_calls = 0

    def count(frame, event, _argument):
        nonlocal n_calls
        n_calls += event in ("call", "c_call") and frame.f_code.co_filename.startswith(ENGINE)

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    sys.setprofile(count)
    try:
        loop.step()
    finally:
        sys.setprofile(None)
        most = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
    return n_calls, most


def median(n_prompt: int, *, drafts: bool) -> list[float]:
    loop = decoding(n_prompt, drafts=drafts)
    return np.median([calls_and_bytes(loop) for _ in range(9)], axis=0).tolist()


def test_a_step_takes_no_more_calls_and_no_more_memory_for_longer_texts():
    (short_calls, short_bytes), (calls, most) = median(400, drafts=False), median(40_000, drafts=False)
    assert 0 < calls <= 1.1 * short_calls
    assert 0 < most <= 1.5 * short_bytes + 2048
    assert most < 40_000  # a byte for each token of one of the texts


def test_nor_do_drafts_look_through_longer_prompts():
    """In either prompt a token stands more often than they look at. (Who reads what together is found again for drafts
    of other lengths, which takes memory for the shared tokens.)"""
    assert 0 < median(40_000, drafts=True)[0] <= 1.5 * median(4000, drafts=True)[0]
