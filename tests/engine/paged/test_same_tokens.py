"""The same tokens over paged memory as over the CPU's: by the kernels' twins, and on a card where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rootform.engine.api import Engine
from rootform.engine.model import load_model
from rootform.engine.model_paged import load_paged_model
from rootform.engine.overlap import OverlappedLoop
from rootform.engine.tokenizer import Tokenizer
from rootform.engine.types import Sampling
from tests.engine.paged.conftest import outputs


@pytest.mark.parametrize(("page_tokens", "prefix_cache"), [(8, True), (16, False)])
def test_the_same_tokens_as_from_the_cpus_memory(
    family: Path, page_tokens: int, prefix_cache: bool, twins_or_card: str
) -> None:
    model = load_paged_model(
        family, dtype="float32", kv_bytes=2_000_000, device=twins_or_card, batch_rows=16, page_tokens=page_tokens
    )
    read_together = []
    planned = model._planner.plan

    def plan(batch, sources=None, room=None):  # type: ignore[no-untyped-def]
        host = planned(batch, sources, room)
        read_together.append(host.composition is not None and len(host.composition.prefixes) > 0)
        return host

    model._planner.plan = plan
    got, loop = outputs(model, prefix_cache=prefix_cache)
    wanted, _ = outputs(load_model(family, kv_bytes=2_000_000), prefix_cache=prefix_cache)
    assert got == wanted
    assert all(len(each) == 10 for each in got)
    assert any(read_together) == prefix_cache
    assert loop.counts.drafted_tokens > 0
    loop.prefixes.forget_all()
    assert model.memory.free_pages == model.memory.total_pages


def test_the_same_tokens_when_memory_is_short(folder: Path, twins_or_card: str) -> None:
    """Sequences make room for each other and come back, cached pages are evicted."""
    size = load_paged_model(
        folder, dtype="float32", kv_bytes=500_000, device=twins_or_card, batch_rows=16
    ).memory.page_bytes
    model = load_paged_model(folder, dtype="float32", kv_bytes=14 * size, device=twins_or_card, batch_rows=16)
    assert model.memory.total_pages == 14
    wanted, _ = outputs(load_model(folder, kv_bytes=2_000_000))
    assert outputs(model)[0] == wanted


def test_the_same_tokens_from_passes_that_overlap(family: Path, twins_or_card: str) -> None:
    model = load_paged_model(
        family, dtype="float32", kv_bytes=2_000_000, device=twins_or_card, batch_rows=16, page_tokens=8
    )
    wanted, _ = outputs(load_model(family, kv_bytes=2_000_000))
    got, loop = outputs(model, kind=OverlappedLoop, drafts=False)
    assert got == wanted
    assert loop.counts.overlapped_passes == loop.counts.forward_passes


def test_pages_of_one_token(folder: Path, twins_or_card: str) -> None:
    model = load_paged_model(
        folder, dtype="float32", kv_bytes=2_000_000, device=twins_or_card, batch_rows=16, page_tokens=1
    )
    assert outputs(model)[0] == outputs(load_model(folder, kv_bytes=2_000_000))[0]


def test_drawn_tokens_are_those_of_the_cpu(folder: Path, twins_or_card: str) -> None:
    sampling = Sampling(temperature=1.0, top_p=0.9, seed=3)
    model = load_paged_model(folder, dtype="float32", kv_bytes=2_000_000, device=twins_or_card, batch_rows=16)
    wanted, _ = outputs(load_model(folder, kv_bytes=2_000_000), sampling=sampling)
    assert outputs(model, sampling=sampling)[0] == wanted


def test_constrained_output_through_the_engine(tiny_model: Path, twins_or_card: str) -> None:
    """The engine whole: chat template, grammar, forced text, drafts, prefix cache, streaming."""
    schema = (
        '{"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["in", "en"]}}, "required": ["b"]}'
    )
    prompts = [f"{'shared text of all of them ' * 5}{n}" for n in range(5)]
    with Engine(tiny_model, kv_bytes=2**22, threads=1) as engine:
        wanted = [each.text for each in engine.generate(prompts, schema=schema, max_tokens=40)]
    paged = load_paged_model(
        tiny_model, dtype="float32", kv_bytes=2**22, device=twins_or_card, batch_rows=16, page_tokens=8
    )
    with Engine.from_parts(paged, Tokenizer.load(tiny_model)) as engine:
        for _ in range(2):
            completions = engine.generate(prompts, schema=schema, max_tokens=40)
            assert [each.text for each in completions] == wanted
        assert engine.stats().cached_tokens > 0


# -- where there is a GPU -------------------------------------------------------------------------------------


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_tokens_on_a_gpu(family: Path) -> None:
    model = load_paged_model(family, dtype="float32", kv_bytes=2_000_000, device="cuda", batch_rows=16)
    wanted, _ = outputs(load_model(family, kv_bytes=2_000_000))
    assert outputs(model)[0] == wanted
    assert outputs(model, kind=OverlappedLoop, drafts=False)[0] == wanted
    assert model.graphs is None or model.graphs.replayed > 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_passes_overlap_on_a_gpu_and_say_the_same(tiny_model: Path) -> None:
    """Grammars, draws, the close-out rule; and the device seldom has nothing to go on with."""
    schema = '{"type": "object", "properties": {"a": {"type": "string", "maxLength": 20}, "b": {"enum": ["in", "en"]}}}'
    paged = load_paged_model(tiny_model, dtype="float32", kv_bytes=2**22, device="cuda", batch_rows=16)
    tokenizer = Tokenizer.load(tiny_model)
    said = []
    for overlap in (False, True):
        with Engine.from_parts(paged, tokenizer, drafts=False, overlap=overlap) as engine:
            prompts = [f"document {n}" for n in range(12)]
            ways = {"schema": schema, "max_tokens": 40}, {"max_tokens": 60}, {"max_tokens": 30, "temperature": 1.0}
            said.append([])
            for way in ways:
                done = engine.generate(prompts, seed=5, **way)  # type: ignore[arg-type]
                said[-1] += [each.text for each in done]  # type: ignore[union-attr]
            stats = engine.stats()
    assert said[0] == said[1]
    assert stats.device_stalls < stats.overlapped_passes / 2
    assert stats.overlapped_passes > stats.lockstep_passes
