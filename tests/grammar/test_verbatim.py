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

from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.chars import JSON_CHAR
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import EMPTY, POOL, Exprs
from rootform.grammar.pools import current, using
from rootform.grammar.regex import compile_pattern
from rootform.grammar.report import inspect_schema
from rootform.grammar.schema_compile import compile_schema
from rootform.grammar.verbatim import IndexedText, indexed, occurrence, walk
from rootform.grammar.verbatim_fields import verbatim_fields
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
@given(
    documents,
    st.booleans(),
    limits,
    st.sampled_from(["a", "b$", "^[ab]+$", "[^a]$", "(ab|é)", "^$", '"', "a[^x]*1"]),
)
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


# -- in schemas -----------------------------------------------------------------------------------------------


def schema_of(string: dict) -> str:
    free = {"type": "object", "properties": {"s": string, "n": {"type": ["string", "null"], "enum": ["ab", None]}},
            "required": ["s"], "additionalProperties": False}  # fmt: skip
    return json.dumps(free)


def masks_of(vocabulary: Vocabulary, constraint: JsonSchema, text: bytes) -> list[set[int]]:
    """The allowed tokens before each byte of `text`, read byte by byte."""
    automaton = Automaton(vocabulary, exprs=fresh())
    batch = StateBatch(automaton)
    slots = np.array([batch.open(automaton.compile(constraint))], np.int32)
    found = []
    for byte in [*text, None]:
        (row_id,) = batch.row_ids(slots)
        row = automaton.rows[row_id]
        found.append({t for t in range(vocabulary.size) if row[t >> 5] >> (t & 31) & 1})
        assert byte is None or batch.advance(slots, np.array([vocabulary.by_bytes[bytes([byte])]], np.int32))[0]
    return found


def fresh() -> Exprs:
    return current().fork()


@settings(deadline=None, max_examples=25)
@given(st.text('ab "\\é', max_size=6), st.booleans(), limits, st.sampled_from([None, "^[ab]*$", "b"]), st.data())
def test_a_token_is_allowed_exactly_when_a_valid_value_goes_through_it(
    json_bytes, document, words, counts, pattern, data
):
    least, most = counts
    string = {"type": "string", "minLength": least, "x-rootform": {"verbatim": {"words": words}}}
    string |= {} if most is None else {"maxLength": most}
    string |= {} if pattern is None else {"pattern": pattern}
    constraint = JsonSchema(schema_of(string), document=document)
    regex = re.compile((pattern or "").replace("$", r"\Z"), re.DOTALL)
    values = [v for v in parts(document, words, least, most) if regex.search(v)]
    texts = [b'{"s":"' + spelled(v) + b'"' + end for v in values for end in (b"}", b',"n":"ab"}', b',"n":null}')]
    if not values:
        with pytest.raises(GrammarError, match="nothing satisfies"):
            Automaton(json_bytes, exprs=fresh()).compile(constraint)
        return
    text = data.draw(st.sampled_from(texts))
    for read, allowed in enumerate(masks_of(json_bytes, constraint, text)):
        rest = [each[read:] for each in texts if each.startswith(text[:read])]
        expected = {t for t, token in enumerate(json_bytes.tokens) if token and any(r.startswith(token) for r in rest)}
        assert allowed == expected | ({json_bytes.eos_ids[0]} if b"" in rest else set())


@pytest.fixture(scope="module")
def json_bytes() -> Vocabulary:
    """Every byte by its own number, and tokens that cross the borders of values; EOS at 300."""
    words = [
        b'a"',
        b'"a',
        b'":"',
        b'b"}',
        b'","n":',
        b'""',
        b'ab"',
        b"ab",
        b'\\"a',
        b"\\\\",
        b"\xc3\xa9b",
        b' "',
        b'"}',
    ]
    tokens = [bytes([b]) for b in range(256)] + words
    return Vocabulary([*tokens, *[b""] * (301 - len(tokens))], [300], 301)


VERBATIM = {"type": "string", "x-rootform": {"verbatim": True}}


