"""Loading a model as transformers has it, and the short trial text by which a way of running it is held to that."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from .context import ATTENTION_NAME
from .modelfiles import read_config
from .probe import uses_longrope
from .types import RootformError

TRIAL_TOKENS = 7
TOLERANCES = {"float32": 1e-3, "bfloat16": 0.1, "int8": 0.3}
"""How far logits of the trial text may be from transformers' own, in parts of the largest."""


def from_pretrained(folder: Path, dtype: torch.dtype) -> Any:
    """The model in a folder, whole and with our attention registered; RootformError where it cannot be had."""
    try:
        with _quiet_transformers():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation=ATTENTION_NAME,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        kind = read_config(folder).get("model_type")
        raise RootformError(f"{folder}: transformers cannot load this model (model_type {kind!r}): {error}") from error
    model, report = loaded  # a pair, because of output_loading_info
    missing = sorted(report["missing_keys"])
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise RootformError(f"{folder}: the weights lack {len(missing)} of the model's tensors ({shown})")
    return model.eval()


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without its progress bar and load report, which is read from what it returns instead."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def longest_context(config: Any) -> int:
    """The longest sequence the model is made for. Under longrope only the original context is served, because a
    longer sequence would change the positions of all others in its batch, and of all KV remembered before."""
    longest = getattr(config, "max_position_embeddings", None)
    if not isinstance(longest, int) or longest < 1:
        raise RootformError(f"{type(config).__name__} does not say max_position_embeddings; its context is unknown")
    if uses_longrope(config):
        scaling = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
        original = scaling.get("original_max_position_embeddings")
        original = original or getattr(config, "original_max_position_embeddings", None) or longest
        return min(longest, int(original))
    return longest


def trial_ids(vocab_size: int) -> np.ndarray:
    """The trial text, (TRIAL_TOKENS,) int64."""
    return (np.arange(TRIAL_TOKENS, dtype=np.int64) * 7919 + 1) % vocab_size


def own_logits(model: Any) -> torch.Tensor:
    """Logits (7, vocab) of the trial text with transformers' plain attention."""
    ids = torch.from_numpy(trial_ids(model.config.get_text_config().vocab_size))[None]
    model.set_attn_implementation("eager")
    with torch.inference_mode(), _quiet_transformers():
        logits = model(input_ids=ids, use_cache=False).logits[0].float()
    model.set_attn_implementation(ATTENTION_NAME)
    return logits


def compare(model: Any, ours: torch.Tensor, theirs: torch.Tensor, what: str, tolerance: float) -> None:
    """What the probe cannot see (a bias of its own, a mask of its own) shows in the logits of the trial text."""
    error = (ours - theirs).abs().max().item() / max(theirs.abs().max().item(), 1e-6)
    if not math.isfinite(error) or error > tolerance:
        raise RootformError(
            f"{type(model).__name__} cannot be served: with {what} its logits differ from those transformers computes "
            f"by {error:.1e} of the largest; it does something rootform does not know"
        )
