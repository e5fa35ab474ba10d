"""A tiny model over paged memory, on the CPU by the kernels' twins or on a card, and loops over it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from rootform.engine.limits import derive_limits
from rootform.engine.model_paged import PagedModel, load_paged_model
from rootform.engine.overlap import OverlappedLoop
from rootform.engine.step import StepLoop
from rootform.engine.tokenizer import Tokenizer
from rootform.engine.types import Delta, Failed, Finished, Request, Sampling
from rootform.grammar.automaton import Automaton
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.generations import Root
from rootform.grammar.vocab import Vocabulary

VOCAB = 97
EOS = frozenset({3, 35})
TOKEN_BYTES = [bytes([33 + n]) for n in range(VOCAB - 5)] + [b"\xe2\x82", b"\xac", b" ab", b"a ", b""]
TRUNK = [(7 * n + 3) % VOCAB for n in range(50)]
DRAWN = Sampling(temperature=1.0, top_p=0.9, seed=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, twins_or_card: str) -> PagedModel:
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
    return load_paged_model(
        folder, dtype="float32", kv_bytes=100_000, device=twins_or_card, page_tokens=4, batch_rows=16
    )


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
def speaking(tiny_model: Path, twins_or_card: str) -> tuple[PagedModel, Tokenizer]:
    model = load_paged_model(
        tiny_model, dtype="float32", kv_bytes=2**22, device=twins_or_card, page_tokens=8, batch_rows=16
    )
    return model, Tokenizer.load(tiny_model)


def automaton_of(schema: dict[str, Any]) -> tuple[Automaton, int]:
    words = [bytes([i]) for i in range(256)] + [b'":', b'",', b"[[", b"]]", b'{"', b"na", b'st":', b"],[", b"12"]
    automaton = Automaton(Vocabulary(words, [len(words)], len(words) + 1), use_compiled=False)
    return automaton, automaton.compile(JsonSchema(json.dumps(schema)))
