"""A transformers causal language model over our own KV memory, as `ports.Model`."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from .attention import StepAttention
from .cascade import Composition, Group, Kind, compose, groups_of, plan_step
from .context import Attend, attention_done_by
from .crossover import TYPICAL, Costs, measure
from .fused import FusedDecoder, can_fuse
from .geometry import LayerGeometry, kv_tokens, token_bytes
from .linears import Format, can_pack, int8_trouble, pack_linears
from .memory_cpu import CpuMemory, Slot
from .modelfiles import model_folder
from .ports import Few, ForwardBatch
from .probe import probe
from .steady import compose_apart, one_thread
from .trial import TOLERANCES, TRIAL_TOKENS, compare, from_pretrained, longest_context, own_logits, trial_ids
from .types import RootformError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Of weights, activations and KV."""


def load_model(
    path: str | Path,
    *,
    dtype: Literal["float32", "bfloat16", "int8"] = "float32",
    kv_bytes: int | None = None,
    device: str = "cpu",
    deterministic: bool = False,
) -> CpuModel:
    """Load the model in a local folder, or of a name in the local Hugging Face cache. Never uses the network.

    dtype: of weights, activations and KV, whatever the checkpoint's own: float32 by default, which keeps a request's
    tokens independent of its neighbours in nearly all cases; bfloat16 halves memory and is faster where the CPU has
    instructions for it; int8 is for products with weights alone (see linears.py), the rest is bfloat16 where the CPU
    is fast at that, else float32. deterministic: float32 only; a token's logits depend on its own past alone, to the
    last bit, which takes more time (docs/scheduling.md). kv_bytes: memory for KV; None: derived from the host's free
    memory.

    Raises RootformError when the folder, its config or its weights are missing, when the weights do not fill the
    model, or when the model's attention cannot be served exactly.
    """
    number, weights = _number(dtype)
    if deterministic:
        if dtype != "float32":
            raise RootformError(f"deterministic goes with dtype float32, not {dtype}", param="deterministic")
        weights = "steady"
    if device != "cpu":
        raise RootformError(f"device {device!r} is not known; this loader serves on 'cpu'", param="device")
    folder = model_folder(path)
    model = from_pretrained(folder, number)
    layers = probe(model)
    vocab_size = model.config.get_text_config().vocab_size
    classes = ClassesDecoder(model, one_thread=deterministic)
    logits = _trial_logits(classes, layers, vocab_size, number)
    tolerance = TOLERANCES["float32" if number == torch.float32 else "bfloat16"]
    compare(model, logits, own_logits(model), "rootform's attention", tolerance)
    context_tokens = longest_context(model.config.get_text_config())
    n_tokens = kv_tokens(token_bytes(layers, number.itemsize), context_tokens, kv_bytes)
    if n_tokens < 2:
        raise RootformError(f"there is no room for KV: kv_bytes is {kv_bytes}, two tokens need more", param="kv_bytes")
    context_tokens = min(context_tokens, n_tokens)
    decoder = _fast_decoder(model, classes, context_tokens, weights)
    quick = _trial_logits(decoder, layers, vocab_size, number)
    compare(model, quick, logits, "its fast decoder", TOLERANCES[dtype])
    memory = CpuMemory(layers, n_tokens, number)
    if deterministic:
        _check_steady(model, decoder, layers, vocab_size)
    costs = None if deterministic else measure(layers[0], number)
    return CpuModel(decoder, memory, vocab_size=logits.shape[-1], context_tokens=context_tokens, costs=costs)


class Decoder(Protocol):
    """Token ids to logits; what attention does is given."""

    def __call__(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        rows: torch.Tensor,
        attend: Attend,
        wanted: Few | None = None,
    ) -> torch.Tensor:
        """ids, positions (T,), rows (m,) of the T -> logits (m, vocab).

        wanted: what is needed of each row; the rest may hold anything.
        """
        ...


class ClassesDecoder:
    """The transformers classes as a Decoder. one_thread: torch's operations between products cut no row in two."""

    def __init__(self, model: Any, *, one_thread: bool = False) -> None:
        self._model = model
        self._one_thread = one_thread
        self._keeps_rows = "logits_to_keep" in inspect.signature(model.forward).parameters

    def __call__(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        rows: torch.Tensor,
        attend: Attend,
        wanted: Few | None = None,
    ) -> torch.Tensor:
        """See Decoder. All logits of each row, always."""
        keep = {"logits_to_keep": rows} if self._keeps_rows else {}
        with attention_done_by(attend), one_thread() if self._one_thread else nullcontext():
            out = self._model(
                input_ids=ids[None], position_ids=positions[None], attention_mask=None, use_cache=False, **keep
            )
        return out.logits[0] if self._keeps_rows else out.logits[0][rows]


