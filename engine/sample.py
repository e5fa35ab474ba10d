"""Logits to tokens: functions from tensors to tensors. A row's answer never depends on its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from .kernels.mask import apply_mask
from .kernels.sampling import Draws, draw_sorted, filter_sorted
from .loops import forbid, likeliest
from .ports import Few
from .types import Sampling

_MOST_TABLES = 2  # of the grammar, on another device; one that comes again is copied again


class Scores:
    """The logits of one step's rows, each over the tokens allowed in it.

    A row whose grammar state allows few tokens keeps only their logits; any other row is as wide as the vocabulary,
    with -inf where a token is not allowed.
    """

    def __init__(self, logits: torch.Tensor, few: Few, unmasked: Mapping[int, torch.Tensor] | None = None) -> None:
        """logits: (rows, vocab) float32, masked where rows are not few.  few: the allowed tokens of the others.

        unmasked: the logits (vocab,) of rows, by number, whose logprobs are over all tokens, allowed or not.
        """
        self._logits = logits
        self._few = few
        self._unmasked = unmasked or {}

    def choose(self, ways: Ways) -> np.ndarray:
        """One token for each row, int64."""
        tokens = np.empty(len(ways.temperature), dtype=np.int64)
        is_few, is_drawn = self._few.counts >= 0, ways.temperature != 0
        for rows in (np.flatnonzero(is_few & ~is_drawn), np.flatnonzero(~is_few & ~is_drawn)):
            if len(rows):
                tokens[rows] = self._likeliest(rows)
        for rows in (np.flatnonzero(is_few & is_drawn), np.flatnonzero(~is_few & is_drawn)):
            if len(rows):
                logits, ids = self._gather(rows)
                tokens[rows] = _ids_at(ids, draw_sorted(logits, ways.of(rows).draws(logits.device)))
        return tokens

    def preferred(self, row: int, sampling: Sampling, random: np.random.Generator) -> np.ndarray:
        """All tokens allowed in a row, (n,) int64, in an order of which the first that some further rule allows is the
        token that had been chosen, had the rule masked the others.

        Greedy: by their logits. Else in the order of draws without replacement (Gumbel noise: Yellott 1977), those
        that the filters of `sampling` leave before all others.
        """
        few = self._allowed(row)
        logits = self._logits[row].cpu().double()
        ids = torch.isfinite(logits).nonzero()[:, 0] if few is None else torch.from_numpy(few)
        if sampling.temperature == 0:
            return ids[torch.sort(logits[ids], descending=True, stable=True).indices].numpy()
        weights, order = filter_sorted(logits[ids][None], Ways.of_each([sampling], [0.0]).draws(logits.device))
        hot = logits[ids[order[0]]] / sampling.temperature + torch.from_numpy(random.gumbel(size=len(ids)))
        hot[weights[0] == 0] -= 2 * float(hot.max() - hot.min()) + 1
        return ids[order[0][torch.sort(hot, descending=True, stable=True).indices]].numpy()

    def logprob(self, row: int, token_id: int, n_top: int) -> Logprob:
        """How likely token_id was in this row, and the n_top likeliest: natural logs over the allowed tokens, or over
        all of them where the row is unmasked.

        Of the model itself: before temperature and filters.
        """
        allowed = self._allowed(row) if row not in self._unmasked else None
        if row in self._unmasked:
            logprobs, column = torch.log_softmax(self._unmasked[row], dim=0), token_id
        elif allowed is None:
            logprobs, column = torch.log_softmax(self._logits[row], dim=0), token_id
        else:
            few = torch.from_numpy(allowed).to(self._logits.device)
            logprobs, column = torch.log_softmax(self._logits[row, few], dim=0), int(np.searchsorted(allowed, token_id))
        values, columns = torch.sort(logprobs, descending=True, stable=True)
        n_top = min(n_top, int((values > -torch.inf).sum()))
        ids = columns[:n_top].tolist() if allowed is None else allowed[columns[:n_top].cpu().numpy()].tolist()
        return Logprob(float(logprobs[column]), list(zip(ids, values[:n_top].tolist(), strict=True)))

    def _allowed(self, row: int) -> np.ndarray | None:
        """The allowed tokens of a row, ascending int64, where they are few."""
        count = int(self._few.counts[row])
        return None if count < 0 else self._few.ids[row, :count]

    def _likeliest(self, rows: np.ndarray) -> np.ndarray:
        """The token of the largest logit of each row. rows: (n,) int64, all of them few, or none."""
        if self._few.counts[rows[0]] < 0 and self._logits.device.type == "cpu":  # without a copy of them
            found = np.empty(len(rows), dtype=np.int64)
            likeliest(self._logits.view(torch.int32).numpy(), rows, found)
            return found
        logits, ids = self._gather(rows)
        return _ids_at(ids, logits.argmax(dim=1))

    def _gather(self, rows: np.ndarray) -> tuple[torch.Tensor, np.ndarray | None]:
        """The logits of rows that are all of them few, or none: those of the allowed tokens, padded with -inf, (n, k);
        and the ids these stand for, (n, k), None: the columns themselves."""
        device = self._logits.device
        there, counts = torch.from_numpy(rows).to(device), self._few.counts[rows]
        if counts[0] < 0:
            return (self._logits if len(rows) == len(self._logits) else self._logits[there]), None
        ids = self._few.ids[rows, : counts.max()]
        logits = self._logits[there[:, None], torch.from_numpy(ids).to(device)]
        is_padding = np.arange(ids.shape[1]) >= counts[:, None]
        return logits.masked_fill_(torch.from_numpy(is_padding).to(device), -torch.inf), ids


class Ways(NamedTuple):
    """How the token of each row is chosen, (n,) float64, top_k int32: see types.Sampling.

    uniform: a number in [0, 1) for each, which greedy rows leave unused.
    """

    temperature: np.ndarray
    top_k: np.ndarray
    top_p: np.ndarray
    min_p: np.ndarray
    uniform: np.ndarray

    @classmethod
    def of_each(cls, samplings: Sequence[Sampling], uniforms: Sequence[float]) -> Ways:
        """One row for each; steps take theirs from the book."""
        temperature, top_p, min_p = np.array([(each.temperature, each.top_p, each.min_p) for each in samplings]).T
        top_k = np.array([each.top_k for each in samplings], dtype=np.int32)
        return cls(temperature, top_k, top_p, min_p, np.array(uniforms, dtype=np.float64))

    def of(self, rows: np.ndarray) -> Ways:
        """Those of some rows."""
        return Ways(*(each[rows] for each in self))

    def draws(self, device: torch.device) -> Draws:
        """The same as tensors there."""
        return Draws(*(torch.from_numpy(np.ascontiguousarray(each)).to(device) for each in self))


class Logprob(NamedTuple):
    """How likely a token was; top: (token id, logprob) of the likeliest, likeliest first."""

    logprob: float
    top: list[tuple[int, float]]


def _ids_at(ids: np.ndarray | None, columns: torch.Tensor) -> np.ndarray:
    at = columns.cpu().numpy()
    return at if ids is None else ids[np.arange(len(at)), at]


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
    few: Few,
    keep: Sequence[int] = (),
) -> Scores:
    """Leave each row only its allowed tokens; changes logits.

    masks: tables, each with a row of it for each row of logits, (rows,) int32, -1: not masked by this table.
    few: the allowed tokens of rows with few of them.  keep: rows whose logprobs are over all tokens.
    """
    unmasked = {row: logits[row].clone() for row in keep}
    for table, row_ids in masks:
        by_bits = np.where(few.counts < 0, row_ids, np.int32(-1))
        if not (by_bits >= 0).any():
            continue
        if logits.device.type == "cpu":
            if by_bits.max() >= len(table):
                raise ValueError(f"mask row {by_bits.max()} is not in a table of {len(table)} rows")
            forbid(logits.view(torch.int32).numpy(), table.numpy(), by_bits)
        else:
            apply_mask(logits, table, torch.from_numpy(by_bits).to(logits.device))
    return Scores(logits, few, unmasked)


def warm() -> None:
    """Have the compiled loops at hand that masks and greedy choices take, so that no request waits for them."""
    table, row_ids = torch.full((1, 1), -1, dtype=torch.int32), np.zeros(1, dtype=np.int32)
    scores = mask_rows(torch.zeros(1, 32), [(table, row_ids)], Few.of([None]))
    scores.choose(Ways.of_each([Sampling()], [0.0]))
