"""Which tokens are allowed where captured texts are open, or are begun within a token.

The walks are those of all masks: they take the parts of captured texts as if nothing were remembered, so they are
shared by all texts. Where what is remembered may matter, a token is doubtful, and is followed by itself: where it might
become a text that is taken, where it begins another text behind one that it ends, and where values are so few that
the right ones might run out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import kernels
from .captures import (
    Excluded,
    Rule,
    has_listed,
    has_others,
    is_free,
    listed_by,
    may_become_taken,
    taken,
    vague,
)
from .dfa import SPLITS
from .expr import EMPTY, EPSILON, POOL, Kind
from .json_equal import read
from .known_values import is_in_string, values_behind
from .places import NO_UNIT, Frames, Path, Place
from .pools import using
from .stacks import BOTTOM, Reader
from .texts import NO_TEXT, NOTHING_YET
from .trie import tokens_at, union
from .vocab import Vocabulary

if TYPE_CHECKING:
    from .parts import Parts

_FAR = 1 << 30
_FEW_RESTS = 8  # more are walked together
_MOST_KNOWN = 20_000  # walks of texts that are taken
_MOST_MET = 500  # each as large as a mask
_MOST_RESTS = 100_000
_SPACES = b" \t\n\r"

_SURE, _CROSSED, _DOUBTFUL = range(3)  # crossed: a text ended within the token, and is not remembered


class _Known:
    """What is remembered of texts that are taken.

    beginnings: the tokens that begin an expression, from some nodes on. met: bits of the tokens that begin any text of
    some values, by how these are spelled, by what of the texts is written and by nodes; and the values.
    """

    def __init__(self) -> None:
        self.beginnings: dict[tuple[int, bytes], np.ndarray] = {}
        self.met: dict[tuple[Any, Any, bytes, bytes], tuple[frozenset[Any], np.ndarray]] = {}


class _Step(NamedTuple):
    """A place that trie nodes come to. pushes and popped of the place count from the stack at the token's start."""

    place: Place
    doubt: int


