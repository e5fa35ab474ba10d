"""Reading the text of a grammar: a cursor that knows lines and columns, and the quoted strings notations share."""

from __future__ import annotations

import re
from collections.abc import Callable

from . import chars
from .cfg import Body, Either, Series, Terminal
from .chars import CodePoints
from .errors import GrammarError
from .expr import POOL

MOST_NESTED = 100
"""Groups within groups; deeper ones are refused, since reading them calls itself."""

_ESCAPES = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "a": 7, "b": 8, "0": 0}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_BOUNDS = re.compile(r"\{\s*(\d+)\s*(?:(,)\s*(\d*)\s*)?\}|\{\s*,\s*(\d+)\s*\}")
MOST_TIMES = 1_000_000


class Cursor:
    """A place in a text. comments: what a comment begins with, as a regex; it ends with its line."""

    def __init__(self, text: str, comments: str) -> None:
        self.text = text
        self.at = 0
        self._blank = re.compile(rf"(?:[ \t\r\n\f\ufeff]|(?:{comments})[^\n]*)*")
        self._inline = re.compile(r"[ \t\f]*")

    def skip(self) -> bool:
        """Pass blanks, line ends and comments; whether a line ended."""
        return "\n" in self._passed(self._blank)

    def skip_inline(self) -> None:
        """Pass blanks within the line."""
        self._passed(self._inline)

    def peek(self, sign: str) -> bool:
        """Whether `sign` comes next."""
        return self.text.startswith(sign, self.at)

    def take(self, sign: str) -> bool:
        """Pass `sign`, if it comes next."""
        found = self.peek(sign)
        self.at += len(sign) * found
        return found

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What the pattern matches here, which is passed."""
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    @property
    def done(self) -> bool:
        """Whether the text is over."""
        return self.at >= len(self.text)

    def where(self, at: int | None = None) -> str:
        """A place (None: this one) for messages; lines and columns count from 1."""
        at = self.at if at is None else at
        line = self.text.count("\n", 0, at) + 1
        return f"grammar, line {line}, column {at - self.text.rfind(chr(10), 0, at)}"

    def where_next(self) -> str:
        """The place behind the blanks that come next, which are not passed."""
        found = self._blank.match(self.text, self.at)
        return self.where(found.end() if found else None)

    def error(self, reason: str, keyword: str = "", at: int | None = None, rewrite: str = "") -> GrammarError:
        """A refusal of what stands at a place (None: here)."""
        return GrammarError(self.where(at), keyword, reason, rewrite)

    def unexpected(self, wanted: str) -> GrammarError:
        """A refusal of what comes next."""
        shown = self.text[self.at : self.at + 12].split("\n")[0] if not self.done else ""
        return self.error(
            f"{wanted} was expected here", shown or ("end of line" if not self.done else "end of grammar")
        )

    def _passed(self, pattern: re.Pattern[str]) -> str:
        start = self.at
        found = pattern.match(self.text, start)
        self.at = found.end() if found else start
        return self.text[start : self.at]

    # -- what notations share ---------------------------------------------------------------------------------

    def quoted(self, quote: str, also: str = "") -> str:
        """The text between quotes, the first of which comes next. also: characters that a backslash may escape."""
        start = self.at
        self.at += 1
        out: list[str] = []
        while not self.take(quote):
            if self.done or self.peek("\n"):
                raise self.error("this string is not closed on its line", quote, start, "write '\\n' for a line end")
            out.append(self.character(quote + "\\" + also))
        return "".join(out)

    def character(self, escapable: str) -> str:
        """One character of a string or class, escaped or not. escapable: what a backslash may stand before."""
        start = self.at
        char = self.text[self.at]
        self.at += 1
        if char != "\\":
            return self._scalar(ord(char), start)
        letter = self.text[self.at : self.at + 1]
        self.at += 1
        if letter and letter in escapable:
            return letter
        if letter in _HEX_DIGITS:
            return self._scalar(self._code(letter, start), start)
        if letter in _ESCAPES:
            return chr(_ESCAPES[letter])
        raise self.error("this escape is not known", f"\\{letter}", start, "write '\\\\' for a backslash")

    def _code(self, letter: str, start: int) -> int:
        size = _HEX_DIGITS[letter]
        digits = self.text[self.at : self.at + size]
        if not re.fullmatch(rf"[0-9A-Fa-f]{{{size}}}", digits):
            raise self.error(f"{size} hexadecimal digits must follow", f"\\{letter}", start)
        self.at += size
        code = int(digits, 16)
        low = re.compile(r"\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})").match(self.text, self.at)
        if 0xD800 <= code <= 0xDBFF and low:
            self.at = low.end()
            code = 0x10000 + (code - 0xD800 << 10) + int(low[1], 16) - 0xDC00
        return code

    def _scalar(self, code: int, start: int) -> str:
        if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
            raise self.error("this is not a character", self.text[start : self.at], start)
        return chr(code)

    def bounds(self) -> tuple[int, int | None] | None:
        """`{m}`, `{m,}`, `{m,n}` or `{,n}`, if it comes next."""
        start = self.at
        found = self.match(_BOUNDS)
        if found is None:
            return None
        lo = int(found[1] or 0)
        hi = int(found[4]) if found[4] else lo if not found[2] else int(found[3]) if found[3] else None
        return self.checked_bounds(lo, hi, start)

    def checked_bounds(self, lo: int, hi: int | None, start: int) -> tuple[int, int | None]:
        """The bounds of a repetition written from `start` to here, if they make sense."""
        if hi is not None and lo > hi:
            raise self.error("the bounds are out of order", self.text[start : self.at], start)
        if max(lo, hi or 0) > MOST_TIMES:
            raise self.error(f"more than {MOST_TIMES:,} repetitions", self.text[start : self.at], start)
        return lo, hi


def text_terminal(text: str, ignore_case: bool = False) -> Terminal:
    """Exactly this text, or in any case."""
    if not ignore_case:
        return Terminal(POOL.literal(text.encode()))
    return Terminal(POOL.concat(*[chars.utf8(chars.any_case(chars.characters(c))) for c in text]))


def class_terminal(members: CodePoints) -> Terminal:
    """One character of the set."""
    return Terminal(chars.utf8(members))


def series(items: list[Body]) -> Body:
    """The items one after the other."""
    return items[0] if len(items) == 1 else Series(tuple(items))


def either(items: list[Body]) -> Body:
    """One of the items."""
    return items[0] if len(items) == 1 else Either(tuple(items))


JsonExpression = Callable[[str], int]
"""From the text of a JSON Schema to the expression of the texts it accepts."""
