"""Regular expressions to a tree: the common syntax of Python's `re` and ECMA-262.

What one of the two dialects alone knows is taken in that dialect; where they differ in meaning, `dialect` decides:
`python` has Unicode `\\d \\w \\s` and a `$` that also stands before a line end at the end of the text; `ecma` has ASCII
`\\d \\w`, and its dot leaves out all four line ends. Groups only group; lazy quantifiers match the same texts as greedy
ones. Look-behind may be of any width.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

import msgspec

from . import chars
from .chars import CodePoints
from .regex_scan import LINE_ENDS, Dialect, Scanner


class Chars(msgspec.Struct, frozen=True, gc=False):
    """One character of a set."""

    members: CodePoints


class Text(msgspec.Struct, frozen=True, gc=False):
    """Characters one after the other, each by itself: printable ones of ASCII that JSON never escapes."""

    text: str


class Sequence(msgspec.Struct, frozen=True, gc=False):
    """The items one after the other."""

    items: tuple[Node, ...]


class Choice(msgspec.Struct, frozen=True, gc=False):
    """Any one of the items."""

    items: tuple[Node, ...]


class Repeat(msgspec.Struct, frozen=True, gc=False):
    """Between lo and hi times the item; hi None: any number. column: where the quantifier stands."""

    item: Node
    lo: int
    hi: int | None
    column: int


class Anchor(msgspec.Struct, frozen=True, gc=False):
    """The start (`^`) or the end (`$`) of the text, and of nothing less."""

    kind: Literal["^", "$"]
    column: int


class LookAhead(msgspec.Struct, frozen=True, gc=False):
    """What follows begins with the item; negative: does not."""

    item: Node
    negative: bool
    column: int


class LookBehind(msgspec.Struct, frozen=True, gc=False):
    """What comes before ends with the item; negative: does not."""

    item: Node
    negative: bool
    column: int


Look = Anchor | LookAhead | LookBehind
Node = Chars | Text | Sequence | Choice | Repeat | Look

_REFUSED_GROUPS = {
    "(?P=": ("back-references are not regular", "spell the repeated text out"),
    "(?>": ("atomic groups are not supported", "write a plain group"),
    "(?(": ("conditional groups are not supported", "write the alternatives out"),
}
_ANCHOR = re.compile(r"[\^$]|\\[bBAZz]")
_ORDINARY = re.compile(r"[A-Za-z0-9 _@%&=:;,<>~'!/-]{2,}(?![*+?{])")
_FLAGS = re.compile(r"\(\?([aimsux]+)\)")
_BLANK = re.compile(r"(?:\s|#[^\n]*)*")
_QUANTIFIER = re.compile(r"\{(\d*)(,?)(\d*)\}")


@lru_cache(256)
def parse(pattern: str, dialect: Dialect) -> Node:
    """The tree of `pattern`. Raises GrammarError, with the column, for what is broken or not supported."""
    return _Parser(pattern, dialect).whole()


class _Parser(Scanner):
    def __init__(self, pattern: str, dialect: Dialect) -> None:
        super().__init__(pattern, dialect)
        self.depth = 0

    # -- structure --------------------------------------------------------------------------------------------

    def whole(self) -> Node:
        self.leading_flags()
        tree = self.choice()
        if self.at < len(self.text):
            raise self.error("there is no '(' for this", ")", rewrite="write '\\)' for the character")
        return tree

    def choice(self) -> Node:
        items = [self.sequence()]
        while self.take("|"):
            items.append(self.sequence())
        return items[0] if len(items) == 1 else Choice(tuple(items))

    def sequence(self) -> Node:
        items: list[Node] = []
        while self.skip_blanks() and self.text[self.at] not in "|)":
            start = self.at
            item = self.ordinary() or self.atom()
            if item is not None:
                items.append(self.quantified(item, start))
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def skip_blanks(self) -> bool:
        """Pass blanks and comments where the pattern is verbose; whether anything is left."""
        if self.verbose and (found := _BLANK.match(self.text, self.at)):
            self.at = found.end()
        return self.at < len(self.text)

    def quantified(self, item: Node, first: int) -> Node:
        """An item that begins at `first`, as often as what follows it says."""
        if not self.skip_blanks() or self.text[self.at] not in "*+?{":
            return item
        start = self.at
        bounds = self.quantifier()
        if bounds is None:
            return item
        if _ANCHOR.match(self.text, first):
            raise self.error("there is nothing to repeat here", self.text[start], start)
        if bounds[1] is not None and bounds[0] > bounds[1]:
            raise self.error("the bounds are out of order", self.text[start : self.at], start)
        lazy = self.take("?")
        if not lazy and self.peek("+"):
            raise self.error("possessive quantifiers are not supported", "+", rewrite="leave the '+' out")
        after = self.at
        if self.quantifier() is not None:
            raise self.error("a quantifier follows a quantifier", self.text[after], after, "put the first in a group")
        return Repeat(item, bounds[0], bounds[1], start + 1)

    def quantifier(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.take(sign):
                return bounds
        found = _QUANTIFIER.match(self.text, self.at)
        if not found or not (found[1] or (found[3] and self.dialect == "python")):
            return None  # a brace that opens no quantifier is a character
        self.at = found.end()
        lo = int(found[1] or 0)
        return lo, (int(found[3]) if found[3] else None) if found[2] else lo

    def ordinary(self) -> Text | None:
        """Characters that mean themselves, and are not repeated."""
        found = None if self.verbose or self.ignore_case else _ORDINARY.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return Text(found[0])

    def atom(self) -> Node | None:
        start = self.at
        char = self.text[start]
        if char in "*+?":
            raise self.error("there is nothing to repeat here", char, rewrite=f"write '\\{char}' for the character")
        self.at += 1
        if char == "(":
            return self.group(start)
        if char == "[":
            return Chars(self.bracket(start))
        if char == ".":
            return Chars(chars.ANY_CHARACTER if self.dot_all else self.not_line_end())
        if char in "^$":
            return self.anchor(char, start + 1)
        if char == "\\":
            return self.escape(start)
        return Chars(self.cased(chars.characters(char)))

    def not_line_end(self) -> CodePoints:
        return chars.complement(chars.characters(LINE_ENDS[self.dialect]))

    def anchor(self, sign: str, column: int) -> Node:
        """`^` or `$`, of the text or, in several lines, of a line."""
        if self.multi_line:
            other = Chars(self.not_line_end())
            return LookBehind(other, True, column) if sign == "^" else LookAhead(other, True, column)
        if sign == "^" or self.dialect == "ecma":
            return Anchor("^" if sign == "^" else "$", column)
        last = Sequence((Repeat(Chars(chars.characters("\n")), 0, 1, column), Anchor("$", column)))
        return LookAhead(last, False, column)

    # -- groups -----------------------------------------------------------------------------------------------

    def group(self, start: int) -> Node | None:
        flags = (self.ignore_case, self.dot_all, self.ascii, self.multi_line, self.verbose)
        look: str | None = None
        if self.take("?"):
            if self.take("#"):
                return self.comment(start)
            if self.dialect == "ecma" and (found := _FLAGS.match(self.text, start)):
                self.set_flags(found[1], True)  # to the end of the group around
                self.at = found.end()
                return None
            look = self.group_kind(start)
        self.depth += 1
        if self.depth > 100:
            raise self.error("groups are nested more than 100 deep", "(", start, "use fewer groups")
        inner = self.choice()
        self.depth -= 1
        if not self.take(")"):
            raise self.error("this group is not closed", "(", start, "write '\\(' for the character")
        self.ignore_case, self.dot_all, self.ascii, self.multi_line, self.verbose = flags
        if look in ("=", "!"):
            return LookAhead(inner, look == "!", start + 1)
        return LookBehind(inner, look == "<!", start + 1) if look in ("<=", "<!") else inner

    def group_kind(self, start: int) -> str:
        for opening, (reason, rewrite) in _REFUSED_GROUPS.items():
            if self.text.startswith(opening, start):
                raise self.error(reason, opening, start, rewrite)
        for sign in (":", "=", "!", "<=", "<!"):
            if self.take(sign):
                return sign
        named = re.compile(r"P?<\w+>").match(self.text, self.at)
        if named:
            self.at = named.end()
            return ":"
        scoped = re.compile(r"([aimsux]*)(?:-([imsx]+))?:").match(self.text, self.at)
        if scoped:
            self.set_flags(scoped[1], True)
            self.set_flags(scoped[2] or "", False)
            self.at = scoped.end()
            return ":"
        raise self.error("this kind of group is not known", self.text[start : start + 3], start)

    def comment(self, start: int) -> None:
        end = self.text.find(")", self.at)
        if end < 0:
            raise self.error("this comment is not closed", "(?#", start)
        self.at = end + 1

    def leading_flags(self) -> None:
        while found := _FLAGS.match(self.text, self.at):
            self.set_flags(found[1], True)
            self.at = found.end()

    def set_flags(self, letters: str, value: bool) -> None:
        for letter in letters:
            if letter == "i":
                self.ignore_case = value
            elif letter == "s":
                self.dot_all = value
            elif letter == "m":
                self.multi_line = value
            elif letter == "x":
                self.verbose = value
            elif letter in "au":
                self.ascii = letter == "a"

    # -- escapes ----------------------------------------------------------------------------------------------

    def escape(self, start: int) -> Node:
        letter = self.text[self.at : self.at + 1]
        if letter in ("A", "Z", "z"):
            self.at += 1
            return Anchor("^" if letter == "A" else "$", start + 1)
        if letter in ("b", "B"):
            self.at += 1
            return self.boundary(start + 1, inside=letter == "B")
        if letter in tuple("123456789k"):
            raise self.error("back-references are not regular", "\\" + letter, start, "spell the repeated text out")
        return Chars(self.cased(self.escaped_set(start)))

    def boundary(self, column: int, *, inside: bool) -> Node:
        """A place between a word character and another, or the end; inside: any other place."""
        word = Chars(self.cased(self.shorthand("w")))

        def place(before: bool, after: bool) -> Node:
            return Sequence((LookBehind(word, not before, column), LookAhead(word, not after, column)))

        return Choice((place(True, inside), place(False, not inside)))
