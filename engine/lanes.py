"""Sequences that decode on the device: what of them only the device knows, and the launches that take them on.

Each has a lane: its last token, its place in the grammar (state, register, stack) and the mask row of that place. A
pass reads the last tokens as its inputs, and its results go back to the lanes, so that the next one can be queued
before the host has seen them. All that the host knows ahead comes with the pass: pages, positions, how tokens are
drawn, and the numbers they are drawn by; and the place of a sequence whose lane does not hold it, or holds what the
host decided against.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from .kernels.grammar import advance
from .kernels.sampling import Draws, sample
from .paged_step import pinned
from .tables_there import TablesThere
from .types import Sampling


class Way(NamedTuple):
    """How tokens are chosen, of m lanes. masked: int32, whether by a grammar.  top_k: int32, and temperature, top_p,
    min_p, float64, as in kernels.sampling.Draws."""

    masked: np.ndarray
    top_k: np.ndarray
    temperature: np.ndarray
    top_p: np.ndarray
    min_p: np.ndarray


class Ways:
    """How tokens of each lane are chosen, as the host knows it; it holds as long as a sequence has the lane."""

    def __init__(self, n_lanes: int) -> None:
        ints, doubles = np.zeros((2, n_lanes), np.int32), np.zeros((3, n_lanes))
        self._all = Way(*ints, *doubles)

    def put(self, lane: int, sampling: Sampling, *, is_masked: bool) -> None:
        """A sequence has this lane from now on."""
        way = int(is_masked), sampling.top_k, sampling.temperature, sampling.top_p, sampling.min_p
        for array, value in zip(self._all, way, strict=True):
            array[lane] = value

    def of(self, lanes: np.ndarray) -> Way:
        """lanes: (m,) int32."""
        return Way(*(array[lanes] for array in self._all))


class Asked(NamedTuple):
    """The rows of logits of a pass, m of them, as numpy arrays: int32, but for uniform and what way says.

    lanes: whose they are, each once.  way: how their tokens are chosen.  fresh: whether its place is the one given
    here, not the lane's.  places: (m, 3) state, register, stack.  row_ids: in the grammar's table, -1 unmasked.
    uniform: float64, the numbers by which tokens are drawn.
    """

    lanes: np.ndarray
    way: Way
    fresh: np.ndarray
    places: np.ndarray
    row_ids: np.ndarray
    uniform: np.ndarray


class Became(NamedTuple):
    """What a pass came to, (m,) int32: tokens, -1 where nothing was allowed; what became of the grammars
    (kernels.grammar.advance), and their mask rows, -1 where they are not known or there is none; and float32, the
    logprobs of the tokens among those allowed."""

    tokens: np.ndarray
    outcomes: np.ndarray
    row_ids: np.ndarray
    logprobs: np.ndarray

    @classmethod
    def of(cls, results: np.ndarray) -> Became:
        """results: what Lanes.take_on returned."""
        tokens, outcomes, row_ids, logprobs = results
        return cls(tokens, outcomes, row_ids, logprobs.view(np.float32))


class Lanes:
    """Owns what is on the device of all lanes. last_tokens: (lanes,) int32, where passes read their inputs."""

    def __init__(self, last_tokens: torch.Tensor) -> None:
        self._tokens = last_tokens
        self._places = torch.zeros((len(last_tokens), 3), dtype=torch.int32, device=last_tokens.device)
        self._row_ids = torch.full_like(last_tokens, -1)
        self._no_rows = torch.zeros((1, 1), dtype=torch.int32, device=last_tokens.device)

    def take_on(self, logits: torch.Tensor, asked: Asked, there: TablesThere | None) -> torch.Tensor:
        """Queue the choice of a token for each row of logits, and all that follows from it.

        there: the tables of the grammar that holds in masked rows; None: there are none.
        Returns (4, m) int32, for Became.of.
        """
        if not len(asked.lanes):  # a pass of prompts alone
            return self._tokens.new_empty((4, 0))
        lanes, masked, fresh, places, row_ids, draws = self._on_device(asked)
        is_fresh = fresh.bool()
        at = lanes.long()
        self._places[at] = torch.where(is_fresh[:, None], places, self._places[at])
        row_ids = torch.where(is_fresh, row_ids, self._row_ids[at])
        tokens, logprobs = sample(logits, self._no_rows if there is None else there.rows, row_ids, draws)
        outcomes, after = torch.zeros_like(tokens), torch.full_like(tokens, -1)
        if there is not None:
            slots = torch.where(masked.bool(), lanes, -1)
            after, outcomes = advance(self._places, slots, tokens, there.tables, there.widest)
        self._tokens[at] = tokens
        self._row_ids[at] = after
        return torch.stack([tokens, outcomes, after, logprobs.view(torch.int32)])

    def _on_device(
        self, asked: Asked
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Draws]:
        """All of it in one copy; numbers of 64 bits go as two of 32, and first, as they must lie at even places."""
        n, device = len(asked.lanes), self._tokens.device
        way = asked.way
        doubles = [each.view(np.int32) for each in (way.temperature, way.top_p, way.min_p, asked.uniform)]
        ints = [asked.lanes, way.masked, asked.fresh, asked.places, asked.row_ids, way.top_k]
        flat = pinned([*doubles, *ints], device).to(device, non_blocking=True)
        temperature, top_p, min_p, uniform = flat[: 8 * n].view(torch.float64).view(4, n)
        lanes, masked, fresh, places, row_ids, top_k = flat[8 * n :].split([n, n, n, 3 * n, n, n])
        draws = Draws(temperature, top_k, top_p, min_p, uniform)
        return lanes, masked, fresh, places.view(n, 3), row_ids, draws
