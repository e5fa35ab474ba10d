"""deterministic=True: the same tokens, and the same numbers to the last bit, however a request is served.

Alone or in any batch, whatever the cache holds (nothing, parts of it, or what a run before left in files), with and
without drafts, in pieces of any size, put back and taken up again.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from rootform import Engine
from rootform.engine import steady_linears
from rootform.engine.grammars import Grammars
from rootform.engine.heads import Head
from rootform.engine.limits import derive_limits
from rootform.engine.linears import PackedLinear
from rootform.engine.model import load_model
from rootform.engine.steady_linears import SteadyLinear, rows_agree
from rootform.engine.step import StepLoop
from rootform.engine.types import Delta, Event, Finished, Request, RootformError, Sampling
from rootform.grammar.constraints import Regex
from rootform.grammar.generation_batch import GenerationBatch
from rootform.grammar.generations import Generations
from rootform.grammar.vocab import Vocabulary
from rootform.radix.blocks import BlockNames
from rootform.radix.disk_tier import DiskTier
from rootform.radix.host_tier import HostTier
from rootform.radix.tiers import LoadRule, Tiers

VOCAB = 97
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": None,
    "pad_token_id": 0,
}
EOS = 0
TOKENS = [b"", *(bytes([32 + n]) for n in range(94)), b"ab", b"12"]
GENERATIONS = Generations(Vocabulary(TOKENS, (EOS,), VOCAB), max_bytes=1 << 28)
ROOTS = [GENERATIONS.compile(Regex(pattern)) for pattern in ("[0-9]{2}-(ab|cd){1,9}[x-z]", "(ab|[ -~]{3}){0,9}!")]
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "mistral": lambda: transformers.MistralConfig(**SIZES, sliding_window=16, head_dim=16),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES, head_dim=16),
    "gemma2": lambda: transformers.Gemma2Config(**SIZES, head_dim=16, query_pre_attn_scalar=16, sliding_window=16),
}
N_NEW = 10
BLOCK = 8


class Answer(NamedTuple):
    ids: list[int]
    logprobs: list[tuple[float, tuple[float, ...]]]


def prompts(rng: random.Random, n: int) -> list[tuple[int, ...]]:
    """Families that share a prefix, some of them long, some of few tokens that come again and again."""
    roots = [rng.choices(range(VOCAB), k=rng.randint(4, 60)) for _ in range(3)]
    roots.append([rng.randint(2, 4) for _ in range(30)])
    return [tuple(rng.choice(roots) + rng.choices(range(VOCAB), k=rng.randint(1, 12))) for _ in range(n)]


def root_of(n: int) -> Any:
    """The constraint of every other request, of which some have few tokens to choose from."""
    return ROOTS[n // 2 % 2] if n % 2 else None


def sampling(n: int) -> Sampling:
    return Sampling(temperature=0.8, top_p=0.9, seed=n) if n % 3 == 0 else Sampling()


class Bench:
    """One model, requests that come again in each schedule, and what each got alone."""

    def __init__(self, name: str, folder: Path) -> None:
        torch.manual_seed(5)
        self.config = type(CONFIGS[name]()).__name__
        model = transformers.AutoModelForCausalLM.from_config(CONFIGS[name](), attn_implementation="eager").eval()
        model.save_pretrained(folder)
        with pytest.MonkeyPatch.context() as patch:  # few rows of an output layer, however narrow it is
            patch.setitem(Head.__init__.__kwdefaults__, "wide", 0)
            self.model = load_model(folder, kv_bytes=1_000_000, deterministic=True)
        self.prompts = prompts(random.Random(1), 24)
        self.alone = [self.serve([n], prefix_cache=False, drafts=False)[n] for n in range(len(self.prompts))]

    def loop(self, rng: random.Random | None, **options: Any) -> StepLoop:
        limits = derive_limits(
            context_tokens=self.model.context_tokens,
            page_tokens=1,
            total_pages=self.model.memory.total_pages,
            prefill_tokens=rng.choice([5, 17, 40, 300]) if rng else 1000,
            max_batch=rng.choice([2, 6, 24]) if rng else 1,
            itl_ms=rng.choice([None, 0.5, 3.0]) if rng else None,
        )
        grammars = Grammars(GenerationBatch(GENERATIONS))
        return StepLoop(self.model, TOKENS, frozenset({EOS}), limits, grammars=grammars, **options)

    def serve(self, wanted: list[int], rng: random.Random | None = None, **options: Any) -> dict[int, Answer]:
        """The answers of some of the requests, served together, added at random times."""
        loop = self.loop(rng, **options)
        found = {n: Answer([], []) for n in wanted}
        left = list(wanted)
        while left or loop.busy:
            events = []
            while left and (rng is None or not loop.busy or rng.random() < 0.5):
                events += self.add(loop, left.pop(), rng)
            for event in events + loop.step():
                if isinstance(event, Delta):
                    found[event.request_id].ids.extend(event.token_ids)
                    numbers = [(each.logprob, tuple(top[2] for top in each.top)) for each in event.logprobs]
                    found[event.request_id].logprobs.extend(numbers)
                else:
                    assert isinstance(event, Finished)
        loop.prefixes.close(keep=True)
        loop.prefixes.forget_all()
        assert self.model.memory.free_pages == self.model.memory.total_pages
        return found

    def add(self, loop: StepLoop, n: int, rng: random.Random | None) -> list[Event]:
        return loop.add(
            Request(
                request_id=n,
                prompt_ids=self.prompts[n],
                max_new_tokens=N_NEW,
                sampling=sampling(n),
                top_logprobs=3,
                priority=rng.choice(["online", "offline"]) if rng else "online",
                ignore_eos=root_of(n) is None,
            ),
            root_of(n),
        )


@pytest.fixture(scope="module", params=CONFIGS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(request.param, tmp_path_factory.mktemp(request.param))


def tiers(folder: Path, page_bytes: int) -> Tiers:
    names = BlockNames(b"this model", BLOCK)
    disk = DiskTier(folder, names.fingerprint, BLOCK, BLOCK * page_bytes, max_bytes=1 << 24)
    return Tiers(names, 1, HostTier(4 * BLOCK * page_bytes), disk, LoadRule(1.0))


def check(bench: Bench, seeds: range, folder: Path) -> None:
    """Each seed is a schedule; files are left from one to the next, so that prefixes come back from them."""
    n_restored = 0
    for seed in seeds:
        rng = random.Random(seed)
        wanted = rng.sample(range(len(bench.prompts)), rng.randint(1, 10))
        tiered = tiers(folder, bench.model.memory.page_bytes) if rng.random() < 0.5 else None
        got = bench.serve(wanted, rng, prefix_cache=rng.random() < 0.9, drafts=rng.random() < 0.6, tiers=tiered)
        n_restored += 0 if tiered is None else tiered.disk_tokens
        for n in wanted:
            assert got[n] == bench.alone[n], f"schedule {seed}, request {n}"
    assert n_restored


def test_any_schedule(bench, tmp_path):
    check(bench, range(8), tmp_path)


@pytest.mark.slow
def test_500_schedules(bench, tmp_path):
    check(bench, range(1000, 1500), tmp_path)


def test_the_answers_mean_something(bench):
    answers = {tuple(each.ids) for each in bench.alone}
    assert len(answers) > len(bench.alone) // 2
    constrained = [b"".join(TOKENS[each] for each in bench.alone[n].ids) for n in range(len(bench.alone)) if root_of(n)]
    assert len(set(constrained)) > len(constrained) // 2


def test_few_rows_of_the_output_layer_are_among_them(bench):
    """Of the family whose output layer is its embedding."""
    heads = [each for each in vars(bench.model._decoder).values() if isinstance(each, Head)]
    assert [each._rows is not None for each in heads] == {"LlamaConfig": [True], "MistralConfig": [False]}.get(
        bench.config, []
    )


def test_it_is_for_float32(tmp_path):
    with pytest.raises(RootformError, match="deterministic goes with dtype float32, not bfloat16"):
        load_model(tmp_path, dtype="bfloat16", deterministic=True)


# -- linear layers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_even", [True, False])
@pytest.mark.parametrize("n", [0, 1, 2, 31, 33, 256, 257, 300])
def test_a_steady_linear_is_the_linear(is_even, n):
    torch.manual_seed(0)
    linear = nn.Linear(24, 10)
    x = torch.randn(n, 24)
    with torch.inference_mode():
        got = SteadyLinear(linear, is_even=is_even)(x)
        assert got.shape == (n, 10)
        assert torch.allclose(got, linear(x), atol=1e-6)


class Uneven(nn.Module):
    """A product that adds in another order for fewer than nine rows."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        columns = range(x.shape[1]) if len(x) >= 9 else reversed(range(x.shape[1]))
        total = torch.zeros(len(x), len(self.weight))
        for at in columns:
            total = total + x[:, at, None] * self.weight[:, at]
        return total


