"""What the host does to the device while a batch decodes: passes that overlap, ordinary ones, and ordinary ones whose
masks another library makes. The same model, memory, kernels and step loop in all of them.

A pass is timed in a steady stretch, in which every sequence decodes and none ends; then a few more are run with torch
reporting whatever makes the host wait.
"""

from __future__ import annotations

import importlib.util
import json
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from rootform.engine.book import Book
from rootform.engine.grammars import Grammars, Taken
from rootform.engine.kernels.mask import apply_mask
from rootform.engine.limits import derive_limits
from rootform.engine.model_paged import PagedModel
from rootform.engine.overlap import OverlappedLoop
from rootform.engine.paged_step import pinned
from rootform.engine.passes import Sampled
from rootform.engine.ports import Few
from rootform.engine.running import Constrained
from rootform.engine.sample import Scores
from rootform.engine.step import StepLoop
from rootform.engine.tokenizer import Tokenizer
from rootform.engine.types import Event, Failed, Request
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.generation_batch import GenerationBatch
from rootform.grammar.generations import Generations
from rootform.grammar.vocab import Vocabulary

from .gpu_models import count_syncs, load_saved
from .serving_workload import EOS_ID

_NAMES = "abcdefghijklmnop"
_TEXTS = json.dumps(
    {
        "type": "object",
        "properties": {name: {"type": "string", "pattern": "^[a-zA-Z0-9 ,.]{100}$"} for name in _NAMES},
        "required": list(_NAMES),
        "additionalProperties": False,
    }
)
"""Any text: wide masks, a few forced characters now and then, and no end within the stretch."""
_LONGEST = 1800  # more tokens than it has characters
_WARM, _TIMED, _WATCHED = 24, 40, 4  # passes


class Row(NamedTuple):
    """ms: of a pass, the mean of a stretch.  syncs: of a pass, as torch reports them.  waits, stalls: of a pass, as the
    loop counts them; None where it does not.  misses: of the grammar's tables on the device, in the stretch."""

    name: str
    batch: int
    ms: float
    syncs: float
    waits: float | None = None
    stalls: float | None = None
    misses: int | None = None


def measure(device: str, folder: Path, batches: Sequence[int], seconds: float) -> list[Row]:
    """Each way at each batch, as far as time goes. folder: of a model made by make_model."""
    deadline = time.monotonic() + seconds
    model = load_saved(folder, device, max(batches))
    tokenizer = Tokenizer.load(folder)
    ways = [
        ("overlap", "overlap", False),
        ("settled before the next", "lockstep", False),
        ("overlap, masks", "overlap", True),
        ("settled before the next, masks", "lockstep", True),
    ]
    ways += [(f"masks by {name}", name, True) for name in PEERS if importlib.util.find_spec(name) is not None]
    rows = []
    for batch in batches:
        for label, kind, is_masked in ways:
            if time.monotonic() >= deadline:
                continue
            try:
                rows.append(_row(label, _loop(model, tokenizer, folder, kind, batch), batch, is_masked, model))
            except Exception:
                if kind not in PEERS:
                    raise
                traceback.print_exc()  # another's failure must not cost our figures
    return rows


def _loop(model: PagedModel, tokenizer: Tokenizer, folder: Path, kind: str, batch: int) -> StepLoop:
    limits = derive_limits(
        context_tokens=model.context_tokens,
        page_tokens=model.memory.page_tokens,
        total_pages=model.memory.total_pages,
        max_batch=batch,
        prefill_tokens=8192,
    )
    tokens = tokenizer.token_bytes[: model.vocab_size]
    given: Any = (model, tokens, frozenset({EOS_ID}), limits)
    if kind in PEERS:
        peer = PEERS[kind](folder, tokens, model.vocab_size)
        return PeerLoop(*given, grammars=PeerGrammars(peer, batch), drafts=False)
    states = GenerationBatch(Generations(Vocabulary(tokens, (EOS_ID,), model.vocab_size)))
    return (OverlappedLoop if kind == "overlap" else StepLoop)(*given, grammars=Grammars(states), drafts=False)


