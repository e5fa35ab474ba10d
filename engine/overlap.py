"""The step loop that keeps one pass queued behind the one that runs, so that the device need not wait for the host.

A step queues pass n+1 and then settles what came of pass n, by the code of the ordinary loop; between steps one pass is
in flight. In pass n+1 every sequence that pass n chooses a token for goes on by that token, which only the device knows
yet. Where settling shows that the sequence went another way than the device took it, its row in n+1 is void, and it
joins n+2 with what the host knows. docs/gpu.md tells the whole design.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from .arrivals import Arrival, Send, Sent, receive
from .costs import Work
from .drafts import plain
from .kernels.grammar import ADVANCED, NO_ROW, NO_TRANSITION
from .lanes import Asked, Became, Lanes
from .passes import Checked, Load, with_rows
from .ports import ForwardBatch, Memory, Model
from .running import Constrained, Running, Sequence
from .sample import Scores
from .settle import Ends, LogitsGone
from .step import StepLoop
from .tables_there import TablesThere
from .types import Event, RootformError


class GrowingMemory(Memory, Protocol):
    """Memory in which a sequence can be given more room where it is."""

    device: torch.device

    def grow(self, slot: int, capacity: int) -> bool:
        """Room for so many tokens of the sequence in all; False when there is none now."""
        ...


class AheadModel(Model, Protocol):
    """A model that takes tokens which only the device knows. last_tokens: (lanes,) int32, there."""

    last_tokens: torch.Tensor

    @property
    def memory(self) -> GrowingMemory:
        """Where its KV is."""
        ...

    def forward(self, batch: ForwardBatch, sources: np.ndarray | None = None) -> torch.Tensor:
        """See ports.Model. sources: (T,) int32, the lane whose last token stands for a packed one, -1: none does."""
        ...


@dataclass(slots=True)
class _Pass:
    """A pass that is queued, or done and not settled. rows: whose tokens it chooses, by key, in order of its rows; void
    ones are taken out.

    numbers: the row of each.  began: by the loop's clock.
    """

    load: Load
    rows: dict[int, Checked]
    numbers: dict[int, int]
    arrival: Arrival
    work: Work
    began: float
    there: TablesThere | None

    def row_of(self, running: Running) -> Checked | None:
        """Its row; None: it has none, or the sequence lost its place since."""
        row = self.rows.get(running.key)
        return row if row is not None and row.running is running else None


class OverlappedLoop(StepLoop):
    """A StepLoop over a model on a device. send: how results are copied back."""

    model: AheadModel

    def __init__(self, model: AheadModel, *arguments: Any, send: Send = Sent, **options: Any) -> None:
        super().__init__(model, *arguments, **options)
        if self.limits.batch_rows > len(model.last_tokens):
            raise RootformError(
                f"max_batch is {self.limits.batch_rows}; passes that overlap have room for {len(model.last_tokens)} "
                "sequences; lower it, or use overlap=False",
                param="max_batch",
            )
        self._send_back = send
        self._lanes = Lanes(model.last_tokens)
        self._lane_of: dict[int, int] = {}  # by key, of sequences that run
        self._free_lanes = list(range(self.limits.batch_rows))
        self._flying: _Pass | None = None
        self._needs_host: set[int] = set()  # sequences whose next token the host has to choose
        self._there: TablesThere | None = None
        self._landed_at = 0.0

    # -- one step ---------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Queue a pass, and settle the one before it; or, where the next pass needs the host, settle first."""
        self.counts.steps += 1
        began = self._clock()
        if not self._has_room():
            return self._land(None)
        loaded: list[Running] | None = None
        ahead: _Pass | None = None
        try:
            loaded, tokens = self._choose()
            goes_ahead = self._goes_ahead(loaded)
            if goes_ahead:
                ahead = self._launch(loaded, tokens, began)
            if self._flying is None and ahead is None:
                if not loaded:
                    return self._unstick()
                self.counts.lockstep_passes += 1
                return self._pass(loaded, tokens, began)
        except Exception as error:
            affected = self.places.running.values() if loaded is None else loaded
            return self._fail_step([running.sequence for running in affected], error)
        return self._land(ahead)

    def _goes_ahead(self, loaded: SequenceOf[Running]) -> bool:
        """Whether the device can choose the tokens of all of them by itself."""
        sequences = [running.sequence for running in loaded]
        if any(each.request.top_logprobs is not None or each.key in self._needs_host for each in sequences):
            return False
        if self._drafter is not None and any(self._drafter.pays(each) for each in sequences):
            return False
        places = [each.grammar for each in sequences if each.grammar is not None]
        return self._grammars is None or not places or len(self._grammars.automata(places)) == 1

    def _n_unseen(self, running: Running) -> int:
        return int(self._flying is not None and self._flying.row_of(running) is not None)

    def _has_room(self) -> bool:
        """Give sequences room for what the next pass computes of them; False: first settle the one in flight, so that
        those that find no room can be put elsewhere."""
        if self._flying is None:
            return True
        for running in self.places.running.values():
            needed = len(running.sequence.ids) + self._n_unseen(running)
            if needed > running.room.capacity and not self._grow(running, needed):
                return False
        return True

    def _grow(self, running: Running, needed: int) -> bool:
        request, memory = running.sequence.request, self.model.memory
        capacity = min(running.sequence.n_prompt + request.max_new_tokens, needed + self.limits.growth_tokens)
        while not memory.grow(running.room.slot, capacity):
            pages = self.prefixes.tree.evict(-(-self.limits.growth_tokens // memory.page_tokens))
            memory.give_back(pages)
            if not len(pages):
                return False
        running.room.capacity = capacity
        return True

    # -- queueing a pass --------------------------------------------------------------------------------------

    def _launch(self, loaded: SequenceOf[Running], tokens: dict[int, int], began: float) -> _Pass | None:
        """Queue the next pass; None when those in it end with the token that is in flight."""
        loaded = [each for each in loaded if not self._n_unseen(each) or each.sequence.remaining > 1]
        if not loaded:
            return None
        self._give_lanes(loaded)
        load, sources = self._packed(loaded, tokens)
        there = self._tables(load.sampled)
        asked = self._asked(load.sampled)
        logits = self.model.forward(load.batch, sources)
        work = self._mark_computed(load)
        results = self._lanes.take_on(logits, asked, there)
        self.counts.overlapped_passes += 1
        rows = {each.key: each for each in load.sampled}
        numbers = {key: number for number, key in enumerate(rows)}
        return _Pass(load, rows, numbers, self._send_back(results), work, began, there)

    def _give_lanes(self, loaded: SequenceOf[Running]) -> None:
        for key in [key for key in self._lane_of if key not in self.places.running]:
            self._free_lanes.append(self._lane_of.pop(key))
        for running in loaded:
            if running.key not in self._lane_of:
                self._lane_of[running.key] = self._free_lanes.pop()

    def _packed(self, loaded: SequenceOf[Running], tokens: dict[int, int]) -> tuple[Load, np.ndarray]:
        """The batch, and for each of its tokens the lane that has it, -1: the batch has."""
        parts, sources, starts, lengths, sampled = [], [], [], [], []
        for running in loaded:
            ids, start = running.sequence.ids.view, running.n_computed
            if self._n_unseen(running):
                part, source = np.zeros(1, dtype=np.int32), self._lane_of[running.key]
                sampled.append(running)
            else:
                part, source = ids[start : start + tokens[running.key]], -1
                if start + len(part) == len(ids):
                    sampled.append(running)
            parts.append(part)
            sources.append(np.full(len(part), source, dtype=np.int32))
            starts.append(start)
            lengths.append(len(part))
        stops = np.cumsum(lengths)
        last = {running.key: int(stop) - 1 for running, stop in zip(loaded, stops, strict=True)}
        batch = ForwardBatch(
            token_ids=np.concatenate(parts).astype(np.int64),
            positions=np.arange(stops[-1]) + np.repeat(np.array(starts) - (stops - lengths), lengths),
            slots=np.array([running.room.slot for running in loaded], dtype=np.int32),
            starts=np.array(starts, dtype=np.int32),
            lengths=np.array(lengths, dtype=np.int32),
            logit_rows=np.array([last[running.key] for running in sampled], dtype=np.int64),
        )
        checked = with_rows(sampled, [plain(running.sequence) for running in sampled])
        return Load(list(loaded), lengths, checked, batch), np.concatenate(sources)

    def _tables(self, rows: SequenceOf[Checked]) -> TablesThere | None:
        """The tables of the grammar of these rows, up to date for them; None: they have none."""
        places = _places(rows)
        if not places or self._grammars is None:
            return None
        (automaton,) = self._grammars.automata(places)
        if self._there is None or self._there.automaton is not automaton:
            self._there = TablesThere(automaton, self.model.memory.device)
        self._there.bring_up()
        return self._there

    def _asked(self, rows: SequenceOf[Checked]) -> Asked:
        """What the device is told of the rows."""
        n = len(rows)
        masked = np.array([each.sequence.grammar is not None for each in rows], dtype=np.int32)
        fresh = np.array([not self._n_unseen(each.running) for each in rows], dtype=np.int32)
        states, row_ids = np.zeros((n, 3), dtype=np.int32), np.full(n, -1, dtype=np.int32)
        places = _places(each for each in rows if not self._n_unseen(each.running))
        if places and self._grammars is not None:
            at = np.flatnonzero(masked & fresh)
            states[at], row_ids[at] = self._grammars.where(places), self._grammars.row_ids(places)
        samplings = [each.sequence.request.sampling for each in rows]
        numbers = [[s.temperature, s.top_p, s.min_p] for s in samplings]
        temperature, top_p, min_p = np.array(numbers, dtype=np.float64).reshape(-1, 3).T.copy()
        return Asked(
            lanes=np.array([self._lane_of[each.key] for each in rows], dtype=np.int32),
            masked=masked,
            fresh=fresh,
            places=states,
            row_ids=row_ids,
            top_k=np.array([s.top_k for s in samplings], dtype=np.int32),
            temperature=temperature,
            top_p=top_p,
            min_p=min_p,
            uniform=np.array([self._number(each.running) for each in rows], dtype=np.float64),
        )

    def _number(self, running: Running) -> float:
        """The random number by which its next token is drawn; the one in flight has that before it."""
        sequence = running.sequence
        if sequence.request.sampling.temperature == 0:
            return 0.0
        return sequence.draws.ahead(1 + self._n_unseen(running))[-1]

    # -- settling a pass --------------------------------------------------------------------------------------

    def _land(self, ahead: _Pass | None) -> list[Event]:
        """Settle the pass in flight, if there is one, while `ahead` runs, which is in flight from now on."""
        landed, self._flying = self._flying, ahead
        if landed is None:
            return []
        rows = [each for each in landed.rows.values() if self.places.running.get(each.key) is each.running]
        try:
            became = Became(*receive(landed.arrival, self.counts, work_behind=ahead is not None))
            now = self._clock()
            self._note_cost(landed.work, landed.load, now - max(landed.began, self._landed_at))
            self._landed_at = now
            ends = self._settle_rows(landed, rows, became)
        except Exception as error:
            return self._fail_step([each.sequence for each in rows], error)
        return self._send([each.sequence for each in rows], ends)

    def _settle_rows(self, landed: _Pass, rows: SequenceOf[Checked], became: Became) -> Ends:
        at = np.array([landed.numbers[each.key] for each in rows], dtype=np.int64)
        tokens, outcomes, row_ids = (each[at].tolist() for each in became)
        sequences = [each.sequence for each in rows]
        before = [len(each.ids) for each in sequences]
        ends = self._settler.settle(sequences, at.tolist(), tokens, None)
        agreed = self._agreed(rows, outcomes, row_ids)
        self._count_misses(landed, outcomes)
        for each, token, n_before, is_same in zip(rows, tokens, before, agreed, strict=True):
            self._follow_up(each, token, n_before, ends, is_same=is_same)
        return ends

    def _agreed(self, rows: SequenceOf[Checked], outcomes: SequenceOf[int], row_ids: SequenceOf[int]) -> list[bool]:
        """Whether the device has each sequence's grammar where the host has it now."""
        agreed = [True] * len(rows)
        at = [n for n, each in enumerate(rows) if each.sequence.grammar is not None]
        if at and self._grammars is not None:
            known = self._grammars.row_ids(_places(rows[n] for n in at)).tolist()
            for n, row_id in zip(at, known, strict=True):
                agreed[n] = outcomes[n] == ADVANCED and row_ids[n] == row_id
        return agreed

    def _count_misses(self, landed: _Pass, outcomes: SequenceOf[int]) -> None:
        missed = sum(each in (NO_TRANSITION, NO_ROW) for each in outcomes)
        self.counts.grammar_misses += missed
        if landed.there is not None:
            landed.there.note_missed(missed)

    def _follow_up(self, row: Checked, token: int, n_before: int, ends: Ends, *, is_same: bool) -> None:
        """What the settling of a row means for its row in the pass that runs now, and for the sequence's next one."""
        running, sequence = row.running, row.sequence
        added = sequence.ids.view[n_before:].tolist()
        is_taken = added[:1] == [token]
        is_over = sequence.key in ends
        ahead = self._flying.row_of(running) if self._flying is not None else None
        if ahead is not None and self._flying is not None and not (is_same and added == [token] and not is_over):
            self.counts.void_rows += 1
            del self._flying.rows[sequence.key]
            if not is_taken or (len(added) == 1 and not is_over):  # its KV is not this text's, or is asked for again
                self._forget_last(running)
        if isinstance(ends.get(sequence.key), LogitsGone):
            del ends[sequence.key]
            self._ask_again(running)
            return
        sequence.draws.use(1)
        end = ends.get(sequence.key)
        if self._drafter is not None and not isinstance(end, Exception):
            said_so = end == "stop" and sequence.text.matched_stop is None
            self._drafter.follow(sequence, row.draft, 0, ended_itself=said_so)

    def _forget_last(self, running: Running) -> None:
        running.n_computed -= 1
        self.model.memory.truncate(running.room.slot, running.n_computed)

    def _ask_again(self, running: Running) -> None:
        """The token may not be taken, and the logits it was chosen by are gone: compute them again, for the host."""
        self._needs_host.add(running.key)
        if running.n_computed > running.room.n_shared:
            self._forget_last(running)
        else:  # its last token is the tree's
            self.places.put_back(running.key)

    def _settle(self, sampled: list[Checked], tokens: list[int], scores: Scores) -> Ends:
        self._needs_host -= {each.key for each in sampled}
        return super()._settle(sampled, tokens, scores)

    def _drop(self, sequence: Sequence, *, remember: bool = True) -> None:
        self._needs_host.discard(sequence.key)
        super()._drop(sequence, remember=remember)


def _places(rows: Any) -> list[Constrained]:
    return [each.sequence.grammar for each in rows if each.sequence.grammar is not None]
