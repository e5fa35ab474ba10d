"""Grammars as constraints: which notation a text is in, and its expression."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from .cfg import expression_of_rules
from .constraints import Syntax
from .errors import GrammarError
from .gbnf import read_gbnf
from .lark import rules_of_lark
from .pools import memo

_GBNF_RULE = re.compile(r"^[ \t]*[A-Za-z0-9_][A-Za-z0-9_.-]*\s*::=", re.MULTILINE)


@memo
def compile_grammar(text: str, syntax: Syntax, start: str, json_expression: Callable[[str], int]) -> int:
    """The texts of a grammar.

    start: the rule to begin with; "": `root` in GBNF, `start` in Lark. json_expression: from the text of a JSON Schema
    in a Lark grammar to what it accepts. Raises GrammarError with line and column.
    """
    gbnf = syntax != "lark" if syntax != "auto" else _GBNF_RULE.search(text) is not None
    start = start or ("root" if gbnf else "start")
    try:
        rules, first = (read_gbnf(text), start) if gbnf else rules_of_lark(text, start, json_expression)
        if first not in rules:
            rewrite = "write one, or name another rule to start with: " + ", ".join(list(rules)[:20])
            raise GrammarError("grammar, line 1, column 1", start, "there is no such rule to start with", rewrite)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return expression_of_rules(rules, first, ("grammar", digest, gbnf, start, json_expression))
    except RecursionError as error:
        raise GrammarError("grammar, line 1, column 1", "", "the grammar is nested too deeply") from error
