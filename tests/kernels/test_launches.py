"""What a card would be asked to launch: every launch of a step fits its kernel, and few kernels serve all steps.

Triton compiles a kernel anew for arguments of another kind: pointers that are not at multiples of 16 bytes, numbers
that are 1 or multiples of 16. A step that met such arguments for the first time would wait seconds for the compiler.
Here launches are bound and told apart as Triton does it for sm_90, and nothing runs.
"""

from __future__ import annotations

from collections import defaultdict
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

from rootform.benchmarks.gpu_model_case import tiny_llama
from rootform.engine import lanes, paged_llama, paged_step
from rootform.engine.geometry import LayerGeometry
from rootform.engine.kernels import extend_attention as extend
from rootform.engine.kernels import grammar, layers, sampling, tree_attention, write_kv
from rootform.engine.lanes import Asked, Lanes, Way
from rootform.engine.memory_paged import PagedMemory
from rootform.engine.model_paged import PagedModel
from rootform.engine.paged_llama import PagedLlama
from rootform.engine.ports import ForwardBatch
from rootform.engine.tables_there import TablesThere
from rootform.grammar.automaton import Automaton
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.vocab import Vocabulary

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")

MOST_GRID = (2**31 - 1, 65535, 65535)  # of CUDA


class Launches:
    """{kernel: the kinds of launches there were}, each as Triton tells them apart, with what it would compile."""

    def __init__(self) -> None:
        from triton.backends.compiler import GPUTarget
        from triton.backends.nvidia.compiler import CUDABackend

        self.target = GPUTarget("cuda", 90, 32)
        self.backend = CUDABackend(self.target)
        self.kinds: dict[str, dict[str, tuple[Any, ...]]] = defaultdict(dict)
        self._binders: dict[str, Any] = {}

    def run(self, kernel: Any, *arguments: Any, grid: tuple[int, ...], warmup: bool, **options: Any) -> None:
        from triton.runtime.jit import create_function_from_signature

        name = kernel.fn.__name__
        assert all(1 <= size <= most for size, most in zip(grid, MOST_GRID, strict=False)), (name, grid)
        if name not in self._binders:
            made = create_function_from_signature(kernel.signature, kernel.params, self.backend)
            self._binders[name] = made
        bound, kinds, rest = self._binders[name](*arguments, **options)
        self.kinds[name][f"{kinds} {rest}"] = kernel, bound, kinds, options


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    from triton.runtime.jit import JITFunction

    made = Launches()
    monkeypatch.setattr(
        JITFunction, "run", lambda kernel, *arguments, **options: made.run(kernel, *arguments, **options)
    )
    kernels = {
        (paged_step, "tree_attention"): tree_attention.tree_attention_triton,
        (paged_step, "extend_attention"): extend.extend_attention_triton,
        (paged_step, "write_kv"): write_kv.write_kv_triton,
        (paged_llama, "rms_norm"): layers.rms_norm_triton,
        (paged_llama, "swiglu"): layers.swiglu_triton,
        (lanes, "sample"): sampling.sample_triton,
        (lanes, "advance"): grammar.advance_triton,
    }
    for (module, name), kernel in kernels.items():
        monkeypatch.setattr(module, name, kernel)
    return made


