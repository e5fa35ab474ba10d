"""Where the engine's tests run models; and a stand-in model whose KV is the token ids themselves, so that a page in the
wrong hands changes the answer."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
import torch

from rootform.engine import model_paged
from rootform.engine.api import Engine
from rootform.engine.limits import derive_limits
from rootform.engine.loading import loop_kind
from rootform.engine.model import load_model
from rootform.engine.model_paged import PagedModel, load_paged_model
from rootform.engine.paged_llama import PagedLlama
from rootform.engine.ports import ForwardBatch, Model
from rootform.engine.step import StepLoop
from rootform.engine.types import Cancelled, Delta, Failed, Finished, Request
from rootform.engine.waiting import Waiting

torch.set_num_threads(1)  # models this small only lose by splitting their work

_GRAPHS = [2, 8]  # tokens of the stand-in's
_BATCH_ROWS = 16  # on a card: few graphs to record


class Device:
    """Where tests run models: all that passes on the CPU passes on a card, and on what stands for one.

    name: "cpu"; "cuda"; or "paged": what serves a card (its memory, its plans, its graphs' arrays, passes that overlap)
    on CPU tensors, with the kernels' twins.  there: where logits are, of a model on a device; None: on the CPU.
    Unless a test asks for them there are no drafts on a device, as passes that they pay in do not overlap.
    """

    def __init__(self, name: Literal["cpu", "paged", "cuda"]) -> None:
        self.name = name
        self.there = {"cpu": None, "paged": torch.device("cpu"), "cuda": torch.device("cuda")}[name]

    def engine(self, folder: Path, **options: Any) -> Engine:
        """Of a model in a folder, in float32, as a user opens it. kv_bytes: 16 MiB unless told."""
        options = {"kv_bytes": 1 << 24, "threads": 1, "dtype": "float32"} | options
        if self.there is None:
            return Engine(folder, **options)
        options = {"overlap": True, "drafts": False, "device": "cuda", "max_batch": _BATCH_ROWS} | options
        with pytest.MonkeyPatch.context() as patch:
            self._stand_in(patch)
            engine = Engine(folder, **options)
        self._record(engine._loop.model)
        return engine

    def load(self, folder: Path, *, page_tokens: int | None = None, **options: Any) -> Model:
        """A model in a folder, in float32. page_tokens: on a device."""
        if self.there is None:
            return load_model(folder, **options)
        options = {"dtype": "float32", "batch_rows": _BATCH_ROWS, "page_tokens": page_tokens} | options
        model = load_paged_model(folder, device=self.there.type, **options)
        self._record(model)
        return model

    def loop(self, model: Model, *arguments: Any, **options: Any) -> StepLoop:
        """The step loop that is the default there."""
        overlaps = self.there is not None
        return loop_kind(model, overlaps)(model, *arguments, **{"drafts": not overlaps} | options)

    @property
    def ways(self) -> dict[str, Any]:
        """Options of Engine.from_parts."""
        return {} if self.there is None else {"overlap": True, "drafts": False}

    def _stand_in(self, patch: pytest.MonkeyPatch) -> None:
        if self.name == "paged":
            patch.setattr(model_paged, "_device", lambda _: self.there)

    def _record(self, model: Model) -> None:
        if self.name == "paged" and isinstance(model, PagedModel) and isinstance(model._decoder, PagedLlama):
            model.capture(_GRAPHS, 1 << 30)


NO_CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


CARD = pytest.param("cuda", marks=[pytest.mark.cuda, NO_CARD])


@pytest.fixture(scope="module", params=["cpu", CARD])
def twins_or_card(request: pytest.FixtureRequest) -> str:
    """The torch device of a model over paged memory: the CPU, where the kernels' twins do the work, or a card."""
    return request.param


@pytest.fixture(scope="module", params=["cpu", "paged", CARD])
def device(request: pytest.FixtureRequest) -> Device:
    """Each of them in turn (`benchmarks.gpu --tests` runs those on a card)."""
    return Device(request.param)


class ListMemory:
    """ports.Memory with plain lists. A page holds the ids of its tokens; a page given back is wiped."""

    def __init__(self, total_pages: int = 256, page_tokens: int = 1) -> None:
        self.total_pages = total_pages
        self.page_tokens = page_tokens
        self.page_bytes = 4 * page_tokens
        self.free = set(range(total_pages))
        self.content: dict[int, list[int]] = {}
        self.slots: dict[int, SimpleNamespace] = {}
        self._n_opened = 0

    @property
    def free_pages(self) -> int:
        return len(self.free)

    def _take(self, n: int) -> list[int] | None:
        return [self.free.pop() for _ in range(n)] if n <= len(self.free) else None

    def open(self, pages: np.ndarray, n_cached: int, capacity: int) -> int | None:
        assert len(pages) * self.page_tokens == n_cached <= capacity
        room = self._take(-(-(capacity - n_cached) // self.page_tokens))
        if room is None:
            return None
        self._n_opened += 1
        self.slots[self._n_opened] = SimpleNamespace(
            pages=pages.tolist(), room=room, base=n_cached, own=[], capacity=capacity
        )
        return self._n_opened

    def read(self, slot: int) -> list[int]:
        state = self.slots[slot]
        known = [token for page in state.pages for token in self.content[page]]
        return known + state.own[len(known) - state.base :]

    def write(self, slot: int, ids: list[int]) -> None:
        state = self.slots[slot]
        state.own.extend(ids)
        assert state.base + len(state.own) <= state.capacity

    def share(self, slot: int, start: int, stop: int) -> np.ndarray | None:
        assert start % self.page_tokens == stop % self.page_tokens == 0
        ids = self.read(slot)[start:stop]
        assert len(ids) == stop - start
        pages = self._take((stop - start) // self.page_tokens)
        if pages is None:
            return None
        for n, page in enumerate(pages):
            self.content[page] = ids[n * self.page_tokens : (n + 1) * self.page_tokens]
        return np.array(pages, dtype=np.int32)

    def grow(self, slot: int, capacity: int) -> bool:
        state = self.slots[slot]
        more = self._take(max(0, -(-(capacity - state.base) // self.page_tokens) - len(state.room)))
        if more is None:
            return False
        state.room += more
        state.capacity = max(state.capacity, capacity)
        return True

    def adopt(self, slot: int, pages: np.ndarray, n_cached: int) -> None:
        assert len(pages) * self.page_tokens == n_cached
        before = self.read(slot)
        self.slots[slot].pages = pages.tolist()
        assert self.read(slot) == before

    def truncate(self, slot: int, n_tokens: int) -> None:
        assert n_tokens >= self.slots[slot].base
        del self.slots[slot].own[n_tokens - self.slots[slot].base :]

    def close(self, slot: int) -> None:
        self.free.update(self.slots.pop(slot).room)

    def copy_out(self, pages: np.ndarray) -> np.ndarray:
        ids = np.array([self.content[page] for page in pages.tolist()], dtype=np.int32)
        return ids.reshape(len(pages), self.page_tokens).view(np.uint8)

    def copy_in(self, pieces) -> np.ndarray | None:
        ids = np.concatenate([np.ascontiguousarray(piece).view(np.int32) for piece in pieces])
        pages = self._take(len(ids))
        if pages is None:
            return None
        for page, content in zip(pages, ids.tolist(), strict=True):
            self.content[page] = content
        return np.array(pages, dtype=np.int32)

    def give_back(self, pages: np.ndarray) -> None:
        for page in pages.tolist():
            assert page not in self.free
            del self.content[page]
            self.free.add(page)


class StandIn:
    """ports.Model: the logits after a token are drawn from the hash of all tokens so far, or given by `likes`.

    likes: ids so far -> the token to like best.  fail_on: raise when this token is in a batch.  there: the device that
    it is on, as a model whose passes can overlap; None: it is on the CPU.
    """

    def __init__(
        self,
        vocab_size: int = 50,
        memory: ListMemory | None = None,
        context_tokens: int = 200,
        there: torch.device | None = None,
    ) -> None:
        self.vocab_size = vocab_size
        self.context_tokens = context_tokens
        self.memory = memory or ListMemory()
        self.there = there
        if there is not None:
            self.memory.device = there
            self.last_tokens = torch.zeros(64, dtype=torch.int32, device=there)
        self.likes = None
        self.fail_on: int | None = None
        self.batches: list[ForwardBatch] = []

    def logits_after(self, ids: list[int]) -> np.ndarray:
        seed = int.from_bytes(hashlib.blake2b(np.array(ids).tobytes(), digest_size=8).digest(), "little")
        logits = np.random.default_rng(seed).normal(size=self.vocab_size).astype(np.float32) * 2
        if self.likes is not None:
            logits[self.likes(ids)] = 20.0
        return logits

    def forward(self, batch: ForwardBatch, sources: np.ndarray | None = None) -> torch.Tensor:
        if sources is not None and self.there is not None:
            last = self.last_tokens.cpu().numpy()[np.maximum(sources, 0)]
            batch = msgspec.structs.replace(batch, token_ids=np.where(sources < 0, batch.token_ids, last))
        self.batches.append(batch)
        if self.fail_on is not None and self.fail_on in batch.token_ids:
            raise RuntimeError("the stand-in was told to fail")
        stops = np.cumsum(batch.lengths)
        wanted = set(batch.logit_rows.tolist())
        rows = []
        for slot, start, length, stop in zip(batch.slots, batch.starts, batch.lengths, stops, strict=True):
            so_far = self.memory.read(int(slot))
            assert len(so_far) == start
            for at in range(stop - length, stop):
                assert batch.positions[at] == len(so_far)
                so_far.append(int(batch.token_ids[at]))
                self.memory.write(int(slot), so_far[-1:])
                if at in wanted:
                    rows.append(self.logits_after(so_far))
        logits = np.stack(rows) if rows else np.empty((0, self.vocab_size), dtype=np.float32)
        return torch.from_numpy(logits).to(self.there or "cpu")


EOS = 0


class Stand:
    """A step loop around a stand-in, and what came out of it."""

    def __init__(
        self,
        *,
        prefix_cache: bool = True,
        drafts: bool | None = None,
        grammars=None,
        model=None,
        token_bytes=None,
        tiers=None,
        clock=lambda: 0.0,  # no pass takes time: nothing is learned from what the machine does meanwhile
        there=None,
        **limits,
    ) -> None:
        self.model = model or StandIn(there=there)
        memory = self.model.memory
        self.limits = derive_limits(
            context_tokens=self.model.context_tokens,
            page_tokens=memory.page_tokens,
            total_pages=memory.total_pages,
            **limits,
        )
        self.token_bytes = token_bytes or [b"", *(bytes([96 + n]) for n in range(1, self.model.vocab_size))]
        self.loop = loop_kind(self.model, None if self.model.there is None else True)(
            self.model,
            self.token_bytes,
            frozenset({EOS}),
            self.limits,
            grammars=grammars,
            prefix_cache=prefix_cache,
            drafts=self.model.there is None if drafts is None else drafts,
            tiers=tiers,
            clock=clock,
        )
        self.events: dict[int, list] = {}
        self.requests: dict[int, Request] = {}
        self._n_added = 0

    def limit(self, **changed) -> None:
        """Other limits than those derived; before anything is added."""
        self.limits = msgspec.structs.replace(self.limits, **changed)
        self.loop.limits = self.loop.places.limits = self.limits
        self.loop.places.waiting = Waiting(self.limits)

    def add(self, prompt, max_new_tokens: int = 8, root: int | None = None, **fields) -> int:
        self._n_added += 1
        request = Request(request_id=self._n_added, prompt_ids=tuple(prompt), max_new_tokens=max_new_tokens, **fields)
        self.events[self._n_added] = []
        self.requests[self._n_added] = request
        self.note(self.loop.add(request, root))
        return self._n_added

    def note(self, events) -> None:
        for event in events:
            seen = self.events[event.request_id]
            assert not seen or isinstance(seen[-1], Delta), "an event after the final one"
            seen.append(event)

    def step(self) -> None:
        self.note(self.loop.step())

    def cancel(self, key: int) -> None:
        self.note(self.loop.cancel(key))

    def run(self, max_steps: int = 2000) -> None:
        for _ in range(max_steps):
            if not self.loop.busy:
                return
            self.step()
        raise AssertionError("the loop never came to an end")

    def end(self, key: int) -> Finished | Cancelled | Failed:
        assert not isinstance(self.events[key][-1], Delta)
        return self.events[key][-1]

    def ids(self, key: int) -> tuple[int, ...]:
        return tuple(i for event in self.events[key] if isinstance(event, Delta) for i in event.token_ids)

    def text(self, key: int) -> str:
        return "".join(event.text for event in self.events[key] if isinstance(event, Delta))

    def greedy(self, prompt, n: int) -> tuple[int, ...]:
        """What plain greedy decoding gives, without the engine."""
        ids = list(prompt)
        while len(ids) < len(prompt) + n:
            token = int(self.model.logits_after(ids).argmax())
            if token == EOS:
                break
            ids.append(token)
        return tuple(ids[len(prompt) :])

    def check_nothing_is_held(self) -> None:
        tree, memory = self.loop.prefixes.tree, self.model.memory
        assert not self.loop.busy
        assert memory.slots == {}
        assert tree.locked_pages == 0
        assert memory.free_pages + tree.cached_pages == memory.total_pages


def priced_clock(rng):
    """A clock by which each pass takes some time, drawn anew."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += rng.uniform(1e-4, 4e-3)
        return now

    return clock


@pytest.fixture(scope="session")
def standins() -> SimpleNamespace:
    return SimpleNamespace(ListMemory=ListMemory, StandIn=StandIn, Stand=Stand, EOS=EOS, priced_clock=priced_clock)
