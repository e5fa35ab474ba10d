"""Kinds of names that the members of an object may have, told apart by what its keywords say of names.

There is one for each set of patterns and schemas that some name satisfies, and no other. As sets are many, patterns are
taken one after the other, and of each kind only what may be goes on: members of no type that all its schemas allow
cannot be, whatever their names, so that these are not searched for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .schema import Schema
from .schema_names import Names, Said
from .schema_rules import NEVER, Conj, ObjectRule
from .schema_shapes import TYPES

MAX_KINDS = 128
"""Kinds of names, by the patterns that they match, that one object may come to."""

MAX_SHARED = 32
"""Those of them that match several patterns at once."""


class Kind(NamedTuple):
    """Names, the patterns that they match, and whether they satisfy each of the schemas of names.

    Of patterns that no part of a rule tells apart, one stands for all.
    """

    names: Names
    matched: frozenset[str]
    named: tuple[bool, ...]


class NameKinds:
    """The kinds of names of rules of one document. is_possible: whether any value satisfies a schema."""

    def __init__(self, schema: Schema, is_possible: Callable[[Conj], bool]) -> None:
        self._schema = schema
        self._is_possible = is_possible
        self._known: dict[object, list[Kind]] = {}
        self._types: dict[Conj, frozenset[str]] = {}

    def of(self, conj: Conj, rule: ObjectRule) -> list[Kind]:
        """All kinds of names that are not listed, but those of which there can be no member. conj: whose rule it is."""
        names = frozenset(part.names for part in rule.members)
        told_apart = tuple(tuple(part.patterns for part in parts) for parts in (rule.members, rule.broken))
        known = rule.listed(), rule.name_conjs(), names, told_apart
        if known not in self._known:
            self._known[known] = self._find(conj, rule)
        return self._known[known]

    def _find(self, conj: Conj, rule: ObjectRule) -> list[Kind]:
        kinds = self._by_schemas(rule)
        for alike in self._patterns_alike(rule):
            said = Said(alike)
            kinds = self._matching(kinds, said, rule) + self._where(kinds, said, true=False)
            if len(kinds) > MAX_KINDS or sum(len(kind.matched) > 1 for kind in kinds) > MAX_SHARED:
                reason = f"more than {MAX_KINDS} kinds of names, by the patterns they match, or {MAX_SHARED} of several"
                rewrite = "give more of the patterns the same schema"
                self._schema.refuse(conj, "patternProperties", reason, rewrite)
                return []
        found = [(kind, kind.names.besides(rule.listed(), self._schema.text_of)) for kind in kinds]
        return [kind._replace(names=names) for kind, names in found if names is not None]

    def _by_schemas(self, rule: ObjectRule) -> list[Kind]:
        """Kinds of names by the schemas of names alone."""
        needed = {part.names for part in rule.members}
        kinds = [Kind(Names(), frozenset(), ())]
        for names in rule.name_conjs():
            said = Said(rules=self._schema.shape(names).strings, is_wide=names not in needed)
            true = [kind._replace(named=(*kind.named, True)) for kind in self._where(kinds, said, true=True)]
            untrue = self._where(kinds, said, true=False) if said.is_wide else []
            kinds = true + [kind._replace(named=(*kind.named, False)) for kind in untrue]
        return kinds

    def _matching(self, kinds: list[Kind], said: Said, rule: ObjectRule) -> list[Kind]:
        """Of each kind the names that match patterns, too, if there are any, and a member may have them."""
        found = []
        for kind in kinds:
            matched = kind.matched | {said.patterns[0]}
            asked = rule.asked_of(matched)
            if self._has_type(asked):
                more = self._where([kind._replace(matched=matched)], said, true=True)
                found += more if len(matched) == 1 or self._is_possible(asked) else []
        return found

    def _has_type(self, conj: Conj) -> bool:
        """Whether any type is left of a conjunction, by what each of its parts says alone."""
        if conj == NEVER:
            return False
        types = frozenset(TYPES)
        for part in conj:
            known = self._types.get((part,))
            if known is None:
                shape = self._schema.shape((part,))
                known = self._types[part,] = frozenset(name for name in TYPES if getattr(shape, name))
            types &= known
        return bool(types)

    def _where(self, kinds: list[Kind], said: Said, *, true: bool) -> list[Kind]:
        """Of each kind the names of which something is true, or is not, if there are any."""
        found = [(kind, kind.names.where(said, self._schema.text_of, true=true)) for kind in kinds]
        return [kind._replace(names=names) for kind, names in found if names is not None]

    def _patterns_alike(self, rule: ObjectRule) -> list[tuple[str, ...]]:
        """The patterns on names; together those that no part tells apart: which of them a name matches is the same."""
        parts = [
            {pattern: self._schema.alike(c) for pattern, c in part.patterns} for part in (*rule.members, *rule.broken)
        ]
        found: dict[tuple[Conj | None, ...], list[str]] = {}
        for pattern in rule.pattern_texts():
            found.setdefault(tuple(part.get(pattern) for part in parts), []).append(pattern)
        return list(map(tuple, found.values()))
