"""Random schemas and values: what is accepted is what the jsonschema package calls valid."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.schema_compile import compile_schema

NAMES = ("a", "b", "c")
STRINGS = ("", "a", "ab", "ba", "é😀", '"\\/')
names = st.sampled_from(NAMES)
small = st.integers(0, 3)
numbers = st.integers(-4, 12) | st.sampled_from([0.5, -0.5, 2.25, 9.75])
scalars = st.none() | st.booleans() | numbers | st.sampled_from(STRINGS)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
types = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A few keywords of a schema, with `inner` for the schemas in them."""
    return st.fixed_dictionaries(
        {},
        optional={
            "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
            "enum": st.lists(values, min_size=1, max_size=4),
            "const": scalars,
            "minLength": small,
            "maxLength": small,
            "pattern": st.sampled_from(["a", "^a", "b$", "^(ab|)$", '["😀]', "^[^a]*$"]),
            "minimum": numbers,
            "maximum": numbers,
            "exclusiveMinimum": numbers,
            "exclusiveMaximum": numbers,
            "multipleOf": st.sampled_from([1, 2, 3, 10, 0.5, 0.25]),
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "minItems": small,
            "maxItems": small,
            "properties": st.dictionaries(names, inner, max_size=3),
            "patternProperties": st.dictionaries(st.sampled_from(["a", "^b", "."]), inner, max_size=2),
            "additionalProperties": inner,
            "propertyNames": inner,
            "required": st.lists(names, max_size=2, unique=True),
            "minProperties": small,
            "maxProperties": small,
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "$ref": st.sampled_from(["#", "#/$defs/x", "#/$defs/y"]),
        },
    ).map(at_most_five)


def at_most_five(schema: dict[str, Any]) -> dict[str, Any]:
    return dict(itertools.islice(schema.items(), 5))


schemas = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=6)


def orders(value: Any) -> Iterator[Any]:
    """The value with its members in every order: the schema says which one is written."""
    if isinstance(value, dict):
        for names in itertools.permutations(value):
            for members in itertools.product(*[list(orders(value[name])) for name in names]):
                yield dict(zip(names, members, strict=True))
    elif isinstance(value, list):
        yield from map(list, itertools.product(*map(list, map(orders, value))))
    else:
        yield value


def accepted_orders(expression: int, value: Any) -> list[str]:
    texts = [json.dumps(v, separators=(",", ":"), ensure_ascii=False) for v in itertools.islice(orders(value), 200)]
    return [text for text in texts if POOL.fullmatch(expression, text.encode())]


def compiled(schema: Any) -> int | GrammarError:
    try:
        return compile_schema(JsonSchema(json.dumps(schema)))
    except GrammarError as error:
        return error


def is_refused_as_it_may_be(error: GrammarError) -> bool:
    """Whether a refusal is one that random schemas meet; any other would be a surprise."""
    return error.keyword in ("oneOf", "minProperties") or "itself without anything" in error.reason


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=schemas, defs=st.tuples(schemas, schemas), instances=st.lists(values, min_size=4, max_size=8))
def test_accepts_what_is_valid(schema: Any, defs: tuple[Any, Any], instances: list[Any]) -> None:
    own = schema if isinstance(schema, dict) else {"allOf": [schema]}
    whole = {**own, "$defs": dict(zip("xy", defs, strict=True))}
    validator = Draft202012Validator(whole)
    expression = compiled(whole)
    if isinstance(expression, GrammarError):
        if is_refused_as_it_may_be(expression):
            return
        assert "nothing satisfies" in expression.reason, expression
        expression = EMPTY
    for value in instances:
        assert bool(accepted_orders(expression, value)) == validator.is_valid(value), value
    if expression != EMPTY:
        assert validator.is_valid(json.loads(POOL.shortest(expression) or b""))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=schemas, value=values, indent=st.sampled_from([None, 0, 2]))
def test_spacing_changes_nothing_else(schema: Any, value: Any, indent: int | None) -> None:
    compact = compiled(schema)
    if isinstance(compact, GrammarError):
        return
    flexible = compile_schema(JsonSchema(json.dumps(schema), "flexible"))
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    spaced = json.dumps(value, indent=indent, ensure_ascii=False).encode()
    assert POOL.fullmatch(compact, text) == POOL.fullmatch(flexible, text) == POOL.fullmatch(flexible, spaced)