class CaptureMasks:
    """Makes masks of places with captures, out of `Parts`."""

    def __init__(self, parts: Parts, frames: Frames, vocabulary: Vocabulary) -> None:
        self._parts = parts
        self._frames = frames
        self._vocabulary = vocabulary
        self._known = _Known()
        self._rests: dict[tuple[int, int], int] = {}

    def mask(self, place: Place, reader: Reader) -> np.ndarray:
        """The bits of `Masks.mask`, EOS left out."""
        with using(self._frames.exprs):
            walk = _Walk(self._parts, self._frames, self._vocabulary, place, reader, self._known)
            walk.run()
            doubtful = _set_bits(walk.words & walk.doubtful)
            told = self._told_by_values(place, reader, doubtful)
            for token in doubtful:
                if not (told[token] if token in told else self._may_come(place, reader, token)):
                    walk.words[token >> 5] &= ~np.uint32(1 << (token & 31))
        return walk.words

    def is_begun_from(self, place: Place) -> bool:
        """Whether a captured text that must differ from others begins in the frame of a place."""
        if place.unit != NO_UNIT:
            return False
        with using(self._frames.exprs):
            return any(short != rule for short, rule in vague(self._frames.dfa.expression(place.local))[1].items())

    def _told_by_values(self, place: Place, reader: Reader, tokens: list[int]) -> dict[int, bool]:
        """Which of the tokens may come, as far as the values that they leave tell."""
        if not tokens or place.text == NO_TEXT:
            return {}
        marks = self._frames.marks(place, reader)
        _, _, whole, begun, rule = self._frames.exprs.node(marks[0])
        if len(marks) > 1 or not is_free(rule):
            return {}
        text = self._frames.texts.read(place.text)
        body = POOL.rest(whole, text[len(begun) :])
        listed, values = listed_by(whole, begun), rule.values()
        told: dict[int, bool] = {}
        for token in tokens:
            after = text + self._vocabulary.tokens[token]
            if listed is None or values is None:
                found = has_others(rule, self._rest(body, token), after, None)
            else:
                found = has_listed(listed, values, after, partial(self._rest, body, token))
            if found is not None:
                told[token] = found
        if values is not None and len(told) < len(tokens) and not is_in_string(text):
            told |= self._told_of_spaces(rule, values, text, body, [token for token in tokens if token not in told])
        return told

    def _told_of_spaces(
        self, rule: Rule, values: frozenset[Any], text: bytes, body: int, tokens: list[int]
    ) -> dict[int, bool]:
        """Which of the tokens are spaces that mean nothing, and may come as the same may come behind each."""
        told: dict[int, bool] = {}
        more = None
        for token in tokens:
            if self._vocabulary.tokens[token].strip(_SPACES) or (rest := self._rest(body, token)) == EMPTY:
                continue
            if more is None:
                after = text + self._vocabulary.tokens[token]
                some = values_behind(after, rest, len(taken(rule, after)) + 1)
                more = next((each.text[len(after) :] for each in some if each.value not in values), None)
                if more is None:
                    break
            if POOL.fullmatch(rest, more):
                told[token] = True
        return told

    def _rest(self, body: int, token: int) -> int:
        """What is left of a captured text behind a token."""
        key = body, token
        known = self._rests.get(key)
        if known is None:
            if len(self._rests) >= _MOST_RESTS:
                self._rests.clear()
            known = self._rests[key] = POOL.rest(body, self._vocabulary.tokens[token])
        return known

    def _may_come(self, place: Place, reader: Reader, token_id: int) -> bool:
        left: list[bytes] = []
        token = self._vocabulary.tokens[token_id]
        path = Path(self._frames, place, reader, 0, open_run=False, loosely=left)
        if not path.take_all(token):
            return False
        told = self._end_apart(path.place, reader, left)
        if told is not None:
            return told
        path = Path(self._frames, place, reader, 0, open_run=False)
        return path.take_all(token) and self._frames.can_end(path.place, reader)

    def _end_apart(self, place: Place, reader: Reader, left: list[bytes]) -> bool | None:
        """Whether the text captured at a place can end as another than those left, and all may be; None: not told."""
        if place.text == NO_TEXT:
            return None if left else True
        frames = self._frames
        marks = frames.marks(place, reader)
        _, _, whole, begun, rule = frames.exprs.node(marks[0])
        if len(marks) > 1 or not is_free(rule):
            return None
        text, gone = frames.texts.read(place.text), frozenset(map(read, left))
        if len(gone) < len(left):
            return None
        body = POOL.rest(whole, text[len(begun) :])
        told = has_others(rule, body, text, listed_by(whole, begun), gone)
        if told or (told is False and not left):  # else some of those left may be of other arrays
            return told
        shortest = frames.exprs.shortest(body)
        if shortest is None:
            return None
        text += shortest
        is_other = read(text) not in gone and rule.loosely(text) != EMPTY
        return True if is_other else None


