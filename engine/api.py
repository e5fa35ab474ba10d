"""The engine's front: load a model, hand in calls, get jobs, completions and statistics."""

from __future__ import annotations

import asyncio
import atexit
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, overload

import msgspec

from ..grammar.generation_batch import GenerationBatch
from ..grammar.generations import DEFAULT_MAX_BYTES
from ..grammar.vocab import Vocabulary
from ..radix.tiers import Tiers
from ..radix.view import TreeView
from .accept import CallOptions, Prompt, accept_call, is_one_prompt, make_call, split_prompts
from .compiling import Compilers, GrammarLimits
from .grammars import Grammars
from .job import Job
from .limits import Limits
from .loading import Dtype, ModelNotes, limits_of, load, loop_kind, no_overlap, read_notes, set_threads
from .resolve import resolve_model
from .sample import warm as warm_choices
from .spelling import Speller
from .stats import EngineStats, stats_of
from .step import StepLoop
from .thread import StepThread
from .tiers import DEFAULT_DISK_BYTES, TierLimits, make_tiers
from .tokenizer import Tokenizer
from .types import Call, Completion, ModelInfo

if TYPE_CHECKING:
    from . import ports


GRAMMAR_FOLDER = "grammar"
"""Inside the cache folder."""


class Engine:
    """A model, its memory and its step loop. Safe to use from many threads and from asyncio.

    model: "sprout" (bundled), a folder, or a Hugging Face name.  dtype: "float32" (also None: the safest
    for equal tokens in any batch), "bfloat16" or "int8" (docs/formats.md).  max_batch, prefill_tokens, max_context:
    see Limits; None: derived.
    device: "cpu", or "cuda" (docs/gpu.md), where dtype None is "bfloat16".
    overlap: on a device, whether a pass is queued before the one before it was settled; None: yes (docs/gpu.md).
    page_tokens: on a device, tokens in a page of KV memory; None: 16 (docs/gpu.md).
    itl_ms: milliseconds between the tokens of online calls, which prompts and offline calls are not to exceed; None: a
    multiple of what they are without those (docs/scheduling.md).
    deterministic: the same tokens for a request in any company, whatever is cached; slower, float32 on the CPU only.
    prefix_cache False: every prompt is computed in full.  drafts False: a pass gives each request one token it
    may choose, none is guessed ahead; the output is the same.  kv_bytes: memory for KV; None: derived.
    threads: CPU threads of torch, for the whole process; None: as many as are measured to pay, up to torch's own.
    grammar_bytes: memory for compiled constraints.  compile_seconds: processor time one constraint may take to compile;
    a request whose constraint needs more fails, others go on.
    cache_dir: folder in which cached prefixes (disk_cache_bytes at most), the grammar's mask rows (64 MiB at most for
    one tokenizer) and the constraints in use are kept from one start to the next; None: they are not.
    host_cache_bytes: host memory, beside kv_bytes, for prefixes that leave the KV memory.
    Raises RootformError for a model that is not there or cannot be served.
    """

    def __init__(
        self,
        model: str | Path = "sprout",
        *,
        dtype: Dtype | None = None,
        device: str = "cpu",
        max_batch: int | None = None,
        prefill_tokens: int | None = None,
        max_context: int | None = None,
        itl_ms: float | None = None,
        deterministic: bool = False,
        prefix_cache: bool = True,
        drafts: bool = True,
        overlap: bool | None = None,
        page_tokens: int | None = None,
        threads: int | None = None,
        kv_bytes: int | None = None,
        grammar_bytes: int = DEFAULT_MAX_BYTES,
        compile_seconds: float = 2.0,
        cache_dir: str | Path | None = None,
        disk_cache_bytes: int = DEFAULT_DISK_BYTES,
        host_cache_bytes: int = 0,
    ) -> None:
        cache = None if cache_dir is None else Path(cache_dir).expanduser()
        tier_limits = TierLimits(host_bytes=host_cache_bytes, cache_dir=cache, disk_bytes=disk_cache_bytes).check()
        constraints = _constraint_limits(grammar_bytes, compile_seconds, cache_dir)
        folder = resolve_model(model)
        notes = read_notes(folder)
        tokenizer = Tokenizer.load(folder)
        dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
        if overlap and device == "cpu":
            raise no_overlap()
        steps = (max_batch, prefill_tokens)
        loaded = load(folder, dtype, kv_bytes, device, steps, deterministic=deterministic, page_tokens=page_tokens)
        limits = limits_of(loaded, max_batch, prefill_tokens, max_context, itl_ms)
        if device == "cpu" or threads is not None:
            set_threads(threads, loaded)
        tiers = (
            make_tiers(loaded, folder, f"{dtype}, deterministic" if deterministic else dtype, tier_limits)
            if prefix_cache
            else None
        )
        self._start(
            loaded,
            tokenizer,
            limits,
            str(model),
            notes,
            constraints,
            prefix_cache=prefix_cache,
            drafts=drafts,
            overlap=overlap,
            tiers=tiers,
        )
        if device == "cpu":  # so that no request pays for it
            warm_choices()
        if self._compilers is not None:
            self._compilers.wait_until_warm()

    @classmethod
    def from_parts(
        cls,
        model: ports.Model,
        tokenizer: Tokenizer,
        *,
        name: str = "model",
        extract_prompt: str | None = None,
        max_batch: int | None = None,
        prefill_tokens: int | None = None,
        max_context: int | None = None,
        itl_ms: float | None = None,
        prefix_cache: bool = True,
        drafts: bool = True,
        overlap: bool | None = None,
        grammar_bytes: int = DEFAULT_MAX_BYTES,
        compile_seconds: float = 2.0,
        cache_dir: str | Path | None = None,
        tiers: Tiers | None = None,
    ) -> Engine:
        """An engine around a model that is already there: one of your own, or a test's stand-in.

        cache_dir: for the grammar's mask rows and constraints alone, as nothing names the weights behind the KV.
        tiers: for prefixes that leave its memory; the engine closes them.
        """
        engine = cls.__new__(cls)
        limits = limits_of(model, max_batch, prefill_tokens, max_context, itl_ms)
        notes = ModelNotes(extract_prompt)
        constraints = _constraint_limits(grammar_bytes, compile_seconds, cache_dir)
        engine._start(
            model,
            tokenizer,
            limits,
            name,
            notes,
            constraints,
            prefix_cache=prefix_cache,
            drafts=drafts,
            overlap=overlap,
            tiers=tiers,
        )
        return engine

    def _start(
        self,
        model: ports.Model,
        tokenizer: Tokenizer,
        limits: Limits,
        name: str,
        notes: ModelNotes,
        constraints: GrammarLimits,
        *,
        prefix_cache: bool,
        drafts: bool,
        overlap: bool | None,
        tiers: Tiers | None,
    ) -> None:
        tokens = tokenizer.token_bytes[: model.vocab_size]
        self.limits = limits
        self.tokenizer = tokenizer
        self._vocab_size = model.vocab_size
        self._info = ModelInfo(
            name=name,
            context_tokens=limits.sequence_tokens,
            has_chat_template=tokenizer.has_chat_template,
            extract_prompt=notes.extract_prompt,
            tool_format=tokenizer.tool_format,
        )
        self._ids = itertools.count(1)
        eos_ids = frozenset(each for each in tokenizer.eos_ids if each < model.vocab_size)
        # Without an end-of-sequence token there is no telling where constrained output ends; plain output needs none.
        vocabulary = Vocabulary(tokens, tuple(eos_ids), model.vocab_size)
        self._compilers = compilers = Compilers(vocabulary, constraints) if eos_ids else None
        self._generations = compilers.generations if compilers else None
        speller = Speller(tokens, tokenizer.encode_inside)
        grammars = Grammars(GenerationBatch(self._generations), speller) if self._generations else None
        kind = loop_kind(model, overlap)
        self._overlaps = kind is not StepLoop
        self._loop = kind(
            model,
            tokens,
            eos_ids,
            limits,
            grammars=grammars,
            prefix_cache=prefix_cache,
            drafts=drafts,
            tiers=tiers,
        )
        self._stats = EngineStats()
        self._note_stats(0)
        self._thread = StepThread(self._loop, compilers, self._note_stats)
        if compilers is not None:
            compilers.recompile(lambda: self._loop.busy)
        atexit.register(self.close)

    # -- calls ------------------------------------------------------------------------------------------------

    @property
    def info(self) -> ModelInfo:
        """What a client may know of the model."""
        return self._info

    def submit(self, call: Call) -> Job:
        """Start a call. Raises RootformError at once for what can be seen to be wrong at once.

        What only compiling its constraint shows comes as the job's failure.
        """
        request = accept_call(
            call,
            next(self._ids),
            self.tokenizer,
            sequence_tokens=self.limits.sequence_tokens,
            vocab_size=self._vocab_size,
        )
        return self._thread.submit(request)

    @overload
    def generate(self, prompt: str, **options: Unpack[CallOptions]) -> Completion: ...
    @overload
    def generate(
        self, prompt: Prompt | Sequence[Prompt], **options: Unpack[CallOptions]
    ) -> Completion | list[Completion]: ...

    def generate(
        self, prompt: Prompt | Sequence[Prompt], **options: Unpack[CallOptions]
    ) -> Completion | list[Completion]:
        """Complete one prompt, or a list of them together (answers in the same order), and wait.

        prompt: text, token ids, or a chat (a list of Messages or of {"role", "content"}); or a list of those, which is
        offline unless `priority` says otherwise: nobody sees any of it before all is done.
        Raises what the first failing call failed with; the others are cancelled.
        """
        jobs: list[Job] = []
        try:
            for call in _calls(prompt, options):
                jobs.append(self.submit(call))
            completions = [job.result() for job in jobs]
        except BaseException:
            _cancel_all(jobs)
            raise
        return completions[0] if is_one_prompt(prompt) else completions

    async def agenerate(
        self, prompt: Prompt | Sequence[Prompt], **options: Unpack[CallOptions]
    ) -> Completion | list[Completion]:
        """generate() for asyncio. Cancelling the awaiting task cancels the calls."""
        jobs: list[Job] = []
        is_given_up = False

        def submit(call: Call) -> None:
            """Runs on another thread, which goes on when the task that waits for it is cancelled."""
            jobs.append(self.submit(call))
            if is_given_up:
                jobs[-1].cancel()

        try:
            for call in _calls(prompt, options):
                await asyncio.to_thread(submit, call)
            completions = [await job.wait() for job in jobs]
        except BaseException:
            is_given_up = True  # before the jobs there are are cancelled, so that none slips through
            _cancel_all(jobs)
            raise
        return completions[0] if is_one_prompt(prompt) else completions

    def describe(self) -> str:
        """What it keeps to, for people: a line each."""
        lines = [self.limits.describe()]
        card = getattr(self._loop.model, "describe", None)  # of a model on a device
        if card is not None:
            lines.append(f"card: {card()}")
            ahead = "queued before the one before it was settled" if self._overlaps else "settled before the next"
            lines.append(f"passes: each {ahead}")
        return "\n".join(lines)

    # -- looking in -------------------------------------------------------------------------------------------

    def stats(self) -> EngineStats:
        """As of the last step. Never waits."""
        recompiled = self._compilers.recompiled if self._compilers else 0  # goes on between steps
        return msgspec.structs.replace(self._stats, grammar_recompiled=recompiled)

    @property
    def trouble(self) -> str | None:
        """Why it can take no calls (closed, or its loop broke), for health checks; None while all is well."""
        return self._thread.trouble

    def cache_snapshot(self, ids_per_node: int | None = 16) -> TreeView:
        """The tree of cached prefixes as plain data. Waits for the step now running."""
        return self._thread.ask(lambda: self._loop.prefixes.tree.snapshot(ids_per_node))

    def clear_cache(self) -> None:
        """Forget all cached prefixes that no running request reads, in host memory and in files too."""
        self._thread.ask(self._loop.prefixes.clear)

    def _note_stats(self, compiling: int) -> None:
        """Runs on the step thread."""
        self._stats = stats_of(self._loop, self._generations, compiling)

    # -- the end ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the engine; jobs still running are cancelled. Calling it again does nothing.

        With cache_dir, cached prefixes that are not in files yet are written there, as far as there is room.
        """
        is_well = self._thread.trouble is None
        self._thread.close()
        self._loop.prefixes.close(keep=is_well)
        atexit.unregister(self.close)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _calls(prompt: Prompt | Sequence[Prompt], options: CallOptions) -> list[Call]:
    if not is_one_prompt(prompt):
        options = {"priority": "offline", **options}
    return [make_call(each, **options) for each in split_prompts(prompt)]


def _cancel_all(jobs: Iterable[Job]) -> None:
    for job in jobs:
        job.cancel()


def _constraint_limits(max_bytes: int, seconds: float, cache_dir: str | Path | None) -> GrammarLimits:
    folder = None if cache_dir is None else Path(cache_dir).expanduser() / GRAMMAR_FOLDER
    return GrammarLimits(max_bytes=max_bytes, compile_seconds=seconds, cache_dir=folder).check()
