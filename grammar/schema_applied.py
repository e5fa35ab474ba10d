"""Keywords that apply schemas to the value itself: references, combinations, conditions, and what members ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .errors import GrammarError
from .schema_branches import Branches
from .schema_clauses import (
    Clause,
    Track,
    asking_for_names,
    flipped,
    objects_as,
    others_and,
)
from .schema_document import Document, child
from .schema_keywords import is_of
from .schema_negation import without_member
from .schema_notes import Notes
from .schema_place import Place
from .schema_rules import (
    Literal,
    ObjectRule,
)
from .schema_shapes import (
    ANYTHING,
    NOTHING,
    Shape,
    union,
)


class Applied:
    """Makes clauses of such keywords. read: the shape that a literal asks for."""

    def __init__(
        self, document: Document, notes: Notes, read: Callable[[Literal, Track], Shape], branched: Branches
    ) -> None:
        self._document = document
        self._notes = notes
        self._read_as = read
        self._branched = branched

    def _read(self, literal: Literal, track: Track = Track.NO) -> Shape:
        return self._read_as(literal, track)

    def has(self, here: Place, keyword: str) -> bool:
        """Whether a keyword is there, and counts."""
        return keyword in here.schema and is_of(keyword, here.draft) and keyword not in here.unread

    def clauses(self, here: Place) -> Iterator[Clause]:
        """What each of these keywords asks for."""
        for keyword in here.schema:
            if keyword in IN_PLACE and self.has(here, keyword):
                yield from IN_PLACE[keyword](self, here)

    def branches(self, here: Place, keyword: str) -> list[Literal]:
        """The schemas in a list of schemas."""
        if not self.has(here, keyword):
            return []
        if isinstance(here.schema[keyword], list) and here.schema[keyword]:
            count = len(here.schema[keyword])
            return [Literal(child(here.name, keyword, i), False, here.scope) for i in range(count)]
        self._notes.refuse(here.name, keyword, "must be a list of at least one schema", "list the schemas")
        return []

    def _applied(self, keyword: str, literal: Literal) -> Clause:
        return Clause(keyword, lambda track: self._read(literal, track), lambda: self._read(flipped(literal)))

    def _reference(self, here: Place, keyword: str) -> Iterator[Clause]:
        target = self.target(here, keyword)
        if target is not None:
            yield self._applied(keyword, target)

    def target(self, here: Place, keyword: str) -> Literal | None:
        """What a reference refers to; None: nothing, which is noted."""
        ref = here.schema[keyword]
        if not isinstance(ref, str):
            rewrite = "write a JSON pointer such as '#/$defs/name'"
            self._notes.refuse(here.name, keyword, "must be a string", rewrite)
            return None
        document = self._document
        try:
            if keyword == "$dynamicRef":
                target = document.resolve_dynamic(ref, here.name, here.scope)
            elif keyword == "$recursiveRef":
                target = document.resolve_recursive(ref, here.name, here.scope)
            else:
                target = document.resolve(ref, here.name)
        except GrammarError as error:
            self._notes.refuse(here.name, keyword, error.reason, error.rewrite)
            return None
        return Literal(target, False, here.scope)

    def _ref(self, here: Place) -> Iterator[Clause]:
        yield from self._reference(here, "$ref")

    def _dynamic_ref(self, here: Place) -> Iterator[Clause]:
        yield from self._reference(here, "$dynamicRef")

    def _recursive_ref(self, here: Place) -> Iterator[Clause]:
        yield from self._reference(here, "$recursiveRef")

    def _all_of(self, here: Place) -> Iterator[Clause]:
        for inner in self.branches(here, "allOf"):
            yield self._applied("allOf", inner)

    def _not(self, here: Place) -> Iterator[Clause]:
        inner = Literal(child(here.name, "not"), False, here.scope)
        yield Clause("not", lambda _track: self._read(flipped(inner)), lambda: self._read(inner))

    def _any_of(self, here: Place) -> Iterator[Clause]:
        inner = self.branches(here, "anyOf")
        if inner:
            yield Clause(
                "anyOf", lambda track: self._branched.some_of(inner, track), lambda: self._branched.none_of(inner)
            )

    def _if(self, here: Place) -> Iterator[Clause]:
        condition = Literal(child(here.name, "if"), False, here.scope)
        then, otherwise = (
            Literal(child(here.name, keyword), False, here.scope) if self.has(here, keyword) else None
            for keyword in ("then", "else")
        )

        def holds(track: Track) -> Shape:
            if track == Track.NO and then is None and otherwise is None:
                return ANYTHING
            first = self._read(condition, track)
            second = self._read(flipped(condition))
            return union(
                first if then is None else self._branched.both(first, self._read(then, track)),
                second if otherwise is None else self._branched.both(second, self._read(otherwise, track)),
            )

        def breaks() -> Shape:
            first = NOTHING if then is None else self._branched.both(self._read(condition), self._read(flipped(then)))
            if otherwise is None:
                return first
            return union(first, self._branched.both(self._read(flipped(condition)), self._read(flipped(otherwise))))

        yield Clause("if", holds, breaks)

    def _dependent(self, here: Place, keyword: str) -> Iterator[Clause]:
        """Members whose presence asks for others, or for a schema of the whole object."""
        asked = here.schema[keyword]
        if not isinstance(asked, dict):
            self._notes.refuse(here.name, keyword, "must be an object", "give what each name asks for")
            return
        for name, wanted in asked.items():
            if isinstance(wanted, list) and keyword != "dependentSchemas":
                if not all(isinstance(other, str) for other in wanted):
                    self._notes.refuse(here.name, keyword, "must list names", "list the names that are needed")
                    continue
                yield asking_for_names(keyword, name, tuple(dict.fromkeys(wanted)))
            elif isinstance(wanted, (dict, bool)) and keyword != "dependentRequired":
                yield self._asking_for_schema(
                    keyword, name, Literal(child(here.name, keyword, name), False, here.scope)
                )
            else:
                rewrite = "give a list of names" if keyword == "dependentRequired" else "give a schema"
                self._notes.refuse(here.name, keyword, f"cannot be read for {name!r}", rewrite)

    def _asking_for_schema(self, keyword: str, name: str, literal: Literal) -> Clause:
        has, lacks = objects_as(ObjectRule(required=(name,))), others_and(without_member(name))
        return Clause(
            keyword,
            lambda track: union(lacks, self._branched.both(has, self._read(literal, track))),
            lambda: self._branched.both(has, self._read(flipped(literal))),
        )

    def _dependencies(self, here: Place) -> Iterator[Clause]:
        yield from self._dependent(here, "dependencies")

    def _dependent_required(self, here: Place) -> Iterator[Clause]:
        yield from self._dependent(here, "dependentRequired")

    def _dependent_schemas(self, here: Place) -> Iterator[Clause]:
        yield from self._dependent(here, "dependentSchemas")


IN_PLACE: dict[str, Callable[[Applied, Place], Iterator[Clause]]] = {
    "$ref": Applied._ref,
    "$dynamicRef": Applied._dynamic_ref,
    "$recursiveRef": Applied._recursive_ref,
    "allOf": Applied._all_of,
    "anyOf": Applied._any_of,
    "not": Applied._not,
    "if": Applied._if,
    "dependencies": Applied._dependencies,
    "dependentRequired": Applied._dependent_required,
    "dependentSchemas": Applied._dependent_schemas,
}
"""Those keywords, and what makes clauses of each."""
