"""How many fields of an extraction are right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def count_right(given: Any, expected: Any) -> tuple[int, int]:
    """(right, all) fields of one document. A field is a leaf of nested objects; an array is one field.

    Counted are the fields of both sides: one that is missing, and one that should not be there, are both wrong.
    """
    found, wanted = dict(leaves(given)), dict(leaves(expected))
    every = found.keys() | wanted.keys()
    right = sum(path in found and path in wanted and same(found[path], wanted[path]) for path in every)
    return right, len(every)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(names on the way, value) of every part that is not an object."""
    if not isinstance(value, dict):
        yield path, value
        return
    for name, part in value.items():
        yield from leaves(part, (*path, name))


def same(given: Any, wanted: Any) -> bool:
    """Whether they are equal as JSON values: true is not 1, and 1.0 is 1."""
    if isinstance(given, bool) or isinstance(wanted, bool):
        return given is wanted
    if isinstance(given, list) and isinstance(wanted, list):
        return len(given) == len(wanted) and all(map(same, given, wanted))
    if isinstance(given, dict) and isinstance(wanted, dict):
        return given.keys() == wanted.keys() and all(same(given[name], wanted[name]) for name in given)
    return bool(given == wanted)
