"""Schemas as text: read as `json` reads them, with numbers exact and no name twice."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rootform.grammar.errors import GrammarError
from rootform.grammar.schema_document import Document
from rootform.grammar.schema_text import parse

_STRINGS = ['"a"', '"b"', '":"', '"c :"', '"d\\":"', '"\\/:"', '"\\\\"', '"é:"', '"\\u0061"', '"\\u003a"', '"\\n:"']
_PIECES = [
    *_STRINGS,
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\t",
    "1",
    "-0",
    "1.5",
    "01.5",
    "1e5",
    "1.",
    "null",
    "NaN",
]


def _space() -> st.SearchStrategy[str]:
    return st.sampled_from(["", "", " ", "\n", "\t", "\r"])


def _object(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(st.sampled_from(_STRINGS), _space(), st.just(":"), _space(), inner, _space()).map("".join)
    return st.lists(member, max_size=4).map(lambda members: "{" + ",".join(members) + "}")


_VALUES = st.recursive(
    st.sampled_from([*_STRINGS, "1.50", "-0", "12345678901234567890123", "true"]),
    lambda inner: _object(inner) | st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
    max_leaves=12,
)


class _Twice(Exception):
    pass


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise _Twice
    return dict(pairs)


def _no_constant(name: str) -> object:
    raise ValueError(name)


@given(_VALUES | st.lists(st.sampled_from(_PIECES), max_size=9).map("".join))
@example('{"a" :1,"a":2}')
@example('{"a":{"b":":"},"a":":"}')
@example('{"a":1,"\\u0061":2}')
@example("[1.5,01.5]")
@example('{"\\ud83d\\ude00":1}')
def test_read_as_json_reads_it_but_for_names_written_twice(text: str) -> None:
    try:
        expected = json.loads(text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_once)
    except (_Twice, ValueError):
        with pytest.raises(GrammarError):
            parse(text)
    else:
        found = parse(text)
        assert repr(found) == repr(expected)  # 1, 1.0 and True are equal


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "b": {"c" : 1, "c": 1}}', "'c': is written twice"),
        ("[1e401]", "too many digits"),
        ("[1e99999999999999999999]", "too many digits"),
        ("[" * 201 + "]" * 201, "nests more than 200 levels"),
        ("[" * 100_000, "nests more than 200 levels"),
        ('{"a": "\\ud800"}', "lone surrogate"),
        ('{"a": "\ud800"}', "lone surrogate"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": 1} 2', "not JSON"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(GrammarError, match=reason):
        parse(text)


def test_names_are_found_wherever_they_stand() -> None:
    inner = '{"$defs": {"x": {"$id": "https://example.com/x", "$defs": {"y": {"$anchor": "here", "type": "null"}}}}}'
    assert Document(inner).resolve("https://example.com/x#here", "#") == "#/$defs/x/$defs/y"
    named = inner.replace("{", '{"$id": "https://example.com/root",', 1)
    assert Document(named).resolve("https://example.com/x#here", "#") == "#/$defs/x/$defs/y"
    hidden = inner.replace('"$id"', '"\\u0024id"')
    assert Document(hidden).resolve("https://example.com/x#here", "#") == "#/$defs/x/$defs/y"
    old = '{"$schema": "http://json-schema.org/draft-04/schema#", "definitions": {"x": {"id": "#here"}}}'
    assert Document(old).resolve("#here", "#") == "#/definitions/x"


def test_references_inside_a_document_that_has_a_name() -> None:
    document = Document('{"$id": "https://example.com/a/b", "$defs": {"x~y/%z": {}}}')
    assert document.resolve("#/$defs/x~0y~1%25z", "#") == "#/$defs/x~0y~1%z"
    assert document.resolve("#/$defs", "#") == "#/$defs"
    for missing in ("#/$defs/a", "#/$defs/x~0y~1%25z/0", "#here"):
        with pytest.raises(GrammarError):
            document.resolve(missing, "#")


def test_a_lone_slash_is_the_whole_document_where_nothing_has_no_name() -> None:
    assert Document('{"items": {"$ref": "#/"}}').resolve("#/", "#/items") == "#"
    assert Document('{"$id": "https://example.com/a", "$defs": {}}').resolve("#/", "#/$defs") == "#"
    assert Document('{"": {"type": "null"}}').resolve("#/", "#") == "#/"
