"""The loop that keeps a pass queued ahead says what the ordinary loop says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.api import Engine
from rootform.engine.drafts import Drafter
from rootform.engine.model_paged import PagedModel
from rootform.engine.overlap import OverlappedLoop
from rootform.engine.step import StepLoop
from rootform.engine.tokenizer import Tokenizer
from rootform.engine.types import Completion, Failed, RootformError
from tests.engine.overlap.conftest import REQUESTS, TRUNK, Run, alone


@pytest.mark.parametrize("options", [{}, {"prefix_cache": False}, {"max_batch": 2}, {"drafts": True}], ids=str)
def test_the_same_tokens_as_one_by_one(
    model: PagedModel, expected: list[tuple[str, list[int], str]], options: dict[str, Any]
) -> None:
    run = Run(model, **options)
    keys = [run.add(**each) for each in REQUESTS]
    run.finish()
    assert [(run.texts[key], run.ids[key], run.ends[key].reason) for key in keys] == expected
    assert {reason for _, _, reason in expected} == {"stop", "length"}
    counts = run.loop.counts
    assert counts.overlapped_passes + counts.lockstep_passes == counts.forward_passes
    assert (counts.lockstep_passes > 0) == options.get("drafts", False)
    assert (counts.overlapped_passes > 0) == (not options.get("drafts", False))


def test_drafts_that_rest_learn_from_passes_that_overlap_what_they_learn_from_others(
    model: PagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which tokens followed which, and where the model itself chose to end."""
    learned: dict[type, list[tuple[int, list[int], bool]]] = {}
    monkeypatch.setattr(Drafter, "pays", lambda *_: False)
    for kind in (StepLoop, OverlappedLoop):
        seen: list[tuple[int, list[int], bool]] = []

        def follow(self: Any, sequence: Any, *_: Any, ended_itself: bool = False, seen: Any = seen) -> None:
            seen.append((sequence.key, list(sequence.ids.view), ended_itself))

        monkeypatch.setattr(Drafter, "follow", follow)
        run = Run(model, kind, drafts=True)
        for each in REQUESTS:
            run.add(**each)
        run.finish()
        learned[kind] = sorted(seen)
        assert kind is StepLoop or run.loop.counts.lockstep_passes == 0
    assert learned[OverlappedLoop] == learned[StepLoop]
    assert 0 < sum(ended for *_, ended in learned[StepLoop]) < len(REQUESTS)


class Alternating(OverlappedLoop):
    """Needs the host every now and then, for no reason of its own."""

    random = np.random.default_rng(0)

    def _goes_ahead(self, loaded: Any) -> bool:
        return bool(self.random.random() < 0.7) and super()._goes_ahead(loaded)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_any_course_of_events_gives_the_same_tokens(
    model: PagedModel, expected: list[tuple[str, list[int], str]], seed: int
) -> None:
    """Requests come and are cancelled at any time, lose their places for lack of memory or to online ones, outgrow
    them, and need the host now and then."""
    random = np.random.default_rng(seed)
    Alternating.random = random
    run = Run(model, Alternating if seed % 2 else OverlappedLoop, max_batch=int(random.integers(1, 7)))
    kept = run.loop.limits.growth_tokens
    assert kept > 60  # so that outputs are cut below, where a larger place is to be taken
    run.loop.places.limits = run.loop.limits = run.loop.limits.__class__(
        **{name: getattr(run.loop.limits, name) for name in run.loop.limits.__struct_fields__} | {"growth_tokens": 5}
    )
    memory = model.memory
    taken = memory.open(np.empty(0, np.int32), 0, memory.page_tokens * int(random.integers(0, memory.total_pages - 25)))
    assert taken is not None
    of_request: dict[int, int] = {}
    todo = [int(n) for n in random.permutation(len(REQUESTS))]
    cancelled: set[int] = set()
    while todo or run.loop.busy:
        if todo and random.random() < 0.4:
            n = todo.pop()
            priority = str(random.choice(["online", "offline"]))
            fields: dict[str, Any] = REQUESTS[n] | {"priority": priority}
            of_request[run.add(**fields)] = n
        if of_request and random.random() < 0.03:
            key = int(random.choice(list(of_request)))
            if key not in run.ends:
                run.cancel(key)
                cancelled.add(key)
        run.step()
    memory.close(taken)
    run.finish()
    for key, n in of_request.items():
        text, ids, reason = expected[n]
        if key in cancelled:
            assert ids[: len(run.ids[key])] == run.ids[key]
        else:
            assert (run.texts[key], run.ids[key], run.ends[key].reason) == (text, ids, reason)


def test_a_request_that_needs_the_host_makes_its_passes_ordinary_ones(model: PagedModel) -> None:
    run = Run(model)
    quiet = run.add(**REQUESTS[0])
    run.step()
    talkative = run.add(TRUNK[:9], max_new_tokens=3, top_logprobs=2)
    run.finish()
    assert run.ids[quiet] == alone(model, **REQUESTS[0])[1]
    assert run.ids[talkative] == alone(model, TRUNK[:9], max_new_tokens=3)[1]
    assert 0 < run.loop.counts.lockstep_passes < run.loop.counts.forward_passes


