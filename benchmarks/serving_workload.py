"""What the serving benchmark serves: random models of known shapes, their tokenizers, prompts and one schema.

All of it is made from a seed and nothing is downloaded. Weights are noise, so answers are too; the schema holds the
length of every string and array, so that all engines write about the same number of tokens.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

EOS_ID = 0


class Shape(NamedTuple):
    """A Llama-family model. bias: of the projections to queries, keys and values, which makes it a Qwen2."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab: int
    bias: bool = False

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def linears(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each product of one layer, those of one input joined as an engine may join them."""
        joined = (self.heads + 2 * self.kv_heads) * self.head_dim
        return [
            (self.hidden, joined),
            (self.heads * self.head_dim, self.hidden),
            (self.hidden, 2 * self.intermediate),
            (self.intermediate, self.hidden),
        ]

    @property
    def layer_flops(self) -> int:
        """Of all layers' products for one token; attention and the output layer are not in it."""
        return 2 * self.layers * sum(n * m for n, m in self.linears)

    @property
    def head_flops(self) -> int:
        """Of the whole output layer for one token."""
        return 2 * self.hidden * self.vocab


SHAPES = {
    each.name: each
    for each in (
        Shape("tiny", 256, 4, 4, 2, 768, 4096),
        Shape("small", 768, 12, 12, 4, 2048, 32000),
        Shape("0.5b", 896, 24, 14, 2, 4864, 151936, bias=True),
    )
}


class Workload(NamedTuple):
    """Requests of one round, in token ids: each prompt is `shared` tokens that all have, and tokens of its own."""

    prompts: list[list[int]]
    shared: int


# -- the schema -----------------------------------------------------------------------------------------------


def _text(length: int) -> dict[str, Any]:
    """As a pattern: of strings with bounds alone, a peer's grammar lets raw control characters through."""
    return {"type": "string", "pattern": f"^[a-zA-Z0-9 ,.]{{{length}}}$"}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _integer(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


_LINE = _object(item=_text(20), quantity=_integer(1, 99), price=_integer(100, 9999))

SCHEMA = _object(
    number={"type": "string", "pattern": "^[A-Z]{3}-[0-9]{6}$"},
    date={"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$"},
    seller=_text(32),
    buyer=_text(32),
    currency={"enum": ["EUR", "USD", "GBP", "JPY", "CHF"]},
    total=_integer(100, 99999),
    note=_text(40),
    lines={"type": "array", "items": _LINE, "minItems": 3, "maxItems": 3},
)

GRAMMAR = r"""
root ::= "{\"number\":\"" [A-Z]{3} "-" [0-9]{6} "\",\"date\":\"20" [0-9]{2} "-" month "-" day "\",\"seller\":\"" c{32} "\",\"buyer\":\"" c{32} "\",\"currency\":\"" currency "\",\"total\":" [1-9] [0-9]{2,4} ",\"note\":\"" c{40} "\",\"lines\":[" line "," line "," line "]}"
line ::= "{\"item\":\"" c{20} "\",\"quantity\":" [1-9] [0-9]{0,1} ",\"price\":" [1-9] [0-9]{2,3} "}"
month ::= "0" [1-9] | "1" [0-2]
day ::= "0" [1-9] | "1" [0-9] | "2" [0-8]
currency ::= "EUR" | "USD" | "GBP" | "JPY" | "CHF"
c ::= [a-zA-Z0-9 ,.]
"""  # noqa: E501
"""The texts of SCHEMA without spaces and escapes, for peers: some of their own ways from a schema to a grammar cannot
leave spaces out."""

MAX_OUTPUT_TOKENS = 400
"""More than any answer needs: its strings hold at most 210 characters."""


# -- text -----------------------------------------------------------------------------------------------------


def _lexicon(rng: random.Random, n_words: int) -> list[str]:
    """Invented words."""
    onsets = ["", *"bcdfghjklmnprstvw", "st", "tr", "pl", "gr", "sh"]
    vowels = [*"aeiou", "ai", "ea", "ou"]
    words: dict[str, None] = {}
    while len(words) < n_words:
        syllables = [rng.choice(onsets) + rng.choice(vowels) for _ in range(rng.choice([1, 2, 2, 3]))]
        words["".join(syllables) + rng.choice(["", "", "n", "r", "s"])] = None
    return list(words)


def _prose(rng: random.Random, lexicon: list[str], n_words: int) -> Iterator[str]:
    """Words with numbers between them; early words of the lexicon are frequent ones."""
    for _ in range(n_words):
        at = int(len(lexicon) * rng.random() ** 3)
        yield lexicon[at] if rng.random() < 0.9 else str(rng.randrange(10 ** rng.randrange(1, 6)))


def _record(rng: random.Random, lexicon: list[str]) -> str:
    """A line of JSON, so that the tokenizer learns its punctuation."""
    words = list(_prose(rng, lexicon, 8))
    pairs = {words[0]: " ".join(words[1:4]), words[4]: [rng.randrange(1000), words[5]], words[6]: {words[7]: True}}
    return json.dumps(pairs, separators=(",", ":"))


# -- models ---------------------------------------------------------------------------------------------------


def make_model(shape: Shape, folder: Path, seed: int) -> Path:
    """The model in a folder of its own under `folder`, made unless it is there."""
    target = folder / f"{shape.name}-{seed}"
    if not (target / "model.safetensors").is_file():
        target.mkdir(parents=True, exist_ok=True)
        _save_tokenizer(shape, target, seed)
        _save_weights(shape, target, seed)
    return target


def _save_tokenizer(shape: Shape, target: Path, seed: int) -> None:
    import tokenizers
    import transformers
    from tokenizers import Regex, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    rng = random.Random(seed)
    lexicon = _lexicon(rng, max(4000, shape.vocab))
    lines = [" ".join(_prose(rng, lexicon, 12)) for _ in range(8 * shape.vocab // 10)]
    lines += [" ".join(lexicon[i : i + 12]) for i in range(0, len(lexicon), 12)] * 2
    lines += [_record(rng, lexicon) for _ in range(2000)]
    lines += [json.dumps(SCHEMA, separators=(",", ":"))] * 100  # its words are common ones
    backend = tokenizers.Tokenizer(BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?[a-zA-Z]+| ?[0-9]{1,3}|[^a-zA-Z0-9\s]+|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=shape.vocab, special_tokens=["<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(lines, trainer)
    if backend.get_vocab_size() != shape.vocab:
        raise RuntimeError(f"the tokenizer of {shape.name} has {backend.get_vocab_size()} tokens, not {shape.vocab}")
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>").save_pretrained(target)


def _save_weights(shape: Shape, target: Path, seed: int) -> None:
    import torch
    import transformers

    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": 16384,
        "initializer_range": 0.05,
        "tie_word_embeddings": False,  # tied noise repeats its last token for ever
        "eos_token_id": EOS_ID,
        "bos_token_id": None,
        "pad_token_id": EOS_ID,
    }
    model = (
        transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**sizes))
        if shape.bias
        else transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))
    )
    model.save_pretrained(target)


# -- prompts --------------------------------------------------------------------------------------------------


def make_workload(model: Path, seed: int, round_: int, requests: int, shared: int = 600, own: int = 150) -> Workload:
    """Prompts of exactly so many tokens, other ones in each round."""
    source = _TokenSource(model, seed + 1000 * (round_ + 1))
    prefix = source.take(shared)
    return Workload([prefix + source.take(own) for _ in range(requests)], shared)


class _TokenSource:
    """Endless prose of a tokenizer's own words, in its tokens."""

    def __init__(self, model: Path, seed: int) -> None:
        import tokenizers

        self._tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
        self._rng = random.Random(seed)
        self._lexicon = _lexicon(random.Random(seed), 4000)

    def take(self, n_tokens: int) -> list[int]:
        ids: list[int] = []
        while len(ids) < n_tokens:
            ids += self._tokenizer.encode(" " + " ".join(_prose(self._rng, self._lexicon, 50))).ids
        return ids[:n_tokens]


def make_families(model: Path, seed: int, requests: int, families: int) -> list[list[int]]:
    """Prompts in families that share a prefix, with branches that share more, in a random order.

    A family has 200-600 shared tokens and three branches of 50-150 more; a request adds 30-100 tokens of its own.
    """
    source, rng = _TokenSource(model, seed + 7), np.random.default_rng(seed)
    roots = [source.take(int(rng.integers(200, 601))) for _ in range(families)]
    branches = [root + source.take(int(rng.integers(50, 151))) for root in roots for _ in range(3)]
    return [branches[rng.integers(len(branches))] + source.take(int(rng.integers(30, 101))) for _ in range(requests)]


def distinct_prefixes(prompts: list[list[int]]) -> int:
    """How many tokens must be computed at least: one for each distinct non-empty prefix of any prompt."""
    total, before = 0, []
    for prompt in sorted(prompts):
        same = next((n for n, pair in enumerate(zip(before, prompt, strict=False)) if pair[0] != pair[1]), None)
        total += len(prompt) - (min(len(before), len(prompt)) if same is None else same)
        before = prompt
    return total
