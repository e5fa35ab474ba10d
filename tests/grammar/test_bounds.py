"""What structure tells of lengths is never more than there is, and what it says to be empty is."""

from __future__ import annotations

import random
from collections.abc import Callable

from rootform.grammar.bounds import NEVER, Bounds
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.machine import machine_of

ALPHABET = b'ab,"'
_TWO_OR_ONE = POOL.alt(POOL.byte_set(b"a"), POOL.literal(b"b,"), POOL.literal(b"ba"))
UNITS = (POOL.byte_set(ALPHABET), POOL.byte_set(b"ab"), _TWO_OR_ONE)


def _machine(rng: random.Random) -> int:
    n_states = rng.randint(1, 4)
    moves = {at: [(1 << byte, rng.randrange(n_states)) for byte in ALPHABET] for at in range(n_states)}
    ends = set(rng.sample(range(n_states), rng.randint(1, n_states)))
    made = machine_of(0, moves.__getitem__, ends.__contains__, "test")
    return EMPTY if made is None else POOL.machine(*made)


def _combined(rng: random.Random, item: int, other: int) -> int:
    """An intersection, perhaps between other things, of two expressions and what mostly makes it empty."""
    unit = rng.choice(UNITS)
    limit = POOL.counted(unit, rng.randint(0, 2), rng.randint(2, 4))
    begun = POOL.rest(limit, bytes(rng.choices(ALPHABET, k=rng.randint(0, 1))))
    besides = rng.choice([limit, begun, POOL.not_(other), POOL.not_(POOL.alt(item, other)), _machine(rng)])
    met = POOL.and_(rng.choice([item, POOL.concat(item, other), POOL.repeat(item, 1, None)]), besides)
    return rng.choice([met, POOL.frame(met), POOL.alt(met, other), POOL.concat(item, met), POOL.repeat(met, 0, 3)])


def _shortest(item: int) -> int:
    """Bytes of a shortest text out of the alphabet, of five at most: every text is tried, letter by letter."""
    left = {item}
    for n in range(6):
        if any(map(POOL.nullable, left)):
            return n
        left = {POOL.raw_derivative(each, byte) for each in left for byte in ALPHABET} - {EMPTY}
    return NEVER


def test_bounds_are_no_more_than_what_the_shortest_text_has(random_expression: Callable[..., tuple]) -> None:
    rng, n_never, n_not_empty = random.Random(5), 0, 0
    for _ in range(500):
        (item, _), (other, _) = (random_expression(rng, regular=True) for _ in range(2))
        combined, bounds = _combined(rng, item, other), Bounds(POOL)
        found, shortest = bounds.of(combined), _shortest(combined)
        assert found <= shortest
        n_never += found == NEVER
        n_not_empty += shortest < NEVER
    assert n_never > 50
    assert n_not_empty > 50