def _row(label: str, loop: StepLoop, batch: int, is_masked: bool, model: PagedModel) -> Row:
    root: Any = None
    if is_masked:
        grammars: Any = loop._grammars
        root = grammars.root if isinstance(grammars, PeerGrammars) else _root(grammars)
    for n in range(batch):
        ids = (*range(5, 37), 5 + n % 64)
        _raise_failures(
            loop.add(Request(request_id=n, prompt_ids=ids, max_new_tokens=_LONGEST, ignore_eos=not is_masked), root)
        )
    while len(loop.places.running) < batch or any(each.prefilling for each in loop.places.running.values()):
        _raise_failures(loop.step())
    for _ in range(_WARM):
        _raise_failures(loop.step())
    _finish(model)
    before = _counts(loop)
    began = time.perf_counter()
    for _ in range(_TIMED):
        loop.step()
    _finish(model)
    ms = 1e3 * (time.perf_counter() - began) / _TIMED
    waits, stalls, misses = (after - was for after, was in zip(_counts(loop), before, strict=True))
    syncs = sum(count_syncs(loop.step, model.memory.device) for _ in range(_WATCHED)) / _WATCHED
    assert len(loop.places.running) == batch, "a sequence ended within the stretch"
    for n in range(batch):
        loop.cancel(n)
    loop.prefixes.forget_all()
    if not isinstance(loop, OverlappedLoop):
        return Row(label, batch, ms, syncs)
    return Row(label, batch, ms, syncs, waits / _TIMED, stalls / _TIMED, misses)


def _raise_failures(events: Sequence[Event]) -> None:
    for event in events:
        if isinstance(event, Failed):
            raise RuntimeError(f"request {event.request_id}: {event.error}")


def _root(grammars: Grammars) -> Any:
    return grammars._states.generations.compile(JsonSchema(_TEXTS), warm=True)


def _counts(loop: StepLoop) -> tuple[int, int, int]:
    return loop.counts.device_waits, loop.counts.device_stalls, loop.counts.grammar_misses


def _finish(model: PagedModel) -> None:
    if model.memory.device.type == "cuda":
        torch.cuda.synchronize(model.memory.device)


# -- masks by others ------------------------------------------------------------------------------------------


class XGrammar:
    """XGrammar's batch of matchers, on as many threads as it likes."""

    def __init__(self, folder: Path, tokens: Sequence[bytes], size: int) -> None:
        import xgrammar

        table = [*tokens, *[b""] * (size - len(tokens))]
        info = xgrammar.TokenizerInfo(table, xgrammar.VocabType.RAW, vocab_size=size, stop_token_ids=[EOS_ID])
        compiler = xgrammar.GrammarCompiler(info)
        self._grammar = compiler.compile_json_schema(_TEXTS, any_whitespace=False, separators=(",", ":"))
        self._matcher = xgrammar.GrammarMatcher
        self._together = xgrammar.BatchGrammarMatcher()

    def start(self) -> Any:
        """A matcher."""
        return self._matcher(self._grammar, terminate_without_stop_token=False)

    def fill(self, matchers: list[Any], rows: np.ndarray) -> None:
        """Their masks, (n, words) int32."""
        self._together.batch_fill_next_token_bitmask(matchers, torch.from_numpy(rows))

    def take(self, matchers: list[Any], tokens: list[int]) -> None:
        """Each goes on by its token."""
        self._together.batch_accept_token(matchers, tokens)


