"""The step loop: a request's life inside the engine, one forward pass at a time. No threads; one owner calls it.

A sequence moves  waiting -> running -> its final event,  and back to waiting when others need its place (with its
tokens kept, so that the output is the same).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as SequenceOf

import numpy as np
import torch

from ..grammar.errors import GrammarError
from ..grammar.generations import Root
from ..radix.tiers import Tiers
from .costs import Work
from .counts import Counts
from .detokenise import Detokeniser
from .drafts import Drafter, plain, without_space
from .grammars import Grammars
from .limits import Limits
from .pacing import Pacer
from .passes import Checked, Load, pack, with_rows
from .places import Places
from .plan import Candidate, InFlight, Pace, Plan, choose, go_on
from .ports import Model
from .prefixes import Prefixes
from .running import Draws, Running, Sequence, TokenIds
from .sample import MaskTables, Scores, mask_rows
from .settle import Ends, Settler, take_delta
from .types import Cancelled, Event, Failed, Finished, FinishReason, Request, RootformError

log = logging.getLogger(__name__)


_PUBLISHED_TOKENS = 256


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
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.model = model
        self.limits = limits
        self.prefixes = Prefixes(model.memory, prefix_cache, tiers)
        self.counts = Counts()
        self.places = Places(self.prefixes, limits, self.counts, clock)
        self.prompt_tokens = limits.prefill_tokens  # that the last pass had room for
        self._clock = clock
        self._pacer = Pacer(limits.itl_s)
        self._token_bytes = token_bytes
        self._grammars = grammars
        self._settler = Settler(self._grammars, eos_ids)
        self._masks = MaskTables()
        alike = without_space(token_bytes, model.vocab_size)
        self._drafter = Drafter(grammars, eos_ids, alike) if drafts else None

    @property
    def busy(self) -> bool:
        """There is something for step() to do."""
        return bool(self.places.waiting or self.places.running)

    @property
    def pace(self) -> Pace:
        """What the next plan is told of time."""
        return self._pacer.pace

    # -- requests come and go ---------------------------------------------------------------------------------

    def add(self, request: Request, root: Root | None = None) -> list[Event]:
        """Accept a request. root: its compiled constraint. Raises RootformError when it can never be served."""
        self._check_size(request)
        sequence = Sequence(
            request=request,
            ids=TokenIds(request.prompt_ids),
            text=Detokeniser(self._token_bytes, request.stop),
            draws=Draws(request.sampling.seed),
        )
        if root is not None:
            assert self._grammars is not None
            sequence.grammar = self._grammars.open(root, request.max_new_tokens)
        self.places.add(sequence)
        try:
            ends = self._settler.run_forced([sequence]) if sequence.grammar is not None else {}
        except Exception as error:
            ends = {sequence.key: error}
        return self._send([sequence], ends)

    def cancel(self, request_id: int) -> list[Event]:
        """Drop a request, whatever it is doing; no events when it has already ended."""
        sequence = self.places.get(request_id)
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
        began = self._clock()
        loaded: list[Running] | None = None
        try:
            loaded, tokens = self._choose()
            return self._pass(loaded, tokens, began) if loaded else self._unstick()
        except Exception as error:
            affected = self.places.running.values() if loaded is None else loaded
            return self._fail_step([running.sequence for running in affected], error)

    def _choose(self) -> tuple[list[Running], dict[int, int]]:
        """Who is in the next pass, and how many new tokens of each, by key. Those who join it have their places then,
        as far as memory goes."""
        self.places.make_room_for_output()
        plan = self._go_on() or choose(self._candidates(), self._in_flight(), self.limits, self.pace)
        self.prompt_tokens = plan.prompt_tokens
        self._hurry(plan)
        self.places.give_way(plan.gives_way)
        self.places.start(plan.joins)
        loaded = []
        for key, running in self.places.running.items():
            running.idle = 0 if key in plan.tokens else running.idle + 1
            if running.idle == 0:
                loaded.append(running)
        return loaded, plan.tokens

    def _go_on(self) -> Plan | None:
        """The plan of a pass in which everybody decodes; None: it takes more to find one."""
        if self.places.waiting or not self.places.running:
            return None
        n_left: dict[int, int] = {}
        n_online = context = 0
        for key, running in self.places.running.items():
            if not running.decoding:
                return None
            n_tokens = len(running.sequence.ids)
            n_left[key] = n_tokens - running.n_computed + self._n_unseen(running)
            n_online += running.sequence.online
            context += n_tokens
        if 0 < n_online < len(n_left):
            return None
        return go_on(n_left, context, self.limits, self.pace, online=n_online > 0)

    def _pass(self, loaded: list[Running], tokens: dict[int, int], began: float) -> list[Event]:
        """Compute so many new tokens of each, choose those that follow, settle them."""
        load = self._pack(loaded, tokens)
        logits = self.model.forward(load.batch)
        work = self._mark_computed(load)
        scores = self._mask(logits, load.sampled)
        chosen = self._sample(scores, load.sampled)
        ends = self._settle(load.sampled, chosen, scores)
        self._note_cost(work, load, self._clock() - began)
        return self._send([each.sequence for each in load.sampled], ends)

    def _fail_step(self, sequences: list[Sequence], error: Exception) -> list[Event]:
        """Fail those the error touched; nobody else notices. With none to blame, all who wait: never try for ever."""
        log.error("step %d failed", self.counts.steps, exc_info=error)
        sequences = [each for each in sequences if each.key in self.places.running]
        sequences = sequences or list(self.places.waiting.values())
        ends: Ends = {each.key: error for each in sequences}
        return self._send(sequences, ends)

    # -- what runs in it --------------------------------------------------------------------------------------

    def _candidates(self) -> Iterator[Candidate]:
        """The waiting requests in the order in which they should start, with what the tree holds of them."""
        for sequence, n_cached in self.places.waiting.in_order(self._n_cached):
            ids, namespace = sequence.ids.view, sequence.request.namespace
            yield Candidate(sequence.key, ids, namespace, n_cached, sequence.online)

    def _n_cached(self, sequence: Sequence) -> int:
        return self.prefixes.n_cached(sequence.ids.view, sequence.request.namespace)

    def _in_flight(self) -> list[InFlight]:
        return [
            InFlight(
                key=running.key,
                ids=running.sequence.ids.view,
                namespace=running.sequence.request.namespace,
                n_computed=running.n_computed - self._n_unseen(running),
                prefilling=not running.decoding,
                online=running.sequence.online,
                idle=running.idle,
            )
            for running in self.places.running.values()
        ]

    def _n_unseen(self, running: Running) -> int:
        """Tokens of it that are chosen, and not yet known here; none, where each pass is settled before the next."""
        return 0

    def _hurry(self, plan: Plan) -> None:
        """An offline sequence whose prefix an online one waits for is as urgent."""
        for key, owner in plan.waits.items():
            sequence, other = self.places.get(key), self.places.get(owner)
            if sequence is not None and other is not None and sequence.online:
                other.promoted = True

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

    def _mark_computed(self, load: Load) -> Work:
        """Note what is in memory now, and give the tree prompts as they grow. What the pass computed."""
        self.counts.forward_passes += 1
        decoded, prompts = [], []
        for running, n_tokens, n_all in zip(load.running, load.lengths, load.batch.lengths.tolist(), strict=True):
            was_prefilling = running.prefilling
            (decoded if running.decoding else prompts).append((n_all, running.n_computed))
            running.n_computed += n_tokens
            running.sequence.forward_passes += 1
            self.counts.sequence_passes += 1
            if was_prefilling:
                self.counts.prefill_tokens += n_tokens
                n_unknown = running.n_computed - running.room.n_shared  # to the tree; all at once would be a long copy
                if not running.prefilling or n_unknown >= _PUBLISHED_TOKENS:
                    self.prefixes.publish(running.room, running.computed_ids)
        return Work.of(decoded, prompts)

    def _note_cost(self, work: Work, load: Load, seconds: float) -> None:
        """Learn what a pass costs, for the plans to come."""
        drafted = sum(len(each.draft.tokens) for each in load.sampled) / len(load.sampled) if load.sampled else None
        self._pacer.note(work, drafted, seconds)

    def _mask(self, logits: torch.Tensor, sampled: list[Checked]) -> Scores:
        asked = [at for each in sampled for at in each.draft.asked]
        row_ids = np.array([at.row_id for at in asked], dtype=np.int32)
        tables = self._grammars.split_rows(row_ids) if self._grammars is not None else []
        masks = [(self._masks.on(logits.device, serial, rows), ids) for serial, rows, ids in tables]
        keep = [row for each in sampled if each.sequence.over_vocabulary for row in each.rows]
        return mask_rows(logits, masks, [at.few_allowed for at in asked], keep)

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
                self._drafter.follow(each.sequence, each.draft, each.n_kept, ended_itself=said_so)
        return ends

    def _keep(self, checked: Checked) -> None:
        """What the draft had right is in memory now; the rest is forgotten there."""
        running, n_kept = checked.running, checked.n_kept
        running.n_computed += n_kept
        running.sequence.draws.use(checked.n_chosen)
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
        try:
            if sequence.grammar is not None and self._grammars is not None:
                self._grammars.close(sequence.grammar)
        finally:
            self.places.leave(sequence, remember=remember)

    def _unstick(self) -> list[Event]:
        """Nothing could start although nothing runs. Forget the cache and try again; after that it cannot be helped."""
        if not self.places.waiting or self.prefixes.forget_all():
            return []
        sequence = next(self.places.waiting.values())
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
