"""The sprout's own tokenizer: byte-level BPE in which a value is spelled alike in a document and in JSON.

Every space, digit and mark is a piece of its own, so merges happen inside words only and what stands around a
value never changes its tokens: copying is copying token by token. Frequent stretches of an answer's JSON are
ordinary added tokens that mean exactly their own bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from .corpus import SLOTS
from .templates import KINDS

DOCUMENT, JSON, END, PAD = "<|doc|>", "<|json|>", "<|end|>", "<|pad|>"
SPECIALS = (DOCUMENT, JSON, END, PAD)
VOCABULARY = 2048

CHAT_TEMPLATE = (
    "{%- if messages | length != 1 -%}"
    "{{- raise_exception('sprout reads one document: send exactly one user message, whose content is it') -}}"
    "{%- endif -%}"
    "{%- if messages[0].role != 'user' -%}"
    "{{- raise_exception('sprout reads one document as a user message; it takes no ' ~ messages[0].role"
    " ~ ' message and follows no instructions') -}}"
    "{%- endif -%}"
    "{{- '<|doc|>' ~ messages[0].content -}}"
    "{%- if add_generation_prompt -%}{{- '<|json|>' -}}{%- endif -%}"
)


def structure() -> list[str]:
    """The stretches of JSON that are one token each."""
    opening = [f'{{"intent":"{intent}","slots":{{' for intent in SLOTS]
    slots = sorted({f'"{slot}":["' for names in SLOTS.values() for slot in names})
    keys = sorted({f'"{name}":' for kind in KINDS.values() for names in kind.fields.values() for name in names})
    return [*opening, *slots, '"],', '"]}}', "}}", *keys]


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Learn the merges from `texts`; the vocabulary has exactly VOCABULARY entries, added ones counted."""
    added = structure()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[\p{L}\p{M}]+|[^\p{L}\p{M}]"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(added),
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added])
    return tokenizer


def token_id(tokenizer: Tokenizer, text: str) -> int:
    """The id of a token that this tokenizer is known to have."""
    found = tokenizer.token_to_id(text)
    assert found is not None, text
    return found


def prompt(text: str) -> str:
    """What the model reads before it answers."""
    return f"{DOCUMENT}{text}{JSON}"