def steps(random: np.random.Generator, n_steps: int, *, graph: bool = False) -> None:
    """Steps of a small model: prompts of all lengths, decodes and drafts of sequences that share prefixes or do not."""
    layer = LayerGeometry(query_heads=4, kv_heads=2, key_dim=16, value_dim=16)
    memory = PagedMemory([layer, layer], 400, 4, torch.float32, "cpu")
    model = PagedModel(PagedLlama(tiny_llama(torch.float32, "cpu"), 600), memory, vocab_size=50, context_tokens=600)
    if graph:
        model.capture([2, 8, 24], 1 << 30)
    slots: list[int] = []
    pages = np.empty(0, np.int32)
    for _ in range(n_steps):
        if len(slots) < 24 and random.random() < 0.6:
            opened = memory.open(pages, len(pages) * 4, len(pages) * 4 + int(random.integers(8, 50)))
            slots += [] if opened is None else [opened]
        some = [slot for slot in slots if random.random() < 0.7]
        rooms = [len(memory[slot].pages) * 4 - memory[slot].n_tokens for slot in some]
        lengths = [min(room, int(random.choice([1, 1, 1, 3, 17, 30]))) for room in rooms]
        parts = [(slot, length) for slot, length in zip(some, lengths, strict=True) if length]
        if not parts:
            continue
        starts = np.array([memory[slot].n_tokens for slot, _ in parts])
        counts = np.array([n for _, n in parts])
        positions = np.concatenate([np.arange(a, a + n) for a, n in zip(starts, counts, strict=True)])
        batch = ForwardBatch(
            token_ids=np.ones(len(positions), dtype=np.int64),
            positions=positions,
            slots=np.array([slot for slot, _ in parts], dtype=np.int32),
            starts=starts.astype(np.int32),
            lengths=counts.astype(np.int32),
            logit_rows=np.sort(random.permutation(len(positions))[: max(1, len(positions) // 2)]),
        )
        model.forward(batch)
        first = parts[0][0]
        if not len(pages) and memory[first].n_tokens >= 12:
            shared = memory.share(first, 0, 12)
            assert shared is not None
            pages = shared


def passes(random: np.random.Generator, n_passes: int) -> None:
    """Choices of tokens and advances of grammars, of any number of sequences."""
    automaton = Automaton(Vocabulary([bytes([i]) for i in range(256)], [256], 257), use_compiled=False)
    automaton.compile(JsonSchema('{"type": "array", "items": {"type": "string"}}'))
    there = TablesThere(automaton, torch.device("cpu"))
    made = Lanes(torch.zeros(64, dtype=torch.int32))
    for number in range(n_passes):
        n = number + 1
        ints, doubles = np.zeros(n, dtype=np.int32), np.zeros(n)
        way = Way(ints, ints, doubles, doubles, doubles)
        places = np.zeros((n, 3), dtype=np.int32)
        asked = Asked(np.arange(n, dtype=np.int32), way, ints, places, ints, doubles)
        made.take_on(torch.zeros(n, 257), asked, there)


def test_few_kernels_serve_all_steps(launches: Launches) -> None:
    random = np.random.default_rng(0)
    with torch.inference_mode():
        steps(random, 60)
        passes(random, 40)
    kinds = {name: len(found) for name, found in launches.kinds.items()}
    assert kinds == {
        "unit_kernel": 2,  # wide units and narrow ones
        "merge_kernel": 1,
        "extend_kernel": 1,
        "write_kernel": 1,
        "norm_kernel": 2,  # with a residual, and without
        "swiglu_kernel": 1,
        "sample_kernel": 1,
        "advance_kernel": 1,
    }
    with torch.inference_mode():
        steps(random, 20, graph=True)
    assert kinds == {name: len(found) for name, found in launches.kinds.items()}  # of graphs too


@pytest.mark.slow
def test_what_is_launched_compiles(launches: Launches) -> None:
    """With the arguments that a model's steps come to, not with those that gpu_compile.py thinks they have."""
    import triton
    from triton.compiler import ASTSource

    random = np.random.default_rng(1)
    with torch.inference_mode():
        steps(random, 30)
        passes(random, 5)
    for found in launches.kinds.values():
        for kernel, bound, kinds, given in found.values():
            options, signature, constants, attributes = kernel._pack_args(launches.backend, given, bound, kinds, "")
            source = ASTSource(kernel, signature, constants, attributes)
            made = triton.compile(source, target=launches.target, options=options.__dict__)
            assert made.asm["cubin"].startswith(b"\x7fELF")
