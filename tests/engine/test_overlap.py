"""The loop that keeps a pass queued ahead says what the ordinary loop says, and does not wait for the device.

Over paged memory on CPU tensors, where the kernels' twins do the work; the device that takes its time is a stand-in.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.benchmarks.gpu_model_case import tiny_llama
from rootform.engine import lanes, paged_step
from rootform.engine.api import Engine
from rootform.engine.arrivals import Arrival, Sent
from rootform.engine.drafts import Drafter
from rootform.engine.geometry import LayerGeometry
from rootform.engine.grammars import Grammars
from rootform.engine.kernels.grammar import ADVANCED, NO_TRANSITION, NOT_ALLOWED, advance
from rootform.engine.lanes import Asked, Became, Lanes, Way
from rootform.engine.limits import derive_limits
from rootform.engine.memory_paged import PagedMemory
from rootform.engine.model_paged import PagedModel, load_paged_model
from rootform.engine.overlap import OverlappedLoop
from rootform.engine.paged_llama import PagedLlama
from rootform.engine.places import Places
from rootform.engine.ports import ForwardBatch
from rootform.engine.spelling import Speller
from rootform.engine.step import StepLoop
from rootform.engine.tables_there import TablesThere, _Growing
from rootform.engine.tokenizer import Tokenizer
from rootform.engine.types import Completion, Delta, Failed, Finished, Request, RootformError, Sampling
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import JsonSchema, Regex
from rootform.grammar.generations import GenerationBatch, Generations, Root
from rootform.grammar.vocab import Vocabulary

VOCAB = 97
EOS = frozenset({3, 35})
TOKEN_BYTES = [bytes([33 + n]) for n in range(VOCAB - 5)] + [b"\xe2\x82", b"\xac", b" ab", b"a ", b""]
TRUNK = [(7 * n + 3) % VOCAB for n in range(50)]
DRAWN = Sampling(temperature=1.0, top_p=0.9, seed=3)


WITH_A_CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.cuda, WITH_A_CARD])]


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """All that runs a model here runs on a card as well, where there is one (`benchmarks.gpu --tests`)."""
    return request.param


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, device: str) -> PagedModel:
    folder = tmp_path_factory.mktemp("overlap")
    config = transformers.LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
        pad_token_id=0,
    )
    torch.manual_seed(11)
    made = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    for parameter in made.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    made.save_pretrained(folder)
    return load_paged_model(folder, dtype="float32", kv_bytes=100_000, device=device, page_tokens=4, batch_rows=16)


class Run:
    """A loop over the model, whose memory is empty before and after; and what came of its requests, by number."""

    def __init__(self, model: PagedModel, kind: type[StepLoop] = OverlappedLoop, **options: Any) -> None:
        limits = derive_limits(
            context_tokens=model.context_tokens,
            page_tokens=model.memory.page_tokens,
            total_pages=model.memory.total_pages,
            prefill_tokens=24,
            max_batch=options.pop("max_batch", 6),
        )
        options = {"drafts": False, "clock": lambda: 0.0} | options
        self.loop = kind(model, options.pop("tokens", TOKEN_BYTES), EOS, limits, **options)
        self.texts: dict[int, str] = {}
        self.ids: dict[int, list[int]] = {}
        self.ends: dict[int, Any] = {}

    def add(self, prompt: list[int], max_new_tokens: int = 12, root: Root | None = None, **fields: Any) -> int:
        key = len(self.ids)
        self.ids[key], self.texts[key] = [], ""
        request = Request(request_id=key, prompt_ids=tuple(prompt), max_new_tokens=max_new_tokens, **fields)
        self.note(self.loop.add(request, root))
        return key

    def note(self, events: list[Any]) -> None:
        for event in events:
            assert event.request_id not in self.ends
            if isinstance(event, Delta):
                self.ids[event.request_id] += event.token_ids
                self.texts[event.request_id] += event.text
            else:
                self.ends[event.request_id] = event

    def cancel(self, key: int) -> None:
        self.note(self.loop.cancel(key))

    def step(self) -> None:
        self.note(self.loop.step())

    def finish(self) -> None:
        for _ in range(1000):
            if not self.loop.busy:
                break
            self.step()
        memory = self.loop.model.memory
        self.loop.prefixes.forget_all()
        assert memory.free_pages == memory.total_pages
        assert not any(isinstance(end, Failed) for end in self.ends.values()), self.ends

    def outcomes(self) -> list[tuple[str, list[int], Any]]:
        said = [end.reason if isinstance(end, Finished) else type(end).__name__ for end in self.ends.values()]
        return [(self.texts[key], self.ids[key], said[n]) for n, key in enumerate(self.ends)]


def alone(model: PagedModel, prompt: list[int], **fields: Any) -> tuple[str, list[int], str]:
    """What the ordinary loop says when nothing else runs."""
    run = Run(model, StepLoop)
    run.add(prompt, **fields)
    run.finish()
    return run.texts[0], run.ids[0], run.ends[0].reason


REQUESTS: list[dict[str, Any]] = [
    *({"prompt": [*TRUNK, n, 5]} for n in range(3)),
    {"prompt": TRUNK[:20], "sampling": DRAWN},
    {"prompt": [*TRUNK, 9], "sampling": Sampling(temperature=2.0, top_k=20, seed=8), "max_new_tokens": 30},
    {"prompt": [4], "max_new_tokens": 1},
    {"prompt": [33, 2, 71], "ignore_eos": True, "max_new_tokens": 40},
    {"prompt": [12, 5], "stop": ("#", "ab"), "sampling": Sampling(temperature=5.0, seed=1), "max_new_tokens": 60},
    {"prompt": TRUNK[:33], "max_new_tokens": 2, "priority": "offline"},
]


@pytest.fixture(scope="module")
def expected(model: PagedModel) -> list[tuple[str, list[int], str]]:
    return [alone(model, **each) for each in REQUESTS]


@pytest.mark.parametrize("options", [{}, {"prefix_cache": False}, {"max_batch": 2}, {"drafts": True}], ids=str)
def test_the_same_tokens_as_one_by_one(
    model: PagedModel, expected: list[tuple[str, list[int], str]], options: dict[str, Any]
) -> None:
    run = Run(model, **options)
    keys = [run.add(**each) for each in REQUESTS]
    run.finish()
    assert [(run.texts[key], run.ids[key], run.ends[key].reason) for key in keys] == expected
    assert {reason for _, _, reason in expected} == {"stop", "length"}
    counts = run.loop.counts
    assert counts.overlapped_passes + counts.lockstep_passes == counts.forward_passes
    assert (counts.lockstep_passes > 0) == options.get("drafts", False)
    assert (counts.overlapped_passes > 0) == (not options.get("drafts", False))


def test_drafts_that_rest_learn_from_passes_that_overlap_what_they_learn_from_others(
    model: PagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which tokens followed which, and where the model itself chose to end."""
    learned: dict[type, list[tuple[int, list[int], bool]]] = {}
    monkeypatch.setattr(Drafter, "pays", lambda *_: False)
    for kind in (StepLoop, OverlappedLoop):
        seen: list[tuple[int, list[int], bool]] = []

        def follow(self: Any, sequence: Any, *_: Any, ended_itself: bool = False, seen: Any = seen) -> None:
            seen.append((sequence.key, list(sequence.ids.view), ended_itself))

        monkeypatch.setattr(Drafter, "follow", follow)
        run = Run(model, kind, drafts=True)
        for each in REQUESTS:
            run.add(**each)
        run.finish()
        learned[kind] = sorted(seen)
        assert kind is StepLoop or run.loop.counts.lockstep_passes == 0
    assert learned[OverlappedLoop] == learned[StepLoop]
    assert 0 < sum(ended for *_, ended in learned[StepLoop]) < len(REQUESTS)


