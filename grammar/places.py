"""Where a sequence stands, byte by byte: inside a frame, with what is to come behind it on a stack.

A frame is left when its expression may end and what comes behind takes the byte. Where a byte could both go on inside
and leave, frame and rest are joined into one expression, so that nothing is lost; then both are followed at once.

A captured text (`captures`) is a frame whose stack entry, a MARK, says what may follow it. As long as one is open, all
bytes from where the outermost began are part of the place.
"""

from __future__ import annotations

from typing import NamedTuple

from .captures import can_end
from .dfa import Dfa, head_of
from .errors import GrammarError
from .expr import EMPTY, EPSILON, POOL, Exprs, Kind
from .pools import using
from .stacks import BOTTOM, Reader
from .texts import NO_TEXT, NOTHING_YET, Texts

UNLIMITED = (1 << 31) - 1
"""The upper bound of a counted run without one."""

NO_UNIT = -1


class Place(NamedTuple):
    """A point in a frame. Its stack is what a Reader reads, without `popped` entries and with `pushes` on top.

    local: DFA state of what is left of the frame. unit: in a counted run, the DFA state between two units; else
    NO_UNIT. lo, hi: bounds of the run's count, else 0; where a text is captured, of what is left of it. text: the
    bytes since the outermost open capture began, in `Frames.texts`.
    """

    local: int
    unit: int
    lo: int
    hi: int
    popped: int
    pushes: tuple[int, ...]
    text: int = NO_TEXT


