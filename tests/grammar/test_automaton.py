"""Masks and transitions against the expression that is left, token by token."""

from __future__ import annotations

import itertools
import json
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rootform.grammar import bases, masks, part_limits, parts
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import Choice, JsonSchema, Regex
from rootform.grammar.dfa import DEAD, UNKNOWN, Dfa
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import EMPTY, EPSILON, POOL
from rootform.grammar.pools import current, using
from rootform.grammar.regex import compile_pattern
from rootform.grammar.vocab import Vocabulary

randoms = st.randoms(use_true_random=False)


def after(expression: int, data: bytes) -> int:
    for byte in data:
        expression = POOL.raw_derivative(expression, byte)
    return expression


def expected(vocabulary: Vocabulary, left: int) -> set[int]:
    """Tokens after which something of `left` can still follow, and EOS where nothing needs to."""
    found = {t for t, data in enumerate(vocabulary.tokens) if data and not POOL.is_empty(after(left, data))}
    return found | (set(vocabulary.eos_ids) if POOL.nullable(left) else set())


@pytest.fixture(scope="module")
def automata(toy: Vocabulary) -> list[Automaton]:
    return [Automaton(toy), Automaton(toy, use_compiled=False)]


def check_walks(automata: list[Automaton], expression: int, rng: random.Random, tokens_of, n_walks: int = 3) -> None:
    """Random walks, on which every mask, every refused token and every way to close is checked."""
    for automaton in automata:
        vocabulary = automaton.vocabulary
        batch, root = StateBatch(automaton), automaton.root_of(expression)
        for _ in range(n_walks):
            slot, left, text = batch.open(root), expression, b""
            for _ in range(5):
                wanted = expected(vocabulary, left)
                row = int(batch.row_ids([slot])[0])
                assert tokens_of(automaton.rows[row]) == wanted, text
                assert automaton.allowed(row).tolist() == sorted(wanted)
                assert batch.accepting([slot])[0] == POOL.nullable(left)
                assert batch.finished([slot])[0] == (wanted == set(vocabulary.eos_ids))
                closing = b"".join(vocabulary.tokens[t] for t in batch.closing(slot))
                assert POOL.fullmatch(left, closing)
                assert len(closing) == len(POOL.shortest(left))
                forced = batch.forced(slot)
                assert all(t in vocabulary.eos_ids or _agree(vocabulary.tokens[t], forced) for t in wanted)
                assert not (forced and POOL.nullable(left))
                here = batch.save(slot)
                for token in set(range(vocabulary.size)) - wanted | set(vocabulary.eos_ids):
                    assert not batch.advance([slot], [token])[0]
                assert batch.save(slot) == here
                steps = sorted(wanted - set(vocabulary.eos_ids))
                if not steps:
                    break
                token = rng.choice(steps)
                assert batch.advance([slot], [token])[0]
                text += vocabulary.tokens[token]
                left = after(expression, text)
            batch.close(slot)


def _agree(token: bytes, forced: bytes) -> bool:
    length = min(len(token), len(forced))
    return token[:length] == forced[:length]


@settings(max_examples=80, deadline=None)
@given(rng=randoms)
def test_masks_are_exactly_the_tokens_that_can_be_completed(rng, automata, random_expression, tokens_of) -> None:
    expression, _ = random_expression(rng)
    if not POOL.is_empty(expression):
        check_walks(automata, expression, rng, tokens_of)


