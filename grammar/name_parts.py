"""Wide walks of international host names: what is allowed whatever their lengths, less what would be too long.

There is a state for every text that a name may begin with (`name_lengths`). But nearly always there is room for any
token; so tokens are taken from the walk of a name of any length, which few states need and all texts share. Only those
that may be too long, by how many characters they have, are read character by character; and only of those that still
end inside of what a name has to go on with, and for which the shortest such end is too long, the states are asked.
"""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from .dfa import Dfa
from .expr import Exprs
from .idna import LAST, LONGEST
from .label_bounds import fits
from .label_kernels import COMPLETE, LONGEST_NAME, count_all, ends_of, read_all
from .name_lengths import NAME_LENGTHS, Name
from .nodes import Kind
from .vocab import Vocabulary
from .work import tick

RUNS = (
    (0x80, 0x24F),  # Latin
    (0x370, 0x4FF),  # Greek, Cyrillic
    (0x590, 0x6FF),  # Hebrew, Arabic
    (0x900, 0xE7F),  # Indic, Thai
    (0x3040, 0x30FF),  # kana
    (0x80, LAST),
)
"""In which the characters of labels are near each other, so that more of them fit; the last has all."""

_ANYWHERE, _NOWHERE = len(RUNS) - 1, len(RUNS)
_MOST_OTHERS = 24  # characters outside of ASCII; no more fit whatever they are


class OpenName(NamedTuple):
    """A state in which a name is open. lengths: what is written of it.

    free: the state's expression without the limits on lengths. others: what may come instead, as an expression.
    """

    lengths: Name
    free: int
    others: int


def open_name(dfa: Dfa, local: int) -> OpenName | None:
    """The name that is open in a state; None: none is, or several are."""
    exprs, item = dfa.exprs, dfa.expression(local)
    node = exprs.node(item)
    members = node[1] if node[0] == Kind.ALT else (item,)
    names = [(member, *name) for member in members if (name := _name_of(exprs, member))]
    if len(names) != 1:
        return None
    ((with_name, lengths, free),) = names
    return OpenName(lengths, free, exprs.alt(*[member for member in members if member != with_name]))


def _name_of(exprs: Exprs, item: int) -> tuple[Name, int] | None:
    node = exprs.node(item)
    if node[0] != Kind.AND:
        return None
    limits = [member for member in node[1] if is_limit(exprs, member)]
    if len(limits) != 1:
        return None
    free = exprs.and_(*[member for member in node[1] if member != limits[0]])
    return exprs.node(limits[0])[2], free


def is_limit(exprs: Exprs, item: int) -> bool:
    """Whether an expression says how long names may be."""
    node = exprs.node(item)
    return node[0] == Kind.MACHINE and node[1] is NAME_LENGTHS


class Rest(NamedTuple):
    """The most that shortest ends of some states have: bytes, characters of ASCII, and others that begin there."""

    size: int = 0
    plain: int = 0
    others: int = 0

    def joined(self, text: bytes) -> Rest:
        """With one more end."""
        plain, others = sum(byte < 0x80 for byte in text), text.count(b"\\") + sum(byte >= 0xC0 for byte in text)
        return Rest(max(self.size, len(text)), max(self.plain, plain), max(self.others, others))


class _Counts(NamedTuple):
    """The tokens of a vocabulary by how many characters of which kind they have.

    kinds: (kinds, 3), characters of ASCII, others, and their run. kind_of: of each token.
    """

    may_have_dots: np.ndarray
    kind_of: np.ndarray
    kinds: np.ndarray


_COUNTED: WeakKeyDictionary[Vocabulary, _Counts] = WeakKeyDictionary()


def _counts_of(vocabulary: Vocabulary) -> _Counts:
    """`_Counts`, found once."""
    known = _COUNTED.get(vocabulary)
    if known is None:
        counts = np.empty((len(vocabulary.tokens), 4), np.int64)
        count_all(vocabulary.text, vocabulary.text_start, np.array(RUNS, np.int64), counts)
        counts[:, 0] = np.minimum(counts[:, 0], LONGEST + 1)
        counts[:, 1] = np.minimum(counts[:, 1], _MOST_OTHERS)
        number = (counts[:, 0] * (_MOST_OTHERS + 1) + counts[:, 1]) * (len(RUNS) + 1) + counts[:, 2]
        is_met = np.zeros((LONGEST + 2) * (_MOST_OTHERS + 1) * (len(RUNS) + 1), bool)
        is_met[number] = True
        kind_of = (np.cumsum(is_met) - 1)[number]
        kinds = np.empty((is_met.sum(), 3), np.int64)
        kinds[kind_of] = counts[:, :3]
        known = _COUNTED[vocabulary] = _Counts(counts[:, 3] != 0, kind_of, kinds)
    return known