class Frames:
    """How frames are entered and left, over one DFA."""

    def __init__(self, exprs: Exprs, dfa: Dfa) -> None:
        self.exprs = exprs
        self.dfa = dfa
        self.texts = Texts()

    def enter(
        self,
        expression: int,
        popped: int,
        pushes: tuple[int, ...],
        reader: Reader,
        text: int = NO_TEXT,
        ahead: int | None = None,
    ) -> Place:
        """The place at the start of `expression`: rests of frames it begins with go on the stack.

        ahead: how many bytes behind `text` the place is, where it is not to grow; None: it is at the text's end.
        """
        exprs = self.exprs
        while True:
            kind, head, tail = head_of(exprs, expression)
            if kind == Kind.COUNTED and not self._may_follow(head, tail, popped, pushes, reader):
                unit, lo, hi = exprs.node(head)[1:]
                between = self.dfa.state(exprs.repeat(unit, 0, None))
                pushes = pushes if tail == EPSILON else (*pushes, tail)
                return Place(between, between, lo, UNLIMITED if hi is None else hi, popped, pushes, text)
            if kind == Kind.COUNTED:
                expression = exprs.concat(exprs.repeat(*exprs.node(head)[1:]), tail)
            if kind not in (Kind.FRAME, Kind.REF, Kind.CAPTURE):
                return Place(self.dfa.state(expression), NO_UNIT, 0, 0, popped, pushes, text)
            if tail != EPSILON:
                pushes = (*pushes, tail)
            if kind == Kind.CAPTURE:
                _, expression, begun, rule = exprs.node(head)
                text = text or (self.texts.of(begun) if ahead is None else NOTHING_YET)
                start = self.texts.length(text) + (ahead or 0) - len(begun)
                pushes = (*pushes, exprs.mark(start, expression, begun, rule))
                continue
            expression = exprs.definition(head) if kind == Kind.REF else exprs.node(head)[1]

    def leave(self, place: Place, reader: Reader, loosely: list[bytes] | None = None) -> Place | None:
        """The place behind the frame of `place`; None: nothing is behind it, or the captured text may not be.

        loosely: a list that captured texts are added to when they are left, and which then are not remembered.
        """
        entry, popped, pushes = self.behind(place, reader)
        if entry == BOTTOM:
            return None
        text, node = place.text, self.exprs.node(entry)
        if node[0] == Kind.MARK:
            _, start, _, _, rule = node
            captured = self.texts.read(text, start)
            with using(self.exprs):
                entry = rule.after(captured) if loosely is None else rule.loosely(captured)
            if loosely is not None:
                loosely.append(captured)
            if entry == EMPTY:
                return None
            text = text if start else NO_TEXT
        return self.enter(entry, popped, pushes, reader, text)

    def behind(self, place: Place, reader: Reader) -> tuple[int, int, tuple[int, ...]]:
        """The entry on top of the stack of `place`, or BOTTOM; and `popped` and `pushes` without it."""
        if place.pushes:
            return place.pushes[-1], place.popped, place.pushes[:-1]
        return reader.entry(place.popped), place.popped + 1, ()

    def marks(self, place: Place, reader: Reader) -> list[int]:
        """The marks of the captured texts that are open, from the innermost."""
        found: list[int] = []
        entries = [*reversed(place.pushes)]
        popped = place.popped
        while place.text != NO_TEXT:
            if not entries:
                entries.append(reader.entry(popped))
                popped += 1
            node = self.exprs.node(entries[0])
            if node[0] == Kind.MARK:
                found.append(entries[0])
                if node[1] == 0:
                    break
            del entries[0]
        return found

    def captured(self, place: Place, mark: int) -> int:
        """What is left of the outermost captured text, and what follows it, as one expression."""
        _, _, body, begun, rule = self.exprs.node(mark)
        text = self.texts.read(place.text)
        with using(self.exprs):
            return POOL.capture(POOL.rest(body, text[len(begun) :]), text, rule)

    def can_end(self, place: Place, reader: Reader) -> bool:
        """Whether the captured texts that are open can be gone on with to ones that may be."""
        if place.text == NO_TEXT:
            return True
        entry, _, _ = self.behind(place, reader)
        nodes = [self.exprs.node(mark) for mark in self.marks(place, reader)]
        is_over = self.exprs.node(entry) == nodes[0] and self.dfa.expression(place.local) == EPSILON
        with using(self.exprs):
            return can_end(nodes, self.texts.read(place.text), is_over=is_over)

    def first(self, place: Place, reader: Reader) -> int:
        """Mask of the bytes that texts from `place` may begin with, inside it or behind it; wider where unsure."""
        mask = 0
        while True:
            mask |= self.exprs.first(self.dfa.expression(place.local))
            if place.unit == NO_UNIT and not self.dfa.may_end(place.local):
                return mask
            behind = self.leave(place, reader)
            if behind is None:
                return mask
            place = behind

    def joined(self, place: Place, reader: Reader) -> Place:
        """The frame of `place` and what is behind it, as one frame."""
        entry, popped, pushes = self.behind(place, reader)
        if self.exprs.node(entry)[0] == Kind.MARK:
            reason = "it cannot be told where an element that must differ from others ends"
            raise GrammarError("constraint", "uniqueItems", reason)
        inner = self.exprs.frame(self.dfa.expression(place.local))
        return Place(self.dfa.state(self.exprs.concat(inner, entry)), NO_UNIT, 0, 0, popped, pushes, place.text)

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

    def __init__(
        self,
        frames: Frames,
        place: Place,
        reader: Reader,
        units: int,
        *,
        open_run: bool,
        loosely: list[bytes] | None = None,
    ) -> None:
        self.loosely = loosely  # see Frames.leave
        self.frames = frames
        self.place = place
        self.reader = reader
        self.units = units
        self.open_run = open_run
        self.run_units = 0

    def copy(self) -> Path:
        """A second path from the same place."""
        loosely = None if self.loosely is None else [*self.loosely]
        other = Path(self.frames, self.place, self.reader, self.units, open_run=self.open_run, loosely=loosely)
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
                if place.unit == NO_UNIT and dfa.may_end(place.local):
                    for _ in range(self._frames_left_by(byte)):
                        self.place = self.frames.joined(self.place, self.reader)
                    after = dfa.step(self.place.local, byte)
                self._go_to(after, byte)
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
            return self.frames.dfa.may_end(place.local)
        return place.local == place.unit and (self.open_run or self.units >= place.lo)

    def leave(self) -> bool:
        """Step out of the frame; False when it may not end here, or nothing is behind it."""
        if not self.may_leave():
            return False
        if self.open_run:
            self.open_run = False
            self.run_units = self.units
        behind = self.frames.leave(self.place, self.reader, self.loosely)
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
                return path.place.text == NO_TEXT
        return False

    def _is_full(self) -> bool:
        place = self.place
        return place.local == place.unit and not self.open_run and self.units >= place.hi

    def _frames_left_by(self, byte: int) -> int:
        """How many entries of the stack may be come to at once so that one goes on with `byte`: the most; 0: none does.

        An entry may begin with frames, which are entered and left without coming to another one.
        """
        other, inside, come_to, most = self.copy(), 0, 0, 0
        height = other.height()
        while other.leave():
            inside, come_to = (inside - 1, come_to) if inside else (0, come_to + 1)
            inside += other.height() - (height - 1)
            height = other.height()
            if other.goes_on(byte):
                most = come_to
        return most

    def height(self) -> int:
        """How many entries more than at first are on the stack."""
        return len(self.place.pushes) - self.place.popped

    def _go_to(self, after: int, byte: int) -> None:
        place, frames = self.place, self.frames
        if place.text != NO_TEXT:
            place = place._replace(text=frames.texts.longer(place.text, byte))
        if place.unit != NO_UNIT:
            self.units += place.local == place.unit
            self.place = place._replace(local=after)
        elif frames.dfa.halts(after):
            expression = frames.dfa.expression(after)
            self.place = frames.enter(expression, place.popped, place.pushes, self.reader, place.text)
        else:
            self.place = place._replace(local=after)
