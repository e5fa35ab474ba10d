"""Looking ahead and behind anywhere in a pattern, inside repetitions too.

Each look is a mark in the text: a byte that UTF-8 never has. The pattern with marks, cut down to texts where every mark
has around it what it asks for, is an ordinary language; the automaton that reads it without the marks is the pattern.
"""

from __future__ import annotations

from .errors import GrammarError
from .expr import EMPTY, EPSILON, POOL, Kind
from .machine import Machine, machine_of

MARKS = (0xC0, 0xC1, *range(0xF5, 0x100))
"""Bytes that UTF-8 never has."""

_MARK_MASK = sum(1 << mark for mark in MARKS)


class Looks:
    """The different looks of one pattern, each with its mark."""

    def __init__(self) -> None:
        self._marks: dict[tuple[bool, int], int] = {}

    def mark(self, *, ahead: bool, language: int) -> int:
        """The mark of a place where the rest of the text (ahead), or all text before, must be in `language`."""
        if language == POOL.everything:
            return EPSILON
        key = (ahead, language)
        if key not in self._marks and len(self._marks) == len(MARKS):
            reason = f"there are more than {len(MARKS)} different looks, anchors and boundaries"
            raise GrammarError("regex, column 1", "", reason, "use fewer of them")
        return POOL.byte_set([self._marks.setdefault(key, MARKS[len(self._marks)])])

    def unmarked(self, marked: int) -> tuple[Machine, int] | None:
        """The texts of a pattern with marks, without them: an automaton, and where it begins; None: there are none."""
        every = POOL.everything
        conditions = []
        for (ahead, language), mark in self._marks.items():
            around = POOL.not_(_with_marks(language))
            here = POOL.byte_set([mark])
            wrong = POOL.concat(every, here, around) if ahead else POOL.concat(around, here, every)
            conditions.append(POOL.not_(wrong))
        return _without_marks(POOL.and_(marked, *conditions))


def _with_marks(item: int) -> int:
    """The texts of `item` with marks anywhere."""
    marks = POOL.repeat(POOL.byte_mask(_MARK_MASK), 0, None)
    return POOL.concat(_before_bytes(item, marks, {}), marks)


def _before_bytes(item: int, marks: int, known: dict[int, int]) -> int:
    """The texts of `item` with marks before any of their bytes."""
    if item not in known:
        known[item] = _find_before_bytes(item, marks, known)
    return known[item]


def _find_before_bytes(item: int, marks: int, known: dict[int, int]) -> int:
    if item in (EMPTY, EPSILON, POOL.everything):  # marks behind the last byte of everything do no harm
        return item
    heads = []
    while (node := POOL.node(item))[0] == Kind.CAT:
        heads.append(_before_bytes(node[1], marks, known))
        item = node[2]
    if heads:
        return POOL.concat(*heads, _before_bytes(item, marks, known))
    kind = node[0]
    if kind == Kind.SET:
        return POOL.concat(marks, item)
    if kind == Kind.ALT:
        return POOL.alt(*[_before_bytes(member, marks, known) for member in node[1]])
    if kind == Kind.AND:
        return POOL.and_(*[_before_bytes(member, marks, known) for member in node[1]])
    if kind == Kind.NOT:
        byte = POOL.byte_mask(((1 << 256) - 1) & ~_MARK_MASK)
        return POOL.and_(
            POOL.repeat(POOL.concat(marks, byte), 0, None), POOL.not_(_before_bytes(node[1], marks, known))
        )
    if kind in (Kind.REPEAT, Kind.COUNTED):
        return POOL.repeat(_before_bytes(node[1], marks, known), node[2], node[3])
    raise AssertionError(f"a look holds no node of kind {kind}")


def _without_marks(item: int) -> tuple[Machine, int] | None:
    """The texts of `item`, each without its marks."""
    return machine_of(_past_marks(item), _moves, POOL.nullable, "regex, column 1")


def _moves(item: int) -> list[tuple[int, int]]:
    result = []
    for mask in POOL.byte_classes(item):
        mask &= ~_MARK_MASK
        if mask and (after := POOL.raw_derivative(item, mask.bit_length() - 1)) != EMPTY:
            result.append((mask, _past_marks(after)))
    return result


def _past_marks(item: int) -> int:
    """What may be left of `item` after any number of marks."""
    found, todo = {item}, [item]
    while todo:
        at = todo.pop()
        for mask in POOL.byte_classes(at):
            if mask & _MARK_MASK:
                for mark in MARKS:
                    after = POOL.raw_derivative(at, mark) if mask >> mark & 1 else EMPTY
                    if after != EMPTY and after not in found:
                        found.add(after)
                        todo.append(after)
    return POOL.alt(*found)