class Alternating(OverlappedLoop):
    """Needs the host every now and then, for no reason of its own."""

    random = np.random.default_rng(0)

    def _goes_ahead(self, loaded: Any) -> bool:
        return bool(self.random.random() < 0.7) and super()._goes_ahead(loaded)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_any_course_of_events_gives_the_same_tokens(
    model: PagedModel, expected: list[tuple[str, list[int], str]], seed: int
) -> None:
    """Requests come and are cancelled at any time, lose their places for lack of memory or to online ones, outgrow
    them, and need the host now and then."""
    random = np.random.default_rng(seed)
    Alternating.random = random
    run = Run(model, Alternating if seed % 2 else OverlappedLoop, max_batch=int(random.integers(1, 7)))
    kept = run.loop.limits.growth_tokens
    assert kept > 60  # so that outputs are cut below, where a larger place is to be taken
    run.loop.places.limits = run.loop.limits = run.loop.limits.__class__(
        **{name: getattr(run.loop.limits, name) for name in run.loop.limits.__struct_fields__} | {"growth_tokens": 5}
    )
    memory = model.memory
    taken = memory.open(np.empty(0, np.int32), 0, memory.page_tokens * int(random.integers(0, memory.total_pages - 25)))
    assert taken is not None
    of_request: dict[int, int] = {}
    todo = [int(n) for n in random.permutation(len(REQUESTS))]
    cancelled: set[int] = set()
    while todo or run.loop.busy:
        if todo and random.random() < 0.4:
            n = todo.pop()
            priority = str(random.choice(["online", "offline"]))
            fields: dict[str, Any] = REQUESTS[n] | {"priority": priority}
            of_request[run.add(**fields)] = n
        if of_request and random.random() < 0.03:
            key = int(random.choice(list(of_request)))
            if key not in run.ends:
                run.cancel(key)
                cancelled.add(key)
        run.step()
    memory.close(taken)
    run.finish()
    for key, n in of_request.items():
        text, ids, reason = expected[n]
        if key in cancelled:
            assert ids[: len(run.ids[key])] == run.ids[key]
        else:
            assert (run.texts[key], run.ids[key], run.ends[key].reason) == (text, ids, reason)