def accepts(schema: dict, document: str, value: object) -> bool:
    with using(fresh()):
        item = compile_schema(JsonSchema(json.dumps(schema), document=document))
        return POOL.fullmatch(item, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def test_verbatim_stands_beside_other_keywords_wherever_a_string_may_stand():
    document = "Ann Berg, +47 22 33 44 55, 2024-05-06"
    date = VERBATIM | {"format": "date"}
    assert accepts(date, document, "2024-05-06")
    assert not accepts(date, document, "2024-05-07")
    listed = {"type": "array", "items": VERBATIM | {"minLength": 2}, "maxItems": 2}
    assert accepts(listed, document, ["Ann", "Berg"])
    assert not accepts(listed, document, ["Ann", "Bert"])
    nullable = VERBATIM | {"type": ["string", "null", "integer"]}
    assert accepts(nullable, document, None)
    assert accepts(nullable, document, 7)
    assert not accepts(nullable, document, "8")
    both = {"allOf": [VERBATIM, {"x-rootform": {"verbatim": {"words": True}}, "minLength": 1}]}
    assert accepts(both, document, "Ann Berg")
    assert not accepts(both, document, "Ann Ber")
    listed = VERBATIM | {"enum": ["Ann", "Bo", 3]}
    assert accepts(listed, document, "Ann")
    assert not accepts(listed, document, "Bo")
    names = {"type": "object", "propertyNames": {"x-rootform": {"verbatim": True}, "minLength": 3}}
    assert accepts(names, document, {"Ann": 1})
    assert not accepts(names, document, {"Bob": 1})
    by_name = {"$defs": {"v": VERBATIM}, "anyOf": [{"$ref": "#/$defs/v"}, {"const": "none"}]}
    assert accepts(by_name, document, "none")
    assert not accepts(by_name, document, "nine")


def test_recursive_schemas_of_two_documents_are_kept_apart():
    tree = {"type": "object", "properties": {"name": VERBATIM, "inner": {"$ref": "#"}}, "additionalProperties": False}
    with using(fresh()):
        one, two = (compile_schema(JsonSchema(json.dumps(tree), document=document)) for document in ("ab", "cd"))
        for name, item in (("ab", one), ("cd", two)):
            assert POOL.fullmatch(item, b'{"inner":{"name":"%b"}}' % name.encode())
            assert not POOL.fullmatch(item, b'{"inner":{"name":"ac"}}')
        assert not POOL.fullmatch(one, b'{"inner":{"name":"cd"}}')


def test_what_cannot_be_meant_is_refused():
    def why(schema: dict, document: str | None = "a") -> str:
        with pytest.raises(GrammarError) as caught, using(fresh()):
            compile_schema(JsonSchema(json.dumps(schema), document=document))
        return str(caught.value)

    assert "need a document" in why({"properties": {"a": VERBATIM}}, None)
    assert "#/properties/a" in why({"properties": {"a": VERBATIM}}, None)
    assert "verbatim cannot be 'yes'" in why({"x-rootform": {"verbatim": "yes"}})
    assert "verbatim cannot be 1" in why({"x-rootform": {"verbatim": 1}})
    assert "is about strings" in why({"type": "integer", "x-rootform": {"verbatim": True}})
    assert "nothing satisfies" in why(VERBATIM | {"minLength": 2})
    assert inspect_schema(json.dumps({"properties": {"a": VERBATIM}})).ok


def test_a_character_that_no_token_spells_is_left_out_of_the_document():
    vocabulary = Vocabulary([b'"', b"a", b"b", b"ab", b"</s>"], [4], 5)
    allowed = masks_of(vocabulary, JsonSchema(json.dumps(VERBATIM), document="abcab"), b'"ab')
    assert allowed == [{0}, {0, 1, 2, 3}, {0, 2}, {0}]


# -- where values stand ---------------------------------------------------------------------------------------


def test_fields_are_found_wherever_a_verbatim_rule_accepts_a_string():
    words = {"type": "string", "x-rootform": {"verbatim": {"words": True}}}
    person = {"type": "object", "properties": {"a/b": words, "free": {"type": "string"}}}
    robot = {"type": "object", "properties": {"kind": {"const": "robot"}, "a/b": VERBATIM}, "required": ["kind"]}
    schema = {"type": "array", "items": {"anyOf": [robot, person, VERBATIM, {"type": "null"}]}}
    document = "annex ann 😀 x"
    value = [{"a/b": "ann", "free": "ann"}, {"kind": "robot", "a/b": "ann"}, None, "😀 x", {"a/b": ""}]
    constraint = JsonSchema(json.dumps(schema), document=document)
    fields = verbatim_fields(constraint, json.dumps(value))
    assert [(f.pointer, f.start, f.end) for f in fields] == [
        ("/0/a~1b", 6, 9),
        ("/1/a~1b", 0, 3),
        ("/3", 10, 13),
        ("/4/a~1b", 0, 0),
    ]
    assert verbatim_fields(constraint, '["😀') == ()
    assert verbatim_fields(JsonSchema(json.dumps(schema)), json.dumps(value)) == ()


@settings(deadline=None, max_examples=40)
@given(documents.filter(bool), st.booleans(), st.data())
def test_offsets_always_point_at_the_value(document, words, data):
    item = {"type": ["string", "null"], "x-rootform": {"verbatim": {"words": words}}}
    schema = {"type": "object", "properties": {"one": item, "many": {"type": "array", "items": item}}}
    some = st.one_of(st.none(), st.sampled_from(sorted(parts(document, words, 0, None))))
    value = {"many": data.draw(st.lists(some, max_size=3)), "one": data.draw(some)}
    fields = verbatim_fields(JsonSchema(json.dumps(schema), document=document), json.dumps(value))
    found = {f.pointer: document[f.start : f.end] for f in fields}
    wanted = {"/one": value["one"]} | {f"/many/{i}": each for i, each in enumerate(value["many"])}
    assert found == {pointer: each for pointer, each in wanted.items() if each is not None}
