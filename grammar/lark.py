"""Grammars in Lark's notation, with the additions of llguidance: `%json`, `%regex`, `&` and `~`, `{m,n}`, `[lazy]`.

Read without a lexer, as llguidance and Lark's dynamic lexer do: the language is the one written down. A keyword is also
whatever other terminal matches it, and "if" may be followed by "x" at once where nothing is required between them.
What `%ignore` names may stand before the first terminal and behind each one, any number of times.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from . import chars
from .cfg import Body, Either, Name, Rule, Series, Terminal, Times
from .errors import GrammarError
from .expr import EPSILON, POOL
from .lark_read import Definition, Group, LarkFile, Leaf, Many, Not, Ref, Term, is_terminal, read_lark
from .recursion import repeated

_WHOLE = "the whole text"


def rules_of_lark(text: str, start: str, json_expression: Callable[[str], int]) -> tuple[dict[str, Rule], str]:
    """The rules of a grammar, and the name of the one that its texts satisfy.

    json_expression: from the text of a JSON Schema to what it accepts. Raises GrammarError with line and column.
    """
    file = read_lark(text, json_expression)
    lowering = _Lowering(file)
    rules = {name: Rule(lowering.rule(made), made.where) for name, made in file.rules.items()}
    if start not in rules:
        return rules, start
    whole = Series((Terminal(lowering.between), Name(start, rules[start].where)))
    return rules | {_WHOLE: Rule(whole, rules[start].where)}, _WHOLE


class _Lowering:
    """From terms to bodies of rules and, for terminals, to expressions. between: what may stand between terminals."""

    def __init__(self, file: LarkFile) -> None:
        self._file = file
        self._terminals: dict[str, int] = {}
        self._open: set[str] = set()
        self.between = POOL.repeat(POOL.alt(*map(self._expression, file.ignored)), 0, None)

    def rule(self, made: Definition) -> Body:
        """The body of a rule."""
        return self._spaced(_shortest_ones(self._expression(made.term))) if made.lazy else self._body(made.term)

    def _body(self, term: Term) -> Body:
        if isinstance(term, Leaf):
            return self._spaced(term.expression)
        if isinstance(term, Ref):
            if is_terminal(term.name):
                return self._spaced(self._expression(term))
            return Name(term.name, term.where)
        if isinstance(term, Many):
            return Times(self._body(term.item), term.lo, term.hi)
        if isinstance(term, Group) and term.op != "&":
            items = tuple(map(self._body, term.items))
            return Series(items) if term.op == " " else Either(items)
        sign = "&" if isinstance(term, Group) else "~"
        raise GrammarError(term.where, sign, "this stands in terminals only", "give it a name in upper case")

    def _spaced(self, expression: int) -> Body:
        if self.between == EPSILON or expression == EPSILON:
            return Terminal(expression)
        return Series((Terminal(expression), Terminal(self.between)))

    def _expression(self, term: Term) -> int:
        """What a terminal accepts."""
        if isinstance(term, Leaf):
            if term.inline:
                reason = "a schema cannot stand inside a terminal"
                raise GrammarError(term.where, "%json", reason, "give the rule a name in lower case")
            return term.expression
        if isinstance(term, Ref):
            return self._terminal(term)
        if isinstance(term, Many):
            return repeated(self._expression(term.item), term.lo, term.hi)
        if isinstance(term, Not):
            text = POOL.repeat(chars.utf8(chars.ANY_CHARACTER), 0, None)
            return POOL.and_(text, POOL.not_(self._expression(term.item)))
        join = {" ": POOL.concat, "|": POOL.alt, "&": POOL.and_}[term.op]
        return join(*map(self._expression, term.items))

    def _terminal(self, ref: Ref) -> int:
        name = ref.name
        if not is_terminal(name):
            reason = "a terminal cannot hold a rule"
            raise GrammarError(ref.where, name, reason, "write the outer name in lower case")
        if name not in self._file.terminals:
            close = difflib.get_close_matches(name, self._file.terminals, 1)
            rewrite = f"did you mean {close[0]!r}?" if close else "define or %import it"
            raise GrammarError(ref.where, name, "there is no terminal of this name", rewrite)
        if name in self._open:
            reason = "a terminal cannot hold itself"
            raise GrammarError(ref.where, name, reason, "write it as a rule, in lower case")
        if name not in self._terminals:
            made = self._file.terminals[name]
            self._open.add(name)
            found = self._expression(made.term)
            self._open.discard(name)
            self._terminals[name] = _shortest_ones(found) if made.lazy else found
        return self._terminals[name]


def _shortest_ones(item: int) -> int:
    """Texts of `item` that no other of its texts begins: what a lazy lexeme takes."""
    longer = POOL.concat(item, POOL.repeat(POOL.any_byte, 1, None))
    return POOL.and_(item, POOL.not_(longer))
