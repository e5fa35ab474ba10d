"""Paged memory, its steps and graphs: the same tokens as the CPU's memory, whatever the page size.

Without a GPU the kernels' twins do the work, and graphs are calls on the same arrays of a fixed size; with one, the
tests marked cuda run the same on it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine import graphs, paged_plan
from rootform.engine.api import Engine
from rootform.engine.geometry import LayerGeometry
from rootform.engine.graphs import fits, ladder
from rootform.engine.limits import derive_limits
from rootform.engine.memory_paged import PagedMemory
from rootform.engine.model import load_model
from rootform.engine.model_paged import PagedModel, card_limits, load_paged_model
from rootform.engine.overlap import OverlappedLoop
from rootform.engine.paged_plan import Composition, Room, compose, room_for
from rootform.engine.paged_step import MOST_TREE_TOKENS
from rootform.engine.ports import Model
from rootform.engine.step import StepLoop
from rootform.engine.tokenizer import Tokenizer
from rootform.engine.types import Delta, Request, RootformError, Sampling

VOCAB = 97
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,  # decisive logits, so that a greedy choice means something
    "pad_token_id": 0,
}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**SIZES),
    "mistral, window": lambda: transformers.MistralConfig(**SIZES, sliding_window=16, head_dim=8),
    "qwen2, biases": lambda: transformers.Qwen2Config(**SIZES),
    "gemma2, softcap": lambda: transformers.Gemma2Config(
        **SIZES, head_dim=16, query_pre_attn_scalar=16, sliding_window=16
    ),
    "gpt-oss, sinks": lambda: transformers.GptOssConfig(
        **SIZES, head_dim=8, sliding_window=16, num_local_experts=2, num_experts_per_tok=1
    ),
}
TRUNK = [(7 * n + 3) % VOCAB for n in range(90)]
PROMPTS = [
    *([*TRUNK, n, 5] for n in range(4)),
    *([*TRUNK[:70], *(n * 3 % VOCAB for n in range(60)), n] for n in range(3)),
    [4],
    [33, 2, 71],
]
NO_PAGES = np.empty(0, dtype=np.int32)
LAYER = LayerGeometry(query_heads=2, kv_heads=1, key_dim=4, value_dim=3)


# -- memory ---------------------------------------------------------------------------------------------------


def memory_of(pages: int, page_tokens: int) -> PagedMemory:
    return PagedMemory([LAYER, LAYER], pages, page_tokens, torch.float32, "cpu")


def write(memory: PagedMemory, slot: int, n_tokens: int) -> None:
    """Give the sequence n_tokens more tokens, whose keys and values are their positions."""
    start, slots = memory[slot].n_tokens, np.array([slot])
    lengths, positions = np.array([n_tokens]), np.arange(start, start + n_tokens)
    memory.check_room(slots, np.array([start]), lengths)
    rows = memory.rows(slots, lengths, positions)
    for pool in (*memory.keys, *memory.values):
        pool[rows // memory.page_tokens, rows % memory.page_tokens] = torch.from_numpy(positions).float()[:, None, None]
    memory.wrote(slots, lengths)


def read(memory: PagedMemory, pages: np.ndarray, n_tokens: int) -> list[float]:
    return memory.values[1][pages.astype(np.int64)].flatten(0, 1)[:n_tokens, 0, 2].tolist()


@given(
    calls=st.lists(
        st.tuples(
            st.sampled_from(["open", "write", "grow", "publish", "share", "truncate", "close", "forget"]),
            st.integers(0, 99),
            st.integers(0, 99),
        ),
        max_size=60,
    ),
    size=st.sampled_from([1, 4, 16]),
)
@settings(max_examples=60, deadline=None)
def test_any_life_keeps_values_and_gives_all_room_back(calls: list[tuple[str, int, int]], size: int) -> None:
    """A toy tree of one trunk: tokens are numbered, and every sequence writes the same numbers."""
    memory = memory_of(60, size)
    trunk = NO_PAGES
    slots: list[int] = []
    locked: dict[int, int] = {}  # slot -> pages of the trunk it reads
    for verb, a, b in calls:
        slot = slots[a % len(slots)] if slots else None
        if verb == "open":
            n = b % (len(trunk) + 1)
            before = memory.free_pages
            opened = memory.open(trunk[:n], n * size, n * size + a + 1)
            assert (opened is None) == (before < -(-(a + 1) // size))
            if opened is not None:
                slots.append(opened)
                locked[opened] = n
        elif verb == "forget":
            kept = max(locked.values(), default=0)
            memory.give_back(trunk[kept:])
            trunk = trunk[:kept]
        elif slot is None:
            continue
        elif verb == "write":
            room = len(memory[slot].pages) * size - memory[slot].n_tokens
            if room:
                write(memory, slot, min(b + 1, room))
        elif verb == "grow":
            before, room = memory.free_pages, len(memory[slot].pages)
            grew = memory.grow(slot, room * size + b)
            assert grew == (before >= -(-b // size))
            assert len(memory[slot].pages) - room == before - memory.free_pages == (-(-b // size) if grew else 0)
        elif verb in ("publish", "share") and memory[slot].n_tokens // size > len(trunk):
            before = memory.free_pages
            pages = memory.share(slot, len(trunk) * size, memory[slot].n_tokens // size * size)
            assert pages is not None
            assert memory.free_pages == before  # nothing is copied
            trunk = np.concatenate([trunk, pages])
            memory.adopt(slot, trunk, len(trunk) * size)
            locked[slot] = len(trunk)
        elif verb == "publish" and (n := min(len(trunk), memory[slot].n_tokens // size)) > locked[slot]:
            memory.adopt(slot, trunk[:n], n * size)  # somebody else's pages for the same tokens
            locked[slot] = n
        elif verb == "truncate":
            memory.truncate(slot, max(locked[slot] * size, memory[slot].n_tokens - b))
        elif verb == "close":
            memory.close(slot)
            slots.remove(slot)
            del locked[slot]
        for each in slots:
            n_tokens = memory[each].n_tokens
            assert read(memory, memory[each].pages, n_tokens) == list(range(n_tokens))
        assert read(memory, trunk, len(trunk) * size) == list(range(len(trunk) * size))
        held = {int(page) for each in slots for page in memory[each].pages} | set(trunk.tolist())
        assert memory.free_pages == 60 - len(held)
    for slot in slots:
        memory.close(slot)
    memory.give_back(trunk)
    assert memory.free_pages == 60


def test_what_goes_out_comes_back_the_same() -> None:
    memory = memory_of(12, 4)
    slot = memory.open(NO_PAGES, 0, 20)
    assert slot is not None
    write(memory, slot, 18)
    bytes_out = memory.copy_out(memory[slot].pages[:3])
    assert bytes_out.shape == (3, memory.page_bytes)
    pages = memory.copy_in([bytes_out[:1], bytes_out[1:]])
    assert pages is not None
    assert set(pages.tolist()).isdisjoint(memory[slot].pages.tolist())
    assert read(memory, pages, 12) == list(range(12))
    assert memory.copy_in([np.zeros((9, memory.page_bytes), np.uint8)]) is None


def test_mistakes_are_refused_and_change_nothing() -> None:
    memory = memory_of(12, 4)
    slot = memory.open(NO_PAGES, 0, 20)
    assert slot is not None
    write(memory, slot, 10)
    shared = memory.share(slot, 0, 4)
    assert shared is not None
    state = memory.free_pages, memory[slot].n_tokens, memory[slot].pages.tolist()
    one = np.array([slot])
    for mistake in (
        lambda: memory.open(NO_PAGES, 4, 20),
        lambda: memory.open(shared, 4, 3),
        lambda: memory.share(slot, 0, 4),  # gone already
        lambda: memory.share(slot, 4, 6),
        lambda: memory.share(slot, 4, 12),
        lambda: memory.adopt(slot, np.array([11], np.int32), 4),  # another page of the tree's
        lambda: memory.adopt(slot, memory[slot].pages[:2], 8),  # the second is its own
        lambda: memory.truncate(slot, 3),
        lambda: memory.truncate(slot, 11),
        lambda: memory.close(slot + 1),
        lambda: memory.check_room(one, np.array([9]), np.array([1])),
        lambda: memory.check_room(one, np.array([10]), np.array([11])),
        lambda: memory.check_room(np.array([slot, slot]), np.array([10, 10]), np.array([1, 1])),
        lambda: memory_of(4, 0),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            mistake()
    assert (memory.free_pages, memory[slot].n_tokens, memory[slot].pages.tolist()) == state


# -- what is shared -------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 4, 16]), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_every_token_reads_each_of_its_keys_once(seed: int, size: int, group: int) -> None:
    random = np.random.default_rng(seed)
    ids = iter(random.permutation(20_000).astype(np.int32).tolist())
    nodes: list[list[int]] = [[]]
    for _ in range(int(random.integers(0, 6))):
        above = nodes[int(random.integers(len(nodes)))]
        nodes.append([*above, *(next(ids) for _ in range(int(random.integers(1, 60))))])
    tables, lengths = [], []
    for _ in range(int(random.integers(1, 40))):
        above = nodes[int(random.integers(len(nodes)))]
        own = [next(ids) for _ in range(int(random.integers(1, 30)))]
        tables.append(np.array([*above, *own], dtype=np.int32))
        lengths.append(len(above) * size + int(random.integers(1, len(own) * size + 1)))
    counts = random.integers(0, 4, len(tables))
    starts = np.cumsum(counts) - counts
    n_rows = int(counts.sum())
    n_pages = np.array([len(table) for table in tables])
    padded = np.full((len(tables), n_pages.max()), -1, dtype=np.int32)
    for padded_row, table in zip(padded, tables, strict=True):
        padded_row[: len(table)] = table
    plain = compose(padded, n_pages, starts, counts, n_rows, group, size)
    room = Room(n_rows, *(int(most * random.random()) + 1 for most in (plain.n_wide, len(plain.units), 9**9, 300)))
    made = compose(padded, n_pages, starts, counts, n_rows, group, size, room=room)
    check_reading(plain, tables, lengths, counts, group, size)
    check_reading(made, tables, lengths, counts, group, size)
    assert plain.stretch == 256
    assert made.stretch % 256 == 0
    assert made.stretch == 256 or is_in(made, room)
    pages = room_for(n_rows, size, next(ids), 10**6).pages
    assert len(made.pages) <= pages  # however the tree is


def is_in(made: Composition, room: Room) -> bool:
    sizes = made.n_wide, len(made.units) - made.n_wide, len(made.pages), len(made.readers)
    return all(size <= most for size, most in zip(sizes, room[1:], strict=True))


def check_reading(
    made: Composition, tables: list[np.ndarray], lengths: list[int], counts: np.ndarray, group: int, size: int
) -> None:
    """Every token reads each of its keys once, at its place."""
    n_rows = int(counts.sum())
    made.set_lengths(np.array(lengths))
    assert len(made.starts) == len(made.stops) == n_rows
    keys_of: list[list[tuple[int, int]]] = [[] for _ in range(n_rows)]
    for number, (first_page, offset, n_keys, position, first_reader, n_readers) in enumerate(made.units.tolist()):
        assert 0 <= n_keys <= made.stretch
        assert 1 <= n_readers <= max(1, (64 if number < made.n_wide else 16) // group)
        for reader in made.readers[first_reader : first_reader + n_readers].tolist():
            for key in range(n_keys):
                page = made.pages[first_page + (offset + key) // size]
                keys_of[reader].append((position + key, int(page) * size + (offset + key) % size))
    owners = np.repeat(np.arange(len(tables)), counts)
    for row, owner in enumerate(owners.tolist()):
        table = tables[owner].tolist()
        assert sorted(keys_of[row]) == [(at, table[at // size] * size + at % size) for at in range(lengths[owner])]
        listed = made.order[made.starts[row] : made.stops[row]]
        assert (made.readers[listed] == row).all()
    assert len(set(made.order.tolist())) == len(made.readers)


@pytest.mark.parametrize("context", [1, 300, 1024, 4096, 8192, 131_072])
@pytest.mark.parametrize("batch", [1, 16, 64, 256])
@pytest.mark.parametrize("page_tokens", [1, 16, 128])
def test_steps_of_any_context_have_room_in_a_graph(batch: int, context: int, page_tokens: int) -> None:
    """Sequences that share nothing: their stretches are longer the longer they are, so that units are few enough."""
    most = -(-(context + 40) // page_tokens)  # pages of each, output among them
    if batch * most > 2**20:
        pytest.skip("more than a card has")
    table = np.arange(batch * most, dtype=np.int32).reshape(batch, most)
    n_pages, rows = np.full(batch, most), np.arange(batch)
    room = room_for(batch, page_tokens, batch * most, context + 40)
    made = compose(table, n_pages, rows, np.ones(batch, dtype=np.int64), batch, 4, page_tokens, room=room)
    assert is_in(made, room)
    assert made.stretch <= 256 * (1 + most * page_tokens // 2048)
    made.set_lengths(np.full(batch, context))
    assert made.units[:, 2].max() == min(context, made.stretch)
    assert made.units[:, 2].sum() == batch * context


def test_a_stretch_is_no_longer_than_the_room_asks_for() -> None:
    table = np.arange(4 * 100, dtype=np.int32).reshape(4, 100)  # four sequences of 1,600 tokens: 7 stretches each
    rows, ones = np.arange(4), np.ones(4, dtype=np.int64)

    def stretch(**asked: int) -> int:
        room = Room(4, 99, 99, 999, 99)._replace(**asked)
        return compose(table, np.full(4, 100), rows, ones, 4, 4, 16, room=room).stretch

    # 7, 4, 3, 2, 2, 2, 1 stretches each
    assert [stretch(narrow=n) for n in (28, 27, 16, 15, 12, 11, 8, 7, 4, 3)] == [
        256 * times for times in (1, 2, 2, 3, 3, 4, 4, 7, 7, 1)
    ]
    assert [stretch(readers=n) for n in (28, 27, 3)] == [256, 512, 256]
    assert stretch(wide=0) == stretch(pages=0) == 256  # there are none; longer ones would be as many


def test_what_many_read_together_is_cut_to_the_room_of_wide_units() -> None:
    table = np.tile(np.arange(100, dtype=np.int32), (40, 1))  # 1,600 tokens, read by 40: 3 tiles of up to 16
    rows, ones = np.arange(40), np.ones(40, dtype=np.int64)
    room = Room(40, 21, 99, 999, 999)
    for wide, times in ((21, 1), (20, 2), (12, 2), (11, 3), (3, 7), (2, 1)):
        made = compose(table, np.full(40, 100), rows, ones, 40, 4, 16, room=room._replace(wide=wide))
        assert made.stretch == 256 * times
        assert is_in(made, room._replace(wide=wide)) == (wide > 2)


# -- the engine's output --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(CONFIGS["llama"](), tmp_path_factory.mktemp("paged"))


@pytest.fixture(scope="module", params=CONFIGS)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(CONFIGS[request.param](), tmp_path_factory.mktemp("paged"))


def save(config: Any, folder: Path) -> Path:
    torch.manual_seed(11)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    return folder


def outputs(
    model: Model,
    *,
    prefix_cache: bool = True,
    kind: Callable[..., StepLoop] = StepLoop,
    drafts: bool = True,
    **fields: Any,
) -> tuple[list[list[int]], StepLoop]:
    """Of each prompt, submitted together."""
    limits = derive_limits(
        context_tokens=model.context_tokens,
        page_tokens=model.memory.page_tokens,
        total_pages=model.memory.total_pages,
        prefill_tokens=60,
    )
    loop = kind(model, [b"x"] * VOCAB, frozenset(), limits, prefix_cache=prefix_cache, drafts=drafts)
    ids: dict[int, list[int]] = {n: [] for n in range(len(PROMPTS))}
    for n, prompt in enumerate(PROMPTS):
        loop.add(Request(request_id=n, prompt_ids=tuple(prompt), max_new_tokens=10, **fields))
    while loop.busy:
        for event in loop.step():
            if isinstance(event, Delta):
                ids[event.request_id].extend(event.token_ids)
    return list(ids.values()), loop


@pytest.mark.parametrize(("page_tokens", "prefix_cache"), [(8, True), (16, False)])
def test_the_same_tokens_as_from_the_cpus_memory(family: Path, page_tokens: int, prefix_cache: bool) -> None:
    model = load_paged_model(family, dtype="float32", kv_bytes=2_000_000, device="cpu", page_tokens=page_tokens)
    read_together = []
    planned = model._planner.plan

    def plan(batch, sources=None, room=None):  # type: ignore[no-untyped-def]
        host = planned(batch, sources, room)
        read_together.append(host.composition is not None and len(host.composition.prefixes) > 0)
        return host

    model._planner.plan = plan
    got, loop = outputs(model, prefix_cache=prefix_cache)
    wanted, _ = outputs(load_model(family, kv_bytes=2_000_000), prefix_cache=prefix_cache)
    assert got == wanted
    assert all(len(each) == 10 for each in got)
    assert any(read_together) == prefix_cache
    assert loop.counts.drafted_tokens > 0
    loop.prefixes.forget_all()
    assert model.memory.free_pages == model.memory.total_pages


def test_the_same_tokens_when_memory_is_short(folder: Path) -> None:
    """Sequences make room for each other and come back, cached pages are evicted."""
    size = load_paged_model(folder, dtype="float32", kv_bytes=500_000, device="cpu").memory.page_bytes
    model = load_paged_model(folder, dtype="float32", kv_bytes=14 * size, device="cpu")
    assert model.memory.total_pages == 14
    wanted, _ = outputs(load_model(folder, kv_bytes=2_000_000))
    assert outputs(model)[0] == wanted


def test_the_same_tokens_from_passes_that_overlap(family: Path) -> None:
    model = load_paged_model(family, dtype="float32", kv_bytes=2_000_000, device="cpu", page_tokens=8)
    wanted, _ = outputs(load_model(family, kv_bytes=2_000_000))
    got, loop = outputs(model, kind=OverlappedLoop, drafts=False)
    assert got == wanted
    assert loop.counts.overlapped_passes == loop.counts.forward_passes


def test_pages_of_one_token(folder: Path) -> None:
    model = load_paged_model(folder, dtype="float32", kv_bytes=2_000_000, device="cpu", page_tokens=1)
    assert outputs(model)[0] == outputs(load_model(folder, kv_bytes=2_000_000))[0]


def test_drawn_tokens_are_those_of_the_cpu(folder: Path) -> None:
    sampling = Sampling(temperature=1.0, top_p=0.9, seed=3)
    model = load_paged_model(folder, dtype="float32", kv_bytes=2_000_000, device="cpu")
    wanted, _ = outputs(load_model(folder, kv_bytes=2_000_000), sampling=sampling)
    assert outputs(model, sampling=sampling)[0] == wanted


def captured(folder: Path, sizes: list[int], most_bytes: int = 1 << 30) -> PagedModel:
    model = load_paged_model(folder, dtype="float32", kv_bytes=2_000_000, device="cpu", page_tokens=8)
    model.capture(sizes, most_bytes)
    return model


def test_graphs_give_the_same_tokens_and_take_what_fits(folder: Path) -> None:
    model = captured(folder, [4, 16])
    assert model.graphs is not None
    assert model.graphs.sizes == [4, 16]
    wanted, _ = outputs(load_model(folder, kv_bytes=2_000_000))
    for kind, drafts in ((StepLoop, True), (OverlappedLoop, False)):
        before = model.graphs.replayed
        got, loop = outputs(model, kind=kind, drafts=drafts)
        assert got == wanted
        assert 0 < model.graphs.replayed - before < loop.counts.forward_passes  # prompts run outside


def test_graphs_give_the_same_tokens_with_stretches_as_long_as_they_have_room_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stretches of 4 keys: too many for the graphs' room, so that they are made longer."""
    monkeypatch.setattr(paged_plan, "STRETCH_TOKENS", 4)
    model = captured(folder, [4, 16])
    assert model.graphs is not None
    planned, replay = model._planner.plan, model.graphs.replay
    stretches, refused = set(), []

    def plan(batch, sources=None, room=None):  # type: ignore[no-untyped-def]
        host = planned(batch, sources, room)
        if host.composition is not None and host.prompt_arrays is None:
            stretches.add(host.composition.stretch)
        return host

    def noted(host):  # type: ignore[no-untyped-def]
        logits = replay(host)
        refused.append(logits is None and host.prompt_arrays is None and len(host.ids) <= 16)
        return logits

    model._planner.plan, model.graphs.replay = plan, noted
    wanted, _ = outputs(load_model(folder, kv_bytes=2_000_000), prefix_cache=False)
    for kind, drafts in ((StepLoop, True), (OverlappedLoop, False)):
        assert outputs(model, kind=kind, drafts=drafts, prefix_cache=False)[0] == wanted
    assert 4 in stretches
    assert max(stretches) > 4
    assert not any(refused)


