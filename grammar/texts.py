"""Captured texts, each with one id, as they grow byte by byte."""

from __future__ import annotations

NO_TEXT = 0
"""Nothing is captured."""

NOTHING_YET = 1
"""The captured text b""."""

_TEXT_BYTES = 250


class Texts:
    """A text is the text before and one byte more. Ids are never reused."""

    def __init__(self) -> None:
        self._longer: dict[tuple[int, int], int] = {}
        self._before = [NO_TEXT, NO_TEXT]
        self._last = bytearray(2)
        self._lengths = [0, 0]

    @property
    def nbytes(self) -> int:
        """Memory of all texts, estimated."""
        return _TEXT_BYTES * len(self._before)

    def of(self, data: bytes) -> int:
        """The id of a text."""
        text = NOTHING_YET
        for byte in data:
            text = self.longer(text, byte)
        return text

    def longer(self, text: int, byte: int) -> int:
        """The text with a byte more; NO_TEXT stays."""
        if text == NO_TEXT:
            return NO_TEXT
        known = self._longer.get((text, byte))
        if known is None:
            known = self._longer[text, byte] = len(self._before)
            self._before.append(text)
            self._last.append(byte)
            self._lengths.append(self._lengths[text] + 1)
        return known

    def length(self, text: int) -> int:
        """Its bytes."""
        return self._lengths[text]

    def read(self, text: int, start: int = 0) -> bytes:
        """The text from byte `start` on."""
        data = bytearray()
        for _ in range(self._lengths[text] - start):
            data.append(self._last[text])
            text = self._before[text]
        data.reverse()
        return bytes(data)
