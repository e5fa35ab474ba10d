"""Verbatim values: exactly the strings that stand in the document, whatever else is asked of them."""

from __future__ import annotations

import gc
import json
import random
import re
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.chars import JSON_CHAR
from rootform.grammar.expr import EMPTY, POOL, Exprs
from rootform.grammar.pools import using
from rootform.grammar.regex import compile_pattern
from rootform.grammar.verbatim import IndexedText, indexed, occurrence, walk
from rootform.grammar.vocab import Vocabulary

ALPHABET = 'ab_1 -"\\\n\x01é×€́😀'
documents = st.text(ALPHABET, max_size=12)
"""Letters, signs, what JSON must escape, characters of two to four bytes that share their first ones, a mark."""


def spelled(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()


def is_word(char: str) -> bool:
    return re.fullmatch(r"[\w\u0301]", char) is not None


def parts(document: str, words: bool, least: int, most: int | None) -> set[str]:
    """All that a value may be, by looking at every cut."""

    def edge(at: int) -> bool:
        return not words or at in (0, len(document)) or not (is_word(document[at - 1]) and is_word(document[at]))

    edges = [at for at in range(len(document) + 1) if edge(at)]
    found = {document[a:b] for a in edges for b in edges if a < b} | {""}
    return {value for value in found if least <= len(value) and (most is None or len(value) <= most)}


limits = st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(0, 6)))


@settings(deadline=None)
@given(documents, st.booleans(), limits)
def test_the_language_is_every_part_of_the_document_and_nothing_else(document, words, counts):
    least, most = counts
    item = POOL.verbatim(indexed(document, words=words), least, most)
    values = {spelled(value) for value in parts(document, words, least, most)}
    beginnings = {value[:n] for value in values for n in range(len(value) + 1)}
    todo = {b"": item} if values else {}
    assert (item == EMPTY) == (not values) == POOL.is_empty(item)
    while todo:
        read, rest = todo.popitem()
        assert POOL.nullable(rest) == (read in values)
        shortest = POOL.shortest(rest)
        assert shortest is not None
        assert read + shortest in values
        assert len(shortest) == min(len(v) - len(read) for v in values if v.startswith(read))
        for mask in POOL.byte_classes(rest):
            for byte in [b for b in range(256) if mask >> b & 1][:2]:
                after = POOL.derivative(rest, byte)
                assert (after != EMPTY) == (read + bytes([byte]) in beginnings)
                if after != EMPTY:
                    assert POOL.first(rest) >> byte & 1
                    todo[read + bytes([byte])] = after


@settings(deadline=None)
@given(documents, st.booleans(), limits, st.sampled_from(["a", "b$", "^[ab]+$", "[^a]$", "(ab|é)", "^$", '"', "a.*1"]))
def test_beside_a_pattern_just_the_parts_that_match_are_left(document, words, counts, pattern):
    found = compile_pattern(pattern, mode="search", encoding="json")
    both = POOL.and_(POOL.verbatim(indexed(document, words=words), *counts), found)
    regex = re.compile(pattern.replace("$", r"\Z"), re.DOTALL)
    values = {spelled(value) for value in parts(document, words, *counts) if regex.search(value)}
    assert POOL.is_empty(both) == (not values)
    if values:
        shortest = POOL.shortest(both)
        assert shortest in values
        assert len(shortest) == min(map(len, values))
    for value in parts(document, words, 0, None):
        assert POOL.fullmatch(both, spelled(value)) == (spelled(value) in values)


@settings(deadline=None, max_examples=50)
@given(documents, documents, st.booleans())
def test_complements_and_two_documents_at_once(first, second, words):
    one, other = POOL.verbatim(indexed(first, words=words)), POOL.verbatim(indexed(second))
    both, rest = POOL.and_(one, other), POOL.and_(one, POOL.not_(other), POOL.repeat(JSON_CHAR, 0, None))
    shared = parts(first, words, 0, None) & parts(second, False, 0, None)
    alone = parts(first, words, 0, None) - parts(second, False, 0, None)
    assert not POOL.is_empty(both)
    assert POOL.is_empty(rest) == (not alone)
    for value in parts(first, words, 0, None) | parts(second, False, 0, None):
        assert POOL.fullmatch(both, spelled(value)) == (value in shared)
        assert POOL.fullmatch(rest, spelled(value)) == (value in alone)