def test_a_request_that_needs_the_host_makes_its_passes_ordinary_ones(model: PagedModel) -> None:
    run = Run(model)
    quiet = run.add(**REQUESTS[0])
    run.step()
    talkative = run.add(TRUNK[:9], max_new_tokens=3, top_logprobs=2)
    run.finish()
    assert run.ids[quiet] == alone(model, **REQUESTS[0])[1]
    assert run.ids[talkative] == alone(model, TRUNK[:9], max_new_tokens=3)[1]
    assert 0 < run.loop.counts.lockstep_passes < run.loop.counts.forward_passes


def test_the_logprob_of_the_token_itself_comes_from_the_device(speaking: tuple[PagedModel, Tokenizer]) -> None:
    ways: list[dict[str, Any]] = [
        {"temperature": 1.0, "seed": 5},
        {"regex": "[a-z]{4,40}[.]", "max_tokens": 12},
        {"regex": "(ab|cd[0-9])x{3}", "temperature": 3.0, "seed": 1},
    ]
    found: list[list[Completion]] = []
    for overlap in (False, True):
        with Engine.from_parts(*speaking, drafts=False, overlap=overlap) as engine:
            said = [engine.generate("some text", **{"max_tokens": 20} | way, top_logprobs=0) for way in ways]
            found.append([each for each in said if isinstance(each, Completion)])
            stats = engine.stats()
    assert stats.overlapped_passes > stats.lockstep_passes
    for ordinary, overlapped in zip(*found, strict=True):
        assert ordinary.token_ids == overlapped.token_ids
        pairs = list(zip(ordinary.logprobs, overlapped.logprobs, strict=True))
        assert len(pairs) == len(ordinary.token_ids)
        for one, other in pairs:
            assert other.logprob == pytest.approx(one.logprob, abs=1e-5)
            assert (one.token_id, one.top) == (other.token_id, other.top) == (one.token_id, ())


def test_logprobs_over_the_vocabulary_are_the_hosts(speaking: tuple[PagedModel, Tokenizer]) -> None:
    """The device knows those over the tokens that were allowed."""
    found: list[list[float]] = []
    for overlap in (False, True):
        with Engine.from_parts(*speaking, drafts=False, overlap=overlap) as engine:
            done = engine.generate("a", regex="[a-c]{6}", max_tokens=9, top_logprobs=0, logprobs_over="vocabulary")
        found.append([each.logprob for each in done.logprobs])
    assert found[1] == pytest.approx(found[0], abs=1e-5)


def test_passes_that_overlap_keep_to_the_prompt_tokens_of_a_pass(model: PagedModel) -> None:
    run = Run(model)
    run.add([33, 2], max_new_tokens=20, ignore_eos=True)
    for _ in range(3):
        run.step()
    run.add(TRUNK, max_new_tokens=2)
    sizes: list[int] = []
    while run.loop.busy:
        run.step()
        flying = run.loop._flying  # type: ignore[attr-defined]
        sizes += [] if flying is None else [sum(flying.load.batch.lengths.tolist())]
    assert run.loop.counts.lockstep_passes == 0
    assert max(sizes) <= run.loop.limits.prefill_tokens + 1 < len(TRUNK)
    assert sum(sizes) > len(TRUNK)
    run.finish()