class CpuModel:
    """`ports.Model`: forward() runs the model's own classes with our attention over our memory.

    One thread at a time.
    """

    def __init__(
        self,
        decoder: Decoder,
        memory: CpuMemory,
        *,
        vocab_size: int,
        context_tokens: int,
        costs: Costs | None = TYPICAL,
    ) -> None:
        """costs: of reading keys, by which it is decided who reads what together; None: nobody does, each token reads
        by itself."""
        self.vocab_size = vocab_size
        self.context_tokens = context_tokens
        self.memory = memory
        self._decoder = decoder
        self._kinds = [Kind(each.window, each.groups) for each in memory.layers]
        self._windows = list(dict.fromkeys(kind.window for kind in self._kinds))
        self._costs = costs
        self._composed: tuple[tuple[int, bytes, bytes], Composition] | None = None
        self._groups: tuple[tuple[int, bytes], list[Group]] | None = None

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        """See ports.Model. ValueError, with nothing written, when a sequence is not where the batch says or is full."""
        self.memory.check_room(batch.slots, batch.starts, batch.lengths)
        plan = plan_step(self._composition(batch), batch.positions, self._windows)
        attention = StepAttention(self.memory, plan, self._kinds)
        ids, positions = torch.from_numpy(batch.token_ids), torch.from_numpy(batch.positions)
        with torch.inference_mode():
            rows = torch.from_numpy(batch.logit_rows)
            logits = self._decoder(ids, positions, rows, attention, batch.wanted).float()
        self.memory.wrote(batch.slots, batch.lengths)
        return logits

    def _composition(self, batch: ForwardBatch) -> Composition:
        """compose(), remembered while the sequences and their numbers of new tokens stay the same."""
        key = (self.memory.version, batch.slots.tobytes(), batch.lengths.tobytes())
        if self._composed is None or self._composed[0] != key:
            slots = [self.memory[slot] for slot in batch.slots.tolist()]
            if self._costs is None:
                parts = compose_apart(slots, batch.lengths)
            else:
                parts = compose(slots, batch.lengths, self._costs, self._groups_of(key[:2], slots))
            self._composed = (key, parts)
        return self._composed[1]

    def _groups_of(self, key: tuple[int, bytes], slots: list[Slot]) -> list[Group]:
        """groups_of(), remembered while the sequences stay the same: their numbers of new tokens seldom do."""
        if self._groups is None or self._groups[0] != key:
            self._groups = (key, groups_of(slots))
        return self._groups[1]


# -- loading --------------------------------------------------------------------------------------------------


def _number(dtype: str) -> tuple[torch.dtype, Format]:
    """The type of activations and KV, and the format of weights in products."""
    if dtype in DTYPES:
        return DTYPES[dtype], "model"
    if dtype != "int8":
        raise RootformError(f"dtype {dtype!r} is not known; use one of {', '.join(TOLERANCES)}", param="dtype")
    if (trouble := int8_trouble()) is not None:
        raise RootformError(f"dtype 'int8' cannot be had on this machine: {trouble}; use another dtype", param="dtype")
    return (torch.bfloat16 if can_pack(torch.bfloat16) else torch.float32), "int8"


def _fast_decoder(model: Any, classes: ClassesDecoder, context_tokens: int, weights: Format) -> Decoder:
    """The quickest way to run the model on this machine."""
    if can_fuse(model):
        return FusedDecoder(model, max(context_tokens, TRIAL_TOKENS), weights)
    pack_linears(model, weights)
    return classes


def _trial_logits(
    decoder: Decoder, layers: tuple[LayerGeometry, ...], vocab_size: int, dtype: torch.dtype
) -> torch.Tensor:
    """Logits (7, vocab) of a trial text, in two chunks and one step of decoding, through our own attention."""
    trial = CpuModel(decoder, CpuMemory(layers, 64, dtype), vocab_size=vocab_size, context_tokens=64)
    slot = trial.memory.open(np.empty(0, dtype=np.int32), 0, 16)
    assert slot is not None
    ids = trial_ids(vocab_size)
    logits = []
    for start, stop in ((0, 4), (4, 6), (6, TRIAL_TOKENS)):
        batch = ForwardBatch(
            token_ids=ids[start:stop],
            positions=np.arange(start, stop),
            slots=np.array([slot], dtype=np.int32),
            starts=np.array([start], dtype=np.int32),
            lengths=np.array([stop - start], dtype=np.int32),
            logit_rows=np.arange(stop - start),
        )
        logits.append(trial.forward(batch))
    return torch.cat(logits)


def _check_steady(model: Any, decoder: Decoder, layers: tuple[LayerGeometry, ...], vocab_size: int) -> None:
    """Refuse a model whose trial text gets other logits in other company, or cut in other pieces."""
    ids = trial_ids(vocab_size)
    texts = [(ids + n) % vocab_size for n in range(12)]

    def logits(cuts: list[int], company: int) -> torch.Tensor:
        memory = CpuMemory(layers, 32 * len(texts), torch.float32)
        trial = CpuModel(decoder, memory, vocab_size=vocab_size, context_tokens=64, costs=None)
        slots = [memory.open(np.empty(0, dtype=np.int32), 0, 16) for _ in range(company)]
        found = []
        for start, stop in pairwise([0, *cuts, TRIAL_TOKENS]):
            n = stop - start
            batch = ForwardBatch(
                token_ids=np.concatenate([text[start:stop] for text in texts[:company]]),
                positions=np.tile(np.arange(start, stop), company),
                slots=np.array(slots, dtype=np.int32),
                starts=np.full(company, start, dtype=np.int32),
                lengths=np.full(company, n, dtype=np.int32),
                logit_rows=np.arange(n),
            )
            found.append(trial.forward(batch))
        return torch.cat(found)

    alone = logits([], 1)
    for cuts, company in (([1, 2, 3, 4, 5, 6], 1), ([4], 3), ([2, 3], 12), ([], 12)):
        if not torch.equal(logits(cuts, company), alone):
            raise RootformError(
                f"{type(model).__name__} cannot be served deterministically here: its logits depend in the last bits "
                "on how many tokens are computed together",
                param="deterministic",
            )
