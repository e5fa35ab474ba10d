"""What a step of decoding does besides the model: nothing that grows with the texts."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

import rootform.engine
from rootform.engine.geometry import LayerGeometry
from rootform.engine.grammars import Grammars
from rootform.engine.limits import derive_limits
from rootform.engine.memory_cpu import CpuMemory
from rootform.engine.model import CpuModel
from rootform.engine.ports import Few
from rootform.engine.step import StepLoop
from rootform.engine.types import Request, Sampling
from rootform.grammar.constraints import Regex
from rootform.grammar.generation_batch import GenerationBatch
from rootform.grammar.generations import Generations
from rootform.grammar.vocab import Vocabulary

VOCAB = 50
ENGINE = str(Path(rootform.engine.__file__).parent)
ROWS = 8
LAYER = LayerGeometry(query_heads=1, kv_heads=1, key_dim=2, value_dim=2)


def next_tokens(vocab):
    """A Decoder that reads no keys."""

    def decode(ids, positions, rows, attend, wanted=None):
        logits = torch.zeros(len(rows), vocab)
        logits[torch.arange(len(rows)), (ids[rows] + 1) % vocab] = 5.0
        return logits

    return decode


def decoding(
    n_prompt: int, *, drafts: bool, vocab: int = VOCAB, pattern: str | None = None, temperature: float = 0.0
) -> StepLoop:
    """A loop in which sequences with prompts that long have been decoding for a while. pattern: what they may say."""
    total = ROWS * (n_prompt + 2000)
    memory = CpuMemory([LAYER], total, torch.float32)
    model = CpuModel(next_tokens(vocab), memory, vocab_size=vocab, context_tokens=total)
    limits = derive_limits(context_tokens=total, page_tokens=1, total_pages=total, prefill_tokens=total)
    tokens = [bytes([n]) for n in range(vocab)]
    generations = Generations(Vocabulary(tokens, [0], vocab))
    grammars = None if pattern is None else Grammars(GenerationBatch(generations))
    loop = StepLoop(model, tokens, frozenset(), limits, drafts=drafts, grammars=grammars, clock=lambda: 0.0)
    shared = np.random.default_rng(0).integers(0, vocab, n_prompt - 10)
    for n in range(ROWS):
        prompt = (*shared.tolist(), *((n + 7 * m) % vocab for m in range(10)))
        sampling = Sampling(temperature=temperature, seed=n)
        request = Request(request_id=n, prompt_ids=prompt, max_new_tokens=1500, sampling=sampling)
        loop.add(request, None if pattern is None else generations.compile(Regex(pattern)))
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


class Watch:
    """Functions that make arrays and tensors, watched: arguments that are no arrays, with as many elements as there
    are sequences, or with a number of them that is not known."""

    MAKERS = ((np, ("array", "asarray", "fromiter", "concatenate", "stack")), (torch, ("tensor", "as_tensor", "stack")))

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        for module, names in self.MAKERS:
            for name in names:
                patch.setattr(module, name, self._watched(name, getattr(module, name)))

    def _watched(self, name, made):
        def make(of, *arguments, **options):
            caller = sys._getframe(1).f_code
            is_array = isinstance(of, np.ndarray | torch.Tensor)
            if (
                caller.co_filename.startswith(ENGINE)
                and not is_array
                and (not hasattr(of, "__len__") or len(of) >= ROWS)
            ):
                self.seen.append(f"{name} in {caller.co_qualname}")
            return made(of, *arguments, **options)

        return make


@pytest.mark.parametrize("pattern", [None, "[A-Z]{1400}", "[ -~\\n]{1400}"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_step_makes_no_array_of_what_each_sequence_has(monkeypatch, pattern, temperature):
    """What each has stands in arrays before; whatever the masks, and however tokens are chosen."""
    loop = decoding(40, drafts=False, vocab=128, pattern=pattern, temperature=temperature)
    with monkeypatch.context() as patch:
        watch = Watch(patch)
        for _ in range(5):
            loop.step()
        assert watch.seen == []
        Few.of([None] * ROWS)
        assert watch.seen == ["array in Few.of"]  # so it would have been seen
    assert len(loop.places.running) == ROWS


def test_batches_are_made_in_the_memory_of_the_ones_before(monkeypatch):
    loop, batches = decoding(40, drafts=False), []
    forward = loop.model.forward
    monkeypatch.setattr(loop.model, "forward", lambda batch: (batches.append(batch), forward(batch))[1])
    for _ in range(2):
        loop.step()
    first, second = batches
    for name in ("token_ids", "positions", "slots", "starts", "lengths", "logit_rows"):
        assert np.shares_memory(getattr(first, name), getattr(second, name)), name
