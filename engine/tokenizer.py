"""Text to token ids and the bytes behind every id, for any `transformers` tokenizer in a local folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from .types import Message, RootformError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE_MARK = "▁"  # SentencePiece's sign for a space


class Tokenizer:
    """Encodes prompts and knows each token's bytes. Never changes; may be used from many threads.

    token_bytes: by id; b"" for special tokens and unused ids, which no constraint may produce.
    eos_ids: the tokens that end the output.
    """

    def __init__(self, wrapped: Any, eos_ids: Iterable[int] = ()) -> None:
        """wrapped: a transformers tokenizer. eos_ids: those the model's own files name; its own are added."""
        backend = getattr(wrapped, "backend_tokenizer", None)
        if backend is None:
            raise RootformError(
                f"{type(wrapped).__name__} has no fast tokenizer (tokenizer.json) behind it; "
                "convert it with transformers and save it into the model folder"
            )
        self._wrapped = wrapped
        # Used directly, for transformers sets truncation on each call, which is not safe between threads.
        self._backend: Backend = Backend.from_str(backend.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        self.token_bytes: list[bytes] = _token_bytes(self._backend, set(wrapped.all_special_ids))
        own = [] if wrapped.eos_token_id is None else [wrapped.eos_token_id]
        self.eos_ids: frozenset[int] = frozenset(own) | frozenset(eos_ids)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """The tokenizer of a model folder. Raises RootformError when there is none that can be read."""
        from transformers import AutoTokenizer

        try:
            wrapped = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise RootformError(f"no usable tokenizer in {folder}: {error}", status=500) from error
        return cls(wrapped, _eos_ids_of(folder))

    @property
    def has_chat_template(self) -> bool:
        return bool(self._wrapped.chat_template)

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of a plain prompt, with the special tokens (BOS) this tokenizer puts around text by itself."""
        return tuple(self._backend.encode(text, add_special_tokens=True).ids)

    def encode_bare(self, text: str) -> tuple[int, ...]:
        """Ids of text in which all special tokens are already written out."""
        return tuple(self._backend.encode(text, add_special_tokens=False).ids)

    def render_chat(self, messages: Sequence[Message], *, continue_final: bool = False) -> str:
        """The prompt text the model's chat template makes of the messages.

        continue_final: the last message is an unfinished assistant turn; the text ends inside it. Raises RootformError
        for what the template refuses.
        """
        if not self.has_chat_template:
            raise RootformError(
                "this model has no chat template; give `prompt` instead of `messages`", param="messages"
            )
        if not messages:
            raise RootformError("messages is empty; give at least one", param="messages")
        if continue_final and messages[-1].role != "assistant":
            raise RootformError(
                f"continue_final asks to continue an assistant message, but the last one is of {messages[-1].role!r}",
                param="messages",
            )
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text = self._wrapped.apply_chat_template(
                turns,
                tokenize=False,
                add_generation_prompt=not continue_final,
                continue_final_message=continue_final,
            )
        except (jinja2.TemplateError, ValueError) as error:
            raise RootformError(f"the model's chat template refused the messages: {error}", param="messages") from error
        assert isinstance(text, str)
        return text

    def encode_chat(self, messages: Sequence[Message], *, continue_final: bool = False) -> tuple[int, ...]:
        """Ids of the rendered chat; the template writes its special tokens itself."""
        return self.encode_bare(self.render_chat(messages, continue_final=continue_final))


def _token_bytes(backend: Backend, special_ids: set[int]) -> list[bytes]:
    """The bytes of every id, by the rule of the tokenizer's decoder."""
    to_bytes = _RULES[_kind(json.loads(backend.to_str()))]
    added: dict[int, AddedToken] = backend.get_added_tokens_decoder()
    table = [b""] * (max(backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1)
    for text, token_id in backend.get_vocab(with_added_tokens=True).items():
        if token_id in added:
            is_special = added[token_id].special or token_id in special_ids
            table[token_id] = b"" if is_special else added[token_id].content.encode()
        elif token_id not in special_ids:
            table[token_id] = to_bytes(text)
    return table


def _kind(spec: dict[str, Any]) -> str:
    """Which rule turns this tokenizer's tokens into bytes: the name of one of _RULES."""
    parts = {part["type"]: part for part in _parts(spec.get("decoder"))}
    if "ByteLevel" in parts:
        return "byte-level"
    if "ByteFallback" in parts:
        return "byte-fallback"
    if "Metaspace" in parts or parts.get("Replace", {}).get("content") == " ":
        return "space-mark"
    if parts.keys() <= {"Fuse"}:
        return "plain"
    raise RootformError(
        f"the tokenizer's decoder ({', '.join(parts)}) does not say which bytes its tokens stand for; "
        "byte-level BPE and SentencePiece tokenizers do",
        status=500,
    )


def _parts(decoder: dict[str, Any] | None) -> list[dict[str, Any]]:
    if decoder is None:
        return []
    return decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]


def _byte_chars() -> dict[str, int]:
    """GPT-2's table: the printable character that stands for each byte (openai/gpt-2, encoder.py)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF_CHAR = _byte_chars()


def _from_byte_chars(text: str) -> bytes:
    if all(char in _BYTE_OF_CHAR for char in text):
        return bytes(_BYTE_OF_CHAR[char] for char in text)
    return text.encode()


def _from_space_mark(text: str) -> bytes:
    return text.replace(_SPACE_MARK, " ").encode()


def _from_byte_fallback(text: str) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(text)
    return bytes([int(byte[1], 16)]) if byte else _from_space_mark(text)


_RULES = {
    "byte-level": _from_byte_chars,
    "byte-fallback": _from_byte_fallback,
    "space-mark": _from_space_mark,
    "plain": str.encode,
}


def _eos_ids_of(folder: Path) -> set[int]:
    """What generation_config.json and config.json call the end of the output."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        file = folder / name
        if file.is_file():
            ids = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
            found.update([ids] if isinstance(ids, int) else ids or [])
    return found
