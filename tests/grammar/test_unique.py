"""Elements that differ and keys that come once: texts against a plain predicate, masks against brute force."""

from __future__ import annotations

import itertools
import json
import random
from decimal import Decimal
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rootform.grammar import capture_masks, captures, known_values
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.captures import derived, has_others
from rootform.grammar.chars import characters
from rootform.grammar.compile import expression_of
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.counts import Tally, Way, left
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.json_arrays import array
from rootform.grammar.json_equal import read, values_equal
from rootform.grammar.json_layout import layout
from rootform.grammar.json_objects import Member, object_
from rootform.grammar.json_values import ANY_TEXT, any_value, key, key_besides, string
from rootform.grammar.known_values import has_values
from rootform.grammar.numbers import NUMBER
from rootform.grammar.pools import using
from rootform.grammar.schema_compile import compile_schema
from rootform.grammar.unique import Elements
from rootform.grammar.vocab import Vocabulary

COMPACT, FLEXIBLE = layout("compact"), layout("flexible")
TEXTS = (b"1", b"1.0", b"2", b'"a"', b'"\\u0061"', b'"ab"')
TOKENS = [
    *[bytes([byte]) for byte in b'0123456789abux{}[]",:.\\e-+ truflsn'],
    b'","', b'["', b'"]', b"1,", b"1,1", b"1,2", b"[1,1]", b'"a"', b'"a","a"', b'a","b', b'","a', b",1]", b"11",
    b"[[", b"]]", b"]],", b'{"', b'":', b'":1', b'":1,"', b'1,"', b'a":1,"a', b'x":1,"x":', b"},{", b"true", b", ",
    b'","x',
]  # fmt: skip
EOS = len(TOKENS)
VALUES = [
    1,
    2,
    Decimal("1.0"),
    Decimal("0.5"),
    "a",
    "ab",
    "é",
    True,
    None,
    [],
    [1],
    [1, 2],
    {},
    {"a": 1},
    {"a": 1, "b": 2},
]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary([*TOKENS, b""], [EOS], EOS + 1)


def literals(*texts: bytes) -> list[Way]:
    return [Way(POOL.literal(text)) for text in texts]


def unique(items: list[Way], low: int = 0, high: int | None = None, prefix: tuple[list[Way], ...] = ()) -> int:
    return array(COMPACT, prefix, items, low, high, unique=True)


def within(count: int, low: int, high: int | None) -> bool:
    return low <= count and (high is None or count <= high)


# -- texts ----------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 1 << 32))
@example(seed=1935061)  # equal values that count differently
@settings(max_examples=60, deadline=None)
def test_every_short_array_is_judged_by_its_values(seed: int) -> None:
    rng = random.Random(seed)

    def some(n_tallies: int) -> dict[bytes, frozenset[int]]:
        chosen = rng.sample(TEXTS, rng.randint(1, 4))
        return {text: frozenset(i for i in range(n_tallies) if rng.random() < 0.5) for text in chosen}

    tallies = [Tally(rng.choice([0, 1, 2]), rng.choice([None, 1, 2, 3])) for _ in range(rng.choice([0, 0, 1]))]
    prefix, items = [some(len(tallies)) for _ in range(rng.choice([0, 0, 1, 2]))], some(len(tallies))
    low, high = rng.choice([0, 0, 1, 2, 3]), rng.choice([None, None, 1, 2, 3])
    made = array(
        COMPACT,
        [[Way(POOL.literal(text), counts) for text, counts in texts.items()] for texts in prefix],
        [Way(POOL.literal(text), counts) for text, counts in items.items()],
        low,
        high,
        tallies,
        unique=True,
    )

    def fits(elements: tuple[bytes, ...]) -> bool:
        places = [*prefix, *[items] * len(elements)][: len(elements)]
        if not within(len(elements), low, high) or any(e not in p for e, p in zip(elements, places, strict=True)):
            return False
        counts = [place[element] for element, place in zip(elements, places, strict=True)]
        counted = all(within(sum(i in found for found in counts), *tally) for i, tally in enumerate(tallies))
        return counted and len({read(element) for element in elements}) == len(elements)

    lengths = []
    for n in range(5):
        for elements in itertools.product(TEXTS, repeat=n):
            if n < 4 or rng.random() < 0.1:
                text = b"[" + b",".join(elements) + b"]"
                assert POOL.fullmatch(made, text) == fits(elements), text
            if fits(elements):
                lengths.append(sum(map(len, elements)) + max(n - 1, 0) + 2)
    shortest = POOL.shortest(made)
    assert POOL.is_empty(made) == (shortest is None) == (not lengths)
    assert shortest is None or POOL.fullmatch(made, shortest)


