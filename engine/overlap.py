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
from .lanes import Asked, Became, Lanes, Ways
from .passes import Load, Sampled
from .ports import ForwardBatch, Memory, Model
from .running import Constrained, Running, Sequence
from .sample import Logprob, Scores
from .settle import Ends, LogitsGone
from .step import StepLoop
from .tables_there import TablesThere
from .types import Event, RootformError, Sampling


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
    """A pass that is queued, or done and not settled. rows: the row of logits of each sequence that it chooses a token
    for, void ones taken out; a sequence that lost its place is another Running when it has one again.

    began: by the loop's clock.
    """

    load: Load
    rows: dict[Running, int]
    arrival: Arrival
    work: Work
    began: float
    there: TablesThere | None


class _Told:
    """settle.Chosen of what the device told: how likely each token was that it chose. logprobs: (m,) float32."""

    def __init__(self, logprobs: np.ndarray) -> None:
        self._logprobs = logprobs

    def logprob(self, row: int, token_id: int, n_top: int) -> Logprob:
        """See sample.Scores; of the token that was chosen, and of no others."""
        assert n_top == 0
        return Logprob(float(self._logprobs[row]), [])

    def preferred(self, row: int, sampling: Sampling, random: np.random.Generator) -> np.ndarray:
        """Raises LogitsGone."""
        raise LogitsGone


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
        self._ways = Ways(self.limits.batch_rows)
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
            loaded = self._choose()
            goes_ahead = self._goes_ahead(loaded)
            if goes_ahead:
                ahead = self._launch(loaded, began)
            if self._flying is None and ahead is None:
                if not loaded:
                    return self._unstick()
                self.counts.lockstep_passes += 1
                return self._pass(loaded, began)
        except Exception as error:
            affected = self.places.running.values() if loaded is None else loaded
            return self._fail_step([running.sequence for running in affected], error)
        return self._land(ahead)

    def _goes_ahead(self, loaded: SequenceOf[Running]) -> bool:
        """Whether the device can choose the tokens of all of them by itself."""
        if self._needs_host and any(running.key in self._needs_host for running in loaded):
            return False
        for running in loaded:
            request = running.sequence.request
            if request.top_logprobs is not None and (request.top_logprobs or running.sequence.over_vocabulary):
                return False
        if self._drafter is not None and any(self._drafter.pays(running.sequence) for running in loaded):
            return False
        places = _places(loaded)
        return self._grammars is None or not places or len(self._grammars.automata(places)) == 1

    def _n_unseen(self, seats: np.ndarray) -> np.ndarray | int:
        unseen = self._in_the_air
        return np.fromiter((each in unseen for each in self.places.running.values()), dtype=np.int64, count=len(seats))

    @property
    def _in_the_air(self) -> dict[Running, int]:
        """Those for which the pass in flight chooses a token."""
        return {} if self._flying is None else self._flying.rows

    def _has_room(self) -> bool:
        """Give sequences room for what the next pass computes of them; False: first settle the one in flight, so that
        those that find no room can be put elsewhere."""
        if self._flying is None:
            return True
        seats = self.places.seats
        needed = self.book.n_tokens[seats] + self._n_unseen(seats)
        short = np.flatnonzero(needed > self.book.capacity[seats]).tolist()
        running = list(self.places.running.values()) if short else []
        return all(self._grow(running[n], int(needed[n])) for n in short)

    def _grow(self, running: Running, needed: int) -> bool:
        request, memory = running.sequence.request, self.model.memory
        capacity = min(running.sequence.n_prompt + request.max_new_tokens, needed + self.limits.growth_tokens)
        while not memory.grow(running.room.slot, capacity):
            pages = self.prefixes.tree.evict(-(-self.limits.growth_tokens // memory.page_tokens))
            memory.give_back(pages)
            if not len(pages):
                return False
        running.capacity = capacity
        return True

    # -- queueing a pass --------------------------------------------------------------------------------------

    def _launch(self, loaded: SequenceOf[Running], began: float) -> _Pass | None:
        """Queue the next pass; None when those in it end with the token that is in flight."""
        unseen = self._in_the_air
        is_unseen = np.array([each in unseen for each in loaded], dtype=bool)
        seats = self.book.seats_of(each.sequence for each in loaded)
        goes_on = ~is_unseen | (self.book.remaining(seats) > 1)
        if not goes_on.all():
            loaded = [loaded[n] for n in np.flatnonzero(goes_on).tolist()]
            is_unseen, seats = is_unseen[goes_on], seats[goes_on]
        if not loaded:
            return None
        lanes = self._give_lanes(loaded)
        batch, sources, is_last = self._packed(loaded, seats, lanes, is_unseen)
        chosen_for = loaded if is_last.all() else [loaded[n] for n in np.flatnonzero(is_last).tolist()]
        there = self._tables(chosen_for)
        asked = self._asked(chosen_for, lanes[is_last], is_unseen[is_last])
        load = Load(list(loaded), seats, batch.lengths, batch)
        logits = self.model.forward(batch, sources)
        work = self._mark_computed(load)
        results = self._lanes.take_on(logits, asked, there)
        self.counts.overlapped_passes += 1
        rows = {running: row for row, running in enumerate(chosen_for)}
        return _Pass(load, rows, self._send_back(results), work, began, there)

    def _give_lanes(self, loaded: SequenceOf[Running]) -> np.ndarray:
        """(n,) int32: the lane of each, a new one where it has none."""
        of, running = self._lane_of, self.places.running
        if len(of) > len(running) or any(each.key not in of for each in loaded):
            for key in [key for key in of if key not in running]:
                self._free_lanes.append(of.pop(key))
            for each in loaded:
                if each.key not in of:
                    lane = of[each.key] = self._free_lanes.pop()
                    sequence = each.sequence
                    self._ways.put(lane, sequence.request.sampling, is_masked=sequence.grammar is not None)
        return np.array([of[each.key] for each in loaded], dtype=np.int32)

    def _packed(
        self, loaded: SequenceOf[Running], seats: np.ndarray, lanes: np.ndarray, is_unseen: np.ndarray
    ) -> tuple[ForwardBatch, np.ndarray, np.ndarray]:
        """The batch; for each of its tokens the lane that has it, -1: the batch has; and for each sequence whether its
        last token is in it, after which one is chosen."""
        book = self.book
        starts = book.n_computed[seats].astype(np.int32)
        left = book.n_tokens[seats] - starts
        lengths = np.where(is_unseen, 1, np.minimum(book.given[seats], left)).astype(np.int32)
        is_last = is_unseen | (lengths == left)
        stops = np.cumsum(lengths)
        firsts, n_tokens = stops - lengths, int(stops[-1])
        token_ids, sources = np.zeros(n_tokens, dtype=np.int64), np.full(n_tokens, -1, dtype=np.int32)
        sources[firsts[is_unseen]] = lanes[is_unseen]
        for n in np.flatnonzero(~is_unseen).tolist():
            token_ids[firsts[n] : stops[n]] = loaded[n].sequence.ids.view[starts[n] : starts[n] + lengths[n]]
        batch = ForwardBatch(
            token_ids=token_ids,
            positions=np.arange(n_tokens) + np.repeat(starts - firsts, lengths),
            slots=book.slot[seats].astype(np.int32),
            starts=starts,
            lengths=lengths,
            logit_rows=(stops - 1)[is_last],
        )
        return batch, sources, is_last

    def _tables(self, chosen_for: SequenceOf[Running]) -> TablesThere | None:
        """The tables of the grammar of these sequences, up to date for them; None: they have none."""
        places = _places(chosen_for)
        if not places or self._grammars is None:
            return None
        (automaton,) = self._grammars.automata(places)
        if self._there is None or self._there.automaton is not automaton:
            self._there = TablesThere(automaton, self.model.memory.device)
        self._there.bring_up()
        return self._there

    def _asked(self, chosen_for: SequenceOf[Running], lanes: np.ndarray, is_unseen: np.ndarray) -> Asked:
        """What the device is told of the sequences' rows."""
        n = len(chosen_for)
        ways = self._ways.of(lanes)
        states, row_ids = np.zeros((n, 3), dtype=np.int32), np.full(n, -1, dtype=np.int32)
        at = np.flatnonzero((ways.masked > 0) & ~is_unseen)
        if len(at) and self._grammars is not None:
            places = _places([chosen_for[row] for row in at.tolist()])
            states[at], row_ids[at] = self._grammars.where(places), self._grammars.row_ids(places)
        uniform = np.zeros(n, dtype=np.float64)
        for row in np.flatnonzero(ways.temperature).tolist():  # the one in flight has the number before it
            uniform[row] = chosen_for[row].sequence.draws.ahead(1 + int(is_unseen[row]))[-1]
        return Asked(lanes, ways, (~is_unseen).astype(np.int32), states, row_ids, uniform)

    # -- settling a pass --------------------------------------------------------------------------------------

    def _land(self, ahead: _Pass | None) -> list[Event]:
        """Settle the pass in flight, if there is one, while `ahead` runs, which is in flight from now on."""
        landed, self._flying = self._flying, ahead
        if landed is None:
            return []
        held = [each for each in landed.rows if self.places.running.get(each.key) is each]
        sequences = [each.sequence for each in held]
        try:
            became = Became.of(receive(landed.arrival, self.counts, work_behind=ahead is not None))
            self._note_landing(landed, is_fresh=bool(held))
            ends = self._settle_rows(landed, held, became)
        except Exception as error:
            return self._fail_step(sequences, error)
        return self._send(sequences, ends)

    def _note_landing(self, landed: _Pass, *, is_fresh: bool) -> None:
        """Learn what a pass takes: the time since the one before it was done. One whose sequences all went away may
        have lain there for long."""
        now = self._clock()
        if is_fresh:
            self._note_cost(landed.work, landed.load, now - max(landed.began, self._landed_at))
        self._landed_at = now

    def _settle_rows(self, landed: _Pass, held: SequenceOf[Running], became: Became) -> Ends:
        rows = [landed.rows[each] for each in held]
        told = Became(*(each[rows] for each in became)) if rows else became
        tokens = told.tokens[: len(held)].astype(np.int64)
        book, seats = self.book, self.book.seats_of(each.sequence for each in held)
        before = book.n_tokens[seats]
        self._count_misses(landed, held, told.outcomes)
        ends = self._settler.settle(seats, np.array(rows, dtype=np.int64), tokens, _Told(became.logprobs))
        differs = (book.n_tokens[seats] != before + 1) | ~self._agreed(seats, told)
        if ends:
            differs |= [each.key in ends for each in held]
        for n in np.flatnonzero(differs).tolist():
            self._part_ways(held[n], int(tokens[n]), int(before[n]), ends)
        gone = [each for each in held if isinstance(ends.get(each.key), LogitsGone)] if ends else []
        self._learn(seats[[each not in gone for each in held]] if gone else seats, ends)
        for running in gone:
            del ends[running.key]
            self._ask_again(running)
        return ends

    def _agreed(self, seats: np.ndarray, told: Became) -> np.ndarray:
        """(n,) bool: whether the device has each sequence's grammar where the host has it now."""
        agreed = np.ones(len(seats), dtype=bool)
        at = np.flatnonzero(self.book.grammar[seats] >= 0)
        if len(at) and self._grammars is not None:
            rows = self.book.row_id[seats[at]]
            tables = self._grammars.split_rows(rows)  # one, as the device takes on
            known = tables[0][2] if tables else rows
            agreed[at] = (told.outcomes[at] == ADVANCED) & (told.row_ids[at] == known)
        return agreed

    def _count_misses(self, landed: _Pass, held: SequenceOf[Running], outcomes: np.ndarray) -> None:
        """To be called while the host still has the places at which the tables were missing something."""
        if landed.there is None or not held or self._grammars is None:
            return
        unknown = [held[n] for n in np.flatnonzero(outcomes == NO_TRANSITION).tolist()]
        missed = len(unknown) + int((outcomes == NO_ROW).sum())
        self.counts.grammar_misses += missed
        landed.there.note_missed(missed, self._grammars.where(_places(unknown)) if unknown else None)

    def _part_ways(self, running: Running, token: int, n_before: int, ends: Ends) -> None:
        """The sequence did not go on by this token and no other, as the device took it to: its row in the pass that
        runs now is void."""
        sequence, unseen = running.sequence, self._in_the_air
        if running not in unseen:
            return
        self.counts.void_rows += 1
        del unseen[running]
        added = sequence.ids.view[n_before:].tolist()
        if added[:1] != [token] or (len(added) == 1 and sequence.key not in ends):
            self._forget_last(running)  # its KV is of another token, or is asked for again

    def _learn(self, seats: np.ndarray, ends: Ends) -> None:
        """A token of each was settled."""
        book = self.book
        for sequence in book.at(seats[book.temperature[seats] > 0]):
            sequence.draws.use(1)
        if self._drafter is None:
            return
        for sequence in book.at(seats):
            end = ends.get(sequence.key)
            if not isinstance(end, Exception):
                said_so = end == "stop" and sequence.text.matched_stop is None
                self._drafter.follow(sequence, plain(sequence), 0, ended_itself=said_so)

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

    def _settle(self, sampled: Sampled, tokens: np.ndarray, scores: Scores) -> Ends:
        self._needs_host -= {each.key for each in sampled.running}
        return super()._settle(sampled, tokens, scores)

    def _drop(self, sequence: Sequence, *, remember: bool = True) -> None:
        self._needs_host.discard(sequence.key)
        super()._drop(sequence, remember=remember)


def _places(held: SequenceOf[Running]) -> list[Constrained]:
    return [each.sequence.grammar for each in held if each.sequence.grammar is not None]