def _make_all_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every walk is one that is kept."""
    monkeypatch.setattr(masks, "FEW_NODES", -1)
    monkeypatch.setattr(masks, "MANY_BYTES", 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rng=randoms)
def test_masks_that_take_most_from_earlier_ones(rng, toy, random_expression, tokens_of, monkeypatch) -> None:
    """The same with every walk a base of the next, as those of a large vocabulary are."""
    monkeypatch.setattr(parts, "_FEW_TOKENS", 0)
    for name, value in {"WIDE": 0, "MANY_BYTES": 1, "MOST_BASES": 3}.items():
        monkeypatch.setattr(bases, name, value)
    _make_all_wide(monkeypatch)
    automata = [Automaton(toy)]
    wide = POOL.repeat(POOL.byte_set(b'ab,"'), 0, None)
    for other in (wide, random_expression(rng, regular=True)[0]):
        expression, _ = random_expression(rng)
        for each in (wide, expression, POOL.and_(wide, POOL.not_(other)), POOL.alt(POOL.frame(expression), other)):
            if not POOL.is_empty(each):
                check_walks(automata, each, rng, tokens_of, n_walks=1)
    text, quote = POOL.frame(POOL.repeat(POOL.byte_set(b"ab,"), 0, None)), POOL.literal(b'"')
    for start in (EPSILON, POOL.byte_set(b"ab"), POOL.alt(POOL.literal(b"b"), POOL.literal(b",b"))):
        check_walks(automata, POOL.concat(start, text, quote), rng, tokens_of, n_walks=1)


@pytest.mark.parametrize("bounds", [(2, 2), (3, 3), (1, 3)])
def test_a_token_that_is_come_to_with_several_counts(bounds, toy, tokens_of, monkeypatch) -> None:
    """A run may be over after each character and begin again, so a limit that ends one reading leaves others."""
    monkeypatch.setattr(parts, "_FEW_TOKENS", 0)
    _make_all_wide(monkeypatch)
    low, high = bounds
    runs = POOL.repeat(POOL.counted(POOL.byte_set(b"ab"), low - 1, high), low - 1, high)
    check_walks([Automaton(toy)], runs, random.Random(1), tokens_of, n_walks=10)


def test_a_byte_is_not_forced_where_the_text_behind_the_frame_may_begin_with_it_or_another(automata) -> None:
    inside = POOL.frame(POOL.repeat(POOL.literal(b'"a'), 0, 1))
    behind = POOL.alt(POOL.literal(b'",'), POOL.literal(b"ba"))
    root = automata[0].root_of(POOL.concat(inside, behind))
    assert automata[0].forced(*automata[0].start(root)) == b""


def test_bytes_that_a_state_does_not_go_on_with_are_told_where_that_had_to_be_asked_for() -> None:
    """What begins with a reference that was not opened is no state that goes on with every byte."""
    pool = current().fork()
    with using(pool):
        pool.define("value", lambda: pool.alt(pool.literal(b"[1]"), pool.literal(b"{}"), pool.literal(b"7")))
        opening = pool.alt(pool.literal(b"x"), pool.ref("value"))
        item = pool.and_(pool.concat(opening, pool.literal(b",")), pool.not_(pool.literal(b"x,")))
        dfa = Dfa(pool)
        state = dfa.state(item)
        dfa.transitions[state] = UNKNOWN
        dfa.narrow(state)
        live = [byte for byte in range(256) if pool.raw_derivative(item, byte) != EMPTY]
        told = np.flatnonzero(dfa.transitions[state] != DEAD).tolist()
        assert set(live) <= set(told) <= set(b"x[{7")
        assert [dfa.step(state, byte) != DEAD for byte in range(256)] == [byte in live for byte in range(256)]


def json_like(lo: int, hi: int | None) -> int:
    """`"xyz","xyz",...`: strings as frames with counted bodies, one of whose characters takes two bytes."""
    char = POOL.alt(POOL.byte_set(b"ab,"), POOL.literal("é".encode()))
    string = POOL.frame(POOL.concat(POOL.literal(b'"'), POOL.counted(char, lo, hi), POOL.literal(b'"')))
    return POOL.concat(string, POOL.repeat(POOL.concat(POOL.literal(b","), string), 0, 3))


@pytest.mark.parametrize("bounds", [(0, 3), (2, 4), (1, None), (3, 3)])
def test_counted_strings_in_frames(bounds, automata, tokens_of) -> None:
    check_walks(automata, json_like(*bounds), random.Random(1), tokens_of, n_walks=15)


def test_a_limit_costs_no_states(toy: Vocabulary) -> None:
    def states_met(hi: int) -> int:
        automaton = Automaton(toy)
        batch = StateBatch(automaton)
        slot = batch.open(automaton.root_of(json_like(0, hi)))
        assert batch.advance([slot], [3])[0]
        for _ in range(hi):
            batch.row_ids([slot])
            assert batch.advance([slot], [0])[0]
        assert not batch.advance([slot], [0])[0]
        return automaton.n_states

    assert states_met(5) == states_met(60)


@pytest.mark.parametrize(
    "pattern",
    ["[ab]{2,6}a", "([ab]{1,4},){2,3}", 'a{4,8}b?"', "é{2,5}|[ab,]{4}", "(a|aa){0,5}", "a*,?a{2,4}", "([ab]{0,4})*,"],
)
def test_counted_runs_of_regexes(pattern, automata, tokens_of) -> None:
    expression = automata[0].compile(Regex(pattern))
    assert expression == automata[0].compile(Regex(pattern))
    body = compile_pattern(pattern, mode="fullmatch", encoding="utf8")
    check_walks(automata, body, random.Random(2), tokens_of, n_walks=6)


@pytest.mark.parametrize("most", [3, 6, 9, 14])
@pytest.mark.parametrize("pattern", ["[ab]*", "(ab|b,)*a?", "a[ab,]*bb", "[ab]*é[ab]*"])
def test_a_limit_beside_a_pattern(pattern, most, automata, tokens_of) -> None:
    char = POOL.alt(POOL.byte_set(b"ab,"), POOL.literal("é".encode()))
    body = compile_pattern(pattern, mode="fullmatch", encoding="utf8")
    for least in (0, 2):
        limited = POOL.and_(body, POOL.counted(char, least, most))
        check_walks(automata, POOL.concat(POOL.frame(limited), POOL.literal(b'"')), random.Random(4), tokens_of)


@pytest.mark.parametrize("pattern", ["[ab]*", "(ab|b,)*a?", "a[ab,]*bb", "[ab]*é[ab]*"])
def test_a_limit_beside_a_pattern_is_followed_where_a_token_may_come_to_it(
    pattern, toy, tokens_of, monkeypatch
) -> None:
    """All that is short is taken from the walk without the limit, as in a large vocabulary."""
    monkeypatch.setattr(parts, "_FEW_TOKENS", 0)
    monkeypatch.setattr(part_limits, "_LEAST_DEPTH", 0)
    for name, value in {"WIDE": 0, "MANY_BYTES": 1, "MOST_BASES": 3}.items():
        monkeypatch.setattr(bases, name, value)
    _make_all_wide(monkeypatch)
    taken, walk_within = [], parts.Parts._walk_within
    monkeypatch.setattr(parts.Parts, "_walk_within", lambda *given: taken.append(given) or walk_within(*given))
    char, automata = POOL.alt(POOL.byte_set(b"ab,"), POOL.literal("é".encode())), [Automaton(toy)]
    body = compile_pattern(pattern, mode="fullmatch", encoding="utf8")
    for most in (3, 4, 5, 6):
        limited = POOL.frame(POOL.and_(body, POOL.counted(char, 0, most)))
        for behind in (b'"', b","):
            check_walks(automata, POOL.concat(limited, POOL.literal(behind)), random.Random(6), tokens_of)
    assert taken


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
def test_a_limit_beside_a_pattern_holds_in_tokens_that_leave_it(most: int, tokens_of) -> None:
    """What they have inside is longer than any token that ends there."""
    vocabulary = Vocabulary([b"a", b"b", b'"', b'ab"', b'abba"', b"</s>"], [5], 6)
    automata = [Automaton(vocabulary), Automaton(vocabulary, use_compiled=False)]
    limited = POOL.and_(
        compile_pattern("[ab]*", mode="fullmatch", encoding="utf8"), POOL.counted(POOL.byte_set(b"ab,"), 0, most)
    )
    check_walks(automata, POOL.concat(POOL.frame(limited), POOL.literal(b'"')), random.Random(7), tokens_of)


def test_a_limit_far_off_costs_no_walks(toy: Vocabulary) -> None:
    automaton = Automaton(toy)
    pattern = compile_pattern("(a|ab)*", mode="fullmatch", encoding="utf8")
    batch = StateBatch(automaton)
    slot = batch.open(automaton.root_of(POOL.and_(pattern, POOL.counted(POOL.byte_set(b"ab"), 0, 90))))
    walks = []
    for _ in range(40):
        batch.row_ids([slot])
        assert batch.advance([slot], [0])[0]
        walks.append(automaton.walker.walks)
    assert walks[-1] == walks[4]


def test_a_frame_that_may_end_and_go_on_with_the_same_byte(automata, tokens_of) -> None:
    digits = POOL.frame(POOL.repeat(POOL.byte_set(b"ab"), 1, None))
    ambiguous = POOL.concat(digits, POOL.frame(POOL.repeat(POOL.literal(b"ab"), 1, 2)), POOL.literal(b","))
    check_walks(automata, ambiguous, random.Random(3), tokens_of, n_walks=20)


def test_a_frame_that_may_end_before_a_text_of_several_frames(automata, tokens_of) -> None:
    run = POOL.frame(POOL.repeat(POOL.byte_set(b'",b'), 2, None))
    quotes = POOL.frame(POOL.repeat(POOL.literal(b'"a'), 0, None))
    last = POOL.frame(POOL.concat(POOL.byte_set(b'"b'), POOL.literal(b"a")))
    for rest in ((quotes, last), (quotes, last, POOL.literal(b",")), (quotes, quotes, last)):
        check_walks(automata, POOL.concat(run, *rest), random.Random(5), tokens_of, n_walks=10)


def test_the_answer_is_the_same_on_a_second_visit_and_finds_nothing_new(toy: Vocabulary) -> None:
    automaton = Automaton(toy)
    root = automaton.root_of(json_like(0, 4))

    def visit() -> list[int]:
        batch, rng = StateBatch(automaton), np.random.default_rng(5)
        slots = np.array([batch.open(root) for _ in range(16)], np.int32)
        seen = []
        for _ in range(12):
            rows = batch.row_ids(slots)
            seen += rows.tolist()
            choices = [rng.choice(automaton.allowed(row)) for row in rows.tolist()]
            batch.advance(slots, np.array(choices, np.int32))
        return seen

    first = visit()
    walks, misses = automaton.walker.walks, automaton.misses
    assert misses > 0
    assert visit() == first
    assert (automaton.walker.walks, automaton.misses) == (walks, misses)


def test_documents_of_a_larger_vocabulary_cost_nothing_twice(tokens_of) -> None:
    words = [
        "name",
        "age",
        "tags",
        "true",
        "false",
        "null",
        *("".join(p) for p in itertools.permutations("aeilnst", 4)),
    ]
    pieces = [before + word + end for word in words for before, end in (("", ""), (" ", ""), ('"', '":'))]
    tokens = (
        [bytes([b]) for b in range(256)]
        + [p.encode() for p in pieces]
        + [b'{"', b'"}', b'":"', b"]}", b'":[', b'","', b'e","']
    )
    automaton = Automaton(Vocabulary([*tokens, b""], [len(tokens)], len(tokens) + 1))
    schema = """{"type": "object", "additionalProperties": false, "required": ["name", "age", "tags"], "properties": {
        "name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": %d}, "maxItems": 5}}}"""

    def write(root: int, text: bytes) -> set[int]:
        """The rows met on the way."""
        batch = StateBatch(automaton)
        slot = batch.open(root)
        rows = []
        for token in automaton.vocabulary.spell(text):
            rows.append(int(batch.row_ids([slot])[0]))
            assert token in tokens_of(automaton.rows[rows[-1]])
            assert batch.advance([slot], [token])[0]
        assert batch.finished([slot])[0]
        return set(rows)

    text = b'{"name":"list alein","age":42,"tags":["sail","nest in","t"]}'
    root = automaton.compile(JsonSchema(schema % 20))
    write(root, text)
    misses, reached = automaton.misses, automaton.walker.reached
    assert reached > len(tokens)
    write(root, text)
    assert (automaton.misses, automaton.walker.reached) == (misses, reached)
    write(automaton.compile(JsonSchema(schema % 30)), text)
    assert automaton.walker.reached - reached < reached / 4, "another limit must not walk the string's body again"


def test_choices(toy: Vocabulary, tokens_of) -> None:
    automaton = Automaton(toy)
    batch = StateBatch(automaton)
    slot = batch.open(automaton.compile(Choice(("ab", 'b","a', "ab,"))))
    row = batch.row_ids([slot])[0]
    assert {toy.tokens[t] for t in tokens_of(automaton.rows[row])} == {b"a", b"ab", b"b", b'b","a'}
    assert batch.forced(slot) == b""
    batch.advance([slot], [6])
    assert batch.accepting([slot])[0]
    assert not batch.finished([slot])[0]


def test_what_the_tokenizer_cannot_spell_is_left_out(tokens_of) -> None:
    vocabulary = Vocabulary([b"a", b"b", b"bc", b"cc"], [4], 5)  # no token for c alone
    automaton = Automaton(vocabulary)
    batch = StateBatch(automaton)
    slot = batch.open(automaton.compile(Regex("[abc]{2}")))
    row = batch.row_ids([slot])[0]
    assert tokens_of(automaton.rows[row]) == {0, 1}
    with pytest.raises(GrammarError, match="no tokens to spell"):
        automaton.compile(Regex("c+"))


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (Regex("a(?<=b)"), "regex, column 1: nothing can satisfy this"),
        (Regex("a(?!a)a|(?=b)a"), "regex, column 1: nothing can satisfy this"),
        (Choice(()), "choices: nothing can satisfy this"),
    ],
)
def test_refusals(constraint, message, toy: Vocabulary) -> None:
    with pytest.raises(GrammarError, match=message):
        Automaton(toy).compile(constraint)


def test_states_may_be_more_than_there_was_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rootform.grammar.dfa._RESERVED", 8)
    tokens = [bytes([byte]) for byte in range(128)] + [b'": ', b'{"', b'",', b"ab", b"[[", b"]]"]
    vocabulary = Vocabulary([*tokens, b""], [len(tokens)], len(tokens) + 1)
    schema = {
        "type": "object",
        "properties": {name: {"type": ["array", "null"], "items": {"enum": [name, 1]}} for name in ("ab", "cd", "abc")},
        "additionalProperties": {"type": "string", "maxLength": 3},
    }
    constraint = JsonSchema(json.dumps(schema), property_order="any")
    rows = []
    for reserved in (8, 1 << 16):
        monkeypatch.setattr("rootform.grammar.dfa._RESERVED", reserved)
        automaton = Automaton(vocabulary, exprs=current().fork())
        batch = StateBatch(automaton)
        slot = batch.open(automaton.compile(constraint))
        found = []
        for byte in b'{"ab":["ab",1],"x":"yz","abc":null}':
            row = batch.row_ids(np.array([slot]))[0]
            found.append(automaton.rows[row].copy())
            assert batch.advance(np.array([slot]), np.array([byte])).all()
        rows.append(found)
    assert all((one == other).all() for one, other in zip(*rows, strict=True))


def test_captured_texts_beside_other_branches_make_no_state_for_every_text() -> None:
    rng = random.Random(0)
    words = {bytes(rng.choices(b"abcdefghijklmnop", k=rng.randint(2, 6))) for _ in range(3000)}
    tokens = [bytes([byte]) for byte in range(128)] + sorted(words)
    automaton = Automaton(Vocabulary([*tokens, b""], [len(tokens)], len(tokens) + 1), exprs=current().fork())
    schema = {"dependencies": {"foo": ["bar"], "ab": {"minProperties": 4}, "cd": {"required": ["ab"]}}}
    constraint = JsonSchema(json.dumps(schema), "flexible", property_order="any", draft="7")
    batch = StateBatch(automaton)
    slot = batch.open(automaton.compile(constraint))
    for byte in b'{"fo':
        batch.row_ids(np.array([slot]))
        assert batch.advance(np.array([slot]), np.array([byte])).all()
    row = batch.row_ids(np.array([slot]))[0]
    allowed = np.unpackbits(automaton.rows[row].view(np.uint8), bitorder="little")[: len(tokens)]
    assert allowed[128:].all()
    assert len(automaton._dfa) < 1500
