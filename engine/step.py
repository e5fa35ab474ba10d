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
from .book import Book
from .costs import Work
from .counts import Counts
from .detokenise import Detokeniser
from .drafts import Draft, Drafter, without_space
from .grammars import Grammars
from .limits import Limits
from .pacing import Pacer
from .passes import Checked, Load, Packer, Sampled
from .places import Places
from .plan import Candidate, InFlight, Pace, Plan, choose, go_on
from .ports import Model
from .prefixes import Prefixes
from .running import Draws, Running, Sequence
from .sample import MaskTables, Scores, Ways, mask_rows
from .settle import Ends, Settler, take_delta
from .types import Cancelled, Event, Failed, Finished, FinishReason, Request, RootformError

log = logging.getLogger(__name__)


_PUBLISHED_TOKENS = 256
_NO_DRAFT = Draft([], [])


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
        self.book = Book(limits.batch_rows)
        self.places = Places(self.book, self.prefixes, limits, self.counts, clock)
        self.prompt_tokens = limits.prefill_tokens  # that the last pass had room for
        self._clock = clock
        self._pacer = Pacer(limits.itl_s)
        self._token_bytes = token_bytes
        self._grammars = grammars
        self._settler = Settler(self.book, grammars, eos_ids)
        self._packer = Packer(self.book, limits.batch_rows, limits.prefill_tokens + 16 * limits.batch_rows)
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
        text, draws = Detokeniser(self._token_bytes, request.stop), Draws(request.sampling.seed)
        sequence = Sequence(request, self.book, text, draws)
        if root is not None:
            self._constrain(sequence, root)
        self.places.add(sequence)
        try:
            ends = self._settler.run_forced(np.array([sequence.seat])) if sequence.grammar is not None else {}
        except Exception as error:
            ends = {sequence.key: error}
        return self._send([sequence], ends)

    def _constrain(self, sequence: Sequence, root: Root) -> None:
        assert self._grammars is not None
        try:
            limit = sequence.request.max_new_tokens
            sequence.constrain(self._grammars.open(root, limit, self.book, sequence.seat))
        except BaseException:
            self.book.close(sequence)
            raise

    def cancel(self, request_id: int) -> list[Event]:
        """Drop a request, whatever it is doing; no events when it has already ended."""
        sequence = self.places.get(request_id)
        if sequence is None:
            return []
        usage = sequence.usage()
        try:
            self._drop(sequence)
        except Exception as error:
            log.error("request %d could not be put away", request_id, exc_info=error)
        self.counts.cancelled += 1
        return [Cancelled(request_id=request_id, usage=usage)]

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
            loaded = self._choose()
            return self._pass(loaded, began) if loaded else self._unstick()
        except Exception as error:
            affected = self.places.running.values() if loaded is None else loaded
            return self._fail_step([running.sequence for running in affected], error)

    def _choose(self) -> list[Running]:
        """Who is in the next pass; the book says how many new tokens of each. Those who join it have their places then,
        as far as memory goes."""
        book = self.book
        self.places.make_room_for_output()
        if (prompt_tokens := self._go_on()) is not None:
            self.prompt_tokens = prompt_tokens
            book.idle[self.places.seats] = 0
            return list(self.places.running.values())
        self.prompt_tokens = self._plan()
        seats = self.places.seats
        is_idle = book.given[seats] == 0
        book.idle[seats] = np.where(is_idle, book.idle[seats] + 1, 0)
        return [each for each, idle in zip(self.places.running.values(), is_idle.tolist(), strict=True) if not idle]

    def _go_on(self) -> int | None:
        """Give all that run all their tokens in a pass in which everybody decodes. How many prompt tokens it has room
        for; None: it takes more to plan the pass."""
        book, seats = self.book, self.places.seats
        if self.places.waiting or not len(seats) or not book.decoding(seats).all():
            return None
        n_online = int(book.online[seats].sum())
        if 0 < n_online < len(seats):
            return None
        n_tokens = book.n_tokens[seats]
        n_left = n_tokens - book.n_computed[seats] + self._n_unseen(seats)
        book.given[seats] = n_left
        context = int(n_tokens.sum())
        return go_on(int(n_left.sum()), len(seats), context, self.limits, self.pace, online=n_online > 0)

    def _plan(self) -> int:
        """Give those that run, and those that join them, their tokens. How many prompt tokens there was room for."""
        plan = choose(self._candidates(), self._in_flight(), self.limits, self.pace)
        self._hurry(plan)
        self.places.give_way(plan.gives_way)
        self.places.start(plan.joins)
        for key, running in self.places.running.items():
            self.book.given[running.seat] = plan.tokens.get(key, 0)
        return plan.prompt_tokens

    def _pass(self, loaded: list[Running], began: float) -> list[Event]:
        """Compute as many new tokens of each as it is given, choose those that follow, settle them."""
        load = self._pack(loaded)
        sampled = load.sampled
        assert sampled is not None
        logits = self.model.forward(load.batch)
        work = self._mark_computed(load)
        scores = self._mask(logits, sampled)
        chosen = self._sample(scores, sampled)
        ends = self._settle(sampled, chosen, scores)
        self._note_cost(work, load, self._clock() - began)
        return self._send(sampled.sequences, ends)

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
        book, seats = self.book, self.places.seats
        n_computed = book.n_computed[seats] - self._n_unseen(seats)
        columns = n_computed, ~book.decoding(seats), book.online[seats], book.idle[seats]
        rows = zip(self.places.running.values(), *(each.tolist() for each in columns), strict=True)
        return [
            InFlight(
                key=running.key,
                ids=running.sequence.ids.view,
                namespace=running.sequence.request.namespace,
                n_computed=computed,
                prefilling=prefilling,
                online=online,
                idle=idle,
            )
            for running, computed, prefilling, online, idle in rows
        ]

    def _n_unseen(self, seats: np.ndarray) -> np.ndarray | int:
        """Tokens of each of those that run that are chosen, and not yet known here; none, where each pass is settled
        before the next."""
        return 0

    def _hurry(self, plan: Plan) -> None:
        """An offline sequence whose prefix an online one waits for is as urgent."""
        for key, owner in plan.waits.items():
            sequence, other = self.places.get(key), self.places.get(owner)
            if sequence is not None and other is not None and sequence.online:
                other.promote()

    def _pack(self, loaded: list[Running]) -> Load:
        seats, n_left, lengths = self._lengths(loaded)
        at = np.flatnonzero(lengths == n_left)
        drafts = None
        if self._drafter is not None and len(at):
            drafts = self._draft(self._drafter, [loaded[number] for number in at.tolist()])
        return self._packer.pack(loaded, seats, lengths, at, drafts)

    def _lengths(self, loaded: list[Running]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Seats, the tokens left to be computed, and how many of them are in the pass: (n,) int64."""
        book, seats = self.book, self.places.seats
        if len(loaded) < len(seats):
            seats = seats[book.given[seats] > 0]
        n_left = book.n_tokens[seats] - book.n_computed[seats]
        return seats, n_left, np.minimum(book.given[seats], n_left)  # a prefix published since shortens a chunk

    def _draft(self, drafter: Drafter, sampled: list[Running]) -> list[Draft]:
        """A draft for each of those whose next token is chosen."""
        sequences = [running.sequence for running in sampled]
        return drafter.draft(sequences, [each.capacity - len(each.sequence.ids) for each in sampled])

    def _mark_computed(self, load: Load) -> Work:
        """Note what is in memory now, and give the tree prompts as they grow. What the pass computed."""
        book, seats, lengths = self.book, load.seats, load.lengths
        before = book.n_computed[seats]
        was_prefilling = before < book.n_joined[seats]
        work = Work.of(load.batch.lengths, before, is_decoding=book.decoding(seats))
        book.n_computed[seats] = before + lengths
        book.forward_passes[seats] += 1
        self.counts.forward_passes += 1
        self.counts.sequence_passes += len(seats)
        if was_prefilling.any():
            self.counts.prefill_tokens += int(lengths[was_prefilling].sum())
            for number in np.flatnonzero(was_prefilling).tolist():
                self._publish(load.running[number])
        return work

    def _publish(self, running: Running) -> None:
        """Give the tree what it lacks of a prompt, if that is much, or all of the prompt."""
        n_unknown = running.n_computed - running.room.n_shared  # all at once would be a long copy
        if not running.prefilling or n_unknown >= _PUBLISHED_TOKENS:
            self.prefixes.publish(running.room, running.computed_ids)

    def _note_cost(self, work: Work, load: Load, seconds: float) -> None:
        """Learn what a pass costs, for the plans to come."""
        self._pacer.note(work, load.n_drafted, seconds)

    def _mask(self, logits: torch.Tensor, sampled: Sampled) -> Scores:
        tables = self._grammars.split_rows(sampled.row_ids) if self._grammars is not None else []
        masks = [(self._masks.on(logits.device, serial, rows), ids) for serial, rows, ids in tables]
        keep = np.flatnonzero(self.book.over_vocabulary[sampled.row_seats]).tolist()
        return mask_rows(logits, masks, sampled.few, keep)

    def _sample(self, scores: Scores, sampled: Sampled) -> np.ndarray:
        """One token for each row, (m,) int64. Each request draws from its own stream of random numbers."""
        book, seats = self.book, sampled.row_seats
        uniform = np.zeros(len(seats))
        for row in np.flatnonzero(book.temperature[sampled.seats]).tolist():
            sequence, rows = sampled.running[row].sequence, sampled.rows(row)
            uniform[rows] = sequence.draws.ahead(rows.stop - rows.start)
        ways = Ways(book.temperature[seats], book.top_k[seats], book.top_p[seats], book.min_p[seats], uniform)
        return scores.choose(ways)

    def _settle(self, sampled: Sampled, tokens: np.ndarray, scores: Scores) -> Ends:
        """Settle one token of each sequence after the other, as long as its draft holds the same; drop the rest."""
        self._use_draws(sampled)
        ends = self._settler.settle(sampled.seats, sampled.first_rows, tokens[sampled.first_rows], scores)
        going = [each for each in sampled.drafted if each.agrees() and each.sequence.key not in ends]
        while going:
            seats, rows = np.array([(each.running.seat, each.row) for each in going], dtype=np.int64).T
            ends |= self._settler.settle(seats, rows, tokens[rows], scores)
            going = [each for each in going if each.agrees() and each.sequence.key not in ends]
        for each in sampled.drafted:
            self._keep(each)
        if self._drafter is not None:
            self._follow(self._drafter, sampled, ends)
        return ends

    def _use_draws(self, sampled: Sampled) -> None:
        """The first row of each that draws has used its number, unless its token is forced."""
        for row in np.flatnonzero(self.book.temperature[sampled.seats]).tolist():
            sequence = sampled.running[row].sequence
            sequence.draws.use(int(not sequence.forced_ahead))

    def _follow(self, drafter: Drafter, sampled: Sampled, ends: Ends) -> None:
        """Have drafts learn from what came."""
        checked = {each.sequence.key: each for each in sampled.drafted}
        for sequence in sampled.sequences:
            if not isinstance(end := ends.get(sequence.key), Exception):
                said_so = end == "stop" and sequence.text.matched_stop is None
                known = checked.get(sequence.key)
                draft, n_kept = (_NO_DRAFT, 0) if known is None else (known.draft, known.n_kept)
                drafter.follow(sequence, draft, n_kept, ended_itself=said_so)

    def _keep(self, checked: Checked) -> None:
        """What the draft had right is in memory now; the rest is forgotten there."""
        running, n_kept = checked.running, checked.n_kept
        running.n_computed += n_kept
        running.sequence.draws.use(checked.n_settled - 1)
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
        usage = sequence.usage()
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
            usage=usage,
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
