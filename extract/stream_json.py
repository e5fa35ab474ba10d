"""JSON text made readable while it streams: every line is given out as soon as it is complete."""

from __future__ import annotations

_INDENT = "  "
_SPACE = " \t\n\r"


class PrettyPrinter:
    """Lays out one JSON value as `json.dumps(indent=2)` would, fed piece by piece; the text of values is kept as it is.

    The pieces joined must be JSON; then what was returned, joined, is the same value.
    """

    def __init__(self) -> None:
        self._line = ""
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._just_opened = False  # a bracket whose first item, or end, has yet to come

    def feed(self, text: str) -> str:
        """The lines completed by this piece, each with its newline; "" when none was."""
        done: list[str] = []
        for character in text:
            if self._in_string:
                self._continue_string(character)
            elif character not in _SPACE:
                self._structure(character, done)
        return "".join(done)

    def finish(self) -> str:
        """The last line, with its newline; "" when nothing is left."""
        line, self._line = self._line, ""
        return line + "\n" if line else ""

    def _continue_string(self, character: str) -> None:
        self._line += character
        if self._escaped:
            self._escaped = False
        elif character == "\\":
            self._escaped = True
        elif character == '"':
            self._in_string = False

    def _structure(self, character: str, done: list[str]) -> None:
        if character in "]}":
            self._depth -= 1
            if not self._just_opened:
                self._break(done)
            self._just_opened = False
            self._line += character
            return
        if self._just_opened:
            self._break(done)
            self._just_opened = False
        self._line += ": " if character == ":" else character
        if character == ",":
            self._break(done)
        elif character in "[{":
            self._depth += 1
            self._just_opened = True
        elif character == '"':
            self._in_string = True

    def _break(self, done: list[str]) -> None:
        done.append(self._line + "\n")
        self._line = _INDENT * self._depth
