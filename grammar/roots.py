"""Where sequences start: the roots of the constraints that an automaton has compiled."""

from __future__ import annotations

import threading
from contextlib import nullcontext

from .chars import CodePoints
from .collector import PAUSED
from .compile import expression_of, place_of
from .constraints import Constraint, bytes_of_constraint
from .errors import GrammarError
from .expr import LONGEST, Exprs
from .places import Frames
from .pools import using
from .recall import Recall
from .sequences import Sequences
from .stacks import Reader, Stacks
from .states import States
from .work import Limit, within

Start = tuple[int, int, int]
"""State, register and stack."""


class Roots:
    """Compiles constraints of one alphabet and remembers where they start. Safe to use from several threads.

    lock: the automaton's. recall: where names of states are kept, if any.
    """

    def __init__(
        self,
        exprs: Exprs,
        frames: Frames,
        stacks: Stacks,
        sequences: Sequences,
        states: States,
        lock: threading.RLock,
        alphabet: CodePoints | None,
        recall: Recall | None,
    ) -> None:
        self._exprs = exprs
        self._frames = frames
        self._stacks = stacks
        self._sequences = sequences
        self._states = states
        self._lock = lock
        self._alphabet = alphabet
        self._recall = recall
        self._known: dict[Constraint, int] = {}
        self._constraint_bytes = 0  # of the constraints themselves, which may be long
        self._starts: list[Start] = []

    @property
    def nbytes(self) -> int:
        """Memory of what is known."""
        return self._constraint_bytes

    def knows(self, constraint: Constraint) -> bool:
        """Whether a constraint is compiled already."""
        with self._lock:
            return constraint in self._known

    def start(self, root: int) -> Start:
        """Where sequences of a root start."""
        return self._starts[root]

    def compile(self, constraint: Constraint, limit: Limit | None) -> int:
        """The root of a constraint. Raises GrammarError, also when `limit` is passed."""
        with self._lock:
            known = self._known.get(constraint)
        if known is None:
            try:
                with using(self._exprs), within(limit), PAUSED:
                    known = self._compile(constraint, limit)
            except RecursionError as error:
                raise GrammarError(place_of(constraint), "", "is nested too deeply", "nest it less") from error
            with self._lock:
                self._known[constraint] = known
                self._constraint_bytes += bytes_of_constraint(constraint)
                if self._recall is not None:
                    state, _, stack = self.start(known)
                    self._recall.name_root(constraint, state, stack)
        return known

    def _compile(self, constraint: Constraint, limit: Limit | None) -> int:
        expression = expression_of(constraint, self._alphabet)
        self._exprs.byte_classes(expression)  # so that others need not wait for it below
        if self._exprs.shortest_length(expression) > LONGEST:
            reason = f"the shortest text it allows has more than {LONGEST} bytes"
            raise GrammarError(place_of(constraint), "", reason, "allow a shorter one")
        with limit.in_haste() if limit else nullcontext():
            return self.root_of(expression)

    def root_of(self, expression: int) -> int:
        """The root of an expression that is not empty."""
        with self._lock:
            place = self._frames.enter(expression, 0, (), Reader(self._stacks, 0))
            stack = self._stacks.push_all(0, self._sequences.of(place.pushes))
            self._starts.append((self._states.of(place), 0, stack))
            return len(self._starts) - 1
