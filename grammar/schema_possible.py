"""Whether a value might have a shape: looked at a few levels deep, to see which branches exclude each other."""

from __future__ import annotations

from collections.abc import Callable

from .errors import GrammarError
from .schema_accepts import Judge
from .schema_rules import ArrayRule, Conj, ObjectRule
from .schema_shapes import Shape

DEPTH = 3
"""Levels of the value that are looked at."""


class Possible:
    """Answers, and remembers. shape_of: the shape of a conjunction of schemas."""

    def __init__(self, judge: Judge, shape_of: Callable[[Conj], Shape]) -> None:
        self._judge = judge
        self._shape_of = shape_of
        self._known: dict[tuple[Conj, int], bool] = {}

    def shape(self, shape: Shape, depth: int = DEPTH) -> bool:
        """Whether a value might have this shape. Errs towards True."""
        if shape.null or shape.booleans:
            return True
        settled = self._judge.settled(shape)
        if settled.numbers or settled.strings:
            return True
        if any(self._is_array_possible(rule, depth) for rule in settled.arrays):
            return True
        return any(self._is_object_possible(rule, depth) for rule in settled.objects)

    def _is_array_possible(self, rule: ArrayRule, depth: int) -> bool:
        if rule.values is not None:
            return True
        return all(self._may_hold(rule.elements.at(i), depth) for i in range(min(rule.min_items, 8)))

    def _is_object_possible(self, rule: ObjectRule, depth: int) -> bool:
        if rule.values is not None:
            return True
        return all(self._may_hold(self._judge.member(rule, name), depth) for name in rule.required)

    def _may_hold(self, conj: Conj, depth: int) -> bool:
        if depth == 0 or not conj:
            return True
        if (conj, depth) not in self._known:
            try:
                self._known[conj, depth] = self.shape(self._shape_of(conj), depth - 1)
            except GrammarError:
                return True  # it is being read just now, or cannot be
        return self._known[conj, depth]
