"""Graphs: which steps run in one, what is recorded and what given up. Here one is a call on arrays of a fixed size."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rootform.engine import graphs, paged_plan
from rootform.engine.graphs import fits, ladder
from rootform.engine.model import load_model
from rootform.engine.overlap import OverlappedLoop
from rootform.engine.paged_plan import room_for
from rootform.engine.paged_step import MOST_TREE_TOKENS
from rootform.engine.step import StepLoop
from tests.engine.paged.conftest import VOCAB, captured, outputs


def test_graphs_give_the_same_tokens_and_take_what_fits(folder: Path, twins_or_card: str) -> None:
    model = captured(folder, [4, 16], device=twins_or_card)
    assert model.graphs is not None
    assert model.graphs.sizes == [4, 16]
    wanted, _ = outputs(load_model(folder, kv_bytes=2_000_000))
    for kind, drafts in ((StepLoop, True), (OverlappedLoop, False)):
        before = model.graphs.replayed
        got, loop = outputs(model, kind=kind, drafts=drafts)
        assert got == wanted
        assert 0 < model.graphs.replayed - before < loop.counts.forward_passes  # prompts run outside


def test_graphs_give_the_same_tokens_with_stretches_as_long_as_they_have_room_for(
    folder: Path, twins_or_card: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stretches of 4 keys: too many for the graphs' room, so that they are made longer."""
    monkeypatch.setattr(paged_plan, "STRETCH_TOKENS", 4)
    model = captured(folder, [4, 16], device=twins_or_card)
    assert model.graphs is not None
    planned, replay = model._planner.plan, model.graphs.replay
    stretches, refused = set(), []

    def plan(batch, sources=None, room=None):  # type: ignore[no-untyped-def]
        host = planned(batch, sources, room)
        if host.composition is not None and host.prompt_arrays is None:
            stretches.add(host.composition.stretch)
        return host

    def noted(host):  # type: ignore[no-untyped-def]
        logits = replay(host)
        refused.append(logits is None and host.prompt_arrays is None and len(host.ids) <= 16)
        return logits

    model._planner.plan, model.graphs.replay = plan, noted
    wanted, _ = outputs(load_model(folder, kv_bytes=2_000_000), prefix_cache=False)
    for kind, drafts in ((StepLoop, True), (OverlappedLoop, False)):
        assert outputs(model, kind=kind, drafts=drafts, prefix_cache=False)[0] == wanted
    assert 4 in stretches
    assert max(stretches) > 4
    assert not any(refused)


class Scripted:
    """Stands for what records graphs: some sizes fail, and each takes so much memory."""

    fails: ClassVar[set[int]] = set()
    bytes_of: ClassVar[dict[int, int]] = {}
    started_over: ClassVar[list[bool]] = []

    def __init__(self, device: torch.device) -> None:
        self._taken = 0

    def taken(self) -> int:
        return self._taken

    def start_over(self, *, is_empty: bool) -> None:
        self.started_over.append(is_empty)
        if is_empty:
            self._taken = 0

    def record(self, run: Callable[[], object]) -> Any:
        size = len(run.__self__._arrays.ids)  # type: ignore[attr-defined]
        self._taken += self.bytes_of.get(size, 0)
        try:
            if size in self.fails:
                raise RuntimeError("operation not permitted when stream is capturing")
        finally:
            if size in self.fails:
                raise ValueError("the end of it fails too")
        return SimpleNamespace(replay=run, reset=lambda: None)