class _Walk:
    """One mask in the making. words: the tokens found, doubtful or not; doubtful: those that must be followed."""

    def __init__(
        self,
        parts: Parts,
        frames: Frames,
        vocabulary: Vocabulary,
        place: Place,
        reader: Reader | None,
        known: _Known,
    ) -> None:
        self._known = known
        self._parts = parts
        self._frames = frames
        self._vocabulary = vocabulary
        self._reader = reader or Reader(None, 0)
        self._place = place._replace(text=place.text or NOTHING_YET)
        self._before = frames.texts.read(self._place.text)
        self._begins = place.text == NO_TEXT
        self.words = np.zeros(vocabulary.words, np.uint32)
        self.doubtful = np.zeros(vocabulary.words, np.uint32)
        self._todo: dict[_Step, list[np.ndarray]] = {}
        self._meant: dict[Rule, Rule] = {}  # see `captures.vague`

    def run(self) -> None:
        """Find all tokens."""
        root, doubt = np.zeros(1, np.int32), _SURE
        if self._begins:
            expression, self._meant = vague(self._frames.dfa.expression(self._place.local))
            self._place = self._place._replace(local=self._frames.dfa.state(expression))
        else:
            for mark in self._frames.marks(self._place, self._reader):
                _, start, _, _, rule = self._frames.exprs.node(mark)
                doubt = max(doubt, self._met(rule, self._before[start:], root))
        self._todo = {_Step(self._place, doubt): [root]}
        self._walk()

    def _walk(self) -> None:
        while self._todo:
            (at, doubt), starts = self._todo.popitem()
            nodes = starts[0] if len(starts) == 1 else union(self._vocabulary, starts)
            if at.unit == NO_UNIT and self._frames.dfa.kinds[at.local] & SPLITS:
                for expression in self._frames.dfa.split(at.local):
                    self._enter(expression, at.popped, at.pushes, nodes, doubt)
                continue
            part = self._parts.part(at.local, at.unit, nodes)
            most = _FAR if at.unit == NO_UNIT else at.hi
            self._parts.allow(self.words, part, most)
            if doubt == _DOUBTFUL:
                self._parts.allow(self.doubtful, part, most)
            entry, popped, pushes = self._frames.behind(at, self._reader)
            if self._kind(entry) == Kind.MARK and self._rule(entry).hides():
                over = part.whole(self._frames.dfa.state(EPSILON))
                kernels.set_bits(self.doubtful, over, np.zeros_like(over), 0)
            if part.may_end:
                exits = self._parts.exits_towards(part, at, self._first_behind(at))
                if len(exits):
                    self._leave(entry, popped, pushes, exits, doubt)
            for state, entries in part.entries:
                self._enter(self._frames.dfa.expression(state), at.popped, at.pushes, entries, doubt)

    def _leave(self, entry: int, popped: int, pushes: tuple[int, ...], nodes: np.ndarray, doubt: int) -> None:
        """Go on behind a frame, or behind a captured text."""
        if entry == BOTTOM:
            return
        if self._kind(entry) != Kind.MARK:
            self._enter(entry, popped, pushes, nodes, doubt)
            return
        _, start, _, begun, _ = self._frames.exprs.node(entry)
        rule = self._rule(entry)
        rest = start + len(begun)  # what was begun need not have been captured then, see `Frames.enter`
        after: dict[int, list[int]] = {}
        for node in nodes.tolist():
            text = begun + (self._before + self._path(node))[rest:]
            after.setdefault(rule.vaguely(text), []).append(node)
        for follows, group in after.items():
            if follows != EMPTY:
                sure = max(doubt, _CROSSED if is_free(rule) else _DOUBTFUL)
                self._enter(follows, popped, pushes, np.array(group, np.int32), sure)

    def _enter(self, expression: int, popped: int, pushes: tuple[int, ...], nodes: np.ndarray, doubt: int) -> None:
        """Have all `nodes` walked from the start of an expression; apart where captures begin at different depths."""
        for depth, group in self._by_depth(nodes):
            inside = self._frames.enter(expression, popped, pushes, self._reader, self._place.text, depth)
            fresh = [entry for entry in inside.pushes[len(pushes) :] if self._kind(entry) == Kind.MARK]
            sure = doubt
            for mark in fresh:
                begun, rule = self._frames.exprs.node(mark)[3], self._rule(mark)
                sure = max(sure, _DOUBTFUL if doubt else self._met(rule, begun, group))
                if begun and (
                    sure == _DOUBTFUL or may_become_taken(rule, begun)
                ):  # tokens that end here were found before it was known what is begun
                    over = tokens_at(self._vocabulary, group)
                    kernels.set_bits(self.doubtful, over, np.zeros_like(over), 0)
            if not fresh:
                self._todo.setdefault(_Step(inside, sure), []).append(nodes)
                return
            self._todo.setdefault(_Step(inside, sure), []).append(group)

    def _met(self, rule: Rule, begun: bytes, nodes: np.ndarray) -> int:
        """Note which tokens might become a text that is taken, of which `begun` is written at `nodes`."""
        if not is_free(rule):
            return _DOUBTFUL
        for excluded in rule.excluded():
            self.doubtful |= self._met_by(excluded, begun, nodes)
        return _SURE

    def _met_by(self, excluded: Excluded, begun: bytes, nodes: np.ndarray) -> np.ndarray:
        """The bits of those tokens. Mostly there is one value more than when this was asked last."""
        key = excluded.spell, excluded.form, begun, nodes.tobytes()
        last, words = self._known.met.get(key, (frozenset(), np.zeros_like(self.doubtful)))
        if not last <= excluded.values:
            last, words = frozenset(), np.zeros_like(self.doubtful)
        if len(last) < len(excluded.values):
            words = words.copy()
            rests = list(excluded.only(excluded.values - last).rests(begun))
            for rest in rests if len(rests) <= _FEW_RESTS else [POOL.alt(*rests)]:
                tokens = self._beginnings(rest, nodes)
                kernels.set_bits(words, tokens, np.zeros_like(tokens), 0)
            if len(self._known.met) >= _MOST_MET:
                self._known.met.clear()
            self._known.met[key] = excluded.values, words
        return words

    def _beginnings(self, expression: int, nodes: np.ndarray) -> np.ndarray:
        """The tokens that begin or are strings of an expression, from `nodes` on."""
        key = (expression, nodes.tobytes())
        known = self._known.beginnings.get(key)
        if known is None:
            place = self._frames.enter(expression, 0, (), Reader(None, 0))
            walk = _Walk(self._parts, self._frames, self._vocabulary, place, None, self._known)
            walk._todo = {_Step(place, _SURE): [nodes]}
            walk._walk()
            if len(self._known.beginnings) >= _MOST_KNOWN:
                self._known.beginnings.clear()
            known = self._known.beginnings[key] = np.array(_set_bits(walk.words), np.int32)
        return known

    def _by_depth(self, nodes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        depths = self._vocabulary.node_depth[nodes]
        for depth in np.unique(depths).tolist():
            yield depth, nodes[depths == depth]

    def _first_behind(self, at: Place) -> int:
        """Mask of the bytes that may come first behind the frame of a place; wider where unsure."""
        exprs, mask = self._frames.exprs, 0
        while True:
            entry, popped, pushes = self._frames.behind(at, self._reader)
            if entry == BOTTOM:
                return mask
            mask |= exprs.first(entry)
            if not exprs.nullable(entry):
                return mask
            at = at._replace(popped=popped, pushes=pushes)

    def _path(self, node: int) -> bytes:
        """The bytes from the trie's root to a node."""
        vocabulary = self._vocabulary
        token = int(vocabulary.token_ids[vocabulary.token_start[node]])
        return vocabulary.tokens[token][: int(vocabulary.node_depth[node])]

    def _rule(self, mark: int) -> Rule:
        """The rule of a captured text, as it is where the token starts."""
        rule: Rule = self._frames.exprs.node(mark)[4]
        return self._meant.get(rule, rule)

    def _kind(self, entry: int) -> Any:
        return None if entry == BOTTOM else self._frames.exprs.node(entry)[0]


def _set_bits(words: np.ndarray) -> list[int]:
    """The tokens whose bit is set, ascending."""
    at = np.flatnonzero(words)  # few are, mostly: then a thirtieth of the time that looking at each bit takes
    bits = np.unpackbits(words[at].view(np.uint8), bitorder="little").reshape(-1, 32)
    row, bit = np.nonzero(bits)
    return (at[row] * 32 + bit).tolist()
