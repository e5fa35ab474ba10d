"""How sequences end, and what they have to go through: shortest texts, their lengths, forced bytes."""

from __future__ import annotations

from contextlib import suppress

from .dfa import Dfa, bytes_of
from .errors import GrammarError
from .places import NO_UNIT, Frames, Path, Place
from .stacks import Reader, Stacks
from .states import States
from .texts import NO_TEXT

_FORCED_LIMIT = 4096


def too_deep() -> GrammarError:
    """What is said when Python's stack is not deep enough."""
    return GrammarError("constraint", "", "is nested too deeply", "nest it less")


class Endings:
    """Of the sequences of one automaton. Whoever calls holds its lock."""

    def __init__(self, frames: Frames, dfa: Dfa, states: States, stacks: Stacks) -> None:
        self._frames = frames
        self._dfa = dfa
        self._exprs = frames.exprs
        self._states = states
        self._stacks = stacks
        self._behind = {0: 0}  # by stack: see _bytes_behind

    def completion(self, state: int, register: int, stack: int) -> bytes:
        """A shortest text that ends well from here. Raises GrammarError for one that is nested too deeply."""
        try:
            return self._completion(state, register, stack)
        except RecursionError as error:
            raise too_deep() from error

    def bytes_left(self, state: int, register: int, stack: int) -> int:
        """The length of `completion`, which is at hand where that has to be put together."""
        place = self._states[state]
        if place.text != NO_TEXT:
            return len(self.completion(state, register, stack))
        total = self._exprs.shortest_length(self._dfa.expression(place.local)) + self._bytes_behind(stack)
        if place.lo > register:
            total += self._exprs.shortest_length(self._one_unit(place)) * (place.lo - register)
        return total

    def forced(self, state: int, register: int, stack: int) -> bytes:
        """The bytes that every text from here begins with, 4096 at most; fewer where no more can be told."""
        path = Path(self._frames, self._states[state], Reader(self._stacks, stack), register, open_run=False)
        out = bytearray()
        with suppress(GrammarError, RecursionError):  # the mask and the step that meet them say so
            self._follow_forced(path, out)
        return bytes(out)

    def _completion(self, state: int, register: int, stack: int) -> bytes:
        place = self._states[state]
        if place.text != NO_TEXT:
            return self._captured_completion(place, stack)
        parts = [self._dfa.expression(place.local), *self._stacks.entries(stack)]
        texts = [self._exprs.shortest(part) or b"" for part in parts]
        if place.unit != NO_UNIT:
            texts[0] += (self._exprs.shortest(self._one_unit(place)) or b"") * max(place.lo - register, 0)
        return b"".join(texts)

    def _captured_completion(self, place: Place, stack: int) -> bytes:
        reader = Reader(self._stacks, stack)
        outermost = self._frames.marks(place, reader)[-1]
        rest = self._exprs.shortest(self._frames.captured(place, outermost)) or b""
        below = self._stacks.entries(stack)
        return b"".join([rest, *[self._exprs.shortest(entry) or b"" for entry in below[below.index(outermost) + 1 :]]])

    def _bytes_behind(self, stack: int) -> int:
        """Bytes that the entries of a stack come to at least."""
        todo = []
        while stack not in self._behind:
            todo.append(stack)
            stack = self._stacks.below(stack)
        total = self._behind[stack]
        for above in reversed(todo):
            total += self._exprs.shortest_length(self._stacks.top(above))
            self._behind[above] = total
        return total

    def _one_unit(self, place: Place) -> int:
        return self._exprs.node(self._dfa.expression(place.unit))[1]

    def _follow_forced(self, path: Path, out: bytearray) -> None:
        while len(out) < _FORCED_LIMIT and not path.accepts():
            byte = self._only_byte(path)
            if byte is None or not path.take(byte):
                break
            out.append(byte)

    def _only_byte(self, path: Path) -> int | None:
        """The one byte that may come next; None when there are several, or none."""
        found: set[int] = set()
        path = path.copy()
        while True:
            found.update(self._next_bytes(path, most=2))
            if len(found) > 1:
                return None
            if not path.may_leave() or not path.leave():
                return found.pop() if found else None

    def _next_bytes(self, path: Path, most: int) -> list[int]:
        """Bytes that may come next without leaving the frame: all of them, or `most` or more."""
        found: list[int] = []
        local = path.place.local
        for mask in self._exprs.byte_classes(self._dfa.expression(local)):
            members = bytes_of(mask)
            if path.goes_on(int(members[0])):
                found += members.tolist()
            if len(found) >= most:
                break
        return found