@settings(deadline=None)
@given(st.text("ab \ud800", max_size=8), st.booleans())
def test_half_a_surrogate_pair_is_in_no_value(document, words):
    whole = re.split("\ud800", document)
    item = POOL.verbatim(indexed(document, words=words))
    for piece in whole:
        for value in parts(piece, words, 0, None):
            assert POOL.fullmatch(item, spelled(value))
    assert not POOL.fullmatch(item, "a\ud800".encode("utf-8", "surrogatepass"))


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    """All bytes of some random text, and random strings of two to five bytes of it."""
    rng = random.Random(1)
    text = spelled("".join(rng.choices(ALPHABET, k=400)))
    tokens = {text[i : i + n] for i in range(len(text)) for n in range(1, 6)}
    return Vocabulary([*sorted(tokens), b"</s>"], [len(tokens)], len(tokens) + 1)


@settings(deadline=None)
@given(documents, st.booleans(), limits, st.integers(0, 8))
def test_the_walk_reaches_just_the_tokens_that_derivatives_allow(vocabulary, document, words, counts, steps):
    item = POOL.verbatim(indexed(document, words=words), *counts)
    for byte in (POOL.shortest(item) or b"")[:steps]:
        item = POOL.derivative(item, byte)
    node = POOL.node(item)
    if len(node) < 2:
        return
    trie = vocabulary.node_byte, vocabulary.node_depth, vocabulary.node_end
    nodes, over = walk(node[1], np.zeros(1, np.int32), *trie)
    starts = vocabulary.token_start
    reached = {int(t): bool(end) for n, end in zip(nodes, over, strict=True)
               for t in vocabulary.token_ids[starts[n] : starts[n + 1]]}  # fmt: skip
    for token, text in enumerate(vocabulary.tokens):
        rest = item
        for byte in text:
            rest = POOL.derivative(rest, byte)
        assert (token in reached) == (rest != EMPTY and text != b"")
        assert not reached.get(token, False) or POOL.nullable(rest)
        assert reached.get(token, False) == (text != b"" and POOL.nullable(rest))


@settings(deadline=None)
@given(documents, documents, st.booleans())
def test_the_first_occurrence_points_at_the_value(document, value, words):
    at = occurrence(document, value, words=words)
    assert (at is not None) == (value in parts(document, words, 0, None))
    if at is not None:
        assert document[at : at + len(value)] == value
        assert words or document.find(value) == at


def test_a_document_goes_with_the_pool_that_it_is_used_in():
    pool = Exprs()
    with using(pool):
        item = POOL.verbatim(indexed("a document of its own"))
        POOL.derivative(item, ord("a"))
    gone = weakref.ref(indexed("a document of its own"))
    assert gone() is not None
    del pool
    gc.collect()
    assert gone() is None


def test_one_document_is_indexed_once_and_long_ones_share_what_is_left():
    document = "one two one three"
    assert indexed(document) is indexed(document)
    assert indexed(document) is not indexed(document, words=True)
    item = POOL.verbatim(indexed(document))

    def after(text: bytes) -> int:
        rest = item
        for byte in text:
            rest = POOL.derivative(rest, byte)
        return rest

    assert after(b"one th") == after(b" th")
    assert after(b"one") != after(b"two")


def test_a_long_run_of_one_character_is_no_trouble():
    text = IndexedText("a" * 5000 + "b", words=False)
    item = POOL.verbatim(text, 3000, 4000)
    assert len(POOL.shortest(item) or b"") == 3000
    assert POOL.fullmatch(item, b"a" * 3999 + b"b")
    assert not POOL.fullmatch(item, b"a" * 4000 + b"b")
