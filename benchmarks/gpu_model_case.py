"""A whole model over paged memory, every kernel of the path in it, against the same model on the kernels' twins.

Apart from gpu_cases.py because it needs what the engine's models need (transformers, msgspec), the kernels do not.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch

from rootform.engine import paged_llama, paged_step
from rootform.engine.geometry import LayerGeometry
from rootform.engine.kernels import extend_attention as extend
from rootform.engine.kernels import layers, tree_attention, write_kv
from rootform.engine.memory_paged import PagedMemory
from rootform.engine.model_paged import PagedModel
from rootform.engine.paged_llama import PagedLlama
from rootform.engine.ports import ForwardBatch

from .gpu_twins import BFLOAT, assert_close


@dataclass(frozen=True)
class Model:
    """Steps of a model over paged memory: prompts, decodes that share a prefix, a draft, in graphs and without.

    All kernels of the path run, on the device or interpreted, against the same model on their twins.
    """

    page_tokens: int = 8
    dtype: torch.dtype = torch.float32

    def run(self, device: str) -> None:
        wanted, _ = self.logits("cpu", with_kernels=False, graph=False)
        for graph in (False, True):
            got, replayed = self.logits(device, with_kernels=True, graph=graph)
            assert (replayed > 0) == graph
            for ours, theirs in zip(got, wanted, strict=True):
                assert_close(ours, theirs.to(ours.dtype), self.dtype)

    def logits(self, device: str, *, with_kernels: bool, graph: bool) -> tuple[list[torch.Tensor], int]:
        """Of every token of every step, and how many steps ran in a graph."""
        layer = LayerGeometry(query_heads=4, kv_heads=2, key_dim=16, value_dim=16)
        memory = PagedMemory([layer, layer], 40, self.page_tokens, self.dtype, device)
        decoder = PagedLlama(tiny_llama(self.dtype, device), 200)
        model = PagedModel(decoder, memory, vocab_size=50, context_tokens=200)
        chosen = {
            (paged_step, "tree_attention"): tree_attention.tree_attention_triton,
            (paged_step, "extend_attention"): extend.extend_attention_triton,
            (paged_step, "write_kv"): write_kv.write_kv_triton,
            (paged_llama, "rms_norm"): layers.rms_norm_triton,
            (paged_llama, "swiglu"): layers.swiglu_triton,
        }
        out: list[torch.Tensor] = []
        with ExitStack() as stack:
            for (module, name), kernel in chosen.items() if with_kernels else ():
                stack.enter_context(mock.patch.object(module, name, kernel))
            if graph:
                model.capture([2, 8], 1 << 30)
            self.walk(model, out)
        return out, model.graphs.replayed if model.graphs else 0

    def walk(self, model: PagedModel, out: list[torch.Tensor]) -> None:
        random = np.random.default_rng(0)
        memory, size = model.memory, self.page_tokens

        def step(*parts: tuple[int, int]) -> None:
            """(slot, new tokens) of each sequence."""
            starts = np.array([memory[slot].n_tokens for slot, _ in parts])
            lengths = np.array([n for _, n in parts])
            total = int(lengths.sum())
            positions = np.concatenate([np.arange(a, a + n) for a, n in zip(starts, lengths, strict=True)])
            batch = ForwardBatch(
                token_ids=random.integers(0, 50, total),
                positions=positions,
                slots=np.array([slot for slot, _ in parts], dtype=np.int32),
                starts=starts.astype(np.int32),
                lengths=lengths.astype(np.int32),
                logit_rows=np.arange(total),
            )
            out.append(model.forward(batch).clone())

        first = memory.open(np.empty(0, np.int32), 0, 96)
        assert first is not None
        step((first, 70))
        shared = memory.share(first, 0, 64)
        assert shared is not None
        slots = [memory.open(shared, 64, 64 + 2 * size) for _ in range(3)]
        others = [slot for slot in slots if slot is not None]
        step((first, 1), *((slot, 1) for slot in others))
        step((others[0], 3), (others[1], 1), (first, 18))
        step((first, 1), (others[2], 1))


def tiny_llama(dtype: torch.dtype, device: str) -> Any:
    """What PagedLlama reads of a model, two layers of it, without transformers."""
    torch.manual_seed(0)

    def linear(n: int, m: int) -> torch.nn.Linear:
        return torch.nn.Linear(n, m, bias=False).to(dtype).to(device)

    def norm() -> SimpleNamespace:
        weight = (torch.rand(32) + 0.5).to(dtype).to(device)
        return SimpleNamespace(weight=weight, variance_epsilon=1e-5)

    def layer() -> SimpleNamespace:
        heads = {"q_proj": linear(32, 64), "k_proj": linear(32, 32), "v_proj": linear(32, 32), "o_proj": linear(64, 32)}
        mlp = SimpleNamespace(gate_proj=linear(32, 48), up_proj=linear(32, 48), down_proj=linear(48, 32))
        attention = SimpleNamespace(head_dim=16, scaling=0.25, **heads)
        return SimpleNamespace(self_attn=attention, mlp=mlp, input_layernorm=norm(), post_attention_layernorm=norm())

    def rotary(x: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angles = at[..., None] * 100 ** (-torch.arange(8, device=x.device) / 8)
        both = torch.cat([angles, angles], -1)
        return both.cos(), both.sin()

    embedding = SimpleNamespace(weight=torch.randn(50, 32).to(dtype).to(device))
    inner = SimpleNamespace(embed_tokens=embedding, rotary_emb=rotary, layers=[layer(), layer()], norm=norm())
    return SimpleNamespace(model=inner, lm_head=linear(32, 50))


CASES: dict[str, Any] = {"model": Model(), "model, pages of 16": Model(page_tokens=16)}
ON_A_CARD: dict[str, Any] = CASES | {"model, bfloat": Model(dtype=BFLOAT)}
