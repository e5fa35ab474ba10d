"""Logits to tokens: functions from tensors to tensors. A row's answer never depends on its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from .kernels.mask import apply_mask
from .kernels.sampling import Draws, draw_sorted, filter_sorted
from .loops import forbid, likeliest
from .types import Sampling

_MOST_TABLES = 2  # of the grammar, on another device; one that comes again is copied again


class Scores:
    """The logits of one step's rows, each over the tokens allowed in it.

    A row whose grammar state allows few tokens keeps only their logits; any other row is as wide as the vocabulary,
    with -inf where a token is not allowed.
    """

    def __init__(
        self,
        logits: torch.Tensor,
        few_allowed: Sequence[np.ndarray | None],
        unmasked: Mapping[int, torch.Tensor] | None = None,
    ) -> None:
        """logits: (rows, vocab) float32, masked where few_allowed is None; few_allowed: ascending ids, (k,) each.

        unmasked: the logits (vocab,) of rows, by number, whose logprobs are over all tokens, allowed or not.
        """
        self._logits = logits
        self._few_allowed = few_allowed
        self._unmasked = unmasked or {}

    def choose(self, samplings: Sequence[Sampling], uniforms: Sequence[float]) -> np.ndarray:
        """One token for each row, int64. uniforms: a number in [0, 1) for each row; greedy rows leave it unused."""
        tokens = np.empty(len(samplings), dtype=np.int64)
        few = [row for row, allowed in enumerate(self._few_allowed) if allowed is not None]
        many = [row for row, allowed in enumerate(self._few_allowed) if allowed is None]
        for rows, gather in ((few, self._gather_few), (many, self._gather_many)):
            greedy = [row for row in rows if samplings[row].temperature == 0]
            drawn = [row for row in rows if samplings[row].temperature != 0]
            if greedy and rows is many and self._logits.device.type == "cpu":
                tokens[greedy] = self._likeliest(greedy)
            elif greedy:
                logits, ids = gather(greedy)
                tokens[greedy] = _ids_at(ids, logits.argmax(dim=1))
            if drawn:
                logits, ids = gather(drawn)
                columns = draw(logits, [samplings[row] for row in drawn], [uniforms[row] for row in drawn])
                tokens[drawn] = _ids_at(ids, columns)
        return tokens

    def preferred(self, row: int, sampling: Sampling, random: np.random.Generator) -> np.ndarray:
        """All tokens allowed in a row, (n,) int64, in an order of which the first that some further rule allows is the
        token that had been chosen, had the rule masked the others.

        Greedy: by their logits. Else in the order of draws without replacement (Gumbel noise: Yellott 1977), those
        that the filters of `sampling` leave before all others.
        """
        few = self._few_allowed[row]
        logits = self._logits[row].cpu().double()
        ids = torch.isfinite(logits).nonzero()[:, 0] if few is None else torch.from_numpy(few.astype(np.int64))
        if sampling.temperature == 0:
            return ids[torch.sort(logits[ids], descending=True, stable=True).indices].numpy()
        weights, order = filtered(logits[ids][None], [sampling])
        hot = logits[ids[order[0]]] / sampling.temperature + torch.from_numpy(random.gumbel(size=len(ids)))
        hot[weights[0] == 0] -= 2 * float(hot.max() - hot.min()) + 1
        return ids[order[0][torch.sort(hot, descending=True, stable=True).indices]].numpy()

    def logprob(self, row: int, token_id: int, n_top: int) -> Logprob:
        """How likely token_id was in this row, and the n_top likeliest: natural logs over the allowed tokens, or over
        all of them where the row is unmasked.

        Of the model itself: before temperature and filters.
        """
        allowed = self._few_allowed[row] if row not in self._unmasked else None
        if row in self._unmasked:
            logprobs, column = torch.log_softmax(self._unmasked[row], dim=0), token_id
        elif allowed is None:
            logprobs, column = torch.log_softmax(self._logits[row], dim=0), token_id
        else:
            few = torch.from_numpy(allowed.astype(np.int64)).to(self._logits.device)
            logprobs, column = torch.log_softmax(self._logits[row, few], dim=0), int(np.searchsorted(allowed, token_id))
        values, columns = torch.sort(logprobs, descending=True, stable=True)
        n_top = min(n_top, int((values > -torch.inf).sum()))
        ids = columns[:n_top].tolist() if allowed is None else allowed[columns[:n_top].cpu().numpy()].tolist()
        return Logprob(float(logprobs[column]), list(zip(ids, values[:n_top].tolist(), strict=True)))

    def _likeliest(self, rows: list[int]) -> np.ndarray:
        """The token of the largest logit of each row, without a copy of them: argmax() on the CPU."""
        found = np.empty(len(rows), dtype=np.int64)
        likeliest(self._logits.view(torch.int32).numpy(), np.array(rows), found)
        return found

    def _gather_few(self, rows: list[int]) -> tuple[torch.Tensor, np.ndarray]:
        """Logits of the allowed tokens of each row, padded with -inf, (n, k); and the ids they stand for, (n, k)."""
        allowed = [self._few_allowed[row] for row in rows]
        lengths = np.array([len(ids) for ids in allowed if ids is not None])
        ids = np.zeros((len(rows), lengths.max()), dtype=np.int64)
        is_real = np.arange(ids.shape[1]) < lengths[:, None]
        ids[is_real] = np.concatenate([ids for ids in allowed if ids is not None])
        device = self._logits.device
        logits = self._logits[torch.tensor(rows, device=device)[:, None], torch.from_numpy(ids).to(device)]
        return logits.masked_fill_(~torch.from_numpy(is_real).to(device), -torch.inf), ids

    def _gather_many(self, rows: list[int]) -> tuple[torch.Tensor, None]:
        if len(rows) == len(self._logits):
            return self._logits, None
        return self._logits[torch.tensor(rows, device=self._logits.device)], None


class Logprob(NamedTuple):
    """How likely a token was; top: (token id, logprob) of the likeliest, likeliest first."""

    logprob: float
    top: list[tuple[int, float]]


def _ids_at(ids: np.ndarray | None, columns: torch.Tensor) -> np.ndarray:
    at = columns.cpu().numpy()
    return at if ids is None else ids[np.arange(len(at)), at]


def draw(logits: torch.Tensor, samplings: Sequence[Sampling], uniforms: Sequence[float]) -> torch.Tensor:
    """One column for each row, int64: see kernels.sampling.draw_sorted. logits: (rows, columns) float32."""
    return draw_sorted(logits, draws_of(samplings, uniforms, logits.device))


def filtered(logits: torch.Tensor, samplings: Sequence[Sampling]) -> tuple[torch.Tensor, torch.Tensor]:
    """How likely each column is to be drawn, and the columns: see kernels.sampling.filter_sorted."""
    return filter_sorted(logits, draws_of(samplings, [0.0] * len(samplings), logits.device))


def draws_of(samplings: Sequence[Sampling], uniforms: Sequence[float], device: torch.device) -> Draws:
    """How each row is drawn. uniforms: a number in [0, 1) for each."""
    numbers = [[s.temperature, s.top_p, s.min_p, u] for s, u in zip(samplings, uniforms, strict=True)]
    temperature, top_p, min_p, uniform = torch.tensor(numbers, dtype=torch.float64, device=device).unbind(1)
    top_k = torch.tensor([s.top_k for s in samplings], dtype=torch.int32, device=device)
    return Draws(temperature, top_k, top_p, min_p, uniform)


class MaskTables:
    """The grammar's tables of allowed tokens, where the logits are. On the CPU its own arrays, not copies."""

    def __init__(self) -> None:
        self._held: dict[int, _HeldTable] = {}  # by serial, latest last

    def on(self, device: torch.device, serial: int, rows: np.ndarray) -> torch.Tensor:
        """rows: (n, words) int32, the table of this serial, which only grows. Returns at least these rows, there."""
        if device.type == "cpu":
            return torch.from_numpy(rows)
        held = self._held[serial] = self._held.pop(serial, None) or _HeldTable()
        if len(self._held) > _MOST_TABLES:
            del self._held[next(iter(self._held))]
        return held.with_rows(device, rows)


