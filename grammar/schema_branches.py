"""Schemas of which some hold, one alone, or none: `anyOf`, `oneOf`, and what breaks them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations

from msgspec.structs import replace

from .errors import GrammarError
from .schema_accepts import Judge
from .schema_clauses import Track, flipped, objects_as
from .schema_negation import having
from .schema_possible import Possible, Tags, exclude_each_other
from .schema_rules import Literal, opposite
from .schema_shapes import ANYTHING, NOTHING, TYPES, Shape, is_tracked, meet, of_types, union


class Branches:
    """Makes shapes of lists of schemas, none of which is empty. read: the shape that a literal asks for."""

    def __init__(self, read: Callable[[Literal, Track], Shape], judge: Judge, possible: Possible) -> None:
        self._read_as = read
        self._judge = judge
        self._possible = possible

    def _read(self, literal: Literal, track: Track = Track.NO) -> Shape:
        return self._read_as(literal, track)

    def both(self, first: Shape, second: Shape) -> Shape:
        """The shape of values that have both shapes. Raises TooMany."""
        return meet(first, second, self._possible.narrowed)

    def some_of(self, inner: list[Literal], track: Track) -> Shape:
        """At least one of the schemas; which ones, where it matters what has been evaluated."""
        if track == Track.NO:
            return union(*map(self._read, inner))
        none, some = ANYTHING, NOTHING
        for literal in inner:
            shape = self._read(literal, track)
            without = self._read(flipped(literal)) if track == Track.ALL else ANYTHING
            both = self.both(some, shape) if track == Track.ALL or is_tracked(shape) else NOTHING
            some = union(self.both(some, without), both, self.both(none, shape))
            none = self.both(none, without)
        return some

    def none_of(self, inner: list[Literal]) -> Shape:
        """None of the schemas."""
        return self._without(ANYTHING, inner)

    def _without(self, shape: Shape, inner: list[Literal]) -> Shape:
        """The shape of those of its values that satisfy none of some schemas."""
        tags = [self._tags(literal) for literal in inner] if len(inner) > 1 else [{}]
        common = Counter(name for each in tags for name in each)
        for literal, names in zip(inner, tags, strict=True):
            if not shape.is_possible():
                break
            tag = max(names, key=lambda name: common[name], default=None)
            shape = self.both(shape, self._read(flipped(literal)) if tag is None else self._broken(literal, tag))
        return shape

    def _tags(self, literal: Literal) -> Tags:
        try:
            return self._possible.tags(self._read(literal))
        except GrammarError:  # it is being read just now
            return {}

    def _broken(self, literal: Literal, tag: str) -> Shape:
        """What breaks a schema: no tag, another value of it, or the rest where the tag is as the schema asks.

        So what breaks one schema leaves none of those with other tags to be broken.
        """
        whole = self._read(flipped(literal))
        conj = self._judge.member(self._read(literal).objects[0], tag)
        rest = self.both(replace(NOTHING, objects=whole.objects), objects_as(having(tag, conj)))
        return replace(whole, objects=(replace(having(tag, opposite(conj)), required=()), *rest.objects))

    def one_of(self, around: Shape, inner: list[Literal], track: Track) -> Shape:
        """One branch and none of those that some value might satisfy as well; each type of values by itself."""
        branches = [self.both(around, self._read(literal, track)) for literal in inner]
        overlaps: list[dict[str, list[Literal]]] = [{} for _ in inner]
        for i, j, both in self._overlaps(branches):
            for kind in TYPES:
                if getattr(both, kind):
                    overlaps[i].setdefault(kind, []).append(inner[j])
                    overlaps[j].setdefault(kind, []).append(inner[i])
        alone = zip(branches, overlaps, strict=True)
        return union(*[part for branch, others in alone for part in self._apart(branch, others)])

    def _apart(self, branch: Shape, others: dict[str, list[Literal]]) -> Iterator[Shape]:
        """The values of a branch, those of some types without what others accept."""
        yield of_types(branch, (kind for kind in TYPES if kind not in others))
        alike: dict[tuple[Literal, ...], list[str]] = {}
        for kind, inner in others.items():
            alike.setdefault(tuple(inner), []).append(kind)
        for inner, kinds in alike.items():
            yield self._without(of_types(branch, kinds), list(inner))

    def _overlaps(self, branches: list[Shape]) -> Iterator[tuple[int, int, Shape]]:
        """Branches by number that some values might have in common, and the shape of these."""
        tags = [self._possible.tags(branch) for branch in branches]
        for (i, first), (j, second) in combinations(enumerate(branches), 2):
            if exclude_each_other(tags[i], tags[j]):
                first = replace(first, objects=())
            if first.is_possible():
                both = self._possible.left(self.both(first, second))
                if both.is_possible():
                    yield i, j, both

    def not_one_of(self, inner: list[Literal]) -> Shape:
        """None of the branches, or two."""
        pairs = (both for _, _, both in self._overlaps([self._read(literal) for literal in inner]))
        return union(self.none_of(inner), *pairs)
