"""The decoder of the Llama family over paged memory: kernels for all that stands between the products.

The mathematics of fused.py; queries and keys are turned where keys are written to their pages, and sums of residuals
are made where they are normalised. Nothing in it waits for the device, so a step can be captured in a CUDA graph.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from .kernels.layers import rms_norm, swiglu
from .kernels.write_kv import Rope
from .paged_step import PagedAttention

Norm = tuple[torch.Tensor, float]
"""Weight and epsilon."""


class PagedLlama:
    """Runs a model of the family (fused.can_fuse), which is on the device already. Takes its layers over: the model
    cannot run any more afterwards.

    max_tokens: the longest sequence; rotary tables are made up to there.
    """

    def __init__(self, model: Any, max_tokens: int) -> None:
        decoder = model.model
        with torch.inference_mode():
            self._embedding = decoder.embed_tokens.weight.detach()
            self._rope = _rope(decoder.rotary_emb, max_tokens, self._embedding)
            self._layers = []
            for number, layer in enumerate(decoder.layers):
                self._layers.append(_Layer(layer))
                decoder.layers[number] = torch.nn.Identity()  # its weights are joined now; both would be too much
            self._norm = _norm(decoder.norm)
            self._head = model.lm_head.weight.detach()

    def __call__(
        self, ids: torch.Tensor, positions: torch.Tensor, rows: torch.Tensor, attention: PagedAttention
    ) -> torch.Tensor:
        """See model_paged.PagedDecoder. The positions used are those in the attention's arrays, which are the same."""
        residual = functional.embedding(ids, self._embedding)
        hidden: torch.Tensor | None = None
        for number, layer in enumerate(self._layers):
            hidden = layer(number, hidden, residual, attention, self._rope)
        assert hidden is not None, "a model has layers"
        weight, eps = self._norm
        return functional.linear(rms_norm(hidden[rows], weight, eps, residual[rows]), self._head)


class _Layer:
    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._dim = attention.head_dim
        self._scale = attention.scaling
        sizes = [each.out_features for each in (attention.q_proj, attention.k_proj, attention.v_proj)]
        self._heads = [size // self._dim for size in sizes]
        self._qkv = _joined(attention.q_proj, attention.k_proj, attention.v_proj)
        self._out = _joined(attention.o_proj)
        self._gate_up = _joined(mlp.gate_proj, mlp.up_proj)
        self._down = _joined(mlp.down_proj)
        self._before_attention = _norm(layer.input_layernorm)
        self._before_mlp = _norm(layer.post_attention_layernorm)

    def __call__(
        self,
        number: int,
        hidden: torch.Tensor | None,
        residual: torch.Tensor,
        attention: PagedAttention,
        rope: Rope,
    ) -> torch.Tensor:
        """hidden (T, width): what the layer before adds, None: there was none; residual takes it in.

        What this one adds.
        """
        weight, eps = self._before_attention
        normed = rms_norm(residual, weight, eps) if hidden is None else rms_norm(hidden, weight, eps, residual)
        heads = functional.linear(normed, *self._qkv).unflatten(1, (-1, self._dim))
        q, k, v = heads.split(self._heads, dim=1)
        attended = attention.attend(number, q, k, v, self._scale, rope=rope)
        hidden = functional.linear(attended.flatten(1), *self._out)
        weight, eps = self._before_mlp
        gate_up = functional.linear(rms_norm(hidden, weight, eps, residual), *self._gate_up)
        return functional.linear(swiglu(gate_up), *self._down)


def _norm(norm: Any) -> Norm:
    return norm.weight.detach(), norm.variance_epsilon


def _joined(*linears: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias of several linear layers, side by side."""
    if len(linears) == 1:
        return linears[0].weight.detach(), None if linears[0].bias is None else linears[0].bias.detach()
    weight = torch.cat([each.weight.detach() for each in linears])
    if linears[0].bias is None:
        return weight, None
    return weight, torch.cat([each.bias.detach() for each in linears])


def _rope(rotary: Any, max_tokens: int, like: torch.Tensor) -> Rope:
    """Tables of float32, whatever the model's own type."""
    at = torch.arange(max_tokens, device=like.device)[None]
    cos, sin = rotary(torch.empty(0, dtype=torch.float32, device=like.device), at)
    half = cos.shape[-1] // 2
    return Rope(cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous())
