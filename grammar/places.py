"""Where a sequence stands, byte by byte: inside a frame, with what is to come behind it on a stack.

A frame is left when its expression may end and what comes behind takes the byte. Where a byte could both go on inside
and leave, frame and rest are joined into one expression, so that nothing is lost; then both are followed at once.
"""

from __future__ import annotations

from typing import NamedTuple

from .dfa import Dfa, head_of
from .expr import EPSILON, Exprs, Kind
from .stacks import BOTTOM, Reader

UNLIMITED = (1 << 31) - 1
"""The upper bound of a counted run without one."""

NO_UNIT = -1


class Place(NamedTuple):
    """A point in a frame. Its stack is what a Reader reads, without `popped` entries and with `pushes` on top.

    local: DFA state of what is left of the frame. unit: in a counted run, the DFA state between two units; else
    NO_UNIT. lo, hi: bounds of the run's count, else 0.
    """

    local: int
    unit: int
    lo: int
    hi: int
    popped: int
    pushes: tuple[int, ...]


class Frames:
    """How frames are entered and left, over one DFA."""

    def __init__(self, exprs: Exprs, dfa: Dfa) -> None:
        self.exprs = exprs
        self.dfa = dfa

    def enter(self, expression: int, popped: int, pushes: tuple[int, ...], reader: Reader) -> Place:
        """The place at the start of `expression`: rests of frames it begins with go on the stack."""
        exprs = self.exprs
        while True:
            kind, head, tail = head_of(exprs, expression)
            if kind == Kind.COUNTED and not self._may_follow(head, tail, popped, pushes, reader):
                unit, lo, hi = exprs.node(head)[1:]
                between = self.dfa.state(exprs.repeat(unit, 0, None))
                pushes = pushes if tail == EPSILON else (*pushes, tail)
                return Place(between, between, lo, UNLIMITED if hi is None else hi, popped, pushes)
            if kind == Kind.COUNTED:
                expression = exprs.concat(exprs.repeat(*exprs.node(head)[1:]), tail)
            if kind not in (Kind.FRAME, Kind.REF):
                return Place(self.dfa.state(expression), NO_UNIT, 0, 0, popped, pushes)
            if tail != EPSILON:
                pushes = (*pushes, tail)
            expression = exprs.definition(head) if kind == Kind.REF else exprs.node(head)[1]

    def leave(self, place: Place, reader: Reader) -> Place | None:
        """The place behind the frame of `place`; None: nothing is behind it."""
        if place.pushes:
            return self.enter(place.pushes[-1], place.popped, place.pushes[:-1], reader)
        entry = reader.entry(place.popped)
        return None if entry == BOTTOM else self.enter(entry, place.popped + 1, (), reader)

    def first(self, place: Place, reader: Reader) -> int:
        """Mask of the bytes that texts from `place` may begin with, inside it or behind it; wider where unsure."""
        mask = 0
        while True:
            mask |= self.exprs.first(self.dfa.expression(place.local))
            if place.unit == NO_UNIT and not self.dfa.nullable[place.local]:
                return mask
            behind = self.leave(place, reader)
            if behind is None:
                return mask
            place = behind

    def joined(self, place: Place, reader: Reader) -> Place:
        """The frame of `place` and what is behind it, as one frame."""
        if place.pushes:
            entry, popped, pushes = place.pushes[-1], place.popped, place.pushes[:-1]
        else:
            entry, popped, pushes = reader.entry(place.popped), place.popped + 1, ()
        inner = self.exprs.frame(self.dfa.expression(place.local))
        return Place(self.dfa.state(self.exprs.concat(inner, entry)), NO_UNIT, 0, 0, popped, pushes)

    def _may_follow(self, run: int, tail: int, popped: int, pushes: tuple[int, ...], reader: Reader) -> bool:
        """Whether what stands behind a counted run may begin with a byte the run itself may go on with."""
        exprs = self.exprs
        own = exprs.first(exprs.node(run)[1])
        behind = [tail, *reversed(pushes)]
        while behind:
            if exprs.first(behind[0]) & own:
                return True
            if not exprs.nullable(behind.pop(0)):
                return False
        while (entry := reader.entry(popped)) != BOTTOM:
            if exprs.first(entry) & own:
                return True
            if not exprs.nullable(entry):
                return False
            popped += 1
        return False


class Path:
    """Follows bytes from a place. units: characters begun in the counted run the path is in.

    `open_run` is true until the path leaves the run it began in: then the count it began with is not known here, limits
    are left to the caller, and `units` is relative to it. What the run had when it was left stays in `run_units`.
    """

    def __init__(self, frames: Frames, place: Place, reader: Reader, units: int, *, open_run: bool) -> None:
        self.frames = frames
        self.place = place
        self.reader = reader
        self.units = units
        self.open_run = open_run
        self.run_units = 0

    def copy(self) -> Path:
        """A second path from the same place."""
        other = Path(self.frames, self.place, self.reader, self.units, open_run=self.open_run)
        other.run_units = self.run_units
        return other

    def take(self, byte: int) -> bool:
        """Follow one byte; False, and the path is of no more use, when nothing accepted can follow."""
        dfa = self.frames.dfa
        while True:
            place = self.place
            after = dfa.step(place.local, byte)
            if place.unit != NO_UNIT and self._is_full():
                after = 0
            if after:
                if place.unit == NO_UNIT and dfa.nullable[place.local] and self._leaves_too(byte):
                    self.place = self.frames.joined(place, self.reader)
                    continue
                self._go_to(after)
                return True
            if not self.leave():
                return False

    def goes_on(self, byte: int) -> bool:
        """Whether the frame itself goes on with `byte`."""
        return bool(self.frames.dfa.step(self.place.local, byte)) and not self._is_full()

    def take_all(self, data: bytes) -> bool:
        """Follow all bytes of `data`."""
        return all(map(self.take, data))

    def may_leave(self) -> bool:
        """Whether the frame may end here."""
        place = self.place
        if place.unit == NO_UNIT:
            return self.frames.dfa.nullable[place.local]
        return place.local == place.unit and (self.open_run or self.units >= place.lo)

    def leave(self) -> bool:
        """Step out of the frame; False when it may not end here, or nothing is behind it."""
        if not self.may_leave():
            return False
        if self.open_run:
            self.open_run = False
            self.run_units = self.units
        behind = self.frames.leave(self.place, self.reader)
        if behind is None:
            return False
        self.place = behind
        self.units = 0
        return True

    def accepts(self) -> bool:
        """Whether everything may end here."""
        path = self.copy()
        while path.may_leave():
            if not path.leave():
                return True
        return False

    def _is_full(self) -> bool:
        place = self.place
        return place.local == place.unit and not self.open_run and self.units >= place.hi

    def _leaves_too(self, byte: int) -> bool:
        other = self.copy()
        return other.leave() and other.take(byte)

    def _go_to(self, after: int) -> None:
        place, frames = self.place, self.frames
        if place.unit != NO_UNIT:
            self.units += place.local == place.unit
            self.place = place._replace(local=after)
        elif frames.dfa.halts(after):
            expression = frames.dfa.expression(after)
            self.place = frames.enter(expression, place.popped, place.pushes, self.reader)
        else:
            self.place = place._replace(local=after)
