"""Elements and names that must differ, beside values that are excluded: found out when compiled, never in a request."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import numpy as np
import pytest

from rootform.grammar import distinct, json_choices, witness
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.counts import Left, Tally, Way, left
from rootform.grammar.distinct import Keys
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.json_layout import layout
from rootform.grammar.json_objects import Member
from rootform.grammar.json_values import ANY_TEXT, key_besides
from rootform.grammar.pools import using
from rootform.grammar.schema_compile import compile_schema, compile_with_refusals
from rootform.grammar.vocab import Vocabulary

LETTERS = {"enum": ["a", "b", 1]}
UNIQUE = {"type": "array", "uniqueItems": True, "items": LETTERS}
AB = {"type": "object", "patternProperties": {"^[ab]$": {"enum": [1, 2]}}}
SCHEMAS: list[Any] = [
    {**UNIQUE, "not": {"const": ["a", "b"]}},
    {**UNIQUE, "not": {"enum": [["a", "b"], [], [1]]}},
    {**UNIQUE, "minItems": 2, "maxItems": 2, "not": {"enum": [["a", "b"], ["b", "a"], ["a", 1]]}},
    {"type": "array", "items": UNIQUE, "not": {"enum": [[["a"]], []]}},
    {"type": "array", "items": {"enum": [1, "a"]}, "not": {"anyOf": [{"uniqueItems": True}, {"const": [1, 1]}]}},
    {"type": "object", "properties": {"a": UNIQUE}, "not": {"enum": [{}, {"a": ["a"]}]}},
    {"type": "object", "properties": {"a": UNIQUE}, "additionalProperties": False, "not": {"const": {"a": ["a"]}}},
    {
        "type": "object", "patternProperties": {"^a": {"enum": [1, 2]}}, "additionalProperties": {"const": 1},
        "minProperties": 2, "not": {"const": {"a": 1, "b": 1}},
    },
    {"oneOf": [{"const": ["a", "b"]}, {**UNIQUE, "maxItems": 2}]},
    {
        "type": "object", "patternProperties": {"^(a|b)$": {"const": 1}}, "additionalProperties": {"enum": [1, 2]},
        "minProperties": 2,
    },
    {**AB, "additionalProperties": False, "minProperties": 2},
    {"type": "object", "minProperties": 2, "not": {"propertyNames": {"not": {"enum": ["a", "b"]}}}},
    {"type": "object", "minProperties": 1, "not": {"patternProperties": {"^[ab]$": {"const": 1}}}},
    {"oneOf": [{"patternProperties": {"^[bc]$": {"const": 1}}}, AB], "type": "object"},
    {
        "type": "object", "additionalProperties": {"enum": [1, 2]},  # so one for each of the two at least
        "allOf": [{"not": {"additionalProperties": {"const": 1}}}, {"not": {"additionalProperties": {"const": 2}}}],
    },
    {
        "type": "object", "properties": {"c": {"enum": [1, 2]}}, "required": ["c"], "minProperties": 2,
        "not": {"additionalProperties": {"const": 2}},
    },
    {
        "type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#"}, "uniqueItems": True}},
        "required": ["a"],
    },
    {
        "type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#"}, "uniqueItems": True}},
        "required": ["a"], "additionalProperties": False,
    },
    {
        "type": "object", "required": ["a", "b"], "additionalProperties": False, "properties": {
            "a": {"type": "array", "items": {"$ref": "#"}, "uniqueItems": True}, "b": {"enum": [1, 2]},
        },
    },
    {
        "type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#"}, "uniqueItems": True}},
        "allOf": [
            {"if": {"required": ["b"]}, "then": {"required": ["c"]}},
            {"if": {"required": ["c"], "properties": {"c": {"const": 1}}}, "then": {"required": ["a"]}},
            *[{"if": {"required": [name]}, "then": {"required": [name * 2]}} for name in ["aa", "ab", "ac", "ba"]],
        ],
    },
    {
        "type": "object", "properties": {
            "a": {"type": "array", "items": {"$ref": "#"}, "uniqueItems": True},
            "c": {"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True, "minItems": 2},
        },
        "allOf": [
            {"if": {"required": ["b"]}, "then": {"required": ["c"]}},
            *[{"if": {"required": [name]}, "then": {"required": ["a"]}} for name in ["aa", "ab", "ac", "ba", "bb"]],
        ],
    },
]  # fmt: skip
VALUES: list[Any] = [
    [], ["a"], ["b"], [1], ["a", "b"], ["b", "a"], ["a", 1], [1, "a"], ["a", "b", 1], ["a", "a"], [1, 1], [1, 1, 1],
    [[]], [["a"]], [["a"], ["a"]], [["a", "b"]], [["a", "a"]], [[], ["a"]], {}, {"a": []}, {"a": ["a"]}, {"a": ["b"]},
    {"a": ["a", "b"]}, {"a": ["a"], "b": 1}, {"a": 1, "b": 1}, {"a": 2, "b": 1}, {"b": 1, "a": 1}, {"a": 1, "ab": 2},
    {"a": 1, "b": 1, "c": 1}, {"a": 1}, {"a": 2, "b": 2}, {"b": 2}, {"c": 2}, {"a": 1, "c": 2}, {"ab": 2, "a": 1},
    {"c": 1, "a": 1}, {"a": 1, "b": 2, "c": 2}, {"c": 2, "b": 2}, {"a": [{"a": []}]}, {"a": [{"a": []}, {"a": []}]},
    {"a": [{"a": []}, {"a": [{"a": []}]}]}, {"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}, {"c": 2, "b": 1}]},
    {"b": 1, "c": 1}, {"b": 1, "c": 1, "a": []}, {"a": [{}, {"c": 2}]}, {"a": [{}, {}]}, {"a": [{"c": 1}]},
    {"a": [{"a": [], "b": 1}, {"b": 1, "a": []}], "b": 1}, {"a": [{"a": [], "b": 1}, {"b": 2, "a": []}], "b": 2},
    {"b": 1, "c": [1, 2]}, {"b": 1, "c": [1, 1]}, {"a": [{"c": [1, 2]}, {"c": [2, 1]}]}, {"aa": 1}, {"aa": 1, "a": []},
]  # fmt: skip
TOKENS = [
    *[bytes([byte]) for byte in b'01234567abc{}[]",:'],
    b'","', b'["', b'"]', b'"a"', b'"a","b"', b'a","b', b",1]", b"[1,", b"1,1", b'{"', b'":', b'":1', b'":1,"', b"]]",
    b'"]}', b'":["', b"[[", b"],[",
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
@pytest.mark.parametrize("spacing", ["compact", "flexible"])
def test_what_is_excluded_is_judged_as_jsonschema_does(schema: Any, spacing: Any) -> None:
    accepted = compile_schema(JsonSchema(json.dumps(schema), spacing, property_order="any"))
    for value in VALUES:
        text = json.dumps(value, separators=(",", ":")).encode()
        assert POOL.fullmatch(accepted, text) == jsonschema.Draft202012Validator(schema).is_valid(value), text


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
@pytest.mark.parametrize("order", ["schema", "any"])
def test_masks_never_fail_and_every_way_ends_well(schema: Any, order: Any) -> None:
    rng = random.Random(json.dumps(schema))
    vocabulary = Vocabulary([*TOKENS, b""], [len(TOKENS)], len(TOKENS) + 1)
    automaton = Automaton(vocabulary)
    expression = compile_schema(JsonSchema(json.dumps(schema), property_order=order))
    batch, root = StateBatch(automaton), automaton.root_of(expression)
    for _ in range(6):
        slot, text, rest = np.array([batch.open(root)]), b"", expression
        for _ in range(10):
            row = int(batch.row_ids(slot)[0])
            assert not batch.errors
            allowed = [i for i in range(len(TOKENS)) if automaton.rows[row][i >> 5] >> (i & 31) & 1]
            for i, token in enumerate(TOKENS):
                after = rest
                for byte in token:
                    after = POOL.raw_derivative(after, byte)
                assert (i in allowed) == (not POOL.is_empty(after)), (text, token)
            closing = b"".join(TOKENS[token] for token in batch.closing(int(slot[0])))
            assert jsonschema.Draft202012Validator(schema).is_valid(json.loads(text + closing))
            if not allowed:
                break
            token = rng.choice(allowed)
            assert batch.advance(slot, np.array([token]))[0]
            text += TOKENS[token]
            for byte in TOKENS[token]:
                rest = POOL.raw_derivative(rest, byte)
        batch.close(int(slot[0]))


@pytest.mark.parametrize("tags", [{}, {"minItems": 2}, {"contains": {"minLength": 2}}], ids=json.dumps)
def test_objects_that_hold_themselves_among_unique_elements_are_not_written_to_learn_how_they_end(tags: Any) -> None:
    """Any of thirty members may be there: all that may be left of them would be 2 ** 30 points."""
    schema = {
        "type": "object", "required": ["tags"], "properties": {
            "args": {"type": "array", "items": {"$ref": "#"}, "uniqueItems": True},
            "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True, **tags},
        },
        "allOf": [{"if": {"required": [f"if{i}"]}, "then": {"required": [f"then{i}"]}} for i in range(15)],
    }  # fmt: skip
    points: list[Any] = []
    written = json_choices._Rest.next

    def noted(rest: Any, at: Any) -> int:
        points.append(at)
        return written(rest, at)

    with pytest.MonkeyPatch.context() as patch, using(POOL.fork()):
        patch.setattr(json_choices._Rest, "next", noted)
        made = compile_schema(JsonSchema(json.dumps(schema), property_order="any"))
        jsonschema.validate(json.loads(POOL.shortest(made) or b""), schema)
        assert len(points) <= 2
        for text in (b'{"args":[{"tags":["aa","b"]},{"tags":["b","aa"]}],"tags":["c","dd"]}',):
            assert POOL.fullmatch(made, text)
            assert not POOL.fullmatch(made, text.replace(b'"b","aa"', b'"aa","b"'))
            assert not POOL.fullmatch(made, text.replace(b'{"tags":["b"', b'{"if1":1,"tags":["b"'))


LEAF, PAIR = {"op": "ab", "args": []}, {"op": "ab", "args": [{"op": "ab", "args": []}]}
NESTED: list[tuple[list[str], Any]] = [
    (["args"], {"args": [{"args": []}, {"args": [{"args": []}, {"args": [{"args": []}]}]}, {"args": [{"args": []}]}]}),
    (["args"], {"args": [{"args": [{"args": []}]}, {"args": []}, {"args": [{"args": [{"args": []}]}, {"args": []}]}]}),
    (["op", "args"], {"op": "ab", "args": [LEAF, {"op": "abc", "args": [LEAF, PAIR]}, PAIR]}),
]


@pytest.mark.parametrize(("names", "value"), NESTED, ids=["last", "inside", "operators"])
def test_nodes_that_hold_nothing_but_such_nodes_are_told_apart_without_going_through_their_spellings(
    names: list[str], value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node may be spelled with spaces and escapes anywhere, so a search for another has to leave these out."""
    properties = {"op": {"enum": ["ab", "abc"]}, "args": {"type": "array", "items": {"$ref": "#"}, "uniqueItems": True}}
    schema = {
        "type": "object", "properties": {name: properties[name] for name in names}, "required": names,
        "additionalProperties": False,
    }  # fmt: skip
    monkeypatch.setattr(witness, "SEARCH_BUDGET", 300)
    tokens = [*TOKENS, *[bytes([byte]) for byte in b" \\degopqrsu\n"], b'": [', b'"}', b'", "', b" {", b"]}]", b"[]}"]
    automaton = Automaton(Vocabulary([*tokens, b""], [len(tokens)], len(tokens) + 1))
    for last, is_valid in ((value["args"][-1], False), ({"op": "abc", "args": value["args"]}, True)):
        last = {name: each for name, each in last.items() if name in names}
        document = {**value, "args": [*value["args"], last]}
        assert jsonschema.Draft202012Validator(schema).is_valid(document) == is_valid
        place = automaton.start(automaton.compile(JsonSchema(json.dumps(schema), "flexible", property_order="any")))
        text, taken = json.dumps(document).encode(), b""
        for byte in text:
            token = tokens.index(bytes([byte]))
            row = automaton.row_at(*place)
            is_allowed = bool(automaton.rows[row][token >> 5] >> (token & 31) & 1)
            after = automaton.after(*place, token)
            assert (after is not None) == is_allowed
            if after is None:
                break
            place, taken = after, taken + bytes([byte])
        assert (taken == text) == is_valid
        assert is_valid or len(taken) > len(text) - 8, "refused where the last one would end, not before"


