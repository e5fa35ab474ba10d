"""Masks where elements must differ, or keys come once: against brute force."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import numpy as np
import pytest

from rootform.grammar import capture_masks
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.compile import expression_of
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.counts import Tally, Way
from rootform.grammar.expr import POOL
from rootform.grammar.json_arrays import array
from rootform.grammar.json_equal import values_equal
from rootform.grammar.json_layout import layout
from rootform.grammar.json_objects import Member, object_
from rootform.grammar.json_values import key, string
from rootform.grammar.schema_compile import compile_schema
from rootform.grammar.vocab import Vocabulary

COMPACT, FLEXIBLE = layout("compact"), layout("flexible")
TOKENS = [
    *[bytes([byte]) for byte in b'0123456789abux{}[]",:.\\e-+ truflsn'],
    b'","', b'["', b'"]', b"1,", b"1,1", b"1,2", b"[1,1]", b'"a"', b'"a","a"', b'a","b', b'","a', b",1]", b"11",
    b"[[", b"]]", b"]],", b'{"', b'":', b'":1', b'":1,"', b'1,"', b'a":1,"a', b'x":1,"x":', b"},{", b"true", b", ",
    b'","x', b'"],["a', b'"],["ab"', b"{},", b" {},", b" {}", b"{} ",
]  # fmt: skip
EOS = len(TOKENS)


def of_schema(schema: Any) -> int:
    return compile_schema(JsonSchema(json.dumps(schema), "flexible"))


WORDS = (b"a", b"ab", b"aab", b"abx", b"b", b"bu", b"bux", b"x")
TEXT_WORDS = [word.decode() for word in WORDS]
ONE = (Way(POOL.literal(b"1")),)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary([*TOKENS, b""], [EOS], EOS + 1)


def literals(*texts: bytes) -> list[Way]:
    return [Way(POOL.literal(text)) for text in texts]


def unique(items: list[Way], low: int = 0, high: int | None = None, prefix: tuple[list[Way], ...] = ()) -> int:
    return array(COMPACT, prefix, items, low, high, unique=True)


def strings(*letters: bytes, low: int, high: int | None) -> int:
    return string(POOL.counted(POOL.byte_set(b"".join(letters)), low, high))


CASES = {
    "numbers": lambda: unique(literals(b"1", b"1.0", b"2", b"11"), 2),
    "prefix": lambda: unique(literals(b"2", b'"a"'), 2, None, (literals(b"1", b"11"), literals(b"1"))),
    "tally": lambda: array(
        COMPACT, [], [Way(POOL.alt(*map(POOL.literal, (b"1", b"2"))), frozenset([0])), *literals(b'"a"')], 0, None,
        [Tally(2, None)], unique=True,
    ),
    "tally of some": lambda: array(
        COMPACT, [], [Way(strings(b"ab", low=1, high=1), frozenset([0])), Way(strings(b"ab", low=0, high=None))], 0, 4,
        [Tally(1, None)], unique=True,
    ),
    "counted": lambda: unique([Way(strings(b"ab", low=1, high=2))]),
    "open": lambda: unique([Way(strings(b"ab", low=0, high=None))]),
    "nested": lambda: unique([Way(unique(literals(b"1", b"2")))]),
    "objects": lambda: unique([Way(object_(COMPACT, [Member(key(name), ONE, False) for name in "ab"], []))]),
    "spaced": lambda: array(FLEXIBLE, [], literals(b"1", b"11", b'"a"'), unique=True),
    "inside": lambda: object_(COMPACT, [Member(key("a"), (Way(unique(literals(b"1", b"2"), 2)),), True)], []),
    "keys": lambda: object_(
        COMPACT, [Member(key("a"), ONE, True)], [Member(strings(b"abx", low=0, high=2), ONE, False)], 3, 4,
        distinct=True,
    ),
    "few keys": lambda: object_(
        COMPACT, [Member(key("b"), ONE, True)], [Member(string(POOL.byte_set(b"ax")), ONE, False)], 2, 2,
        any_order=True, distinct=True,
    ),
    "words": lambda: unique(literals(*[b'"' + word + b'"' for word in WORDS])),
    "words in any spelling": lambda: array(
        FLEXIBLE, [], [Way(POOL.alt(*[values_equal(FLEXIBLE, word) for word in TEXT_WORDS]))], unique=True,
    ),
    "listed": lambda: of_schema({"type": "array", "uniqueItems": True, "items": {"enum": ["a", "ab", "b", "u", "x"]}}),
    "listed, some": lambda: of_schema(
        {"type": "array", "uniqueItems": True, "items": {"enum": ["a", "ab"]}, "contains": {"const": "a"}}
    ),
    "listed, in objects": lambda: of_schema(
        {"type": "array", "uniqueItems": True, "items": {
            "type": "object", "properties": {"a": {"enum": [1, 2]}}, "additionalProperties": False,
        }}
    ),
    "listed, in two": lambda: of_schema(
        {"type": "array", "maxItems": 2, "items": {"type": "array", "uniqueItems": True, "items": {"enum": ["a", "b"]}}}
    ),
    "listed, besides": lambda: of_schema(
        {"type": "array", "uniqueItems": True, "items": {"enum": ["a", "b"]}, "minItems": 2}
    ),
    "beside others": lambda: POOL.alt(
        unique(literals(b"1", b"11", b'"a"')), array(COMPACT, [], literals(b'"ab"', b"2"), 1),
    ),
    "beside a run": lambda: POOL.alt(
        unique([Way(strings(b"ab", low=1, high=2))]), array(COMPACT, [], [Way(strings(b"abu", low=2, high=3))], 0, 2),
    ),
    "two kinds": lambda: POOL.alt(unique(literals(b"1", b"2", b"11"), 2), unique(literals(b"1", b"1.0", b'"b"'), 0, 3)),
    "kinds of objects": lambda: POOL.alt(
        object_(
            COMPACT, [Member(key("a"), ONE, True)], [Member(strings(b"abx", low=0, high=2), ONE, False)], 2,
            any_order=True, distinct=True,
        ),
        object_(
            COMPACT, [Member(key("x"), (Way(POOL.literal(b"2")),), True)],
            [Member(strings(b"ab", low=0, high=3), (Way(POOL.alt(*map(POOL.literal, (b"1", b"2")))),), False)], 2, 3,
            any_order=True, distinct=True,
        ),
        object_(COMPACT, [Member(key("ab"), ONE, True)], [Member(strings(b"au", low=1, high=1), ONE, False)]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_masks_hold_just_the_tokens_that_can_be_gone_on_with(case: str, vocabulary: Vocabulary, check_masks) -> None:
    check_masks(CASES[case](), vocabulary, random.Random(case))


def test_taken_texts_are_walked_together_as_one_by_one(vocabulary: Vocabulary, monkeypatch) -> None:
    texts = list(dict.fromkeys(a + b + c for a in "abx" for b in ("", "a", "b", "1") for c in ("", "a", ".", "\n")))
    schema = {"type": "array", "uniqueItems": True, "items": {"type": "string", "pattern": "^[abx1.\n]*$"}}
    document = json.dumps(texts, separators=(",", ":")).encode()
    found = []
    for few in (0, 10**6):
        monkeypatch.setattr(capture_masks, "_FEW_RESTS", few)
        automaton = Automaton(vocabulary)
        place = automaton.start(automaton.compile(JsonSchema(json.dumps(schema))))
        masks = []
        for byte in document:
            row = automaton.row_at(*place)
            masks.append(automaton.rows[row].tobytes())
            after = automaton.after(*place, TOKENS.index(bytes([byte])))
            assert after is not None
            place = after
        found.append(masks)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 4}, b"[0, 3, 0 , -0"),
        ({"enum": ["a", "ab", -1, 1]}, b'["ab","a", -1,1]'),
        ({"enum": [0, [0]]}, b"[[0],-0"),
    ],
    ids=["integers", "mixed", "nested"],
)
def test_tokens_that_end_one_element_and_begin_the_next_are_allowed_as_they_are_taken(items: Any, text: bytes) -> None:
    tokens = [*TOKENS, b",-", b", -", b" ,-", b"-0", b",-0", b"0,-", b',"', b', "a', b',"ab', b",[", b",[-"]
    automaton = Automaton(Vocabulary([*tokens, b""], [len(tokens)], len(tokens) + 1))
    schema = {"type": "array", "items": items, "uniqueItems": True, "minItems": 2}
    place = automaton.start(automaton.compile(JsonSchema(json.dumps(schema), "flexible", property_order="any")))
    n_crossed = 0
    for byte in text:
        row_id = automaton.row_at(*place)
        row = automaton.rows[row_id]
        allowed = {token for token, each in enumerate(tokens) if row[token >> 5] >> (token & 31) & 1}
        taken = {token for token, each in enumerate(tokens) if automaton.after(*place, token) is not None}
        assert {tokens[token] for token in allowed} == {tokens[token] for token in taken}
        n_crossed += sum(b"," in tokens[token][:-1] for token in allowed)
        after = automaton.after(*place, tokens.index(bytes([byte])))
        if after is None:
            break
        place = after
    assert n_crossed > 0


def test_texts_share_the_walks_of_their_elements(vocabulary: Vocabulary) -> None:
    """A second array of other texts finds nearly all it needs, for what was written is no part of the walks."""
    automaton = Automaton(vocabulary)
    batch, root = StateBatch(automaton), automaton.root_of(unique([Way(strings(b"abux", low=0, high=None))]))

    def walks(text: bytes) -> int:
        before, slot = automaton.walker.walks, batch.open(root)
        for byte in text:
            batch.row_ids(np.array([slot]))
            assert batch.advance(np.array([slot]), np.array([TOKENS.index(bytes([byte]))]))[0]
        return automaton.walker.walks - before

    first = walks(b'["ab","abx","b","ux"]')
    assert walks(b'["xx","bau","x","uba"]') < first


def test_what_would_be_a_state_for_every_text_is_refused(vocabulary: Vocabulary) -> None:
    automaton = Automaton(vocabulary)
    batch = StateBatch(automaton)
    words = unique([Way(strings(b"ab", low=0, high=None))])
    slot = batch.open(automaton.root_of(POOL.and_(words, POOL.not_(values_equal(COMPACT, ["a", "b"])))))
    batch.row_ids(np.array([slot]))
    assert "beside another condition" in str(batch.errors[slot])


# -- tokenizers that lack bytes -------------------------------------------------------------------------------

ACCENTED = ("é", "ü", "a", "bé")
LACKING = {
    "enum": {"enum": [*ACCENTED, 1, 10]},
    "few left": {"enum": ["é", "a", "aü"]},
    "any string": {"type": "string", "maxLength": 2},
    "pairs": {"type": "array", "items": {"enum": ["é", "a"]}, "maxItems": 2},
}
LACKING_SCHEMAS = [
    *({"type": "array", "items": items, "uniqueItems": True} for items in LACKING.values()),
    {"type": "array", "items": LACKING["enum"], "uniqueItems": True, "minItems": 2, "maxItems": 3},
    {"type": "array", "prefixItems": [LACKING["enum"], LACKING["few left"]], "uniqueItems": True, "minItems": 2},
    {"type": "array", "items": LACKING["few left"], "not": {"uniqueItems": True}},
    {"properties": {"é": True}, "additionalProperties": {"type": "null"}, "minProperties": 1, "maxProperties": 3},
    {"anyOf": [
        {"type": "array", "items": LACKING["few left"], "uniqueItems": True, "minItems": 2},
        {"type": "array", "items": {"const": "b"}},
    ]},
    {"anyOf": [
        {"type": "object", "properties": {"x": {"const": "é"}}, "required": ["x"], "minProperties": 2},
        {"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": False},
    ]},
]  # fmt: skip


@pytest.mark.parametrize("schema", LACKING_SCHEMAS, ids=lambda schema: json.dumps(schema, ensure_ascii=False))
def test_tokenizers_that_lack_bytes_come_to_no_dead_end(schema: Any, check_masks) -> None:
    """What no tokens can spell is left out of what was to be compared as well."""
    spelled = [bytes([byte]) for byte in b'0123456789abelnux{}[]",:.+-']
    lacking = Vocabulary([*spelled, b'"a', b'","', b'["', b"null", b"1,1", b""], [len(spelled) + 5], len(spelled) + 6)
    constraint = JsonSchema(json.dumps(schema), escapes="minimal")
    expression = expression_of(constraint, lacking.alphabet)
    check_masks(expression, lacking, random.Random(json.dumps(schema)))
    text = POOL.shortest(expression) or b""
    assert set(text) <= set(b"".join(spelled))
    jsonschema.validate(json.loads(text), schema)


SPACED: list[tuple[Any, bytes, bool]] = [
    ({"type": "object", "additionalProperties": False, "properties": {"a": {"enum": ["a", "a b"]}}}, b"[{}, {", True),
    ({"type": "object", "additionalProperties": False, "properties": {"a": {"const": 1}}}, b'[{}, {"a"', False),
    ({"type": "object", "additionalProperties": False, "properties": {"a": {"const": 1}}}, b'[{}, {"a":1', False),
    ({"type": "array", "items": {"enum": ["a", "a  b"]}, "maxItems": 1}, b'[["a"], [\n', False),
    ({"type": "array", "items": {"enum": ["a"]}, "maxItems": 1}, b'[["a"], [', False),
    ({"type": "array", "items": {"enum": ["a", "a b"]}, "maxItems": 2}, b'[["a"], ["a"', True),
    ({"type": "array", "items": {"enum": ["a", "a b"]}, "maxItems": 2}, b'[["a"], ["a', False),
]


@pytest.mark.parametrize(("items", "text", "is_told"), SPACED, ids=lambda each: each if type(each) is bytes else None)
def test_spaces_that_mean_nothing_are_told_by_what_may_come_behind_one_of_them(
    items: Any, text: bytes, is_told: bool, tokens_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaces = [b"\n" * n + b" " * m for n in range(3) for m in range(40) if n or m > 1]
    tokens = [*TOKENS, b"\n", *[each for each in spaces if each != b"\n"], b"  b", b" b", b"  }", b" ]", b" }]", b"\n]"]
    automaton = Automaton(Vocabulary([*tokens, b""], [len(tokens)], len(tokens) + 1))
    followed: list[bytes] = []
    may_come = capture_masks.CaptureMasks._may_come

    def noted(self: Any, place: Any, reader: Any, token: int) -> bool:
        followed.append(tokens[token])
        return may_come(self, place, reader, token)

    monkeypatch.setattr(capture_masks.CaptureMasks, "_may_come", noted)
    schema = {"type": "array", "uniqueItems": True, "items": items, "maxItems": 3}
    expression = of_schema(schema)
    place, rest = automaton.start(automaton.root_of(expression)), expression
    for byte in text:
        after = automaton.after(*place, tokens.index(bytes([byte])))
        assert after is not None
        place, rest = after, POOL.raw_derivative(rest, byte)
    followed.clear()
    row = automaton.row_at(*place)
    wanted = {i for i, token in enumerate(tokens) if not POOL.is_empty(POOL.rest(rest, token))}
    assert tokens_of(automaton.rows[row]) == wanted
    some = {token for token in followed if not token.strip()}
    assert not is_told or (not some and sum(not tokens[i].strip() for i in wanted) > 20)
