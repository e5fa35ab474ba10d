"""What an output says next, guessed from its prompt and from the outputs before it. A guess costs no pass of a model.

Extraction copies: an answer is stretches of the document held together by keys and marks. So an output is followed in
two ways at once, as copied tokens, each with its place in the prompt, and as the others, here called literals. What
comes next is one of two moves, to copy the next token or to write a certain literal, and which of them came is counted
by context: the latest literals, and the prompt's tokens ahead of the copying place (they tell where a name ends). A
fresh engine falls back on plain prompt lookup (Saxena, "Prompt Lookup Decoding", 2023): after a token or two that
stand in the prompt, go on copying. A wrong guess costs a row of a pass and nothing else.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

COPY = -1
"""The move: copy a token of the prompt, the one ahead or, after literals, one from wherever a value begins."""
END = -2
"""The move: the output ends. Also stands for the tokens beyond both ends of a prompt."""

_LITERALS = 6  # so many of the latest literals are a context
_MOST_CONTEXTS = 1 << 16  # of one generation; some 20 MB
_MOST_STARTS = 8  # ways in which a value began, remembered for each literal before it
_NEAR = 4  # a value may begin so many tokens after the one copied before
_MOST_PLACES = 64  # of a token in the prompt that are looked at
_FADE = 512  # a track record is halved at so many tries: what held lately counts


class Guess(NamedTuple):
    """token: what comes next, with so much chance. place: where in the prompt it would be copied from, or -1."""

    token: int
    chance: float
    place: int = -1


class Prompt:
    """Token ids that may be copied, with two indices. alike: by token, the one it is compared as (its id without the
    space in front, as a value begins inside quotes)."""

    def __init__(self, ids: Sequence[int], alike: np.ndarray) -> None:
        self.ids = ids
        self._alike = alike
        row = np.asarray(ids, dtype=np.int64)
        self.bare = _row(alike[row])
        self._by_token = _Index(alike[row].astype(np.int64))
        before = np.concatenate([[END, END], row])
        self._by_before = _Index(_pair(before[:-2], before[1:-1]))

    def places(self, token: int) -> list[int]:
        """Where the token stands, ascending; the first ones, where it is frequent."""
        return self._by_token.places(int(self._alike[token]))

    def places_after(self, two: tuple[int, int]) -> list[int]:
        """The places that have these tokens before them, ascending; the first ones, where they are frequent."""
        return self._by_before.places(_pair(*two))

    def has(self, place: int, token: int) -> bool:
        """Whether the token stands there."""
        return place < len(self.ids) and (self.ids[place] == token or self.bare[place] == self._alike[token])

    def ahead(self, place: int) -> int:
        """The token there, END beyond the prompt."""
        return self.ids[place] if 0 <= place < len(self.ids) else END

    def before(self, place: int) -> tuple[int, int]:
        """The two tokens before it."""
        return self.ahead(place - 2), self.ahead(place - 1)


class _Index:
    """Where each key stands."""

    def __init__(self, keys: np.ndarray) -> None:
        order = np.argsort(keys, kind="stable")
        self._places = _row(order)
        self._keys = _row(keys[order])
        self._found: dict[int, list[int]] = {}  # places() of keys asked for: the same few, again and again

    def places(self, key: int) -> list[int]:
        found = self._found.get(key)
        if found is None:
            first = bisect_left(self._keys, key)
            last = min(bisect_right(self._keys, key, first), first + _MOST_PLACES)
            found = self._found[key] = self._places[first:last].tolist()
        return found


def _row(numbers: np.ndarray) -> array[int]:
    """As an array of Python's own: small, and quick to read one by one."""
    return array("q", numbers.astype(np.int64).tobytes())


def _pair(first: Any, second: Any) -> Any:
    """Two token ids (or END) as one number."""
    return (first << 32) + second


@dataclass(slots=True)
class Trail:
    """How an output came about so far. Replaced, never changed.

    place: of the token copied last, -1 before the first.  run: how many tokens have been copied in a row; 0 after a
    literal.  literals: the latest ones since the last copied token.  anchor: the literals before the present run.
    """

    place: int = -1
    run: int = 0
    literals: tuple[int, ...] = ()
    anchor: tuple[int, ...] = ()


Sort = int
"""What guesses are alike in, as one number (see sort_of)."""

_KIND = 8  # the bits of a sort below its kind


def sort_of(kind: int, n: int, flag: bool) -> Sort:
    """kind: of the guess's context (~ of it where it is a literal). n: how often it was met, up to 127.
    flag: whether it never misled."""
    return kind << _KIND | n << 1 | flag


