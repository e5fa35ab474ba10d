"""Tokenizers that lack bytes: what they can spell is generated, with no dead end."""

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.alphabet import Restricted
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.chars import characters
from rootform.grammar.compile import expression_of
from rootform.grammar.constraints import Choice, Constraint, Grammar, JsonSchema, Regex
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.vocab import Vocabulary

CHARACTERS = "abéè€\u20ad😀😁"
WORDS = [*CHARACTERS, "ab", "aé", "é€", "€€"]
BYTES = sorted({bytes([byte]) for byte in CHARACTERS.encode()})
PIECES = [
    *(word.encode() for word in WORDS),
    *BYTES,
    b"a\xc3",
    b"\xe2\x82",
    b"\x82\xac",
    b"\xa9a",
    b"\xf0\x9f\x98",
    b"b\xf0",
]


@st.composite
def vocabularies(draw: st.DrawFn) -> Vocabulary:
    tokens = draw(st.lists(st.sampled_from(PIECES), unique=True, min_size=1))
    return Vocabulary([*tokens, b""], [len(tokens)], len(tokens) + 1)


def _can_be_spelled(char: str, tokens: set[bytes]) -> bool:
    """By the definition: byte by byte, or as one token, with no token that ends inside and leaves what is none."""
    data = char.encode()
    rests = [
        data[size:] for size in range(1, len(data)) if any(token.endswith(data[:size]) for token in tokens if token)
    ]
    bytes_are_tokens = all(bytes([byte]) in tokens for byte in data)
    return bytes_are_tokens or (data in tokens and all(bytes([byte]) in tokens for rest in rests for byte in rest))


def _all_texts(vocabulary: Vocabulary, constraint: Constraint, tokens_of: Any) -> set[bytes]:
    """What the masks let be generated. Nothing else is looked at, so a dead end is a failure."""
    automaton = Automaton(vocabulary)
    batch = StateBatch(automaton)
    slot = np.array([batch.open(automaton.compile(constraint))])
    found, todo, seen = set(), [(b"", batch.save(int(slot[0])))], set()
    while todo:
        text, saved = todo.pop()
        if (text, saved) in seen:
            continue
        seen.add((text, saved))
        batch.restore(int(slot[0]), saved)
        row = batch.row_ids(slot)[0]
        allowed = tokens_of(automaton.rows[row])
        assert allowed, text
        for token in allowed:
            if token in vocabulary.eos_ids:
                found.add(text)
                continue
            batch.restore(int(slot[0]), saved)
            assert batch.advance(slot, np.array([token]))[0]
            todo.append((text + vocabulary.tokens[token], batch.save(int(slot[0]))))
    return found


@settings(deadline=None, max_examples=60)
@given(vocabulary=vocabularies(), texts=st.sets(st.text(CHARACTERS, min_size=1, max_size=4), min_size=1, max_size=6))
@pytest.mark.parametrize("kind", ["choice", "regex", "grammar"])
def test_just_the_texts_of_characters_that_can_be_spelled(kind: str, vocabulary, texts: set[str], tokens_of) -> None:
    ordered = sorted(texts)
    constraint = {
        "choice": lambda: Choice(tuple(ordered)),
        "regex": lambda: Regex("|".join(ordered)),
        "grammar": lambda: Grammar(
            "root ::= "
            + " | ".join(f"r{i}" for i in range(len(ordered)))
            + "".join(f'\nr{i} ::= "{text}"' for i, text in enumerate(ordered))
        ),
    }[kind]()
    tokens = set(vocabulary.tokens)
    wanted = {text.encode() for text in texts if all(_can_be_spelled(char, tokens) for char in text)}
    if not wanted:
        with pytest.raises(GrammarError, match="no tokens to spell"):
            Automaton(vocabulary).compile(constraint)
    else:
        assert _all_texts(vocabulary, constraint, tokens_of) == wanted


ENDLESS: list[Constraint] = [
    Regex(".*"),
    Regex("[aé]*(€|😀)+b?"),
    Regex("(?!.*é€).{2,5}"),
    Regex("[^a]{1,3}é*"),
    Grammar('root ::= "é" root "€" | [^a] | "a"*  "b"'),
    JsonSchema('{"enum": ["é", "è€", "a", {"é": "€"}]}', escapes="minimal"),
    JsonSchema('{"type": "string", "pattern": "^[é€a]+$", "maxLength": 3}', escapes="minimal"),
    JsonSchema('{"items": {"type": "string", "minLength": 1}, "type": "array", "maxItems": 2}', escapes="minimal"),
    JsonSchema('{"properties": {"é": {"$ref": "#"}, "€": {"const": "b"}}, "type": "object"}', escapes="minimal"),
]  # fmt: skip


@pytest.mark.parametrize("constraint", ENDLESS, ids=str)
def test_masks_are_those_of_trying_each_token(constraint: Constraint, check_masks) -> None:
    rng = random.Random(str(constraint))
    json_bytes = [bytes([byte]) for byte in b'[]{}":,\\u0123456789']
    for _ in range(4):
        tokens = [*json_bytes, *rng.sample(PIECES, 12), b"a", b"b", b'"\xc3\xa9', b'\xa9"']
        vocabulary = Vocabulary([*tokens, b""], [len(tokens)], len(tokens) + 1)
        try:
            expression = expression_of(constraint, vocabulary.alphabet)
        except GrammarError as error:
            assert "no tokens to spell" in str(error)  # noqa: PT017
            continue
        check_masks(expression, vocabulary, rng)


@settings(deadline=None, max_examples=100)
@given(rng=st.randoms(use_true_random=False), kept=st.sets(st.sampled_from('ab,"é')))
def test_also_of_random_expressions(rng: random.Random, kept: set[str], random_expression) -> None:
    """Characters that are left out take with them just the texts they are in."""
    expression, language = random_expression(rng)
    restricted = Restricted(characters("".join(kept))).of(expression)
    for text in language:
        assert POOL.fullmatch(restricted, text) == (set(text.decode()) <= kept)


def test_vocabularies_with_all_bytes_spell_everything() -> None:
    tokens = [bytes([byte]) for byte in range(256)]
    assert Vocabulary([*tokens, b""], [256], 257).alphabet is None
    assert Vocabulary([*tokens[:0xC0], *tokens[0xC2:0xF5], b""], [243], 244).alphabet is None
    without = Vocabulary([token for token in tokens if token != b"\xa9"] + [b"\xc3\xa9", b""], [256], 257)
    assert POOL.fullmatch(expression_of(Regex("."), without.alphabet), "è".encode())
    with pytest.raises(GrammarError, match="no tokens to spell"):
        expression_of(Choice(("é",)), without.alphabet)


def test_schemas_with_values_that_cannot_be_spelled_say_so() -> None:
    vocabulary = Vocabulary([b'"', b"a", "é".encode(), b""], [3], 4)
    constraint = JsonSchema(json.dumps({"enum": ["è", "é"]}), escapes="minimal")
    assert POOL.shortest(expression_of(constraint, vocabulary.alphabet)) == '"é"'.encode()
