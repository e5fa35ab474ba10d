"""Shared by the grammar tests: a toy vocabulary, and random expressions with the languages they stand for."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.expr import POOL
from rootform.grammar.vocab import Vocabulary

ALPHABET = b'ab,"'
LONGEST = 4
Language = frozenset[bytes]  # the strings of a language that have at most LONGEST bytes
EVERYTHING: Language = frozenset(
    bytes(letters) for n in range(LONGEST + 1) for letters in itertools.product(ALPHABET, repeat=n)
)
TOKENS = [
    b"a", b"b", b",", b'"', b"\xc3", b"\xa9", b"ab", b"ba", b"aab", b'","', b'",', b',"', b'"a', b'a"', b'b","a',
    b"bb", b"", b"aaaa", b"\xc3\xa9", b"a\xc3", b'\xa9"', b'""', b",,", b'a",', b"ab",
]  # fmt: skip


@pytest.fixture(scope="session")
def toy() -> Vocabulary:
    """25 tokens (one empty, one twice, some that split a character), EOS at 25, logits 40 wide."""
    return Vocabulary([*TOKENS, b"</s>"], [25], 40)


@pytest.fixture(scope="session")
def tokens_of() -> Callable[[np.ndarray], set[int]]:
    """The tokens whose bit is set in a mask row."""

    def read(row: np.ndarray) -> set[int]:
        return {32 * w + b for w, word in enumerate(row.tolist()) for b in range(32) if word >> b & 1}

    return read


@pytest.fixture(scope="session")
def random_expression() -> Callable[..., tuple[int, Language]]:
    """A random expression, and all its strings of at most LONGEST bytes, found by comparing and joining sets."""
    return lambda rng, regular=False: _random_expression(rng, rng.randint(1, 4), regular=regular)


def _short(strings: Iterable[bytes]) -> Language:
    return frozenset(s for s in strings if len(s) <= LONGEST)


def _joined(first: Language, second: Language) -> Language:
    return _short(a + b for a in first for b in second)


def _repeated(language: Language, lo: int, hi: int | None) -> Language:
    power: Language = frozenset([b""])
    result: set[bytes] = set(power) if lo == 0 else set()
    for n in range(1, (LONGEST + lo if hi is None else hi) + 1):
        power = _joined(power, language)
        if n >= lo:
            result |= power
    return frozenset(result)


def _random_expression(rng: random.Random, depth: int, *, regular: bool = False) -> tuple[int, Language]:
    """regular: without references, as their intersections need not be decidable."""
    if depth == 0:
        return _random_leaf(rng)
    kind = rng.choice(["concat", "concat", "alt", "and", "not", "repeat", "counted", "frame", "frame", "ref"])
    if kind == "ref" and regular:
        kind = "frame"
    regular = regular or kind in ("and", "not")
    if kind == "counted":
        members = bytes(rng.sample(ALPHABET, rng.randint(1, 3)))
        lo, hi = rng.randint(0, 2), rng.choice([2, 3, 4, None])
        language = _repeated(frozenset(bytes([m]) for m in members), lo, hi)
        return POOL.counted(POOL.byte_set(members), lo, hi), language
    first, language = _random_expression(rng, depth - 1, regular=regular)
    if kind in ("concat", "alt", "and"):
        second, other = _random_expression(rng, depth - 1, regular=regular)
        if kind == "concat":
            return POOL.concat(first, second), _joined(language, other)
        return (POOL.alt(first, second), language | other) if kind == "alt" else (
            POOL.and_(first, second), language & other)  # fmt: skip
    if kind == "not":
        some_text = POOL.repeat(POOL.byte_set(ALPHABET), 0, None)
        return POOL.and_(POOL.not_(first), some_text), EVERYTHING - language
    if kind == "repeat":
        lo, hi = rng.randint(0, 2), rng.choice([2, 3, None])
        return POOL.repeat(first, lo, hi), _repeated(language, lo, hi)
    if kind == "frame":
        return POOL.frame(first), language
    return _random_reference(rng, first, language)


def _random_reference(rng: random.Random, inner: int, language: Language) -> tuple[int, Language]:
    """Brackets that nest: `a` x `b`, where x is the inner expression or the same again."""
    key = ("test", inner)
    if not POOL.is_defined(key):
        POOL.define(key, lambda: POOL.concat(POOL.literal(b"a"), POOL.alt(inner, POOL.ref(key)), POOL.literal(b"b")))
    result: Language = frozenset()
    for _ in range(LONGEST):
        result = _joined(_joined(frozenset([b"a"]), language | result), frozenset([b"b"]))
    return POOL.ref(key), result


def _random_leaf(rng: random.Random) -> tuple[int, Language]:
    if rng.random() < 0.5:
        text = bytes(rng.choices(ALPHABET, k=rng.randint(0, 3)))
        return POOL.literal(text), _short([text])
    members = bytes(rng.sample(ALPHABET, rng.randint(1, 3)))
    return POOL.byte_set(members), frozenset(bytes([m]) for m in members)


@pytest.fixture(scope="session")
def toy_bytes() -> Vocabulary:
    """Every byte is a token, by its own number; then some words of JSON, EOS at 300."""
    words = [b'","', b'":"', b"},{", b'{"', b'"}', b"true", b"false", b"null", b"]]", b"}}"]
    tokens = [bytes([b]) for b in range(256)] + words
    return Vocabulary([*tokens, *[b""] * (301 - len(tokens))], [300], 301)


@pytest.fixture(scope="session")
def check_masks(tokens_of) -> Callable[[int, Vocabulary, random.Random], None]:
    """Random walks along an expression, the masks held against brute force over the vocabulary.

    Also: closing texts end well, forced bytes are those that come, going back is as if nothing had been.
    """
    return lambda expression, vocabulary, rng: _check_masks(expression, vocabulary, rng, tokens_of)


def _check_masks(
    expression: int, vocabulary: Vocabulary, rng: random.Random, tokens_of: Callable[[np.ndarray], set[int]]
) -> None:
    tokens, eos = vocabulary.tokens, set(vocabulary.eos_ids)
    automaton = Automaton(vocabulary)
    batch, root = StateBatch(automaton), automaton.root_of(expression)
    slot = np.array([batch.open(root)])
    for _ in range(12):
        batch.restore(int(slot[0]), automaton.start(root))
        text = b""
        for _ in range(12):
            row = int(batch.row_ids(slot)[0])
            allowed = tokens_of(automaton.rows[row])
            assert not batch.errors
            rest = POOL.rest(expression, text)
            wanted = {i for i, token in enumerate(tokens) if token and not POOL.is_empty(POOL.rest(rest, token))} - eos
            assert allowed == wanted | (eos if POOL.nullable(rest) else set()), text
            closing = b"".join(tokens[token] for token in batch.closing(int(slot[0])))
            assert POOL.fullmatch(expression, text + closing), (text, closing)
            if not wanted:
                break
            token = rng.choice(sorted(wanted))
            forced, saved = batch.forced(int(slot[0])), batch.save(int(slot[0]))
            assert tokens[token].startswith(forced) or forced.startswith(tokens[token])
            other = next((i for i in range(len(tokens)) if i not in allowed), None)
            assert other is None or not batch.advance(slot, np.array([other]))[0]
            assert batch.advance(slot, np.array([rng.choice(sorted(wanted))]))[0]
            batch.restore(int(slot[0]), saved)
            assert batch.advance(slot, np.array([token]))[0]
            text += tokens[token]
