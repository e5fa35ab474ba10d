"""Reading Lark's notation into a tree of terms; what it means is `lark.py`'s business."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .errors import GrammarError
from .expr import EPSILON, POOL
from .grammar_text import MOST_NESTED, Cursor, text_terminal
from .lark_common import COMMON
from .regex import compile_pattern
from .substrings import substrings_of


@dataclass(frozen=True)
class Leaf:
    """Texts given by an expression. inline: a schema, which only rules may hold."""

    expression: int
    where: str
    inline: bool = False


@dataclass(frozen=True)
class Ref:
    """A rule or terminal, by name."""

    name: str
    where: str


@dataclass(frozen=True)
class Group:
    """Terms joined by `op`: one after the other, any one of them, or all of them at once."""

    op: str  # " ", "|" or "&"
    items: tuple[Term, ...]
    where: str


@dataclass(frozen=True)
class Many:
    """Between lo and hi times the item; hi None: any number."""

    item: Term
    lo: int
    hi: int | None


@dataclass(frozen=True)
class Not:
    """Texts that are not the item's."""

    item: Term
    where: str


Term = Leaf | Ref | Group | Many | Not


@dataclass(frozen=True)
class Definition:
    """What a name stands for. lazy: only texts that no shorter one of them begins."""

    term: Term
    where: str
    lazy: bool = False


@dataclass
class LarkFile:
    """All definitions of a grammar: rules (lower case), terminals (upper case), and what is ignored."""

    rules: dict[str, Definition] = field(default_factory=dict)
    terminals: dict[str, Definition] = field(default_factory=dict)
    ignored: list[Term] = field(default_factory=list)


_NAME = re.compile(r"_?[A-Za-z](?:\w|-(?!>))*", re.ASCII)
_DEFINED = re.compile(r"[?!]*_?[A-Za-z][\w-]*(?:\{[^}\n]*\})?(?:\.-?\d+)?(?:\[[^\]\n]*\])?[ \t]*:(?!:)", re.ASCII)
_DIRECTIVE = re.compile(r"%(?:import|ignore|declare|override|extend|llguidance)\b")
_REGEX = re.compile(r"/(?!/)((?:\\.|[^/\\\n])*)/([a-zA-Z]*)")
_TIMES = re.compile(r"~[ \t]*(\d+)(?:[ \t]*\.\.[ \t]*(\d+))?")
_OPERATOR = re.compile(r"[+*]|\?(?![a-z_])")
_ALIAS = re.compile(r"->[ \t]*_?[a-z]\w*", re.ASCII)
_ATTRIBUTE = re.compile(r"[ \t]*(\w+)[ \t]*(=?)[ \t]*")
_COUNTS = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_UNKNOWN_ATTRIBUTE = "this attribute is not supported: it says more than which texts there are"


def is_terminal(name: str) -> bool:
    """Whether a name is a terminal's: in upper case."""
    return name.lstrip("_")[:1].isupper()


def read_lark(text: str, json_expression: Callable[[str], int]) -> LarkFile:
    """All definitions. Raises GrammarError with line and column."""
    reader = _Reader(text, json_expression)
    reader.read()
    return reader.file


