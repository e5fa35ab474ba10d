"""Stop strings: text up to the first one, and nothing of it ever let out early."""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Watches text for stop strings, however the text is cut into pieces.

    The string that is complete first wins (of two that end together, the longer), so the answer does not depend on
    how the text arrives.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(sorted(stops, key=len, reverse=True))
        self._held = ""
        self.matched: str | None = None

    def push(self, text: str) -> str:
        """More text; the part that may be shown now. With a match: the text before it, and nothing after that."""
        if not self._stops:
            return text
        if self.matched is not None:
            return ""
        self._held += text
        first = self._first_match()
        if first is not None:
            end, self.matched = first
            shown, self._held = self._held[: end - len(self.matched)], ""
            return shown
        keep = self._could_begin_a_stop()
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def flush(self) -> str:
        """No more text comes: what was held back."""
        shown, self._held = self._held, ""
        return shown

    def _first_match(self) -> tuple[int, str] | None:
        """Where the first complete stop string ends, and which it is."""
        found = [(at + len(stop), stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        return min(found, key=lambda match: match[0]) if found else None

    def _could_begin_a_stop(self) -> int:
        """Length of the longest tail of the held text that is the beginning of a stop string."""
        longest = min(len(self._held), len(self._stops[0]) - 1)
        for n in range(longest, 0, -1):
            tail = self._held[-n:]
            if any(stop.startswith(tail) for stop in self._stops if len(stop) > n):
                return n
        return 0