class _HeldTable:
    """A copy of a table that only grows, on another device."""

    def __init__(self) -> None:
        self._rows: torch.Tensor | None = None
        self._n_rows = 0

    def with_rows(self, device: torch.device, rows: np.ndarray) -> torch.Tensor:
        if self._rows is None or len(self._rows) < len(rows):
            room = torch.zeros((max(1024, 2 * len(rows)), rows.shape[1]), dtype=torch.int32, device=device)
            if self._rows is not None:
                room[: self._n_rows] = self._rows[: self._n_rows]
            self._rows = room
        self._rows[self._n_rows : len(rows)] = torch.from_numpy(rows[self._n_rows :]).to(device)
        self._n_rows = len(rows)
        return self._rows


def mask_rows(
    logits: torch.Tensor,
    masks: Iterable[tuple[torch.Tensor, np.ndarray]],
    few_allowed: Sequence[np.ndarray | None],
    keep: Sequence[int] = (),
) -> Scores:
    """Leave each row only its allowed tokens; changes logits.

    masks: tables, each with a row of it for each row of logits, (rows,) int32, -1: not masked by this table.
    few_allowed: the allowed tokens of rows with few of them.  keep: rows whose logprobs are over all tokens.
    """
    unmasked = {row: logits[row].clone() for row in keep}
    is_wide = np.array([few is None for few in few_allowed], dtype=bool)
    for table, row_ids in masks:
        by_bits = np.where(is_wide, row_ids, -1).astype(np.int32)
        if not (by_bits >= 0).any():
            continue
        if logits.device.type == "cpu":
            if by_bits.max() >= len(table):
                raise ValueError(f"mask row {by_bits.max()} is not in a table of {len(table)} rows")
            forbid(logits.view(torch.int32).numpy(), table.numpy(), by_bits)
        else:
            apply_mask(logits, table, torch.from_numpy(by_bits).to(logits.device))
    return Scores(logits, few_allowed, unmasked)


def warm() -> None:
    """Have the compiled loops at hand that masks and greedy choices take, so that no request waits for them."""
    table, row_ids = torch.full((1, 1), -1, dtype=torch.int32), np.zeros(1, dtype=np.int32)
    scores = mask_rows(torch.zeros(1, 32), [(table, row_ids)], [None])
    scores.choose([Sampling()], [0.0])