def test_sizes_that_cannot_be_recorded_are_given_up_and_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The same tokens from what graphs are left, and from none."""
    monkeypatch.setattr(graphs, "_Recorder", Scripted)
    monkeypatch.setattr(Scripted, "started_over", [])
    wanted, _ = outputs(load_model(folder, kv_bytes=2_000_000))
    for fails, bytes_of, left, over in (
        ({16}, {}, [4, 8], [True]),
        ({8}, {}, [4, 16], [False]),
        ({4, 8, 16}, {}, [], [True] * 3),
        (set(), {16: 2_000_000}, [4, 8], [True]),
        (set(), {16: 900_000, 8: 200_000, 4: 0}, [4, 16], [False]),
    ):
        Scripted.fails, Scripted.bytes_of = fails, bytes_of
        Scripted.started_over.clear()
        caplog.clear()
        model = captured(folder, [4, 8, 16], 1_000_000)
        assert model.graphs is not None
        assert model.graphs.sizes == left
        assert set(model.graphs.given_up) == {4, 8, 16} - set(left)
        assert Scripted.started_over == over
        assert "no graphs for steps of" in caplog.text
        assert ("RuntimeError: operation not permitted" in caplog.text) == bool(fails)
        assert outputs(model)[0] == wanted
        assert (model.graphs.replayed > 0) == bool(left)
        assert (f"{len(left)} sizes, {left[0]} to {left[-1]}" if left else "no graphs") in model.describe()


def test_logits_that_have_no_room_cost_the_graphs_of_their_size(folder: Path) -> None:
    model = captured(folder, [4, 8, 16], 4 * VOCAB * 8)
    assert model.graphs is not None
    assert model.graphs.sizes == [4, 8]
    assert model.graphs.given_up == {16: "there is no memory for its logits"}


def test_a_recording_that_fails_at_its_end_leaves_the_threads_own_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch has it: the context of a graph does not go back to the stream when its end raises."""
    now: list[Any] = []
    order: list[str] = []

    class Stream:
        def __init__(self, *_: object) -> None:
            self.waited: list[Stream] = []

        def wait_stream(self, other: Stream) -> None:
            self.waited.append(other)

    class On:
        def __init__(self, stream: Stream) -> None:
            self.stream = stream

        def __enter__(self) -> None:
            self.before = now[0]
            now[0] = self.stream

        def __exit__(self, *_: object) -> None:
            now[0] = self.before

    class Recording(On):
        def __init__(self, graph: object, *, pool: int, stream: Stream, capture_error_mode: str) -> None:
            super().__init__(stream)
            order.append(f"pool {pool}, {capture_error_mode}")

        def __exit__(self, *error: object) -> None:
            if error[0] is not None:
                raise RuntimeError("capture invalidated")
            super().__exit__()

    own = Stream()
    now.append(own)
    pools = iter(range(10))
    fakes = {
        "Stream": Stream,
        "graph_pool_handle": lambda: next(pools),
        "current_stream": lambda _: now[0],
        "set_stream": lambda stream: now.__setitem__(0, stream),
        "stream": On,
        "synchronize": lambda _: None,
        "empty_cache": lambda: None,
        "CUDAGraph": lambda: "a graph",
        "graph": Recording,
        "mem_get_info": lambda _: (100, 200),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    recorder = graphs._Recorder(torch.device("cuda"))
    ran: list[bool] = []

    def run() -> None:
        ran.append(now[0] is not own)
        if len(ran) == 2:
            raise MemoryError

    with pytest.raises(RuntimeError, match="capture invalidated"):
        recorder.record(run)
    assert now == [own]
    recorder.start_over(is_empty=True)
    assert recorder.record(run) == "a graph"
    recorder.start_over(is_empty=False)
    assert recorder.record(run) == "a graph"
    assert now == [own]
    assert ran == [True] * 6  # each once before it is recorded, on the same other stream
    assert order == [f"pool {n}, thread_local" for n in (0, 1, 1)]
    assert recorder.taken() == 0


@given(st.integers(1, 1000))
def test_a_ladder_ends_with_the_most_and_wastes_little(most: int) -> None:
    sizes = ladder(most)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == most
    assert all(b <= max(2 * a, a + 8) and (a < 64 or b <= 1.25 * a + 1) for a, b in pairwise(sizes))
    assert len(sizes) < 40


def test_a_step_that_outgrows_the_room_does_not_fit(folder: Path) -> None:
    model = captured(folder, [4])
    slot = model.memory.open(np.empty(0, dtype=np.int32), 0, 100)
    assert slot is not None
    from rootform.engine.ports import ForwardBatch

    def batch(n: int) -> ForwardBatch:
        return ForwardBatch(
            token_ids=np.arange(n),
            positions=np.arange(n),
            slots=np.array([slot], np.int32),
            starts=np.array([0], np.int32),
            lengths=np.array([n], np.int32),
            logit_rows=np.arange(n),
        )

    room = room_for(4, 8, 100, 512)
    assert [fits(model._planner.plan(batch(n)), room) for n in (1, 4, 5, MOST_TREE_TOKENS + 1)] == [
        True,
        True,
        False,
        False,
    ]
