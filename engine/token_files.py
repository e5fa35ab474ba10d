"""A tokenizer read from its files alone, without transformers: for looking at what a grammar costs with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from ..grammar.estimate import Tokens
from ..grammar.vocab import Vocabulary
from .tekken import read_tekken
from .token_bytes import bytes_of_tokens
from .tokenizer import eos_ids_of
from .types import RootformError

_SPECIALS = ("bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token", "unk_token")


def read_tokens(folder: Path, name: str = "") -> Tokens:
    """The tokenizer in a folder: tokenizer.json or tekken.json, and the files beside it that name special tokens.

    name: what to call it, if not by the folder. Raises RootformError when there is none, or none that says which token
    ends an output.
    """
    backend = _backend(folder)
    settings = _settings(folder / "tokenizer_config.json")
    named = {key: backend.token_to_id(text) for key in _SPECIALS if (text := _text(settings.get(key)))}
    special = {token for token in named.values() if token is not None}
    table = bytes_of_tokens(backend, special)
    end = named.get("eos_token", backend.token_to_id("</s>"))
    eos = {token for token in {end} | eos_ids_of(folder) if token is not None and token < len(table)}
    if not eos:
        raise RootformError(f"{folder} names no token that ends an output; name one in generation_config.json")
    width = _settings(folder / "config.json").get("vocab_size")
    size = max(len(table), width) if isinstance(width, int) else len(table)

    def encode(text: str) -> list[int]:
        return backend.encode(text, add_special_tokens=False).ids

    return Tokens(name or folder.name, Vocabulary(table, sorted(eos), size), encode)


def _backend(folder: Path) -> Backend:
    definition, tekken = folder / "tokenizer.json", folder / "tekken.json"
    if not definition.is_file() and tekken.is_file():
        return read_tekken(tekken)
    try:
        backend = Backend.from_str(definition.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RootformError(f"no tokenizer.json or tekken.json that can be read in {folder}: {error}") from error
    except Exception as error:  # the library raises nothing narrower for a file that is no tokenizer
        raise RootformError(f"{definition} is not a tokenizer: {error}") from error
    backend.no_truncation()
    backend.no_padding()
    return backend


def _settings(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise RootformError(f"{file} is not JSON: {error}") from error
    return read if isinstance(read, dict) else {}


def _text(token: Any) -> str | None:
    """A special token, written as text or as an object with its content."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None
