"""The host does not wait for the device, here a stand-in that takes its time; and no pass reads anything back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rootform.benchmarks.gpu_model_case import tiny_llama
from rootform.engine import lanes, paged_step
from rootform.engine.arrivals import Arrival, Sent
from rootform.engine.geometry import LayerGeometry
from rootform.engine.grammars import Grammars
from rootform.engine.lanes import Asked, Lanes, Way
from rootform.engine.memory_paged import PagedMemory
from rootform.engine.model_paged import PagedModel
from rootform.engine.paged_llama import PagedLlama
from rootform.engine.ports import ForwardBatch
from rootform.engine.tables_there import TablesThere
from rootform.grammar.constraints import Regex
from rootform.grammar.generation_batch import GenerationBatch
from rootform.grammar.generations import Generations
from rootform.grammar.vocab import Vocabulary
from tests.engine.overlap.conftest import DRAWN, EOS, TOKEN_BYTES, VOCAB, Run, alone, automaton_of


class Held:
    """A copy that is there when the test says so, or when it was waited for; until then there is rubbish in it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self.done = False
        self.waited = False

    def is_there(self) -> bool:
        return self.done

    def wait(self) -> None:
        self.waited = self.done = True

    def array(self) -> np.ndarray:
        array = self._tensor.cpu().numpy()
        return array if self.done else np.full_like(array, -7)


def test_the_host_never_waits_in_a_steady_stretch(model: PagedModel) -> None:
    sent: list[Held] = []

    def send(tensor: torch.Tensor) -> Arrival:
        sent.append(Held(tensor))
        return sent[-1]

    run = Run(model, send=send)
    keys = [run.add([n, 5], max_new_tokens=50, ignore_eos=True) for n in range(4)]
    run.step()
    for _ in range(40):
        n_queued = len(sent)
        sent[-1].done = True  # the device is through with the pass in flight while the host makes the next
        run.step()
        assert len(sent) == n_queued + 1
    counts = run.loop.counts
    assert (counts.device_waits, counts.device_stalls) == (0, 0)
    assert (counts.overlapped_passes, counts.lockstep_passes, counts.void_rows) == (41, 0, 0)
    run.step()  # the device is late: the host waits, but not the device, which has the next pass
    assert (counts.device_waits, counts.device_stalls) == (1, 0)
    assert [each.waited for each in sent[-2:]] == [True, False]
    run.finish()
    assert counts.device_stalls == 1  # the last pass of all, behind which there is nothing
    assert counts.void_rows == 0  # all end where the host knew they would
    assert [run.ids[key] for key in keys] == [
        alone(model, [n, 5], max_new_tokens=50, ignore_eos=True)[1] for n in range(4)
    ]


def test_the_host_never_waits_with_logprobs_draws_and_grammars_that_miss(model: PagedModel) -> None:
    """Each pass is queued before the one before it was settled; rows that miss sit one out, the device never."""
    sent: list[Held] = []

    def send(tensor: torch.Tensor) -> Arrival:
        sent.append(Held(tensor))
        return sent[-1]

    generations = Generations(Vocabulary(TOKEN_BYTES, tuple(EOS), VOCAB))
    run = Run(model, send=send, grammars=Grammars(GenerationBatch(generations)))
    root = generations.compile(Regex("[a-zA-Z0-9]{40}"))
    run.add([1, 5], max_new_tokens=50, ignore_eos=True, top_logprobs=0)
    run.add([2, 5], max_new_tokens=90, root=root, sampling=DRAWN, top_logprobs=0)
    run.add([3, 5], max_new_tokens=90, root=root)
    run.step()
    for _ in range(25):
        n_queued = len(sent)
        sent[-1].done = True
        run.step()
        assert len(sent) == n_queued + 1
    counts = run.loop.counts
    assert counts.grammar_misses > 0
    assert counts.void_rows > 0
    assert (counts.device_waits, counts.device_stalls, counts.lockstep_passes) == (0, 0, 0)
    run.finish()


def test_the_chain_of_a_pass_reads_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """On torch's meta device a tensor has no contents: whoever asks for them fails."""

    def sample(logits: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return logits.new_empty(len(logits), dtype=torch.int32), logits.new_empty(len(logits))

    def moved(places: torch.Tensor, slots: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.empty_like(slots), torch.empty_like(slots)

    monkeypatch.setattr(lanes, "sample", sample)
    monkeypatch.setattr(lanes, "advance", moved)
    there = TablesThere(automaton_of({"type": "string"})[0], torch.device("meta"))
    there.bring_up()
    n, ints = 3, np.zeros(3, dtype=np.int32)
    way = Way(ints, ints, *[np.zeros(n)] * 3)
    places = np.zeros((n, 3), dtype=np.int32)
    asked = Asked(np.arange(n, dtype=np.int32), way, ints, places, ints, np.zeros(n))
    logits = torch.empty((n, 7), device="meta")
    results = Lanes(torch.zeros(8, dtype=torch.int32, device="meta")).take_on(logits, asked, there)
    assert results.shape == (4, n)
    with pytest.raises((RuntimeError, NotImplementedError)):
        results.tolist()


def test_a_forward_pass_reads_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the step's arrays to its logits, with prompts and without, on torch's meta device."""

    def nowhere(*_: Any) -> None:
        return None

    def attended(q: torch.Tensor, k_pages: torch.Tensor, v_pages: torch.Tensor, *_: Any) -> tuple[torch.Tensor, None]:
        return q.new_empty(*q.shape[:2], v_pages.shape[3]), None

    for name, stand_in in (("write_kv", nowhere), ("tree_attention", attended), ("extend_attention", attended)):
        monkeypatch.setattr(paged_step, name, stand_in)
    layer = LayerGeometry(query_heads=4, kv_heads=2, key_dim=16, value_dim=16)
    memory = PagedMemory([layer, layer], 40, 4, torch.float32, "meta")
    made = PagedModel(PagedLlama(tiny_llama(torch.float32, "meta"), 200), memory, vocab_size=50, context_tokens=200)
    slots = np.array([memory.open(np.empty(0, np.int32), 0, 60) for _ in range(2)], dtype=np.int32)
    for lengths in (np.array([40, 3]), np.array([1, 1])):  # a prompt beside a draft; a step of decoding
        starts = np.array([memory[int(slot)].n_tokens for slot in slots])
        n = int(lengths.sum())
        batch = ForwardBatch(
            token_ids=np.zeros(n, dtype=np.int64),
            positions=np.concatenate([np.arange(a, a + more) for a, more in zip(starts, lengths, strict=True)]),
            slots=slots,
            starts=starts.astype(np.int32),
            lengths=lengths.astype(np.int32),
            logit_rows=np.cumsum(lengths) - 1,
        )
        logits = made.forward(batch, np.zeros(n, dtype=np.int32))
        assert (logits.shape, logits.device.type) == ((2, 50), "meta")


def test_what_was_sent_is_there_at_once_on_the_cpu() -> None:
    arrival = Sent(torch.arange(3))
    assert arrival.is_there()
    arrival.wait()
    assert arrival.array().tolist() == [0, 1, 2]
