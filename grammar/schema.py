"""JSON Schema, normalised: every schema of a document as the shape its values have.

`allOf`, `$ref` and keywords beside each other hold at once, so their shapes meet; `anyOf` and `oneOf` add shapes; `not`
is pushed down, so that a schema has a shape and an opposite shape, both read from its keywords. Inner schemas stay
places, read when asked for, so that recursion in a schema is no recursion here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from .chars import Encoding
from .errors import GrammarError
from .object_choices import can_be_chosen, multiplied
from .schema_accepts import Judge
from .schema_alike import Inner, Written, plain_shape
from .schema_applied import IN_PLACE, Applied
from .schema_branches import Branches
from .schema_clauses import (
    Track,
    objects_as,
    places_of,
    untracked,
    with_unseen_elements,
    with_unseen_members,
)
from .schema_document import Document, child, stands_alone
from .schema_keywords import ANNOTATIONS, Draft, draft_of
from .schema_meeting import MAX_ALTERNATIVES, TooMany
from .schema_negation import negation
from .schema_notes import Notes
from .schema_place import Place
from .schema_possible import Possible
from .schema_read import read_shape
from .schema_rules import (
    NEVER,
    ArrayRule,
    Conj,
    Either,
    Literal,
    ObjectRule,
    Same,
    StringRule,
)
from .schema_shapes import (
    ANYTHING,
    NOTHING,
    Shape,
    meet_objects,
    shape_of_value,
    union,
)
from .schema_strings import string_body
from .schema_text import Json
from .work import tick

MAX_CHAIN = 64
"""Schemas that may be entered one from another (`$ref`, `allOf`...) without going into the value."""


class Schema:
    """A schema document, read place by place and remembered. The notes get what is found on the way."""

    def __init__(
        self,
        text: str,
        notes: Notes,
        draft: Draft | None = None,
        documents: Iterable[tuple[str, str]] = (),
        source: str | None = None,
    ) -> None:
        """documents: what the schema may refer to. source: the document that verbatim values stand in."""
        self.document = Document(text, draft, documents)
        self._notes = notes
        self._check_dialect()
        self._judge = Judge(self._unsettled_shape, source)
        self._possible = Possible(self._judge, self._unsettled_shape)
        self._branched = Branches(self._read, self._judge, self._possible)
        self._applied = Applied(self.document, notes, self._read, self._branched)
        self._of_literal: dict[tuple[Literal, Track], Shape] = {}
        self._unsettled: dict[Conj, Shape] = {}
        self._of_conj: dict[Conj, Shape] = {}
        self._open: list[Literal] = []
        self._inner = None if notes.listing else Inner(self.document)
        self._written = Written(self.document)

    @property
    def root(self) -> Conj:
        """The whole schema."""
        return (Literal("#"),)

    def shape(self, conj: Conj) -> Shape:
        """What values that satisfy all of `conj` look like. Raises GrammarError."""
        shape = self._of_conj.get(conj)
        if shape is None:
            shape = self._plain_shape(conj)
            if shape is None:
                shape = self._with_choices_followed(conj, self._judge.settled(self._unsettled_shape(conj)))
            self._of_conj[conj] = shape
            if not shape.is_possible():
                self._warn_of_nothing(conj)
        return shape

    def _with_choices_followed(self, conj: Conj, shape: Shape) -> Shape:
        """The shape, choices of objects that cannot be followed while these are written being multiplied."""
        if all(not rule.choices or can_be_chosen(rule) for rule in shape.objects):
            return shape
        place = next(places_of(conj), "#")

        def plain(rule: ObjectRule) -> Shape:
            if not rule.choices or can_be_chosen(rule):
                return objects_as(rule)
            bare = objects_as(replace(rule, choices=()))
            return self._guarded(lambda: objects_as(*multiplied(rule, meet_objects)), place, "", bare)

        return replace(shape, objects=tuple(found for rule in shape.objects for found in plain(rule).objects))

    def alike(self, conj: Conj) -> Conj:
        """The same conjunction; those of schemas that are written alike are equal."""
        return self._written.alike(conj)

    def stood_for(self) -> list[Conj]:
        """The schemas that others stood for since this was last asked (`alike`)."""
        found, self._written.others = self._written.others, []
        return [(Literal(place),) for place in found]

    def accepts(self, conj: Conj, value: Json) -> bool:
        """Whether a value satisfies all schemas of `conj`, in whatever way it may be written."""
        return self._judge.accepts(conj, value)

    def has_value(self, conj: Conj) -> bool:
        """Whether a shape has more than strings of patterns that no string matches together."""
        shape = self.shape(conj)
        others = shape.null or shape.booleans or shape.numbers or shape.arrays or shape.objects
        return bool(others) or any(map(self._judge.has_string, shape.strings))

    def follows(self, rule: StringRule | ArrayRule | ObjectRule, value: Json) -> bool:
        """Whether a value of a rule's type is as the rule asks, whatever values it lists."""
        return self._judge.follows(rule, value)

    def member(self, rule: ObjectRule, name: str) -> Conj:
        """The schema of the member of this name."""
        return self._judge.member(rule, name)

    def body(self, rule: StringRule) -> int:
        """What a rule on strings allows between the quotes."""
        return self._judge.body(rule)

    def plain_body(self, rule: StringRule) -> int:
        """The same, for questions: see `schema_strings`."""
        return self._judge.plain_body(rule)

    def text_of(self, rule: StringRule, spelling: Encoding, is_wide: bool) -> int:
        """What a rule on names allows between the quotes, see `schema_names`."""
        if is_wide:
            return string_body(rule, any_spelling=True)
        return self.body(rule) if spelling == "json" else self.plain_body(rule)

    def refuse(self, conj: Conj, keyword: str, reason: str, rewrite: str) -> None:
        """Refuse a keyword of one of the places of `conj`."""
        places = list(places_of(conj))
        having = [p for p in places if isinstance(found := self.document.at(p), dict) and keyword in found]
        self._notes.refuse((having or places or ["#"])[0], keyword, reason, rewrite)

    def forget(self) -> None:
        """Let go of the document and all that was read of it; no more can be read, but strings can be written."""
        self.document.forget()
        self._possible.forget()
        for known in (self._of_literal, self._unsettled, self._of_conj):
            known.clear()
        self._inner = None

    def _warn_of_nothing(self, conj: Conj) -> None:
        plain = all(isinstance(part, Literal) and not part.negated for part in conj)
        if plain and all(self.document.at(part.place) is not False for part in conj):
            self._notes.warn(f"{' with '.join(part.place for part in conj)}: nothing satisfies this")

    def _check_dialect(self) -> None:
        dialect = self.document.dialect
        if dialect and draft_of(dialect) is None and "json-schema.org" not in dialect:
            given = f"draft {self.document.draft}"
            self._notes.warn(f"#: {dialect!r} in $schema is not a known dialect; read as {given}")

    def _plain_shape(self, conj: Conj) -> Shape | None:
        """`shape`, where it is plain to see; else None. Most schemas are read here, and nowhere else."""
        if len(conj) != 1 or self._inner is None or not self.document.is_simple:
            return None
        literal = conj[0]
        if type(literal) is not Literal or literal.negated:
            return None
        schema = self.document.at(literal.place)
        return plain_shape(literal.place, schema, self._inner) if type(schema) is dict else None

    def _unsettled_shape(self, conj: Conj) -> Shape:
        """`shape`, with values listed that the rules beside them do not accept."""
        shape = self._unsettled.get(conj)
        if shape is None:
            known = self._unsettled.get(conj[:-1]) if len(conj) > 2 else None
            shape = self._part(conj[0]) if conj else ANYTHING
            if known is not None:
                shape = known
            for part in conj[1:] if known is None else conj[-1:]:
                shape = self._meet(shape, self._part(part), next(places_of(conj), "#"), "")
            self._unsettled[conj] = shape
        return shape

    def _part(self, part: Literal | Same | Either) -> Shape:
        if isinstance(part, Literal):
            return self._read(part, Track.NO)
        if isinstance(part, Same):
            return negation(shape_of_value(part.value)) if part.negated else shape_of_value(part.value)
        return union(*map(self._unsettled_shape, part.options))

    # -- reading ----------------------------------------------------------------------------------------------

    def _read(self, literal: Literal, track: Track = Track.NO) -> Shape:
        """The shape that a literal asks for."""
        known = self._of_literal.get((literal, track))
        if known is not None:
            return known
        if literal in self._open:
            reason = "refers to itself without anything in between"
            raise GrammarError(literal.place, "$ref", reason, "remove the reference")
        if len(self._open) >= MAX_CHAIN:
            reason = f"more than {MAX_CHAIN} references or combinations lead from one to the next"
            raise GrammarError(literal.place, "", reason, "refer to the last of them directly")
        tick()
        self._open.append(literal)
        try:
            result = self._of_literal[literal, track] = self._read_value(literal, track)
        finally:
            self._open.pop()
        return result

    def _read_value(self, literal: Literal, track: Track) -> Shape:
        place, negated, outside = literal.place, literal.negated, literal.scope
        schema = self.document.at(place)
        if isinstance(schema, bool):
            return ANYTHING if schema is not negated else NOTHING
        if not isinstance(schema, dict):
            parent, _, keyword = place.rpartition("/")
            self._notes.refuse(parent, keyword, "a schema must be an object or a boolean", 'write {"type": ...}')
            return ANYTHING
        resource = self.document.resource_of(place)
        scope = self.document.enter(place, outside)
        here = Place(place, schema, resource.draft, scope, resource.unread, self._inner)
        if "$ref" in schema and stands_alone(here.draft):
            return self._read_lone_ref(here, negated, track)
        if not negated:
            return self._holding(here, track)
        result = self._breaking(here)
        return ANYTHING if place in self._notes.refused_places else result

    def _read_lone_ref(self, here: Place, negated: bool, track: Track) -> Shape:
        """Up to draft 7, keywords beside a reference mean nothing."""
        self._notes.enforce(here.name, "$ref")
        for keyword in here.schema:
            if keyword != "$ref" and keyword not in ANNOTATIONS:
                self._notes.ignore(here.name, keyword, "means nothing beside $ref up to draft 7, which $schema names")
                self._notes.warn(f"{here.name}: {keyword!r} beside $ref means nothing in the draft that $schema names")
        target = self._applied.target(here, "$ref")
        return self._read(replace(target, negated=negated), track) if target is not None else ANYTHING

    def _holding(self, here: Place, track: Track) -> Shape:
        """The shape of values that the schema at a place accepts."""
        if here.schema.keys().isdisjoint(_APPLYING):
            return read_shape(here, self._notes, tracked=track > Track.NO)
        asks = [keyword for keyword in _ABOUT_THE_REST if self._applied.has(here, keyword)]
        shape = self._all_but_unevaluated(here, max(track, Track.SOME) if asks else track)
        for keyword in asks:
            shape = self._with_unevaluated(shape, here, keyword, broken=False)
        if asks and track == Track.NO:
            shape = untracked(shape)
        return shape

    def _breaking(self, here: Place) -> Shape:
        """The shape of values that the schema at a place does not accept."""
        result = negation(read_shape(here, self._notes, tracked=False))
        for clause in self._applied.clauses(here):
            result = union(result, self._guarded(clause.breaks, here.name, clause.keyword))
        inner = self._applied.branches(here, "oneOf")
        if inner:
            result = union(result, self._guarded(lambda: self._branched.not_one_of(inner), here.name, "oneOf"))
        for keyword in _ABOUT_THE_REST:
            if self._applied.has(here, keyword):
                whole = self._all_but_unevaluated(here, Track.ALL)
                result = union(result, untracked(self._with_unevaluated(whole, here, keyword, broken=True)))
        return result

    def _all_but_unevaluated(self, here: Place, track: Track) -> Shape:
        shape = read_shape(here, self._notes, tracked=track > Track.NO)
        for clause in self._applied.clauses(here):
            found = self._guarded(lambda clause=clause: clause.holds(track), here.name, clause.keyword)
            shape = self._meet(shape, found, here.name, clause.keyword)
        inner = self._applied.branches(here, "oneOf")
        if not inner:
            return shape
        return self._guarded(lambda: self._branched.one_of(shape, inner, track), here.name, "oneOf", shape)

    def _meet(self, first: Shape, second: Shape, place: str, keyword: str) -> Shape:
        return self._guarded(lambda: self._branched.both(first, second), place, keyword, first)

    def _guarded(self, work: Callable[[], Shape], place: str, keyword: str, otherwise: Shape = ANYTHING) -> Shape:
        """What `work` gives; the keyword is refused when it comes to too many alternatives."""
        try:
            return work()
        except TooMany:
            reason = f"comes to more than {MAX_ALTERNATIVES} combinations of branches"
            self._notes.refuse(place, keyword, reason, "use fewer branches beside each other")
            return otherwise

    # -- what has not been evaluated --------------------------------------------------------------------------

    def _with_unevaluated(self, shape: Shape, here: Place, keyword: str, *, broken: bool) -> Shape:
        """The shape, what nothing has evaluated being as the keyword says, or, if `broken`, breaking that somewhere."""
        schema = here.schema[keyword]
        conj = (
            NEVER
            if schema is False
            else ()
            if schema is True
            else (Literal(child(here.name, keyword), False, here.scope),)
        )
        if keyword == "unevaluatedProperties":
            objects = [with_unseen_members(rule, conj, broken=broken) for rule in shape.objects]
            kept = tuple(rule for rule in objects if rule is not None)
            return replace(NOTHING if broken else shape, objects=kept)
        arrays = [with_unseen_elements(rule, conj, broken=broken) for rule in shape.arrays]
        return replace(NOTHING if broken else shape, arrays=tuple(rule for rule in arrays if rule is not None))


_ABOUT_THE_REST = ("unevaluatedProperties", "unevaluatedItems")
_APPLYING = frozenset({*IN_PLACE, *_ABOUT_THE_REST, "oneOf"})
"""Keywords that make a shape out of more than what the others say."""
