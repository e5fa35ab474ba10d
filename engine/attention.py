"""Attention of one step on the CPU: writes the new keys and values, attends part by part, merges the parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from .attention_few import MOST_ROWS, attend_few, suits
from .attention_loops import UNSEEN, attend_rows, merge, soften
from .attention_pairs import attend_pairs, can_attend
from .cascade import Kind, NearPart, ProductPart, Rows, Sight, StepPlan, Tokens, make_sight
from .linears import padded_rows
from .loops import bits, write_rows
from .memory_cpu import CpuMemory

_MOST_SCORES = 1 << 20  # of one product: a block of keys is as long as this allows, so that scores stay near
_FEWEST_KEYS = 512
_NOTHING = np.empty((0, 0), dtype=np.float32)
_ONE = np.array([0, 1])


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
        for pool, new in ((keys, key), (values, value)):
            write_rows(bits(pool), self._plan.write_rows, bits(new[0].transpose(0, 1).contiguous()))
        window = self._kinds[layer].window
        scoring = Scoring(keys.shape[2] ** -0.5 if scaling is None else scaling, softcap or 0.0)
        # (T, kv_heads, groups, dim): neighbouring query heads read the same KV head
        queries = query[0].transpose(0, 1).unflatten(1, (keys.shape[0], self._kinds[layer].groups))
        found = Found(len(queries), query.shape[1], values.shape[2])
        if self._plan.near is not None:
            found.near(self._plan.near, self._plan.near_sights[window], queries, keys, values, scoring)
        for call in self._plan.products:
            if window in call.sights:
                found.product(call.part, call.sights[window], queries, keys, values, scoring)
        out = torch.from_numpy(found.out)
        if sinks is not None:
            out *= torch.sigmoid(torch.from_numpy(found.lse) - sinks)[..., None]
        return out.to(query.dtype)[None]


class Scoring(NamedTuple):
    """How a product of query and key becomes a score. cap: see attention_loops.capped; 0 for none."""

    scale: float
    cap: float


class Found:
    """What tokens have found so far: values (T, heads, value_dim) and log-sum-exps (T, heads), float32."""

    def __init__(self, n_tokens: int, heads: int, value_dim: int) -> None:
        self.out = np.zeros((n_tokens, heads, value_dim), dtype=np.float32)
        self.lse = np.full((n_tokens, heads), UNSEEN, dtype=np.float32)

    def near(
        self,
        part: NearPart,
        sight: Sight,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scoring: Scoring,
    ) -> None:
        """Each of the part's tokens by itself, before anything else."""
        if is_paired(queries, values):
            owners = part.first_token, part.first_segment, part.segments
            self._pairs(part.tokens, sight, *owners, queries, keys, values, scoring)
            return
        attend_rows(
            0,
            len(part.tokens),
            queries.float().contiguous().numpy(),
            bits(keys),
            bits(values),
            part.tokens,
            sight.low,
            sight.high,
            part.owners,
            part.first_segment,
            part.segments,
            scoring.scale,
            scoring.cap,
            self.out,
            self.lse,
        )

    def product(
        self,
        part: ProductPart,
        sights: Sequence[tuple[slice, Sight]],
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scoring: Scoring,
    ) -> None:
        """All tokens of the part together, merged with what they have found before."""
        if is_paired(queries, values):
            self._paired_product(part, sights, queries, keys, values, scoring)
            return
        mine = _pick(queries, part.tokens).transpose(0, 1).contiguous()  # (kv_heads, n, groups, key_dim)
        n_keys = max(sight.last for _, sight in sights)
        keys, values = _read(keys, part.rows, n_keys), _read(values, part.rows, n_keys)
        groups = mine.shape[2]
        most_rows = groups * max(len(sight.low) for _, sight in sights)
        top, weight = np.empty(most_rows, dtype=np.float32), np.empty(most_rows, dtype=np.float32)
        for some, sight in sights:
            tokens = part.numbers[some]
            for head in range(keys.shape[0]):
                rows = mine[head, some].flatten(0, 1)
                if rows.dtype != torch.float32:  # of others oneDNN makes code for each number: see linears
                    rows = padded_rows(rows)
                total = _multiply(rows, keys[head], values[head], groups, sight, scoring, top, weight)
                merge(self.out, self.lse, tokens, head * groups, groups, top, weight, total.numpy())

    def _paired_product(
        self,
        part: ProductPart,
        sights: Sequence[tuple[slice, Sight]],
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scoring: Scoring,
    ) -> None:
        first, n_keys = 0, max(sight.last for _, sight in sights)
        if isinstance(part.rows, slice):
            first = part.rows.start
        else:
            keys, values = _read(keys, part.rows, n_keys), _read(values, part.rows, n_keys)
        for some, sight in sights:
            tokens = part.numbers[some]
            whole = np.array([0, len(tokens)]), _ONE, np.array([[0, n_keys, first]])
            self._pairs(tokens, sight, *whole, queries, keys, values, scoring)

    def _pairs(
        self,
        tokens: np.ndarray,
        sight: Sight,
        first_token: np.ndarray,
        first_segment: np.ndarray,
        segments: np.ndarray,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scoring: Scoring,
    ) -> None:
        arguments = (
            bits(queries.contiguous()),
            bits(keys),
            bits(values),
            tokens,
            sight.low,
            sight.high,
            first_token,
            first_segment,
            segments,
            scoring.scale,
            scoring.cap,
            self.out,
            self.lse,
        )
        rows = np.diff(first_token) * queries.shape[2]
        most_few = MOST_ROWS if suits(queries.shape[3], values.shape[2]) else 0
        if rows.min() <= most_few:
            attend_few(*arguments)
        if rows.max() > most_few:
            attend_pairs(*arguments, most_few)


