"""Drafts: tokens guessed to follow a sequence, put through the model together and kept as far as they prove right.

The grammar goes along while a draft is made: what it does not allow is not guessed, what it forces stands in the draft
between the guesses, and each place where the model is asked has its mask. Afterwards the states are put back, which
costs nothing, and the sequence is decoded as always, only that the logits of its next tokens are there already. So
drafts change what a pass computes, and never an output.

(Speculative decoding: Leviathan et al., arXiv:2211.17192, here without a draft model.)
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from ..grammar.constraints import Constraint, JsonSchema
from .grammars import Grammars, Standing
from .guesses import END, Contexts, Habits, Prompt, Trail, step
from .payoff import Payoff
from .running import Constrained, Sequence

_MOST_TOKENS = 15  # of one draft; attention reads up to 16 tokens of a sequence with those of its neighbours
_PASS_IN_ROWS = 26.0  # what a pass costs beside its rows and sequences, in rows; measured 16 to 31 on the CPU
_SEQUENCE_IN_ROWS = 0.5  # and for each of its sequences; measured 0.25 to 0.75 in batches of 32 and 64
_MOST_KINDS = 256


class Asked(NamedTuple):
    """A place where the model is asked: after so many tokens of the draft, under this mask (see Constrained)."""

    n_before: int
    row_id: int
    few_allowed: np.ndarray | None


@dataclass(slots=True)
class Draft:
    """tokens: guessed and forced ones. asked: first of all before the draft, then after each guess.

    guessed: which of the tokens are guesses, by number.
    """

    tokens: list[int]
    asked: list[Asked]
    guessed: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Follower:
    """What is known of one sequence's output.

    n_followed: its tokens, the prompt's among them, learned from so far.  n_seen: those counted.
    """

    kind: _Kind
    n_followed: int
    n_seen: int
    trail: Trail = field(default_factory=Trail)
    prompt: Prompt | None = None  # made when drafts are


class _Kind(NamedTuple):
    """What outputs of one constraint, in one namespace, are like; and whether drafts pay for them."""

    habits: Habits
    payoff: Payoff


@dataclass(slots=True, eq=False)
class _Walker:
    """A draft in the making."""

    sequence: Sequence
    habits: Habits
    prompt: Prompt
    draft: Draft
    trail: Trail
    most: int
    standing: Standing | None = None  # where the grammar was before the first guess
    chance: float = 1.0
    going: bool = True

    @property
    def place(self) -> Constrained | None:
        return self.sequence.grammar

    def add(self, token: int, at: int | None = None) -> None:
        """One more token; at: the place in the prompt it is copied from."""
        self.draft.tokens.append(token)
        self.trail = step(self.prompt, self.trail, token, place=at, may_start=at is not None)


class Drafter:
    """Owns what is learned from outputs. eos_ids: tokens no draft holds."""

    def __init__(self, grammars: Grammars | None, eos_ids: frozenset[int], alike: np.ndarray) -> None:
        """alike: see without_space()."""
        self._grammars = grammars
        self._eos_ids = eos_ids
        self._alike = alike
        self._contexts = Contexts()
        self._kinds: dict[tuple[str, Constraint | None], _Kind] = {}  # by namespace and constraint, latest last
        self._pass_rows = _PASS_IN_ROWS  # of the pass that draft() was for last: what a sequence's share of it costs
        self._n_kinds = 0

    # -- drafting ---------------------------------------------------------------------------------------------

    def draft(self, sequences: SequenceOf[Sequence], rooms: SequenceOf[int]) -> list[Draft]:
        """A draft for each sequence, often an empty one. rooms: the most tokens each may have."""
        self._pass_rows = _PASS_IN_ROWS / max(1, len(sequences)) + _SEQUENCE_IN_ROWS
        worth = 1 / (self._pass_rows + 1)  # a guess that is kept saves its sequence a row and its share of a pass
        drafts = [plain(sequence) for sequence in sequences]
        walkers = [self._walker(*each) for each in zip(sequences, drafts, rooms, strict=True) if self.pays(each[0])]
        going = walkers
        while going := [each for each in going if each.going and len(each.draft.tokens) < each.most]:
            going = [each for each in going if self._guess(each, worth)]
            self._go_on(going)
        for walker in walkers:
            if walker.standing is not None and walker.place is not None and self._grammars is not None:
                self._grammars.stand(walker.place, walker.standing)
        return drafts

    def pays(self, sequence: Sequence) -> bool:
        """Whether drafts are made for the sequence at this time."""
        return not sequence.over_vocabulary and not self._follower(sequence).kind.payoff.resting

    def _walker(self, sequence: Sequence, draft: Draft, room: int) -> _Walker:
        follower = self._follower(sequence)
        self._learn(sequence, follower)  # what was said while drafts rested
        # The pass gives a token more than was drafted, for which there must be room in the request.
        most = min(_MOST_TOKENS, room, sequence.remaining - 1)
        habits, prompt = follower.kind.habits, self._prompt_of(sequence, follower)
        return _Walker(sequence, habits, prompt, draft, follower.trail, most)

    def _guess(self, walker: _Walker, worth: float) -> bool:
        """Add the likeliest token that the grammar allows; False when none is worth its row of the pass."""
        place = walker.place
        for guess in walker.habits.guesses(walker.prompt, walker.trail):
            if guess.token == END:
                return False
            if walker.chance * guess.chance < worth:
                continue  # where a value begins may be less sure than that one does; another move may do
            if guess.token not in self._eos_ids and self._allows(place, guess.token):
                walker.chance *= guess.chance
                walker.draft.guessed.append(len(walker.draft.tokens))
                walker.add(guess.token, guess.place if guess.place >= 0 else None)
                return True
        return False

    def _allows(self, place: Constrained | None, token: int) -> bool:
        return place is None or (self._grammars is not None and self._grammars.allows(place, token))

    def _go_on(self, walkers: list[_Walker]) -> None:
        """Move each grammar by the guess, and as far as it forces tokens; then note where the model is asked."""
        constrained = [each for each in walkers if each.place is not None]
        for walker in walkers:
            if walker.place is None:
                walker.draft.asked.append(Asked(len(walker.draft.tokens), -1, None))
        if self._grammars is None or not constrained:
            return
        for walker in constrained:
            if walker.standing is None and walker.place is not None:
                walker.standing = self._grammars.standing(walker.place)
        moving, tokens = constrained, [each.draft.tokens[-1] for each in constrained]
        while moving:
            moving, tokens = self._move(self._grammars, moving, tokens)

    def _move(self, grammars: Grammars, walkers: list[_Walker], tokens: list[int]) -> tuple[list[_Walker], list[int]]:
        """Move each grammar by a token. Those that go on at once by forced tokens, and the last of these."""
        places = [each.place for each in walkers if each.place is not None]
        went = grammars.go(places, tokens)
        grammars.look(places)
        again: list[_Walker] = []
        for walker, place, has_gone in zip(walkers, places, went.tolist(), strict=True):
            walker.going = has_gone and not grammars.is_finished(place)
            forced = grammars.forced(place) if walker.going else ()
            forced = forced if not forced or forced[0] not in self._eos_ids else ()
            if forced and self._add_forced(grammars, walker, place, forced):
                again.append(walker)
            elif walker.going:
                walker.draft.asked.append(Asked(len(walker.draft.tokens), place.row_id, place.few_allowed))
        return again, [each.draft.tokens[-1] for each in again]

    def _add_forced(self, grammars: Grammars, walker: _Walker, place: Constrained, forced: SequenceOf[int]) -> bool:
        """Add forced tokens, the grammar moved by all but the last; False (and no more of this draft) if there is no
        room for them."""
        if len(walker.draft.tokens) + len(forced) > walker.most:
            walker.going = False
            return False
        for token in forced[:-1]:
            walker.add(token)
            if not grammars.go([place], [token])[0]:
                walker.going = False
                return False
        walker.add(forced[-1])
        return True

    # -- learning ---------------------------------------------------------------------------------------------

    def follow(self, sequence: Sequence, draft: Draft, n_kept: int, *, ended_itself: bool = False) -> None:
        """Learn from what a pass added to the sequence, n_kept tokens of its draft first.

        ended_itself: the model chose to end.
        """
        follower = self._follower(sequence)
        payoff = follower.kind.payoff
        n_new, follower.n_seen = len(sequence.ids) - follower.n_seen, len(sequence.ids)
        was_resting = payoff.resting
        payoff.note(
            n_new,
            pass_rows=self._pass_rows,
            n_drafted=len(draft.tokens),
            n_kept=n_kept,
            passes_saved=sum(at < n_kept for at in draft.guessed),
        )
        if was_resting:
            return
        self._learn(sequence, follower)
        if ended_itself:
            habits, prompt = follower.kind.habits, self._prompt_of(sequence, follower)
            follower.trail = habits.follow(prompt, follower.trail, END)

    def _learn(self, sequence: Sequence, follower: Follower) -> None:
        """Learn from the tokens not yet learned from."""
        if follower.n_followed == len(sequence.ids):
            return
        habits, prompt = follower.kind.habits, self._prompt_of(sequence, follower)
        for at, token in enumerate(sequence.ids.view[follower.n_followed :].tolist(), follower.n_followed):
            is_forced = at in sequence.forced_at
            follower.trail = habits.follow(prompt, follower.trail, token, is_forced=is_forced)
        follower.n_followed = len(sequence.ids)
        sequence.forced_at.clear()

    def _follower(self, sequence: Sequence) -> Follower:
        if sequence.follower is None:
            sequence.follower = Follower(self._kind_of(sequence), sequence.n_prompt, len(sequence.ids))
        return sequence.follower

    def _prompt_of(self, sequence: Sequence, follower: Follower) -> Prompt:
        if follower.prompt is None:
            follower.prompt = Prompt(sequence.request.prompt_ids, self._alike)
        return follower.prompt

    def _kind_of(self, sequence: Sequence) -> _Kind:
        """One namespace learns nothing of another, not even by the time an answer takes."""
        constraint = sequence.request.constraint
        if isinstance(constraint, JsonSchema) and constraint.document is not None:
            constraint = msgspec.structs.replace(constraint, document=None)  # another in each request
        name = sequence.request.namespace, constraint
        kind = self._kinds.pop(name, None)
        if kind is None:
            kind = _Kind(Habits(self._n_kinds, self._contexts), Payoff())
            self._n_kinds += 1
        self._kinds[name] = kind
        while len(self._kinds) > _MOST_KINDS:
            del self._kinds[next(iter(self._kinds))]
        return kind


def plain(sequence: Sequence) -> Draft:
    """No draft: the model is asked once, for the next token."""
    place = sequence.grammar
    if place is None:
        return Draft([], [Asked(0, -1, None)])
    return Draft([], [Asked(0, place.row_id, place.few_allowed)])


def without_space(token_bytes: SequenceOf[bytes], vocab_size: int) -> np.ndarray:
    """(vocab,) int32: for each token the one without the space in front, or itself where there is none such.

    A value stands after a space in the document and after a quote in the answer: its first token is another then.
    """
    alike = np.arange(vocab_size, dtype=np.int32)
    known = {each: token for token, each in enumerate(token_bytes[:vocab_size]) if each}
    for token, each in enumerate(token_bytes[:vocab_size]):
        if len(each) > 1 and each[:1] == b" ":
            alike[token] = known.get(each[1:], token)
    return alike