def test_a_layer_that_depends_on_the_number_of_rows_is_found_and_made_steady():
    torch.manual_seed(0)
    uneven = Uneven(nn.Linear(33, 5))
    assert not rows_agree(uneven, 33, torch.float32)
    steady = SteadyLinear(uneven, is_even=False)
    x = torch.randn(70, 33)
    with torch.inference_mode():
        whole = steady(x)
        assert all(torch.equal(steady(x[a:b]), whole[a:b]) for a, b in itertools.combinations(range(0, 71, 7), 2))
        assert not torch.equal(uneven(x)[:3], uneven(x[:3]))


@pytest.mark.parametrize("shape", [(64, 96), (2048, 768), (100, 36)])
def test_packed_layers_of_any_number_of_rows(shape, monkeypatch):
    monkeypatch.setattr(steady_linears, "_known", {})
    torch.manual_seed(0)
    like = nn.Linear(*shape, bias=False)
    linear = steady_linears.steady(PackedLinear(like), like)
    x = torch.randn(130, shape[0])
    with torch.inference_mode():
        whole = linear(x)
        assert all(torch.equal(linear(x[:n]), whole[:n]) for n in range(1, 131))
        assert torch.equal(linear(x[np.arange(129, -1, -1)]), whole.flip(0))


def test_an_engine_of_it(tiny_model, tmp_path):
    """Its files hold what it computed, and nothing of an engine that is not deterministic."""
    prompt = "one prompt, long enough that blocks of it are kept in files; " * 4
    options: dict[str, Any] = {"cache_dir": tmp_path, "threads": 1}
    with Engine(tiny_model, **options) as engine:
        engine.generate(prompt, max_tokens=8)
    with Engine(tiny_model, deterministic=True, **options) as engine:
        first = engine.generate(prompt, max_tokens=8, top_logprobs=2)
        assert first.usage.cached_tokens == 0
    with Engine(tiny_model, deterministic=True, **options) as engine:
        others = [f"{n} other prompts" for n in range(5)]
        again = engine.generate([*others, prompt], max_tokens=8, top_logprobs=2)[-1]
        assert (again.token_ids, again.logprobs) == (first.token_ids, first.logprobs)
        assert engine.stats().disk_tier_tokens > 0
    with pytest.raises(RootformError, match="on the CPU only"):
        Engine(tiny_model, deterministic=True, device="cuda")