@given(values=st.lists(st.sampled_from(VALUES), max_size=4), rng=st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_values_are_compared_as_json_has_it(values: list[object], rng: random.Random) -> None:
    def spelled(value: object) -> str:
        if isinstance(value, dict):
            members = [f"{spelled(name)}:{spelled(item)}" for name, item in rng.sample(list(value.items()), len(value))]
            return "{" + ",".join(members) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(spelled, value)) + "]"
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            return rng.choice([str(value), f"{value * 10}e-1", f"{value * 1000}E-03"])
        return rng.choice([json.dumps(value), json.dumps(value, ensure_ascii=False).replace("a", "\\u0061", 1)])

    def same(a: object, b: object) -> bool:
        return a == b and repr(a).count("True") == repr(b).count("True")

    differ = not any(same(a, b) for a, b in itertools.combinations(values, 2))
    text = "[" + ",".join(map(spelled, values)) + "]"
    if "tru\\u0061" not in text and "f\\u0061lse" not in text:
        assert POOL.fullmatch(unique([Way(any_value("compact"))]), text.encode()) == differ, text


def test_spacing_and_names_written_twice() -> None:
    numbers = array(FLEXIBLE, [], [Way(any_value("flexible"))], unique=True)
    assert POOL.fullmatch(numbers, json.dumps([[1], [2], {"a": [1]}], indent=2).encode())
    assert not POOL.fullmatch(numbers, b"[[1], [ 1]]")
    compact = unique([Way(any_value("compact"))])
    assert not POOL.fullmatch(compact, b'[{"a":1},{"a":2,"a":1}]'), "of a name that comes twice the last value counts"
    assert POOL.fullmatch(compact, b'[{"a":1},{"a":1,"a":2}]')


def test_needing_more_values_than_there_are_is_empty() -> None:
    assert POOL.is_empty(unique(literals(b"1", b"1.0", b"true"), 3))
    assert POOL.shortest(unique(literals(b"1", b"1.0", b"true"), 2)) == b"[1,true]"
    assert POOL.shortest(unique(literals(b"3"), 3, None, (literals(b"1", b"22"), literals(b"1")))) == b"[22,1,3]"
    assert len(POOL.shortest(unique([Way(any_value("compact"))], 30)) or b"") < 100


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_a_shortest_array_counts_what_it_needs_and_nothing_else(seed: int) -> None:
    """Elements that count towards two tallies, or neither, some in a place of their own: against all arrays."""
    rng = random.Random(seed)
    texts = (b"1", b"2", b"33", b'"a"')

    def some() -> dict[bytes, frozenset[int]]:
        return {text: frozenset(i for i in range(2) if rng.random() < 0.5) for text in rng.sample(texts, 3)}

    tallies = [Tally(low := rng.choice([0, 1, 2]), rng.choice([None, low, 3])) for _ in range(2)]
    prefix, items = [some() for _ in range(rng.choice([0, 0, 1, 2]))], some()
    low, high = rng.choice([0, 0, 1, 3]), rng.choice([None, None, 3])
    ways = [[Way(POOL.literal(text), counts) for text, counts in place.items()] for place in (*prefix, items)]
    made = array(COMPACT, ways[:-1], ways[-1], low, high, tallies, unique=True)
    lengths = []
    for n in range(len(texts) + 1):
        for elements in itertools.permutations(texts, n) if within(n, low, high) else ():
            places = [*prefix, *[items] * n][:n]
            if all(element in place for element, place in zip(elements, places, strict=True)):
                counts = [place[element] for element, place in zip(elements, places, strict=True)]
                if all(within(sum(i in found for found in counts), *tally) for i, tally in enumerate(tallies)):
                    lengths.append(len(b"[" + b",".join(elements) + b"]"))
    shortest = POOL.shortest(made)
    assert (shortest is None) == (not lengths)
    assert shortest is None or (POOL.fullmatch(made, shortest) and len(shortest) == min(lengths))