def test_constrained_output_through_the_engine(tiny_model: Path) -> None:
    """The engine whole: chat template, grammar, forced text, drafts, prefix cache, streaming."""
    schema = (
        '{"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["in", "en"]}}, "required": ["b"]}'
    )
    prompts = [f"{'shared text of all of them ' * 5}{n}" for n in range(5)]
    with Engine(tiny_model, kv_bytes=2**22, threads=1) as engine:
        wanted = [each.text for each in engine.generate(prompts, schema=schema, max_tokens=40)]
    paged = load_paged_model(tiny_model, dtype="float32", kv_bytes=2**22, device="cpu", page_tokens=8)
    with Engine.from_parts(paged, Tokenizer.load(tiny_model)) as engine:
        for _ in range(2):
            completions = engine.generate(prompts, schema=schema, max_tokens=40)
            assert [each.text for each in completions] == wanted
        assert engine.stats().cached_tokens > 0


# -- the ladder, the limits -----------------------------------------------------------------------------------


class Scripted:
    """Stands for what records graphs: some sizes fail, and each takes so much memory."""

    fails: ClassVar[set[int]] = set()
    bytes_of: ClassVar[dict[int, int]] = {}
    started_over: ClassVar[list[bool]] = []

    def __init__(self, device: torch.device) -> None:
        self._taken = 0

    def taken(self) -> int:
        return self._taken

    def start_over(self, *, is_empty: bool) -> None:
        self.started_over.append(is_empty)
        if is_empty:
            self._taken = 0

    def record(self, run: Callable[[], object]) -> Any:
        size = len(run.__self__._arrays.ids)  # type: ignore[attr-defined]
        self._taken += self.bytes_of.get(size, 0)
        try:
            if size in self.fails:
                raise RuntimeError("operation not permitted when stream is capturing")
        finally:
            if size in self.fails:
                raise ValueError("the end of it fails too")
        return SimpleNamespace(replay=run, reset=lambda: None)


