"""Patterns over kinds of characters: each kind one letter while looks are worked out, spelled in bytes afterwards.

A pattern tells few kinds of characters apart, though `\\w` alone takes hundreds of states to be read in bytes. So what
takes conditions on conditions is found with a byte for each kind, and each move by such a byte is then replaced by the
reading of a character of that kind.
"""

from __future__ import annotations

from collections.abc import Iterable

from .chars import ANY_CHARACTER, CodePoints, Encoding, complement, intersection, spelled, union
from .expr import EMPTY, EPSILON, POOL
from .machine import Machine, machine_of
from .pools import memo
from .regex_look import MARKS

_LETTERS = [byte for byte in range(256) if byte not in MARKS]
_Pending = tuple[tuple[int, int], ...]
"""Characters half read: what is left of those that lead to a state, and the state."""


class Classes:
    """All characters, as the kinds that some sets tell apart. letters: one byte for each kind."""

    def __init__(self, sets: Iterable[CodePoints]) -> None:
        self._members = _told_apart(dict.fromkeys(sets))
        self._kinds: dict[CodePoints, list[int]] = {}
        for kind, (inside, _) in enumerate(self._members):
            for members in inside:
                self._kinds.setdefault(members, []).append(kind)

    @property
    def are_few(self) -> bool:
        """Whether there is a letter for each."""
        return len(self._members) <= len(_LETTERS)

    def letter_of(self, members: CodePoints) -> int:
        """One letter of a set that was given, or of all characters."""
        kinds = range(len(self._members)) if members == ANY_CHARACTER else self._kinds.get(members, [])
        return POOL.byte_set([_LETTERS[kind] for kind in kinds])

    def spelled(self, machine: Machine, start: int, encoding: Encoding) -> int:
        """The texts of an automaton over letters, spelled."""
        moves = [self._characters(machine, state, encoding) for state in range(len(machine.moves))]

        def step(state: int | _Pending) -> list[tuple[int, int | _Pending]]:
            pending = moves[state] if isinstance(state, int) else state
            found: list[tuple[int, int | _Pending]] = []
            for mask, rests in _by_first_byte(tuple(expression for expression, _ in pending)):
                after = tuple((rest, to) for rest, (_, to) in zip(rests, pending, strict=True) if rest != EMPTY)
                found.append((mask, after[0][1] if after[0][0] == EPSILON else after))
            return found

        found = machine_of(
            start, step, lambda state: isinstance(state, int) and machine.accepting[state], "regex, column 1"
        )
        return EMPTY if found is None else POOL.machine(*found)

    def _characters(self, machine: Machine, state: int, encoding: Encoding) -> _Pending:
        """The characters that lead from a state to others."""
        found = []
        for mask, after in machine.moves[state]:
            kinds = [kind for kind in range(len(self._members)) if mask >> _LETTERS[kind] & 1]
            if kinds:
                members = union(*[self._members[kind][1] for kind in kinds])
                found.append((spelled(members, encoding), after))
        return tuple(found)


def _told_apart(sets: Iterable[CodePoints]) -> list[tuple[tuple[CodePoints, ...], CodePoints]]:
    """The kinds of characters, each with the sets it is in."""
    kinds: list[tuple[tuple[CodePoints, ...], CodePoints]] = [((), ANY_CHARACTER)]
    for members in sets:
        outside = complement(members)
        split = []
        for inside, kind in kinds:
            for among, part in (
                ((*inside, members), intersection(kind, members)),
                (inside, intersection(kind, outside)),
            ):
                if part:
                    split.append((among, part))
        kinds = split
    return kinds


@memo
def _by_first_byte(expressions: tuple[int, ...]) -> list[tuple[int, tuple[int, ...]]]:
    """For the bytes that characters of some sets begin with what is left of each of these."""
    found: dict[tuple[int, ...], int] = {}
    for mask in POOL.byte_classes(POOL.alt(*expressions)):
        for part in _refined(mask, expressions):
            byte = part.bit_length() - 1
            rests = tuple(POOL.raw_derivative(each, byte) for each in expressions)
            if any(rest != EMPTY for rest in rests):
                found[rests] = found.get(rests, 0) | part
    return [(mask, rests) for rests, mask in found.items()]


def _refined(mask: int, expressions: tuple[int, ...]) -> Iterable[int]:
    """The bytes of a mask, apart where they lead on differently in any of the expressions."""
    parts = [mask]
    for expression in expressions:
        classes = POOL.byte_classes(expression)
        parts = [both for part in parts for each in classes if (both := part & each)]
    return parts