@pytest.mark.parametrize(
    ("schema", "most"),
    [
        ({"items": {"type": "string"}, "contains": {"minLength": 3, "maxLength": 6}}, 3),
        ({"items": {"type": "string"}, "contains": {"minLength": 3, "maxLength": 22}, "minContains": 3}, 8),
        ({"items": {"type": "integer"}, "contains": {"minimum": 3, "maximum": 9}, "minContains": 5, "minItems": 5}, 60),
    ],
)
def test_elements_that_count_nothing_are_not_tried_one_after_the_other(schema: Any, most: int) -> None:
    outlines: list[Elements] = []
    outline = Elements.outline

    def noted(rule: Elements, body: int, text: bytes) -> int:
        outlines.append(rule)
        return outline(rule, body, text)

    with pytest.MonkeyPatch.context() as patch, using(POOL.fork()):
        patch.setattr(Elements, "outline", noted)
        schema = {"type": "array", "uniqueItems": True, **schema}
        shortest = POOL.shortest(expression_of(JsonSchema(json.dumps(schema))))
        jsonschema.validate(json.loads(shortest or b""), schema)
        assert len(outlines) <= most


def test_an_array_of_itself() -> None:
    name = "test tree of unique nodes"
    POOL.define(name, lambda: unique([Way(POOL.ref(name)), Way(POOL.literal(b"1"))]))
    tree = POOL.ref(name)
    assert POOL.shortest(tree) == b"[]"
    assert POOL.fullmatch(tree, b"[[],[[]],1,[1]]")
    assert not POOL.fullmatch(tree, b"[[],[[],[]]]")


def test_too_much_to_match_is_refused() -> None:
    prefix = tuple(literals(b"1", b"%d" % n) for n in range(2, 12))
    with pytest.raises(GrammarError, match="must differ"):
        POOL.is_empty(unique([], 10, None, prefix))


def test_values_are_counted_by_value() -> None:
    assert has_values(string(ANY_TEXT), 100)
    assert has_values(NUMBER, 40)
    assert has_values(POOL.alt(*map(POOL.literal, TEXTS)), 4)
    assert not has_values(POOL.alt(*map(POOL.literal, TEXTS)), 5)
    letters = POOL.repeat(POOL.byte_set(b"abcdefghijklmnopqrstuvwxyz"), 7, None)
    assert has_values(string(letters), 100), "without going through all that are shorter"


def test_many_values_are_found_behind_few_that_are_shorter_or_spelled_in_many_ways() -> None:
    kind = {"type": "object", "properties": {"kind": {"enum": ["one", "two", "three"]}}, "required": ["kind"]}
    for schema in (kind, {"anyOf": [{"enum": [0, 1]}, kind]}, {"anyOf": [{"const": 0}, {"type": "null"}, kind]}):
        with using(POOL.fork()):
            values = compile_schema(JsonSchema(json.dumps(schema), "flexible", property_order="any"))
            assert has_values(values, 100), schema
    with using(POOL.fork()):
        closed = compile_schema(JsonSchema(json.dumps({**kind, "additionalProperties": False}), "flexible"))
        assert not has_values(closed, 4)


def test_values_are_not_looked_for_in_all_the_ways_in_which_a_number_is_spelled() -> None:
    texts: list[bytes] = []

    def note(text: bytes) -> Any:
        texts.append(text)
        return read(text)

    with pytest.MonkeyPatch.context() as patch, using(POOL.fork()):
        patch.setattr(known_values, "read", note)
        week = compile_schema(JsonSchema('{"type": "integer", "minimum": 0, "maximum": 6}', "flexible"))
        assert not has_values(week, 8)
        assert {read(text) for text in texts} == {read(b"%d" % day) for day in range(7)}
        assert len(texts) < 60
        hundredths = compile_schema(JsonSchema('{"multipleOf": 0.01, "minimum": 0, "maximum": 1}', "flexible"))
        assert has_values(hundredths, 60)
        assert known_values.all_values(week, 10) is None, "others may have been among what was not looked at"