@pytest.mark.parametrize("any_order", [False, True])
def test_keys_that_are_used_up_do_not_matter_where_others_can_always_end_the_object(any_order: bool) -> None:
    few = Member(POOL.literal(b'"a"'), (Way(POOL.literal(b"1")), Way(POOL.literal(b"2"), frozenset({0}))), False)
    many = Member(key_besides(ANY_TEXT, ("a",)), (Way(POOL.literal(b"1")),), False)
    counting = Member(many.key, (Way(POOL.literal(b"2"), frozenset({0})),), False)
    form, seen = layout("compact", "any"), frozenset({"a"})

    def is_free(others: tuple[Member, ...], still: Left) -> bool:
        return Keys(form, (), others, any_order, still, seen).is_free()

    two, one_counted = left(2, None, ()), left(0, None, (Tally(1, None),))
    assert is_free((many,), two)
    assert is_free((few, many), two)
    assert not is_free((few,), two)
    assert is_free((few, counting), one_counted)
    assert not is_free((few, many), one_counted), "of those that count none is left"
    assert not is_free((few, counting), left(0, 3, (Tally(1, None),))), "others may have taken its place"


FEW: list[tuple[Any, list[str]]] = [
    *[({"patternProperties": {pattern: {"const": 1}}}, names) for pattern, names in (
        ("^(alpha|beta)$", ["alpha", "beta"]), ("^[ab]$", ["a", "b"]), ('^"$', ['"']), ("^$", [""]),
    )],
    ({"not": {"propertyNames": {"not": {"enum": ["a", "b"]}}}}, ["a", "b"]),
]  # fmt: skip