class Records:
    """How often guesses of a sort were right, which is the chance of the next. Little known of it: of its kind."""

    def __init__(self) -> None:
        self._records: dict[Sort, list[float]] = {}
        self._kinds: dict[int, list[float]] = {}

    def chance(self, sort: Sort) -> float:
        right, n = self._kinds.get(sort >> _KIND, _NO_RECORD)
        of_kind = (right + 0.5) / (n + 1)
        right, n = self._records.get(sort, _NO_RECORD)
        return (right + of_kind) / (n + 1)

    def note(self, sort: Sort, was_right: bool) -> None:
        for records, key in ((self._kinds, sort >> _KIND), (self._records, sort)):
            record = records.get(key)
            if record is None:
                record = records[key] = [0.0, 0.0]
            record[0] += was_right
            record[1] += 1
            if record[1] >= _FADE:
                record[0] /= 2
                record[1] /= 2


_NO_RECORD = [0.0, 0.0]


class _Habit:
    """The move that came most in one context, by a running majority vote. n: all moves."""

    __slots__ = ("move", "n", "votes")

    def __init__(self, move: int) -> None:
        self.move, self.votes, self.n = move, 1, 1

    def sort(self, kind: int) -> Sort:
        n = self.n
        return sort_of(kind if self.move == COPY else ~kind, n if n < 4 else 4, self.votes == n)

    def note(self, move: int) -> None:
        self.n += 1
        if move == self.move:
            self.votes += 1
        elif self.votes > 1:
            self.votes -= 1
        else:
            self.move = move


Starts = dict[tuple[int] | tuple[int, int], int]
"""How values began: by token, or by the two tokens before, and how often."""


class Contexts:
    """What is remembered of contexts, for all kinds of outputs together.

    Bounded: what is not met for a whole generation of new contexts is forgotten.
    """

    def __init__(self, most: int = _MOST_CONTEXTS) -> None:
        self._most = most
        self._young: dict[tuple, _Habit | Starts] = {}
        self._old: dict[tuple, _Habit | Starts] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, context: tuple) -> Any:
        """What put() was given, or None."""
        found = self._young.get(context)
        if found is None and self._old and (found := self._old.pop(context, None)) is not None:
            self._young[context] = found
        return found

    def put(self, context: tuple, what: _Habit | Starts) -> None:
        if len(self._young) >= self._most:
            self._old, self._young = self._young, {}
        self._young[context] = what


