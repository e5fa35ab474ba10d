"""Whom the registered attention works for: set around each forward pass, read in every attention layer.

Metadata goes this way, and not through keyword arguments of the model, because several model classes (StableLM,
Nemotron) drop those before they reach attention. Kept per thread, so that two engines in two threads do not meet.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from transformers import AttentionInterface

ATTENTION_NAME = "rootform"


class Attend(Protocol):
    """Does the attention of one layer of one forward pass."""

    def __call__(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        attention_mask: torch.Tensor | None,
        scaling: float | None,
        sliding_window: int | None,
        softcap: float | None,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """query (1, heads, T, key_dim); key, value (1, kv_heads, T, dim) -> (1, T, heads, value_dim)."""
        ...


class _Current(threading.local):
    attend: Attend | None = None


_current = _Current()


@contextmanager
def attention_done_by(attend: Attend) -> Iterator[None]:
    """Inside, `attend` does the attention of models this thread runs."""
    before = _current.attend
    _current.attend = attend
    try:
        yield
    finally:
        _current.attend = before


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_unused: Any,
) -> tuple[torch.Tensor, None]:
    """The function transformers calls. What else it passes (dropout, flags of other backends) has no effect here;
    the check at load compares logits with transformers' own attention, so nothing that matters can hide there."""
    attend = _current.attend
    if attend is None:
        raise RuntimeError("a model loaded for rootform was run outside of Model.forward; call Model.forward instead")
    out = attend(
        module.layer_idx,  # type: ignore[arg-type]
        query,
        key,
        value,
        attention_mask=attention_mask,
        scaling=scaling,
        sliding_window=sliding_window,
        softcap=softcap,
        sinks=s_aux,
    )
    return out, None


# No mask function is registered under this name: then transformers builds no masks, which is what is wanted.
AttentionInterface.register(ATTENTION_NAME, _attention)
