"""Regular expressions to byte expressions, in UTF-8 or in the spellings of a JSON string."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import UnionType
from typing import Literal

from . import chars
from .chars import Encoding
from .errors import GrammarError
from .expr import EMPTY, EPSILON, POOL
from .pools import memo
from .regex_ahead import without_behind_ahead
from .regex_behind import MOST_BRANCHES, without_behind, without_first_behind
from .regex_classes import Classes
from .regex_ends import least
from .regex_look import Looks
from .regex_loops import beside_loops
from .regex_parse import (
    Anchor,
    Chars,
    Choice,
    Dialect,
    Look,
    LookAhead,
    LookBehind,
    Node,
    Repeat,
    Sequence,
    Text,
    parse,
)
from .regex_start import without_start_ahead

Mode = Literal["fullmatch", "search"]

_COUNT_FROM = 4  # repetitions of one character with such a bound are counted in the register
_Branch = tuple[Node, ...]


@memo
def compile_pattern(pattern: str, *, mode: Mode, encoding: Encoding, dialect: Dialect | None = None) -> int:
    """The texts `pattern` matches, as an expression over bytes.

    mode: fullmatch, the whole text matches; search, some part of it does (JSON Schema's `pattern`).
    encoding: utf8, the text itself; json, what stands between the quotes of a JSON string, each character in any legal
    spelling; plain, in its plain spelling, perhaps in others, too: enough to ask whether there is a text, how long the
    shortest is, and whether a plain one matches. dialect None: `python` for utf8, else `ecma`, as JSON Schema asks.
    Raises GrammarError.
    """
    tree = parse(pattern, dialect or ("python" if encoding == "utf8" else "ecma"))
    try:
        at_start = True if mode == "fullmatch" else None
        tree = without_behind_ahead(without_start_ahead(tree, at_start), at_start, _around)
        branches = _branches(tree)
        if branches is None:
            branches = _without_behind(tree, mode)
        if branches is None and encoding == "plain":
            return compile_pattern(pattern, mode=mode, encoding="json", dialect=dialect)
        if branches is None:
            return _with_looks(tree, mode, encoding)
        compiler = _compiler(encoding)
        if mode == "search":
            branches = [least(branch, before=True, behind=True) for branch in branches]
        around = compiler.anything if mode == "search" else EPSILON
        return POOL.alt(*[compiler.branch(b, around, around) for b in branches])
    except RecursionError as error:
        raise GrammarError("regex, column 1", "", "the pattern is nested too deeply") from error


def _with_looks(tree: Node, mode: Mode, encoding: Encoding) -> int:
    """A pattern that looks around anywhere."""
    classes = Classes(_sets(tree))
    compiler = _Compiler(classes.letter_of, is_told_by_bytes=True) if classes.are_few else _compiler(encoding)
    around = compiler.anything if mode == "search" else EPSILON
    found = compiler.looks.unmarked(POOL.concat(around, compiler.marked(tree), around))
    if found is None:
        return EMPTY
    return classes.spelled(*found, encoding) if classes.are_few else POOL.machine(*found)


def _compiler(encoding: Encoding) -> _Compiler:
    return _Compiler(lambda members: chars.spelled(members, encoding), encoding == "utf8", encoding != "json")


def _sets(node: Node) -> Iterator[chars.CodePoints]:
    """The sets of characters in a pattern."""
    if isinstance(node, Chars):
        yield node.members
    elif isinstance(node, Text):
        yield from map(chars.characters, node.text)
    elif isinstance(node, Sequence | Choice):
        for item in node.items:
            yield from _sets(item)
    elif not isinstance(node, Anchor):
        yield from _sets(node.item)


class _Compiler:
    """spell: how one character of a set is written. is_told_by_bytes: characters begin where their bytes do. as_it_is:
    a `Text` is written as it is, and in no other way.
    """

    def __init__(
        self, spell: Callable[[chars.CodePoints], int], is_told_by_bytes: bool, as_it_is: bool = False
    ) -> None:
        self._spell = spell
        self._as_it_is = as_it_is
        self._is_told_by_bytes = is_told_by_bytes
        self.looks = Looks()
        self.anything = POOL.repeat(spell(chars.ANY_CHARACTER), 0, None)

    def branch(self, items: _Branch, before: int, after: int) -> int:
        """A sequence that may have anchors and look-aheads in it. before, after: what may stand around the match: the
        same, and anything or nothing, or nothing before it.
        """
        result, at_start = after, False
        for item in reversed(beside_loops(items)):
            if isinstance(item, Anchor):
                if item.kind == "^":
                    at_start = True
                else:
                    result = EPSILON if POOL.nullable(result) else EMPTY
            elif isinstance(item, LookAhead):
                result = POOL.and_(result, self.ahead(item))
            elif not at_start:
                result = POOL.concat(self.plain(item), result)
            elif not POOL.nullable(self.plain(item)):
                return EMPTY  # something must stand before the start
        return result if at_start or result == before else POOL.concat(before, result)

    def ahead(self, look: LookAhead) -> int:
        """Whole rests of the text that begin as the look-ahead says."""
        branches = _branches(look.item)
        if branches is None:
            reason = "looking behind, and looking inside a repetition, is not supported inside a look-ahead"
            raise GrammarError(f"regex, column {look.column}", "(?=", reason, "move it out of the look-ahead")
        branches = [least(branch, before=False, behind=True) for branch in branches]
        found = POOL.alt(*[self.branch(branch, EPSILON, POOL.everything) for branch in branches])
        return POOL.not_(found) if look.negative else found

    def behind(self, look: LookBehind) -> int:
        """Whole texts before a place that end as the look-behind says."""
        branches = _branches(look.item, LookBehind)
        if branches is None or any(isinstance(i, Anchor) and i.kind == "$" for branch in branches for i in branch):
            reason = "looking ahead, '$', and looking inside a repetition, is not supported inside a look-behind"
            raise GrammarError(f"regex, column {look.column}", "(?<=", reason, "move it out of the look-behind")
        found = POOL.alt(*map(self.branch_before, branches))
        return POOL.not_(found) if look.negative else found

    def branch_before(self, items: _Branch) -> int:
        """Whole texts before a place that end with a sequence, which may have '^' and look-behinds in it."""
        # In UTF-8 a character begins where its bytes do; in JSON a spelling may end like another.
        result = POOL.everything if self._is_told_by_bytes else self.anything
        for item in items:
            if isinstance(item, Anchor):
                result = EPSILON if POOL.nullable(result) else EMPTY
            elif isinstance(item, LookBehind):
                result = POOL.and_(result, self.behind(item))
            else:
                result = POOL.concat(result, self.plain(item))
        return result

    def marked(self, node: Node) -> int:
        """A node with a mark at each of its looks."""
        if isinstance(node, Anchor):
            return self.looks.mark(ahead=node.kind == "$", language=EPSILON)
        if isinstance(node, LookAhead):
            return self.looks.mark(ahead=True, language=self.ahead(node))
        if isinstance(node, LookBehind):
            return self.looks.mark(ahead=False, language=self.behind(node))
        if isinstance(node, Sequence):
            return POOL.concat(*map(self.marked, node.items))
        if isinstance(node, Choice):
            return POOL.alt(*map(self.marked, node.items))
        if isinstance(node, Repeat):
            return POOL.repeat(self.marked(node.item), node.lo, node.hi)
        return self.plain(node)

    def plain(self, node: Node) -> int:
        """A node without anchors and look-aheads."""
        if isinstance(node, Chars):
            return self._spell(node.members)
        if isinstance(node, Text) and self._as_it_is:
            return POOL.literal(node.text.encode())
        if isinstance(node, Text):
            return POOL.concat(*[self._spell(chars.characters(letter)) for letter in node.text])
        if isinstance(node, Sequence):
            return POOL.concat(*map(self.plain, beside_loops(node.items)))
        if isinstance(node, Choice):
            return POOL.alt(*map(self.plain, node.items))
        assert isinstance(node, Repeat)
        item = self.plain(node.item)
        if isinstance(node.item, Chars) and max(node.lo, node.hi or 0) >= _COUNT_FROM:
            return POOL.counted(item, node.lo, node.hi)
        return POOL.repeat(item, node.lo, node.hi)


def _without_behind(tree: Node, mode: Mode) -> list[_Branch] | None:
    """The alternatives of a tree, its looks behind cut into what is before them; None: that cannot be done."""
    branches = _around(without_first_behind(tree) if mode == "search" else tree)
    return None if branches is None else without_behind(branches, is_search=mode == "search")


def _around(node: Node) -> list[_Branch] | None:
    return _branches(node, LookAhead | LookBehind)


def _branches(node: Node, look: type[LookAhead | LookBehind] | UnionType = LookAhead) -> list[_Branch] | None:
    """The alternatives of a node as flat sequences in which anchors and looks stand by themselves.

    None: there are too many, or a look inside a repetition, or one that looks the other way.
    """
    if isinstance(node, Anchor | look) or not _is_special(node):
        return [(node,)]
    if isinstance(node, LookAhead | LookBehind):
        return None
    if isinstance(node, Repeat):
        inner = None if node.hi is None or node.hi > 1 else _branches(node.item, look) if node.hi else []
        return None if inner is None else [*([()] if node.lo == 0 else []), *inner]
    assert isinstance(node, Sequence | Choice)
    parts = [_branches(item, look) for item in node.items]
    result: list[_Branch] = [()] if isinstance(node, Sequence) else []
    for part in parts:
        if part is None:
            return None
        result = [(*a, *b) for a in result for b in part] if isinstance(node, Sequence) else result + part
        if len(result) > MOST_BRANCHES:
            return None
    return result


def _is_special(node: Node) -> bool:
    """Whether an anchor or a look is inside."""
    if isinstance(node, Sequence | Choice):
        return any(map(_is_special, node.items))
    return _is_special(node.item) if isinstance(node, Repeat) else isinstance(node, Look)