def test_the_logprob_of_the_token_itself_comes_from_the_device(speaking: tuple[PagedModel, Tokenizer]) -> None:
    ways: list[dict[str, Any]] = [
        {"temperature": 1.0, "seed": 5},
        {"regex": "[a-z]{4,40}[.]", "max_tokens": 12},
        {"regex": "(ab|cd[0-9])x{3}", "temperature": 3.0, "seed": 1},
    ]
    found: list[list[Completion]] = []
    for overlap in (False, True):
        with Engine.from_parts(*speaking, drafts=False, overlap=overlap) as engine:
            said = [engine.generate("some text", **{"max_tokens": 20} | way, top_logprobs=0) for way in ways]
            found.append([each for each in said if isinstance(each, Completion)])
            stats = engine.stats()
    assert stats.overlapped_passes > stats.lockstep_passes
    for ordinary, overlapped in zip(*found, strict=True):
        assert ordinary.token_ids == overlapped.token_ids
        pairs = list(zip(ordinary.logprobs, overlapped.logprobs, strict=True))
        assert len(pairs) == len(ordinary.token_ids)
        for one, other in pairs:
            assert other.logprob == pytest.approx(one.logprob, abs=1e-5)
            assert (one.token_id, one.top) == (other.token_id, other.top) == (one.token_id, ())


def test_logprobs_over_the_vocabulary_are_the_hosts(speaking: tuple[PagedModel, Tokenizer]) -> None:
    """The device knows those over the tokens that were allowed."""
    found: list[list[float]] = []
    for overlap in (False, True):
        with Engine.from_parts(*speaking, drafts=False, overlap=overlap) as engine:
            done = engine.generate("a", regex="[a-c]{6}", max_tokens=9, top_logprobs=0, logprobs_over="vocabulary")
        found.append([each.logprob for each in done.logprobs])
    assert found[1] == pytest.approx(found[0], abs=1e-5)


def test_passes_that_overlap_keep_to_the_prompt_tokens_of_a_pass(model: PagedModel) -> None:
    run = Run(model)
    run.add([33, 2], max_new_tokens=20, ignore_eos=True)
    for _ in range(3):
        run.step()
    run.add(TRUNK, max_new_tokens=2)
    sizes: list[int] = []
    while run.loop.busy:
        run.step()
        flying = run.loop._flying  # type: ignore[attr-defined]
        sizes += [] if flying is None else [sum(flying.load.batch.lengths.tolist())]
    assert run.loop.counts.lockstep_passes == 0
    assert max(sizes) <= run.loop.limits.prefill_tokens + 1 < len(TRUNK)
    assert sum(sizes) > len(TRUNK)
    run.finish()


def test_a_failure_ends_those_it_touched_and_nobody_else(model: PagedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(model)
    first = run.add(**REQUESTS[0])
    run.step()
    run.step()
    forward, failing = model.forward, True

    def fail_once(*arguments: Any) -> torch.Tensor:
        nonlocal failing
        if failing:
            failing = False
            raise RuntimeError("the device was told to fail")
        return forward(*arguments)

    monkeypatch.setattr(model, "forward", fail_once)
    run.step()
    assert isinstance(run.ends.pop(first), Failed)
    second = run.add(**REQUESTS[1])
    run.finish()
    assert run.ids[second] == alone(model, **REQUESTS[1])[1]


def test_a_pass_whose_sequences_went_away_teaches_nothing(model: PagedModel) -> None:
    now = 0.0
    run = Run(model, clock=lambda: now)
    first = run.add(TRUNK, max_new_tokens=40, ignore_eos=True)
    for _ in range(6):
        run.step()
        now += 0.01
    known = run.loop.pace
    run.cancel(first)
    assert not run.loop.busy
    now += 3600.0
    second = run.add(TRUNK, max_new_tokens=1)
    run.step()
    assert run.loop.pace == known
    run.finish()
    assert run.ids[second] == alone(model, TRUNK, max_new_tokens=1)[1]


def test_more_sequences_than_lanes_are_refused(model: PagedModel) -> None:
    with pytest.raises(RootformError, match="max_batch is 5000"):
        Run(model, max_batch=5000)


def test_only_a_model_on_a_device_overlaps(speaking: tuple[PagedModel, Tokenizer], tiny_model: Path) -> None:
    from rootform.engine.model import load_model

    with pytest.raises(RootformError, match="overlap is for a model on a device"):
        Engine.from_parts(load_model(tiny_model, kv_bytes=2**20), speaking[1], overlap=True)
    with pytest.raises(RootformError, match="leave it out on the CPU"):
        Engine(tiny_model, overlap=True)


@pytest.mark.parametrize("overlap", [False, True])
def test_what_it_keeps_to_is_told(speaking: tuple[PagedModel, Tokenizer], overlap: bool) -> None:
    with Engine.from_parts(*speaking, overlap=overlap) as engine:
        told = engine.describe()
    assert told.startswith(engine.limits.describe() + "\ncard: ")
    assert told.endswith("queued before the one before it was settled" if overlap else "each settled before the next")
