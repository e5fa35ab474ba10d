"""What arithmetic alone would cost on this machine: the products of a model, and one decoding step of the engine.

All figures are processor time, by the clock of the process, the best of several rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from rootform.engine.linears import Int8Linear
from rootform.engine.model import CpuModel, load_model
from rootform.engine.ports import ForwardBatch

from .serving_workload import Shape

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.bfloat16}
"""Of what goes into products with weights, and of those of attention."""
NAMES = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}
"""Ours for the formats."""
_RATE_ROWS = 512
OWN_TOKENS = 150


class Step(NamedTuple):
    """A decoding step. context: tokens of each sequence, all but `OWN_TOKENS` of them in a shared prefix. ms: CPU."""

    context: int
    batch: int
    ms: float


def best_cpu_s(run: Callable[[], object], rounds: int, seconds: float = 1.0) -> float:
    """The least processor time of one run, of so many, after one that is not counted; stops after so many seconds."""
    run()
    times, started = [], time.process_time()
    while len(times) < rounds and (not times or time.process_time() - started < seconds):
        before = time.process_time()
        run()
        times.append(time.process_time() - before)
    return min(times)


class Products:
    """A model's matrix products and nothing else, each layer with weights of its own, packed as is fastest."""

    def __init__(self, shape: Shape, dtype: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._shape, self._dtype = shape, dtype
        self._layers = [[self._packed(n, m) for n, m in shape.linears] for _ in range(shape.layers)]
        self._head = self._packed(shape.hidden, shape.vocab)

    def gflops(self) -> float:
        """Thousand million operations a processor second in products of many rows."""
        run = self._chain(_RATE_ROWS, head=False)
        return _RATE_ROWS * self._shape.layer_flops / best_cpu_s(run, 5) / 1e9

    def step_ms(self, batch: int) -> float:
        """Of one decoding step of so many rows, the whole output layer too."""
        return 1e3 * best_cpu_s(self._chain(batch, head=True), 20)

    def attention_ms(self, batch: int, context: int) -> float:
        """Of the two products of attention in one decoding step, with keys and values as they stand in memory: with the
        shared prefix all rows together, with what is each one's for itself."""
        shape, dtype = self._shape, DTYPES[self._dtype]
        n_shared, groups = context - OWN_TOKENS, shape.heads // shape.kv_heads
        shared = torch.randn(shape.kv_heads, n_shared, shape.head_dim).to(dtype)
        own = torch.randn(shape.kv_heads, batch, OWN_TOKENS, shape.head_dim).to(dtype)
        rows = torch.randn(batch * groups, shape.head_dim).to(dtype)
        each = rows.view(batch, groups, shape.head_dim)
        weights = torch.randn(batch * groups, n_shared).to(dtype)
        own_weights = torch.randn(batch, groups, OWN_TOKENS).to(dtype)

        def run() -> None:
            with torch.inference_mode():
                for head in range(shape.kv_heads):
                    torch.mm(rows, shared[head].t(), out=weights)
                    torch.mm(weights, shared[head])
                    torch.bmm(each, own[head].transpose(1, 2), out=own_weights)
                    torch.bmm(own_weights, own[head])

        return 1e3 * shape.layers * best_cpu_s(run, 20)

    def _packed(self, n: int, m: int) -> Callable[[torch.Tensor], torch.Tensor]:
        weight = torch.randn(m, n) / n**0.5
        if self._dtype == "int8":
            linear = torch.nn.Linear(n, m, bias=False, dtype=torch.bfloat16)
            linear.weight = torch.nn.Parameter(weight.bfloat16(), requires_grad=False)
            return Int8Linear(linear)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.to(DTYPES[self._dtype]), None)
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")

    def _chain(self, rows: int, *, head: bool) -> Callable[[], None]:
        dtype = DTYPES[self._dtype]
        inputs = {n: torch.randn(rows, n).to(dtype) for n, _ in self._shape.linears}

        def run() -> None:
            with torch.inference_mode():
                for layer in self._layers:
                    for (n, _), product in zip(self._shape.linears, layer, strict=True):
                        product(inputs[n])
                if head:
                    self._head(inputs[self._shape.hidden])

        return run


class Stepper:
    """The engine's model and memory, without its loop: what one forward pass of decoding rows costs."""

    def __init__(self, folder: Path, dtype: str, threads: int, most_tokens: int) -> None:
        """most_tokens: of KV, over all sequences of a step and the prefix they share."""
        torch.set_num_threads(threads)
        full = NAMES[dtype]
        one = load_model(folder, dtype=full, kv_bytes=1 << 22)
        row_bytes = one.memory.copy_out(np.zeros(1, dtype=np.int32)).nbytes
        del one  # two at once would be too much
        self._model: CpuModel = load_model(folder, dtype=full, kv_bytes=most_tokens * row_bytes)
        for pool in (*self._model.memory.keys, *self._model.memory.values):
            pool.normal_()

    def step(self, context: int, batch: int) -> Step:
        """Decode one token of `batch` sequences a few times, from `context` tokens on."""
        memory, rounds = self._model.memory, 8
        n_shared = context - OWN_TOKENS
        first = memory.open(np.empty(0, dtype=np.int32), 0, n_shared)
        assert first is not None
        memory.wrote(np.array([first]), np.array([n_shared]))
        pages = memory.share(first, 0, n_shared)
        assert pages is not None
        memory.close(first)
        opened = [memory.open(pages, n_shared, context + rounds + 2) for _ in range(batch)]
        slots = np.array([slot for slot in opened if slot is not None], dtype=np.int32)
        assert len(slots) == batch
        memory.wrote(slots, np.full(batch, OWN_TOKENS))
        length = context
        ids = np.arange(batch, dtype=np.int64) % self._model.vocab_size

        def run() -> None:
            nonlocal length
            self._model.forward(
                ForwardBatch(
                    token_ids=ids,
                    positions=np.full(batch, length),
                    slots=slots,
                    starts=np.full(batch, length, dtype=np.int32),
                    lengths=np.ones(batch, dtype=np.int32),
                    logit_rows=np.arange(batch),
                )
            )
            length += 1

        ms = 1e3 * best_cpu_s(run, rounds, seconds=3.0)
        for slot in slots.tolist():
            memory.close(slot)
        memory.give_back(pages)
        return Step(context, batch, ms)


def needed_tokens(contexts: list[int], batches: list[int]) -> int:
    """KV that the largest step of `Stepper` needs: the prefix twice, while it is shared, or with what is each one's."""
    return 2 * max(contexts) + (OWN_TOKENS + 300) * max(batches) + 1024
