"""Finite automata over bytes as expressions of their own: for languages that are found state by state."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Protocol, TypeVar

from .errors import GrammarError
from .nodes import ALL_BYTES
from .work import tick

T = TypeVar("T", bound=Hashable)
Moves = tuple[tuple[int, int], ...]
"""Masks of bytes, disjoint, with the state after any of them."""

MOST_STATES = 20_000


class AnyMachine(Protocol):
    """A deterministic automaton, of states that are known or made as they are met; from each there is a way to an end.

    States are hashable; equal ones are the same. is_made: whether states are texts, of one byte for each character, and
    made as they are met. is_limit: whether it is a `LimitMachine`.
    """

    is_made: bool
    is_limit: bool

    def after(self, state: Any, byte: int) -> Any | None:
        """The state after a byte; None: no text goes on with it."""
        ...

    def first(self, state: Any) -> int:
        """Mask of the bytes that may come next, and perhaps of some others."""
        ...

    def classes(self, state: Any) -> tuple[int, ...]:
        """A partition of the 256 bytes, as masks; bytes of one class lead to the same state, or to none."""
        ...

    def nearer(self, state: Any) -> tuple[int, Any]:
        """A move, of a state that does not accept, on the shortest way to one that does."""
        ...

    def accepts(self, state: Any) -> bool:
        """Whether texts may end in a state."""
        ...

    def length(self, state: Any) -> int:
        """Bytes that a shortest text from a state still needs."""
        ...


class LimitMachine(AnyMachine, Protocol):
    """One that mostly accepts what else is asked for, and only limits its length; its states are made as they are met.

    relieved: the state in which there is as much room as ever.
    """

    relieved: Any

    def ends(self, state: Any) -> list[bytes]:
        """Texts, a shortest one among them, behind which a text may be over, or goes on more freely; none if it may."""
        ...

    def reliefs(self, state: Any) -> tuple[bytes, ...]:
        """Texts that take little, and behind which there may be as much room as ever."""
        ...

    def most(self, state: Any) -> int:
        """Whole characters that may come at most."""
        ...

    def is_tight(self, state: Any) -> bool:
        """Whether so little room is left that most texts do not fit."""
        ...


class Machine:
    """A deterministic automaton; from each of its states an accepting one can be reached. Never changed.

    moves: of each state. accepting: whether texts may end in a state. lengths: bytes that a shortest text from a state
    still needs.
    """

    is_made = False
    is_limit = False

    def __init__(self, moves: tuple[Moves, ...], accepting: tuple[bool, ...], lengths: tuple[int, ...]) -> None:
        self.moves = moves
        self.accepting = accepting
        self.lengths = lengths

    def after(self, state: int, byte: int) -> int | None:
        """The state after a byte; None: no text goes on with it."""
        return next((after for mask, after in self.moves[state] if mask >> byte & 1), None)

    def first(self, state: int) -> int:
        """Mask of the bytes that may come next."""
        mask = 0
        for part, _ in self.moves[state]:
            mask |= part
        return mask

    def classes(self, state: int) -> tuple[int, ...]:
        """A partition of the 256 bytes, as masks; bytes of one class lead to the same state, or to none."""
        none = ALL_BYTES ^ self.first(state)
        return tuple(sorted([mask for mask, _ in self.moves[state]] + ([none] if none else [])))

    def nearer(self, state: int) -> tuple[int, int]:
        """A move, of a state that does not accept, on the shortest way to one that does."""
        return min(self.moves[state], key=lambda move: self.lengths[move[1]])

    def accepts(self, state: int) -> bool:
        """Whether texts may end in a state."""
        return self.accepting[state]

    def length(self, state: int) -> int:
        """Bytes that a shortest text from a state still needs."""
        return self.lengths[state]


def machine_of(
    start: T, moves: Callable[[T], Iterable[tuple[int, T]]], accepts: Callable[[T], bool], where: str
) -> tuple[Machine, int] | None:
    """The automaton met from `start`, without states that lead nowhere, and where it begins; None: it accepts nothing.

    moves: from a state, masks of bytes with the state after them. Raises GrammarError, naming `where`, for too many
    states.
    """
    numbers = {start: 0}
    order = [start]
    ways: list[dict[int, int]] = []  # of each state: the state after, with the mask of the bytes that lead there
    while len(ways) < len(order):
        tick()
        found: dict[int, int] = {}
        for mask, after in moves(order[len(ways)]):
            if after not in numbers:
                numbers[after] = len(order)
                order.append(after)
            found[numbers[after]] = found.get(numbers[after], 0) | mask
        ways.append(found)
        if len(order) > MOST_STATES:
            reason = f"this takes more than {MOST_STATES:,} states"
            raise GrammarError(where, "", reason, "use smaller counts and fewer conditions on one text")
    accepting = [accepts(state) for state in order]
    lengths = _lengths(ways, accepting)
    alive = {state: i for i, state in enumerate(sorted(lengths))}
    if 0 not in alive:
        return None
    made = Machine(
        tuple(tuple((mask, alive[after]) for after, mask in ways[state].items() if after in alive) for state in alive),
        tuple(accepting[state] for state in alive),
        tuple(lengths[state] for state in alive),
    )
    return made, alive[0]


def _lengths(ways: list[dict[int, int]], accepting: list[bool]) -> dict[int, int]:
    """Bytes to the nearest accepting state, for every state that has one: backwards, breadth first."""
    before: list[list[int]] = [[] for _ in ways]
    for state, found in enumerate(ways):
        for after in found:
            before[after].append(state)
    level = [state for state, accepts in enumerate(accepting) if accepts]
    lengths = dict.fromkeys(level, 0)
    length = 0
    while level:
        length += 1
        level = [s for s in dict.fromkeys(b for state in level for b in before[state]) if s not in lengths]
        lengths.update(dict.fromkeys(level, length))
    return lengths