class LLGuidance:
    """llguidance's parallel calls."""

    def __init__(self, folder: Path, tokens: Sequence[bytes], size: int) -> None:
        from llguidance import LLExecutor, LLMatcher, LLTokenizer

        definition = (folder / "tokenizer.json").read_text()
        self._tokenizer: Any = LLTokenizer(definition, size, [EOS_ID], LLTokenizer.json_slices())
        self._grammar = LLMatcher.grammar_from_json_schema(_TEXTS, defaults={"whitespace_flexible": False})
        self._matcher = LLMatcher
        self._executor = LLExecutor()

    def start(self) -> Any:
        """A matcher."""
        return self._matcher(self._tokenizer, self._grammar, log_level=0)

    def fill(self, matchers: list[Any], rows: np.ndarray) -> None:
        """Their masks, (n, words) int32."""
        from llguidance.numpy import fill_next_token_bitmask_par

        fill_next_token_bitmask_par(self._executor, [(each, n) for n, each in enumerate(matchers)], rows)

    def take(self, matchers: list[Any], tokens: list[int]) -> None:
        """Each goes on by its token."""
        from llguidance.numpy import consume_token_par

        consume_token_par(self._executor, list(zip(matchers, tokens, strict=True)))


PEERS: dict[str, Any] = {"xgrammar": XGrammar, "llguidance": LLGuidance}


class PeerGrammars:
    """What the step loop asks of engine.grammars.Grammars, by another library's matchers; for this benchmark's schema.

    A place's mask row is its slot: rows is the table, made anew in every pass.
    """

    has_errors = False
    n_eos = 0

    def __init__(self, peer: Any, batch: int) -> None:
        self.root = object()
        self._peer = peer
        self._matchers: list[Any] = []
        self._batch = batch
        self.rows = np.zeros((batch, 1), dtype=np.int32)

    def open(self, root: object, max_new_tokens: int, book: Book, seat: int) -> Constrained:
        self._matchers.append(self._peer.start())
        return Constrained(len(self._matchers) - 1, book, seat)

    def close(self, place: Constrained) -> None: ...

    def error_of(self, place: Constrained) -> None: ...

    def is_finished(self, place: Constrained) -> bool:
        return False

    def forced(self, place: Constrained) -> tuple[int, ...]:
        return ()

    def look_at(self, book: Book, seats: np.ndarray) -> None:
        book.row_id[seats] = book.grammar[seats]

    def take(self, book: Book, seats: np.ndarray, tokens: np.ndarray) -> dict[int, Taken]:
        self._peer.take([self._matchers[slot] for slot in book.grammar[seats].tolist()], tokens.tolist())
        return {}

    def masks(self, slots: Sequence[int], words: int) -> np.ndarray:
        """The masks of these slots, (n, words) int32."""
        if self.rows.shape != (len(slots), words):
            self.rows = np.zeros((len(slots), words), dtype=np.int32)
        self._peer.fill([self._matchers[slot] for slot in slots], self.rows)
        return self.rows


class PeerLoop(StepLoop):
    """Masks are filled on the host in every pass and travel to the device in one copy."""

    def _mask(self, logits: torch.Tensor, sampled: Sampled) -> Scores:
        grammars: Any = self._grammars
        slots = [each.grammar.slot for each in sampled.sequences if each.grammar is not None]
        if slots:
            rows = grammars.masks(slots, -(-logits.shape[1] // 32))
            there = pinned([rows], logits.device).to(logits.device, non_blocking=True).view(rows.shape)
            apply_mask(logits, there, torch.arange(len(slots), dtype=torch.int32, device=logits.device))
        return Scores(logits, Few.of([None] * len(logits)))


def describe(rows: list[Row]) -> str:
    """As a table of Markdown."""
    lines = ["| passes | batch | ms | host syncs | waits | stalls | misses |", "|---|---|---|---|---|---|---|"]

    def cell(value: float | None) -> str:
        return "" if value is None else f"{value:g}"

    for row in rows:
        counts = " | ".join(cell(each) for each in (row.syncs, row.waits, row.stalls, row.misses))
        lines.append(f"| {row.name} | {row.batch} | {row.ms:.3f} | {counts} |")
    return "\n".join(lines)