class NameTokens:
    """The tokens of a vocabulary by how many characters of which kind they have, and what becomes of names by them.

    may_have_dots: (tokens,) bool, which have a katakana dot or an escape, which may be one.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        counts = _counts_of(vocabulary)
        self.may_have_dots, self._kind_of, self._kinds = counts.may_have_dots, counts.kind_of, counts.kinds

    def in_doubt(self, name: Name, rest: Rest) -> np.ndarray:
        """Which tokens, or shortest ends behind them, may be too long for a name by their counts, (tokens,) bool."""
        if name.used + LONGEST + 1 + self._vocabulary.max_token_bytes + rest.size > LONGEST_NAME:
            return np.ones(len(self._kind_of), bool)
        codes = [ord(char) for char in name.label if char >= "\x80"]
        open_one = 1 if name.begun else 0
        plain = len(name.label) - len(codes) + rest.plain
        others = len(codes) + open_one + rest.others
        run = _ANYWHERE if open_one or rest.others else _run_of(codes)
        return ~_fit(plain, others, run, self._kinds)[self._kind_of]

    def in_order(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens, (tokens,) bool, in the order of their texts."""
        ids = self._vocabulary.token_ids
        return ids[tokens[ids]]

    def read(self, name: Name, tokens: np.ndarray, depth: int, ends: np.ndarray | None = None) -> np.ndarray:
        """What becomes of a name by some tokens from `depth` on (`label_kernels.read_all`), (n,) int8.

        ends: how many bytes of each token count; None: all.
        """
        starts = self._vocabulary.text_start[tokens]
        return _read(
            name,
            self._vocabulary.text,
            starts + depth,
            starts + (self._vocabulary.token_bytes[tokens] if ends is None else ends),
        )

    def states(self, dfa: Dfa, local: int, tokens: np.ndarray, depth: int) -> np.ndarray:
        """The state in which each of some tokens from `depth` on ends, (n,) int32."""
        starts = self._vocabulary.text_start[tokens]
        ends = starts + self._vocabulary.token_bytes[tokens]
        found, missing = np.empty(len(tokens), np.int32), np.empty((len(tokens), 2), np.int64)
        while n := ends_of(dfa.transitions, local, self._vocabulary.text, starts + depth, ends, found, missing):
            tick()
            for edge in np.unique(missing[:n, 0] << 8 | missing[:n, 1]).tolist():
                dfa.step(edge >> 8, edge & 255)
        return found


def fit_with(name: Name, texts: list[bytes]) -> np.ndarray:
    """Whether a name is short enough and between characters behind each of some texts, (n,) bool."""
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return _read(name, _bytes(b"".join(texts)), ends[:-1], ends[1:]) == COMPLETE


def _read(name: Name, text: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    found = np.empty(len(starts), np.int8)
    read_all(name.codes(), name.used, _bytes(name.begun), text, starts, ends, found)
    return found


def _bytes(text: bytes) -> np.ndarray:
    return np.frombuffer(bytearray(text), np.uint8)  # not of bytes: loops know it by its type


def _run_of(codes: list[int]) -> int:
    for run, (low, high) in enumerate(RUNS):
        if codes and low <= min(codes) and max(codes) <= high:
            return run
    return _NOWHERE if not codes else _ANYWHERE  # no label has characters behind the last run


def _fit(plain: int, others: int, run: int, kinds: np.ndarray) -> np.ndarray:
    """Whether a label is short enough by its counts when one of some kinds is added, (kinds,) bool."""
    either = np.where((kinds[:, 2] == run) | (run == _NOWHERE), kinds[:, 2], _ANYWHERE)
    runs = np.where(kinds[:, 2] == _NOWHERE, run, either)
    count = np.minimum(others + kinds[:, 1], _MOST_OTHERS)
    return plain + kinds[:, 0] <= _MOST_PLAIN[runs, count]


def _most_plain() -> np.ndarray:
    """How many characters of ASCII fit with so many others of a run, and any fewer, (runs + 1, others); -1: none."""
    found = np.full((len(RUNS) + 1, _MOST_OTHERS + 1), -1, np.int64)
    found[:, 0] = LONGEST
    for run, (low, high) in enumerate(RUNS):
        for others in range(1, _MOST_OTHERS):
            plain = int(found[run, others - 1])
            while plain >= 0 and not fits(plain, others, low, high):
                plain -= 1
            found[run, others] = plain
    return found


_MOST_PLAIN = _most_plain()
