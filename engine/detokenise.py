"""Token bytes to text as they come, never half a character."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from .stops import StopMatcher


class Detokeniser:
    """The text of one sequence: bytes of its tokens, decoded as UTF-8 and cut at stop strings.

    Bytes that can never become a character turn into U+FFFD, as do those of a character left unfinished at the end.
    """

    def __init__(self, token_bytes: Sequence[bytes], stops: Sequence[str] = ()) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_between = True  # characters: the decoder holds nothing back
        self._stops = StopMatcher(stops)

    @property
    def matched_stop(self) -> str | None:
        """The stop string that ended the text."""
        return self._stops.matched

    def bytes_of(self, token_id: int) -> bytes:
        """The token's bytes; empty for ids beyond the tokenizer (padding rows of some models) and special tokens."""
        return self._token_bytes[token_id] if token_id < len(self._token_bytes) else b""

    def push(self, token_id: int) -> str:
        """The text that may be shown now that this token came; often less or more than the token's own."""
        data = self.bytes_of(token_id)
        if self._is_between and data.isascii():
            return self._stops.push(data.decode("ascii"))
        text = self._decoder.decode(data)
        self._is_between = not self._decoder.getstate()[0]
        return self._stops.push(text)

    def finish(self) -> str:
        """The sequence has ended: the text still held back."""
        shown = self._stops.push(self._decoder.decode(b"", final=True))
        return shown + self._stops.flush()
