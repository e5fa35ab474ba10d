"""Reading the characters of a regular expression: classes, escapes, flags that change what they mean."""

from __future__ import annotations

import re
from typing import Literal

from . import chars
from .chars import CodePoints
from .errors import GrammarError
from .unicode_extensions import script_extensions
from .unicode_properties import binary_property
from .unicode_scripts import script

Dialect = Literal["python", "ecma"]

_SIMPLE = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11}
LINE_ENDS = {"python": "\n", "ecma": "\n\r\u2028\u2029"}
_ECMA_SPACE = chars.characters("\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff")
_CATEGORY_NAMES = {
    "Letter": "L", "Cased_Letter": "LC", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Titlecase_Letter": "Lt",
    "Modifier_Letter": "Lm", "Other_Letter": "Lo", "Mark": "M", "Nonspacing_Mark": "Mn", "Spacing_Mark": "Mc",
    "Enclosing_Mark": "Me", "Number": "N", "Decimal_Number": "Nd", "Letter_Number": "Nl", "Other_Number": "No",
    "Punctuation": "P", "Connector_Punctuation": "Pc", "Dash_Punctuation": "Pd", "Open_Punctuation": "Ps",
    "Close_Punctuation": "Pe", "Initial_Punctuation": "Pi", "Final_Punctuation": "Pf", "Other_Punctuation": "Po",
    "Symbol": "S", "Math_Symbol": "Sm", "Currency_Symbol": "Sc", "Modifier_Symbol": "Sk", "Other_Symbol": "So",
    "Separator": "Z", "Space_Separator": "Zs", "Line_Separator": "Zl", "Paragraph_Separator": "Zp", "Other": "C",
    "Control": "Cc", "Format": "Cf", "Private_Use": "Co", "Unassigned": "Cn",
    "Combining_Mark": "M", "digit": "Nd", "punct": "P", "cntrl": "Cc",
}  # fmt: skip
_PROPERTY = re.compile(r"\{(?:(\w+)=)?(\^?[\w&-]+)\}|([A-Z])")


class Scanner:
    """A place in a pattern, and the flags that hold there."""

    def __init__(self, pattern: str, dialect: Dialect) -> None:
        self.text = pattern
        self.at = 0
        self.dialect: Dialect = dialect
        self.ignore_case = False
        self.dot_all = False
        self.multi_line = False
        self.verbose = False
        self.ascii = dialect == "ecma"

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
        result = self.cased(chars.union(*members))  # without the surrogates: no text has one by itself
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
        return ((low[0][0], high[0][0]),)

    def class_atom(self) -> CodePoints:
        start = self.at
        char = self.text[start]
        self.at += 1
        if char != "\\":
            return _one(ord(char))
        if self.take("b"):
            return chars.characters("\b")
        return self.escaped_set(start, in_class=True)

    def escaped_set(self, start: int, *, in_class: bool = False) -> CodePoints:
        """What the escape stands for whose backslash was just read; in a class this may be a surrogate."""
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
            return self.numeric(letter, start, in_class)
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
        """A general category, a script, or a binary property: \\p{Lu}, \\pL, \\p{gc=Lu}, \\p{Greek}, \\p{Emoji}."""
        found = _PROPERTY.match(self.text, self.at)
        name = (found[2] or found[3]) if found else ""
        if name.startswith("^"):
            name, negated = name[1:], not negated
        members = _property(found[1], name) if found else ()
        if not found or not members:
            reason = "only general categories, scripts and binary properties are known"
            raise self.error(reason, "\\p", start, "write \\p{L}, \\p{Lu}, \\p{Script=Greek} or a class")
        self.at = found.end()
        return chars.complement(members) if negated else members

    def numeric(self, letter: str, start: int, in_class: bool) -> CodePoints:
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
        if (0xD800 <= point <= 0xDFFF and not in_class) or point > 0x10FFFF:
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


def _property(kind: str | None, name: str) -> CodePoints:
    """The characters with a property; empty when it is not known."""
    if kind in (None, "gc", "General_Category"):
        short = _CATEGORY_NAMES.get(name, name)
        if short in ("LC", "L&"):
            return chars.union(*map(chars.category, ("Lu", "Ll", "Lt")))
        members = chars.category(short) if len(short) <= 2 else ()
        if members or kind is not None:
            return members
    if kind in ("scx", "Script_Extensions"):
        return script_extensions(name)
    if kind in (None, "sc", "Script"):
        others = binary_property(name) if kind is None else ()
        return others or script(name) or (script(name[2:]) if kind is None and name.startswith("Is") else ())
    return ()
