"""Objects against a plain predicate, over all short ones."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.counts import Tally, Way, left
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.json_layout import layout
from rootform.grammar.json_objects import Member, Point, in_order, object_
from rootform.grammar.json_values import ANY_TEXT, key, key_besides
from rootform.grammar.vocab import Vocabulary

COMPACT = layout("compact")
KEYS = {b"a": True, b"b": True, b"c": True, b"x": False, b"y": False}  # whether it is listed
VALUES = (b"1", b"2")
LONGEST = 3
Written = tuple[tuple[bytes, bytes], ...]


def within(count: int, low: int, high: int | None) -> bool:
    return low <= count and (high is None or count <= high)


class Wanted:
    """A random object, as a predicate and as an expression."""

    def __init__(self, rng: random.Random) -> None:
        bounds = [(rng.choice([0, 0, 0, 1, 2]), rng.choice([None, None, 0, 1, 2, 3])) for _ in range(3)]
        self.low, self.high = bounds[0]
        self.tallies = [Tally(*bound) for bound in bounds[1 : 1 + rng.choice([0, 0, 1, 2])]]
        self.any_order = rng.random() < 0.5
        self.keys = [key for key in KEYS if rng.random() < 0.7]
        self.required = [key for key in self.keys if KEYS[key] and rng.random() < 0.4]
        self.counts = {
            (key, value): frozenset(i for i in range(len(self.tallies)) if rng.random() < 0.5)
            for key in self.keys
            for value in VALUES
            if rng.random() < 0.8
        }

    def expression(self) -> int:
        members = [self.member(key) for key in self.keys if KEYS[key]]
        others = [self.member(key) for key in self.keys if not KEYS[key]]
        return object_(COMPACT, members, others, self.low, self.high, self.tallies, self.any_order)

    def member(self, key: bytes) -> Member:
        ways = [Way(POOL.literal(value), self.counts[key, value]) for value in VALUES if (key, value) in self.counts]
        return Member(POOL.literal(b'"' + key + b'"'), tuple(ways), key in self.required)

    def accepts(self, written: Written) -> bool:
        keys = [key for key, _ in written]
        listed = [key for key in keys if KEYS[key]]
        if any(pair not in self.counts for pair in written) or len(set(listed)) < len(listed):
            return False
        if not self.any_order and keys != sorted(listed) + [key for key in keys if not KEYS[key]]:
            return False
        found = [sum(i in self.counts[pair] for pair in written) for i in range(len(self.tallies))]
        counted = all(within(n, *tally) for n, tally in zip(found, self.tallies, strict=True))
        return counted and within(len(keys), self.low, self.high) and all(key in keys for key in self.required)


def text_of(written: Written) -> bytes:
    return b"{" + b",".join(b'"' + key + b'":' + value for key, value in written) + b"}"


@given(rng=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_every_short_object_is_judged_by_counting(rng: random.Random) -> None:
    wanted = Wanted(rng)
    made = wanted.expression()
    lengths = []
    for n in range(LONGEST + 1):
        for written in itertools.product(itertools.product(KEYS, VALUES), repeat=n):
            if n < LONGEST or len({key for key, _ in written}) == n:
                assert POOL.fullmatch(made, text_of(written)) == wanted.accepts(written), text_of(written)
            lengths += [len(text_of(written))] if wanted.accepts(written) else []
    shortest = POOL.shortest(made)
    if lengths:
        assert shortest is not None
        assert len(shortest) == min(lengths)
    elif shortest is not None:
        assert shortest.count(b":") > LONGEST
    assert POOL.is_empty(made) == (shortest is None)
    assert shortest is None or POOL.fullmatch(made, shortest)


def member(name: str, required: bool = False, counts: frozenset[int] = frozenset()) -> Member:
    return Member(POOL.literal(b'"%s"' % name.encode()), (Way(POOL.literal(b"1"), counts),), required)


def test_members_in_schema_order_cost_their_number() -> None:
    sizes = []
    for n in (100, 200):
        before = len(POOL)
        object_(COMPACT, [member(f"p{n}{i}", required=True) for i in range(n)], [member("x")])
        sizes.append(len(POOL) - before)
    assert sizes[1] < 2.5 * sizes[0]


def test_any_order_costs_nothing_before_it_is_written() -> None:
    before = len(POOL)
    members = [member(f"q{i}", counts=frozenset([0]) if i % 2 else frozenset()) for i in range(40)]
    made = object_(COMPACT, members, [member("x")], 3, 50, [Tally(2, 30)], any_order=True)
    text = b"{" + b",".join(b'"x":1,"q%d":1' % i for i in reversed(range(20))) + b"}"
    assert POOL.fullmatch(made, text)
    assert not POOL.fullmatch(made, text.replace(b"q3", b"q5"))
    assert len(POOL.shortest(made) or b"") == len('{"q1":1,"q3":1,"x":1}')
    assert len(POOL) - before < 200_000


@given(rng=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_lengths_of_rests_in_any_order_are_those_of_the_shortest(rng: random.Random) -> None:
    """They are added up, member by member: against all objects of few members that begin so."""
    values = {key: b"1" * rng.randint(1, 9) for key in KEYS}
    keys = [key for key in KEYS if rng.random() < 0.8]
    required = {key for key in keys if KEYS[key] and rng.random() < 0.4}
    low, high = rng.choice([(0, None), (0, 3), (2, None), (3, 4), (1, 2)])
    tallies = [Tally(low, rng.choice([None, low + 1])) for low in rng.choices([0, 1, 2], k=rng.choice([0, 0, 1, 2]))]
    counts = {key: frozenset(i for i in range(len(tallies)) if rng.random() < 0.5) for key in keys}

    def as_member(key: bytes) -> Member:
        return Member(POOL.literal(b'"' + key + b'"'), (Way(POOL.literal(values[key]), counts[key]),), key in required)

    def fits(found: tuple[bytes, ...]) -> bool:
        totals = [sum(i in counts[key] for key in found) for i in range(len(tallies))]
        counted = all(within(n, *tally) for n, tally in zip(totals, tallies, strict=True))
        return counted and required <= set(found) and within(len(found), low, high)

    members, others = ([as_member(key) for key in keys if KEYS[key] is is_listed] for is_listed in (True, False))
    made = object_(COMPACT, members, others, low, high, tallies, any_order=True)
    texts = []
    for n in range(6):
        for found in itertools.product(keys, repeat=n):
            listed = [key for key in found if KEYS[key]]
            if len(set(listed)) == len(listed) and fits(found):
                texts.append(text_of(tuple((key, values[key]) for key in found)))
    for text in rng.sample(texts, min(len(texts), 8)):
        ends = [i + 1 for i, byte in enumerate(text) if byte in b"{,"]
        for end in ends:
            rest = made
            for byte in text[:end]:
                rest = POOL.raw_derivative(rest, byte)
            shortest = min(len(other) for other in texts if other.startswith(text[:end])) - end
            assert POOL.shortest_length(rest) == shortest
            assert len(POOL.shortest(rest) or b"") == shortest


def test_what_cannot_be_met_is_empty() -> None:
    assert object_(COMPACT, [member("a", required=True)], [], 2) == EMPTY
    assert object_(COMPACT, [member("a", required=True)], [], 0, None, [Tally(1, None)]) == EMPTY
    assert POOL.is_empty(object_(COMPACT, [member("a", required=True)], [], 2, any_order=True))


def test_a_key_may_not_end_as_a_listed_one(tokens_of, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where its mask takes most from that of a wide state like it, which may end."""
    for threshold in ("bases.WIDE", "parts._FEW_TOKENS", "trie._FEW_NODES"):
        monkeypatch.setattr(f"rootform.grammar.{threshold}", 20)
    tokens = [bytes([byte]) for byte in range(256)] + [b'":"', b'":1', b"ab", b'ab":1']
    automaton = Automaton(Vocabulary([*tokens, b""], [len(tokens)], len(tokens) + 1))
    other = Member(key_besides(ANY_TEXT, ["ab", "c"]), (Way(POOL.literal(b"1")),), False)
    batch, root = StateBatch(automaton), automaton.root_of(object_(COMPACT, [], [other]))
    for text in (b'{"', b'{"x', b'{"a', b'{"ab', b'{"abc', b'{"c'):
        slot = batch.open(root)
        for byte in text:
            batch.row_ids([slot])
            assert batch.advance([slot], [byte])[0]
        row = int(batch.row_ids([slot])[0])
        names_a_listed_one = text in (b'{"ab', b'{"c')
        assert (ord('"') in tokens_of(automaton.rows[row])) != names_a_listed_one
        assert (tokens.index(b'":"') in tokens_of(automaton.rows[row])) is False
        assert (tokens.index(b'":1') in tokens_of(automaton.rows[row])) != names_a_listed_one


@given(st.integers(0, 1 << 32))
@settings(max_examples=100, deadline=None)
def test_objects_that_count_nothing_are_what_a_count_without_bounds_makes(seed: int) -> None:
    rng = random.Random(seed)
    names = rng.sample(["a", "ab", "abc", "b", "ba", "c"], rng.randrange(6))
    values = [Way(POOL.literal(rng.choice([b"1", b"22"]))) if rng.random() < 0.9 else Way(EMPTY) for _ in names]
    members = [Member(key(name), (way,), rng.random() < 0.4) for name, way in zip(names, values, strict=True)]
    others = [Member(key_besides(ANY_TEXT, names), (Way(POOL.literal(b"3")),), False)] if rng.random() < 0.5 else []
    first = rng.random() < 0.7
    plain, counted = (
        in_order(layout("flexible"), members, others, Point(first, left(0, None, tallies)))
        for tallies in ([], [Tally(0, None)])
    )
    assert plain == counted