def is_paired(queries: torch.Tensor, values: torch.Tensor) -> bool:
    """Whether these heads are for attend_pairs()."""
    return queries.dtype == torch.bfloat16 and can_attend(queries.shape[3], values.shape[2])


def _multiply(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    groups: int,
    sight: Sight,
    scoring: Scoring,
    top: np.ndarray,
    weight: np.ndarray,
) -> torch.Tensor:
    """queries (rows, key_dim), keys and values (L, dim) -> the values weighed, (rows, value_dim) float32.

    Rows of queries beyond groups for each token of `sight` may give anything.  top, weight: written as
    attention_loops.soften() says.
    """
    n_rows, total = groups * len(sight.low), None
    n_block = min(max(_MOST_SCORES // n_rows, _FEWEST_KEYS), sight.last - sight.first)
    for start in range(sight.first, sight.last, n_block):
        some = slice(start, min(start + n_block, sight.last))
        scores = torch.mm(queries, keys[some].t())
        so_far = _NOTHING if total is None else total.numpy()
        seen = groups, sight.low, sight.high, scoring.scale, scoring.cap
        soften(0, n_rows, bits(scores), start, *seen, total is None, top, weight, so_far)
        if total is None:
            total = torch.mm(scores, values[some]).float()
        elif scores.dtype == torch.float32:
            total.addmm_(scores, values[some])
        else:
            total += torch.mm(scores, values[some])
    assert total is not None
    return total


def attend_near(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, n_keys: int) -> Found:
    """Plain attention of queries (T, kv_heads, groups, dim), each by itself, over the first n_keys rows of a pool."""
    n_tokens, kv_heads, groups, _ = queries.shape
    found = Found(n_tokens, kv_heads * groups, values.shape[2])
    tokens, none = np.arange(n_tokens), np.zeros(n_tokens, dtype=np.int64)
    part = NearPart(tokens, tokens, np.arange(n_tokens + 1), np.array([[0, n_keys, 0]] * n_tokens))
    found.near(part, make_sight(none, none + n_keys), queries, keys, values, Scoring(keys.shape[2] ** -0.5, 0.0))
    return found


def attend_product(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> Found:
    """The same for all queries together, over all rows."""
    n_tokens, kv_heads, groups, _ = queries.shape
    found = Found(n_tokens, kv_heads * groups, values.shape[2])
    n_keys, tokens = keys.shape[1], np.arange(n_tokens)
    part = ProductPart(slice(0, n_keys), np.array([[0, n_keys]]), None, tokens)
    sight = make_sight(np.zeros_like(tokens), np.full_like(tokens, n_keys))
    whole = [(slice(0, n_tokens), sight)]
    found.product(part, whole, queries, keys, values, Scoring(keys.shape[2] ** -0.5, 0.0))
    return found


def _pick(queries: torch.Tensor, tokens: Tokens) -> torch.Tensor:
    return queries if tokens is None else queries[tokens]


def _read(pool: torch.Tensor, rows: Rows, n: int) -> torch.Tensor:
    """(kv_heads, n, dim), the first n of the rows: a view where they are neighbours."""
    return pool[:, rows.start : rows.start + n] if isinstance(rows, slice) else pool.index_select(1, rows[:n])
