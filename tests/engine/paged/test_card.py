"""What a card's memory is divided into, and devices that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rootform.engine.api import Engine
from rootform.engine.model_paged import card_limits, load_paged_model
from rootform.engine.types import RootformError

CARD: dict[str, Any] = {  # a model of 8 billion, on a card that 100 GiB are free on
    "free_bytes": 100 << 30,
    "bytes_per_token": 128 << 10,
    "activation_bytes": 4 * 2 * 2 * 14336,
    "vocab_size": 128_256,
    "page_tokens": 16,
    "prefill_tokens": None,
    "batch_rows": None,
    "kv_bytes": None,
}


@given(st.integers(2 << 30, 140 << 30), st.sampled_from([None, 1, 64, 512]), st.sampled_from([None, 100, 16384]))
def test_a_card_is_divided_and_never_overdrawn(
    free_bytes: int, batch_rows: int | None, prefill_tokens: int | None
) -> None:
    asked = {"free_bytes": free_bytes, "batch_rows": batch_rows, "prefill_tokens": prefill_tokens}
    try:
        limits = card_limits(**CARD | asked)
    except RootformError:
        assert free_bytes < 24 << 30
        assert batch_rows == 512 or prefill_tokens == 16384  # nobody else is given too much
        return
    spent = limits.total_pages * 16 * CARD["bytes_per_token"] + limits.graph_bytes + limits.room_bytes
    assert 0.93 * free_bytes < spent <= 0.95 * free_bytes + (2 << 20)
    assert limits.batch_rows == (batch_rows or limits.batch_rows) <= 512
    assert limits.prefill_tokens == (prefill_tokens or limits.prefill_tokens)
    if batch_rows is None and prefill_tokens is None:
        assert limits.room_bytes <= 0.3 * free_bytes
    least = CARD["activation_bytes"] * limits.prefill_tokens + 4 * CARD["vocab_size"] * limits.graph_tokens
    assert limits.room_bytes > least
    assert f"{limits.batch_rows} sequences and {limits.prefill_tokens} prompt tokens" in limits.describe()


def test_passes_are_as_large_as_the_card_has_room_for() -> None:
    sizes = [card_limits(**CARD | {"free_bytes": n << 30}) for n in (4, 7, 40, 100)]
    assert [(each.batch_rows, each.prefill_tokens) for each in sizes] == [
        (32, 2048),
        (64, 4096),
        (256, 8192),
        (256, 8192),
    ]
    assert card_limits(**CARD | {"kv_bytes": 1 << 30}).total_pages == 512
    with pytest.raises(RootformError, match="leaves no room for KV"):
        card_limits(**CARD | {"free_bytes": 1 << 20})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(RootformError, match="torch sees no CUDA device here"):
        load_paged_model(folder)
    with pytest.raises(RootformError, match="use 'cpu' or 'cuda'"):
        load_paged_model(folder, device="abacus")
    with pytest.raises(RootformError, match="cannot be had on cpu"):
        load_paged_model(folder, dtype="int8", device="cpu")


def test_the_page_size_is_of_devices_alone_and_has_a_least(folder: Path, tiny_model: Path) -> None:
    with pytest.raises(RootformError, match="page_tokens is for a model on a device"):
        Engine(tiny_model, page_tokens=32)
    with pytest.raises(RootformError, match="page_tokens is 0; a page holds 1"):
        load_paged_model(folder, dtype="float32", device="cpu", page_tokens=0)
    assert load_paged_model(folder, dtype="float32", device="cpu", kv_bytes=1 << 20).memory.page_tokens == 16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_engine_without_its_device_says_so(tiny_model: Path) -> None:
    with pytest.raises(RootformError, match="torch sees no CUDA device here"):
        Engine(tiny_model, device="cuda")