class _Reader:
    def __init__(self, text: str, json_expression: Callable[[str], int]) -> None:
        self.file = LarkFile()
        self._cursor = Cursor(text, "//|#")
        self._json_expression = json_expression
        self._depth = 0

    def read(self) -> None:
        cursor = self._cursor
        cursor.skip()
        while not cursor.done:
            if cursor.peek("%"):
                self._directive()
            else:
                self._definition()
            cursor.skip()
        if not self.file.rules:
            raise cursor.error("there are no rules here", "", 0, 'write start: "text"')

    # -- statements -------------------------------------------------------------------------------------------

    def _definition(self) -> None:
        cursor = self._cursor
        cursor.match(re.compile("[?!]*"))  # these shape the tree of a parse, which nobody makes here
        start = cursor.at
        name = cursor.match(_NAME)
        if name is None:
            raise cursor.unexpected("a rule, a terminal or a directive")
        if cursor.peek("{"):
            raise cursor.error("templates are not supported", name[0], start, "write the rule out for each use")
        if cursor.peek("."):
            reason = "priorities are not supported: all readings of the grammar count"
            raise cursor.error(reason, name[0], start, "leave the priority out")
        lazy, suffix = self._attributes() if cursor.take("[") else (False, None)
        cursor.skip_inline()
        if not cursor.take(":"):
            raise cursor.unexpected("':'")
        where = cursor.where(start)
        term = self._choice()
        if suffix is not None:
            term = Group(" ", (term, suffix), where)
        self._add(name[0], Definition(term, where, lazy), start)

    def _add(self, name: str, made: Definition, start: int) -> None:
        table = self.file.terminals if is_terminal(name) else self.file.rules
        if name in table and table[name].term != made.term:
            reason = f"this name is already there ({table[name].where})"
            raise self._cursor.error(reason, name, start, "join the definitions with '|'")
        table[name] = made

    def _attributes(self) -> tuple[bool, Term | None]:
        cursor = self._cursor
        lazy, suffix = False, None
        while not cursor.take("]"):
            start = cursor.at
            found = cursor.match(_ATTRIBUTE)
            if found is None:
                raise cursor.unexpected("an attribute or ']'")
            if found[1] == "suffix" and found[2]:
                suffix = self._atom()
            elif found[1] != "lazy" or found[2]:
                raise cursor.error(_UNKNOWN_ATTRIBUTE, found[1], start, "leave it out")
            lazy = True
            cursor.skip_inline()
            cursor.take(",")
        return lazy, suffix

    def _directive(self) -> None:
        cursor = self._cursor
        start = cursor.at
        found = cursor.match(re.compile(r"%(\w*)[ \t]*"))
        name = found[1] if found else ""
        if name == "ignore":
            self.file.ignored.append(self._choice())
        elif name == "import":
            self._import(start)
        elif name == "llguidance":
            options = self._json()
            if options != {}:
                shown = ", ".join(options) if isinstance(options, dict) else "these"
                raise cursor.error(f"options are not supported: {shown}", "%llguidance", start, "leave them out")
        elif name in ("declare", "override", "extend"):
            raise cursor.error("this directive is not supported", f"%{name}", start, "write the definition out")
        else:
            raise cursor.error("this directive is not known", f"%{name}", start)

    def _import(self, start: int) -> None:
        cursor = self._cursor
        found = cursor.match(re.compile(r"(\.?[\w.]*?)(?:\.([A-Z_]\w*)|[ \t]*\(([^)]*)\))[ \t]*(?:->[ \t]*(\w+))?"))
        if found is None or found[1] != "common":
            reason = "only terminals of `common` can be imported"
            raise cursor.error(reason, "%import", start, "write the definition out")
        names = [found[2]] if found[2] else [name.strip() for name in found[3].split(",") if name.strip()]
        for name in names:
            if name not in COMMON:
                raise cursor.error("`common` has no such terminal", name, start, "one of " + ", ".join(COMMON))
            expression = compile_pattern(COMMON[name], mode="fullmatch", encoding="utf8")
            where = cursor.where(start)
            self._add(found[4] or name, Definition(Leaf(expression, where), where), start)

    # -- terms ------------------------------------------------------------------------------------------------

    def _choice(self) -> Term:
        where = self._cursor.where_next()
        items = [self._conjunction()]
        while self._cursor.take("|"):
            items.append(self._conjunction())
        return items[0] if len(items) == 1 else Group("|", tuple(items), where)

    def _conjunction(self) -> Term:
        where = self._cursor.where_next()
        items = [self._sequence()]
        while self._cursor.take("&"):
            items.append(self._sequence())
        return items[0] if len(items) == 1 else Group("&", tuple(items), where)

    def _sequence(self) -> Term:
        cursor = self._cursor
        where = cursor.where_next()
        items: list[Term] = []
        while not self._sequence_ends():
            items.append(self._repeated(self._atom()))
        if not items:
            return Leaf(EPSILON, where)
        return items[0] if len(items) == 1 else Group(" ", tuple(items), where)

    def _sequence_ends(self) -> bool:
        """Passes blanks, and an alias (which names a tree nobody makes) with what it follows."""
        cursor = self._cursor
        new_line = cursor.skip()
        while cursor.match(_ALIAS):
            new_line |= cursor.skip()
        if cursor.done or cursor.peek("|") or cursor.peek("&"):
            return True
        if cursor.peek(")") or cursor.peek("]"):
            if not self._depth:
                raise cursor.error("nothing was opened that this could close", cursor.text[cursor.at])
            return True
        at = (cursor.text, cursor.at)
        return new_line and not self._depth and bool(_DEFINED.match(*at) or _DIRECTIVE.match(*at))

    def _repeated(self, item: Term) -> Term:
        cursor = self._cursor
        while True:
            cursor.skip_inline()
            start = cursor.at
            if sign := cursor.match(_OPERATOR):
                item = Many(item, *_COUNTS[sign[0]])
            elif times := cursor.match(_TIMES):
                lo = int(times[1])
                item = Many(item, *cursor.checked_bounds(lo, int(times[2]) if times[2] else lo, start))
            elif cursor.peek("{"):
                bounds = cursor.bounds()
                if bounds is None:
                    raise cursor.error("templates are not supported", "{", start, "write the rule out for each use")
                item = Many(item, *bounds)
            else:
                return item

    def _atom(self) -> Term:
        cursor = self._cursor
        start, where = cursor.at, cursor.where()
        if cursor.peek('"'):
            return self._string(where)
        if cursor.peek("/"):
            return self._regex(where)
        if cursor.take("("):
            return self._group(")", start)
        if cursor.take("["):
            return Many(self._group("]", start), 0, 1)
        if cursor.take("~"):
            cursor.skip()
            return Not(self._atom(), where)
        if cursor.take("%json"):
            return self._schema(where)
        if cursor.take("%regex"):
            return Leaf(substrings_of(self._json(), where), where)
        name = cursor.match(_NAME)
        if name is not None:
            if cursor.peek("::"):
                raise cursor.error("parametric rules are not supported", name[0], start, "write the cases out")
            return Ref(name[0], where)
        if cursor.peek("<"):
            reason = "single tokens cannot be named: a grammar says what the text is"
            raise cursor.error(reason, "<", start, "write the text in quotes")
        if cursor.peek("@"):
            raise cursor.error("other grammars cannot be named", "@", start, "write %json or the rules themselves")
        raise cursor.unexpected("a string, a regex, a group or a name")

    def _group(self, closing: str, start: int) -> Term:
        cursor = self._cursor
        self._depth += 1
        if self._depth > MOST_NESTED:
            raise cursor.error(f"groups are nested more than {MOST_NESTED} deep", "(", start, "make them rules")
        inner = self._choice()
        if not cursor.take(closing):
            raise cursor.error("this group is not closed", cursor.text[start], start)
        self._depth -= 1
        return inner

    def _string(self, where: str) -> Term:
        cursor = self._cursor
        start = cursor.at
        text = cursor.quoted('"', also="/'")
        if cursor.match(re.compile(r"[ \t]*\.\.(?=[ \t]*\")[ \t]*")):
            last = cursor.quoted('"', also="/'")
            if len(text) != 1 or len(last) != 1 or text > last:
                shown = cursor.text[start : cursor.at]
                raise cursor.error("a range goes from one character up to another", shown, start)
            escaped = f"[\\U{ord(text):08x}-\\U{ord(last):08x}]"
            return Leaf(compile_pattern(escaped, mode="fullmatch", encoding="utf8"), where)
        ignore_case = cursor.match(re.compile(r"i(?!\w)")) is not None
        return Leaf(text_terminal(text, ignore_case).expression, where)

    def _regex(self, where: str) -> Term:
        cursor = self._cursor
        found = cursor.match(_REGEX)
        if found is None:
            raise cursor.error("this regex is not closed on its line", "/", rewrite="write '\\/' for a slash")
        flags = found[2].replace("u", "")
        if set(flags) - set("imsx"):
            raise cursor.error("these flags are not supported", found[2], found.start(2), "use of i, m, s, u and x")
        pattern = (f"(?{flags})" if flags else "") + found[1].replace("\\/", "/")
        try:
            return Leaf(compile_pattern(pattern, mode="fullmatch", encoding="utf8"), where)
        except GrammarError as error:
            raise GrammarError(f"{where}, {error.where}", error.keyword, error.reason, error.rewrite) from error

    def _schema(self, where: str) -> Term:
        start = self._cursor.at
        self._json()
        schema = self._cursor.text[start : self._cursor.at]
        try:
            return Leaf(POOL.frame(self._json_expression(schema)), where, inline=True)
        except GrammarError as error:
            raise GrammarError(f"{where}, {error.where}", error.keyword, error.reason, error.rewrite) from error

    def _json(self) -> Any:
        cursor = self._cursor
        cursor.skip()
        try:
            value, cursor.at = json.JSONDecoder().raw_decode(cursor.text, cursor.at)
        except json.JSONDecodeError as error:
            raise cursor.error(f"this is not JSON: {error.msg}", "", error.pos) from None
        return value


__all__ = ["Definition", "Group", "LarkFile", "Leaf", "Many", "Not", "Ref", "Term", "is_terminal", "read_lark"]
