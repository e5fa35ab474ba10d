"""Grammars in llama.cpp's GBNF and in the EBNF that XGrammar and SGLang take: one notation, `root ::= ...`.

What one of the two knows is taken from both. Line ends mean nothing but the end of a comment: a rule ends where the
next one's `name ::=` begins.
"""

from __future__ import annotations

import re

from . import chars
from .cfg import Body, Name, Rule, Terminal, Times
from .chars import CodePoints
from .expr import EPSILON
from .grammar_text import MOST_NESTED, Cursor, class_terminal, either, series, text_terminal

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DEFINED = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:[ \t\r\n]|#[^\n]*)*::=")
_TOKEN = re.compile(r"!?<[^>\n]*>")
_MACROS = ("TagDispatch", "Token", "ExcludeToken", "TokenTagDispatch")


def read_gbnf(text: str) -> dict[str, Rule]:
    """The rules of a grammar. Raises GrammarError with line and column."""
    return _Reader(text).rules()


class _Reader:
    def __init__(self, text: str) -> None:
        self._cursor = Cursor(text, "#")
        self._depth = 0

    def rules(self) -> dict[str, Rule]:
        cursor = self._cursor
        found: dict[str, Rule] = {}
        cursor.skip()
        while not cursor.done:
            start = cursor.at
            name = cursor.match(_NAME)
            cursor.skip()
            if name is None or not cursor.take("::="):
                cursor.at = start if name is None else cursor.at
                raise cursor.unexpected("a rule's name" if name is None else "'::='")
            if name[0] in found:
                earlier = found[name[0]].where
                raise cursor.error(f"this rule is already there ({earlier})", name[0], start, "join them with '|'")
            found[name[0]] = Rule(self._choice(), cursor.where(start))
            cursor.skip()
        if not found:
            raise cursor.error("there are no rules here", "", 0, 'write root ::= "text"')
        return found

    def _choice(self) -> Body:
        items = [self._sequence()]
        while self._cursor.take("|"):
            items.append(self._sequence())
        return either(items)

    def _sequence(self) -> Body:
        cursor = self._cursor
        items: list[Body] = []
        cursor.skip()
        while not cursor.done and not cursor.peek("|") and not cursor.peek(")") and not self._rule_begins():
            items.append(self._repeated(self._atom()))
            cursor.skip()
        if cursor.peek(")") and not self._depth:
            raise cursor.error("there is no '(' for this", ")", rewrite="quote it if it is text")
        return series(items) if items else Terminal(EPSILON)

    def _rule_begins(self) -> bool:
        return not self._depth and _DEFINED.match(self._cursor.text, self._cursor.at) is not None

    def _repeated(self, item: Body) -> Body:
        cursor = self._cursor
        while True:
            cursor.skip_inline()
            for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
                if cursor.take(sign):
                    item = Times(item, *bounds)
                    break
            else:
                if not cursor.peek("{"):
                    return item
                bounds = cursor.bounds()
                if bounds is None:
                    raise cursor.error("these are no bounds", "{", rewrite="write {m}, {m,} or {m,n}")
                item = Times(item, *bounds)

    def _atom(self) -> Body:
        cursor = self._cursor
        start = cursor.at
        if cursor.peek('"'):
            return text_terminal(cursor.quoted('"', also="'[]-^/"))
        if cursor.take("["):
            return class_terminal(self._class(start))
        if cursor.take("."):
            return class_terminal(chars.ANY_CHARACTER)
        if cursor.take("("):
            return self._group(start)
        if token := cursor.match(_TOKEN):
            reason = "single tokens cannot be named: a grammar says what the text is"
            raise cursor.error(reason, token[0], start, "write the text in quotes")
        if cursor.peek("/") or cursor.peek("%"):
            sign = cursor.text[cursor.at]
            raise cursor.error("regexes and inline schemas belong to Lark grammars", sign, start, 'use syntax "lark"')
        name = cursor.match(_NAME)
        if name is None:
            raise cursor.unexpected("a string, a class, a group or a rule's name")
        if name[0] in _MACROS and cursor.peek("("):
            raise cursor.error("this macro is not supported", name[0], start, "use a structural tag")
        return Name(name[0], cursor.where(start))

    def _group(self, start: int) -> Body:
        cursor = self._cursor
        if cursor.peek("="):
            reason = "look-ahead assertions are not supported"
            raise cursor.error(reason, "(=", start, "leave it out, or write what follows into the rule")
        self._depth += 1
        if self._depth > MOST_NESTED:
            raise cursor.error(f"groups are nested more than {MOST_NESTED} deep", "(", start, "make them rules")
        inner = self._choice()
        if not cursor.take(")"):
            raise cursor.error("this group is not closed", "(", start)
        self._depth -= 1
        return inner

    def _class(self, start: int) -> CodePoints:
        cursor = self._cursor
        negated = cursor.take("^")
        ranges: list[tuple[int, int]] = []
        while not cursor.take("]"):
            if cursor.done or cursor.peek("\n"):
                raise cursor.error("this class is not closed on its line", "[", start, "write '\\n' for a line end")
            low_at = cursor.at
            low = high = self._member()
            if cursor.peek("-") and not cursor.peek("-]"):
                cursor.at += 1
                if cursor.done:
                    continue
                high = self._member()
            if low > high:
                raise cursor.error("the range is out of order", cursor.text[low_at : cursor.at], low_at)
            ranges.append((low, high))
        members = chars.code_points(ranges)
        return chars.complement(members) if negated else members

    def _member(self) -> int:
        return ord(self._cursor.character("\"'\\[]-^/"))
