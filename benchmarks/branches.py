"""What a second candidate would save, net of its rows: `python -m benchmarks.drafts --branches`.

A draft is one line of tokens. With branches, a few more tokens would go through the model beside it, each branch in
place of the line from one guess on; where the line is wrong and a branch right, its tokens are kept. The answers are
known beforehand here, so that which branch would be kept is known before the pass: the engine is then given that line
for its draft, and the rows of the others are counted. Passes are so what they would be, to the last one; branches are
made by the engine's own rule, where the chance that they are kept is worth their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from rootform.engine import step
from rootform.engine.drafts import Asked, Draft, Drafter, _Walker
from rootform.engine.guesses import END, Guess, Records, Sort, sort_of
from rootform.engine.types import Message

from .drafts_tasks import WARM, ask

if TYPE_CHECKING:
    from rootform.engine.api import Engine
    from rootform.engine.grammars import Standing
    from rootform.engine.guesses import Trail
    from rootform.engine.running import Sequence as EngineSequence

    from .drafts_tasks import Task

Answers = Mapping[tuple[int, ...], Sequence[int]]
"""Output tokens by prompt."""

Known = Mapping[tuple[str, int], tuple[int, ...]]
"""Output tokens by task and text."""

_FEW = 4  # a place that allows so few tokens has all of them for candidates
_NO_HABIT = 0.001  # the chance said of a candidate that only the grammar names; what comes of it is counted


class Rule(NamedTuple):
    """Which branches a pass has. most: branches. first: only in place of the draft's first guess. worth: times the
    chance from which the engine adds a guess to a line."""

    name: str
    most: int
    first: bool = False
    worth: float = 1.0


RULES = (
    Rule("a line", 0),
    Rule("one branch, at the first guess", 1, first=True),
    Rule("the same, if twice worth it", 1, first=True, worth=2.0),
    Rule("one branch, anywhere", 1),
    Rule("the same, if twice worth it", 1, worth=2.0),
    Rule("up to eight", 8),
)


@dataclass(slots=True)
class Count:
    """Summed over requests. wasted: guessed tokens that were not kept, of lines and branches.  kept: branches."""

    tokens: int = 0
    passes: int = 0
    wasted: int = 0
    branches: int = 0
    kept: int = 0

    def cost(self, pass_rows: float) -> float:
        """Of all tokens, in rows, if a pass costs as much as so many rows beside its own; each token takes one row."""
        return self.tokens + self.wasted + pass_rows * self.passes


@dataclass(slots=True)
class _Fork:
    """A guess of the line, and what else might stand there. chance: that all before it is right; first: that it is."""

    at: int
    chance: float
    first: float
    others: list[Guess]
    trail: Trail
    standing: Standing | None
    walker: _Walker

    def sort(self, rank: int) -> Sort:
        """What other candidates are counted by."""
        other = self.others[rank]
        return sort_of(rank, 10 * round(9 * self.first) + round(9 * other.chance), other.place >= 0)


@dataclass(slots=True)
class _Seen:
    forks: list[_Fork] = field(default_factory=list)
    standing: Standing | None = None


class Branching(Drafter):
    """Makes lines and branches, and gives the line of that branch to the engine which the answer shows to be kept."""

    def __init__(self, rule: Rule, answers: Answers, counted: Count, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._rule, self._answers, self._count = rule, answers, counted
        self._seconds = Records()
        self._seen: dict[int, _Seen] = {}
        self._is_line = True

    def draft(self, sequences: Sequence[EngineSequence], rooms: Sequence[int]) -> list[Draft]:
        self._seen = {}
        drafts = super().draft(sequences, rooms)
        return [self._branched(*each) for each in zip(sequences, drafts, strict=True)]

    def _guess(self, walker: _Walker, worth: float) -> bool:
        if not self._is_line:
            return super()._guess(walker, worth)
        at, chance, trail = len(walker.draft.tokens), walker.chance, walker.trail
        place = walker.place
        standing = self._grammars.standing(place) if place is not None and self._grammars is not None else None
        if not super()._guess(walker, worth):
            return False
        seen = self._seen.setdefault(walker.sequence.key, _Seen(standing=standing))
        others = list(self._others(walker, trail, walker.draft.tokens[at]))
        seen.forks.append(_Fork(at, chance, walker.chance / chance, others, trail, standing, walker))
        return True

    def _others(self, walker: _Walker, trail: Trail, token: int) -> Iterator[Guess]:
        """What else may stand in the place of this token of the line, likeliest first."""
        place, taken = walker.place, {token, END, *self._eos_ids}
        few = place.few_allowed if place is not None else None
        named = [] if few is None or len(few) > _FEW else [Guess(each, _NO_HABIT) for each in few.tolist()]
        for guess in [*walker.habits.guesses(walker.prompt, trail), *named]:
            if guess.token not in taken and self._allows(place, guess.token):
                taken.add(guess.token)
                yield guess

    def _branched(self, sequence: EngineSequence, line: Draft) -> Draft:
        """The line or a branch of it, whichever would be kept further; counts the rows of all."""
        seen = self._seen.get(sequence.key)
        answer = self._answers.get(sequence.request.prompt_ids)
        if seen is None or answer is None:
            return line
        coming = answer[sequence.n_output :]
        n_kept = _n_same(line.tokens, coming)
        kept, n_rows = line, len(line.tokens)
        for fork, branch in self._branches(seen.forks, line):
            n_rows += len(branch.tokens)
            self._count.branches += 1
            if fork.at == n_kept and _n_same(branch.tokens, coming[n_kept:]):
                self._count.kept += 1
                kept = _joined(line, fork.at, branch)
        self._count.wasted += n_rows - _n_same(kept.tokens, coming)
        if seen.standing is not None and sequence.grammar is not None and self._grammars is not None:
            self._grammars.stand(sequence.grammar, seen.standing)
        for fork in seen.forks:
            if fork.at == n_kept < len(coming):
                for rank, other in enumerate(fork.others):
                    self._seconds.note(fork.sort(rank), other.token == coming[n_kept])
        return kept

    def _branches(self, forks: list[_Fork], line: Draft) -> Iterator[tuple[_Fork, Draft]]:
        """By the engine's rule: those whose first token's chance to be kept is worth its row, likeliest first."""
        worth = self._rule.worth / (self._pass_rows + 1)
        forks = forks[:1] if self._rule.first else forks
        tried = [
            (fork.chance * (1 - fork.first) * self._seconds.chance(fork.sort(rank)), fork.at, rank, fork)
            for fork in forks
            for rank in range(len(fork.others))
        ]
        room = forks[0].walker.most - len(line.tokens)
        for chance, _, rank, fork in sorted(tried, key=lambda each: (-each[0], *each[1:3]))[: self._rule.most]:
            if chance < worth or room < 1:
                return
            branch = self._branch(fork, fork.others[rank], chance, worth, room)
            room -= len(branch.tokens)
            yield fork, branch

    def _branch(self, fork: _Fork, other: Guess, chance: float, worth: float, room: int) -> Draft:
        walker = replace(fork.walker, draft=Draft([], [], [0]), trail=fork.trail, most=room, chance=chance, going=True)
        if fork.standing is not None and walker.place is not None and self._grammars is not None:
            self._grammars.stand(walker.place, fork.standing)
        self._is_line = False
        walker.add(other.token, other.place if other.place >= 0 else None)
        self._go_on([walker])
        while walker.going and len(walker.draft.tokens) < room and self._guess(walker, worth):
            self._go_on([walker])
        self._is_line = True
        return walker.draft


def _n_same(tokens: Sequence[int], coming: Sequence[int]) -> int:
    n = 0
    while n < min(len(tokens), len(coming)) and tokens[n] == coming[n]:
        n += 1
    return n


def _joined(line: Draft, at: int, branch: Draft) -> Draft:
    """The line up to there, then the branch."""
    return Draft(
        line.tokens[:at] + branch.tokens,
        [each for each in line.asked if each.n_before <= at]
        + [Asked(each.n_before + at, each.row_id, each.few_allowed) for each in branch.asked],
        [each for each in line.guessed if each < at] + [each + at for each in branch.guessed],
    )


def count(make: Callable[[], Engine], tasks: Sequence[Task], known: Known, rule: Rule) -> Count:
    """Do all tasks by this rule, one text after the other, for the order decides what is learned.

    known: the answers. Raises ValueError where one comes out different.
    """
    counted, answers = Count(), {}
    with mock.patch.object(step, "Drafter", partial(Branching, rule, answers, counted)):
        engine = make()
    try:
        for task in tasks:
            for n, text in enumerate(task.texts):
                prompt = engine.tokenizer.encode_chat((Message("user", text),))
                answers[prompt] = known[task.name, n]
            ask(engine, task, task.texts[:WARM])
        counted.wasted = counted.branches = counted.kept = 0
        for task in tasks:
            for n, text in enumerate(task.texts):
                (completion,) = ask(engine, task, [text])
                counted.tokens += completion.usage.completion_tokens
                counted.passes += completion.usage.forward_passes
                if completion.token_ids != known[task.name, n]:
                    raise ValueError(
                        f"{task.name} {n} is answered differently with drafts; see `python -m benchmarks.drafts`"
                    )
    finally:
        engine.close()
    return counted


HEADER = """\
| | passes/token | branches/token | of these kept % | wasted rows/token | cost vs a line |
|---|---|---|---|---|---|"""


def row(name: str, found: Count, line: Count, pass_rows: float) -> str:
    """A row of the table. line: what is counted with lines alone. pass_rows: as in Count.cost()."""
    n = max(found.tokens, 1)
    return (
        f"| {name} | {found.passes / n:.4f} | {found.branches / n:.4f} "
        f"| {100 * found.kept / max(found.branches, 1):.0f} | {found.wasted / n:.2f} "
        f"| {found.cost(pass_rows) / line.cost(pass_rows):.3f}x |"
    )


def table(
    name: str, make: Callable[[], Engine], tasks: Sequence[Task], known: Known, pass_rows: float
) -> Iterator[str]:
    """A row for each rule."""
    line: Count | None = None
    for rule in RULES:
        found = count(make, tasks, known, rule)
        line = line or found
        yield row(f"{name}: {rule.name}", found, line, pass_rows)
