"""Attention of one step on the CPU: writes the new keys and values, attends part by part, merges the parts."""

from __future__ import annotations

import torch

from .cascade import ChunkCall, Kind, PrefixCall, Rows, SlabCall, StepPlan, Tokens
from .memory_cpu import CpuMemory

Attended = tuple[torch.Tensor, torch.Tensor]  # values (m, heads, value_dim) and log-sum-exps (m, heads) float32


class StepAttention:
    """`context.Attend` for one step. kinds: by layer."""

    def __init__(self, memory: CpuMemory, plan: StepPlan, kinds: list[Kind]) -> None:
        self._memory = memory
        self._plan = plan
        self._kinds = kinds

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
        keys, values = self._memory.keys[layer], self._memory.values[layer]
        keys.index_copy_(1, self._plan.write_rows, key[0])
        values.index_copy_(1, self._plan.write_rows, value[0])
        work = _LayerWork(keys, values, self._kinds[layer], scaling, softcap)
        # (T, kv_heads, groups, dim): neighbouring query heads read the same KV head
        queries = query[0].transpose(0, 1).unflatten(1, (keys.shape[0], self._kinds[layer].groups))
        out, lse = self._own_tokens(work, queries)
        for call in self._plan.prefixes:
            if work.kind in call.masks:
                out, lse = _merge(out, lse, call.part.tokens, work.prefix(call, queries))
        if sinks is not None:
            out = out * torch.sigmoid(lse - sinks)[..., None].to(out.dtype)
        return out[None]

    def _own_tokens(self, work: _LayerWork, queries: torch.Tensor) -> Attended:
        """Every token over its own sequence's rows."""
        plan = self._plan
        if len(plan.slabs) == 1 and plan.slabs[0].part.queries is None:
            return work.slabs(plan.slabs[0], queries)
        n_heads = queries.shape[1] * queries.shape[2]
        out = queries.new_empty(plan.n_tokens, n_heads, work.values.shape[2])
        lse = torch.empty(plan.n_tokens, n_heads)
        for call in plan.slabs:
            some_out, some_lse = work.slabs(call, queries)
            out.index_copy_(0, call.part.tokens, some_out.index_select(0, call.part.filled))
            lse.index_copy_(0, call.part.tokens, some_lse.index_select(0, call.part.filled))
        for call in plan.chunks:
            out[call.part.tokens], lse[call.part.tokens] = work.chunk(call, queries)
        return out, lse


class _LayerWork:
    """One layer's pool and settings. queries: (T, kv_heads, groups, dim) of all packed tokens."""

    __slots__ = ("keys", "kind", "scale", "softcap", "values")

    def __init__(
        self, keys: torch.Tensor, values: torch.Tensor, kind: Kind, scale: float | None, softcap: float | None
    ) -> None:
        self.keys = keys
        self.values = values
        self.kind = kind
        self.scale = keys.shape[2] ** -0.5 if scale is None else scale
        self.softcap = softcap

    def slabs(self, call: SlabCall, queries: torch.Tensor) -> Attended:
        """All span * width query tokens, padding included."""
        part = call.part
        if part.queries is not None:
            queries = queries.index_select(0, part.queries)
        _, kv_heads, groups, dim = queries.shape
        if part.width > 1:  # a KV head's queries become rows: first by token, then by head of the group
            queries = queries.view(part.span, part.width, kv_heads, groups, dim).transpose(1, 2).flatten(2, 3)
        out, lse = self._attend(queries, _view(self.keys, call), _view(self.values, call), call.masks[self.kind])
        if part.width > 1:
            out = out.unflatten(2, (part.width, groups)).transpose(1, 2).flatten(0, 1)
            lse = lse.unflatten(2, (part.width, groups)).transpose(1, 2).flatten(0, 1)
        return out.flatten(1, 2), lse.flatten(1, 2)

    def chunk(self, call: ChunkCall, queries: torch.Tensor) -> Attended:
        queries = queries[call.part.tokens].permute(1, 2, 0, 3)  # KV heads as batch, a group's heads as heads
        keys, values = _read(self.keys, call.rows), _read(self.values, call.rows)
        groups = queries.shape[1]
        out, lse = self._attend(
            queries,
            keys[:, None].expand(-1, groups, -1, -1),
            values[:, None].expand(-1, groups, -1, -1),
            call.masks[self.kind],
            causal=call.masks[self.kind] is None,
        )
        return out.flatten(0, 1).transpose(0, 1), lse.flatten(0, 1).transpose(0, 1)

    def prefix(self, call: PrefixCall, queries: torch.Tensor) -> Attended:
        if call.part.tokens is not None:
            queries = queries[call.part.tokens]
        n_tokens, _, groups, _ = queries.shape
        rows = queries.transpose(0, 1).flatten(1, 2)[None]  # all readers' queries of a KV head are its rows
        keys, values = _read(self.keys, call.part.rows)[None], _read(self.values, call.part.rows)[None]
        out, lse = self._attend(rows, keys, values, call.masks[self.kind])
        out = out[0].unflatten(1, (n_tokens, groups)).transpose(0, 1)
        lse = lse[0].unflatten(1, (n_tokens, groups)).transpose(0, 1)
        return out.flatten(1, 2), lse.flatten(1, 2)

    def _attend(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor | None,
        *,
        causal: bool = False,
    ) -> Attended:
        """queries (b, h, m, dim), keys and values (b, h, L, dim) -> values (b, h, m, dim), log-sum-exps (b, h, m)."""
        if self.softcap is not None or keys.shape[3] != values.shape[3]:
            return attend_plain(queries, keys, values, mask, self.scale, self.softcap, causal=causal)
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            queries, keys, values, 0.0, causal, attn_mask=mask, scale=self.scale
        )


def attend_plain(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
    softcap: float | None,
    *,
    causal: bool,
) -> Attended:
    """Attention spelled out, in float32: for what the fused kernel lacks (softcap, values narrower than keys)."""
    scores = torch.matmul(queries, keys.transpose(-1, -2)).float() * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = scores + mask
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    lse = torch.logsumexp(scores, dim=-1)
    weights = torch.exp(scores - lse[..., None])
    return torch.matmul(weights.to(values.dtype), values), lse


def _view(pool: torch.Tensor, call: SlabCall) -> torch.Tensor:
    """(span, kv_heads, n_keys, dim) of the pool (kv_heads, rows, dim), nothing copied."""
    part = call.part
    kv_heads, rows, dim = pool.shape
    return pool.as_strided(
        (part.span, kv_heads, call.n_keys, dim),
        (part.slab_tokens * dim, rows * dim, dim, 1),
        (part.first_row + call.first) * dim,
    )


def _read(pool: torch.Tensor, rows: Rows) -> torch.Tensor:
    """(kv_heads, L, dim): a view where the rows are neighbours."""
    return pool[:, rows] if isinstance(rows, slice) else pool.index_select(1, rows)


def _merge(out: torch.Tensor, lse: torch.Tensor, tokens: Tokens, more: Attended) -> Attended:
    """Join what some tokens found in one more part to what they found so far."""
    more_out, more_lse = more
    some_out, some_lse = (out, lse) if tokens is None else (out[tokens], lse[tokens])
    weight = torch.sigmoid(more_lse - some_lse)[..., None].to(out.dtype)
    merged = torch.lerp(some_out, more_out, weight)
    merged_lse = torch.logaddexp(some_lse, more_lse)
    if tokens is None:
        return merged, merged_lse
    out[tokens], lse[tokens] = merged, merged_lse
    return out, lse
