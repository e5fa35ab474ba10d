"""Different values that texts stand for, as a short search finds them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from rootform.grammar import known_values
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.expr import POOL
from rootform.grammar.json_equal import read
from rootform.grammar.json_layout import layout
from rootform.grammar.json_values import ANY_TEXT, string
from rootform.grammar.known_values import has_values
from rootform.grammar.numbers import NUMBER
from rootform.grammar.pools import using
from rootform.grammar.schema_compile import compile_schema

COMPACT, FLEXIBLE = layout("compact"), layout("flexible")
TEXTS = (b"1", b"1.0", b"2", b'"a"', b'"\\u0061"', b'"ab"')


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


def test_a_search_that_is_broken_off_goes_on_where_it_was() -> None:
    class Interrupted(NamedTuple):
        pool: Any
        asked: list[int]

        def __getattr__(self, name: str) -> Any:
            return getattr(self.pool, name)

        def derivative(self, item: int, byte: int) -> int:
            self.asked[0] += 1
            if self.asked[0] % 5 == 0:
                raise TimeoutError
            return self.pool.derivative(item, byte)

    with pytest.MonkeyPatch.context() as patch, using(POOL.fork()):
        some = compile_schema(JsonSchema('{"enum": ["a", "bc", 1, [2], {"d": 3}]}', "compact"))
        interrupted, found, times = Interrupted(POOL, [0]), None, 0
        patch.setattr(known_values, "POOL", interrupted)
        while found is None and times < 100:
            try:
                found = known_values.all_values(some, 9)
            except TimeoutError:
                times += 1
        assert times > 1
        assert found is not None
        assert {value.value for value in found} == {read(text) for text in (b'"a"', b'"bc"', b"1", b"[2]", b'{"d":3}')}
