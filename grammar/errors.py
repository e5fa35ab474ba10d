"""The one error of the grammar room: a constraint that is broken, or cannot be enforced exactly."""

from __future__ import annotations


class GrammarError(ValueError):
    """A constraint was refused. Never raised for something that could be enforced.

    where: JSON pointer into the schema (`#/properties/a`), or `regex, column 7`, or `choice 3`.
    keyword: the keyword or construct at fault, "" when the whole is at fault.
    reason: what is wrong, one clause.
    rewrite: the nearest thing that would work, or "".
    """

    def __init__(self, where: str, keyword: str, reason: str, rewrite: str = "") -> None:
        self.where = where
        self.keyword = keyword
        self.reason = reason
        self.rewrite = rewrite
        place = f"{where}, {keyword!r}" if keyword else where
        super().__init__(f"{place}: {reason}" + (f"; {rewrite}" if rewrite else ""))


class Circular(GrammarError):
    """To know how short a text is would be to know it first."""
