"""Reading from the tiers always pays."""

from __future__ import annotations

import pytest

from rootform.engine import tiers as engine_tiers


@pytest.fixture(autouse=True)
def always_worth_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine under load would measure is not for a test."""
    monkeypatch.setattr(engine_tiers, "_seconds_per_token", lambda _: 1.0)