# -- objects --------------------------------------------------------------------------------------------------


@given(rng=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_keys_that_are_not_listed_come_once(rng: random.Random) -> None:
    low, high = rng.choice([0, 1, 2, 3]), rng.choice([None, None, 2, 3])
    any_order, required = rng.random() < 0.5, rng.random() < 0.5
    one = (Way(POOL.literal(b"1")),)
    others = (
        key_besides(ANY_TEXT, ["a", "b"]) if rng.random() < 0.5 else string(POOL.alt(*map(POOL.literal, (b"x", b"y"))))
    )
    members = [Member(key("a"), one, False), Member(key("b"), one, required)]
    made = object_(COMPACT, members, [Member(others, one, False)], low, high, any_order=any_order, distinct=True)
    keys = ["a", "b", "x", "y", "\\u0078"]
    found = False
    for n in range(5):
        for names in itertools.permutations(keys, n):
            listed = [name for name in names if name in ("a", "b")]
            ordered = any_order or list(names) == sorted(listed) + [name for name in names if name not in listed]
            spelled = "\\u0078" not in names or (POOL.fullmatch(others, b'"\\u0078"') and "x" not in names)
            fits = ordered and spelled and within(n, low, high) and ("b" in names or not required)
            text = "{" + ",".join(f'"{name}":1' for name in names) + "}"
            assert POOL.fullmatch(made, text.encode()) == fits, text
            found |= fits
    assert POOL.is_empty(made) == (not found)
    shortest = POOL.shortest(made)
    assert shortest is None or POOL.fullmatch(made, shortest)


# -- masks ----------------------------------------------------------------------------------------------------


def strings(*letters: bytes, low: int, high: int | None) -> int:
    return string(POOL.counted(POOL.byte_set(b"".join(letters)), low, high))


WORDS = (b"a", b"ab", b"aab", b"abx", b"b", b"bu", b"bux", b"x")
TEXT_WORDS = [word.decode() for word in WORDS]
ONE = (Way(POOL.literal(b"1")),)
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


@settings(deadline=None, max_examples=60)
@given(taken=st.sets(st.sampled_from(TEXT_WORDS)), flexible=st.booleans(), cut=st.integers(0, 3))
def test_whether_a_text_can_still_become_another(taken: set[str], flexible: bool, cut: int) -> None:
    """Told by values alone, it is as if each had been tried."""
    form = FLEXIBLE if flexible else COMPACT
    body = POOL.alt(*[values_equal(form, word) for word in TEXT_WORDS])
    rule = Elements(form, (), (Way(body),), left(0, None, ()), frozenset(taken))
    captures.note_listed(body, TEXT_WORDS)
    for word in TEXT_WORDS:
        start = word[:cut]
        possible = any(other.startswith(start) for other in set(TEXT_WORDS) - taken)
        spellings = [start, "".join(f"\\u{ord(letter):04x}" for letter in start)]
        for spelled in spellings if flexible else [start]:
            text = b'"' + spelled.encode()
            assert has_others(rule, derived(body, text), text) is possible
            assert has_others(rule, derived(body, text), text, body) is possible
    assert has_others(rule, derived(body, b'"a"'), b'"a"') is None


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


def test_names_that_cannot_be_counted_are_refused() -> None:
    others = [Member(string(ANY_TEXT), ONE, False)]
    with pytest.raises(GrammarError, match="more than 64 members"):
        object_(COMPACT, [], others, 65, distinct=True)


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


def test_elements_that_cannot_be_spelled_are_no_elements() -> None:
    schema = {"type": "array", "items": {"enum": ["é", "a"]}, "uniqueItems": True, "minItems": 2}
    letters = characters('a[]",')
    with pytest.raises(GrammarError, match="no tokens to spell"):
        expression_of(JsonSchema(json.dumps(schema), escapes="minimal"), letters)
