"""The bytes behind every token id, by the rule of the tokenizer's own decoder.

The text of an output is the bytes of its tokens, one after the other. Decoders that drop a space at the start of the
whole text (SentencePiece, for the space it put there itself) are not followed in that: a grammar sees that space, and
so does who reads the output.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from .types import RootformError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE_MARK = "▁"  # SentencePiece's sign for a space

ToBytes = Callable[[str], bytes]
"""The bytes of a token, from how the vocabulary writes it."""


def bytes_of_tokens(backend: Backend, special_ids: set[int]) -> list[bytes]:
    """The bytes of every id; b"" for special tokens, the unknown token and ids without a token.

    special_ids: further special ones. Raises RootformError for decoders whose tokens stand for no bytes of their own.
    """
    spec = json.loads(backend.to_str())
    to_bytes = _rule(spec)
    keeps_added = _is_byte_level(_parts(spec.get("decoder")))
    special = special_ids | _unknown(spec, backend)
    added: dict[int, AddedToken] = backend.get_added_tokens_decoder()
    table = [b""] * (max(backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1)
    for text, token_id in backend.get_vocab(with_added_tokens=True).items():
        if token_id in special:
            continue
        if token_id not in added:
            table[token_id] = to_bytes(text)
        elif not added[token_id].special:
            table[token_id] = text.encode() if keeps_added else to_bytes(text)
    return table


def _unknown(spec: dict[str, Any], backend: Backend) -> set[int]:
    """The id that stands for text the vocabulary cannot spell."""
    model = spec["model"]
    if isinstance(model.get("unk_id"), int):
        return {model["unk_id"]}
    token_id = backend.token_to_id(model["unk_token"]) if model.get("unk_token") else None
    return set() if token_id is None else {token_id}


# -- from a decoder to a rule -----------------------------------------------------------------------------------------


def _rule(spec: dict[str, Any]) -> ToBytes:
    parts = _parts(spec.get("decoder"))
    if spec["model"]["type"] in ("WordPiece", "WordLevel"):
        raise _refused(spec["model"]["type"], "its tokens are words, and the spaces between them are lost")
    if not parts:
        raise _refused("none", "tokens are then joined with spaces that are in none of them")
    if _is_byte_level(parts):
        return _from_byte_chars
    replaced: list[tuple[str, str]] = []
    by_byte = fused = False
    for part in parts:
        kind = part["type"]
        if kind == "Replace" and "String" in part["pattern"]:
            replaced.append((part["pattern"]["String"], part["content"]))
        elif kind == "Metaspace":
            replaced.append((part.get("replacement", _SPACE_MARK), " "))
        elif kind == "ByteFallback":
            by_byte = True
        elif kind == "Fuse":
            fused = True
        elif not (kind == "Strip" and fused and part["content"] == " "):  # which then is only about the ends of a text
            raise _refused(
                " and ".join(each["type"] for each in parts), f"{kind} changes tokens by what is beside them"
            )
    return lambda text: _from_marks(text, replaced, by_byte=by_byte)


def _is_byte_level(parts: list[dict[str, Any]]) -> bool:
    return any(part["type"] == "ByteLevel" for part in parts)


def _refused(decoder: str, why: str) -> RootformError:
    return RootformError(
        f"the tokenizer's decoder ({decoder}) does not say which bytes its tokens stand for: {why}; "
        "byte-level BPE and SentencePiece tokenizers do",
        status=500,
    )


def _parts(decoder: dict[str, Any] | None) -> list[dict[str, Any]]:
    if decoder is None:
        return []
    if decoder["type"] != "Sequence":
        return [decoder]
    return [part for inner in decoder["decoders"] for part in _parts(inner)]


def _from_marks(text: str, replaced: list[tuple[str, str]], *, by_byte: bool) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(text) if by_byte else None
    if byte:
        return bytes([int(byte[1], 16)])
    for mark, content in replaced:
        text = text.replace(mark, content)
    return text.encode()


# -- byte-level -------------------------------------------------------------------------------------------------------


def _byte_chars() -> dict[str, int]:
    """GPT-2's table: the printable character that stands for each byte (openai/gpt-2, encoder.py)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF_CHAR = _byte_chars()
CHAR_OF_BYTE = {byte: char for char, byte in _BYTE_OF_CHAR.items()}
"""The character that stands for each byte in a byte-level vocabulary."""


def _from_byte_chars(text: str) -> bytes:
    if all(char in _BYTE_OF_CHAR for char in text):
        return bytes(_BYTE_OF_CHAR[char] for char in text)
    return text.encode()
