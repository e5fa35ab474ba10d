"""Large sets of words: the same language, states and rows as written out, at a cost that does not grow with them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.chars import json_text
from rootform.grammar.compile import expression_of
from rootform.grammar.constraints import Choice, JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL, Exprs
from rootform.grammar.pools import current, using
from rootform.grammar.schema_compile import compile_schema
from rootform.grammar.words import Words


def one_byte(byte: int) -> int:
    return POOL.byte_mask(1 << byte)


def one_char(char: str) -> int:
    return json_text(char)


sets_of_words = st.sets(st.text("abé", max_size=5), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(sets_of_words, st.randoms(use_true_random=False))
def test_words_are_the_alternation_of_their_literals(members: set[str], rng: random.Random) -> None:
    with using(Exprs()):
        found = POOL.words(Words([word.encode() for word in members], one_byte))
        for word in [*members, *("".join(rng.choices("abé", k=rng.randint(0, 6))) for _ in range(30))]:
            assert POOL.fullmatch(found, word.encode()) == (word in members)
        assert len(POOL.shortest(found) or b"") == min(len(word.encode()) for word in members)
        assert POOL.nullable(found) == ("" in members)
        firsts = {word.encode()[0] for word in members if word}
        assert POOL.first(found) == sum(1 << byte for byte in firsts)


@settings(max_examples=40, deadline=None)
@given(sets_of_words)
def test_letters_may_have_several_spellings(members: set[str]) -> None:
    with using(current().fork()):
        found = POOL.words(Words(members, one_char, lambda word: len(word.encode())))
        for word in members:
            escaped = "".join(f"\\u{ord(char):04X}" for char in word)
            assert POOL.fullmatch(found, word.encode())
            assert POOL.fullmatch(found, escaped.encode())
            assert POOL.fullmatch(found, (word + "a").encode()) == (word + "a" in members)
        assert len(POOL.shortest(found) or b"") == min(len(word.encode()) for word in members)


def test_rows_are_those_of_the_trie_written_out(toy, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    options = tuple({"".join(rng.choices('ab,"', k=rng.randint(2, 9))) for _ in range(500)})
    assert len(options) > 300, "fewer would be written out"

    def rows() -> list[object]:
        automaton, seen, steps = Automaton(toy, exprs=Exprs()), [], random.Random(2)
        batch = StateBatch(automaton)
        slot = batch.open(automaton.compile(Choice(options)))
        for _ in range(60):
            row = int(batch.row_ids(np.array([slot]))[0])
            seen += [automaton.rows[row].tolist(), len(batch.closing(slot)), batch.forced(slot)]
            allowed = batch.allowed(row)
            assert allowed is not None
            token = steps.choice(allowed.tolist())
            if token in toy.eos_ids:
                batch.restore(slot, automaton.start(automaton.compile(Choice(options))))
            else:
                assert batch.advance(np.array([slot]), np.array([token]))[0]
        return seen

    expected = rows()
    monkeypatch.setattr("rootform.grammar.expr.FEW", 10**9)
    assert rows() == expected


def test_hundreds_of_thousands_of_choices_make_few_expressions(toy_bytes) -> None:
    rng = random.Random(3)
    options = tuple(f"{rng.getrandbits(48):x}" for _ in range(100_000))
    automaton = Automaton(toy_bytes, exprs=Exprs())
    batch = StateBatch(automaton)
    slot = batch.open(automaton.compile(Choice(options)))
    for word in rng.sample(options, 8):
        batch.restore(slot, automaton.start(automaton.compile(Choice(options))))
        for byte in word.encode():
            assert batch.advance(np.array([slot]), np.array([byte]))[0]
        assert batch.accepting(np.array([slot]))[0]
    assert len(automaton.exprs) < 50_000
    assert automaton.nbytes < 60 << 20


def test_words_that_begin_each_other_need_no_recursion(toy_bytes) -> None:
    automaton = Automaton(toy_bytes, exprs=Exprs())
    batch = StateBatch(automaton)
    slot = batch.open(automaton.compile(Choice(tuple("a" * n for n in range(1, 800)))))
    for _ in range(798):
        assert batch.advance(np.array([slot]), np.array([ord("a")]))[0]
        assert batch.accepting(np.array([slot]))[0]
    assert not batch.finished(np.array([slot]))[0]
    assert batch.advance(np.array([slot]), np.array([ord("a")]))[0]
    assert batch.finished(np.array([slot]))[0]


def test_large_enums_and_key_sets_of_schemas() -> None:
    """As with few: each value in its one spelling; no listed name again among the others, in whatever spelling."""
    values = [f'"k{n}\\n"' for n in range(500)] + [str(n * 7) for n in range(500)] + ["null", "[1]", '{"a":2}']
    with using(current().fork()):
        found = compile_schema(JsonSchema(f'{{"enum":[{",".join(values)}]}}'))
        assert all(POOL.fullmatch(found, value.encode()) for value in values)
        wrong = ['"k1"', '"k500\\n"', "1", "3493.0", "true", "[1", "[2]", '"k\\u0031\\n"']
        assert not any(POOL.fullmatch(found, value.encode()) for value in wrong)
        names = ",".join(f'"name{n}":{{"type":"null"}}' for n in range(400))
        found = compile_schema(JsonSchema(f'{{"type":"object","properties":{{{names}}}}}'))
        assert POOL.fullmatch(found, b'{"name3":null,"name399":null,"other":1,"name":2,"name400":3}')
        for text in (b'{"name3":1}', b'{"other":1,"name3":null}', b'{"name\\u0033":1}', b'{"n\\u0061me399":1}'):
            assert not POOL.fullmatch(found, text)
        assert POOL.fullmatch(found, b'{"n\\u0061me400":1}')


def test_a_lone_surrogate_among_many_choices_is_named() -> None:
    options = tuple(f"word {n}" for n in range(1000))
    with pytest.raises(GrammarError, match=r"choice 1000.*lone surrogate"):
        expression_of(Choice((*options, "\ud800")))
