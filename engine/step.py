"""The step loop: a request's life inside the engine, one forward pass at a time. No threads; one owner calls it.

A sequence moves  waiting -> running -> its final event,  and back to waiting when memory runs out (with its tokens
kept, so that the output is the same).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
import torch

from ..grammar.errors import GrammarError
from ..grammar.generations import Root
from ..radix.tiers import Tiers
from .detokenise import Detokeniser
from .drafts import Drafter, plain, without_space
from .grammars import Grammars
from .limits import Limits
from .passes import Checked, Load, pack, with_rows
from .plan import Candidate, InFlight, Plan, choose
from .ports import Model
from .prefixes import Prefixes
from .running import Draws, Running, Sequence, TokenIds
from .sample import MaskTables, Scores, mask_rows
from .settle import Ends, Settler, take_delta
from .types import Cancelled, Event, Failed, Finished, FinishReason, Request, RootformError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """What the loop has done since it began."""

    steps: int = 0
    forward_passes: int = 0
    sequence_passes: int = 0  # the same, counted once for each sequence with a row in the pass
    prefill_tokens: int = 0  # prompt tokens computed
    cached_tokens: int = 0  # prompt tokens found in the tree instead
    output_tokens: int = 0
    drafted_tokens: int = 0  # guessed, and put through the model
    accepted_tokens: int = 0  # of those, what the model would have said
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    put_back: int = 0  # times a running sequence had to make room


class StepLoop:
    """All requests of one model. add() and cancel() between steps; step() as long as `busy`."""

    def __init__(
        self,
        model: Model,
        token_bytes: SequenceOf[bytes],
        eos_ids: frozenset[int],
        limits: Limits,
        *,
        grammars: Grammars | None = None,
        prefix_cache: bool = True,
        drafts: bool = True,
        tiers: Tiers | None = None,
    ) -> None:
        self.model = model
        self.limits = limits
        self.prefixes = Prefixes(model.memory, prefix_cache, tiers)
        self.counts = Counts()
        self.waiting: dict[int, Sequence] = {}  # in order of arrival
        self.running: dict[int, Running] = {}
        self._token_bytes = token_bytes
        self._grammars = grammars
        self._settler = Settler(self._grammars, eos_ids)
        self._masks = MaskTables()
        alike = without_space(token_bytes, model.vocab_size)
        self._drafter = Drafter(grammars, eos_ids, alike) if drafts else None

    @property
    def busy(self) -> bool:
        """There is something for step() to do."""
        return bool(self.waiting or self.running)

    # -- requests come and go ---------------------------------------------------------------------------------

    def add(self, request: Request, root: Root | None = None) -> list[Event]:
        """Accept a request. root: its compiled constraint. Raises RootformError when it can never be served."""
        self._check_size(request)
        sequence = Sequence(
            request=request,
            ids=TokenIds(request.prompt_ids),
            text=Detokeniser(self._token_bytes, request.stop),
            draws=Draws(request.sampling.seed),
            arrived_step=self.counts.steps,
        )
        if root is not None:
            assert self._grammars is not None
            sequence.grammar = self._grammars.open(root, request.max_new_tokens)
        self.waiting[sequence.key] = sequence
        try:
            ends = self._settler.run_forced([sequence]) if sequence.grammar is not None else {}
        except Exception as error:
            ends = {sequence.key: error}
        return self._send([sequence], ends)

    def cancel(self, request_id: int) -> list[Event]:
        """Drop a request, whatever it is doing; no events when it has already ended."""
        running = self.running.get(request_id)
        sequence = running.sequence if running else self.waiting.get(request_id)
        if sequence is None:
            return []
        try:
            self._drop(sequence)
        except Exception as error:
            log.error("request %d could not be put away", request_id, exc_info=error)
        self.counts.cancelled += 1
        return [Cancelled(request_id=request_id, usage=sequence.usage())]

    def _check_size(self, request: Request) -> None:
        n_prompt, n_new = len(request.prompt_ids), request.max_new_tokens
        if n_prompt + n_new > self.limits.sequence_tokens:
            raise RootformError(
                f"the prompt has {n_prompt} tokens and max_tokens is {n_new}, together {n_prompt + n_new}, but there "
                f"is room for {self.limits.sequence_tokens}; shorten the prompt or lower max_tokens",
                param="max_tokens" if n_prompt < self.limits.sequence_tokens else "prompt",
            )

    # -- one step ---------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """One forward pass and what comes of it; no pass when there is nothing to run."""
        self.counts.steps += 1
        affected = self.running
        try:
            self._make_room_for_output()
            plan = choose(self._look_up_prefixes(), self._in_flight(), self.limits)
            load = self._load(plan)
            if load is None:
                return self._unstick()
            affected = {running.key: running for running in load.running}
            logits = self.model.forward(load.batch)
            self._mark_computed(load)
            scores = self._mask(logits, load.sampled)
            tokens = self._sample(scores, load.sampled)
            ends = self._settle(load.sampled, tokens, scores)
            return self._send([each.sequence for each in load.sampled], ends)
        except Exception as error:
            return self._fail_step([running.sequence for running in affected.values()], error)

    def _fail_step(self, sequences: list[Sequence], error: Exception) -> list[Event]:
        """Fail those the error touched; nobody else notices. With none to blame, all who wait: never try for ever."""
        log.error("step %d failed", self.counts.steps, exc_info=error)
        sequences = [each for each in sequences if each.key in self.running] or list(self.waiting.values())
        ends: Ends = {each.key: error for each in sequences}
        return self._send(sequences, ends)

    def _look_up_prefixes(self) -> list[Candidate]:
        """The waiting requests that could join, and how many of their tokens the tree holds."""
        if len(self.running) >= self.limits.batch_rows:
            return []
        return [
            Candidate(
                key=sequence.key,
                ids=sequence.ids.view,
                namespace=sequence.request.namespace,
                n_cached=self.prefixes.n_cached(sequence.ids.view, sequence.request.namespace),
                waited_steps=self.counts.steps - sequence.arrived_step,
            )
            for sequence, _ in zip(self.waiting.values(), range(self.limits.look_ahead), strict=False)
        ]

    def _in_flight(self) -> list[InFlight]:
        return [
            InFlight(
                key=running.key,
                ids=running.sequence.ids.view,
                namespace=running.sequence.request.namespace,
                n_computed=running.n_computed,
                prefilling=running.prefilling,
            )
            for running in self.running.values()
        ]

    def _load(self, plan: Plan) -> Load | None:
        """Start those who join (as far as memory goes) and pack the batch; None when nothing runs."""
        for key in plan.joins:
            if not self._start(self.waiting[key]):
                break
        loaded = [running for running in self.running.values() if running.key in plan.tokens]
        return self._pack(loaded, plan.tokens) if loaded else None

    def _pack(self, loaded: list[Running], tokens: dict[int, int]) -> Load:
        starts = np.array([running.n_computed for running in loaded], dtype=np.int32)
        stops = starts + np.array([tokens[running.key] for running in loaded], dtype=np.int32)
        ends = np.array([len(running.sequence.ids) for running in loaded])
        stops = np.minimum(stops, ends).astype(np.int32)  # a prefix published since the plan makes a chunk shorter
        is_sampled = stops == ends
        sampled = self._draft([running for running, is_last in zip(loaded, is_sampled, strict=True) if is_last])
        return pack(loaded, starts, stops, sampled)

    def _draft(self, sampled: list[Running]) -> list[Checked]:
        """A draft for each of the sequences, and the rows of logits it asks for."""
        sequences = [running.sequence for running in sampled]
        if self._drafter is None or not sampled:
            drafts = [plain(sequence) for sequence in sequences]
        else:
            drafts = self._drafter.draft(sequences, [each.room.capacity - len(each.sequence.ids) for each in sampled])
        return with_rows(sampled, drafts)

    def _mark_computed(self, load: Load) -> None:
        """Note what is in memory now, and give the tree the prompts that are complete."""
        self.counts.forward_passes += 1
        for running, n_tokens in zip(load.running, load.lengths, strict=True):
            was_prefilling = running.prefilling
            running.n_computed += n_tokens
            running.sequence.forward_passes += 1
            self.counts.sequence_passes += 1
            if was_prefilling:
                self.counts.prefill_tokens += n_tokens
                if not running.prefilling:
                    self.prefixes.publish(running.room, running.computed_ids)

    def _mask(self, logits: torch.Tensor, sampled: list[Checked]) -> Scores:
        asked = [at for each in sampled for at in each.draft.asked]
        row_ids = np.array([at.row_id for at in asked], dtype=np.int32)
        tables = self._grammars.split_rows(row_ids) if self._grammars is not None else []
        masks = [(self._masks.on(logits.device, serial, rows), ids) for serial, rows, ids in tables]
        return mask_rows(logits, masks, [at.few_allowed for at in asked])

    def _sample(self, scores: Scores, sampled: list[Checked]) -> list[int]:
        """One token for each row. Each request draws from its own stream of random numbers."""
        samplings, uniforms = [], []
        for each in sampled:
            sampling, n_rows = each.sequence.request.sampling, len(each.draft.asked)
            samplings += [sampling] * n_rows
            uniforms += each.sequence.draws.ahead(n_rows) if sampling.temperature else [0.0] * n_rows
        return scores.choose(samplings, uniforms).tolist()

    def _settle(self, sampled: list[Checked], tokens: list[int], scores: Scores) -> Ends:
        """Settle one token of each sequence after the other, as long as its draft holds the same; drop the rest."""
        ends: Ends = {}
        going = sampled
        while going:
            rows = [each.row for each in going]
            ends |= self._settler.settle([each.sequence for each in going], rows, [tokens[row] for row in rows], scores)
            going = [each for each in going if each.agrees() and each.key not in ends]
        for each in sampled:
            self._keep(each)
            if self._drafter is not None and not isinstance(end := ends.get(each.key), Exception):
                said_so = end == "stop" and each.sequence.text.matched_stop is None
                self._drafter.follow(each.sequence, ended_itself=said_so)
        return ends

    def _keep(self, checked: Checked) -> None:
        """What the draft had right is in memory now; the rest is forgotten there."""
        running, n_kept = checked.running, checked.n_kept
        running.n_computed += n_kept
        running.sequence.draws.use(checked.n_settled)
        if n_kept < len(checked.draft.tokens):
            self.model.memory.truncate(running.room.slot, running.n_computed)
        self.counts.drafted_tokens += len(checked.draft.guessed)
        self.counts.accepted_tokens += sum(at < n_kept for at in checked.draft.guessed)

    # -- what goes out ----------------------------------------------------------------------------------------

    def _send(self, sequences: Iterable[Sequence], ends: Mapping[int, FinishReason | Exception]) -> list[Event]:
        """New text of each sequence, and the final event of those that ended."""
        events: list[Event] = []
        for sequence in sequences:
            end = ends.get(sequence.key)
            if not isinstance(end, Exception) and (delta := take_delta(sequence, at_end=end is not None)) is not None:
                self.counts.output_tokens += len(delta.token_ids)
                events.append(delta)
            if end is not None:
                events.append(self._end(sequence, end))
        return events

    def _end(self, sequence: Sequence, end: FinishReason | Exception) -> Event:
        """Let go of all the sequence holds; its final event."""
        try:
            self._drop(sequence, remember=not isinstance(end, Exception))
        except Exception as error:
            log.error("request %d could not be put away", sequence.key, exc_info=error)
            end = error
        if isinstance(end, Exception):
            self.counts.failed += 1
            return failure(sequence.key, end)
        self.counts.finished += 1
        closed_early = sequence.grammar is not None and sequence.grammar.closed_early
        matched_stop = sequence.text.matched_stop
        return Finished(
            request_id=sequence.key,
            reason="length" if closed_early and matched_stop is None else end,  # it was the limit that closed it
            usage=sequence.usage(),
            closed_early=closed_early,
            matched_stop=matched_stop,
        )

    def _drop(self, sequence: Sequence, *, remember: bool = True) -> None:
        """Give back memory, locks and grammar state. remember: its KV is sound and may go to the tree."""
        self.waiting.pop(sequence.key, None)
        running = self.running.pop(sequence.key, None)
        if sequence.grammar is not None and self._grammars is not None:
            self._grammars.close(sequence.grammar)
        if running is not None:
            self.prefixes.leave(running.room, running.computed_ids if remember else running.computed_ids[:0])

    # -- places in memory -------------------------------------------------------------------------------------

    def _start(self, sequence: Sequence) -> bool:
        """Give a waiting sequence its place; False when there is no room now."""
        n_most = sequence.n_prompt + sequence.request.max_new_tokens
        # Growing means reading the sequence's own KV back from the tree; without the tree it gets all its room now.
        growth = self.limits.growth_tokens if self.prefixes.enabled else n_most
        capacity = min(n_most, len(sequence.ids) + growth)
        begun = sequence.n_cached is not None
        room = self.prefixes.take(sequence.ids.view, sequence.request.namespace, capacity, again=begun)
        if room is None:
            return False
        del self.waiting[sequence.key]
        self.running[sequence.key] = Running(sequence, room, n_computed=room.n_shared, n_joined=len(sequence.ids))
        if sequence.n_cached is None:
            sequence.n_cached = min(room.n_shared, sequence.n_prompt)
            self.counts.cached_tokens += sequence.n_cached
        return True

    def _put_back(self, running: Running) -> None:
        """Take a sequence's place away; it waits, with its tokens, before all others."""
        del self.running[running.key]
        self.waiting = {running.key: running.sequence, **self.waiting}
        self.prefixes.leave(running.room, running.computed_ids)

    def _make_room_for_output(self) -> None:
        """Give sequences that have outgrown their place a larger one; the youngest give way when memory is short."""
        for running in list(self.running.values()):
            if self.running.get(running.key) is not running or len(running.sequence.ids) <= running.room.capacity:
                continue
            self._put_back(running)
            while not self._start(running.sequence):
                youngest = max(self.running.values(), key=lambda each: each.key, default=running)
                if youngest.key <= running.key:
                    break
                self._put_back(youngest)
                self.counts.put_back += 1

    def _unstick(self) -> list[Event]:
        """Nothing could start although nothing runs. Forget the cache and try again; after that it cannot be helped."""
        if not self.waiting or self.prefixes.forget_all():
            return []
        sequence = next(iter(self.waiting.values()))
        error = RootformError(
            f"{len(sequence.ids)} tokens of prompt and output find no room in a KV memory of "
            f"{self.limits.memory_tokens} tokens; give kv_bytes a larger value",
            status=500,
        )
        return self._send([sequence], {sequence.key: error})


def failure(request_id: int, error: Exception) -> Failed:
    """The final event of a request that failed with this error."""
    if isinstance(error, GrammarError):
        return Failed(request_id=request_id, error=str(error), status=400)
    if isinstance(error, RootformError):
        return Failed(request_id=request_id, error=str(error), status=error.status)
    return Failed(request_id=request_id, error=f"{type(error).__name__}: {error}", status=500)