class Habits:
    """What one kind of outputs (of one constraint, in one namespace) does in which context. Learns as they come.

    number: tells its contexts from those of other kinds in the same store.
    """

    def __init__(self, number: int, contexts: Contexts) -> None:
        self._number = number
        self._contexts = contexts
        self._records = Records()

    # -- guessing ---------------------------------------------------------------------------------------------

    def guesses(self, prompt: Prompt, trail: Trail) -> Iterator[Guess]:
        """What may come next, likelier moves first."""
        moves: dict[int, float] = {}
        first_kind, contexts = self._present(prompt, trail)
        for kind, context in enumerate(contexts, first_kind):
            habit = self._contexts.get(context)
            if habit is not None:
                chance, move = self._records.chance(habit.sort(kind)), habit.move
                if chance > moves.get(move, 0.0):
                    moves[move] = chance
        if trail.run and COPY not in moves:
            moves[COPY] = self._records.chance(_copied(trail))
        for move in sorted(moves, key=moves.__getitem__, reverse=True):
            guess = self._guess(prompt, trail, move, moves[move])
            if guess is not None:
                yield guess

    def _guess(self, prompt: Prompt, trail: Trail, move: int, chance: float) -> Guess | None:
        if move != COPY:
            return Guess(move, chance)
        if trail.run:
            token = prompt.ahead(trail.place + 1)
            return None if token == END else Guess(token, chance, trail.place + 1)
        start = self._start(prompt, trail)
        if start is None:
            return None
        place, sort = start
        return Guess(prompt.bare[place], chance * self._records.chance(sort), place)

    def _start(self, prompt: Prompt, trail: Trail) -> tuple[int, Sort] | None:
        """The likeliest place for a value to begin after these literals, and how sure that is."""
        starts: Starts | None = self._contexts.get(self._before(trail))
        if starts is None:
            return None
        scores: dict[int, int] = {}
        for start, n in starts.items():
            weight = (n if n < 3 else 3) * len(start)
            for place in prompt.places(start[0]) if len(start) == 1 else prompt.places_after(start):
                scores[place] = scores.get(place, 0) + weight
        for near in range(1, _NEAR + 1):
            place = trail.place + near
            if place in scores:
                scores[place] += 1
        if not scores:
            return None
        place, score = max(scores.items(), key=lambda each: (each[1], each[0] > trail.place, -each[0]))
        return place, sort_of(_START, min(score, 12), place > trail.place)

    # -- learning ---------------------------------------------------------------------------------------------

    def follow(self, prompt: Prompt, trail: Trail, token: int, *, is_forced: bool = False) -> Trail:
        """The trail after one more token of the output (or END), which is learned from."""
        first_kind, contexts = self._present(prompt, trail)
        habits: list[_Habit | None] = [self._contexts.get(context) for context in contexts]
        usual = is_forced or token in [habit.move for habit in habits if habit is not None]
        after = step(prompt, trail, token, place=self._began(prompt, trail, token), may_start=not usual)
        move = COPY if after.run else token
        if trail.run:
            self._records.note(_copied(trail), move == COPY)
        for kind, habit in enumerate(habits, first_kind):
            if habit is None:
                self._contexts.put(contexts[kind - first_kind], _Habit(move))
            else:
                self._records.note(habit.sort(kind), habit.move == move)
                habit.note(move)
        return after

    def _began(self, prompt: Prompt, trail: Trail, token: int) -> int | None:
        """Where a value that begins with this token probably stands; learns how values begin."""
        if trail.run or token < 0:
            return None
        places = prompt.places(token)
        if not places:
            return None
        guess = self._start(prompt, trail)
        if guess is not None:
            self._records.note(guess[1], prompt.has(guess[0], token))
        starts: Starts | None = self._contexts.get(self._before(trail))
        if starts is None:
            starts = {}
            self._contexts.put(self._before(trail), starts)
        known = starts

        def fitness(place: int) -> tuple[int, bool, int]:
            return known.get(prompt.before(place), 0), place > trail.place, -abs(place - trail.place)

        place = max(places, key=fitness)
        for start in ((prompt.bare[place],), prompt.before(place)):
            starts[start] = starts.get(start, 0) + 1
        while len(starts) > 2 * _MOST_STARTS:
            del starts[min(starts, key=lambda each: known[each])]
        return place

    def _before(self, trail: Trail) -> tuple:
        return self._number, trail.literals[-1:]

    def _present(self, prompt: Prompt, trail: Trail) -> tuple[int, list[tuple]]:
        """The contexts of the next move, most telling first, and the first one's kind; the others' kinds follow it."""
        mine = self._number
        ahead, then = prompt.ahead(trail.place + 1), prompt.ahead(trail.place + 2)
        if trail.run:
            key, here = trail.anchor[-2:], prompt.ids[trail.place]
            return 0, [
                (mine, 0, key, here, ahead, then),
                (mine, 1, key, ahead, then),
                (mine, 2, ahead, then),
                (mine, 3, key, ahead),
                (mine, 4, key),
            ]
        literals = trail.literals
        return 5, [
            (mine, 5, literals, ahead, then),
            (mine, 6, literals[-2:], ahead, then),
            (mine, 7, literals),
            (mine, 8, literals[-3:]),
            (mine, 9, literals[-2:]),
            (mine, 10, literals[-1:]),
        ]


_START, _COPIED = 20, 21  # kinds of guesses beside those of the contexts


def _copied(trail: Trail) -> Sort:
    return sort_of(_COPIED, min(trail.run, 8), True)


def step(prompt: Prompt, trail: Trail, token: int, *, place: int | None = None, may_start: bool = True) -> Trail:
    """The trail after a token. place: where it stands if a copied run begins with it; None: a literal then."""
    if trail.run:
        if prompt.has(trail.place + 1, token):
            return Trail(trail.place + 1, trail.run + 1, trail.literals, trail.anchor)
        elsewhere = _relocated(prompt, trail, token)
        if elsewhere is not None:
            return Trail(elsewhere, trail.run + 1, trail.literals, trail.anchor)
        return Trail(place=trail.place, literals=(token,))
    if may_start and place is not None:
        return Trail(place=place, run=1, anchor=trail.literals)
    return Trail(trail.place, trail.run, (*trail.literals, token)[-_LITERALS:], trail.anchor)


def _relocated(prompt: Prompt, trail: Trail, token: int) -> int | None:
    """Where else in the prompt the present run stands, followed by this token; the longest such match, then the first
    after the present place."""
    if token < 0:
        return None
    best: tuple[int, bool, int] | None = None
    for place in prompt.places(token):
        n = 0
        while n < trail.run and n < place and prompt.bare[place - 1 - n] == prompt.bare[trail.place - n]:
            n += 1
        if n and (best is None or (n, place > trail.place) > best[:2]):
            best = (n, place > trail.place, place)
    return None if best is None else best[2]
