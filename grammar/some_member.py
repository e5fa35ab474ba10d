"""Some string of an intersection, seen without a search: by what its parts ask for, one after the other.

That there is one is often all that is asked, and a shortest one may be hard to tell from those that are a bit longer.
What is tried are shortest strings of some parts, gone on with until the others have what they need. Where a machine
only limits lengths (`machine.LimitMachine`), what takes less of them is tried, too. What is found is a member; where
nothing is, there may be one nevertheless.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .nodes import EMPTY, Kind
from .work import tick

if TYPE_CHECKING:
    from .expr import Exprs
    from .machine import AnyMachine, LimitMachine
    from .witness import Witness

_MOST_TRIED = 1000  # bytes of a text that is held against the members of an intersection
_MOST_DEEP = 8  # texts in which room is made, one inside the other
_BACK = 2  # bytes
_MOST_PARTS = 6
_RELIEFS = (b".", b"0.")
"""Behind which another label of a host name begins, of which nothing is written: most that is asked of it can be."""


class SomeMember:
    """Remembers, for a pool, some string of each intersection asked about."""

    def __init__(self, exprs: Exprs, witness: Witness) -> None:
        self._exprs = exprs
        self._witness = witness
        self._found: dict[int, bytes | None] = {}
        self._texts: dict[int, bytes] = {}  # of plain expressions: a shortest one
        self._depth = 0
        self._is_cut = False  # whether something was given up for its depth

    def __len__(self) -> int:
        return len(self._found) + len(self._texts)

    def find(self, item: int) -> bytes | None:
        """A string of an expression; None: none is seen."""
        exprs = self._exprs
        if exprs.known_length(item) is not None or exprs.plain(item):
            return self._witness.shortest(item)
        if item not in self._found:
            tick()
            self._is_cut = self._is_cut and self._depth > 0
            kind, *parts = exprs.node(item)
            if kind == Kind.ALT:
                found = next((text for text in map(self.find, parts[0]) if text is not None), None)
            elif kind == Kind.CAT:
                found = self._joined(self.find(parts[0]), parts[1])
            else:
                found = self._of_members(parts[0]) if kind == Kind.AND else None
            if found is None and self._is_cut:
                return None  # for now: there may be one with less around it
            self._found[item] = found
        return self._found[item]

    def needs_most(self, members: Iterable[int]) -> tuple[int, bytes] | None:
        """The plain expression of some of which the shortest string is the longest, with that string; None: none has.

        None, too, where that is too long to be held against the others.
        """
        plain = [member for member in members if self._exprs.plain(member)]
        longest = max(plain, key=self._witness.length, default=None)
        if longest is None or self._witness.length(longest) > _MOST_TRIED:
            return None
        if longest not in self._texts:
            text = self._witness.shortest(longest)
            assert text is not None
            self._texts[longest] = text
        return longest, self._texts[longest]

    def _joined(self, begin: bytes | None, rest: int) -> bytes | None:
        end = None if begin is None else self.find(rest)
        return None if begin is None or end is None else begin + end

    def _of_members(self, members: tuple[int, ...]) -> bytes | None:
        """A string that all of some expressions have."""
        limits = [member for member in members if self.is_limit(member)]
        others = [member for member in members if member not in limits]
        if len(limits) == 1:
            _, machine, state = self._exprs.node(limits[0])
            return self._within(machine, state, self._exprs.and_(*others))
        return None if limits else self._of_others(others)

    # -- a text that must be long -----------------------------------------------------------------------------

    def _of_others(self, members: list[int]) -> bytes | None:
        """A string of some plain expression that all have, or one of the others, with more behind it."""
        exprs = self._exprs
        most = self.needs_most(members) if len(members) > 1 else None
        if most is None:
            return None
        longest, text = most
        others = exprs.and_(*[member for member in members if member != longest])
        if exprs.fullmatch(others, text):
            return text
        for is_last in (True, False):
            for begin in self._begins(others):
                found = self._padded(
                    begin, self._exprs.rest(longest, begin), self._exprs.rest(others, begin), is_last=is_last
                )
                if found is not None:
                    return found
        return None

    def _padded(self, begin: bytes, longest: int, others: int, *, is_last: bool) -> bytes | None:
        """A text with what the longest still asks for behind a beginning, and then, unless that is last, an end."""
        pad = self._witness.shortest(longest) if others != EMPTY else None
        if pad is None:
            return None
        if is_last:
            return begin + pad if self._exprs.nullable(self._exprs.rest(others, pad)) else None
        before = self.find(others) or b""
        for size in dict.fromkeys((max(len(pad) - len(before), 0), len(pad))):
            end = self.find(self._exprs.rest(others, pad[:size]))
            if end is not None and self._exprs.nullable(self._exprs.rest(longest, pad[:size] + end)):
                return begin + pad[:size] + end
        return None

    def _begins(self, others: int) -> Iterator[bytes]:
        """Texts after which the shortest that the longest still asks for may do."""
        yield b""
        begin = self.find(others)
        if begin is not None:
            yield begin
            yield from (begin + relief for relief in _RELIEFS)

    # -- a machine that limits lengths ------------------------------------------------------------------------

    def is_limit(self, item: int) -> bool:
        """Whether an expression is a machine that limits lengths."""
        node = self._exprs.node(item)
        return node[0] == Kind.MACHINE and node[1].is_limit

    def _within(self, machine: LimitMachine, state: Any, others: int) -> bytes | None:
        """A string of an expression that a machine accepts from a state."""
        text = self.find(others)
        if text is None:
            text = self._witness.shortest(others)
        if text is None:
            return None
        size = _read(machine, state, text)
        if size == len(text) and is_accepted(machine, state, text):
            return text
        if self._depth >= _MOST_DEEP:
            self._is_cut = True
            return None
        self._depth += 1
        try:
            return self._relieved(machine, state, others, text[:size])
        finally:
            self._depth -= 1

    def _parts(self, item: int) -> list[int]:
        """Some expressions that are an alternation, or an intersection with one, together."""
        node = self._exprs.node(item)
        if node[0] == Kind.ALT:
            return list(node[1][:_MOST_PARTS])
        found = []
        for member in node[1] if node[0] == Kind.AND else ():
            kind, *rest = self._exprs.node(member)
            if kind == Kind.ALT:
                others = [each for each in node[1] if each != member]
                found += [self._exprs.and_(*others, each) for each in rest[0][:_MOST_PARTS]]
        return found

    def _relieved(self, machine: LimitMachine, state: Any, others: int, text: bytes) -> bytes | None:
        """`_within`, of strings that go on otherwise than a text that is soon too long: as its end, or by a dot."""
        for part in self._parts(others):
            found = self.find(part)
            if found is not None and is_accepted(machine, state, found):
                return found
        for begin in machine.ends(state):
            end = self._within(machine, _after(machine, state, begin), self._exprs.rest(others, begin))
            if end is not None:
                return begin + end
        sizes = [] if state == machine.relieved else [0]
        for size in dict.fromkeys([*sizes, *range(len(text), max(len(text) - _BACK, 0) - 1, -1)]):
            for relief in machine.reliefs(state):
                begin = text[:size] + relief
                if _read(machine, state, begin) < len(begin):
                    continue
                rest = self._exprs.rest(others, begin)
                end = None if rest == EMPTY else self.find(self._exprs.and_(_relieved(self._exprs, machine), rest))
                if end is not None and is_accepted(machine, state, begin + end):
                    return begin + end
        for letter in [relief[:-1] for relief in machine.reliefs(state) if len(relief) > 1]:
            end = self.find(self._exprs.rest(others, letter))
            if end is not None and is_accepted(machine, state, letter + end):
                return letter + end
        return None


def is_accepted(machine: AnyMachine, state: Any, text: bytes) -> bool:
    """Whether a machine accepts a text from a state."""
    for byte in text:
        state = machine.after(state, byte)
        if state is None:
            return False
    return machine.accepts(state)


def _read(machine: AnyMachine, state: Any, text: bytes) -> int:
    """The bytes of a text with which a machine goes on from a state."""
    for at, byte in enumerate(text):
        state = machine.after(state, byte)
        if state is None:
            return at
    return len(text)


def _after(machine: AnyMachine, state: Any, text: bytes) -> Any:
    for byte in text:
        state = machine.after(state, byte)
    return state


def _relieved(exprs: Exprs, machine: LimitMachine) -> int:
    return exprs.machine(machine, machine.relieved)
