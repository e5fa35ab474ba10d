"""A schema document as a list of all schemas in it, for checks that look at one keyword or one reference at a time."""

from __future__ import annotations

from functools import cached_property

from .schema_document import Json, child, subschemas


class SchemaTree:
    """Every schema of a document with its place, outer ones first, in the order they are written.

    Only local references by JSON pointer are followed: what these checks are for takes no others.
    """

    def __init__(self, root: Json) -> None:
        self.root = root
        self._order: dict[str, int] = {}
        self._schemas: dict[str, dict[str, Json]] = {}
        todo: list[tuple[str, Json]] = [("#", root)]
        while todo:
            place, schema = todo.pop()
            self._order[place] = len(self._order)
            if isinstance(schema, dict):
                self._schemas[place] = schema
                todo += reversed(subschemas(place, schema))

    @property
    def schemas(self) -> list[tuple[str, dict[str, Json]]]:
        """All schemas that are objects."""
        return list(self._schemas.items())

    def position(self, place: str) -> int:
        """Where in the order a place stands."""
        return self._order.get(place, -1)

    def at(self, place: str) -> dict[str, Json]:
        """The schema at a place; {} for a boolean one."""
        return self._schemas.get(place, {})

    def target(self, place: str) -> str | None:
        """The place a local reference points at; None where there is no reference, or it points nowhere."""
        ref = self.at(place).get("$ref")
        return ref if isinstance(ref, str) and ref in self._order else None

    @cached_property
    def recursive(self) -> list[str]:
        """Places whose `$ref` leads back to a schema they are part of."""
        group_of = {place: i for i, group in enumerate(self._groups) for place in group}
        refs = ((place, self.target(place)) for place in self._schemas)
        return [place for place, target in refs if target is not None and group_of[place] == group_of[target]]

    def levels_of_objects(self) -> int:
        """Most objects with properties that stand one in another. One that holds itself counts once."""
        levels: dict[str, int] = {}
        for group in self._groups:
            behind = [levels[part] for place in group for part in self._parts(place) if part in levels]
            own = sum("properties" in self.at(place) for place in group)
            levels.update(dict.fromkeys(group, max(behind, default=0) + own))
        return levels["#"]

    def _parts(self, place: str) -> list[str]:
        """Places of the schemas a schema rests on: inner ones, but not those it only keeps for reference."""
        kept = tuple(child(place, keyword) + "/" for keyword in ("$defs", "definitions"))
        inner = [at for at, _ in subschemas(place, self.at(place)) if not at.startswith(kept)]
        target = self.target(place)
        return inner if target is None else [*inner, target]

    @cached_property
    def _groups(self) -> list[list[str]]:
        """All places in groups that rest on each other, parts before wholes (Tarjan 1972)."""
        number: dict[str, int] = {}
        lowest: dict[str, int] = {}
        waiting: list[str] = []
        groups: list[list[str]] = []
        grouped: set[str] = set()
        for start in self._order:
            todo = [] if start in number else [(start, iter(self._parts(start)))]
            while todo:
                place, parts = todo[-1]
                if place not in number:
                    number[place] = lowest[place] = len(number)
                    waiting.append(place)
                for part in parts:
                    if part not in number:
                        todo.append((part, iter(self._parts(part))))
                        break
                    if part not in grouped:
                        lowest[place] = min(lowest[place], number[part])
                else:
                    todo.pop()
                    if todo:
                        lowest[todo[-1][0]] = min(lowest[todo[-1][0]], lowest[place])
                    if lowest[place] == number[place]:
                        group = [waiting.pop()]
                        while group[-1] != place:
                            group.append(waiting.pop())
                        groups.append(group)
                        grouped.update(group)
        return groups
