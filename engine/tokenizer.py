"""Text to token ids and the bytes behind every id, for any `transformers` tokenizer in a local folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from tokenizers import Tokenizer as Backend

from ..grammar.tool_calls import ToolFormat, format_of_template
from .tekken import read_tekken
from .token_bytes import bytes_of_tokens
from .types import Message, RootformError

_BEFORE = "\n"  # what text is put behind to be encoded as if inside: a token of its own where words have marks


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
        self.token_bytes: list[bytes] = bytes_of_tokens(self._backend, set(wrapped.all_special_ids))
        self._adds_space = self._spells("a") == b" a" and self._spells(_BEFORE) == f" {_BEFORE}".encode()
        own = [] if wrapped.eos_token_id is None else [wrapped.eos_token_id]
        self.eos_ids: frozenset[int] = frozenset(own) | frozenset(eos_ids)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """The tokenizer of a model folder. Raises RootformError when there is none that can be read.

        A folder that has a tekken.json and no tokenizer.json is read too.
        """
        from transformers import AutoTokenizer, PreTrainedTokenizerFast

        if (folder / "tekken.json").is_file() and not (folder / "tokenizer.json").is_file():
            backend = read_tekken(folder / "tekken.json")
            template = folder / "chat_template.jinja"
            wrapped = PreTrainedTokenizerFast(
                tokenizer_object=backend,
                bos_token="<s>",
                eos_token="</s>",
                chat_template=template.read_text(encoding="utf-8") if template.is_file() else None,
            )
            return cls(wrapped, eos_ids_of(folder))
        try:
            wrapped = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise RootformError(f"no usable tokenizer in {folder}: {error}", status=500) from error
        return cls(wrapped, eos_ids_of(folder))

    @property
    def has_chat_template(self) -> bool:
        return bool(self._wrapped.chat_template)

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of a plain prompt, with the special tokens (BOS) this tokenizer puts around text by itself."""
        return tuple(self._backend.encode(text, add_special_tokens=True).ids)

    def encode_bare(self, text: str) -> tuple[int, ...]:
        """Ids of text in which all special tokens are already written out."""
        return tuple(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_inside(self, text: str) -> tuple[int, ...]:
        """Ids of text that stands behind other text: without the space that some tokenizers put before the first word.

        Where such a one cannot be asked so, with that space: then its bytes are not those of the text.
        """
        if not self._adds_space:
            return self.encode_bare(text)
        ids = self.encode_bare(_BEFORE + text)
        over = len(f" {_BEFORE}".encode())
        for at, token in enumerate(ids):
            if over == 0:
                return ids[at:]
            over -= len(self.token_bytes[token])
        return () if over == 0 else self.encode_bare(text)

    @property
    def tool_format(self) -> ToolFormat | None:
        """How the chat template shows calls of tools; None: in no way that is known."""
        template = self._wrapped.chat_template or ""
        return format_of_template(template if isinstance(template, str) else "\n".join(template.values()))

    def render_chat(self, messages: Sequence[Message], *, continue_final: bool = False, tools: str = "") -> str:
        """The prompt text the model's chat template makes of the messages.

        continue_final: the last message is an unfinished assistant turn; the text ends inside it. tools: as in `Call`.
        Raises RootformError for what the template refuses.
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
        turns = [_turn(message) for message in messages]
        try:
            text = self._wrapped.apply_chat_template(
                turns,
                tools=json.loads(tools) if tools else None,
                tokenize=False,
                add_generation_prompt=not continue_final,
                continue_final_message=continue_final,
            )
        except (jinja2.TemplateError, ValueError) as error:
            raise RootformError(f"the model's chat template refused the messages: {error}", param="messages") from error
        assert isinstance(text, str)
        return text

    def _spells(self, text: str) -> bytes:
        return b"".join(self.token_bytes[token] for token in self.encode_bare(text))

    def encode_chat(
        self, messages: Sequence[Message], *, continue_final: bool = False, tools: str = ""
    ) -> tuple[int, ...]:
        """Ids of the rendered chat; the template writes its special tokens itself."""
        return self.encode_bare(self.render_chat(messages, continue_final=continue_final, tools=tools))


def _turn(message: Message) -> dict[str, object]:
    """A message as chat templates take it: arguments of calls as values."""
    turn: dict[str, object] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.loads(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def eos_ids_of(folder: Path) -> set[int]:
    """What generation_config.json and config.json call the end of the output."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        file = folder / name
        if file.is_file():
            ids = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
            found.update([ids] if isinstance(ids, int) else ids or [])
    return found