def test_sizes_that_cannot_be_recorded_are_given_up_and_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The same tokens from what graphs are left, and from none."""
    monkeypatch.setattr(graphs, "_Recorder", Scripted)
    monkeypatch.setattr(Scripted, "started_over", [])
    wanted, _ = outputs(load_model(folder, kv_bytes=2_000_000))
    for fails, bytes_of, left, over in (
        ({16}, {}, [4, 8], [True]),
        ({8}, {}, [4, 16], [False]),
        ({4, 8, 16}, {}, [], [True] * 3),
        (set(), {16: 2_000_000}, [4, 8], [True]),
        (set(), {16: 900_000, 8: 200_000, 4: 0}, [4, 16], [False]),
    ):
        Scripted.fails, Scripted.bytes_of = fails, bytes_of
        Scripted.started_over.clear()
        caplog.clear()
        model = captured(folder, [4, 8, 16], 1_000_000)
        assert model.graphs is not None
        assert model.graphs.sizes == left
        assert set(model.graphs.given_up) == {4, 8, 16} - set(left)
        assert Scripted.started_over == over
        assert "no graphs for steps of" in caplog.text
        assert ("RuntimeError: operation not permitted" in caplog.text) == bool(fails)
        assert outputs(model)[0] == wanted
        assert (model.graphs.replayed > 0) == bool(left)
        assert (f"{len(left)} sizes, {left[0]} to {left[-1]}" if left else "no graphs") in model.describe()


def test_logits_that_have_no_room_cost_the_graphs_of_their_size(folder: Path) -> None:
    model = captured(folder, [4, 8, 16], 4 * VOCAB * 8)
    assert model.graphs is not None
    assert model.graphs.sizes == [4, 8]
    assert model.graphs.given_up == {16: "there is no memory for its logits"}


def test_a_recording_that_fails_at_its_end_leaves_the_threads_own_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch has it: the context of a graph does not go back to the stream when its end raises."""
    now: list[Any] = []
    order: list[str] = []

    class Stream:
        def __init__(self, *_: object) -> None:
            self.waited: list[Stream] = []

        def wait_stream(self, other: Stream) -> None:
            self.waited.append(other)

    class On:
        def __init__(self, stream: Stream) -> None:
            self.stream = stream

        def __enter__(self) -> None:
            self.before = now[0]
            now[0] = self.stream

        def __exit__(self, *_: object) -> None:
            now[0] = self.before

    class Recording(On):
        def __init__(self, graph: object, *, pool: int, stream: Stream, capture_error_mode: str) -> None:
            super().__init__(stream)
            order.append(f"pool {pool}, {capture_error_mode}")

        def __exit__(self, *error: object) -> None:
            if error[0] is not None:
                raise RuntimeError("capture invalidated")
            super().__exit__()

    own = Stream()
    now.append(own)
    pools = iter(range(10))
    fakes = {
        "Stream": Stream,
        "graph_pool_handle": lambda: next(pools),
        "current_stream": lambda _: now[0],
        "set_stream": lambda stream: now.__setitem__(0, stream),
        "stream": On,
        "synchronize": lambda _: None,
        "empty_cache": lambda: None,
        "CUDAGraph": lambda: "a graph",
        "graph": Recording,
        "mem_get_info": lambda _: (100, 200),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    recorder = graphs._Recorder(torch.device("cuda"))
    ran: list[bool] = []

    def run() -> None:
        ran.append(now[0] is not own)
        if len(ran) == 2:
            raise MemoryError

    with pytest.raises(RuntimeError, match="capture invalidated"):
        recorder.record(run)
    assert now == [own]
    recorder.start_over(is_empty=True)
    assert recorder.record(run) == "a graph"
    recorder.start_over(is_empty=False)
    assert recorder.record(run) == "a graph"
    assert now == [own]
    assert ran == [True] * 6  # each once before it is recorded, on the same other stream
    assert order == [f"pool {n}, thread_local" for n in (0, 1, 1)]
    assert recorder.taken() == 0


@given(st.integers(1, 1000))
def test_a_ladder_ends_with_the_most_and_wastes_little(most: int) -> None:
    sizes = ladder(most)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == most
    assert all(b <= max(2 * a, a + 8) and (a < 64 or b <= 1.25 * a + 1) for a, b in pairwise(sizes))
    assert len(sizes) < 40


def test_a_step_that_outgrows_the_room_does_not_fit(folder: Path) -> None:
    model = captured(folder, [4])
    slot = model.memory.open(NO_PAGES, 0, 100)
    assert slot is not None
    from rootform.engine.ports import ForwardBatch

    def batch(n: int) -> ForwardBatch:
        return ForwardBatch(
            token_ids=np.arange(n),
            positions=np.arange(n),
            slots=np.array([slot], np.int32),
            starts=np.array([0], np.int32),
            lengths=np.array([n], np.int32),
            logit_rows=np.arange(n),
        )

    room = room_for(4, 8, 100, 512)
    assert [fits(model._planner.plan(batch(n)), room) for n in (1, 4, 5, MOST_TREE_TOKENS + 1)] == [
        True,
        True,
        False,
        False,
    ]


CARD: dict[str, Any] = {  # a model of 8 billion, on a card that 100 GiB are free on
    "free_bytes": 100 << 30,
    "bytes_per_token": 128 << 10,
    "activation_bytes": 4 * 2 * 2 * 14336,
    "vocab_size": 128_256,
    "page_tokens": 16,
    "prefill_tokens": None,
    "batch_rows": None,
    "kv_bytes": None,
}


@given(st.integers(2 << 30, 140 << 30), st.sampled_from([None, 1, 64, 512]), st.sampled_from([None, 100, 16384]))
def test_a_card_is_divided_and_never_overdrawn(
    free_bytes: int, batch_rows: int | None, prefill_tokens: int | None
) -> None:
    asked = {"free_bytes": free_bytes, "batch_rows": batch_rows, "prefill_tokens": prefill_tokens}
    try:
        limits = card_limits(**CARD | asked)
    except RootformError:
        assert free_bytes < 24 << 30
        assert batch_rows == 512 or prefill_tokens == 16384  # nobody else is given too much
        return
    spent = limits.total_pages * 16 * CARD["bytes_per_token"] + limits.graph_bytes + limits.room_bytes
    assert 0.93 * free_bytes < spent <= 0.95 * free_bytes + (2 << 20)
    assert limits.batch_rows == (batch_rows or limits.batch_rows) <= 512
    assert limits.prefill_tokens == (prefill_tokens or limits.prefill_tokens)
    if batch_rows is None and prefill_tokens is None:
        assert limits.room_bytes <= 0.3 * free_bytes
    least = CARD["activation_bytes"] * limits.prefill_tokens + 4 * CARD["vocab_size"] * limits.graph_tokens
    assert limits.room_bytes > least
    assert f"{limits.batch_rows} sequences and {limits.prefill_tokens} prompt tokens" in limits.describe()


def test_passes_are_as_large_as_the_card_has_room_for() -> None:
    sizes = [card_limits(**CARD | {"free_bytes": n << 30}) for n in (4, 7, 40, 100)]
    assert [(each.batch_rows, each.prefill_tokens) for each in sizes] == [
        (32, 2048),
        (64, 4096),
        (256, 8192),
        (256, 8192),
    ]
    assert card_limits(**CARD | {"kv_bytes": 1 << 30}).total_pages == 512
    with pytest.raises(RootformError, match="leaves no room for KV"):
        card_limits(**CARD | {"free_bytes": 1 << 20})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(RootformError, match="torch sees no CUDA device here"):
        load_paged_model(folder)
    with pytest.raises(RootformError, match="use 'cpu' or 'cuda'"):
        load_paged_model(folder, device="abacus")
    with pytest.raises(RootformError, match="cannot be had on cpu"):
        load_paged_model(folder, dtype="int8", device="cpu")


def test_the_page_size_is_of_devices_alone_and_has_a_least(folder: Path, tiny_model: Path) -> None:
    with pytest.raises(RootformError, match="page_tokens is for a model on a device"):
        Engine(tiny_model, page_tokens=32)
    with pytest.raises(RootformError, match="page_tokens is 0; a page holds 1"):
        load_paged_model(folder, dtype="float32", device="cpu", page_tokens=0)
    assert load_paged_model(folder, dtype="float32", device="cpu", kv_bytes=1 << 20).memory.page_tokens == 16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_engine_without_its_device_says_so(tiny_model: Path) -> None:
    with pytest.raises(RootformError, match="torch sees no CUDA device here"):
        Engine(tiny_model, device="cuda")


# -- where there is a GPU -------------------------------------------------------------------------------------


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_tokens_on_a_gpu(family: Path) -> None:
    model = load_paged_model(family, dtype="float32", kv_bytes=2_000_000, device="cuda", batch_rows=16)
    wanted, _ = outputs(load_model(family, kv_bytes=2_000_000))
    assert outputs(model)[0] == wanted
    assert outputs(model, kind=OverlappedLoop, drafts=False)[0] == wanted
    assert model.graphs is None or model.graphs.replayed > 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_passes_overlap_on_a_gpu_and_say_the_same(tiny_model: Path) -> None:
    """Grammars, draws, the close-out rule; and the device seldom has nothing to go on with."""
    schema = '{"type": "object", "properties": {"a": {"type": "string", "maxLength": 20}, "b": {"enum": ["in", "en"]}}}'
    paged = load_paged_model(tiny_model, dtype="float32", kv_bytes=2**22, device="cuda", batch_rows=16)
    tokenizer = Tokenizer.load(tiny_model)
    said = []
    for overlap in (False, True):
        with Engine.from_parts(paged, tokenizer, drafts=False, overlap=overlap) as engine:
            prompts = [f"document {n}" for n in range(12)]
            ways = {"schema": schema, "max_tokens": 40}, {"max_tokens": 60}, {"max_tokens": 30, "temperature": 1.0}
            said.append([])
            for way in ways:
                done = engine.generate(prompts, seed=5, **way)  # type: ignore[arg-type]
                said[-1] += [each.text for each in done]  # type: ignore[union-attr]
            stats = engine.stats()
    assert said[0] == said[1]
    assert stats.device_stalls < stats.overlapped_passes / 2
    assert stats.overlapped_passes > stats.lockstep_passes