def test_a_failure_ends_those_it_touched_and_nobody_else(model: PagedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(model)
    first = run.add(**REQUESTS[0])
    run.step()
    run.step()
    forward, failing = model.forward, True

    def fail_once(*arguments: Any) -> torch.Tensor:
        nonlocal failing
        if failing:
            failing = False
            raise RuntimeError("the device was told to fail")
        return forward(*arguments)

    monkeypatch.setattr(model, "forward", fail_once)
    run.step()
    assert isinstance(run.ends.pop(first), Failed)
    second = run.add(**REQUESTS[1])
    run.finish()
    assert run.ids[second] == alone(model, **REQUESTS[1])[1]


def test_a_pass_whose_sequences_went_away_teaches_nothing(model: PagedModel) -> None:
    now = 0.0
    run = Run(model, clock=lambda: now)
    first = run.add(TRUNK, max_new_tokens=40, ignore_eos=True)
    for _ in range(6):
        run.step()
        now += 0.01
    known = run.loop.pace
    run.cancel(first)
    assert not run.loop.busy
    now += 3600.0
    second = run.add(TRUNK, max_new_tokens=1)
    run.step()
    assert run.loop.pace == known
    run.finish()
    assert run.ids[second] == alone(model, TRUNK, max_new_tokens=1)[1]


def test_more_sequences_than_lanes_are_refused(model: PagedModel) -> None:
    with pytest.raises(RootformError, match="max_batch is 5000"):
        Run(model, max_batch=5000)


# -- a device that takes its time -----------------------------------------------------------------------------


class Held:
    """A copy that is there when the test says so, or when it was waited for; until then there is rubbish in it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self.done = False
        self.waited = False

    def is_there(self) -> bool:
        return self.done

    def wait(self) -> None:
        self.waited = self.done = True

    def array(self) -> np.ndarray:
        array = self._tensor.cpu().numpy()
        return array if self.done else np.full_like(array, -7)


def test_the_host_never_waits_in_a_steady_stretch(model: PagedModel) -> None:
    sent: list[Held] = []

    def send(tensor: torch.Tensor) -> Arrival:
        sent.append(Held(tensor))
        return sent[-1]

    run = Run(model, send=send)
    keys = [run.add([n, 5], max_new_tokens=50, ignore_eos=True) for n in range(4)]
    run.step()
    for _ in range(40):
        n_queued = len(sent)
        sent[-1].done = True  # the device is through with the pass in flight while the host makes the next
        run.step()
        assert len(sent) == n_queued + 1
    counts = run.loop.counts
    assert (counts.device_waits, counts.device_stalls) == (0, 0)
    assert (counts.overlapped_passes, counts.lockstep_passes, counts.void_rows) == (41, 0, 0)
    run.step()  # the device is late: the host waits, but not the device, which has the next pass
    assert (counts.device_waits, counts.device_stalls) == (1, 0)
    assert [each.waited for each in sent[-2:]] == [True, False]
    run.finish()
    assert counts.device_stalls == 1  # the last pass of all, behind which there is nothing
    assert counts.void_rows == 0  # all end where the host knew they would
    assert [run.ids[key] for key in keys] == [
        alone(model, [n, 5], max_new_tokens=50, ignore_eos=True)[1] for n in range(4)
    ]


def test_the_host_never_waits_with_logprobs_draws_and_grammars_that_miss(model: PagedModel) -> None:
    """Each pass is queued before the one before it was settled; rows that miss sit one out, the device never."""
    sent: list[Held] = []

    def send(tensor: torch.Tensor) -> Arrival:
        sent.append(Held(tensor))
        return sent[-1]

    generations = Generations(Vocabulary(TOKEN_BYTES, tuple(EOS), VOCAB))
    run = Run(model, send=send, grammars=Grammars(GenerationBatch(generations)))
    root = generations.compile(Regex("[a-zA-Z0-9]{40}"))
    run.add([1, 5], max_new_tokens=50, ignore_eos=True, top_logprobs=0)
    run.add([2, 5], max_new_tokens=90, root=root, sampling=DRAWN, top_logprobs=0)
    run.add([3, 5], max_new_tokens=90, root=root)
    run.step()
    for _ in range(25):
        n_queued = len(sent)
        sent[-1].done = True
        run.step()
        assert len(sent) == n_queued + 1
    counts = run.loop.counts
    assert counts.grammar_misses > 0
    assert counts.void_rows > 0
    assert (counts.device_waits, counts.device_stalls, counts.lockstep_passes) == (0, 0, 0)
    run.finish()


def test_the_chain_of_a_pass_reads_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """On torch's meta device a tensor has no contents: whoever asks for them fails."""

    def sample(logits: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return logits.new_empty(len(logits), dtype=torch.int32), logits.new_empty(len(logits))

    def moved(places: torch.Tensor, slots: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.empty_like(slots), torch.empty_like(slots)

    monkeypatch.setattr(lanes, "sample", sample)
    monkeypatch.setattr(lanes, "advance", moved)
    there = TablesThere(automaton_of({"type": "string"})[0], torch.device("meta"))
    there.bring_up()
    n, ints = 3, np.zeros(3, dtype=np.int32)
    way = Way(ints, ints, *[np.zeros(n)] * 3)
    places = np.zeros((n, 3), dtype=np.int32)
    asked = Asked(np.arange(n, dtype=np.int32), way, ints, places, ints, np.zeros(n))
    logits = torch.empty((n, 7), device="meta")
    results = Lanes(torch.zeros(8, dtype=torch.int32, device="meta")).take_on(logits, asked, there)
    assert results.shape == (4, n)
    with pytest.raises((RuntimeError, NotImplementedError)):
        results.tolist()


def test_a_forward_pass_reads_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the step's arrays to its logits, with prompts and without, on torch's meta device."""

    def nowhere(*_: Any) -> None:
        return None

    def attended(q: torch.Tensor, k_pages: torch.Tensor, v_pages: torch.Tensor, *_: Any) -> tuple[torch.Tensor, None]:
        return q.new_empty(*q.shape[:2], v_pages.shape[3]), None

    for name, stand_in in (("write_kv", nowhere), ("tree_attention", attended), ("extend_attention", attended)):
        monkeypatch.setattr(paged_step, name, stand_in)
    layer = LayerGeometry(query_heads=4, kv_heads=2, key_dim=16, value_dim=16)
    memory = PagedMemory([layer, layer], 40, 4, torch.float32, "meta")
    made = PagedModel(PagedLlama(tiny_llama(torch.float32, "meta"), 200), memory, vocab_size=50, context_tokens=200)
    slots = np.array([memory.open(np.empty(0, np.int32), 0, 60) for _ in range(2)], dtype=np.int32)
    for lengths in (np.array([40, 3]), np.array([1, 1])):  # a prompt beside a draft; a step of decoding
        starts = np.array([memory[int(slot)].n_tokens for slot in slots])
        n = int(lengths.sum())
        batch = ForwardBatch(
            token_ids=np.zeros(n, dtype=np.int64),
            positions=np.concatenate([np.arange(a, a + more) for a, more in zip(starts, lengths, strict=True)]),
            slots=slots,
            starts=starts.astype(np.int32),
            lengths=lengths.astype(np.int32),
            logit_rows=np.cumsum(lengths) - 1,
        )
        logits = made.forward(batch, np.zeros(n, dtype=np.int32))
        assert (logits.shape, logits.device.type) == ((2, 50), "meta")


# -- grammars -------------------------------------------------------------------------------------------------


SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 9},
            "list": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}},
            "kind": {"enum": ["left", "lift", "right"]},
        },
        "required": ["list", "name", "kind"],
    },
    {"type": "array", "items": {"type": "string", "pattern": "^[a-d]{2,6}$"}, "minItems": 1, "maxItems": 3},
]


@pytest.fixture(scope="module")
def speaking(tiny_model: Path, device: str) -> tuple[PagedModel, Tokenizer]:
    model = load_paged_model(tiny_model, dtype="float32", kv_bytes=2**22, device=device, page_tokens=8, batch_rows=16)
    return model, Tokenizer.load(tiny_model)


def said(engine: Engine, schema: dict[str, Any], max_tokens: int) -> list[tuple[str, tuple[int, ...], str, bool]]:
    options: list[dict[str, Any]] = [
        *({"temperature": 0.0} for _ in range(2)),
        *({"temperature": 1.5, "seed": n} for n in range(4)),
    ]
    jobs = [engine.generate(f"document {n}", schema=schema, max_tokens=max_tokens, **options[n]) for n in (0, 5)]
    several = engine.generate([f"document {n}" for n in range(6)], schema=schema, max_tokens=max_tokens)
    drawn = engine.generate(["a", "b", "a b"], schema=schema, max_tokens=max_tokens, temperature=1.5, seed=4)
    assert isinstance(several, list)
    assert isinstance(drawn, list)
    found = [each for each in (*jobs, *several, *drawn) if isinstance(each, Completion)]
    return [(each.text, each.token_ids, each.finish_reason, each.closed_early) for each in found]


@pytest.mark.parametrize(("schema", "max_tokens"), [(SCHEMAS[0], 90), (SCHEMAS[0], 40), (SCHEMAS[1], 24)])
def test_constrained_texts_are_the_same(
    speaking: tuple[PagedModel, Tokenizer], schema: dict[str, Any], max_tokens: int
) -> None:
    model, tokenizer = speaking
    with Engine.from_parts(model, tokenizer, drafts=False, overlap=False) as engine:
        wanted = said(engine, schema, max_tokens)
    with Engine.from_parts(model, tokenizer, drafts=False, overlap=True) as engine:
        assert said(engine, schema, max_tokens) == wanted
        first = engine.stats()
        assert said(engine, schema, max_tokens) == wanted
        stats = engine.stats()
    for text, _, reason, closed_early in wanted:
        json.loads(text)
        assert (reason == "length") == closed_early
    assert first.grammar_misses > 0
    assert stats.grammar_misses - first.grammar_misses < first.grammar_misses / 2
    assert stats.overlapped_passes > 0
    # a token that the close-out rule refuses is chosen again by the host, and nothing else needs it
    assert (stats.lockstep_passes > 0) == any(closed_early for *_, closed_early in wanted)


def test_a_refused_first_token_after_a_prompt_that_the_tree_took_over(
    speaking: tuple[PagedModel, Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last token is in the tree's pages where its length is a multiple of theirs: it waits for a place again."""
    model, tokenizer = speaking
    prompts = [tuple(range(start, start + n)) for start in (40, 44, 51) for n in (15, 16)]

    def texts(*, overlap: bool) -> list[tuple[str, bool]]:
        with Engine.from_parts(model, tokenizer, drafts=False, overlap=overlap) as engine:
            done = engine.generate(prompts, regex="[a-c]|[d-z][0-9]{30}", max_tokens=2)
        assert isinstance(done, list)
        return [(each.text, each.closed_early) for each in done]

    put_back: list[int] = []
    original = Places.put_back
    monkeypatch.setattr(Places, "put_back", lambda self, key: (put_back.append(key), original(self, key))[1])
    wanted = texts(overlap=False)
    assert texts(overlap=True) == wanted
    assert any(closed_early for _, closed_early in wanted)
    assert put_back


def test_one_refused_token_takes_one_pass_of_the_host(model: PagedModel) -> None:
    """And none when its sequence goes away first."""
    lockstep: list[int] = []
    for n in range(6):
        generations = Generations(Vocabulary(TOKEN_BYTES, tuple(EOS), VOCAB))
        run = Run(model, grammars=Grammars(GenerationBatch(generations)))
        root = generations.compile(Regex("([a-c]|[d-zA-Z][0-9]{30})[a-z]{12}"))
        key = run.add([n, 5], 14, root)
        run.finish()
        assert len(run.texts[key]) == 13
        lockstep.append(run.loop.counts.lockstep_passes)
        if lockstep[-1]:
            key = run.add([n, 5], 14, root)
            while not run.loop._needs_host:  # type: ignore[attr-defined]
                run.step()
            run.cancel(key)
            assert not run.loop._needs_host  # type: ignore[attr-defined]
            run.finish()
    assert set(lockstep) <= {0, 1}
    assert 1 in lockstep


def test_forced_text_that_ends_under_the_mask_it_began_with_is_seen(model: PagedModel) -> None:
    """The device goes on by one token, the host by many, and both stand before the same choice of tokens."""
    tokens = [*TOKEN_BYTES[:-3], b"aa", b"aaaa", b""]
    encode = tokens.index

    def spelled(text: str) -> list[int]:
        fours, ones = divmod(len(text), 4) if text == "a" * len(text) else (0, 0)
        return [encode(b"aaaa")] * fours + [encode(b"a")] * ones

    said: dict[type, Any] = {}
    for kind in (StepLoop, OverlappedLoop):
        generations = Generations(Vocabulary(tokens, tuple(EOS), VOCAB))
        run = Run(model, kind, tokens=tokens, grammars=Grammars(GenerationBatch(generations), Speller(tokens, spelled)))
        root = generations.compile(Regex("[xyz](a{30}[0-9]){2}"))
        for n in range(9):  # the first of them teach the device's tables
            run.add([*TRUNK[:9], n], 60, root, sampling=Sampling(temperature=1.0, seed=n))
            for _ in range(40):
                run.step()
        run.finish()
        said[kind] = run.outcomes()
        assert run.loop.counts.sequence_passes < 9 * 30  # much of it was forced
    assert said[StepLoop] == said[OverlappedLoop]
    assert {len(text) for text, _, _ in said[StepLoop]} == {63}


def automaton_of(schema: dict[str, Any]) -> tuple[Automaton, int]:
    words = [bytes([i]) for i in range(256)] + [b'":', b'",', b"[[", b"]]", b'{"', b"na", b'st":', b"],[", b"12"]
    automaton = Automaton(Vocabulary(words, [len(words)], len(words) + 1), use_compiled=False)
    return automaton, automaton.compile(JsonSchema(json.dumps(schema)))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_old_tables_are_never_wrong(seed: int) -> None:
    """Sequences walk on the host; a copy of the tables that is brought up now and then says the same, or nothing."""
    random = np.random.default_rng(seed)
    automaton, root = automaton_of(SCHEMAS[0])
    batch = StateBatch(automaton)
    slots = np.array([batch.open(root) for _ in range(6)], dtype=np.int32)
    there = TablesThere(automaton, torch.device("cpu"))
    n_known = n_missed = 0
    for step in range(25):
        rows = batch.row_ids(slots)
        bits = np.unpackbits(automaton.rows[rows].view(np.uint8), axis=1, bitorder="little")
        choices = [np.flatnonzero(each) for each in bits]
        tokens = np.array([random.choice(each) if len(each) else 0 for each in choices], dtype=np.int32)
        tokens[random.random(len(slots)) < 0.1] = random.integers(0, 265)
        before = np.array([batch.save(int(slot)) for slot in slots], dtype=np.int32)
        if step == 12 and seed % 3 == 0:
            automaton.transitions.clear()
        there.bring_up()
        places = torch.from_numpy(before.copy())
        lane = torch.arange(len(slots), dtype=torch.int32)
        row_ids, outcomes = advance(places, lane, torch.from_numpy(tokens), there.tables, there.widest)
        went = batch.advance(slots, tokens)
        after, rows = np.array([batch.save(int(slot)) for slot in slots], np.int32), batch.row_ids(slots)
        for n, outcome in enumerate(outcomes.tolist()):
            if outcome == ADVANCED:
                assert went[n]
                assert (places[n].tolist(), int(row_ids[n])) == (after[n].tolist(), int(rows[n]))
                assert int(rows[n]) < len(there.rows)
                assert there.rows[int(rows[n])].tolist() == automaton.rows[int(rows[n])].tolist()
                n_known += 1
            elif outcome == NOT_ALLOWED:
                assert not went[n]
            else:
                n_missed += 1
        if step % 4 == 0:
            there.note_missed(int((outcomes > 1).sum()), before[outcomes.numpy() == NO_TRANSITION])
    assert n_missed > 0
    assert n_known > 0


def test_text_that_was_missed_a_few_times_is_known_whole() -> None:
    """In plain strings, all tokens that stay inside are told at once, and go with every copy from then on."""
    words = [bytes([i]) for i in range(256)] + [bytes([a, b]) for a in range(97, 117) for b in range(97, 117)]
    automaton = Automaton(Vocabulary(words, [len(words)], len(words) + 1))
    root = automaton.compile(JsonSchema('{"type": "array", "items": {"type": "string"}}'))
    batch = StateBatch(automaton)
    slots = np.array([batch.open(root)], dtype=np.int32)
    there = TablesThere(automaton, torch.device("cpu"))
    lane = torch.zeros(1, dtype=torch.int32)
    outcomes: list[int] = []
    for token in [ord("["), ord('"'), *range(97, 123), *range(48, 58)]:
        batch.row_ids(slots)
        before = batch.where(slots)
        there.bring_up()
        _, outcome = advance(
            torch.from_numpy(before.copy()), lane, torch.tensor([token], dtype=torch.int32), there.tables, there.widest
        )
        assert batch.advance(slots, np.array([token], dtype=np.int32))[0]
        missed = outcome.numpy() == NO_TRANSITION
        there.note_missed(int(outcome[0] > 0), before[missed])
        outcomes.append(int(outcome[0]))
    assert outcomes.count(NO_TRANSITION) == 2 + 4
    assert outcomes[2 + 4 :] == [ADVANCED] * (26 + 10 - 4)


def test_only_rows_with_a_grammar_are_taken_on_by_it() -> None:
    """Lanes side by side, one with a grammar and one without, which stands where the other does all the same; and a
    lane goes on from its own place unless it is given one."""
    automaton, root = automaton_of(SCHEMAS[0])
    batch = StateBatch(automaton)
    slot = batch.open(root)
    here = np.array([slot], dtype=np.int32)
    there = TablesThere(automaton, torch.device("cpu"))
    made = Lanes(torch.zeros(4, dtype=torch.int32))
    ints, doubles = np.zeros(2, dtype=np.int32), np.zeros(2)
    way = Way(np.array([1, 0], dtype=np.int32), ints, doubles, doubles, doubles)
    start, text = batch.save(slot), b'{"name":"a'
    for n, unit in enumerate(text):  # the first time as the host goes, to fill the tables; then the device by itself
        row = batch.row_ids(here)
        assert row[0] >= 0
        assert batch.advance(here, np.array([unit], dtype=np.int32))[0], n
    last = int(batch.row_ids(here)[0])
    batch.restore(slot, start)
    there.note_missed(10**6)
    there.bring_up()
    for n, unit in enumerate(text):
        is_fresh = np.full(2, n == 0, dtype=np.int32)
        places = np.array([start, start] if n == 0 else [[0, 0, 0]] * 2, dtype=np.int32)
        row_ids = np.array([batch.row_ids(here)[0] if n == 0 else -1, -1], dtype=np.int32)
        logits = torch.zeros(2, automaton.vocabulary.size)
        logits[:, unit] = 9.0
        asked = Asked(np.array([2, 1], dtype=np.int32), way, is_fresh, places, row_ids, doubles)
        became = Became.of(made.take_on(logits, asked, there).numpy())
        assert became.tokens.tolist() == [unit, unit]
        assert became.outcomes.tolist() == [ADVANCED, 0]
        assert became.row_ids[1] == -1
    assert became.row_ids[0] == last


def test_sequences_of_two_generations_are_served_side_by_side_and_one_after_the_other(model: PagedModel) -> None:
    """Tables of one generation mean nothing to the other."""
    said: dict[type, Any] = {}
    for kind in (StepLoop, OverlappedLoop):
        generations = Generations(Vocabulary(TOKEN_BYTES, tuple(EOS), VOCAB))
        run = Run(model, kind, grammars=Grammars(GenerationBatch(generations)))
        roots = [generations.compile(Regex("[xyz]{9}"))]
        generations.max_bytes, generations._room_for = 0, 0  # the next constraint begins another generation
        roots.append(generations.compile(Regex("([a-c]{2}[0-9]){3}")))
        assert roots[0].generation is not roots[1].generation
        for some in ([0], [1], [0], [0, 1], [1, 1]):
            for n in some:
                run.add([*TRUNK[:9], n], 20, roots[n], sampling=Sampling(temperature=1.0, seed=n))
            while run.loop.busy:
                run.step()
        run.finish()
        said[kind] = run.outcomes()
        counts = run.loop.counts
    assert said[OverlappedLoop] == said[StepLoop]
    assert {len(text) for text, _, _ in said[StepLoop]} == {9}
    assert min(counts.overlapped_passes, counts.lockstep_passes) > 0  # alone, and side by side


def test_tables_are_copied_whole_only_when_enough_was_missed() -> None:
    automaton, root = automaton_of(SCHEMAS[0])
    batch = StateBatch(automaton)
    slots = np.array([batch.open(root)], dtype=np.int32)
    there = TablesThere(automaton, torch.device("cpu"))
    seen = [there.tables.keys]

    def bring_up() -> bool:
        there.bring_up()
        is_new = there.tables.keys is not seen[0]
        seen[0] = there.tables.keys
        return is_new

    before = there.tables.keys.clone()
    batch.row_ids(slots)
    assert batch.advance(slots, np.array([ord("{")], dtype=np.int32))[0]
    assert seen[0].equal(before)  # the device's own
    assert not np.array_equal(automaton.transitions.keys, before.numpy())
    assert not bring_up()
    there.note_missed(10**6)
    assert bring_up()
    assert not bring_up()  # what was missed is made good
    assert there.tables.keys.numpy().tolist() == automaton.transitions.keys.tolist()


def test_a_whole_copy_has_what_was_found_of_states_since() -> None:
    words = [bytes([i]) for i in range(256)] + [bytes([a, b]) for a in range(97, 117) for b in range(97, 117)]
    automaton = Automaton(Vocabulary(words, [len(words)], len(words) + 1), use_compiled=False)
    root = automaton.compile(JsonSchema('{"type": "array", "items": {"type": "string", "maxLength": 90}}'))
    batch = StateBatch(automaton)
    slots = np.array([batch.open(root)], dtype=np.int32)
    there = TablesThere(automaton, torch.device("cpu"))
    for token in b'["abc':
        assert batch.advance(slots, np.array([token], dtype=np.int32))[0]
        there.bring_up()  # states that are new are copied before anything is known of them
        batch.row_ids(slots)
    n = automaton.n_states
    found = np.flatnonzero(there.tables.states[:n, 2].numpy() != automaton.states[:n, 2])
    assert len(found) > 0
    there.note_missed(10**6)
    there.bring_up()
    assert there.tables.states[:n].tolist() == automaton.states[:n].tolist()


def test_a_state_whose_tokens_are_known_is_not_guessed_at() -> None:
    words = [bytes([i]) for i in range(256)] + [bytes([a, b]) for a in range(97, 117) for b in range(97, 117)]
    automaton = Automaton(Vocabulary(words, [len(words)], len(words) + 1), use_compiled=False)
    there = TablesThere(automaton, torch.device("cpu"))
    batch = StateBatch(automaton)
    slots = np.array([batch.open(automaton.compile(Regex("[^!]*!")))], dtype=np.int32)
    batch.row_ids(slots)
    place = batch.where(slots)
    assert automaton.states[place[0, 0], 2] >= 0
    assert automaton.staying_tokens(int(place[0, 0]), int(place[0, 2])) is not None  # and yet
    there.bring_up()
    for _ in range(8):
        there.note_missed(0, place)
    there.bring_up()
    n = automaton.n_states
    assert there.tables.states[:n].tolist() == automaton.states[:n].tolist()


@given(st.lists(st.integers(0, 70), max_size=8), st.integers(1, 9))
def test_a_copy_of_what_grows_has_the_beginning_of_it(more: list[int], room: int) -> None:
    array = np.arange(1, 2 * sum(more) + 3, dtype=np.int32).reshape(-1, 2)
    copy = _Growing(array[:0], torch.device("cpu"), room)
    n = 0
    for each in more:
        n += each
        copy.top_up(array, n)
        assert copy.there[:n].numpy().tolist() == array[:n].tolist()
        copy.top_up(array, n // 2)  # never less
        assert copy.there[:n].numpy().tolist() == array[:n].tolist()
    array[:n] *= -1
    copy.top_up(array, n)
    assert (copy.there[:n] >= 0).all()
    copy.forget()
    copy.top_up(array, n)
    assert copy.there[:n].numpy().tolist() == array[:n].tolist()


def test_a_guess_that_is_wrong_on_another_stack_is_found_out(
    speaking: tuple[PagedModel, Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tokens are said to stay where they were missed: texts are the same, with more rows in vain."""
    model, tokenizer = speaking
    options: dict[str, Any] = {"schema": SCHEMAS[0], "max_tokens": 60}
    with Engine.from_parts(model, tokenizer, drafts=False, overlap=False) as engine:
        wanted = engine.generate(["a", "b"], **options)
    monkeypatch.setattr(Automaton, "staying_tokens", lambda self, *_: np.ones(self.vocabulary.size, bool))
    with Engine.from_parts(model, tokenizer, drafts=False, overlap=True) as engine:
        got = engine.generate(["a", "b"], **options)
        stats = engine.stats()
    assert isinstance(wanted, list)
    assert isinstance(got, list)
    assert [each.text for each in got] == [each.text for each in wanted]
    assert stats.void_rows > 0


def test_what_was_sent_is_there_at_once_on_the_cpu() -> None:
    arrival = Sent(torch.arange(3))
    assert arrival.is_there()
    arrival.wait()
    assert arrival.array().tolist() == [0, 1, 2]


def test_only_a_model_on_a_device_overlaps(speaking: tuple[PagedModel, Tokenizer], tiny_model: Path) -> None:
    from rootform.engine.model import load_model

    with pytest.raises(RootformError, match="overlap is for a model on a device"):
        Engine.from_parts(load_model(tiny_model, kv_bytes=2**20), speaking[1], overlap=True)
    with pytest.raises(RootformError, match="leave it out on the CPU"):
        Engine(tiny_model, overlap=True)


@pytest.mark.parametrize("overlap", [False, True])
def test_what_it_keeps_to_is_told(speaking: tuple[PagedModel, Tokenizer], overlap: bool) -> None:
    with Engine.from_parts(*speaking, overlap=overlap) as engine:
        told = engine.describe()
    assert told.startswith(engine.limits.describe() + "\ncard: ")
    assert told.endswith("queued before the one before it was settled" if overlap else "each settled before the next")
