"""A tokenizer of one token per byte, engines with a stand-in model around it, and what such a model likes to say."""

from __future__ import annotations

import threading

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rootform.engine.api import Engine
from rootform.engine.tokenizer import Tokenizer

TEMPLATE = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}\n{% endfor %}"
EOS = 0
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "integer"}}},
    "required": ["name", "tags"],
    "additionalProperties": False,
}


def one_token_per_byte() -> PreTrainedTokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Backend(models.BPE({"</s>": EOS} | {letter: n for n, letter in enumerate(letters, start=1)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", chat_template=TEMPLATE)


WRAPPED = one_token_per_byte()
TOKENIZER = Tokenizer(WRAPPED)
N_TOKENS = len(TOKENIZER.token_bytes)


def token(char: str) -> int:
    (only,) = TOKENIZER.encode_bare(char)
    return only


@pytest.fixture
def make(standins, device):
    """Engines around a stand-in model; closed, and checked to hold nothing, when the test ends."""
    made = []

    def make_engine(likes=None, n_pages=4000, **options):
        model = standins.StandIn(N_TOKENS, standins.ListMemory(n_pages), context_tokens=1000, there=device.there)
        model.likes = likes
        engine = Engine.from_parts(model, TOKENIZER, name="stand-in", **device.ways | options)
        made.append((engine, model))
        return engine

    yield make_engine
    for engine, model in made:
        engine.close()
        tree = engine._loop.prefixes.tree
        assert (model.memory.slots, tree.locked_pages) == ({}, 0)
        assert model.memory.free_pages + tree.cached_pages == model.memory.total_pages


def likes_text(text: str):
    """A model that writes this text, wherever it stands, and then ends."""
    ids = [*TOKENIZER.encode_bare(text), EOS]
    start = {}

    def likes(so_far):
        n_prompt = start.setdefault("n", len(so_far))
        return ids[min(len(so_far) - n_prompt, len(ids) - 1)]

    return likes


class Gate:
    """Holds the step thread inside a forward pass until opened."""

    def __init__(self, engine: Engine) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        forward = engine._loop.model.forward

        def gated(*batch):
            self.entered.set()
            assert self.opened.wait(120)
            return forward(*batch)

        engine._loop.model.forward = gated
