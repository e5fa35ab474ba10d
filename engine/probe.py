"""Before a model is served: does it call our attention in every layer, with what geometry, and nothing we ignore?

Some model classes accept any attention name and go on computing attention their own way (or keep a state beside it);
run as a packed batch they would give wrong logits without a word. So a short forward pass is recorded first, and
what cannot be served exactly is refused.
"""

from __future__ import annotations

from typing import Any

import torch

from .context import attention_done_by
from .geometry import LayerGeometry
from .types import RootformError

_LAYER_TYPES = {"full_attention", "sliding_attention"}


def probe(model: Any) -> tuple[LayerGeometry, ...]:
    """The geometry of each attention layer, in order. Raises RootformError for a model that cannot be served.

    model: a transformers causal LM loaded with attn_implementation=context.ATTENTION_NAME.
    """
    name = type(model).__name__
    config = model.config.get_text_config()
    _refuse_by_config(name, config)
    recorder = _Recorder(name)
    ids = torch.zeros(1, 2, dtype=torch.long)
    try:
        with torch.inference_mode(), attention_done_by(recorder):
            model(input_ids=ids, position_ids=torch.arange(2)[None], attention_mask=None, use_cache=False)
    except RootformError:
        raise
    except Exception as error:
        raise _refusal(name, f"a trial run of two tokens failed ({type(error).__name__}: {error})") from error
    return _checked(name, config, recorder.layers)


class _Recorder:
    """`context.Attend` that writes down what it is given, and answers with plain attention over the two tokens."""

    def __init__(self, name: str) -> None:
        self.layers: dict[int, LayerGeometry] = {}
        self._name = name

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
        if attention_mask is not None:
            raise _refusal(self._name, "it builds its own attention masks or position biases")
        if layer in self.layers:
            raise _refusal(self._name, f"it attends twice in layer {layer}")
        self.layers[layer] = LayerGeometry(
            query_heads=query.shape[1],
            kv_heads=key.shape[1],
            key_dim=key.shape[3],
            value_dim=value.shape[3],
            window=sliding_window,
            softcap=softcap,
            has_sinks=sinks is not None,
        )
        return value.repeat_interleave(query.shape[1] // value.shape[1], dim=1).transpose(1, 2).contiguous()


def _refuse_by_config(name: str, config: Any) -> None:
    strange = set(getattr(config, "layer_types", None) or ()) - _LAYER_TYPES
    if strange:
        raise _refusal(name, f"it has layers of type {', '.join(sorted(strange))}")
    if getattr(config, "use_bidirectional_attention", None):
        raise _refusal(name, "its attention looks ahead (use_bidirectional_attention)")
    if _rope_types(config) & {"dynamic"}:
        raise _refusal(name, "its rope_type is 'dynamic', which moves all positions when one sequence grows long")


def _rope_types(config: Any) -> set[str]:
    scaling = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    nested = [each for each in scaling.values() if isinstance(each, dict)]
    return {str(each.get("rope_type", "default")) for each in (scaling, *nested)}


def uses_longrope(config: Any) -> bool:
    """Whether positions beyond the original context would change those before it, for all sequences of a batch."""
    return "longrope" in _rope_types(config)


def _checked(name: str, config: Any, layers: dict[int, LayerGeometry]) -> tuple[LayerGeometry, ...]:
    wanted = range(config.num_hidden_layers)
    missing = sorted(set(wanted) - layers.keys())
    if missing:
        raise _refusal(name, f"it does its own attention in layers {', '.join(map(str, missing))} of {len(wanted)}")
    types = getattr(config, "layer_types", None) or []
    for number, kind in enumerate(types[: len(wanted)]):
        if kind == "sliding_attention" and layers[number].window is None:
            raise _refusal(name, f"layer {number} has a sliding window but does not pass it on")
    return tuple(layers[number] for number in sorted(layers))


def _refusal(name: str, reason: str) -> RootformError:
    return RootformError(
        f"{name} cannot be served: {reason}. Models of the Llama, Qwen2, Qwen3, Mistral, Gemma2, Gemma3 and Phi3 "
        "families can"
    )
