"""Regular expressions to byte expressions, in UTF-8 or in the spellings of a JSON string."""

from __future__ import annotations

from typing import Literal

from . import chars
from .chars import Encoding
from .errors import GrammarError
from .expr import EMPTY, EPSILON, POOL
from .pools import memo
from .regex_parse import Anchor, Chars, Choice, Dialect, LookAhead, Node, Repeat, Sequence, parse

Mode = Literal["fullmatch", "search"]

_COUNT_FROM = 4  # repetitions of one character with such a bound are counted in the register
_MOST_BRANCHES = 256
_Branch = tuple[Node, ...]


@memo
def compile_pattern(pattern: str, *, mode: Mode, encoding: Encoding, dialect: Dialect | None = None) -> int:
    """The texts `pattern` matches, as an expression over bytes.

    mode: fullmatch, the whole text matches; search, some part of it does (JSON Schema's `pattern`).
    encoding: utf8, the text itself; json, what stands between the quotes of a JSON string, each character in any legal
    spelling. dialect None: `python` for utf8, `ecma` for json, as JSON Schema asks. Anchors and look-aheads may stand
    anywhere but inside a repetition. Raises GrammarError.
    """
    tree = parse(pattern, dialect or ("python" if encoding == "utf8" else "ecma"))
    compiler = _Compiler(encoding)
    around = compiler.anything if mode == "search" else EPSILON
    try:
        return POOL.alt(*[compiler.branch(b, around, around) for b in _branches(tree)])
    except RecursionError as error:
        raise GrammarError("regex, column 1", "", "the pattern is nested too deeply") from error


class _Compiler:
    def __init__(self, encoding: Encoding) -> None:
        self._encoding: Encoding = encoding
        self.anything = POOL.repeat(chars.spelled(chars.ANY_CHARACTER, encoding), 0, None)

    def branch(self, items: _Branch, before: int, after: int) -> int:
        """A sequence that may have anchors and look-aheads in it. before, after: what may stand around the match."""
        result, at_start = after, False
        for item in reversed(items):
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
        return result if at_start else POOL.concat(before, result)

    def ahead(self, look: LookAhead) -> int:
        """Whole rests of the text that begin as the look-ahead says."""
        ways = []
        for branch in _branches(look.item):
            if any(isinstance(item, Anchor) and item.kind == "^" for item in branch):
                raise GrammarError(f"regex, column {look.column}", "(?=", "'^' inside a look-ahead is not supported")
            ways.append(self.branch(branch, EPSILON, self.anything))
        found = POOL.alt(*ways)
        return POOL.not_(found) if look.negative else found

    def plain(self, node: Node) -> int:
        """A node without anchors and look-aheads."""
        if isinstance(node, Chars):
            return chars.spelled(node.members, self._encoding)
        if isinstance(node, Sequence):
            return POOL.concat(*map(self.plain, node.items))
        if isinstance(node, Choice):
            return POOL.alt(*map(self.plain, node.items))
        assert isinstance(node, Repeat)
        item = self.plain(node.item)
        if isinstance(node.item, Chars) and max(node.lo, node.hi or 0) >= _COUNT_FROM:
            return POOL.counted(item, node.lo, node.hi)
        return POOL.repeat(item, node.lo, node.hi)


def _branches(node: Node) -> list[_Branch]:
    """The alternatives of a node as flat sequences in which anchors and look-aheads stand by themselves."""
    if isinstance(node, Anchor | LookAhead) or not _is_special(node):
        return [(node,)]
    if isinstance(node, Choice):
        return [branch for item in node.items for branch in _branches(item)]
    if isinstance(node, Repeat):
        if node.hi is None or node.hi > 1:
            reason = "anchors and look-aheads inside a repetition are not supported"
            raise GrammarError(f"regex, column {node.column}", "", reason, "move them out of the repeated group")
        skipped: list[_Branch] = [()] if node.lo == 0 else []
        return skipped + (_branches(node.item) if node.hi else [])
    assert isinstance(node, Sequence)
    result: list[_Branch] = [()]
    for item in node.items:
        result = [(*before, *branch) for before in result for branch in _branches(item)]
        if len(result) > _MOST_BRANCHES:
            reason = f"anchors and look-aheads in more than {_MOST_BRANCHES} combinations of alternatives"
            raise GrammarError("regex, column 1", "", reason, "take them out of the alternatives")
    return result


def _is_special(node: Node) -> bool:
    """Whether an anchor or a look-ahead is inside."""
    if isinstance(node, Sequence | Choice):
        return any(map(_is_special, node.items))
    return _is_special(node.item) if isinstance(node, Repeat) else isinstance(node, Anchor | LookAhead)
