"""The decoder of the Llama family spelled out, for speed: fewer, larger operations than the transformers classes.

Same mathematics (Llama, arXiv:2302.13971; rotary positions, arXiv:2104.09864): queries, keys and values come from one
matrix, gate and up from another, and queries and keys are rotated together. Loading compares its logits with those
of the transformers classes, and refuses the model when they differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .context import Attend
from .heads import Head
from .linears import Format, packed
from .loops import add_and_norm, bits, gate, rotate
from .ports import Few

FUSED_CLASSES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")


class FusedDecoder:
    """Runs a model of the family. Takes its layers over from the model, which cannot run any more afterwards.

    max_tokens: the longest sequence; rotary tables are made up to there. weights: their format in products.
    """

    def __init__(self, model: Any, max_tokens: int, weights: Format = "model") -> None:
        decoder = model.model
        with torch.inference_mode():
            self._embedding = decoder.embed_tokens.weight.detach()
            self._cos, self._sin = _rotary_tables(decoder.rotary_emb, max_tokens, self._embedding)
            self._layers = []
            for number, layer in enumerate(decoder.layers):
                self._layers.append(_Layer(layer, weights))
                decoder.layers[number] = nn.Identity()  # its weights are packed now; both at once would be too much
            self._norm = _Norm(decoder.norm)
            self._head = Head(model.lm_head, self._embedding, weights)

    def __call__(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        rows: torch.Tensor,
        attend: Attend,
        wanted: Few | None = None,
    ) -> torch.Tensor:
        """ids, positions (T,), rows (m,) of the T -> logits (m, vocab), of each row at least those wanted."""
        hidden = functional.embedding(ids, self._embedding)
        more = None
        for number, layer in enumerate(self._layers):
            more = layer(number, hidden, more, (self._cos, self._sin, positions.numpy()), attend)
        more = None if more is None else more[rows]
        return self._head(self._norm(hidden[rows], more), wanted)


def can_fuse(model: Any) -> bool:
    """Whether FusedDecoder computes what this model computes."""
    return type(model).__name__ in FUSED_CLASSES and model.config.hidden_act == "silu"


class _Norm:
    def __init__(self, norm: Any) -> None:
        self._weight = bits(norm.weight.detach())
        self._eps = norm.variance_epsilon

    def __call__(self, hidden: torch.Tensor, more: torch.Tensor | None) -> torch.Tensor:
        """The norm of hidden (T, width) + more, which hidden is from then on."""
        out = torch.empty_like(hidden)
        add_and_norm(bits(hidden), bits(hidden[:0] if more is None else more), self._weight, self._eps, bits(out))
        return out


class _Layer:
    def __init__(self, layer: Any, weights: Format) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._scale = attention.scaling
        self._head_dim = attention.head_dim
        self._n_queries = attention.q_proj.out_features // self._head_dim
        self._n_keys = attention.k_proj.out_features // self._head_dim
        self._qkv = _joined(weights, attention.q_proj, attention.k_proj, attention.v_proj)
        self._out = packed(attention.o_proj, weights)
        self._gate_up = _joined(weights, mlp.gate_proj, mlp.up_proj)
        self._down = packed(mlp.down_proj, weights)
        self._before_attention = _Norm(layer.input_layernorm)
        self._before_mlp = _Norm(layer.post_attention_layernorm)

    def __call__(
        self,
        number: int,
        hidden: torch.Tensor,
        more: torch.Tensor | None,
        rotary: tuple[np.ndarray, np.ndarray, np.ndarray],
        attend: Attend,
    ) -> torch.Tensor:
        """hidden (T, width), still to be added to `more`, and to the result after that; both additions are left to the
        norms that follow them. rotary: cos and sin by position, and the tokens' positions."""
        heads = self._qkv(self._before_attention(hidden, more)).unflatten(1, (-1, self._head_dim))
        n_rotated = self._n_queries + self._n_keys
        rotate(bits(heads), n_rotated, *rotary)
        by_head = heads.transpose(0, 1)[None]
        attended = attend(
            number,
            by_head[:, : self._n_queries],
            by_head[:, self._n_queries : n_rotated],
            by_head[:, n_rotated:],
            attention_mask=None,
            scaling=self._scale,
            sliding_window=None,  # known to the memory's layers since the probe
            softcap=None,
            sinks=None,
        )
        gates = self._gate_up(self._before_mlp(hidden, self._out(attended[0].flatten(1))))
        gated = gates.new_empty(len(gates), gates.shape[1] // 2)
        gate(bits(gates), bits(gated))
        return self._down(gated)


def _joined(weights: Format, *linears: nn.Linear) -> nn.Module:
    """One linear layer that gives the outputs of several, side by side."""
    has_bias = linears[0].bias is not None
    with torch.device("meta"):
        joined = nn.Linear(linears[0].in_features, sum(each.out_features for each in linears), bias=has_bias)
    joined.weight = nn.Parameter(torch.cat([each.weight for each in linears]), requires_grad=False)
    if has_bias:
        joined.bias = nn.Parameter(torch.cat([each.bias for each in linears]), requires_grad=False)
    return packed(joined, weights)


def _rotary_tables(rotary: Any, max_tokens: int, like: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """cos, and sin with its first half negated, (max_tokens, head_dim): x * cos + roll(x, head_dim / 2) * sin."""
    cos, sin = rotary(like, torch.arange(max_tokens)[None])
    half = sin.shape[-1] // 2
    signed = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)
    return bits(cos[0].contiguous()), bits(signed[0])