@pytest.mark.parametrize(("keywords", "expected"), FEW, ids=json.dumps)
def test_names_of_which_there_are_few_are_listed_where_names_are_compared(keywords: Any, expected: list[str]) -> None:
    schema = {"type": "object", "minProperties": 2, **keywords}
    compared: list[tuple[list[Member], Any]] = []
    write = distinct.distinct_object

    def note(form: Any, members: Any, others: Any, still: Any, *, any_order: bool) -> int:
        compared.append((members, others))
        return write(form, members, others, still, any_order=any_order)

    with pytest.MonkeyPatch.context() as patch, using(POOL.fork()):
        patch.setattr(distinct, "distinct_object", note)
        compile_schema(JsonSchema(json.dumps(schema), property_order="any"))
        ((members, others),) = compared
        names = [json.loads(POOL.shortest(member.key) or b"") for member in members]
    assert len(others) == 1
    assert sorted(names) == expected


NEEDS_MATCHING = {
    "type": "array",
    "prefixItems": [{"enum": [1, n]} for n in range(2, 12)],
    "minItems": 10,
    "uniqueItems": True,
}
TREE = {"anyOf": [{"const": 1}, {"type": "array", "items": {"$ref": "#/$defs/t"}, "minItems": 2, "uniqueItems": True}]}
STRINGS = {"type": "array", "uniqueItems": True, "items": {"type": "string"}}
LATE: list[tuple[Any, str, str]] = [
    ({"properties": {"o": NEEDS_MATCHING}}, "#/properties/o", "uniqueItems"),
    ({"properties": {"o": {"items": NEEDS_MATCHING}}}, "#/properties/o/items", "uniqueItems"),
    ({"$ref": "#/$defs/t", "$defs": {"t": TREE}}, "#/$defs/t", "uniqueItems"),
    ({"type": "array", "items": STRINGS, "not": {"enum": [[[x]] for x in "abcd"]}}, "#", "not"),
]


@pytest.mark.parametrize(("schema", "where", "keyword"), LATE, ids=[json.dumps(case[0])[:60] for case in LATE])
def test_what_would_fail_while_it_is_written_is_refused_before(schema: Any, where: str, keyword: str) -> None:
    with pytest.raises(GrammarError) as refused:
        compile_schema(JsonSchema(json.dumps(schema)))
    assert (refused.value.where, refused.value.keyword) == (where, keyword)
    assert refused.value.rewrite
    widened = compile_with_refusals(JsonSchema(json.dumps(schema), lenient=True))
    assert (where, keyword) in [(refusal.where, refusal.keyword) for refusal in widened.widened]
    assert widened.expression != EMPTY
    assert POOL.shortest(widened.expression) is not None
