"""Regular expressions to a tree: the common syntax of Python's `re` and ECMA-262.

What one of the two dialects alone knows is taken in that dialect; where they differ in meaning, `dialect` decides:
`python` has Unicode `\\d \\w \\s`, `ecma` has ASCII `\\d \\w`, and its dot leaves out all four line ends. `$` is the
end of the text in both. Groups only group; lazy quantifiers match the same texts as greedy ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from . import chars
from .chars import CodePoints
from .errors import GrammarError

Dialect = Literal["python", "ecma"]


@dataclass(frozen=True)
class Chars:
    """One character of a set."""

    members: CodePoints


@dataclass(frozen=True)
class Sequence:
    """The items one after the other."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """Any one of the items."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """Between lo and hi times the item; hi None: any number. column: where the quantifier stands."""

    item: Node
    lo: int
    hi: int | None
    column: int


@dataclass(frozen=True)
class Anchor:
    """The start (`^`) or the end (`$`) of the text."""

    kind: Literal["^", "$"]
    column: int


@dataclass(frozen=True)
class LookAhead:
    """What follows begins with the item; negative: does not."""

    item: Node
    negative: bool
    column: int


Node = Chars | Sequence | Choice | Repeat | Anchor | LookAhead

_SIMPLE = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11}
_REFUSED_GROUPS = {
    "(?<=": ("look-behind is not supported", "move that text into the match"),
    "(?<!": ("look-behind is not supported", "exclude that text in the pattern before it"),
    "(?P=": ("back-references are not regular", "spell the repeated text out"),
    "(?>": ("atomic groups are not supported", "write a plain group"),
    "(?(": ("conditional groups are not supported", "write the alternatives out"),
}
_LINE_ENDS = {"python": "\n", "ecma": "\n\r\u2028\u2029"}
_ECMA_SPACE = chars.characters("\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff")
_CATEGORY_NAMES = {
    "Letter": "L", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Mark": "M", "Number": "N",
    "Decimal_Number": "Nd", "Punctuation": "P", "Symbol": "S", "Separator": "Z", "Space_Separator": "Zs", "Other": "C",
}  # fmt: skip
_QUANTIFIER = re.compile(r"\{(\d*)(,?)(\d*)\}")


def parse(pattern: str, dialect: Dialect) -> Node:
    """The tree of `pattern`. Raises GrammarError, with the column, for what is broken or not supported."""
    return _Parser(pattern, dialect).whole()


class _Parser:
    def __init__(self, pattern: str, dialect: Dialect) -> None:
        self.text = pattern
        self.at = 0
        self.dialect: Dialect = dialect
        self.ignore_case = False
        self.dot_all = False
        self.ascii = dialect == "ecma"
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
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            item = self.atom()
            if item is not None:
                items.append(self.quantified(item))
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def quantified(self, item: Node) -> Node:
        start = self.at
        bounds = self.quantifier()
        if bounds is None:
            return item
        if isinstance(item, Anchor | LookAhead):
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
            return Anchor("^" if char == "^" else "$", start + 1)
        if char == "\\":
            return self.escape(start)
        return Chars(self.cased(chars.characters(char)))

    def not_line_end(self) -> CodePoints:
        return chars.complement(chars.characters(_LINE_ENDS[self.dialect]))

    # -- groups -----------------------------------------------------------------------------------------------

    def group(self, start: int) -> Node | None:
        flags = (self.ignore_case, self.dot_all, self.ascii)
        look: str | None = None
        if self.take("?"):
            if self.take("#"):
                return self.comment(start)
            look = self.group_kind(start)
        self.depth += 1
        if self.depth > 100:
            raise self.error("groups are nested more than 100 deep", "(", start, "use fewer groups")
        inner = self.choice()
        self.depth -= 1
        if not self.take(")"):
            raise self.error("this group is not closed", "(", start, "write '\\(' for the character")
        self.ignore_case, self.dot_all, self.ascii = flags
        return LookAhead(inner, look == "!", start + 1) if look in ("=", "!") else inner

    def group_kind(self, start: int) -> str:
        for opening, (reason, rewrite) in _REFUSED_GROUPS.items():
            if self.text.startswith(opening, start):
                raise self.error(reason, opening, start, rewrite)
        for sign in (":", "=", "!"):
            if self.take(sign):
                return sign
        named = re.compile(r"P?<\w+>").match(self.text, self.at)
        if named:
            self.at = named.end()
            return ":"
        scoped = re.compile(r"([aimsux]*)(?:-([imsx]+))?:").match(self.text, self.at)
        if scoped:
            self.set_flags(scoped[1], True, start)
            self.set_flags(scoped[2] or "", False, start)
            self.at = scoped.end()
            return ":"
        raise self.error("this kind of group is not known", self.text[start : start + 3], start)

    def comment(self, start: int) -> None:
        end = self.text.find(")", self.at)
        if end < 0:
            raise self.error("this comment is not closed", "(?#", start)
        self.at = end + 1

    def leading_flags(self) -> None:
        while found := re.compile(r"\(\?([aimsux]+)\)").match(self.text, self.at):
            self.set_flags(found[1], True, self.at)
            self.at = found.end()

    def set_flags(self, letters: str, value: bool, start: int) -> None:
        for letter in letters:
            if letter in "mx" and value:
                raise self.error(f"the flag {letter!r} is not supported", f"(?{letter}", start, "leave it out")
            if letter == "i":
                self.ignore_case = value
            elif letter == "s":
                self.dot_all = value
            elif letter in "au":
                self.ascii = letter == "a"

    # -- classes ----------------------------------------------------------------------------------------------

    def bracket(self, start: int) -> CodePoints:
        negated = self.take("^")
        members: list[CodePoints] = []
        first = True
        while not self.peek("]") or (first and self.dialect == "python"):
            if self.at >= len(self.text):
                raise self.error("this class is not closed", "[", start, "write '\\[' for the character")
            members.append(self.class_item())
            first = False
        self.at += 1
        result = self.cased(chars.union(*members))
        return chars.complement(result) if negated else result

    def class_item(self) -> CodePoints:
        start = self.at
        low = self.class_atom()
        if not self.peek("-") or self.text[self.at + 1 : self.at + 2] in ("]", ""):
            return low
        self.at += 1
        high = self.class_atom()
        if not (_is_single(low) and _is_single(high)):
            if self.dialect == "ecma":
                return chars.union(low, high, chars.characters("-"))
            raise self.error("a range needs a character at both ends", self.text[start : self.at], start)
        if low[0][0] > high[0][0]:
            raise self.error("the range is out of order", self.text[start : self.at], start)
        return chars.code_points([(low[0][0], high[0][0])])

    def class_atom(self) -> CodePoints:
        start = self.at
        char = self.text[start]
        self.at += 1
        if char != "\\":
            return self.literal(char, start)
        if self.take("b"):
            return chars.characters("\b")
        return self.escaped_set(start)

    # -- escapes ----------------------------------------------------------------------------------------------

    def escape(self, start: int) -> Node:
        letter = self.text[self.at : self.at + 1]
        if letter in ("A", "Z", "z"):
            self.at += 1
            return Anchor("^" if letter == "A" else "$", start + 1)
        if letter in ("b", "B"):
            raise self.error("word boundaries are not supported", "\\" + letter, start, "spell the separator out")
        if letter in tuple("123456789k"):
            raise self.error("back-references are not regular", "\\" + letter, start, "spell the repeated text out")
        return Chars(self.cased(self.escaped_set(start)))

    def escaped_set(self, start: int) -> CodePoints:
        """What the escape stands for whose backslash was just read."""
        letter = self.text[self.at : self.at + 1]
        self.at += 1
        if letter.lower() in ("d", "w", "s"):
            members = self.shorthand(letter.lower())
            return chars.complement(members) if letter.isupper() else members
        if letter in ("p", "P"):
            return self.property(start, negated=letter == "P")
        if letter in _SIMPLE:
            return _one(_SIMPLE[letter])
        if letter == "a" and self.dialect == "python":
            return _one(7)
        if letter in ("x", "u", "U", "c", "0"):
            return self.numeric(letter, start)
        if letter and (not letter.isalnum() or not letter.isascii()):
            return self.literal(letter, start)
        raise self.error("this escape is not known", "\\" + letter, start, "leave the backslash out for the letter")

    def shorthand(self, letter: str) -> CodePoints:
        if letter == "d":
            return chars.characters("0123456789") if self.ascii else chars.decimal_digits()
        if letter == "w":
            ascii_word = chars.code_points([(48, 57), (65, 90), (95, 95), (97, 122)])
            return ascii_word if self.ascii else chars.word_characters()
        if self.dialect == "ecma":
            return chars.union(_ECMA_SPACE, chars.code_points([(0x2000, 0x200A)]))
        return chars.characters(" \t\n\r\f\v") if self.ascii else chars.white_space()

    def property(self, start: int, *, negated: bool) -> CodePoints:
        found = re.compile(r"\{(?:(?:gc|General_Category)=)?(\w+)\}").match(self.text, self.at)
        name = found[1] if found else ""
        members = chars.ANY_CHARACTER if name == "Any" else chars.code_points([(0, 127)]) if name == "ASCII" else ()
        if found and not members:
            short = _CATEGORY_NAMES.get(name, name)
            members = chars.category(short) if len(short) <= 2 else ()
        if not found or not members:
            raise self.error("only general categories are known", "\\p", start, "write \\p{L}, \\p{Lu} or a class")
        self.at = found.end()
        return chars.complement(members) if negated else members

    def numeric(self, letter: str, start: int) -> CodePoints:
        """\\xXX, \\uXXXX, \\u{X...}, \\UXXXXXXXX, \\cX, \\0 and (in Python) \\0oo."""
        if letter == "0":
            octal = re.compile("[0-7]{0,2}" if self.dialect == "python" else "").match(self.text, self.at)
            self.at = octal.end() if octal else self.at
            return _one(int("0" + (octal[0] if octal else ""), 8))
        if letter == "c":
            control = self.text[self.at : self.at + 1]
            if not (control.isascii() and control.isalpha()):
                raise self.error("a letter must follow", "\\c", start)
            self.at += 1
            return _one(ord(control) % 32)
        if letter == "u" and self.peek("{"):
            found = re.compile(r"\{([0-9A-Fa-f]{1,8})\}").match(self.text, self.at)
        else:
            size = {"x": 2, "u": 4, "U": 8}[letter]
            found = re.compile(rf"([0-9A-Fa-f]{{{size}}})").match(self.text, self.at)
        if not found:
            raise self.error("hexadecimal digits must follow", "\\" + letter, start)
        self.at = found.end()
        point = int(found[1], 16)
        low = re.compile(r"\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})").match(self.text, self.at)
        if 0xD800 <= point <= 0xDBFF and low:
            self.at = low.end()
            point = 0x10000 + (point - 0xD800 << 10) + int(low[1], 16) - 0xDC00
        if 0xD800 <= point <= 0xDFFF or point > 0x10FFFF:
            raise self.error("this is not a character", self.text[start : self.at], start)
        return _one(point)

    # -- small things -----------------------------------------------------------------------------------------

    def literal(self, char: str, start: int) -> CodePoints:
        if 0xD800 <= ord(char) <= 0xDFFF:
            raise self.error("a lone surrogate is not a character", f"\\u{ord(char):04x}", start)
        return chars.characters(char)

    def cased(self, members: CodePoints) -> CodePoints:
        return chars.any_case(members) if self.ignore_case else members

    def peek(self, sign: str) -> bool:
        return self.text.startswith(sign, self.at)

    def take(self, sign: str) -> bool:
        found = self.text.startswith(sign, self.at)
        self.at += len(sign) * found
        return found

    def error(self, reason: str, keyword: str, at: int | None = None, rewrite: str = "") -> GrammarError:
        return GrammarError(f"regex, column {(self.at if at is None else at) + 1}", keyword, reason, rewrite)


def _one(point: int) -> CodePoints:
    return ((point, point),)


def _is_single(members: CodePoints) -> bool:
    return len(members) == 1 and members[0][0] == members[0][1]
