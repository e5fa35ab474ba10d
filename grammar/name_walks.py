"""Wide walks where a name is open: see `name_parts`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .dfa import DEAD, NULLABLE, Dfa
from .expr import EMPTY
from .idna import LONGEST
from .label_kernels import COMPLETE, LONGEST_NAME, TOO_LONG
from .label_parts import QUOTE, OpenLabel
from .name_ends import NameEnds
from .name_lengths import KATAKANA_DOT, NAME_LENGTHS, after_all, nearest
from .name_parts import NameTokens, OpenName, Rest, fit_with
from .places import NO_UNIT
from .vocab import Vocabulary
from .work import tick

if TYPE_CHECKING:
    from .part import Part
    from .parts import Parts

_LABEL = re.compile(rb"[A-Za-z0-9-]*")
_SOON = 3  # bytes, with which any character is over
_ENCODED_SPARE = 2 * LONGEST  # octets with which the rest of an encoded label, and what a token has, always fit


class NameWalks:
    """Makes walks of names for the walks of one vocabulary, which it asks for those of names of any length."""

    def __init__(self, parts: Parts, dfa: Dfa, vocabulary: Vocabulary) -> None:
        self._parts = parts
        self._dfa = dfa
        self._vocabulary = vocabulary
        self._tokens = NameTokens(vocabulary)
        self._ends = NameEnds(dfa)
        self._others: dict[int, list[bytes]] = {}
        self._rests: dict[tuple[int, bytes], Rest | None] = {}

    def walk(self, local: int, name: OpenName, nodes: np.ndarray) -> Part | tuple[np.ndarray, np.ndarray] | None:
        """The walk that is the same in every respect; or tokens, and exits towards a quote; None: not in this way."""
        exprs = self._dfa.exprs
        free = self._dfa.state(exprs.pruned(name.free))
        label, others = self._parts.label_of(free), [name.others]
        if label is not None:
            others.append(exprs.pruned(exprs.and_(exprs.machine(NAME_LENGTHS, name.lengths), label.others)))
            label = self._within(label._replace(others=EMPTY), name)
        tokens, exits = [], []
        for node in nodes:
            start = np.array([node], np.int32)
            part = self._parts.part(free, NO_UNIT, start) if label is None else self._parts.walk_label(label, start)
            if part.entries:
                return None
            allowed, over = self._kept(name, free, label is not None, part, start)
            if allowed is None and len(nodes) == 1 and not any(others):
                return part
            tokens.append(self._parts.tokens_of(part) if allowed is None else allowed)
            exits.append(over)
        for other in filter(None, others):
            part = self._parts.part(self._dfa.state(other), NO_UNIT, nodes)
            if part.entries:
                return None
            tokens.append(self._parts.tokens_of(part))
            exits.append(self._parts.exits_to(part, QUOTE))
        if len(tokens) == 1:
            return tokens[0], exits[0]
        return np.unique(np.concatenate(tokens)), np.unique(np.concatenate(exits))

    def _within(self, label: OpenLabel, name: OpenName) -> OpenLabel:
        """An encoded label with what a name has left, if that may not do."""
        spare = LONGEST_NAME - name.lengths.used - len(name.lengths.label)
        if spare > _ENCODED_SPARE + self._vocabulary.max_token_bytes:
            return label
        return label._replace(room=min(label.room, spare))

    def _kept(
        self, name: OpenName, free: int, is_encoded: bool, part: Part, start: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """Tokens of a part, ascending, and exits towards a quote, that are not too long; None: all tokens are."""
        rest = self._rest_of(free, part, start)
        depth = int(self._vocabulary.node_depth[start[0]])
        exits = self._parts.exits_to(part, QUOTE)
        allowed = np.zeros(len(self._vocabulary.tokens), bool)
        allowed[self._parts.tokens_of(part)] = True
        in_doubt = self._tokens.in_doubt(name.lengths, Rest() if rest is None else rest)
        short = self._short_exits(name, exits, depth, in_doubt)
        doubt = allowed & in_doubt if rest is not None or is_encoded else allowed.copy()
        if not doubt.any():
            return (None if len(short) == len(exits) else np.flatnonzero(allowed).astype(np.int32)), short
        tokens = self._tokens.in_order(doubt)
        found = self._tokens.read(name.lengths, tokens, depth)
        allowed[tokens[found == TOO_LONG]] = False
        tokens, found = tokens[found != TOO_LONG], found[found != TOO_LONG]
        if is_encoded:  # what has no dot ends in the label, of which is known how it ends
            asked = [token for token in tokens.tolist() if not _LABEL.fullmatch(self._vocabulary.tokens[token], depth)]
        else:
            asked = self._unended(name, free, start, tokens, found, depth)
        for token in self._with_dots(name, tokens):
            allowed[token] &= after_all(name.lengths, self._vocabulary.tokens[token][depth:]) is not None
        for token in asked:
            text = self._vocabulary.tokens[token][depth:]
            allowed[token] = self._goes_on(name, free, text)
        return np.flatnonzero(allowed).astype(np.int32), short

    def _short_exits(self, name: OpenName, exits: np.ndarray, depth: int, in_doubt: np.ndarray) -> np.ndarray:
        """Those of some exits up to which a name is short enough. in_doubt: tokens that may not be, (tokens,) bool."""
        first = self._vocabulary.token_ids[self._vocabulary.token_start[exits]]  # no shorter than the way to the exit
        if not in_doubt[first].any():
            return exits
        over = self._tokens.read(name.lengths, first, depth, self._vocabulary.node_depth[exits].astype(np.int64))
        return exits[over == COMPLETE]

    def _with_dots(self, name: OpenName, tokens: np.ndarray) -> list[int]:
        """Those of some tokens by which a label may have a katakana dot, of which more is asked."""
        if KATAKANA_DOT in name.lengths.label or name.lengths.begun:
            return tokens.tolist()
        return tokens[self._tokens.may_have_dots[tokens]].tolist()

    def _unended(
        self, name: OpenName, free: int, start: np.ndarray, tokens: np.ndarray, found: np.ndarray, depth: int
    ) -> list[int]:
        """Those of some tokens behind which a name may not be over, nor be by an end that is at hand."""
        walked = self._parts.walked_from(free, start)
        states = self._tokens.states(self._dfa, walked, tokens, depth)
        over = (found == COMPLETE) & self._may_end(states)
        left = list(zip(tokens[~over].tolist(), states[~over].tolist(), strict=True))
        for ends_of in (lambda state: [self._ends[state]], self._other_ends if walked == free else lambda _: []):
            ended = self._fit(name, left, depth, ends_of)
            left = [each for each in left if each[0] not in ended]
        texts = self._vocabulary.tokens
        return [token for token, state in left if not self._ends_character(name, texts[token][depth:], state)]

    def _fit(
        self, name: OpenName, tokens: list[tuple[int, int]], depth: int, ends_of: Callable[[int], list[bytes]]
    ) -> set[int]:
        """Those of some tokens, with their states, behind which a name may be over by an end of their state."""
        texts = self._vocabulary.tokens
        tried = [(token, texts[token][depth:] + end) for token, state in tokens for end in ends_of(state)]
        fit = fit_with(name.lengths, [text for _, text in tried])
        return {token for (token, _), is_short in zip(tried, fit.tolist(), strict=True) if is_short}

    def _ends_character(self, name: OpenName, text: bytes, state: int) -> bool:
        """Whether a name may be over behind a text and the first end of its last character that is short enough."""
        tick()
        lengths = after_all(name.lengths, text)
        end = None if lengths is None else nearest(lengths)
        for byte in end or b"":
            state = self._dfa.step(state, byte)
        return bool(end) and self._dfa.may_end(state)

    def _may_end(self, states: np.ndarray) -> np.ndarray:
        met = np.unique(states)
        return np.isin(states, [state for state in met.tolist() if self._dfa.may_end(state)])

    def _other_ends(self, state: int) -> list[bytes]:
        """Ends of a state that begin another label soon, all of whose labels are short enough."""
        known = self._others.get(state)
        if known is None:
            exprs, known = self._dfa.exprs, []
            limit = exprs.machine(NAME_LENGTHS, NAME_LENGTHS.relieved)
            for begin in _soon_behind_a_dot(self._ends[state]):
                rest = self._dfa.exprs.rest(self._dfa.expression(state), begin)
                end = None if rest == EMPTY else exprs.seen(exprs.and_(limit, rest))
                known += [] if end is None else [begin + end]
            self._others[state] = known
        return known

    def _rest_of(self, free: int, part: Part, start: np.ndarray) -> Rest | None:
        """The most that the shortest ends behind a part's tokens have; None: some of these are not known."""
        key = (free, start.tobytes())
        if key not in self._rests:
            rest, ends = Rest(), part.end_states
            is_known = int(ends.min(initial=DEAD)) >= DEAD
            open_ones = self._open(ends) if is_known else []
            self._ends.find(open_ones)
            for state in open_ones:
                if self._parts.label_of(state) is None:
                    rest = rest.joined(self._ends[state])
                else:  # which ends in time by itself, and so do the names that have its characters
                    rest = rest._replace(size=max(rest.size, LONGEST))
            self._rests[key] = rest if is_known else None
        return self._rests[key]

    def _open(self, states: np.ndarray) -> list[int]:
        """Those of some states, each once, that are not dead and not over."""
        met = np.unique(states)
        return met[(met > DEAD) & (self._dfa.kinds[met] & NULLABLE == 0)].tolist()

    def _goes_on(self, name: OpenName, free: int, text: bytes) -> bool:
        """Whether a state of names, of any length, goes on with a text, and in time."""
        lengths, exprs = after_all(name.lengths, text), self._dfa.exprs
        if lengths is None:
            return False
        rest = self._dfa.exprs.rest(self._dfa.expression(free), text)
        return not exprs.is_empty(exprs.and_(exprs.machine(NAME_LENGTHS, lengths), rest))


def _soon_behind_a_dot(end: bytes) -> list[bytes]:
    """Texts with a dot, or a digit and one, behind a few bytes of another."""
    return [end[:size] + dot for size in range(min(len(end), _SOON) + 1) for dot in (b".", b"0.")]
