"""Tokenizers given as ranked byte strings (tiktoken, and Mistral's tekken.json), as byte-level BPE.

tiktoken joins the pair of neighbours whose joined bytes have the lowest rank. That is BPE whose merges are every pair
that makes up a token, in the order of the ranks.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from .token_bytes import CHAR_OF_BYTE
from .types import RootformError

_DEFAULT_SPECIALS = ("<unk>", "<s>", "</s>")
"""The first ids of a tekken.json that names none (its version 3)."""


def ranked_tokenizer(tokens: list[bytes], pattern: str, specials: list[str]) -> Backend:
    """A tokenizer whose ids are first those of `specials`, then those of `tokens` in the order of their ranks.

    tokens: all single bytes among them. pattern: how text is split first. Raises ValueError when a token is no pair of
    others.
    """
    rank = {token: i for i, token in enumerate(tokens)}
    merges: list[tuple[str, str]] = []
    for token in tokens:
        splits = [(token[:at], token[at:]) for at in range(1, len(token))]
        pairs = sorted((rank[a], rank[b]) for a, b in splits if a in rank and b in rank)
        if len(token) > 1 and not pairs:
            raise ValueError(f"the token {token!r} is not made up of two others")
        merges += [(_chars(tokens[a]), _chars(tokens[b])) for a, b in pairs]
    vocabulary = {special: i for i, special in enumerate(specials)}
    vocabulary |= {_chars(token): len(specials) + i for token, i in rank.items()}
    backend = Backend(models.BPE(vocabulary, merges, ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(special, special=True, normalized=False) for special in specials])
    return backend


def read_tekken(file: Path) -> Backend:
    """The tokenizer of a tekken.json. Raises RootformError when it is none."""
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        config = read["config"]
        n_special = int(config["default_num_special_tokens"])
        n_tokens = int(config["default_vocab_size"]) - n_special
        named = [entry["token_str"] for entry in read.get("special_tokens") or ()] or list(_DEFAULT_SPECIALS)
        specials = [*named, *(f"<SPECIAL_{i}>" for i in range(len(named), n_special))]
        tokens = [base64.b64decode(entry["token_bytes"]) for entry in read["vocab"][:n_tokens]]
        backend = ranked_tokenizer(tokens, config["pattern"], specials)
    except (OSError, ValueError, KeyError, TypeError, binascii.Error) as error:
        raise RootformError(f"{file} is not a tekken tokenizer: {type(error).__name__}: {error}", status=500) from error
    begin = backend.token_to_id("<s>")
    if begin is not None:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    return backend


def _chars(token: bytes) -> str:
    return "".join(CHAR_OF_BYTE[byte] for byte in token)
