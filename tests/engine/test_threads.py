"""The number of threads is the one that is measured to be fastest."""

from __future__ import annotations

import pytest
import torch

from rootform import Engine
from rootform.engine import loading
from rootform.engine.threads import choose_threads
from rootform.engine.types import RootformError


@pytest.mark.parametrize(
    ("seconds_at", "best"),
    [
        ({1: 1.0, 2: 8.0, 4: 20.0, 6: 30.0}, 1),
        ({1: 1.0, 2: 0.6, 4: 0.4, 6: 0.3}, 6),
        ({1: 1.0, 2: 0.6, 4: 0.58, 6: 0.57}, 2),
        ({1: 0.01, 2: 0.004, 4: 0.009, 6: 0.02}, 2),
    ],
)
def test_the_fastest_number_of_threads_is_kept(standins, seconds_at, best):
    model, before = standins.StandIn(), torch.get_num_threads()
    forward, now = model.forward, 0.0

    def timed(batch):
        nonlocal now
        now += seconds_at[torch.get_num_threads()]
        return forward(batch)

    model.forward = timed
    try:
        assert choose_threads(model, 6, clock=lambda: now) == best
        assert torch.get_num_threads() == best
    finally:
        torch.set_num_threads(before)
    assert model.memory.free_pages == model.memory.total_pages


def test_an_engine_measures_at_its_start_unless_it_is_told(tiny_model, monkeypatch):
    before, measured = torch.get_num_threads(), []
    monkeypatch.setattr(loading, "choose_threads", lambda model, most: measured.append((model, most)))
    try:
        with Engine(tiny_model) as engine:
            assert measured == [(engine._loop.model, before)]
        with Engine(tiny_model, threads=2):
            assert torch.get_num_threads() == 2
        with pytest.raises(RootformError, match="threads is 0; it must be 1 or more"):
            Engine(tiny_model, threads=0)
    finally:
        torch.set_num_threads(before)
    assert len(measured) == 1
